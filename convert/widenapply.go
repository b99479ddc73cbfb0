package convert

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// widenLayers makes the layers that a plan widens, and those behind them, as
// wide in js.found as they will be. It checks that each can be.
func (js *jobs) widenLayers(planned map[string]*LayerPlan) error {
	js.wide = map[*match.Weight]*widening{}
	js.maps = map[*match.Weight]factorize.Widening{}
	js.from = map[*match.Weight]*match.Weight{}
	for _, w := range js.found.weights {
		e := planned[w.Layers[0].Name]
		if e == nil || e.Widen == 0 || e.Widen == 1 {
			continue
		}
		fail := func(format string, args ...any) error {
			return fmt.Errorf("layer %q: %s", e.Name, fmt.Sprintf(format, args...))
		}
		switch {
		case e.Widen < 0:
			return fail("widen %d, wanted 1 or more", e.Widen)
		case e.Action != ActBilinear || e.Shape == nil:
			return fail("only a bilinear layer can be widened, this one is %s", e.Action)
		}
		wd, why := js.found.widen(w)
		if why != "" {
			return fail("it cannot be widened: %s", why)
		}
		by, ok := factorize.WideningOf(e.Shape.A[0], e.Shape.B[0], e.Widen)
		if !ok || by.M1*by.M2 != w.Rows {
			return fail("shape %v has %d·%d rows, wanted %d times %d", e.Shape, e.Shape.A[0], e.Shape.B[0], e.Widen, w.Rows)
		}
		js.wide[w], js.maps[w] = wd, by
		for _, l := range wd.readers {
			if other := js.from[l.Weight]; other != nil && other != w {
				return fail("layer %q reads two that are widened", l.Name)
			}
			js.from[l.Weight] = w
		}
	}
	// Sizes change once all layers have been looked at.
	for _, w := range js.found.weights {
		if _, ok := js.maps[w]; ok {
			w.Rows = js.maps[w].Outputs()
			w.Layers[0].Out = w.Rows
		}
		if from := js.from[w]; from != nil {
			w.Cols = js.maps[from].Outputs()
			w.Layers[0].In = w.Cols
		}
	}
	return nil
}

// widenIn makes a layer's entries of the report as wide as the model is.
func (js *jobs) widenIn(r *Report) {
	at := map[string]*LayerReport{}
	for i := range r.Layers {
		at[r.Layers[i].Name] = &r.Layers[i]
	}
	for _, j := range js.list {
		l := at[j.weight.Layers[0].Name]
		if wd := js.wide[j.weight]; wd != nil {
			l.Widen = j.by.Factor()
			l.ParamsAfter += int64(wd.grown(l.Widen))
		}
		switch {
		case j.dense:
			l.ParamsAfter = int64(j.weight.Rows) * int64(j.weight.Cols)
		case js.from[j.weight] != nil:
			l.Shape = shapeOf(j.shape)
			l.ParamsAfter = max(l.ParamsAfter, int64(j.shape.Params(j.terms)))
		}
	}
}

// target is W of a job as the model needs it: of the width of its inputs. What
// reads a wide layer takes its first copies in the place of the original's
// outputs, and the others for nothing.
func (js *jobs) target(w *match.Weight) (*mat.Dense, error) {
	d, err := w.Dense()
	if err != nil || js.from[w] == nil {
		return d, err
	}
	return js.maps[js.from[w]].Spread(d)
}

// widenBetween makes what is between a wide layer and its readers as wide: the
// layer's bias, unless it was fitted, the constants and the declared types.
func (js *jobs) widenBetween(j *job, bias []float64) error {
	wd, b := js.wide[j.weight], js.build
	if a := wd.layer.Addend; a != nil && a.Const() != nil && bias == nil && wd.layer.Beta != 0 {
		v, err := tensor.Float64s(a.Const())
		if err != nil {
			return err
		}
		for i := range v {
			v[i] *= wd.layer.Beta
		}
		if len(v) > 1 || j.weight.Rows == 1 {
			v = j.by.Tile(v)
		}
		bias = v
	}
	if bias != nil {
		if err := b.setBias(wd.layer, bias); err != nil {
			return err
		}
	}
	done := map[*graph.Value]*graph.Value{}
	for _, u := range append(append([]graph.Use{}, wd.tiled...), wd.shapes...) {
		old := u.Node.Input(u.Input)
		if done[old] == nil {
			change := tiled
			if u.Node.OpType == "Reshape" {
				change = grownShape
			}
			v, err := b.initializer(wd.layer.Product.Graph(), old.Name()+".bilinc.wide", change(old.Const(), j.by))
			if err != nil {
				return err
			}
			done[old] = v
		}
		u.Node.SetInput(u.Input, done[old])
		if err := prune(old); err != nil {
			return err
		}
	}
	for _, v := range wd.values {
		if n := len(v.Type.Shape); v.Type.Ranked && n > 0 {
			v.Type.Shape = append(append([]graph.Dim{}, v.Type.Shape[:n-1]...), graph.Size(j.by.Outputs()))
		}
	}
	return nil
}

// tiled is t with the last axis in the order of a wide layer's outputs.
func tiled(t *tensor.Tensor, by factorize.Widening) *tensor.Tensor {
	shape := append([]int{}, t.Shape()...)
	n := shape[len(shape)-1]
	shape[len(shape)-1] = by.Outputs()
	out := tensor.New(t.DType(), shape...)
	size := t.DType().ByteLen(1)
	from, to := t.Bytes(), out.Bytes()
	for r := range t.Len() / n {
		for i := range by.Outputs() {
			k, _ := by.Ancestor(i)
			copy(to[(r*by.Outputs()+i)*size:][:size], from[(r*n+k)*size:])
		}
	}
	return out
}

// grownShape is the target of a Reshape with a wide last axis.
func grownShape(t *tensor.Tensor, by factorize.Widening) *tensor.Tensor {
	v := append([]int64{}, tensor.Data[int64](t)...)
	v[len(v)-1] *= int64(by.Factor())
	return tensor.Of(v, len(v))
}

// replaceDense gives a layer another dense weight, of Out×In.
func (b *builder) replaceDense(l *match.Layer, w *mat.Dense) error {
	last := l.Product
	if l.BiasAdd != nil {
		last = l.BiasAdd
	}
	s := &site{builder: b, g: l.Product.Graph(), at: last, name: l.Name}
	rows, cols := w.Dims()
	t, err := tensor.FromFloat64s(l.Weight.DType, transposed(w).RawMatrix().Data, cols, rows)
	if err != nil {
		return err
	}
	c, err := b.initializer(l.Weight.Root.Graph(), l.Name+".bilinc.W", t)
	if err != nil {
		return err
	}
	var v, addend *graph.Value
	if l.Beta != 0 && l.Addend != nil {
		addend = s.scaled(l.Addend, l.Beta, l.Weight.DType)
	}
	switch {
	case addend == nil:
		v = s.matMul("y", l.X, c)
	case l.Rank == 2:
		v = s.node("Gemm", "y", []*graph.Value{l.X, c, addend})
	default:
		v = s.node("Add", "b", []*graph.Value{s.matMul("y", l.X, c), addend})
	}
	s.yield(v, last)
	if s.err != nil {
		return s.err
	}
	return removeLayer(l, last)
}
