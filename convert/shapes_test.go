package convert

import (
	"context"
	"testing"

	"bilinc/factorize"
	"bilinc/runtime/tensor"
)

// From the balanced shape neighbours lead to every other one of hardly more
// parameters, one step at a time and back.
func TestNeighbours(t *testing.T) {
	for _, c := range []struct{ out, in, most int }{{64, 64, 20}, {32, 48, 20}, {31, 24, 20}} {
		f, err := find(mlp(t, c.in, c.out))
		if err != nil {
			t.Fatal(err)
		}
		k := &curve{weight: f.weights[0]}
		balanced := factorize.Balanced(c.out, c.in)
		start := k.neighbours(factorize.Shape{})
		if len(start) == 0 {
			t.Fatalf("%d×%d: no neighbours", c.out, c.in)
		}
		seen := map[factorize.Shape]bool{balanced: true}
		queue := append([]factorize.Shape{}, start...)
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			if seen[s] {
				continue
			}
			seen[s] = true
			if float64(s.Params(1)) > shapeSlack*float64(balanced.Params(1)) || s.IsLowRank() || s.M1*s.M2 < c.out || s.N1*s.N2 < c.in {
				t.Errorf("%d×%d: shape %v", c.out, c.in, s)
			}
			next := k.neighbours(s)
			if len(next) == 0 || len(next) > 2 {
				t.Errorf("%d×%d: %v has neighbours %v", c.out, c.in, s, next)
			}
			queue = append(queue, next...)
		}
		want := 0
		for _, s := range factorize.Shapes(c.out, c.in) {
			if !s.IsLowRank() && float64(s.Params(1)) <= shapeSlack*float64(balanced.Params(1)) {
				want++
			}
		}
		if len(seen) != want || want < 3 {
			t.Errorf("%d×%d: %d shapes are reached of %d", c.out, c.in, len(seen), want)
		}
		if n := k.neighbours(factorize.Shape{M1: 1, N1: 1, M2: c.out, N2: c.in}); n != nil {
			t.Errorf("%d×%d: a shape that is none has neighbours %v", c.out, c.in, n)
		}
		// Behind a wide layer shapes are those of another size.
		k.cols = 2 * c.in
		if n := k.neighbours(factorize.Shape{}); n != nil {
			t.Errorf("%d×%d: neighbours behind a wide layer: %v", c.out, c.in, n)
		}
	}
}

// Points take another shape with their terms, as far as those are smaller than
// the weight; low rank and the weight itself stay.
func TestReshape(t *testing.T) {
	f, err := find(mlp(t, 64, 64))
	if err != nil {
		t.Fatal(err)
	}
	w := f.weights[0]
	balanced, low := factorize.Balanced(64, 64), factorize.LowRankShape(64, 64)
	k := &curve{weight: w, points: []point{
		{shape: balanced, terms: 1, params: 128, err: 0.5}, {shape: balanced, terms: 3, params: 384, err: 0.3},
		{shape: low, terms: 4, params: 512, err: 0.2}, {shape: balanced, terms: 30, params: 3840, err: 0.1}, {params: 4096},
	}}
	s := factorize.Shape{M1: 16, N1: 4, M2: 4, N2: 16}
	k.reshape(s)
	if len(k.points) != 5 || k.points[1].shape != s || k.points[1].params != 384 || k.points[1].terms != 3 || k.points[2].shape != low || !k.points[4].dense() {
		t.Errorf("points %+v", k.points)
	}
	k.points[0].shape, k.points[3].shape = balanced, balanced
	k.points[3].terms = 40
	k.reshape(s)
	for _, p := range k.points {
		if p.terms == 40 {
			t.Errorf("a point of 40 terms, which are larger than the weight: %+v", p)
		}
	}
}

// A search for shapes is never behind the plan without it on the selection rows,
// keeps to the budget, and finds the shape that a weight is made of.
func TestSearchFindsAShape(t *testing.T) {
	ctx := context.Background()
	b := newModeller(t, 8, 13)
	k := &factorize.Kronecker{Shape: factorize.Shape{M1: 16, N1: 4, M2: 4, N2: 16}, Rows: 64, Cols: 64}
	r, err := factorize.Random(k.Shape, 1, 64, 64, 1./64, 5)
	b.must(err)
	v := b.input("x", "N", 64)
	data := make([]float32, 64*64)
	for i, x := range transposed(r.Dense()).RawMatrix().Data {
		data[i] = float32(x)
	}
	w := b.random(64, 64)
	copy(tensor.Data[float32](w), data)
	v = b.op("Tanh", "r", list(b.op("MatMul", "h", list(v, b.init("w", w)))))
	b.output(b.op("MatMul", "y", list(v, b.weight("w2", 64, 3))))
	m := b.model()
	x := b.random(600, 64)
	// The trials that are left over find it already.
	score := func(s Structure, search bool) (*score, *Plan) {
		c := calibrated(t, m, x, 1)
		p := mustPlan(t, m, Options{Ratio: 12, Exclude: []string{"n_y"}, Structure: s, Search: search, Calibration: c})
		if 12*p.ParamsAfter > p.ParamsBefore {
			t.Errorf("%s, search %v: %d parameters of %d", s, search, p.ParamsAfter, p.ParamsBefore)
		}
		small, _ := mustApplyWith(t, m, p, ApplyOptions{Calibration: c})
		got, err := c.score(ctx, small, 1)
		if err != nil {
			t.Fatal(err)
		}
		return got, p
	}
	balanced, _ := score(Terms, false)
	for _, search := range []bool{false, true} {
		got, p := score(Auto, search)
		if s := p.Layers[0].Shape; s == nil || s.factorize() != k.Shape {
			t.Errorf("search %v found %v, the weight is one of %v", search, s, k.Shape)
		}
		if !(got.mean < balanced.mean/10) {
			t.Errorf("search %v scores %g, balanced shapes %g", search, got.mean, balanced.mean)
		}
	}
}
