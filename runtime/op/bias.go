package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// bias is the sum of X[… N] and B, of N elements, with or without Relu: what
// Add and Gemm's C are in most layers, in one pass forward and one back. No file
// has it; whoever trains a graph puts it in the place of nodes that say the same.
type bias struct{ relu bool }

// NewBias is the operator of two inputs that adds the second, a row, to all rows
// of the first; relu puts Relu behind it.
func NewBias(relu bool) Op { return &bias{relu} }

// WithoutBias is o, a Gemm, without its third input, where it adds that as it
// is; ok is false for other operators.
func WithoutBias(o Op) (product Op, ok bool) {
	g, ok := o.(*gemm)
	if !ok || g.beta != 1 {
		return nil, false
	}
	bare := *g
	bare.needC = false
	return &bare, true
}

// IsRelu reports whether o is Relu.
func IsRelu(o Op) bool {
	_, ok := o.(*reluOp)
	return ok
}

// IsSum reports whether o is Add.
func IsSum(o Op) bool {
	a, ok := o.(*arith)
	return ok && a.code == addCode
}

func (o *bias) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if _, err := sameDType(in); err != nil {
		return nil, err
	}
	x := in[0].Type
	if x.Ranked {
		n := graph.Product(in[1].Shape)
		if len(x.Shape) == 0 || differ(x.Shape[len(x.Shape)-1], n) {
			return nil, fmt.Errorf("%v is no row of %v", in[1].Type, x)
		}
	}
	return []graph.Fact{{Type: x}}, nil
}

func (*bias) IsInPlace() {}

func (o *bias) saves(want []bool) ([]bool, bool) { return inputs(want, false), o.relu }

func (o *bias) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		y, x, b := tensor.Data[float32](out[0].Tensor), tensor.Data[float32](in[0].Tensor), tensor.Data[float32](in[1].Tensor)
		if len(b) > 0 {
			kernel.Bias32(ctx.Pool, len(x)/len(b), len(b), y, x, b, o.relu)
		}
	case tensor.Float64:
		y, x, b := tensor.Data[float64](out[0].Tensor), tensor.Data[float64](in[0].Tensor), tensor.Data[float64](in[1].Tensor)
		for i, v := range x {
			v += b[i%len(b)]
			if o.relu && v < 0 {
				v = 0
			}
			y[i] = v
		}
	default:
		return unsupportedType("Add", d)
	}
	return nil
}

func (o *bias) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

// BackwardInto is, with g = dy, or with relu dy where y > 0, dx (+)= g and db
// (+)= Σ g over the rows.
func (o *bias) BackwardInto(ctx *Ctx, _, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	into := isFresh(din, fresh, 0)
	if isFresh(din, fresh, 1) {
		clear(din[1].Tensor.Bytes())
	}
	return byFloat("Add", out[0].Tensor.DType(),
		func() {
			y, dy := tensor.Data[float32](out[0].Tensor), gradient[float32](dout, 0)
			dx, db := gradient[float32](din, 0), gradient[float32](din, 1)
			if o.relu && into && len(db) > 0 {
				kernel.BiasReluBack32(ctx.Pool, len(dy)/len(db), len(db), dx, dy, y, db)
				return
			}
			biasBack(ctx, o.relu, into, y, dy, dx, db)
		},
		func() {
			biasBack(ctx, o.relu, into, tensor.Data[float64](out[0].Tensor), gradient[float64](dout, 0), gradient[float64](din, 0), gradient[float64](din, 1))
		})
}

// biasBack is BackwardInto in plain loops but for float32 without relu.
func biasBack[T float](ctx *Ctx, relu, into bool, y, dy, dx, db []T) {
	if g, ok := any(dy).([]float32); ok && !relu && len(db) > 0 {
		kernel.SumRows32(ctx.Pool, len(dy)/len(db), len(db), any(db).([]float32), g)
		db = nil
	}
	if db == nil && into && !relu {
		copy(dx, dy)
		return
	}
	for i, g := range dy {
		if relu && !(y[i] > 0) {
			g = 0
		}
		if len(db) > 0 {
			db[i%len(db)] += g
		}
		switch {
		case dx == nil:
		case into:
			dx[i] = g
		default:
			dx[i] += g
		}
	}
}
