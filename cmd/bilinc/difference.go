package main

import (
	"fmt"
	"math"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

// A difference is how far an output of two models is apart, over all batches.
type difference struct {
	Passed  *bool   `json:"passed"` // nil where the output is left out
	Random  bool    `json:"random"`
	ShapeA  []int   `json:"shape_a"` // of all batches together
	ShapeB  []int   `json:"shape_b"`
	A       stats   `json:"a"`
	B       stats   `json:"b"`
	Abs     errors3 `json:"abs_error"`
	Rel     errors3 `json:"rel_error"` // of max|b|
	Problem string  `json:"problem,omitempty"`
	// The least tolerances that pass, each with the other as it was given;
	// nil where none does.
	LeastAtol *float64 `json:"least_atol"`
	LeastRtol *float64 `json:"least_rtol"`

	a, b spread
	diff spread
	bins []int64
	topB float64 // max|b|
}

// errors3 sums up a set of errors.
type errors3 struct {
	Max  *float64 `json:"max"`
	Mean *float64 `json:"mean"`
	P99  *float64 `json:"p99"` // within 1.1 %
}

// spread adds up numbers.
type spread struct {
	n        int64
	sum      float64
	min, max float64
}

func (s *spread) add(x float64) {
	if s.n == 0 {
		s.min, s.max = x, x
	}
	s.n++
	s.sum += x
	s.min, s.max = math.Min(s.min, x), math.Max(s.max, x)
}

func (s *spread) stats() stats {
	if s.n == 0 {
		return stats{}
	}
	return stats{number(s.min), number(s.sum / float64(s.n)), number(s.max)}
}

// Errors are counted in bins of 64 to a factor of two, so that a quantile
// takes the same memory for any number of them.
const (
	binsPerOctave = 64
	leastExponent = -160
	mostExponent  = 160
)

func newDifference(random bool) *difference {
	return &difference{Random: random, bins: make([]int64, (mostExponent-leastExponent)*binsPerOctave+2)}
}

// bin is the number of an error's bin; the first is that of 0.
func bin(x float64) int {
	if x == 0 {
		return 0
	}
	k := int(math.Ceil((math.Log2(x) - leastExponent) * binsPerOctave))
	return 1 + max(0, min(k, (mostExponent-leastExponent)*binsPerOctave))
}

// binTop is the largest error of a bin.
func binTop(k int) float64 {
	if k == 0 {
		return 0
	}
	return math.Exp2(float64(k-1)/binsPerOctave + leastExponent)
}

// add compares one batch.
func (d *difference) add(a, b tensor.Value, batch *dataset.Batch) error {
	if a.Kind != b.Kind {
		d.problem("a is a %v, b a %v", a.Kind, b.Kind)
		return nil
	}
	if x, y := unmapped(a), unmapped(b); x.Kind == tensor.KindTensor && y.Kind == tensor.KindTensor {
		a, b = x, y // keys included, in whose order the values are
	}
	if a.Kind != tensor.KindTensor {
		if len(a.Elems) != len(b.Elems) {
			d.problem("a has %d elements, b %d", len(a.Elems), len(b.Elems))
			return nil
		}
		for i := range a.Elems {
			if err := d.add(a.Elems[i], b.Elems[i], batch); err != nil {
				return err
			}
		}
		return nil
	}
	x, err := cutRows(a.Tensor, batch)
	if err != nil {
		return err
	}
	y, err := cutRows(b.Tensor, batch)
	if err != nil {
		return err
	}
	d.ShapeA, d.ShapeB = joinedShape(d.ShapeA, x.Shape()), joinedShape(d.ShapeB, y.Shape())
	switch {
	case x.DType() != y.DType() || !slices.Equal(x.Shape(), y.Shape()):
		d.problem("a is %v, b is %v", x, y)
	case x.DType() == tensor.String:
		for i, s := range tensor.Data[string](x) {
			if s != tensor.Data[string](y)[i] {
				d.problem("strings differ")
			}
		}
	default:
		return d.numbers(x, y)
	}
	return nil
}

// joinedShape is the shape of all batches so far, joined along the first axis,
// and of one more.
func joinedShape(all, next []int) []int {
	if all == nil {
		return slices.Clone(next)
	}
	if len(all) > 0 && len(next) > 0 {
		all[0] += next[0]
	}
	return all
}

// problem notes why no tolerance makes the outputs equal; the first one stays.
func (d *difference) problem(format string, args ...any) {
	if d.Problem == "" {
		d.Problem = fmt.Sprintf(format, args...)
	}
}

func (d *difference) numbers(x, y *tensor.Tensor) error {
	u, err := tensor.Float64s(x)
	if err != nil {
		return err
	}
	v, err := tensor.Float64s(y)
	if err != nil {
		return err
	}
	for i := range u {
		d.a.add(u[i])
		d.b.add(v[i])
		e := math.Abs(u[i] - v[i])
		switch {
		case u[i] == v[i] || math.IsNaN(u[i]) && math.IsNaN(v[i]):
			e = 0
		case math.IsNaN(e) || math.IsInf(e, 0):
			d.problem("one is not finite where the other is")
			continue
		}
		if top := math.Abs(v[i]); !math.IsInf(top, 0) && top > d.topB {
			d.topB = top
		}
		d.diff.add(e)
		d.bins[bin(e)]++
	}
	return nil
}

// finish decides whether the output passes.
func (d *difference) finish(atol, rtol float64) {
	d.A, d.B = d.a.stats(), d.b.stats()
	passed := d.Problem == ""
	if d.diff.n > 0 {
		top := d.diff.max
		passed = passed && top <= atol+rtol*d.topB
		d.Abs = errors3{number(top), number(d.diff.sum / float64(d.diff.n)), number(d.p99())}
		if d.topB > 0 {
			d.Rel = errors3{number(top / d.topB), number(d.diff.sum / float64(d.diff.n) / d.topB), number(d.p99() / d.topB)}
		}
		if d.Problem == "" {
			d.LeastAtol = number(math.Max(0, top-rtol*d.topB))
			if top <= atol {
				d.LeastRtol = number(0)
			} else if d.topB > 0 {
				d.LeastRtol = number((top - atol) / d.topB)
			}
		}
	}
	d.Passed = &passed
}

// p99 is the error that 99 % of the elements do not pass.
func (d *difference) p99() float64 {
	want := int64(math.Ceil(0.99 * float64(d.diff.n)))
	for k, n := range d.bins {
		if want -= n; want <= 0 {
			return math.Min(binTop(k), d.diff.max)
		}
	}
	return d.diff.max
}

// shapes is both shapes, one where they are the same.
func (d *difference) shapes() string {
	if slices.Equal(d.ShapeA, d.ShapeB) {
		return fmt.Sprint(d.ShapeA)
	}
	return fmt.Sprintf("%v / %v", d.ShapeA, d.ShapeB)
}
