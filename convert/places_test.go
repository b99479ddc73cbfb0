package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// bindAll is tensors as the data of m's inputs, in their order.
func bindAll(t testing.TB, m *graph.Model, xs ...*tensor.Tensor) *dataset.Bound {
	t.Helper()
	var specs []string
	for i, x := range xs {
		path := filepath.Join(t.TempDir(), "x.npy")
		var b bytes.Buffer
		if err := dataset.WriteNPY(&b, x); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		specs = append(specs, m.Graph.Inputs[i].Name()+"="+path)
	}
	s, err := dataset.Open(specs, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b, err := s.Bind(m.Graph)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// calibratedOn is a calibration on data of all inputs, masked by the named one.
func calibratedOn(t testing.TB, m *graph.Model, mask string, xs ...*tensor.Tensor) *Calibration {
	t.Helper()
	c, err := NewCalibration(t.Context(), m, bindAll(t, m, xs...), kernel.NewPool(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	if mask != "" {
		if err := c.Mask(mask); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// converted is m at a ratio, fitted.
func converted(t testing.TB, m *graph.Model, c *Calibration, o Options) (*graph.Model, *Report) {
	t.Helper()
	o.Calibration = c
	p, err := NewPlan(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	small, r, err := Apply(context.Background(), m, p, ApplyOptions{Calibration: c})
	if err != nil {
		t.Fatal(err)
	}
	return small, r
}

// A patch times the weight is the convolution's output at its place.
func TestPatches(t *testing.T) {
	for _, c := range convCases {
		if c.bias == "add" || c.bias == "computed" {
			continue
		}
		m := c.build(t, 13)
		in := randomLike(t, m, convSizes)
		outs := runModel(t, m, in...)
		y := numbersOf(outs[len(outs)-1])
		w := weightOf(t, m)
		dense, err := w.Dense()
		if err != nil {
			t.Fatal(err)
		}
		l := w.Layers[0]
		bias := make([]float64, w.Rows)
		if l.Addend != nil {
			bias = numbersOf(l.Addend.Const())
		}
		places := len(y) / in[0].Shape()[0] / w.Rows
		for _, most := range []int{4, 1000} {
			rows, at, err := patches(l, in[0], 0, most)
			if err != nil {
				t.Fatal(err)
			}
			each := len(at) / in[0].Shape()[0]
			if each != min(most, places) {
				t.Errorf("%s: %d places of %d, asked for %d", c.name, each, places, most)
			}
			if !slices.IsSortedFunc(at[:each], func(a, b int) int { return a - b }) {
				t.Errorf("%s: places %v", c.name, at[:each])
			}
			for r, place := range at {
				for f := range w.Rows {
					got := bias[f]
					for j, v := range rows.RawRowView(r) {
						got += v * dense.At(f, j)
					}
					want := y[(r/each*w.Rows+f)*places+place]
					if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
						t.Fatalf("%s: place %d, channel %d: %g, want %g", c.name, place, f, got, want)
					}
				}
			}
		}
	}
	b := newModeller(t, 8, 13)
	b.output(b.op("Conv", "y", list(b.input("x", "N", 6, 2, 2), b.weight("w", 8, 6, 3, 3))))
	if _, _, err := patches(weightOf(t, b.m).Layers[0], b.random(1, 6, 2, 2), 0, 3); err == nil {
		t.Error("patches larger than the image are taken")
	}
}

// images is smooth random images of 3 channels.
func images(n, size int, seed uint64) *tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 3))
	v := make([]float32, n*3*size*size)
	for i := range n {
		for c := range 3 {
			fx, fy, ph := rng.Float64(), rng.Float64(), 6*rng.Float64()
			for y := range size {
				for x := range size {
					v[((i*3+c)*size+y)*size+x] = float32(math.Sin(fx*float64(x)+fy*float64(y)+ph)) + 0.1*float32(rng.NormFloat64())
				}
			}
		}
	}
	return tensor.Of(v, n, 3, size, size)
}

// convNet is two 3×3 convolutions, one of 1×1 and a classifier.
func convNet(t testing.TB) *graph.Model {
	b := newModeller(t, 8, 11)
	x := b.input("x", "N", 3, "H", "W")
	h := b.op("Relu", "r1", list(b.op("Conv", "c1", list(x, b.weight("w1", 16, 3, 3, 3), b.weight("b1", 16)), attrInts("pads", 1, 1, 1, 1))))
	h = b.op("Relu", "r2", list(b.op("Conv", "c2", list(h, b.weight("w2", 24, 16, 3, 3), b.weight("b2", 24)), attrInts("strides", 2, 2))))
	h = b.op("Relu", "r3", list(b.op("Conv", "c3", list(h, b.weight("w3", 32, 24, 1, 1), b.weight("b3", 32)))))
	h = b.op("Flatten", "f", list(b.op("GlobalAveragePool", "g", list(h))))
	b.output(b.op("Gemm", "y", list(h, b.weight("w4", 32, 5), b.weight("b4", 5))))
	return b.model()
}

// Convolutions fitted to images lose far less than by their weights alone, every
// structure keeps to the budget, and auto is not worse than low rank.
func TestConvolutionsFitToData(t *testing.T) {
	m := convNet(t)
	x := images(200, 10, 1)
	free, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: 3}))
	score := func(small *graph.Model) float64 {
		s, err := calibratedOn(t, m, "", x).score(context.Background(), small, 1)
		if err != nil {
			t.Fatal(err)
		}
		return s.mean
	}
	without := score(free)
	scores := map[Structure]float64{}
	for _, s := range []Structure{Auto, LowRank, Terms, Bilinear} {
		small, r := converted(t, m, calibratedOn(t, m, "", x), Options{Ratio: 3, Structure: s})
		if r.ParamsAfter*3 > r.ParamsBefore || Params(small) != r.ParamsAfter {
			t.Errorf("%s: %d parameters of %d, the model has %d", s, r.ParamsAfter, r.ParamsBefore, Params(small))
		}
		scores[s] = score(small)
		changed := 0
		for _, l := range r.Layers {
			if l.Action != ActDense && l.Action != ActSkipped {
				changed++
				if !(l.Error >= 0 && l.Error < 1) {
					t.Errorf("%s: layer %q: error %g", s, l.Name, l.Error)
				}
			}
		}
		if changed == 0 {
			t.Errorf("%s: nothing was compressed", s)
		}
		checkInterface(t, m, small)
	}
	if scores[Auto]*2 > without {
		t.Errorf("fitted to data the outputs move by %g, by the weights alone by %g", scores[Auto], without)
	}
	if scores[Auto] > scores[LowRank] {
		t.Errorf("auto moves the outputs by %g, low rank by %g", scores[Auto], scores[LowRank])
	}
}

// Any kernel assignment can be fitted: at all terms the outputs stay.
func TestKernelsFitToData(t *testing.T) {
	m := convNet(t)
	x := images(60, 10, 2)
	c := calibratedOn(t, m, "", x)
	f := c.found
	for i, w := range f.weights {
		if w.Layers[0].Name != "n_c2" {
			continue
		}
		s, err := c.prepare(context.Background(), i, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		tried := map[string]bool{}
		for _, fo := range forms(w) {
			if tried[fo.kernel] || fo.IsLowRank() {
				continue
			}
			tried[fo.kernel] = true
			k, err := s.fitFactors(context.Background(), fo, fo.MaxTerms())
			if err != nil {
				t.Fatal(err)
			}
			if e := s.mo.Relative(s.mo.Loss(denseOf(w, k, fo.kernel), s.o.Options)); e > 1e-6 {
				t.Errorf("%v %q: relative loss %g at all terms", fo.Shape, fo.kernel, e)
			}
			few, err := s.fitFactors(context.Background(), fo, 2)
			if err != nil {
				t.Fatal(err)
			}
			if e := s.mo.Relative(s.mo.Loss(denseOf(w, few, fo.kernel), s.o.Options)); e > 1 {
				t.Errorf("%v %q: relative loss %g of two terms", fo.Shape, fo.kernel, e)
			}
		}
		if len(tried) != 4 {
			t.Errorf("tried kernels %v", tried)
		}
	}
}

// bagModel sums the embeddings of a text, weighted by its mask, and classifies.
func bagModel(t testing.TB) *graph.Model {
	b := newModeller(t, 8, 13)
	ids, err := b.g.AddInput("ids", graph.TensorType(tensor.Int64, dims("N", "T")...))
	b.must(err)
	mask, err := b.g.AddInput("mask", graph.TensorType(tensor.Float32, dims("N", "T")...))
	b.must(err)
	h := b.op("Gather", "e", list(b.weight("table", 60, 16), ids))
	h = b.op("Tanh", "h", list(b.op("MatMul", "p", list(h, b.weight("w", 16, 24)))))
	h = b.op("Mul", "k", list(h, b.op("Unsqueeze", "m", list(mask, b.ints("axis", 2)))))
	h = b.op("ReduceSum", "s", list(h, b.ints("one", 1)), attrInt("keepdims", 0))
	b.output(b.op("Gemm", "y", list(h, b.weight("v", 24, 4), b.weight("c", 4))))
	return b.model()
}

// texts is indices of which small ones are frequent, and a mask of what counts.
// What does not is filled by other.
func texts(rows, length int, other int64) (ids, mask *tensor.Tensor) {
	rng := rand.New(rand.NewPCG(11, 12))
	v, k := make([]int64, rows*length), make([]float32, rows*length)
	for r := range rows {
		n := 2 + rng.IntN(length-1)
		for i := range length {
			v[r*length+i] = int64(min(59, math.Abs(rng.NormFloat64())*8))
			if i < n {
				k[r*length+i] = 1
			} else {
				v[r*length+i] = other
			}
		}
	}
	return tensor.Of(v, rows, length), tensor.Of(k, rows, length)
}

// What stands where the mask is 0 changes nothing of the fit; without the mask
// it does.
func TestMask(t *testing.T) {
	m := bagModel(t)
	bytesOf := func(mask string, other int64) []byte {
		ids, keep := texts(120, 9, other)
		small, _ := converted(t, m, calibratedOn(t, m, mask, ids, keep), Options{Ratio: 2})
		out, err := onnx.Encode(small)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !bytes.Equal(bytesOf("mask", 50), bytesOf("mask", 7)) {
		t.Error("what the mask leaves out changes the model")
	}
	if bytes.Equal(bytesOf("", 50), bytesOf("", 7)) {
		t.Error("without a mask, the rest of the texts does not matter")
	}
	ids, keep := texts(30, 9, 0)
	c := calibratedOn(t, m, "", ids, keep)
	if err := c.Mask("attention"); !errors.Is(err, ErrData) {
		t.Errorf("error %v for a mask that is no input", err)
	}
}

// Outputs with a row per position count only those of the mask.
func TestCountedValue(t *testing.T) {
	b := &dataset.Batch{Rows: 2, Padded: 2}
	p := &positions{n: 2, t: 3, keep: []bool{true, false, true, false, true, false}}
	v := tensor.ValueOf(tensor.Of([]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 2, 3, 2))
	out, rows, padded, err := countedValue(v, b, p)
	if err != nil || rows != 3 || padded != 3 || !slices.Equal(numbersOf(out.Tensor), []float64{0, 1, 4, 5, 8, 9}) {
		t.Errorf("%v, %d of %d rows, %v", out.Tensor, rows, padded, err)
	}
	// The positions first, then the samples.
	turned, err := v.Tensor.Reshaped(3, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	out, rows, _, err = countedValue(tensor.ValueOf(turned), b, p)
	if err != nil || rows != 3 || !slices.Equal(numbersOf(out.Tensor), []float64{0, 1, 6, 7, 8, 9}) {
		t.Errorf("%v, %d rows, %v", out.Tensor, rows, err)
	}
	// One row per sample: all count.
	whole, err := v.Tensor.Reshaped(2, 6)
	if err != nil {
		t.Fatal(err)
	}
	if out, rows, _, err = countedValue(tensor.ValueOf(whole), b, p); err != nil || rows != 2 || out.Tensor != whole {
		t.Errorf("%v, %d rows, %v", out.Tensor, rows, err)
	}
	d := []float64{1, 2, 3, 4, 5, 6}
	if silence(d, []int{2, 3}, p); !slices.Equal(d, []float64{1, 0, 3, 0, 5, 0}) {
		t.Errorf("cotangents %v", d)
	}
}

// Pairs that are fitted to what is looked up lose less there than the nearest
// ones to the table.
func TestTableWeightsRows(t *testing.T) {
	ctx := context.Background()
	m := bagModel(t)
	ids, keep := texts(200, 9, 3)
	c := calibratedOn(t, m, "mask", ids, keep)
	w := c.found.weights[0]
	tb, err := c.table(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, p := range tb.Weights {
		sum += p
	}
	if math.Abs(sum-1) > 1e-9 || tb.Weights[0] < 4*tb.Weights[30] {
		t.Errorf("weights sum to %g, of the frequent row %g, of a rare one %g", sum, tb.Weights[0], tb.Weights[30])
	}
	for _, f := range forms(w) {
		for _, terms := range []int{1, 3} {
			if terms >= f.MaxTerms() { // exact either way
				continue
			}
			k, err := c.fitTable(ctx, 0, f.Shape, terms)
			if err != nil {
				t.Fatal(err)
			}
			plain, _, err := factorize.NearestKronecker(ctx, tb.W, f.Shape, terms, factorize.Options{})
			if err != nil {
				t.Fatal(err)
			}
			metric := tb.Metric
			if !f.IsLowRank() {
				tb.Metric = nil // pairs do not know of it
			}
			got, want := tb.Loss(k.Dense(), factorize.Options{}), tb.Loss(plain.Dense(), factorize.Options{})
			tb.Metric = metric
			if got > want {
				t.Errorf("%v, %d terms: loss %g, of the nearest sum %g", f.Shape, terms, got, want)
			}
		}
	}
}

// A table fitted to what is looked up loses less there than by its weights.
func TestTableFitsToData(t *testing.T) {
	m := bagModel(t)
	ids, keep := texts(200, 9, 3)
	for _, s := range []Structure{LowRank, Auto} {
		c := calibratedOn(t, m, "mask", ids, keep)
		fitted, r := converted(t, m, c, Options{Ratio: 2, Structure: s, Layers: []string{"n_e"}})
		if r.Layers[0].Action == ActDense || !(r.Layers[0].Error > 0 && r.Layers[0].Error < 1) {
			t.Errorf("%s: %+v", s, r.Layers[0])
		}
		p := mustPlan(t, m, Options{Ratio: 2, Structure: s, Layers: []string{"n_e"}})
		free, _ := mustApply(t, m, p)
		with, err := c.score(context.Background(), fitted, 1)
		if err != nil {
			t.Fatal(err)
		}
		without, err := c.score(context.Background(), free, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !(with.mean < without.mean) {
			t.Errorf("%s: the outputs move by %g fitted, %g by the weights alone", s, with.mean, without.mean)
		}
	}
}
