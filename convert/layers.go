package convert

import (
	"errors"
	"fmt"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
)

// found is what a model has to compress.
type found struct {
	facts   *op.Facts
	layers  []*match.Layer
	skips   []match.Skip
	weights []*match.Weight // of layers, in the order of their first
}

// find looks for the layers of m. The factors of an earlier
// conversion are left alone: whoever wants a smaller model converts the
// original again.
func find(m *graph.Model) (*found, error) {
	if m == nil || m.Graph == nil {
		return nil, errors.New("the model has no graph")
	}
	facts, err := op.Infer(m, nil)
	if err != nil {
		return nil, err
	}
	f := &found{facts: facts}
	layers, skips := match.Layers(m, facts)
	f.skips = skips
	factors := map[string]string{}
	// Metadata that cannot be read is no one's record of factors.
	done, _ := ReadLayers(m)
	for _, c := range done {
		factors[c.A], factors[c.B] = c.Name, c.Name
	}
	for _, l := range layers {
		name := l.Weight.Root.Name()
		if of, ok := factors[name]; ok {
			f.skips = append(f.skips, match.Skip{Name: l.Name, Node: l.Product, Params: l.Weight.Root.Const().Len(),
				Reason: fmt.Sprintf("%q is a factor of layer %q, compressed before", name, of)})
			continue
		}
		f.layers = append(f.layers, l)
		if l.Weight.Layers[0] == l {
			f.weights = append(f.weights, l.Weight)
		}
	}
	return f, nil
}

// fits reports whether so many terms of a shape are smaller than the weight,
// in parameters and in bytes.
func fits(w *match.Weight, s factorize.Shape, terms int) bool {
	params := s.Params(terms) + extraParams(w, s.IsLowRank())
	return params < w.Params() && w.DType.ByteLen(params) < w.Bytes()
}

// compressible says why no factors of w can be smaller; "" where some are.
func compressible(w *match.Weight) string {
	fewer := false
	for _, s := range forms(w) {
		if fits(w, s.Shape, 1) {
			return ""
		}
		fewer = fewer || s.Params(1)+extraParams(w, s.IsLowRank()) < w.Params()
	}
	if fewer {
		return fmt.Sprintf("no factors of %v take less than the %d bytes that the weight is stored in", w.DType, w.Bytes())
	}
	return fmt.Sprintf("no factors are smaller than its %d parameters", w.Params())
}
