package op

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Tolerances of gradients, relative to the largest element of the gradient
// and 1.
const (
	differences = 1e-7 // central differences in float64, step 1e-5
	rounded     = 2e-5 // the same sums in float32
)

// A gradTest is one node whose gradient is compared with finite differences.
type gradTest struct {
	name  string
	op    string
	opset int64
	attrs []*graph.Attr
	in    []*tensor.Tensor // float32 ones are widened to float64
	outs  int              // 0: one
	fixed []int            // inputs whose gradient is not asked for
}

func runGradTests(t *testing.T, tests []gradTest) {
	t.Helper()
	for _, c := range tests {
		name := c.op
		if c.name != "" {
			name += "/" + strings.ReplaceAll(c.name, " ", "_")
		}
		t.Run(name, func(t *testing.T) { runGradTest(t, c) })
	}
}

func runGradTest(t *testing.T, c gradTest) {
	o, err := parseOp(opTest{op: c.op, opset: c.opset, attrs: c.attrs, in: c.in}, max(1, c.outs))
	if err != nil {
		t.Fatal(err)
	}
	checkGradient(t, o, c)
}

// checkGradient runs o, which c describes.
func checkGradient(t *testing.T, o Op, c gradTest) {
	nOut := max(1, c.outs)
	d := AsDifferentiable(o)
	if d == nil {
		t.Fatalf("%s is not differentiable", c.op)
	}
	ctx := &Ctx{Pool: kernel.NewPool(2)}
	in := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		if x != nil && x.DType() == tensor.Float32 {
			x = as(tensor.Float64, x)
		}
		in[i] = tensor.ValueOf(x)
	}
	out, err := Eval(ctx, o, in, nOut)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 7))
	dout := make([]tensor.Value, nOut)
	for i, v := range out {
		dout[i] = normal(r, v.Tensor)
	}
	start := make([]tensor.Value, len(in))
	for i, v := range in {
		if v.Kind == tensor.KindTensor && v.Tensor.DType() == tensor.Float64 && !slices.Contains(c.fixed, i) {
			start[i] = normal(r, v.Tensor)
		}
	}
	whole := backward(t, ctx, d, in, out, dout, start)
	checkDifferences(t, ctx, o, in, dout, whole)
	for i := range in {
		if whole[i] == nil {
			continue
		}
		only := make([]tensor.Value, len(in))
		only[i] = start[i]
		if part := backward(t, ctx, d, in, out, dout, only); !slices.Equal(part[i], whole[i]) {
			t.Errorf("input %d: the gradient differs where it alone is wanted", i)
		}
	}
	if nOut > 1 {
		for i := range dout {
			some := slices.Clone(dout)
			some[i] = tensor.Value{}
			checkDifferences(t, ctx, o, in, some, backward(t, ctx, d, in, out, some, start))
		}
	}
	checkSaves(t, ctx, d, in, out, dout, start, whole)
	checkByRows(t, ctx, o, in, out, dout, start)
	if w, ok := d.(Overwriter); ok {
		checkOverwrites(t, ctx, w, in, out, dout, start, whole, 1e-12)
	}
	if w, ok := d.(InPlace); ok {
		checkInPlace(t, ctx, w, in, out, dout, start, whole)
	}
	none := make([]tensor.Value, nOut)
	for i, g := range backward(t, ctx, d, in, out, none, start) {
		if slices.ContainsFunc(g, func(v float64) bool { return math.Abs(v) > 1e-12 }) {
			t.Errorf("input %d: a gradient without one of the outputs", i)
		}
	}
	// In float32.
	narrow := func(vs []tensor.Value) []tensor.Value {
		ns := slices.Clone(vs)
		for i, v := range ns {
			if v.Kind == tensor.KindTensor && v.Tensor.DType() == tensor.Float64 {
				ns[i] = tensor.ValueOf(as(tensor.Float32, v.Tensor))
			}
		}
		return ns
	}
	in32 := narrow(in)
	out32, err := Eval(ctx, o, in32, nOut)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range backward(t, ctx, d, in32, out32, narrow(dout), narrow(start)) {
		if err := near(g, whole[i], rounded); err != nil {
			t.Errorf("input %d in float32: %v", i, err)
		}
	}
	if w, ok := d.(Overwriter); ok {
		checkOverwrites(t, ctx, w, in32, out32, narrow(dout), narrow(start), whole, rounded)
	}
}

// normal is a tensor like x of normal numbers.
func normal(r *rand.Rand, x *tensor.Tensor) tensor.Value {
	v := make([]float64, x.Len())
	for i := range v {
		v[i] = r.NormFloat64()
	}
	g, err := tensor.FromFloat64s(x.DType(), v, x.Shape()...)
	if err != nil {
		return tensor.Value{} // no number that has a gradient
	}
	return tensor.ValueOf(g)
}

// backward is what Backward adds to start, nil where start has nothing.
func backward(t *testing.T, ctx *Ctx, d Differentiable, in, out, dout, start []tensor.Value) [][]float64 {
	t.Helper()
	din := make([]tensor.Value, len(start))
	for i, v := range start {
		if v.Kind == tensor.KindTensor {
			din[i] = tensor.ValueOf(v.Tensor.Clone())
		}
	}
	if err := d.Backward(ctx, in, out, dout, din); err != nil {
		t.Fatal(err)
	}
	grads := make([][]float64, len(din))
	for i, v := range din {
		if v.Kind == tensor.KindTensor {
			grads[i], _ = tensor.Float64s(v.Tensor)
			before, _ := tensor.Float64s(start[i].Tensor)
			for k := range before {
				grads[i][k] -= before[k]
			}
		}
	}
	return grads
}

// checkDifferences compares gradients with central differences of ⟨dout, out⟩.
func checkDifferences(t *testing.T, ctx *Ctx, o Op, in, dout []tensor.Value, grads [][]float64) {
	t.Helper()
	f := func() float64 {
		out, err := Eval(ctx, o, in, len(dout))
		if err != nil {
			t.Fatal(err)
		}
		s := 0.0
		for i, g := range dout {
			if g.Kind == tensor.KindTensor {
				s += dot(tensor.Data[float64](g.Tensor), tensor.Data[float64](out[i].Tensor))
			}
		}
		return s
	}
	const h = 1e-5
	for i, g := range grads {
		if g == nil {
			continue
		}
		x := tensor.Data[float64](in[i].Tensor)
		want := make([]float64, len(x))
		for k, v := range x {
			x[k] = v + h
			up := f()
			x[k] = v - h
			want[k] = (up - f()) / (2 * h)
			x[k] = v
		}
		if err := near(g, want, differences); err != nil {
			t.Errorf("input %d: %v", i, err)
		}
	}
}

// checkSaves overwrites the elements that Backward is said not to read.
func checkSaves(t *testing.T, ctx *Ctx, d Differentiable, in, out, dout, start []tensor.Value, whole [][]float64) {
	t.Helper()
	lost := func(v tensor.Value) tensor.Value {
		if v.Kind == tensor.KindTensor && v.Tensor.DType() == tensor.Float64 {
			v.Tensor = v.Tensor.Clone()
			for i := range tensor.Data[float64](v.Tensor) {
				tensor.Data[float64](v.Tensor)[i] = math.NaN()
			}
		}
		return v
	}
	for only := -1; only < len(start); only++ {
		wanted, want := make([]tensor.Value, len(start)), make([]bool, len(start))
		for i := range start {
			if want[i] = start[i].Kind == tensor.KindTensor && (only < 0 || i == only); want[i] {
				wanted[i] = start[i]
			}
		}
		readIn, readOut := Saves(d, want)
		savedIn, savedOut := slices.Clone(in), slices.Clone(out)
		for i := range in {
			if !readIn[i] {
				savedIn[i] = lost(in[i])
			}
		}
		for i := range out {
			if !readOut {
				savedOut[i] = lost(out[i])
			}
		}
		for i, g := range backward(t, ctx, d, savedIn, savedOut, dout, wanted) {
			if want[i] && !slices.Equal(g, whole[i]) {
				t.Errorf("input %d: the gradient differs where only saved elements are there", i)
			}
		}
	}
}

// spoil fills x, of float32 or float64, with NaN.
func spoil(x *tensor.Tensor) {
	if x.DType() == tensor.Float32 {
		for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
			v[i] = float32(math.NaN())
		}
		return
	}
	for i, v := 0, tensor.Data[float64](x); i < len(v); i++ {
		v[i] = math.NaN()
	}
}

func numbers(x *tensor.Tensor) []float64 {
	v, err := tensor.Float64s(x)
	if err != nil {
		panic(err)
	}
	return v
}

// checkOverwrites has each gradient overwritten, and all of them.
func checkOverwrites(t *testing.T, ctx *Ctx, d Overwriter, in, out, dout, start []tensor.Value, whole [][]float64, tol float64) {
	t.Helper()
	for only := -1; only < len(start); only++ {
		din, fresh := make([]tensor.Value, len(start)), make([]bool, len(start))
		for i, v := range start {
			if v.Kind != tensor.KindTensor {
				continue
			}
			din[i] = tensor.ValueOf(v.Tensor.Clone())
			if fresh[i] = only < 0 || i == only; fresh[i] {
				spoil(din[i].Tensor)
			}
		}
		if err := d.BackwardInto(ctx, in, out, dout, din, fresh); err != nil {
			t.Fatal(err)
		}
		for i, v := range din {
			if v.Kind != tensor.KindTensor {
				continue
			}
			want, got := slices.Clone(whole[i]), numbers(v.Tensor)
			if !fresh[i] {
				addTo(want, numbers(start[i].Tensor))
			}
			if err := near(got, want, tol); err != nil {
				t.Errorf("input %d of those overwritten (%v): %v", i, fresh, err)
			}
		}
	}
}

// checkInPlace has the first output and the first input share memory, and
// their gradients.
func checkInPlace(t *testing.T, ctx *Ctx, d InPlace, in, out, dout, start []tensor.Value, whole [][]float64) {
	t.Helper()
	if start[0].Kind != tensor.KindTensor || !slices.Equal(in[0].Tensor.Shape(), out[0].Tensor.Shape()) {
		return
	}
	shared := tensor.ValueOf(in[0].Tensor.Clone())
	if err := d.Forward(ctx, append([]tensor.Value{shared}, in[1:]...), append([]tensor.Value{shared}, out[1:]...)); err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(shared.Tensor, out[0].Tensor) {
		t.Error("the output differs where it shares the input's memory")
	}
	din, fresh := make([]tensor.Value, len(start)), make([]bool, len(start))
	shared = tensor.ValueOf(dout[0].Tensor.Clone())
	for i, v := range start {
		if v.Kind == tensor.KindTensor {
			din[i], fresh[i] = tensor.ValueOf(v.Tensor.Clone()), true
		}
	}
	din[0] = shared
	if err := d.BackwardInto(ctx, in, out, append([]tensor.Value{shared}, dout[1:]...), din, fresh); err != nil {
		t.Fatal(err)
	}
	for i, v := range din {
		if v.Kind != tensor.KindTensor {
			continue
		}
		if err := near(tensor.Data[float64](v.Tensor), whole[i], 1e-12); err != nil {
			t.Errorf("input %d, the gradients sharing memory: %v", i, err)
		}
	}
}

func near(got, want []float64, tol float64) error {
	scale := 1.0
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for k := range want {
		if !(math.Abs(got[k]-want[k]) <= tol*scale) {
			return fmt.Errorf("element %d of the gradient is %v, wanted %v", k, got[k], want[k])
		}
	}
	return nil
}

// positive is |x|+0.5 of each element.
func positive(x *tensor.Tensor) *tensor.Tensor {
	for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
		v[i] = float32(math.Abs(float64(v[i]))) + 0.5
	}
	return x
}

type tensors = []*tensor.Tensor

func TestArithBackward(t *testing.T) {
	for _, name := range []string{"Add", "Sub", "Mul", "Div"} {
		runGradTests(t, []gradTest{
			{name: "same", op: name, opset: 14, in: tensors{random(1, 2, 3), positive(random(2, 2, 3))}},
			{name: "row", op: name, opset: 14, in: tensors{random(1, 4, 3), positive(random(2, 3))}},
			{name: "column", op: name, opset: 14, in: tensors{random(1, 2, 3), positive(random(2, 2, 1))}},
			{name: "scalar left", op: name, opset: 7, in: tensors{random(1), positive(random(2, 2, 5))}},
			{name: "both broadcast", op: name, opset: 13, in: tensors{random(1, 3, 1, 5), positive(random(2, 2, 1))}},
			{name: "inner and outer", op: name, opset: 13, in: tensors{random(1, 2, 3, 4, 5), positive(random(2, 3, 1, 5))}},
			{name: "empty", op: name, opset: 13, in: tensors{random(1, 0, 3), positive(random(2, 3))}},
		})
	}
}

func TestProductsBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "Gemm", opset: 13, in: tensors{random(1, 3, 4), random(2, 4, 5), random(3, 5)}},
		{name: "A transposed", op: "Gemm", opset: 13, attrs: []*graph.Attr{attrInt("transA", 1)},
			in: tensors{random(1, 4, 3), random(2, 4, 5), random(3, 3, 1)}},
		{name: "B transposed", op: "Gemm", opset: 11, attrs: []*graph.Attr{attrInt("transB", 1), attrFloat("alpha", 0.5), attrFloat("beta", -2)},
			in: tensors{random(1, 3, 4), random(2, 5, 4), random(3)}},
		{name: "both", op: "Gemm", opset: 9, attrs: []*graph.Attr{attrInt("transB", 1), attrInt("transA", 1), attrFloat("alpha", 3)},
			in: tensors{random(1, 4, 3), random(2, 5, 4), random(3, 3, 5)}},
		{name: "no C", op: "Gemm", opset: 11, in: tensors{random(1, 3, 4), random(2, 4, 1)}},
		{op: "MatMul", opset: 13, in: tensors{random(1, 3, 4), random(2, 4, 5)}},
		{name: "rows of a batch", op: "MatMul", opset: 13, in: tensors{random(1, 2, 3, 4), random(2, 4, 5)}},
		{name: "batches", op: "MatMul", opset: 13, in: tensors{random(1, 2, 3, 4), random(2, 2, 4, 5)}},
		{name: "broadcast", op: "MatMul", opset: 13, in: tensors{random(1, 3, 1, 2, 4), random(2, 2, 4, 3)}},
		{name: "one A", op: "MatMul", opset: 13, in: tensors{random(1, 3, 4), random(2, 5, 4, 2)}},
		{name: "one of A", op: "MatMul", opset: 13, in: tensors{random(1, 1, 1, 3, 4), random(2, 2, 3, 4, 2)}},
		{name: "one B above", op: "MatMul", opset: 13, in: tensors{random(1, 2, 3, 4), random(2, 1, 1, 4, 2)}},
		{name: "outer broadcast", op: "MatMul", opset: 13, in: tensors{random(1, 2, 1, 3, 4), random(2, 2, 3, 4, 2)}},
		{name: "no matrices", op: "MatMul", opset: 13, in: tensors{random(1, 0, 3, 4), random(2, 0, 4, 2)}},
		{name: "broadcast A", op: "MatMul", opset: 9, in: tensors{random(1, 2, 4), random(2, 3, 2, 4, 3)}},
		{name: "vectors", op: "MatMul", opset: 13, in: tensors{random(1, 4), random(2, 4)}},
		{name: "row vector", op: "MatMul", opset: 13, in: tensors{random(1, 4), random(2, 2, 4, 3)}},
		{name: "column vector", op: "MatMul", opset: 13, in: tensors{random(1, 2, 3, 4), random(2, 4)}},
	})
}

// The operator that stands for Add, with Relu and without.
func TestBiasBackward(t *testing.T) {
	for _, relu := range []bool{false, true} {
		for _, in := range []tensors{{random(1, 2, 3, 5), random(2, 5)}, {random(1, 4, 3), random(2, 1, 3)}, {random(1, 6), random(2, 6)}, {random(1, 0, 3), random(2, 3)}, {random(1, 40, 33), random(2, 33)}} {
			o := NewBias(relu)
			checkGradient(t, o, gradTest{in: in})
			// The same as the nodes that it stands for, in float32 to the bit.
			x, b := tensor.ValueOf(in[0]), tensor.ValueOf(in[1])
			got, err := Eval(&Ctx{}, o, []tensor.Value{x, b}, 1)
			if err != nil {
				t.Fatal(err)
			}
			add, err := parseOp(opTest{op: "Add", opset: 13, in: in}, 1)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Eval(&Ctx{}, add, []tensor.Value{x, b}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if relu {
				if want, err = Eval(&Ctx{}, parseRelu(nil), want, 1); err != nil {
					t.Fatal(err)
				}
			}
			if !tensor.Equal(got[0].Tensor, want[0].Tensor) {
				t.Errorf("relu %v, %v: the output is not that of Add", relu, in)
			}
		}
	}
	if _, err := NewBias(true).Infer([]graph.Fact{graph.FactOf(random(1, 2, 3)), graph.FactOf(random(1, 2))}, 1); err == nil || !strings.Contains(err.Error(), "is no row of") {
		t.Errorf("error is %v", err)
	}
}

func TestMovementBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "Reshape", opset: 14, in: tensors{random(1, 2, 6), list[int64](3, -1)}},
		{op: "Flatten", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: tensors{random(1, 2, 3, 2)}},
		{op: "Squeeze", opset: 13, in: tensors{random(1, 2, 1, 3), list[int64](-2)}},
		{op: "Unsqueeze", opset: 11, attrs: []*graph.Attr{attrInts("axes", -1, 0)}, in: tensors{random(1, 2, 3)}},
		{op: "Transpose", opset: 13, in: tensors{random(1, 2, 3, 4)}},
		{name: "perm", op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 0, 2, 1, 3)}, in: tensors{random(1, 2, 3, 2, 2)}},
		{op: "Concat", opset: 13, attrs: []*graph.Attr{attrInt("axis", -2)}, in: tensors{random(1, 2, 1, 2), random(2, 2, 3, 2), random(3, 2, 0, 2)}},
		{op: "Split", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: tensors{random(1, 2, 6)}, outs: 3},
		{name: "sizes", op: "Split", opset: 13, in: tensors{random(1, 5, 2), list[int64](1, 4)}, outs: 2},
		{op: "Slice", opset: 13, in: tensors{random(1, 4, 5), list[int64](-1, 1), list[int64](-9, 4), list[int64](0, -1), list[int64](-2, 2)}},
		{op: "Expand", opset: 13, in: tensors{random(1, 3, 1), list[int64](2, 1, 4)}},
		{name: "inner", op: "Expand", opset: 13, in: tensors{random(1, 2, 1, 3), list[int64](2, 4, 3)}},
		{op: "Tile", opset: 13, in: tensors{random(1, 2, 3), list[int64](3, 2)}},
		{op: "Gather", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: tensors{random(1, 2, 4), tensor.Of([]int64{1, -1, 1, 0}, 2, 2)}},
		{name: "scalar index", op: "Gather", opset: 13, in: tensors{random(1, 3, 2), tensor.Scalar[int64](-2)}},
	})
}

// away is a tensor whose elements keep clear of the kinks at the numbers.
func away(x *tensor.Tensor, kinks ...float32) *tensor.Tensor {
	for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
		for _, k := range kinks {
			if math.Abs(float64(v[i]-k)) < 1e-2 {
				v[i] += 0.05
			}
		}
	}
	return x
}

// within maps normal numbers into an interval.
func within(lo, hi float64, x *tensor.Tensor) *tensor.Tensor {
	for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
		v[i] = float32(lo + (hi-lo)*sigmoid(float64(v[i])))
	}
	return x
}

func TestUnaryBackward(t *testing.T) {
	x := func() *tensor.Tensor { return away(random(5, 3, 17), -3, -0.5, 0, 0.5, 1, 3) }
	var tests []gradTest
	for _, name := range []string{"Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Sigmoid", "Softplus",
		"Softsign", "Mish", "HardSwish", "Abs", "Neg", "Relu", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid",
		"ThresholdedRelu", "Shrink", "Gelu", "Reciprocal"} {
		tests = append(tests, gradTest{op: name, opset: 20, in: tensors{x()}})
	}
	for _, name := range []string{"Sqrt", "Log"} {
		tests = append(tests, gradTest{op: name, opset: 13, in: tensors{positive(random(6, 20))}})
	}
	tests = append(tests,
		gradTest{op: "Tan", opset: 13, in: tensors{within(-1.2, 1.2, random(1, 20))}},
		gradTest{op: "Asin", opset: 13, in: tensors{within(-0.9, 0.9, random(1, 20))}},
		gradTest{op: "Acos", opset: 13, in: tensors{within(-0.9, 0.9, random(1, 20))}},
		gradTest{op: "Atanh", opset: 13, in: tensors{within(-0.9, 0.9, random(1, 20))}},
		gradTest{op: "Acosh", opset: 13, in: tensors{within(1.2, 4, random(1, 20))}},
		gradTest{op: "Floor", opset: 13, in: tensors{within(0.1, 0.9, random(1, 20))}},
		gradTest{op: "Ceil", opset: 13, in: tensors{within(0.1, 0.9, random(1, 20))}},
		gradTest{op: "Round", opset: 13, in: tensors{within(0.1, 0.4, random(1, 20))}},
		gradTest{op: "Sign", opset: 13, in: tensors{x()}},
		gradTest{name: "alpha", op: "LeakyRelu", opset: 16, attrs: []*graph.Attr{attrFloat("alpha", -0.3)}, in: tensors{x()}},
		gradTest{name: "alpha", op: "Elu", opset: 6, attrs: []*graph.Attr{attrFloat("alpha", 2)}, in: tensors{x()}},
		gradTest{name: "alpha", op: "Celu", opset: 12, attrs: []*graph.Attr{attrFloat("alpha", 2)}, in: tensors{x()}},
		gradTest{name: "alpha", op: "Selu", opset: 6, attrs: []*graph.Attr{attrFloat("alpha", 2), attrFloat("gamma", 3)}, in: tensors{x()}},
		gradTest{name: "slope", op: "HardSigmoid", opset: 6, attrs: []*graph.Attr{attrFloat("alpha", 0.4)}, in: tensors{x()}},
		gradTest{name: "tanh", op: "Gelu", opset: 20, attrs: []*graph.Attr{attrString("approximate", "tanh")}, in: tensors{x()}},
		gradTest{op: "PRelu", opset: 16, in: tensors{away(random(1, 2, 3, 4), 0), random(2, 3, 1)}},
		gradTest{name: "same", op: "PRelu", opset: 9, in: tensors{away(random(1, 2, 3), 0), random(2, 2, 3)}},
		gradTest{op: "Identity", opset: 13, in: tensors{x()}},
		gradTest{op: "Dropout", opset: 13, in: tensors{x()}},
		gradTest{name: "mask", op: "Dropout", opset: 7, in: tensors{x()}},
	)
	runGradTests(t, tests)
}

func TestSelectionBackward(t *testing.T) {
	cond := tensor.Of([]bool{true, false, true, true, false, false}, 2, 3)
	runGradTests(t, []gradTest{
		{op: "Min", opset: 13, in: tensors{random(1, 2, 3), random(2, 3), random(3, 2, 1)}},
		{op: "Max", opset: 8, in: tensors{random(1, 3), random(2, 2, 3)}},
		{op: "Sum", opset: 13, in: tensors{random(1, 3), random(2, 2, 3), random(3)}},
		{op: "Mean", opset: 13, in: tensors{random(1, 3), random(2, 2, 3)}},
		{op: "Clip", opset: 6, attrs: []*graph.Attr{attrFloat("min", -0.5), attrFloat("max", 0.5)}, in: tensors{away(random(1, 20), -0.5, 0.5)}},
		{op: "Clip", opset: 13, name: "inputs", in: tensors{random(1, 20), tensor.Scalar[float32](-0.4), tensor.Scalar[float32](0.6)}},
		{op: "Clip", opset: 13, name: "above", in: tensors{random(1, 20), nil, tensor.Scalar[float32](0.6)}},
		{op: "Clip", opset: 13, name: "crossing", in: tensors{random(1, 20), tensor.Scalar[float32](0.5), tensor.Scalar[float32](-0.5)}},
		{op: "Where", opset: 16, in: tensors{cond, random(1, 2, 3), random(2, 3)}},
		{op: "Where", opset: 9, name: "condition broadcast", in: tensors{list(true, false, true), random(1, 2, 1, 3), random(2, 4, 1)}},
		{op: "Pow", opset: 15, in: tensors{positive(random(1, 2, 3)), random(2, 3)}},
		{op: "Pow", opset: 13, name: "square", in: tensors{away(random(1, 2, 3), 0), tensor.Scalar[float32](2)}, fixed: []int{1}},
		{op: "Pow", opset: 13, name: "integer", in: tensors{away(random(1, 2, 3), 0), list[int64](0, 1, 3)}},
		{op: "Cast", opset: 13, attrs: []*graph.Attr{attrInt("to", int64(tensor.Float64))}, in: tensors{random(1, 4)}},
	})
}

func TestReduceBackward(t *testing.T) {
	for _, name := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"} {
		x := func() *tensor.Tensor {
			if name == "ReduceLogSum" {
				return positive(random(3, 2, 3, 4))
			}
			return away(random(3, 2, 3, 4), 0)
		}
		runGradTests(t, []gradTest{
			{name: "all", op: name, opset: 11, in: tensors{x()}},
			{name: "middle", op: name, opset: 11, attrs: []*graph.Attr{attrInts("axes", -2), attrInt("keepdims", 0)}, in: tensors{x()}},
			{name: "two", op: name, opset: 18, in: tensors{x(), list[int64](0, -1)}},
			{name: "last", op: name, opset: 18, attrs: []*graph.Attr{attrInt("keepdims", 0)}, in: tensors{x(), list[int64](2)}},
			{name: "none", op: name, opset: 18, attrs: []*graph.Attr{attrInt("noop_with_empty_axes", 1)}, in: tensors{x()}},
		})
	}
}

func TestNormBackward(t *testing.T) {
	var tests []gradTest
	for _, name := range []string{"Softmax", "LogSoftmax"} {
		tests = append(tests,
			gradTest{op: name, opset: 13, in: tensors{random(1, 2, 3, 4)}},
			gradTest{name: "inner", op: name, opset: 13, attrs: []*graph.Attr{attrInt("axis", -2)}, in: tensors{random(1, 2, 3, 4)}},
			gradTest{name: "matrix", op: name, opset: 11, in: tensors{random(1, 2, 3, 4)}},
			gradTest{name: "whole", op: name, opset: 11, attrs: []*graph.Attr{attrInt("axis", 0)}, in: tensors{random(1, 2, 3)}})
	}
	tests = append(tests,
		gradTest{op: "LayerNormalization", opset: 17, in: tensors{random(1, 3, 2, 5), random(2, 5), random(3, 5)}},
		gradTest{name: "two axes", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{attrInt("axis", -2)},
			in: tensors{random(1, 3, 2, 5), random(2, 2, 5), random(3, 2, 5)}},
		gradTest{name: "broadcast", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{attrInt("axis", 1)},
			in: tensors{random(1, 3, 2, 5), random(2, 1, 2, 1), random(3)}},
		gradTest{name: "no bias", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{attrFloat("epsilon", 0.1)}, in: tensors{random(1, 4, 6), random(2, 6)}},
		gradTest{name: "many rows", op: "LayerNormalization", opset: 17, attrs: []*graph.Attr{attrInt("axis", 1)},
			in: tensors{random(1, 9000, 2), random(2, 2)}, fixed: []int{0}},
		gradTest{op: "BatchNormalization", opset: 15, in: tensors{random(1, 2, 3, 4), random(2, 3), random(3, 3), random(4, 3), positive(random(5, 3))}},
		gradTest{name: "rank 2", op: "BatchNormalization", opset: 9, in: tensors{random(1, 4, 3), random(2, 3), random(3, 3), random(4, 3), positive(random(5, 3))}},
		gradTest{name: "training", op: "BatchNormalization", opset: 15, attrs: []*graph.Attr{attrInt("training_mode", 1)}, fixed: []int{3, 4},
			in: tensors{random(1, 2, 3, 4), random(2, 3), random(3, 3), random(4, 3), positive(random(5, 3))}},
		gradTest{name: "training, rank 2", op: "BatchNormalization", opset: 14, attrs: []*graph.Attr{attrInt("training_mode", 1), attrFloat("epsilon", 0.1)}, fixed: []int{3, 4},
			in: tensors{random(1, 5, 3), random(2, 3), random(3, 3), random(4, 3), positive(random(5, 3))}},
		gradTest{op: "InstanceNormalization", opset: 6, in: tensors{random(1, 2, 3, 4), random(2, 3), random(3, 3)}},
		gradTest{op: "GroupNormalization", opset: 18, attrs: []*graph.Attr{attrInt("num_groups", 2)}, in: tensors{random(1, 2, 4, 3), random(2, 2), random(3, 2)}},
		gradTest{name: "per channel", op: "GroupNormalization", opset: 21, attrs: []*graph.Attr{attrInt("num_groups", 2)}, in: tensors{random(1, 2, 4, 3), random(2, 4), random(3, 4)}})
	runGradTests(t, tests)
}

func TestConvBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "Conv", opset: 11, in: tensors{random(1, 2, 3, 5, 6), random(2, 4, 3, 3, 2), random(3, 4)}},
		{name: "padded groups", op: "Conv", opset: 11, in: tensors{random(1, 2, 4, 5, 6), random(2, 6, 2, 3, 3), random(3, 6)},
			attrs: []*graph.Attr{attrInt("group", 2), attrInts("pads", 1, 0, 2, 1), attrInts("strides", 2, 1)}},
		{name: "dilated", op: "Conv", opset: 11, in: tensors{random(1, 1, 2, 7, 6), random(2, 2, 2, 3, 2)},
			attrs: []*graph.Attr{attrInts("dilations", 2, 3), attrInts("pads", 2, 2, 2, 2)}},
		{name: "1x1", op: "Conv", opset: 11, in: tensors{random(1, 2, 3, 4, 2), random(2, 5, 3, 1, 1), random(3, 5)}},
		{name: "1x1 strided", op: "Conv", opset: 11, in: tensors{random(1, 2, 3, 4, 3), random(2, 5, 3, 1, 1)}, attrs: []*graph.Attr{attrInts("strides", 2, 2)}},
		{name: "depthwise", op: "Conv", opset: 11, in: tensors{random(1, 2, 3, 9), random(2, 3, 1, 4)}, attrs: []*graph.Attr{attrInt("group", 3), attrString("auto_pad", "SAME_LOWER")}},
		{name: "three axes", op: "Conv", opset: 11, in: tensors{random(1, 1, 2, 3, 4, 3), random(2, 2, 2, 2, 3, 2), random(3, 2)}},
	})
}

func TestPoolBackward(t *testing.T) {
	x := func() *tensor.Tensor { return random(4, 2, 2, 6, 5) }
	odd := []*graph.Attr{attrInts("kernel_shape", 3, 2), attrInts("strides", 2, 1), attrInts("pads", 1, 0, 1, 1)}
	runGradTests(t, []gradTest{
		{op: "MaxPool", opset: 12, attrs: odd, in: tensors{x()}},
		{name: "dilated", op: "MaxPool", opset: 12, attrs: []*graph.Attr{attrInts("kernel_shape", 2, 2), attrInts("dilations", 2, 3)}, in: tensors{x()}},
		{name: "ceil", op: "MaxPool", opset: 12, attrs: []*graph.Attr{attrInts("kernel_shape", 4), attrInts("strides", 3), attrInt("ceil_mode", 1)}, in: tensors{random(1, 2, 3, 9)}},
		{op: "AveragePool", opset: 11, attrs: odd, in: tensors{x()}},
		{name: "padding counts", op: "AveragePool", opset: 11, attrs: append([]*graph.Attr{attrInt("count_include_pad", 1), attrInt("ceil_mode", 1)}, odd...), in: tensors{x()}},
		{op: "LpPool", opset: 18, attrs: odd, in: tensors{x()}},
		{name: "p 3", op: "LpPool", opset: 11, attrs: append([]*graph.Attr{attrInt("p", 3)}, odd...), in: tensors{x()}},
		{name: "p 1", op: "LpPool", opset: 11, attrs: append([]*graph.Attr{attrInt("p", 1)}, odd...), in: tensors{x()}},
		{op: "GlobalMaxPool", opset: 1, in: tensors{x()}},
		{op: "GlobalAveragePool", opset: 1, in: tensors{x()}},
		{op: "GlobalLpPool", opset: 2, in: tensors{x()}},
	})
}

func TestIndexingBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "Pad", opset: 13, in: tensors{random(1, 2, 3), list[int64](1, -1, 0, 2), tensor.Scalar[float32](0.5)}},
		{name: "attributes", op: "Pad", opset: 2, attrs: []*graph.Attr{attrInts("pads", 0, 2, 1, 0)}, in: tensors{random(1, 2, 3)}},
		{name: "nothing kept", op: "Pad", opset: 13, in: tensors{random(1, 2, 2), list[int64](-2, 0, 3, 0), tensor.Scalar[float32](0.5)}},
		{name: "reflect", op: "Pad", opset: 13, attrs: []*graph.Attr{attrString("mode", "reflect")}, in: tensors{random(1, 2, 3), list[int64](1, 2, 0, 1)}},
		{name: "edge", op: "Pad", opset: 18, attrs: []*graph.Attr{attrString("mode", "edge")}, in: tensors{random(1, 2, 3), list[int64](2, 1), nil, list[int64](-1)}},
		{op: "GatherElements", opset: 13, attrs: []*graph.Attr{attrInt("axis", 1)}, in: tensors{random(1, 2, 3), tensor.Of([]int64{0, -1, 2, 1}, 2, 2)}},
		{op: "GatherND", opset: 13, in: tensors{random(1, 2, 3, 2), tensor.Of([]int64{0, 1, -1, 0, 0, 1}, 3, 2)}},
		{op: "ScatterElements", opset: 13, attrs: []*graph.Attr{attrInt("axis", -1)}, in: tensors{random(1, 2, 3), tensor.Of([]int64{0, -1, 1, 1}, 2, 2), random(2, 2, 2)}},
		{op: "ScatterND", opset: 13, in: tensors{random(1, 3, 2), tensor.Of([]int64{2, 0}, 2, 1), random(2, 2, 2)}},
		{name: "add", op: "ScatterND", opset: 16, attrs: []*graph.Attr{attrString("reduction", "add")}, in: tensors{random(1, 3, 2), tensor.Of([]int64{2, 2}, 2, 1), random(2, 2, 2)}},
		{op: "DepthToSpace", opset: 13, attrs: []*graph.Attr{attrInt("blocksize", 2)}, in: tensors{random(1, 2, 8, 2, 3)}},
		{name: "CRD", op: "DepthToSpace", opset: 13, attrs: []*graph.Attr{attrInt("blocksize", 2), attrString("mode", "CRD")}, in: tensors{random(1, 2, 8, 2, 3)}},
		{op: "SpaceToDepth", opset: 13, attrs: []*graph.Attr{attrInt("blocksize", 2)}, in: tensors{random(1, 2, 3, 4, 2)}},
	})
}

func TestEinsumBackward(t *testing.T) {
	equation := func(s string) []*graph.Attr { return []*graph.Attr{attrString("equation", s)} }
	runGradTests(t, []gradTest{
		{name: "product", op: "Einsum", opset: 12, attrs: equation("ij,jk->ik"), in: tensors{random(1, 2, 3), random(2, 3, 4)}},
		{name: "batches", op: "Einsum", opset: 12, attrs: equation("...ij,...jk"), in: tensors{random(1, 2, 1, 2, 3), random(2, 2, 3, 2)}},
		{name: "diagonal", op: "Einsum", opset: 12, attrs: equation("ii->i"), in: tensors{random(1, 3, 3)}},
		{name: "three", op: "Einsum", opset: 12, attrs: equation("ab,ba,a->"), in: tensors{random(1, 2, 3), random(2, 3, 2), random(3, 2)}},
	})
}

func TestSpreadBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "ConvTranspose", opset: 11, in: tensors{random(1, 2, 3, 4, 3), random(2, 3, 2, 3, 2), random(3, 2)}},
		{name: "strided groups", op: "ConvTranspose", opset: 11, in: tensors{random(1, 2, 4, 3, 3), random(2, 4, 1, 3, 3), random(3, 2)},
			attrs: []*graph.Attr{attrInt("group", 2), attrInts("strides", 2, 3), attrInts("pads", 1, 0, 0, 1), attrInts("output_padding", 1, 0)}},
		{name: "dilated", op: "ConvTranspose", opset: 11, in: tensors{random(1, 1, 2, 5), random(2, 2, 3, 3)}, attrs: []*graph.Attr{attrInts("dilations", 2)}},
		{op: "Upsample", opset: 9, in: tensors{random(1, 1, 2, 2, 3), list[float32](1, 1, 2, 3)}, fixed: []int{1}},
		{name: "linear", op: "Resize", opset: 13, attrs: []*graph.Attr{attrString("mode", "linear")}, in: tensors{random(1, 1, 2, 3, 4), nil, list[float32](1, 1, 1.7, 0.6)}, fixed: []int{2}},
		{name: "cubic", op: "Resize", opset: 18, attrs: []*graph.Attr{attrString("mode", "cubic"), attrInt("antialias", 1)}, in: tensors{random(1, 2, 6), nil, nil, list[int64](2, 4)}},
		{name: "nearest", op: "Resize", opset: 11, in: tensors{random(1, 2, 5), list[float32](), list[float32](), list[int64](4, 3)}, fixed: []int{1, 2}},
		{name: "crop", op: "Resize", opset: 13, attrs: []*graph.Attr{attrString("mode", "linear"), attrString("coordinate_transformation_mode", "tf_crop_and_resize"), attrFloat("extrapolation_value", 7)},
			in: tensors{random(1, 3, 4), list[float32](0.2, -0.1, 0.9, 1.2), nil, list[int64](4, 5)}, fixed: []int{1}},
	})
}

func TestMovedBackward(t *testing.T) {
	yes := tensor.New(tensor.Bool)
	tensor.Data[bool](yes)[0] = true
	runGradTests(t, []gradTest{
		{op: "Trilu", opset: 14, in: tensors{random(1, 2, 3, 4)}},
		{name: "lower", op: "Trilu", opset: 14, attrs: []*graph.Attr{attrInt("upper", 0)}, in: tensors{random(1, 4, 3), tensor.Scalar[int64](-1)}},
		{op: "ReverseSequence", opset: 10, in: tensors{random(1, 4, 3, 2), list[int64](4, 1, 2)}},
		{op: "Compress", opset: 11, attrs: []*graph.Attr{attrInt("axis", -1)}, in: tensors{random(1, 2, 4), list(true, false, true, false)}},
		{name: "flat", op: "Compress", opset: 11, in: tensors{random(1, 2, 3), list(false, true, true, false)}},
		{op: "CenterCropPad", opset: 18, in: tensors{random(1, 4, 3), list[int64](3, 6)}},
		{op: "TopK", opset: 11, attrs: []*graph.Attr{attrInt("axis", 1)}, in: tensors{random(1, 2, 5, 3), list[int64](2)}},
		{name: "least", op: "TopK", opset: 11, attrs: []*graph.Attr{attrInt("largest", 0)}, in: tensors{random(1, 3, 4), list[int64](3)}},
		{op: "CumSum", opset: 14, in: tensors{random(1, 2, 4, 3), tensor.Scalar[int64](-2)}},
		{name: "exclusive", op: "CumSum", opset: 14, attrs: []*graph.Attr{attrInt("exclusive", 1), attrInt("reverse", 1)}, in: tensors{random(1, 5), tensor.Scalar[int64](0)}},
		{name: "training", op: "Dropout", opset: 13, attrs: []*graph.Attr{attrInt("seed", 5)}, in: tensors{random(1, 5, 6), tensor.Scalar[float32](0.4), yes}, fixed: []int{1}},
	})
}

func TestOtherNormsBackward(t *testing.T) {
	runGradTests(t, []gradTest{
		{op: "LpNormalization", opset: 1, in: tensors{random(1, 2, 3, 4)}},
		{name: "p 1", op: "LpNormalization", opset: 1, attrs: []*graph.Attr{attrInt("p", 1), attrInt("axis", 1)}, in: tensors{away(random(1, 2, 3, 4), 0)}},
		{op: "MeanVarianceNormalization", opset: 13, in: tensors{random(1, 2, 3, 2, 2)}},
		{name: "last axis", op: "MeanVarianceNormalization", opset: 13, attrs: []*graph.Attr{attrInts("axes", -1)}, in: tensors{random(1, 3, 5)}},
		{op: "LRN", opset: 13, attrs: []*graph.Attr{attrInt("size", 3), attrFloat("alpha", 0.5)}, in: tensors{random(1, 2, 5, 2)}},
		{name: "even", op: "LRN", opset: 13, attrs: []*graph.Attr{attrInt("size", 4), attrFloat("alpha", 2), attrFloat("bias", 0.7)}, in: tensors{random(1, 1, 6, 2, 2)}},
		{op: "Det", opset: 11, in: tensors{random(1, 2, 3, 3)}},
		{name: "one", op: "Det", opset: 11, in: tensors{random(1, 4, 1, 1)}},
	})
	// A product with a zero is that of the others there.
	x := tensor.Of([]float32{2, 0, 3, 0, 0, 5}, 2, 3)
	runGradTests(t, []gradTest{{name: "zeros", op: "ReduceProd", opset: 13, attrs: []*graph.Attr{attrInts("axes", 1)}, in: tensors{x}}})
}

// Where equal elements compete, an extreme's gradient is shared, MaxPool's
// goes to the first.
func TestTies(t *testing.T) {
	same := tensor.Of([]float64{1, 1, 0, 1}, 1, 1, 4)
	for _, c := range []struct {
		op    string
		attrs []*graph.Attr
		in    tensors
		want  []float64
	}{
		{"ReduceMax", []*graph.Attr{attrInts("axes", 2)}, tensors{same}, []float64{1. / 3, 1. / 3, 0, 1. / 3}},
		{"Max", nil, tensors{same, tensor.Scalar(1.0)}, []float64{0.5, 0.5, 0, 0.5}},
		{"MaxPool", []*graph.Attr{attrInts("kernel_shape", 4)}, tensors{same}, []float64{1, 0, 0, 0}},
		{"GlobalMaxPool", nil, tensors{same}, []float64{1, 0, 0, 0}},
	} {
		o, err := parseOp(opTest{op: c.op, opset: 13, attrs: c.attrs, in: c.in}, 1)
		if err != nil {
			t.Fatal(err)
		}
		in := make([]tensor.Value, len(c.in))
		for i, x := range c.in {
			in[i] = tensor.ValueOf(x)
		}
		out, err := Eval(&Ctx{}, o, in, 1)
		if err != nil {
			t.Fatal(err)
		}
		ones := tensor.New(tensor.Float64, out[0].Tensor.Shape()...)
		for i := range tensor.Data[float64](ones) {
			tensor.Data[float64](ones)[i] = 1
		}
		din := []tensor.Value{tensor.ValueOf(tensor.New(tensor.Float64, 1, 1, 4))}
		if err := AsDifferentiable(o).Backward(&Ctx{}, in, out, []tensor.Value{tensor.ValueOf(ones)}, din); err != nil {
			t.Fatal(err)
		}
		if err := near(tensor.Data[float64](din[0].Tensor), c.want, 1e-15); err != nil {
			t.Errorf("%s: %v", c.op, err)
		}
	}
}

func TestWithoutGradient(t *testing.T) {
	x := random(1, 2, 3)
	for _, c := range []opTest{
		{op: "Hardmax", opset: 13, in: tensors{x}},
		{op: "ArgMax", opset: 13, in: tensors{x}},
		{op: "ScatterND", opset: 16, attrs: []*graph.Attr{attrString("reduction", "mul")}, in: tensors{x, tensor.Of([]int64{0}, 1, 1), random(2, 1, 3)}},
	} {
		o, err := parseOp(c, 1)
		if err != nil {
			t.Fatal(err)
		}
		if AsDifferentiable(o) != nil {
			t.Errorf("%s has a gradient", c.op)
		}
	}
	half := as(tensor.Float16, x)
	o, err := parseOp(opTest{op: "Add", opset: 13, in: tensors{half, half}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	v := []tensor.Value{tensor.ValueOf(half), tensor.ValueOf(half)}
	err = AsDifferentiable(o).Backward(&Ctx{}, v, v[:1], v[:1], v)
	if err == nil || !strings.Contains(err.Error(), "backward for float16") {
		t.Errorf("error is %v", err)
	}
}

// Where both inputs are one value, both gradients go to one tensor.
func TestBackwardIntoOneTensor(t *testing.T) {
	x := as(tensor.Float64, random(1, 3, 3))
	in := []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(x)}
	for _, name := range []string{"Mul", "MatMul", "Add", "Div", "Gemm"} {
		o, err := parseOp(opTest{op: name, opset: 13, in: tensors{x, x}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Eval(&Ctx{}, o, in, 1)
		if err != nil {
			t.Fatal(err)
		}
		dout := []tensor.Value{normal(rand.New(rand.NewPCG(3, 4)), out[0].Tensor)}
		zero := tensor.ValueOf(tensor.New(tensor.Float64, 3, 3))
		two := backward(t, &Ctx{}, AsDifferentiable(o), in, out, dout, []tensor.Value{zero, zero})
		one := tensor.ValueOf(tensor.New(tensor.Float64, 3, 3))
		if err := AsDifferentiable(o).Backward(&Ctx{}, in, out, dout, []tensor.Value{one, one}); err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(two[0])
		addTo(want, two[1])
		if err := near(tensor.Data[float64](one.Tensor), want, 1e-12); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The gradient in pieces is the gradient, and so are the other operands'.
func TestBackwardPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	random := func(shape ...int) tensor.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
			v[i] = float32(r.NormFloat64())
		}
		return tensor.ValueOf(x)
	}
	type layer struct {
		name string
		op   Op
		x, w []int
		y    []int
	}
	layers := []layer{{"MatMul", matMul{}, []int{20, 300}, []int{300, 500}, []int{20, 500}}, {"MatMul of a batch", matMul{}, []int{2, 10, 300}, []int{300, 500}, []int{2, 10, 500}}}
	for a := range 2 {
		for b := range 2 {
			l := layer{fmt.Sprint("Gemm ", a, b), &gemm{alpha: 1, beta: 1, transA: a == 1, transB: b == 1}, []int{20, 300}, []int{300, 500}, []int{20, 500}}
			if a == 1 {
				l.x = []int{300, 20}
			}
			if b == 1 {
				l.w = []int{500, 300}
			}
			layers = append(layers, l)
		}
	}
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			in, dout := []tensor.Value{random(l.x...), random(l.w...)}, []tensor.Value{random(l.y...)}
			out := []tensor.Value{random(l.y...)}
			dx, dw, want := random(l.x...), random(l.w...), []tensor.Value{random(l.x...), random(l.w...)}
			ctx, d := &Ctx{Pool: kernel.NewPool(2)}, l.op.(Piecewise)
			if !d.InPieces(in, dout) {
				t.Error("is not given out in pieces")
			}
			if err := d.BackwardInto(ctx, in, out, dout, want, []bool{true, true}); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			pieces, w := 0, tensor.Data[float32](in[1].Tensor)
			err := d.BackwardPieces(ctx, in, out, dout, []tensor.Value{dx, {}}, []bool{true, false}, func(at int, g []float32) {
				mu.Lock()
				defer mu.Unlock()
				pieces++
				copy(tensor.Data[float32](dw.Tensor)[at:], g)
				for i := range g { // as an optimiser would
					w[at+i] = float32(math.NaN())
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if pieces < 2 || !tensor.Equal(dw.Tensor, want[1].Tensor) || !tensor.Equal(dx.Tensor, want[0].Tensor) {
				t.Errorf("%d pieces, other gradients than those of BackwardInto", pieces)
			}
		})
	}
	few := []tensor.Value{random(3, 4), random(4, 5)}
	for _, d := range []Piecewise{matMul{}, &gemm{alpha: 1, beta: 1}} {
		if d.InPieces(few, []tensor.Value{random(3, 5)}) || d.InPieces(few, []tensor.Value{{}}) {
			t.Errorf("%T: 20 elements, or none, in pieces", d)
		}
	}
	if many := []tensor.Value{random(20, 300), random(300, 500)}; (&gemm{alpha: 2}).InPieces(many, []tensor.Value{random(20, 500)}) {
		t.Error("a scaled product in pieces")
	}
	if many := []tensor.Value{random(2, 20, 300), random(2, 300, 500)}; (matMul{}).InPieces(many, []tensor.Value{random(2, 20, 500)}) {
		t.Error("several products in pieces")
	}
}
