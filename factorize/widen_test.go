package factorize

import (
	"context"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// by is the widening of layers of M1·M2 outputs.
func by(s Shape, s1, s2 int) Widening { return Widening{s.M1, s.M2, s1, s2} }

func TestWiden(t *testing.T) {
	s := newSample(t, 12, 24, 0, 80, 3)
	bias := make([]float64, 12)
	for i := range bias {
		bias[i] = float64(i) / 3
	}
	for _, terms := range []int{1, 2} {
		k := sumOfTerms(Shape{4, 4, 3, 6}, 3+terms-1, 12, 24, 9)
		w := by(k.Shape, 2, 3)
		if w.Terms(terms) != k.Terms() || w.Factor() != 6 || w.Outputs() != 72 {
			t.Fatalf("%v: %d terms, factor %d, %d outputs", w, w.Terms(terms), w.Factor(), w.Outputs())
		}
		wide, err := w.Widen(k, terms)
		if err != nil {
			t.Fatal(err)
		}
		if wide.Shape != (Shape{8, 4, 9, 6}) || wide.Rows != 72 || wide.Cols != 24 || wide.Terms() != terms || wide.Check() != nil {
			t.Fatalf("wide layer is %v for [%d %d], %d terms", wide.Shape, wide.Rows, wide.Cols, wide.Terms())
		}
		wb, err := s.mo.WideBias(w, bias, wide)
		if err != nil {
			t.Fatal(err)
		}
		d := wide.Dense()
		_, xmean := centred(s.x)
		for row := range 72 {
			from, copied := w.Ancestor(row)
			p, q, a, b := copied/3, copied%3, from/3, from%3
			if row != (p*4+a)*9+q*3+b {
				t.Fatalf("output %d descends from %d, copy %d", row, from, copied)
			}
			want := make([]float64, 24)
			for r := range terms {
				pair := &Kronecker{k.Shape, 12, 24, k.A[r+p : r+p+1], k.B[r+q : r+q+1]}
				scale := mat.Norm(k.A[r], 2) / mat.Norm(k.A[r+p], 2) * mat.Norm(k.B[r], 2) / mat.Norm(k.B[r+q], 2)
				for i, v := range pair.Dense().RawRowView(from) {
					want[i] += scale * v
				}
			}
			mean, wantMean := wb[row], bias[from]
			for i, v := range d.RawRowView(row) {
				if math.Abs(v-want[i]) > 1e-12 {
					t.Fatalf("output %d: weight %d is %v, want %v", row, i, v, want[i])
				}
				mean += v * xmean[i]
				wantMean += s.w.At(from, i) * xmean[i]
			}
			if math.Abs(mean-wantMean) > 1e-11 {
				t.Errorf("output %d has the mean %v, its ancestor %v", row, mean, wantMean)
			}
		}
	}
}

func TestWidenRefuses(t *testing.T) {
	s := newSample(t, 12, 24, 0, 80, 3)
	k := sumOfTerms(Shape{4, 4, 3, 6}, 3, 12, 24, 9)
	ok := by(k.Shape, 2, 3)
	wide, err := ok.Widen(k, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]func() error{
		"too few terms":  func() error { _, err := by(k.Shape, 4, 1).Widen(k, 1); return err },
		"too many terms": func() error { _, err := ok.Widen(k, 2); return err },
		"no terms":       func() error { _, err := ok.Widen(k, 0); return err },
		"zero":           func() error { _, err := by(k.Shape, 0, 1).Widen(k, 1); return err },
		"another shape":  func() error { _, err := Widening{3, 4, 1, 1}.Widen(k, 1); return err },
		"padded rows": func() error {
			p := sumOfTerms(Shape{3, 4, 5, 6}, 3, 12, 24, 9)
			_, err := by(p.Shape, 1, 1).Widen(p, 1)
			return err
		},
		"a short bias":    func() error { _, err := s.mo.WideBias(ok, make([]float64, 11), wide); return err },
		"a narrow layer":  func() error { _, err := s.mo.WideBias(ok, nil, k); return err },
		"a narrow reader": func() error { _, err := ok.Spread(random(5, 11, 1)); return err },
	} {
		if bad() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What the layer after a wide one reads by Spread is what it read before.
func TestSpreadReadsTheFirstCopies(t *testing.T) {
	k := sumOfTerms(Shape{4, 4, 3, 6}, 3, 12, 24, 9)
	w := by(k.Shape, 3, 2)
	wide, err := w.Widen(k, 1)
	if err != nil {
		t.Fatal(err)
	}
	next := random(5, 12, 4)
	spread, err := w.Spread(next)
	if err != nil {
		t.Fatal(err)
	}
	first := &Kronecker{k.Shape, 12, 24, k.A[:1], k.B[:1]}
	if diff := maxDiff(product(nil, of(spread), of(wide.Dense())), product(nil, of(next), of(first.Dense()))); diff > 1e-12 {
		t.Errorf("the next layer differs by %g", diff)
	}
	for i, v := range w.Tile([]float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
		if from, _ := w.Ancestor(i); v != float64(from) {
			t.Errorf("output %d has the number %v, its ancestor is %d", i, v, from)
		}
	}
}

func TestWideningOf(t *testing.T) {
	for _, c := range []struct {
		m1, m2, factor int
		want           Widening
		ok             bool
	}{
		{64, 64, 4, Widening{32, 32, 2, 2}, true},
		{64, 64, 16, Widening{16, 16, 4, 4}, true},
		{64, 64, 2, Widening{32, 64, 2, 1}, true},
		{63, 64, 2, Widening{63, 32, 1, 2}, true},
		{63, 65, 2, Widening{}, false},
		{12, 7, 4, Widening{3, 7, 4, 1}, true},
		{5, 7, 1, Widening{5, 7, 1, 1}, true},
	} {
		if got, ok := WideningOf(c.m1, c.m2, c.factor); got != c.want || ok != c.ok {
			t.Errorf("%d·%d by %d: %v %v, want %v %v", c.m1, c.m2, c.factor, got, ok, c.want, c.ok)
		}
	}
}

// The layer after a widened one is fitted better than after the pair alone.
func TestWidenHelpsTheNextLayer(t *testing.T) {
	ctx := context.Background()
	s := newSample(t, 16, 24, 0, 400, 3)
	next := random(6, 16, 8)
	f, err := NewFitter(ctx, s.mo, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	start, err := f.Start(ctx, Shape{4, 4, 4, 6}, 2)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := f.Fit(ctx, start)
	if err != nil {
		t.Fatal(err)
	}
	relu := func(w *mat.Dense, bias []float64) *mat.Dense {
		y := product(nil, of(s.x), of(w).t())
		for i := range y.RawMatrix().Rows {
			row := y.RawRowView(i)
			for j := range row {
				row[j] = max(0, row[j]+bias[j])
			}
		}
		return y
	}
	h := relu(s.w, make([]float64, 16))
	loss := func(s1, s2 int) float64 {
		w := by(k.Shape, s1, s2)
		wide, err := w.Widen(k, 1)
		if err != nil {
			t.Fatal(err)
		}
		bias, err := s.mo.WideBias(w, nil, wide)
		if err != nil {
			t.Fatal(err)
		}
		hc, hm := centred(h)
		wc, wm := centred(relu(wide.Dense(), bias))
		mo, err := AsymmetricMoments(next, cov(wc, wc), cov(wc, hc), cov(hc, hc), wm, hm, 400, Options{})
		if err != nil {
			t.Fatal(err)
		}
		nf, err := NewFitter(ctx, mo, FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return mo.Relative(mo.Loss(nf.Best(), Options{}))
	}
	if one, four := loss(1, 1), loss(2, 2); four > 0.7*one {
		t.Errorf("the next layer's loss is %v after the pair, %v after four times its width", one, four)
	}
}
