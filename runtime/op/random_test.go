package op

import (
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// drawn runs a random node with numbers that depend on the seed alone.
func drawn(t *testing.T, seed uint64, nOut int, c opTest) []tensor.Value {
	t.Helper()
	o, err := parseOp(c, nOut)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := o.(Random); !ok {
		t.Fatalf("%s is not Random", c.op)
	}
	in := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		in[i] = tensor.ValueOf(x)
	}
	out, err := Eval(&Ctx{Rand: rand.New(rand.NewPCG(seed, 0))}, o, in, nOut)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sampled is the bound of a mean's deviation: five standard errors.
func sampled(deviation float64, n int) float64 { return 5 * deviation / math.Sqrt(float64(n)) }

func TestDraws(t *testing.T) {
	const n = 20000
	shape := attrInts("shape", n)
	third := tensor.New(tensor.Float32, n)
	setAll(tensor.Data[float32](third), 1./3)
	for _, c := range []struct {
		opTest
		dtype           tensor.DType
		mean, deviation float64
	}{
		{opTest{op: "RandomNormal", attrs: []*graph.Attr{shape, attrFloat("mean", 3), attrFloat("scale", 2)}}, tensor.Float32, 3, 2},
		{opTest{op: "RandomNormalLike", in: []*tensor.Tensor{tensor.New(tensor.Float64, n)}}, tensor.Float64, 0, 1},
		{opTest{op: "RandomUniform", attrs: []*graph.Attr{shape, attrFloat("low", -1), attrFloat("high", 5), attrInt("dtype", int64(tensor.Float64))}},
			tensor.Float64, 2, 6 / math.Sqrt(12)},
		{opTest{op: "RandomUniformLike", in: []*tensor.Tensor{third}, attrs: []*graph.Attr{attrInt("dtype", int64(tensor.Float16))}},
			tensor.Float16, 0.5, 1 / math.Sqrt(12)},
		{opTest{op: "Bernoulli", in: []*tensor.Tensor{third}, attrs: []*graph.Attr{attrInt("dtype", int64(tensor.Int32))}},
			tensor.Int32, 1. / 3, math.Sqrt(2) / 3},
	} {
		c.opset = 15
		y := drawn(t, 1, 1, c.opTest)[0].Tensor
		v, err := tensor.Float64s(y)
		if err != nil || y.DType() != c.dtype || len(v) != n {
			t.Fatalf("%s gives %v (%v)", c.op, y, err)
		}
		mean, deviation := moments(v, 0)
		if math.Abs(mean-c.mean) > sampled(c.deviation, n) || math.Abs(deviation-c.deviation) > sampled(c.deviation, n) {
			t.Errorf("%s has mean %g and deviation %g, wanted %g and %g", c.op, mean, deviation, c.mean, c.deviation)
		}
		if !tensor.Equal(y, drawn(t, 1, 1, c.opTest)[0].Tensor) || tensor.Equal(y, drawn(t, 2, 1, c.opTest)[0].Tensor) {
			t.Errorf("%s does not depend on the run's numbers alone", c.op)
		}
		seed := attrFloat("seed", 7)
		c.attrs = append([]*graph.Attr{seed}, c.attrs...)
		own := drawn(t, 1, 1, c.opTest)[0].Tensor
		if !tensor.Equal(own, drawn(t, 2, 1, c.opTest)[0].Tensor) {
			t.Errorf("%s with a seed of its own depends on the run's", c.op)
		}
		if seed.F = 8; tensor.Equal(own, drawn(t, 1, 1, c.opTest)[0].Tensor) {
			t.Errorf("%s gives the same for two seeds", c.op)
		}
	}
}

// The numbers are a stream's, in turn: those of a seed are the same for ever.
func TestDrawsAreAStream(t *testing.T) {
	attrs := []*graph.Attr{attrInts("shape", 300), attrFloat("mean", 2), attrFloat("scale", 3), attrFloat("low", -1), attrFloat("high", 5), attrFloat("seed", 7)}
	seed := uint64(math.Float32bits(7))
	for _, c := range []struct {
		op    string
		attrs []*graph.Attr
		next  func(r *rand.Rand) float64
	}{
		{"RandomNormal", []*graph.Attr{attrs[0], attrs[1], attrs[2], attrs[5]}, func(r *rand.Rand) float64 { return 2 + 3*r.NormFloat64() }},
		{"RandomUniform", []*graph.Attr{attrs[0], attrs[3], attrs[4], attrs[5]}, func(r *rand.Rand) float64 { return -1 + 6*r.Float64() }},
	} {
		for range 2 { // the second takes the memory of the first
			r := rand.New(rand.NewPCG(seed, 0))
			for i, v := range tensor.Data[float32](drawn(t, 1, 1, opTest{op: c.op, opset: 15, attrs: c.attrs})[0].Tensor) {
				if want := float32(c.next(r)); math.Abs(float64(v-want)) > 1e-6 {
					t.Fatalf("%s: element %d is %v, wanted %v", c.op, i, v, want)
				}
			}
		}
	}
}

func TestMultinomial(t *testing.T) {
	const n = 20000
	logits := tensor.Of([]float32{0, float32(math.Log(3)), -inf32, 900, -900, 0}, 2, 3)
	y := drawn(t, 3, 1, opTest{op: "Multinomial", opset: 7, attrs: []*graph.Attr{attrInt("sample_size", n)}, in: []*tensor.Tensor{logits}})[0].Tensor
	if y.String() != "int32[2 20000]" {
		t.Fatalf("Multinomial gives %v", y)
	}
	var counts [3]float64
	for i, k := range tensor.Data[int32](y) {
		if i < n {
			counts[k]++
		} else if k != 0 {
			t.Fatalf("class %d was drawn", k)
		}
	}
	if counts[2] != 0 || math.Abs(counts[1]/n-0.75) > sampled(math.Sqrt(0.75*0.25), n) {
		t.Errorf("the classes are drawn %v times of %d, wanted 1/4, 3/4 and 0", counts, n)
	}
}

func TestDropout(t *testing.T) {
	const n = 20000
	x := tensor.New(tensor.Float32, n)
	setAll(tensor.Data[float32](x), 3)
	ratio, yes, no := tensor.Scalar[float32](0.25), tensor.Scalar(true), tensor.Scalar(false)
	out := drawn(t, 1, 2, opTest{op: "Dropout", opset: 13, in: []*tensor.Tensor{x, ratio, yes}})
	mask, kept := tensor.Data[bool](out[1].Tensor), 0.0
	for i, v := range tensor.Data[float32](out[0].Tensor) {
		if mask[i] {
			kept++
		}
		if want := float32(4); v != want && (mask[i] || v != 0) {
			t.Fatalf("element %d is %g, mask %v", i, v, mask[i])
		}
	}
	if math.Abs(kept/n-0.75) > sampled(math.Sqrt(0.75*0.25), n) {
		t.Errorf("%g of %d are kept, wanted 3/4", kept, n)
	}
	same := drawn(t, 1, 1, opTest{op: "Dropout", opset: 13, in: []*tensor.Tensor{x, ratio, no}})
	if !tensor.Equal(same[0].Tensor, x) {
		t.Error("elements are dropped outside training")
	}
	ones := tensor.New(tensor.Bool, 2)
	setAll(tensor.Data[bool](ones), true)
	runOpTests(t, []opTest{
		{name: "mask of floats", op: "Dropout", opset: 7, in: []*tensor.Tensor{counting(2)}, want: []*tensor.Tensor{counting(2), list[float32](1, 1)}},
		{name: "mask", op: "Dropout", opset: 12, in: []*tensor.Tensor{counting(2), ratio}, want: []*tensor.Tensor{counting(2), ones}},
		{name: "integers", op: "Identity", opset: 13, in: []*tensor.Tensor{list[int64](4, -2)}, want: []*tensor.Tensor{list[int64](4, -2)}},
		{name: "ratio of one", op: "Dropout", opset: 12, in: []*tensor.Tensor{counting(2), tensor.Scalar[float32](1), yes}, err: "ratio is 1, wanted 0 to below 1"},
		{name: "two ratios", op: "Dropout", opset: 12, in: []*tensor.Tensor{counting(2), counting(2)}, err: "input 1 is float32[2], wanted a scalar"},
		{name: "mode", op: "Dropout", opset: 12, in: []*tensor.Tensor{counting(2), nil, counting()}, err: "training_mode is float32[], wanted a bool"},
	})
}

// Whether a Dropout drops is known where its training_mode is a constant.
func TestDropoutIsRandomOnlyInTraining(t *testing.T) {
	for _, training := range []bool{false, true} {
		g := graph.New("test", nil)
		x, err := g.AddInput("x", graph.TensorType(tensor.Float32))
		if err != nil {
			t.Fatal(err)
		}
		y, err := g.NewValue("y", graph.Type{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := g.NewNode("", "Dropout", "", []*graph.Value{x, nil, g.NewConst("mode", tensor.Scalar(training))}, []*graph.Value{y})
		if err != nil {
			t.Fatal(err)
		}
		o, err := Parse(n, 13)
		if err != nil {
			t.Fatal(err)
		}
		if _, random := o.(Random); random != training {
			t.Errorf("training_mode %v: Random is %v", training, random)
		}
		if AsDifferentiable(o) == nil {
			t.Errorf("training_mode %v: not differentiable", training)
		}
	}
}
