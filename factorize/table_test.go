package factorize

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// randomTable is a table of m×n with looked-up weights of very different sizes.
func randomTable(m, n int, metric bool) *Table {
	rng := rand.New(rand.NewPCG(3, uint64(m*1000+n)))
	t := &Table{W: mat.NewDense(m, n, nil), Weights: make([]float64, n)}
	for i := range m {
		for j := range n {
			t.W.Set(i, j, rng.NormFloat64())
		}
	}
	for v := range t.Weights {
		t.Weights[v] = math.Exp(2*rng.NormFloat64()) / float64(n)
	}
	if metric {
		g := mat.NewDense(m, m, nil)
		for i := range m {
			for j := range m {
				g.Set(i, j, rng.NormFloat64())
			}
		}
		t.Metric = mat.NewDense(m, m, nil)
		t.Metric.Mul(g, g.T())
	}
	return t
}

// plainTableLoss is the definition.
func plainTableLoss(t *Table, w *mat.Dense) float64 {
	m, n := t.W.Dims()
	sum := 0.0
	for v := range n {
		for a := range m {
			for b := range m {
				s := 0.0
				if t.Metric != nil {
					s = t.Metric.At(a, b)
				} else if a == b {
					s = 1
				}
				sum += t.Weights[v] * s * (t.W.At(a, v) - w.At(a, v)) * (t.W.At(b, v) - w.At(b, v))
			}
		}
	}
	return sum
}

func near(t *testing.T, what string, got, want, scale float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9*scale) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

func TestTableLossIsTheDefinition(t *testing.T) {
	for _, metric := range []bool{false, true} {
		tb := randomTable(5, 7, metric)
		w := randomTable(5, 7, false).W
		w.Scale(0.5, w)
		want := plainTableLoss(tb, w)
		near(t, "loss", tb.Loss(w, Options{}), want, want)
		near(t, "of the table itself", tb.Loss(tb.W, Options{}), 0, want)
	}
}

// The product of a rank is the optimum: its loss is the one reported, full rank
// is exact, and no random change makes it better.
func TestTableLowRank(t *testing.T) {
	ctx := context.Background()
	for _, metric := range []bool{false, true} {
		tb := randomTable(6, 20, metric)
		all := tb.Loss(mat.NewDense(6, 20, nil), Options{})
		u, v, losses, err := tb.LowRank(ctx, 6, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for r := 1; r <= 6; r++ {
			var w mat.Dense
			w.Mul(u.Slice(0, 6, 0, r), v.Slice(0, r, 0, 20))
			near(t, "reported loss", losses[r-1], plainTableLoss(tb, &w), all*1e2) // the metric is damped a little
			if r == 6 {
				near(t, "full rank", losses[r-1], 0, all*1e2)
				break
			}
			rng := rand.New(rand.NewPCG(9, uint64(r)))
			for range 20 {
				cu, cv := mat.DenseCopyOf(u.Slice(0, 6, 0, r)), mat.DenseCopyOf(v.Slice(0, r, 0, 20))
				cu.Set(rng.IntN(6), rng.IntN(r), cu.At(0, 0)+0.01)
				cv.Set(rng.IntN(r), rng.IntN(20), cv.At(0, 0)-0.01)
				w.Reset()
				w.Mul(cu, cv)
				if got := plainTableLoss(tb, &w); got < losses[r-1]*(1-1e-6) {
					t.Errorf("rank %d: loss %g is below the optimum %g", r, got, losses[r-1])
				}
			}
		}
	}
}

// Fits are monotone in the number of sweeps, exact at all terms, better than
// the unweighted nearest sum, and as good as the general fit to C = diag(p).
func TestTableFit(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		m, n  int
		s     Shape
		terms int
	}{
		{8, 12, Shape{2, 3, 4, 4}, 2}, {8, 12, Shape{4, 2, 2, 6}, 3}, {6, 11, Shape{3, 4, 2, 3}, 2}, {6, 30, Shape{6, 1, 1, 30}, 2},
	} {
		tb := randomTable(c.m, c.n, false)
		before := math.Inf(1)
		for sweeps := range 8 {
			k, err := tb.Fit(ctx, c.s, c.terms, sweeps, Options{})
			if err != nil {
				t.Fatal(err)
			}
			loss := plainTableLoss(tb, k.Dense())
			if loss > before*(1+1e-9) {
				t.Errorf("%v: loss rose from %g to %g in sweep %d", c.s, before, loss, sweeps)
			}
			before = loss
		}
		plain, _, err := NearestKronecker(ctx, tb.W, c.s, c.terms, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if naive := plainTableLoss(tb, plain.Dense()); before > naive {
			t.Errorf("%v: loss %g, of the unweighted sum %g", c.s, before, naive)
		}
		cov := mat.NewDense(c.n, c.n, nil)
		for v, p := range tb.Weights {
			cov.Set(v, v, p)
		}
		mo, err := SymmetricMoments(tb.W, cov, make([]float64, c.n), 0, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := NewFitter(ctx, mo, FitOptions{Damping: 1e-12, Sweeps: 60})
		if err != nil {
			t.Fatal(err)
		}
		start, err := f.Start(ctx, c.s, c.terms)
		if err != nil {
			t.Fatal(err)
		}
		k, _, err := f.Fit(ctx, start)
		if err != nil {
			t.Fatal(err)
		}
		mine, err := tb.Fit(ctx, c.s, c.terms, 60, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := plainTableLoss(tb, mine.Dense()), plainTableLoss(tb, k.Dense()); got > want*1.05 {
			t.Errorf("%v: loss %g, of the general fit %g", c.s, got, want)
		}
		full, err := tb.Fit(ctx, c.s, c.s.MaxTerms(), 1, Options{})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "all terms", plainTableLoss(tb, full.Dense()), 0, plainTableLoss(tb, mat.NewDense(c.m, c.n, nil)))
	}
}

func TestTableErrors(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		spoil func(*Table)
		want  string
	}{
		{func(t *Table) { t.Weights = t.Weights[1:] }, "weights for"},
		{func(t *Table) { t.Weights[2] = 0 }, "weight 2"},
		{func(t *Table) { t.Metric = mat.NewDense(2, 2, nil) }, "metric"},
		{func(t *Table) { t.W.Set(1, 1, math.NaN()) }, "W"},
	} {
		tb := randomTable(4, 6, true)
		c.spoil(tb)
		if _, err := tb.Fit(ctx, Shape{2, 3, 2, 2}, 1, 1, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
		if _, _, _, err := tb.LowRank(ctx, 1, Options{}); err == nil {
			t.Errorf("low rank takes a table with wrong %s", c.want)
		}
	}
	for _, s := range []Shape{{2, 2, 2, 2}, {3, 3, 2, 2}} {
		if _, err := randomTable(4, 6, false).Fit(ctx, s, 1, 1, Options{}); err == nil {
			t.Errorf("%v is taken for a table of 4×6", s)
		}
	}
	end, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := randomTable(4, 6, false).Fit(end, Shape{2, 3, 2, 2}, 1, 1, Options{}); err == nil {
		t.Error("a cancelled fit goes on")
	}
}
