package convert

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Rows are kept by weight, batch and layer for one mode, until there is no more
// room: then what is whole stays and the rest goes.
func TestTargetsAreKept(t *testing.T) {
	var kept targets
	rows := mat.NewDense(2, 3, nil)
	if kept.have("a", []int{0}) {
		t.Error("something is there at the start")
	}
	kept.keep(targetKey{0, 0, 0}, rows)
	kept.keep(targetKey{0, 1, 0}, rows)
	if kept.have("a", []int{0}) {
		t.Error("rows count before they are whole")
	}
	kept.complete([]int{0})
	if !kept.have("a", []int{0}) || kept.have("a", []int{0, 1}) || kept.rows[targetKey{0, 1, 0}] != rows {
		t.Errorf("after weight 0: %+v", kept)
	}
	kept.keep(targetKey{1, 0, 0}, rows)
	kept.keep(targetKey{1, 1, 0}, mat.NewDense(1, targetsMemory/8, nil))
	kept.complete([]int{1})
	if !kept.have("a", []int{0}) || kept.have("a", []int{1}) || len(kept.rows) != 2 {
		t.Errorf("without room %d rows are kept, of weights %v", len(kept.rows), kept.all)
	}
	kept.keep(targetKey{2, 0, 0}, rows)
	if kept.complete([]int{2}); kept.have("a", []int{2}) {
		t.Error("rows are kept after the room has run out")
	}
	if kept.have("b", []int{0}) || len(kept.rows) != 0 || kept.full {
		t.Errorf("another mode has %+v", kept)
	}
}

// An output of rows that sum to 1 is one of probabilities, a matrix of others
// one of logits, and everything else numbers.
func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		shape []int
		v     []float32
		want  outputKind
	}{
		{[]int{2, 2}, []float32{0.25, 0.75, 1, 0}, probabilities},
		{[]int{2, 2}, []float32{0.25, 0.75, 1, 0.5}, logits},
		{[]int{2, 2}, []float32{0.25, 0.75, 2, -1}, logits},
		{[]int{2, 1}, []float32{1, 1}, numbers},
		{[]int{4}, []float32{0.25, 0.25, 0.25, 0.25}, numbers},
		{[]int{1, 2, 2}, []float32{0.25, 0.75, 1, 0}, probabilities},
		{[]int{1, 2, 2}, []float32{0.25, 0.75, 1, 3}, numbers},
	} {
		x := tensor.Of(c.v, c.shape...)
		v, err := tensor.Float64s(x)
		if err != nil {
			t.Fatal(err)
		}
		if got := kindOf(x, v); got != c.want {
			t.Errorf("%v %v is of kind %d, want %d", c.shape, c.v, got, c.want)
		}
		want := 1
		for _, d := range c.shape {
			want *= d
		}
		if c.want != numbers {
			want = c.shape[len(c.shape)-1]
		}
		if got := rowLength(c.want, x); got != want {
			t.Errorf("%v %v has rows of %d, want %d", c.shape, c.v, got, want)
		}
	}
}

// Cotangents of probabilities are signs over their roots, of numbers signs times
// the scale; a probability of 0 gives a finite one.
func TestCotangentsOfOtherKinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[float64]bool{}
	for range 50 {
		for i, v := range cotangent(probabilities, []float64{0.25, 0.75, 0}, 9, rng) {
			want := []float64{2, 1 / math.Sqrt(0.75), 1 / math.Sqrt(least)}[i]
			if math.Abs(math.Abs(v)-want) > 1e-9 {
				t.Fatalf("probability %d: %g, want ±%g", i, v, want)
			}
			seen[v] = true
		}
		for _, v := range cotangent(numbers, []float64{5, -5}, 0.5, rng) {
			if math.Abs(v) != 0.5 {
				t.Fatalf("number: %g, want ±0.5", v)
			}
			seen[v] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d cotangents, want both signs of 4", len(seen))
	}
}

// Sums of squares and of outer products are those of the rows that are taken.
func TestGradientSums(t *testing.T) {
	g := tensor.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 2, 3)
	if s, err := squares(g); err != nil || s != 650 {
		t.Errorf("squares %v, error %v", s, err)
	}
	for _, c := range []struct {
		l      match.Layer
		stride int
		rows   [][]float64
	}{
		{match.Layer{Out: 3}, 1, [][]float64{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}}},
		{match.Layer{Out: 3}, 3, [][]float64{{1, 2, 3}, {10, 11, 12}}},
		{match.Layer{Out: 2, Columns: true}, 1, [][]float64{{1, 4}, {2, 5}, {3, 6}, {7, 10}, {8, 11}, {9, 12}}},
	} {
		var sum *mat.Dense
		if err := addOuter(kernel.NewPool(1), &sum, g, &c.l, c.stride); err != nil {
			t.Fatal(err)
		}
		for i := range c.l.Out {
			for j := range i + 1 { // what is above the diagonal is the mirror's
				want := 0.0
				for _, r := range c.rows {
					want += r[i] * r[j]
				}
				want *= float64(c.stride) // for those that are left out
				if math.Abs(sum.At(i, j)-want) > 1e-9 {
					t.Errorf("%+v, stride %d: (%d, %d) is %g, want %g", c.l, c.stride, i, j, sum.At(i, j), want)
				}
			}
		}
	}
	if m, w := mixed(mat.NewDense(2, 2, nil)); m != nil || w != 0 {
		t.Errorf("of no gradient: %v, %g", m, w)
	}
	m, w := mixed(mat.NewDense(2, 2, []float64{1, 0, 2, 5}))
	if w != 3 || math.Abs(mat.Trace(m)-2) > 1e-12 || math.Abs(m.At(0, 1)-m.At(1, 0)) > 0 || math.Abs(m.At(0, 1)-(1-identityShare)*2/3) > 1e-12 {
		t.Errorf("a metric of %v, divided by %g", mat.Formatted(m), w)
	}
}
