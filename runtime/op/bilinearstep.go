package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// BilinearStep is, in float32, what five nodes of a bilinear layer compute:
//
//	Reshape X[… n1·n2] → MatMul by B[n2 terms·m2] → Reshape → MatMul by A[m1 n1·terms] from the left → Reshape
//
// and, where they follow, Add of a row and Relu. Its inputs are X, B, A and perhaps
// the row, of m1·m2 elements; its outputs Y[… m1·m2] and what lies between the two
// products, T[… n1·terms m2], which the way back reads. No file has it;
// whoever trains a graph puts it in the place of nodes that say the same.
type BilinearStep struct {
	N1, N2, M1, M2, Terms int
	Relu                  bool
}

// Infer is the shape rule: X of any rank, in rows of n1·n2.
func (o *BilinearStep) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 3, 4); err != nil {
		return nil, err
	}
	if d, err := sameDType(in); err != nil || d != tensor.Float32 && d != tensor.Undefined {
		return nil, unsupportedType("BilinearStep", d)
	}
	x := in[0].Type
	if !x.Ranked {
		return []graph.Fact{unrankedFact(x.DType)[0], unrankedFact(x.DType)[0]}[:nOut], nil
	}
	rank := len(x.Shape)
	if rank < 1 || differ(x.Shape[rank-1], graph.Size(o.N1*o.N2)) {
		return nil, fmt.Errorf("%v has no rows of %d×%d", x, o.N1, o.N2)
	}
	outer := x.Shape[:rank-1]
	y := append(append([]graph.Dim{}, outer...), graph.Size(o.M1*o.M2))
	t := append(append([]graph.Dim{}, outer...), graph.Size(o.N1*o.Terms), graph.Size(o.M2))
	return append(tensorFact(x.DType, y...), tensorFact(x.DType, t...)...)[:nOut], nil
}

// step is the kernel's layer, and the number of samples.
func (o *BilinearStep) step(ctx *Ctx, in []tensor.Value) (kernel.BilinearStep32, int) {
	s := kernel.BilinearStep32{N1: o.N1, N2: o.N2, M1: o.M1, M2: o.M2, Terms: o.Terms, Relu: o.Relu, Whole: ctx.Part,
		A: tensor.Data[float32](in[2].Tensor), B: tensor.Data[float32](in[1].Tensor)}
	if present(in, 3) {
		s.Bias = tensor.Data[float32](in[3].Tensor)
	}
	return s, in[0].Tensor.Len() / (o.N1 * o.N2)
}

// Forward computes both outputs.
func (o *BilinearStep) Forward(ctx *Ctx, in, out []tensor.Value) error {
	s, samples := o.step(ctx, in)
	s.Forward(ctx.Pool, samples, tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[1].Tensor), tensor.Data[float32](out[0].Tensor))
	return nil
}

func (o *BilinearStep) saves(want []bool) ([]bool, bool) {
	in := inputs(want, true)
	in[0] = want[1]
	if len(in) > 3 {
		in[3] = false
	}
	return in, want[2] || o.Relu
}

// savesOutput: T, and Y where it says what Relu let through.
func (o *BilinearStep) savesOutput(i int) bool { return i == 1 || o.Relu }

// SavesOutput reports whether Backward reads the i-th output, where Saves says
// that it reads outputs.
func SavesOutput(d Differentiable, i int) bool {
	s, ok := d.(interface{ savesOutput(i int) bool })
	return !ok || s.savesOutput(i)
}

// Backward adds.
func (o *BilinearStep) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

// BackwardInto has no gradient of T, which no one else reads.
func (o *BilinearStep) BackwardInto(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error {
	if present(dout, 1) {
		return &Unsupported{OpType: "BilinearStep", Detail: "with a gradient of T"}
	}
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	s, samples := o.step(ctx, in)
	d := kernel.StepGradients32{X: gradient[float32](din, 0), B: gradient[float32](din, 1), A: gradient[float32](din, 2), Bias: gradient[float32](din, 3)}
	for i, k := range [4]int{0, 2, 1, 3} {
		d.Fresh[i] = isFresh(din, fresh, k)
	}
	s.Backward(ctx.Pool, samples, tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[1].Tensor), tensor.Data[float32](out[0].Tensor),
		gradient[float32](dout, 0), d)
	return nil
}

// IsReshape reports whether o is Reshape.
func IsReshape(o Op) bool {
	_, ok := o.(*reshape)
	return ok
}

// IsMatMul reports whether o is MatMul.
func IsMatMul(o Op) bool {
	_, ok := o.(matMul)
	return ok
}
