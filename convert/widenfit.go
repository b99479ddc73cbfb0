package convert

import (
	"context"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/tensor"
)

// narrow is the shape of the layer itself that a wide one comes from.
func (j *job) narrow() factorize.Shape {
	return factorize.Shape{M1: j.by.M1, N1: j.shape.N1, M2: j.by.M2, N2: j.shape.N2}
}

// wideFromWeight gives the factors of a wide layer by its weight alone, and
// ‖W−Ŵ‖²/‖W‖² of the first copies of its outputs.
func (js *jobs) wideFromWeight(ctx context.Context, j *job, w *mat.Dense, o factorize.Options) (*factorize.Kronecker, float64, error) {
	if j.start == Random {
		k, err := js.random(j, o.Seed)
		return k, 1, err
	}
	dec, err := factorize.Decompose(ctx, w, j.narrow(), j.by.Terms(j.terms), o)
	if err != nil {
		return nil, 0, err
	}
	k, err := j.by.Widen(withTerms(dec.Terms(dec.MaxTerms()), j.by.Terms(j.terms)), j.terms)
	return k, dec.Error(min(j.terms, dec.MaxTerms())), err
}

// withTerms is a sum of at least so many terms: those of k again, where it has
// fewer.
func withTerms(k *factorize.Kronecker, terms int) *factorize.Kronecker {
	out := *k
	for n := k.Terms(); len(out.A) < terms; {
		out.A, out.B = append(out.A, out.A[len(out.A)-n]), append(out.B, out.B[len(out.B)-n])
	}
	return &out
}

// fitWide fits a wide layer: its first copies as the layer itself is fitted, the
// others to what that leaves.
func (s *stage) fitWide(ctx context.Context, w *match.Weight, j *job) (*fitted, error) {
	k, err := s.fitFactors(ctx, form{Shape: j.narrow()}, min(j.terms, j.narrow().MaxTerms()))
	if err != nil {
		return nil, err
	}
	if wide := j.by.Terms(j.terms); k.Terms() < wide {
		if k, err = s.fitter.Beyond(ctx, k, wide-k.Terms()); err != nil {
			return nil, err
		}
		k = withTerms(k, wide)
	}
	done := &fitted{}
	if done.k, err = j.by.Widen(k, j.terms); err != nil {
		return nil, err
	}
	if !refittable(w) {
		return done, nil
	}
	l := w.Layers[0]
	bias, err := tensor.Float64s(l.Addend.Const())
	if err != nil {
		return nil, err
	}
	for i := range bias {
		bias[i] *= l.Beta
	}
	wide, err := s.mo.WideBias(j.by, bias, done.k)
	done.bias = [][]float64{wide}
	return done, err
}

// fitDense fits a weight that keeps its form behind a wide layer.
func (s *stage) fitDense(w *match.Weight) (*fitted, error) {
	done := &fitted{dense: s.fitter.Best()}
	var err error
	if refittable(w) {
		done.bias, err = biases(w, s.mo, done.dense)
	}
	return done, err
}
