package factorize

import (
	"context"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func TestWiden(t *testing.T) {
	s := newSample(t, 12, 24, 0, 80, 3)
	k := sumOfTerms(Shape{4, 4, 3, 6}, 3, 12, 24, 9)
	bias := make([]float64, 12)
	for i := range bias {
		bias[i] = float64(i) / 3
	}
	wide, wb, err := s.mo.Widen(k, bias, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if wide.Shape != (Shape{8, 4, 9, 6}) || wide.Rows != 72 || wide.Cols != 24 || wide.Check() != nil || len(wb) != 72 {
		t.Fatalf("wide layer is %v for [%d %d] with %d biases", wide.Shape, wide.Rows, wide.Cols, len(wb))
	}
	w := wide.Dense()
	_, xmean := centred(s.x)
	for p := range 2 {
		for q := range 3 {
			pair := &Kronecker{k.Shape, 12, 24, k.A[p : p+1], k.B[q : q+1]}
			scale := mat.Norm(k.A[0], 2) / mat.Norm(k.A[p], 2) * mat.Norm(k.B[0], 2) / mat.Norm(k.B[q], 2)
			for a := range 4 {
				for b := range 3 {
					row := (p*4+a)*9 + q*3 + b
					want := pair.Dense().RawRowView(a*3 + b)
					mean, wantMean := wb[row], bias[a*3+b]
					for i, v := range w.RawRowView(row) {
						if math.Abs(v-scale*want[i]) > 1e-12 {
							t.Fatalf("output %d: weight %d is %v, want %v", row, i, v, scale*want[i])
						}
						mean += v * xmean[i]
						wantMean += s.w.At(a*3+b, i) * xmean[i]
					}
					if math.Abs(mean-wantMean) > 1e-11 {
						t.Errorf("output %d has the mean %v, its ancestor %v", row, mean, wantMean)
					}
				}
			}
		}
	}
	for _, bad := range []func() error{
		func() error { _, _, err := s.mo.Widen(k, nil, 4, 1); return err },
		func() error { _, _, err := s.mo.Widen(k, nil, 0, 1); return err },
		func() error { _, _, err := s.mo.Widen(k, bias[1:], 1, 1); return err },
		func() error {
			_, _, err := s.mo.Widen(sumOfTerms(Shape{3, 4, 5, 6}, 3, 12, 24, 9), nil, 1, 1)
			return err
		},
	} {
		if bad() == nil {
			t.Error("no error")
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
		wide, bias, err := s.mo.Widen(k, nil, s1, s2)
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
