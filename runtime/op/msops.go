package op

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// The operators of com.microsoft that ONNX Runtime's own optimiser fuses others
// into, and writes where it saves a model: those that say in one node what a few
// of ONNX's say.

// biasGelu is GELU of X[… N] + B[N], B given or not: BiasGelu, or with tanh in place
// of erf FastGelu.
type biasGelu struct {
	name     string
	needs    bool
	function kernel.Function
}

func parseBiasGelu(name string, needs bool, f kernel.Function) parser {
	return func(*attrs) Op { return &biasGelu{name, needs, f} }
}

func (o *biasGelu) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	required := 1
	if o.needs {
		required = 2
	}
	if err := arity(in, required, 2); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err == nil && d != tensor.Undefined && d != tensor.Float32 && d != tensor.Float16 && d != tensor.BFloat16 {
		err = &Unsupported{"com.microsoft", o.name, "for " + d.String()}
	}
	if err == nil && given(in, 1) {
		err = rowOf("the bias", in[1], in[0])
	}
	return []graph.Fact{{Type: in[0].Type}}, err
}

// rowOf fails where f is surely not [N] for x of [… N].
func rowOf(name string, f, x graph.Fact) error {
	if err := withRank(f, name, 1); err != nil {
		return err
	}
	if x.Ranked && f.Ranked && (len(x.Shape) == 0 || differ(x.Shape[len(x.Shape)-1], f.Shape[0])) {
		return fmt.Errorf("%s is %v, wanted a row of %v", name, f.Type, x.Type)
	}
	return nil
}

func (o *biasGelu) Forward(ctx *Ctx, in, out []tensor.Value) error {
	if in[0].Tensor.DType() != tensor.Float32 {
		return viaFloat32(ctx, o, in, out)
	}
	x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	if present(in, 1) {
		b := tensor.Data[float32](in[1].Tensor)
		for i, v := range x {
			y[i] = v + b[i%len(b)]
		}
		x = y
	}
	kernel.Unary32(ctx.Pool, o.function, y, x, 0, 0)
	return nil
}

// parseQuickGelu is x·sigmoid(αx).
func parseQuickGelu(a *attrs) Op {
	alpha := float64(a.float("alpha", 1.702))
	return &unary{name: "QuickGelu", f: func(x float64) float64 { return x * sigmoid(alpha*x) }, df: func(x, _ float64) float64 {
		s := sigmoid(alpha * x)
		return s + alpha*x*s*(1-s)
	}}
}

// skipLayerNorm is LayerNormalization of X + skip + bias over the last axis: Y, the
// mean and 1/√(variance + ε) of each row, and the sum.
type skipLayerNorm struct{ epsilon float64 }

func parseSkipLayerNorm(a *attrs) Op {
	return &skipLayerNorm{float64(a.float("epsilon", 1e-12))}
}

func (o *skipLayerNorm) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 3, 5); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	switch {
	case err != nil:
		return nil, err
	case d != tensor.Undefined && d != tensor.Float32 && d != tensor.Float16:
		return nil, &Unsupported{"com.microsoft", "SkipLayerNormalization", "for " + d.String()}
	case nOut > 4:
		return nil, fmt.Errorf("found %d outputs, wanted at most 4", nOut)
	}
	x := in[0]
	for i := 2; i < len(in); i++ {
		if given(in, i) {
			if err := rowOf([]string{"gamma", "beta", "bias"}[i-2], in[i], x); err != nil {
				return nil, err
			}
		}
	}
	stats := unrankedFact(tensor.Float32)[0]
	if x.Ranked {
		if len(x.Shape) == 0 {
			return nil, fmt.Errorf("input is a scalar")
		}
		dims := slices.Clone(x.Shape)
		dims[len(dims)-1] = graph.Size(1)
		stats = tensorFact(tensor.Float32, dims...)[0]
		if s := in[1]; s.Ranked {
			shape, _, err := broadcastShapes(x.Type, s.Type)
			if err != nil {
				return nil, err
			}
			if len(shape) != len(x.Shape) {
				return nil, fmt.Errorf("skip is %v, the input %v", s.Type, x.Type)
			}
			for i, n := range shape {
				if differ(n, x.Shape[i]) {
					return nil, fmt.Errorf("skip is %v, the input %v", s.Type, x.Type)
				}
			}
		}
	}
	return []graph.Fact{{Type: x.Type}, stats, stats, {Type: x.Type}}[:nOut], nil
}

func (o *skipLayerNorm) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	if x.DType() != tensor.Float32 {
		return viaFloat32(ctx, o, in, out)
	}
	sum := tensor.New(tensor.Float32, x.Shape()...)
	if present(out, 3) {
		sum = out[3].Tensor
	}
	zip(x, in[1].Tensor, sum, func(a, b float32) float32 { return a + b })
	s, n := tensor.Data[float32](sum), last(x)
	if n == 0 {
		return nil
	}
	var beta []float32
	if present(in, 3) {
		beta = tensor.Data[float32](in[3].Tensor)
	}
	if present(in, 4) {
		bias := tensor.Data[float32](in[4].Tensor)
		for i := range s {
			s[i] += bias[i%n]
		}
	}
	rows := len(s) / n
	kernel.LayerNorm32(ctx.Pool, rows, n, tensor.Data[float32](out[0].Tensor), n, s, n, tensor.Data[float32](in[2].Tensor), beta, o.epsilon, nil)
	if !present(out, 1) && !present(out, 2) {
		return nil
	}
	for row := range rows {
		mean, square := 0.0, 0.0
		for _, v := range s[row*n : (row+1)*n] {
			mean += float64(v)
		}
		mean /= float64(n)
		for _, v := range s[row*n : (row+1)*n] {
			square += (float64(v) - mean) * (float64(v) - mean)
		}
		if present(out, 1) {
			tensor.Data[float32](out[1].Tensor)[row] = float32(mean)
		}
		if present(out, 2) {
			tensor.Data[float32](out[2].Tensor)[row] = float32(1 / math.Sqrt(square/float64(n)+o.epsilon))
		}
	}
	return nil
}

// fusedMatMul is alpha·A'·B' as numpy.matmul has it, where A' and B' may have their
// last two axes exchanged.
type fusedMatMul struct {
	alpha  float32
	ta, tb bool
}

func parseFusedMatMul(a *attrs) Op {
	for _, name := range []string{"transBatchA", "transBatchB"} {
		if a.bool(name, false) {
			a.fail(&Unsupported{"com.microsoft", "FusedMatMul", "with " + name})
		}
	}
	return &fusedMatMul{a.float("alpha", 1), a.bool("transA", false), a.bool("transB", false)}
}

func (o *fusedMatMul) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	turned := func(f graph.Fact, t bool) graph.Fact {
		f = graph.Fact{Type: f.Type}
		if n := len(f.Shape); t && n >= 2 {
			f.Shape = slices.Clone(f.Shape)
			f.Shape[n-1], f.Shape[n-2] = f.Shape[n-2], f.Shape[n-1]
		}
		return f
	}
	d, err := sameDType(in)
	if err == nil && d != tensor.Undefined && !d.IsFloat() {
		err = &Unsupported{"com.microsoft", "FusedMatMul", "for " + d.String()}
	}
	if err != nil {
		return nil, err
	}
	return matMul{}.Infer([]graph.Fact{turned(in[0], o.ta), turned(in[1], o.tb)}, 1)
}

func (o *fusedMatMul) Forward(ctx *Ctx, in, out []tensor.Value) error {
	y := out[0].Tensor
	var err error
	switch y.DType() {
	case tensor.Float32:
		err = fused[float32](ctx, o, in, out)
	case tensor.Float64:
		err = fused[float64](ctx, o, in, out)
	default:
		return viaFloat32(ctx, o, in, out)
	}
	return err
}

func fused[T float](ctx *Ctx, o *fusedMatMul, in, out []tensor.Value) error {
	a, b := in[0].Tensor, in[1].Tensor
	if o.ta {
		a = exchanged[T](a)
	}
	if o.tb {
		b = exchanged[T](b)
	}
	if err := (matMul{}).Forward(ctx, []tensor.Value{tensor.ValueOf(a), tensor.ValueOf(b)}, out); err != nil {
		return err
	}
	if o.alpha != 1 {
		y := tensor.Data[T](out[0].Tensor)
		for i := range y {
			y[i] *= T(o.alpha)
		}
	}
	return nil
}

// exchanged is a copy of t with its last two axes exchanged; t itself where it has
// no two.
func exchanged[T float](t *tensor.Tensor) *tensor.Tensor {
	shape := slices.Clone(t.Shape())
	n := len(shape)
	if n < 2 {
		return t
	}
	rows, cols := shape[n-2], shape[n-1]
	shape[n-2], shape[n-1] = cols, rows
	y := tensor.New(t.DType(), shape...)
	src, dst := tensor.Data[T](t), tensor.Data[T](y)
	for at := 0; at < len(src); at += rows * cols {
		for i := range rows {
			for j := range cols {
				dst[at+j*rows+i] = src[at+i*cols+j]
			}
		}
	}
	return y
}
