package convert

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// correlated is rows of n numbers in which few directions carry most of the
// variance.
func correlated(rows, n int, seed uint64) *tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 7))
	basis := make([]float64, 4*n)
	fixed := rand.New(rand.NewPCG(5, 7))
	for i := range basis {
		basis[i] = fixed.NormFloat64()
	}
	v := make([]float32, rows*n)
	for r := range rows {
		for k := range 4 {
			a := rng.NormFloat64()
			for j := range n {
				v[r*n+j] += float32(a * basis[k*n+j])
			}
		}
		for j := range n {
			v[r*n+j] += float32(0.5 + 0.1*rng.NormFloat64())
		}
	}
	return tensor.Of(v, rows, n)
}

// bindTo is a tensor as the data of m's one input.
func bindTo(t testing.TB, m *graph.Model, x *tensor.Tensor) *dataset.Bound {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.npy")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dataset.WriteNPY(f, x); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Open([]string{m.Graph.Inputs[0].Name() + "=" + path}, dataset.Options{})
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

func calibrated(t testing.TB, m *graph.Model, x *tensor.Tensor, threads int) *Calibration {
	t.Helper()
	c, err := NewCalibration(t.Context(), m, bindTo(t, m, x), kernel.NewPool(threads), 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// On inputs of few directions a fit to data loses far less than the weights
// alone, under the same budget, and does not depend on the number of threads.
func TestFitsToData(t *testing.T) {
	ctx := context.Background()
	m := mlp(t, 24, 32, 32, 4)
	x := correlated(400, 24, 1)
	held := bindTo(t, m, correlated(200, 24, 2))
	relError := func(small *graph.Model) float64 {
		out, _, err := Verify(ctx, m, small, held, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *out[m.Graph.Outputs[0].Name()].RelError
	}
	free, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: 4}))
	without := relError(free)
	for _, s := range []Structure{Auto, LowRank, Terms, Bilinear} {
		var first string
		for _, threads := range []int{1, 3} {
			c := calibrated(t, m, x, threads)
			p, err := NewPlan(ctx, m, Options{Ratio: 4, Structure: s, Calibration: c, Pool: c.pool})
			if err != nil {
				t.Fatal(err)
			}
			small, r, err := Apply(ctx, m, p, ApplyOptions{Calibration: c, Pool: c.pool})
			if err != nil {
				t.Fatal(err)
			}
			if r.ParamsAfter*4 > r.ParamsBefore {
				t.Errorf("%s: %d parameters of %d at ratio 4", s, r.ParamsAfter, r.ParamsBefore)
			}
			for _, l := range r.Layers {
				if l.Action == ActDense || l.Action == ActSkipped {
					continue
				}
				if !(l.Error >= 0) || l.Error > 2 {
					t.Errorf("%s: layer %q: error %g", s, l.Name, l.Error)
				}
			}
			if got := relError(small); s != Bilinear && !(got < without/3) {
				t.Errorf("%s: output error %g, without data %g", s, got, without)
			}
			b, err := onnx.Encode(small)
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(b)
			} else if first != string(b) {
				t.Errorf("%s: %d threads give another model", s, threads)
			}
		}
	}
}

func TestCalibrationData(t *testing.T) {
	m := mlp(t, 8, 16, 4)
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		x := correlated(40, 8, 1)
		tensor.Data[float32](x)[8*21+3] = float32(bad)
		_, err := NewCalibration(t.Context(), m, bindTo(t, m, x), nil, 0)
		if !errors.Is(err, ErrData) || !strings.Contains(err.Error(), `row 21, index [3]`) {
			t.Errorf("%v: error %v", bad, err)
		}
	}
	// Too few rows to hold some out, and fewer than inputs: warnings.
	c := calibrated(t, m, correlated(3, 8, 1), 1)
	p, err := NewPlan(context.Background(), m, Options{Ratio: 1.5, Calibration: c})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(p.Warnings, "\n")
	for _, want := range []string{"too few to hold some out", "damped more"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning %q in %q", want, all)
		}
	}
}

func TestProductsAgainstDefinition(t *testing.T) {
	const rows, nx, ny = 37, 200, 3
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := mat.NewDense(rows, nx, nil), mat.NewDense(rows, ny, nil)
	for r := range rows {
		for j := range nx {
			x.Set(r, j, 3+rng.NormFloat64())
		}
		for j := range ny {
			y.Set(r, j, x.At(r, j)*2-1+rng.NormFloat64())
		}
	}
	for k := range 8 {
		same, centred, single := k&1 != 0, k&2 != 0, k&4 != 0
		// Of float32, what sums of 37 products are off by.
		p, tol := products{single: single}, 1e-12
		if single {
			tol = 1e-5
		}
		z := y
		if same {
			z = x
		}
		for lo := 0; lo < rows; lo += 10 {
			hi := min(lo+10, rows)
			some := x.Slice(lo, hi, 0, nx).(*mat.Dense)
			other := some
			if !same {
				other = y.Slice(lo, hi, 0, ny).(*mat.Dense)
			}
			p.add(nil, some, other)
		}
		_, nz := z.Dims()
		mx, mz := make([]float64, nx), make([]float64, nz)
		if centred {
			mx, mz = columnMeans(x), columnMeans(z)
		}
		got := p.finish(nil, centred)
		energy := 0.0
		for i := range nx {
			if math.Abs(got.a[i]-mx[i]) > 1e-12 {
				t.Errorf("centred %v: mean %g, want %g", centred, got.a[i], mx[i])
			}
			for r := range rows {
				energy += (x.At(r, i) - mx[i]) * (x.At(r, i) - mx[i]) / rows
			}
			for j := range nz {
				want := 0.0
				for r := range rows {
					want += (x.At(r, i) - mx[i]) * (z.At(r, j) - mz[j]) / rows
				}
				if math.Abs(got.xy.At(i, j)-want) > tol*(1+math.Abs(want)) || math.Abs(got.b[j]-mz[j]) > 1e-12 {
					t.Errorf("same %v, centred %v, single %v: (%d, %d) is %g, want %g", same, centred, single, i, j, got.xy.At(i, j), want)
				}
			}
		}
		if math.Abs(got.energy-energy) > 1e-11*energy || got.rows != rows {
			t.Errorf("centred %v: energy %g, want %g", centred, got.energy, energy)
		}
	}
}

func TestStridedRows(t *testing.T) {
	// Two matrices of 3 inputs and 2 samples in columns.
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2)
	whole := &dataset.Batch{Rows: 2, Padded: 2}
	got, rows, err := stridedRows(&match.Layer{Columns: true}, 3, x, whole, 0, 1)
	want := mat.NewDense(4, 3, []float64{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12})
	if err != nil || !mat.Equal(got, want) || rows != 4 {
		t.Errorf("columns: %v, error %v", got, err)
	}
	// Every third one, after 4 that were there before: the third and on.
	got, rows, err = stridedRows(&match.Layer{Columns: true}, 3, x, whole, 4, 3)
	if err != nil || rows != 4 || !mat.Equal(got, want.Slice(2, 3, 0, 3)) {
		t.Errorf("columns, strided: %v of %d, error %v", got, rows, err)
	}
	got, _, err = stridedRows(&match.Layer{}, 2, x, whole, 0, 1)
	if r, c := got.Dims(); err != nil || r != 6 || c != 2 || got.At(5, 1) != 12 {
		t.Errorf("rows: %d×%d, error %v", r, c, err)
	}
	double := tensor.Of([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2)
	for _, x := range []*tensor.Tensor{x, double} {
		got, rows, err = stridedRows(&match.Layer{}, 2, x, &dataset.Batch{Rows: 1, Padded: 2}, 1, 2)
		if err != nil || rows != 3 || !mat.Equal(got, mat.NewDense(1, 2, []float64{3, 4})) {
			t.Errorf("strided rows of the first sample: %v of %d, error %v", got, rows, err)
		}
	}
	if got, rows, err = stridedRows(&match.Layer{}, 2, x, whole, 1, 50); got != nil || rows != 6 || err != nil {
		t.Errorf("a stride beyond the rows gives %v of %d, error %v", got, rows, err)
	}
	if _, _, err := stridedRows(&match.Layer{}, 5, x, whole, 0, 1); err == nil {
		t.Error("12 elements are taken as rows of 5")
	}
}

func TestLayerRows(t *testing.T) {
	// Two matrices of 3 inputs and 2 samples in columns.
	x := tensor.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2)
	got, err := layerRows(&match.Layer{Columns: true}, 3, x)
	want := mat.NewDense(4, 3, []float64{1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12})
	if err != nil || !mat.Equal(got, want) {
		t.Errorf("columns: %v, error %v", got, err)
	}
	got, err = layerRows(&match.Layer{}, 2, x)
	if r, c := got.Dims(); err != nil || r != 6 || c != 2 || got.At(5, 1) != 12 {
		t.Errorf("rows: %d×%d, error %v", r, c, err)
	}
	if _, err := layerRows(&match.Layer{}, 5, x); err == nil {
		t.Error("12 elements are taken as rows of 5")
	}
}

// The mean of v·vᵀ over all signs is the second derivative of the loss.
func TestCotangents(t *testing.T) {
	y := []float64{0.3, -1, 2}
	p := softmax(y)
	sum := mat.NewDense(3, 3, nil)
	const draws = 400000
	rng := rand.New(rand.NewPCG(1, 2))
	for range draws {
		v := cotangent(logits, y, 1, rng)
		for i := range v {
			for j := range v {
				sum.Set(i, j, sum.At(i, j)+v[i]*v[j]/draws)
			}
		}
	}
	for i := range p {
		for j := range p {
			want := -p[i] * p[j]
			if i == j {
				want += p[i]
			}
			if math.Abs(sum.At(i, j)-want) > 2e-3 {
				t.Errorf("H(%d, %d) is %g, want %g", i, j, sum.At(i, j), want)
			}
		}
	}
}

// The losses of all ranks at once are those of the dense products.
func TestLossOfRanks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(r, c int) *mat.Dense {
		m := mat.NewDense(r, c, nil)
		for i := range r {
			for j := range c {
				m.Set(i, j, rng.NormFloat64())
			}
		}
		return m
	}
	const m, n, k = 5, 7, 3
	square := func(n int) *mat.Dense {
		a := random(n, n)
		out := mat.NewDense(n, n, nil)
		out.Mul(a, a.T())
		return out
	}
	w, u, v, c, s := random(m, n), random(m, k), random(k, n), square(n), square(m)
	mo, err := factorize.SymmetricMoments(w, c, make([]float64, n), 100, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, weight := range []float64{0, 1} { // 0: errors are relative to the variance
		metric := s
		if weight == 0 {
			metric = nil
		}
		mo.Weight = metric
		l := newLoss(nil, mo, weight)
		for r, got := range l.ranks(u, v) {
			var dense, diff, dc, e mat.Dense
			dense.Mul(u.Slice(0, m, 0, r+1), v.Slice(0, r+1, 0, n))
			diff.Sub(w, &dense)
			dc.Mul(&diff, c)
			e.Mul(&dc, diff.T())
			want := mat.Trace(&e) / mo.Energy
			if metric != nil {
				var se mat.Dense
				se.Mul(metric, &e)
				want = mat.Trace(&se)
			}
			if one := l.of(&dense); math.Abs(got-want) > 1e-9*want || math.Abs(one-want) > 1e-9*want {
				t.Errorf("rank %d: %g and %g, want %g", r+1, got, one, want)
			}
		}
	}
}

func TestPowerDecay(t *testing.T) {
	var points []point
	for r := 1; r <= 24; r++ {
		points = append(points, point{terms: r, err: 3 / math.Sqrt(float64(r))})
	}
	for _, r := range []int{25, 64, 300} {
		if got, want := powerDecay(points)(r), 3/math.Sqrt(float64(r)); math.Abs(got-want) > 1e-12 {
			t.Errorf("%d terms: %g, want %g", r, got, want)
		}
	}
	points[23].err = 0
	if got := powerDecay(points)(50); got != 0 {
		t.Errorf("beyond an exact sum: %g", got)
	}
	if got := powerDecay(points[:1])(2); got != 3 {
		t.Errorf("of one point: %g", got)
	}
}
