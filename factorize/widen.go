package factorize

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// A Widening makes a layer of M1·M2 outputs S1·S2 times as wide. Output (p·M1+a)·(S2·M2) + q·M2+b of the wide layer,
// p < S1 and q < S2, descends from output a·M2+b of the layer itself: with factors of M1 and M2 rows, it is made by
// the p-th of S1 left factors that are stacked, and the q-th of S2 right ones.
type Widening struct{ M1, M2, S1, S2 int }

// WideningOf returns the widening by a factor that a pair of m1·m2 outputs in all comes from: of the ways to take the
// factor out of m1 and m2, the one that divides it most evenly. ok is false where there is none.
func WideningOf(m1, m2, factor int) (w Widening, ok bool) {
	for s1 := 1; s1 <= factor; s1++ {
		s2 := factor / s1
		if s1*s2 != factor || m1%s1 != 0 || m2%s2 != 0 {
			continue
		}
		if !ok || max(s1, s2) <= max(w.S1, w.S2) {
			w, ok = Widening{m1 / s1, m2 / s2, s1, s2}, true
		}
	}
	return w, ok
}

// Factor returns how many times wider the layer becomes.
func (w Widening) Factor() int { return w.S1 * w.S2 }

// Terms returns the terms that a fit needs for so many terms of the wide layer.
func (w Widening) Terms(terms int) int { return terms + max(w.S1, w.S2) - 1 }

// Outputs returns the number of outputs of the wide layer.
func (w Widening) Outputs() int { return w.S1 * w.M1 * w.S2 * w.M2 }

// Ancestor returns the output that one of the wide layer descends from, and which copy of it that is: from 0, which
// the layer's leading terms make, to Factor−1.
func (w Widening) Ancestor(row int) (output, copied int) {
	i, j := row/(w.S2*w.M2), row%(w.S2*w.M2)
	return i%w.M1*w.M2 + j%w.M2, i/w.M1*w.S2 + j/w.M2
}

// Spread returns the weight of the layer after a wide one that reads the first copy of every output and none else: of
// a wide layer whose first copies are the original's outputs, it makes what w made of these.
func (w Widening) Spread(next *mat.Dense) (*mat.Dense, error) {
	m, n := next.Dims()
	if n != w.M1*w.M2 {
		return nil, fmt.Errorf("widening: the next layer has %d inputs, want %d", n, w.M1*w.M2)
	}
	out := mat.NewDense(m, w.Outputs(), nil)
	for j := range w.Outputs() {
		from, copied := w.Ancestor(j)
		if copied > 0 {
			continue
		}
		for i := range m {
			out.Set(i, j, next.At(i, from))
		}
	}
	return out, nil
}

// Tile returns one number for every output of the wide layer: that of its ancestor.
func (w Widening) Tile(v []float64) []float64 {
	out := make([]float64, w.Outputs())
	for i := range out {
		from, _ := w.Ancestor(i)
		out[i] = v[from]
	}
	return out
}

// Widen returns so many terms for a wide layer. Term t stacks S1 left factors of k, from its term t on, and S2 right
// ones; so the first copies of the outputs are made by the leading terms of k, the other copies add features. All
// factors of a stack are scaled to the norm of its first, so that all outputs are of one size.
//
// k has w.Terms(terms) terms at least and no padded rows.
func (w Widening) Widen(k *Kronecker, terms int) (*Kronecker, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	switch {
	case w.S1 < 1 || w.S2 < 1 || terms < 1:
		return nil, fmt.Errorf("widening by %d and %d, %d terms: at least 1 is needed", w.S1, w.S2, terms)
	case k.Terms() < w.Terms(terms):
		return nil, fmt.Errorf("widening by %d and %d to %d terms takes %d, the sum has %d", w.S1, w.S2, terms, w.Terms(terms), k.Terms())
	case k.M1 != w.M1 || k.M2 != w.M2 || k.M1*k.M2 != k.Rows:
		return nil, fmt.Errorf("widening a sum of shape %v for %d rows, want %d·%d without padding", k.Shape, k.Rows, w.M1, w.M2)
	}
	s := Shape{w.S1 * k.M1, k.N1, w.S2 * k.M2, k.N2}
	wide := &Kronecker{Shape: s, Rows: s.M1 * s.M2, Cols: k.Cols}
	for t := range terms {
		wide.A = append(wide.A, stackScaled(k.A[t:t+w.S1]))
		wide.B = append(wide.B, stackScaled(k.B[t:t+w.S2]))
	}
	return wide, nil
}

// WideBias returns the bias that goes with a wide layer, where bias is the original one or nil: every output gets the
// mean of its ancestor. The layer after a widened one is fitted to moments of its own, with the wide activations as x̃.
func (mo *Moments) WideBias(w Widening, bias []float64, wide *Kronecker) ([]float64, error) {
	m, n := mo.Dims()
	switch {
	case w.M1*w.M2 != m || wide.Rows != w.Outputs() || wide.Cols != n:
		return nil, fmt.Errorf("a wide layer of [%d %d] for moments of [%d %d]", wide.Rows, wide.Cols, m, n)
	case bias != nil && len(bias) != m:
		return nil, fmt.Errorf("widening: bias has %d elements, want %d", len(bias), m)
	}
	if bias == nil {
		bias = make([]float64, m)
	}
	out := w.Tile(bias)
	moved := wide.times(mo.Mean)
	for i, mean := range w.Tile(mo.OutMean) {
		out[i] += mean - moved[i]
	}
	return out, nil
}

// times returns the sum times a vector, without building the sum.
func (k *Kronecker) times(x []float64) []float64 {
	out := make([]float64, k.M1*k.M2)
	t := make([]float64, k.M2)
	for r := range k.A {
		for i := range k.N1 {
			clear(t)
			for b := range t {
				for j, v := range k.B[r].RawRowView(b) {
					if at := i*k.N2 + j; at < len(x) {
						t[b] += v * x[at]
					}
				}
			}
			for a := range k.M1 {
				for b, v := range t {
					out[a*k.M2+b] += k.A[r].At(a, i) * v
				}
			}
		}
	}
	return out[:k.Rows]
}

// stackScaled puts matrices of one size below each other, all scaled to the norm of the first; zero ones stay zero.
func stackScaled(f []*mat.Dense) *mat.Dense {
	m, n := f[0].Dims()
	out := mat.NewDense(len(f)*m, n, nil)
	for p, x := range f {
		to := out.Slice(p*m, (p+1)*m, 0, n).(*mat.Dense)
		to.Copy(x)
		if norm := mat.Norm(x, 2); p > 0 && norm > 0 {
			to.Scale(mat.Norm(f[0], 2)/norm, to)
		}
	}
	return out
}
