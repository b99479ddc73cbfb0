package factorize

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Moments are what a fit knows of a layer's inputs and wanted outputs. The original layer, W of m×n and some bias,
// sees x; the compressed layer sees x̃ of ñ numbers, which is x itself unless layers before it were changed. The fit
// finds Ŵ of m×ñ that minimises the output error
//
//	E‖W(x−μ) − Ŵ(x̃−μ̃)‖² = Energy − 2 tr(Ŵ Gᵀ) + tr(Ŵ C Ŵᵀ)
//
// and the means go into the bias. x̃ may be of another width than x.
type Moments struct {
	C       *mat.Dense // ñ×ñ, E[(x̃−μ̃)(x̃−μ̃)ᵀ]
	G       *mat.Dense // m×ñ, W·E[(x−μ)(x̃−μ̃)ᵀ]
	Energy  float64    // tr(W E[(x−μ)(x−μ)ᵀ] Wᵀ), the variance of the outputs, summed
	Mean    []float64  // ñ, μ̃
	OutMean []float64  // m, W μ
	W       *mat.Dense // m×n, what damping pulls Ŵ to where n = ñ; may be nil, then it pulls to zero
	// Weight is m×m and says how much errors of the outputs matter together: fits then minimise tr(Weight·E[e eᵀ]) for
	// the error e, instead of its trace. It is symmetric and has no negative eigenvalues; nil is the identity. See
	// PropagateWeight. Fits damp it by weightDamping of its mean diagonal. Losses that are reported do not contain it,
	// scores do (FitResult.Score).
	Weight *mat.Dense
	Rows   int // the samples behind the averages; 0 if they are enough

	symmetric [3]*mat.Dense // C, G and W for which G = W C is known
}

// SymmetricMoments returns the moments of a layer whose inputs are those of the original: w is m×n, cov the n×n
// covariance of the inputs and mean their mean, over the given number of rows.
func SymmetricMoments(w, cov *mat.Dense, mean []float64, rows int, o Options) (*Moments, error) {
	mo, err := AsymmetricMoments(w, cov, cov, cov, mean, mean, rows, o)
	if err == nil {
		mo.symmetric = [3]*mat.Dense{mo.C, mo.G, mo.W}
	}
	return mo, err
}

// same reports whether x̃ is known to be x, so that W itself is the best weight.
func (mo *Moments) same() bool {
	return mo.W != nil && mo.symmetric == [3]*mat.Dense{mo.C, mo.G, mo.W}
}

// AsymmetricMoments returns the moments of a layer that sees x̃ in the place of x: cov is the ñ×ñ covariance of x̃,
// cross the ñ×n E[(x̃−μ̃)(x−μ)ᵀ], orig the n×n covariance of x; mean is μ̃ and origMean μ. All are averages over the
// same rows.
func AsymmetricMoments(w, cov, cross, orig *mat.Dense, mean, origMean []float64, rows int, o Options) (*Moments, error) {
	m, n := w.Dims()
	wide := len(mean)
	for _, x := range []struct {
		name       string
		m          *mat.Dense
		rows, cols int
	}{{"W", w, m, n}, {"covariance", cov, wide, wide}, {"cross-covariance", cross, wide, n}, {"original covariance", orig, n, n}} {
		if r, c := x.m.Dims(); r != x.rows || c != x.cols {
			return nil, fmt.Errorf("moments: %s is [%d %d], want [%d %d]", x.name, r, c, x.rows, x.cols)
		}
		if err := checkFinite(x.name, x.m); err != nil {
			return nil, fmt.Errorf("moments: %w", err)
		}
	}
	if len(origMean) != n {
		return nil, fmt.Errorf("moments: mean of the original input has %d elements, want %d", len(origMean), n)
	}
	g := product(o.Pool, of(w), of(cross).t())
	wc := g
	if orig != cross {
		wc = product(o.Pool, of(w), of(orig))
	}
	out := product(o.Pool, of(w), of(mat.NewDense(n, 1, origMean)))
	mo := &Moments{C: cov, G: g, Energy: dot(wc, w), Mean: mean, OutMean: out.RawMatrix().Data, W: w, Rows: rows}
	return mo, mo.Check()
}

// Dims returns the sizes of the fitted weight: m outputs and ñ inputs.
func (mo *Moments) Dims() (outputs, inputs int) { return mo.G.Dims() }

// Check returns an error unless all sizes agree and all numbers are finite.
func (mo *Moments) Check() error {
	if mo.C == nil || mo.G == nil {
		return fmt.Errorf("moments: no covariance")
	}
	m, n := mo.G.Dims()
	if r, c := mo.C.Dims(); r != n || c != n {
		return fmt.Errorf("moments: C is [%d %d], want [%d %d] as G is [%d %d]", r, c, n, n, m, n)
	}
	if len(mo.Mean) != n || len(mo.OutMean) != m {
		return fmt.Errorf("moments: means have %d and %d elements, want %d inputs and %d outputs", len(mo.Mean), len(mo.OutMean), n, m)
	}
	if mo.W != nil {
		if r, _ := mo.W.Dims(); r != m {
			return fmt.Errorf("moments: W has %d rows, want %d", r, m)
		}
		if err := checkFinite("W", mo.W); err != nil {
			return fmt.Errorf("moments: %w", err)
		}
	}
	if mo.Weight != nil {
		if r, c := mo.Weight.Dims(); r != m || c != m {
			return fmt.Errorf("moments: weight of output errors is [%d %d], want [%d %d]", r, c, m, m)
		}
		if err := checkFinite("weight of output errors", mo.Weight); err != nil {
			return fmt.Errorf("moments: %w", err)
		}
	}
	if err := checkFinite("C", mo.C); err != nil {
		return fmt.Errorf("moments: %w", err)
	}
	if err := checkFinite("G", mo.G); err != nil {
		return fmt.Errorf("moments: %w", err)
	}
	if math.IsNaN(mo.Energy) || math.IsInf(mo.Energy, 0) || mo.Energy < 0 {
		return fmt.Errorf("moments: energy is %v, want a number of at least 0", mo.Energy)
	}
	return nil
}

// pull returns the weight that damping pulls to, nil for zero.
func (mo *Moments) pull() *mat.Dense {
	if mo.W == nil {
		return nil
	}
	if _, n := mo.W.Dims(); n != mo.C.RawMatrix().Rows {
		return nil
	}
	return mo.W
}

// Loss returns E‖W(x−μ) − Ŵ(x̃−μ̃)‖² for a weight of m×ñ, undamped. Rounding may make it a little negative.
func (mo *Moments) Loss(w *mat.Dense, o Options) float64 {
	return mo.Energy - 2*dot(w, mo.G) + dot(product(o.Pool, of(w), of(mo.C)), w)
}

// Relative returns loss as a part of the variance of the outputs: 0 is perfect, 1 no better than their mean. Outputs
// without variance have a relative loss of 0.
func (mo *Moments) Relative(loss float64) float64 {
	if mo.Energy == 0 {
		return 0
	}
	return max(0, loss/mo.Energy)
}

// Bias returns the bias that goes with the fitted weight, b + W μ − Ŵ μ̃, of m elements; b is the original one and
// may be nil.
func (mo *Moments) Bias(b []float64, w *mat.Dense) []float64 {
	out := make([]float64, len(mo.OutMean))
	copy(out, b)
	for i := range out {
		out[i] += mo.OutMean[i]
		for j, v := range w.RawRowView(i) {
			out[i] -= v * mo.Mean[j]
		}
	}
	return out
}

const (
	// leastDamping is the damping for many rows, as a part of C's mean diagonal.
	leastDamping = 1e-3
	// rowsPerInput is how many rows each input takes for leastDamping to be enough.
	rowsPerInput = 4
)

// Damping returns the λ of C + λI that a fit uses by default: leastDamping of C's mean diagonal where there are
// rowsPerInput rows for every input, and more by the square of what is missing to that, up to the mean diagonal
// itself.
func (mo *Moments) Damping() float64 {
	n := mo.C.RawMatrix().Rows
	part := leastDamping
	if mo.Rows > 0 && mo.Rows < rowsPerInput*n {
		missing := float64(rowsPerInput*n) / float64(mo.Rows)
		part = min(1, part*missing*missing)
	}
	return part * trace(mo.C) / float64(n)
}
