package factorize

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/kernel"
)

func TestSearch(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 48, 60, 0, 200, 3)
	held := newSample(t, 48, 60, 0, 80, 4)
	held.mo.G = product(nil, of(s.w), of(held.mo.C))
	held.mo.Energy = dot(held.mo.G, s.w)
	for _, h := range []*Moments{nil, held.mo} {
		for _, params := range []int{110, 300, 900} {
			var first []Candidate
			for _, threads := range []int{1, 3} {
				f, err := NewFitter(ctx, s.mo, FitOptions{Options: Options{Pool: kernel.NewPool(threads)}, Held: h})
				if err != nil {
					t.Fatal(err)
				}
				got, err := f.Search(ctx, params)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.IsSortedFunc(got, func(a, b Candidate) int { return descending(b.Score, a.Score) }) {
					t.Errorf("%d parameters: not sorted by score", params)
				}
				low := slices.ContainsFunc(got, func(c Candidate) bool { return c.IsLowRank() })
				if low != (params >= 48+60) {
					t.Errorf("%d parameters: low rank among the candidates: %v", params, low)
				}
				classes := map[int]bool{}
				for _, c := range got {
					if c.Params() > params || c.Check() != nil {
						t.Errorf("%d parameters: %v with %d, %v", params, c.Shape, c.Params(), c.Check())
					}
					classes[c.rankClass()] = true
				}
				if len(classes) < 2 {
					t.Errorf("%d parameters: only %d rank classes among %d candidates", params, len(classes), len(got))
				}
				if first == nil {
					first = got
					continue
				}
				if len(first) != len(got) || !mat.Equal(first[0].Dense(), got[0].Dense()) {
					t.Errorf("%d parameters: %d threads find another result", params, threads)
				}
			}
		}
	}
	f, err := NewFitter(ctx, s.mo, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Search(ctx, 10); len(got) != 0 || err != nil {
		t.Errorf("10 parameters: %d candidates, error %v", len(got), err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Search(gone, 300); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// A weight that is a Kronecker sum is recognised: the search finds its shape, or one that is as good.
func TestSearchFindsStructure(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 48, 60, 0, 300, 3)
	sh := Shape{8, 10, 6, 6}
	w := sumOfTerms(sh, 2, 48, 60, 5).Dense()
	mo, err := SymmetricMoments(w, s.mo.C, s.mo.Mean, 300, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFitter(ctx, mo, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Search(ctx, sh.Params(2))
	if err != nil || len(got) == 0 || got[0].Shape != sh || mo.Relative(got[0].Loss) > 0.01 {
		t.Errorf("best is %v with a relative loss of %v, error %v", got[0].Shape, mo.Relative(got[0].Loss), err)
	}
}

func TestTermRank(t *testing.T) {
	for _, test := range []struct {
		s    Shape
		want int
	}{{LowRankShape(30, 20), 1}, {Shape{1, 512, 1024, 2}, 2}, {Shape{32, 28, 32, 28}, 896}} {
		if got := test.s.TermRank(); got != test.want {
			t.Errorf("%v: TermRank is %d, want %d", test.s, got, test.want)
		}
	}
}
