package convert

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/tensor"
)

// randomDense is a matrix of normal numbers.
func randomDense(rng *rand.Rand, m, n int) *mat.Dense {
	out := mat.NewDense(m, n, nil)
	for i := range m {
		for j := range n {
			out.Set(i, j, rng.NormFloat64())
		}
	}
	return out
}

// gramOf is xᵀx / the rows of x.
func gramOf(x *mat.Dense) *mat.Dense {
	rows, n := x.Dims()
	out := mat.NewDense(n, n, nil)
	out.Mul(x.T(), x)
	out.Scale(1/float64(rows), out)
	return out
}

// The fit through the inputs is about as good as that with the whole metric, and
// far better than one without.
func TestInputFitAgainstMetric(t *testing.T) {
	const m, n, terms = 60, 10, 3
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(3, 1))
	w := randomDense(rng, m, n)
	c := gramOf(randomDense(rng, 200, n))
	g := randomDense(rng, 100, m) // gradients: a few outputs matter much
	for i := range 100 {
		for j := range m {
			g.Set(i, j, g.At(i, j)*math.Exp(2*math.Sin(float64(j*j))))
		}
	}
	s := gramOf(g)
	s.Scale(m/mat.Trace(s), s)
	mo, err := factorize.SymmetricMoments(w, c, make([]float64, n), 0, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	weighted := func(k *factorize.Kronecker) float64 {
		e := mat.DenseCopyOf(w)
		e.Sub(e, k.Dense())
		var ec, se mat.Dense
		ec.Mul(e, c)
		se.Mul(s, e)
		return inner(&se, &ec)
	}
	fit := func(weight *mat.Dense) float64 {
		moments := *mo
		moments.Weight = weight
		f, err := factorize.NewFitter(ctx, &moments, factorize.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		low, err := f.LowRank(ctx, terms)
		if err != nil {
			t.Fatal(err)
		}
		return weighted(low.Terms(terms))
	}
	whole, none := fit(s), fit(nil)

	var through mat.Dense
	var sw mat.Dense
	sw.Mul(s, w)
	through.Mul(w.T(), &sw)
	ones, err := factorize.SymmetricMoments(identity(n), c, make([]float64, n), 0, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ones.Weight = &through
	f, err := factorize.NewFitter(ctx, ones, factorize.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := (&inputFit{f, w}).lowRank(ctx, terms)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	for r := range k.A {
		if x, y := mat.Norm(k.A[r], 2), mat.Norm(k.B[r], 2); math.Abs(x-y) > 1e-9*x {
			t.Errorf("term %d has factors of norms %g and %g", r, x, y)
		}
	}
	// The two damp differently.
	if got := weighted(k); got > 1.05*whole || got > 0.9*none {
		t.Errorf("weighted loss %g, with the whole metric %g, without any %g", got, whole, none)
	}
}

func TestAddThrough(t *testing.T) {
	const m, n = 6, 2
	rng := rand.New(rand.NewPCG(5, 1))
	w := randomDense(rng, m, n)
	rows := randomDense(rng, 12, m)
	flat := make([]float32, 0, 12*m)
	for i := range 12 {
		for _, v := range rows.RawRowView(i) {
			flat = append(flat, float32(v))
		}
	}
	turned := make([]float32, 0, len(flat)) // two matrices of 6 positions in columns
	for lead := range 2 {
		for j := range m {
			for i := range 6 {
				turned = append(turned, flat[(lead*6+i)*m+j])
			}
		}
	}
	var z, want mat.Dense
	z.Mul(rows, w)
	want.Mul(z.T(), &z)
	square := mat.Norm(rows, 2) * mat.Norm(rows, 2)
	for _, c := range []struct {
		name   string
		g      *tensor.Tensor
		layer  *match.Layer
		stride int
	}{
		{"rows", tensor.Of(flat, 3, 4, m), &match.Layer{}, 1},
		{"columns", tensor.Of(turned, 2, m, 6), &match.Layer{Columns: true}, 5},
	} {
		var sum *mat.Dense
		got, err := addThrough(nil, &sum, c.g, c.layer, w, c.stride)
		if err != nil {
			t.Fatal(err)
		}
		mirror(sum)
		if math.Abs(got-square) > 1e-5*square || !mat.EqualApprox(sum, &want, 1e-5*square) {
			t.Errorf("%s: %v, want %v", c.name, mat.Formatted(sum), mat.Formatted(&want))
		}
		mixed := mixedThrough(nil, sum, w, 2)
		var both mat.Dense
		both.Mul(w.T(), w)
		both.Scale(identityShare, &both)
		want := mat.DenseCopyOf(&want)
		want.Scale((1-identityShare)/2, want)
		want.Add(want, &both)
		if !mat.EqualApprox(mixed, want, 1e-5*square) {
			t.Errorf("%s: mixed %v, want %v", c.name, mat.Formatted(mixed), mat.Formatted(want))
		}
	}
}

// What strides leave out is made up for: of rows that are all alike, any stride
// gives the sum over all, and positions in columns are never left out.
func TestGradientStrides(t *testing.T) {
	const m, count = 3, 12
	row := []float32{1, -2, 3}
	same, turned := make([]float32, 0, m*count), make([]float32, 0, m*count)
	for range count {
		same = append(same, row...)
	}
	for _, v := range row {
		for range count {
			turned = append(turned, v)
		}
	}
	for _, stride := range []int{1, 2, 3, 4, 12} {
		for name, c := range map[string]struct {
			g *tensor.Tensor
			l *match.Layer
		}{
			"rows":    {tensor.Of(same, count, m), &match.Layer{Out: m}},
			"columns": {tensor.Of(turned, 1, m, count), &match.Layer{Out: m, Columns: true}},
		} {
			var sum *mat.Dense
			if err := addOuter(nil, &sum, c.g, c.l, stride); err != nil {
				t.Fatal(err)
			}
			mirror(sum)
			for i := range m {
				for j := range m {
					if want := float64(count * row[i] * row[j]); math.Abs(sum.At(i, j)-want) > 1e-9*math.Abs(want) {
						t.Errorf("%s, stride %d: (%d, %d) is %g, want %g", name, stride, i, j, sum.At(i, j), want)
					}
				}
			}
		}
	}
}
