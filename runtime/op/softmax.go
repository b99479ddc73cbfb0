package op

import (
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// softmax is Softmax, LogSoftmax or Hardmax. Before opset 13 the input is
// seen as a matrix whose rows begin at axis; from there on, the sum runs along
// axis alone.
type softmax struct {
	name   string
	kind   softmaxKind
	axis   int
	matrix bool
}

type softmaxKind uint8

const (
	softmaxPlain softmaxKind = iota
	softmaxLog
	softmaxHard
)

func parseSoftmax1(name string, kind softmaxKind) parser {
	return func(a *attrs) Op { return &softmax{name, kind, int(a.int("axis", 1)), true} }
}

func parseSoftmax13(name string, kind softmaxKind) parser {
	return func(a *attrs) Op { return &softmax{name, kind, int(a.int("axis", -1)), false} }
}

func (o *softmax) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame(o.name, in)
	if err != nil || !in[0].Ranked {
		return out, err
	}
	if _, err := o.rows(len(in[0].Shape)); err != nil {
		return nil, err
	}
	return out, nil
}

// rows is the axis at which a row begins; a matrix may begin after the last.
func (o *softmax) rows(rank int) (int, error) {
	if o.matrix && o.axis == rank {
		return rank, nil
	}
	if rank == 0 && (o.axis == 0 || o.axis == -1) {
		return 0, nil
	}
	return normAxis(o.axis, rank)
}

// layout is how many groups there are, the elements of each and the step
// between them.
func (o *softmax) layout(shape []int) (outer, n, inner int, err error) {
	axis, err := o.rows(len(shape))
	if err != nil {
		return 0, 0, 0, err
	}
	if o.matrix || len(shape) == 0 {
		return product(shape[:axis]), product(shape[axis:]), 1, nil
	}
	outer, n, inner = around(shape, axis)
	return outer, n, inner, nil
}

func (o *softmax) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	outer, n, inner, err := o.layout(x.Shape())
	if err != nil {
		return err
	}
	switch y.DType() {
	case tensor.Float32:
		softmaxRows[float32](o.kind, tensor.Data[float32](x), tensor.Data[float32](y), outer, n, inner)
	case tensor.Float64:
		softmaxRows[float64](o.kind, tensor.Data[float64](x), tensor.Data[float64](y), outer, n, inner)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, y.DType())
	}
	return nil
}

func softmaxRows[T float32 | float64](kind softmaxKind, x, y []T, outer, n, inner int) {
	if n == 0 {
		return
	}
	for i := range outer {
		for j := range inner {
			base := i*n*inner + j
			best := 0
			for k := 1; k < n; k++ {
				if x[base+k*inner] > x[base+best*inner] {
					best = k
				}
			}
			top := float64(x[base+best*inner])
			if kind == softmaxHard {
				for k := range n {
					y[base+k*inner] = 0
				}
				y[base+best*inner] = 1
				continue
			}
			total := 0.0
			for k := range n {
				e := math.Exp(float64(x[base+k*inner]) - top)
				total += e
				if kind == softmaxPlain {
					y[base+k*inner] = T(e)
				}
			}
			if kind == softmaxLog {
				total = math.Log(total)
				for k := range n {
					y[base+k*inner] = T(float64(x[base+k*inner]) - top - total)
				}
				continue
			}
			scale := T(1 / total)
			for k := range n {
				y[base+k*inner] *= scale
			}
		}
	}
}
