package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
)

// ApplyOptions is what Apply needs beside the plan.
type ApplyOptions struct {
	ModelSHA256 string       // of the model's files; compared with the plan's where both are set
	Pool        *kernel.Pool // nil: the caller's goroutine alone
	// Calibration fits the factors to data; nil: to the weights alone.
	Calibration *Calibration
	// Progress is called before each weight is factorised, as that of Options is;
	// may be nil.
	Progress func(layer string, done, total int)
}

// Apply carries a plan out on a copy of m. The error wraps ErrPlan where the
// plan does not fit the model. A plan that changes nothing gives an equal
// model back.
func Apply(ctx context.Context, m *graph.Model, p *Plan, o ApplyOptions) (*graph.Model, *Report, error) {
	switch {
	case p == nil:
		return nil, nil, fmt.Errorf("%w: there is none", ErrPlan)
	case m == nil || m.Graph == nil:
		return nil, nil, errors.New("the model has no graph")
	case o.Calibration != nil && o.Calibration.model != m:
		return nil, nil, fmt.Errorf("%w: the calibration is of another model", ErrOptions)
	}
	if o.ModelSHA256 != "" && p.Model != "" && o.ModelSHA256 != p.Model {
		return nil, nil, fmt.Errorf("%w: it is for another model (SHA-256 %.12s…, this one's is %.12s…)", ErrPlan, p.Model, o.ModelSHA256)
	}
	out, work, err := prepare(m, p)
	if err != nil {
		return nil, nil, err
	}
	r := newReport(p)
	work.widenIn(r)
	if o.Calibration != nil {
		if err := applyFitted(ctx, out, work, r, &o); err != nil {
			return nil, nil, err
		}
		return out, r, nil
	}
	errs := map[string]float64{}
	steps := o.Calibration.stepsOf(work.list, o.Progress)
	for _, j := range work.list {
		steps.step(paceFull, j.weight.Layers[0].Name, o.Calibration.jobWork(j))
		k, e, err := work.fit(ctx, j, factorize.Options{Pool: o.Pool, Seed: p.Options.Seed})
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			return nil, nil, fmt.Errorf("layer %q: %w", j.weight.Layers[0].Name, err)
		}
		for _, l := range j.weight.Layers {
			errs[l.Name] = e
		}
		r.Warnings = append(r.Warnings, j.warnings...)
		if err := work.replace(j, k); err != nil {
			return nil, nil, err
		}
	}
	if err := work.finish(); err != nil {
		return nil, nil, err
	}
	r.measure(m, out, errs)
	return out, r, nil
}

// A job is one weight to replace.
type job struct {
	weight   *match.Weight
	shape    factorize.Shape
	kernel   string // of a convolution, as in form
	terms    int
	start    Start
	by       factorize.Widening // of its outputs; of factor 1 where they stay
	dense    bool               // it keeps its form, and reads a wide layer
	warnings []string
}

// jobs is the work that a plan asks for on a copy of a model.
type jobs struct {
	model *graph.Model
	found *found
	build *builder
	list  []*job
	done  []Compressed

	// Of widened weights, and of those that read them.
	wide map[*match.Weight]*widening
	maps map[*match.Weight]factorize.Widening
	from map[*match.Weight]*match.Weight
}

// prepare copies the model and checks the plan against it.
func prepare(m *graph.Model, p *Plan) (*graph.Model, *jobs, error) {
	out := m.Clone()
	f, err := find(out)
	if err != nil {
		return nil, nil, err
	}
	js := &jobs{model: out, found: f, build: newBuilder(out)}
	byName := map[string]*match.Layer{}
	for _, l := range f.layers {
		byName[l.Name] = l
	}
	skipped := map[string]string{}
	for _, s := range f.skips {
		skipped[s.Name] = s.Reason
	}
	planned := map[string]*LayerPlan{}
	for i := range p.Layers {
		e := &p.Layers[i]
		if planned[e.Name] != nil {
			return nil, nil, fmt.Errorf("%w: layer %q is there twice", ErrPlan, e.Name)
		}
		planned[e.Name] = e
		l, reason := byName[e.Name], skipped[e.Name]
		switch {
		case l == nil && reason == "":
			return nil, nil, fmt.Errorf("%w: the model has no layer %q", ErrPlan, e.Name)
		case e.Action == ActDense || e.Action == ActSkipped:
		case e.Action != ActBilinear && e.Action != ActLowRank:
			return nil, nil, fmt.Errorf("%w: layer %q: action %q, wanted bilinear, lowrank, dense or skipped", ErrPlan, e.Name, e.Action)
		case l == nil:
			return nil, nil, fmt.Errorf("%w: layer %q cannot be compressed: %s", ErrPlan, e.Name, reason)
		case e.In != l.In || e.Out != l.Out:
			return nil, nil, fmt.Errorf("%w: layer %q: %d inputs and %d outputs, the model has %d and %d", ErrPlan, e.Name, e.In, e.Out, l.In, l.Out)
		}
	}
	if err := js.widenLayers(planned); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	// A layer that the plan does not name stays as it is, if what it reads does.
	for _, w := range f.weights {
		j, err := newJob(w, planned)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrPlan, err)
		}
		if j == nil && js.from[w] != nil {
			j = &job{weight: w, dense: true, warnings: []string{fmt.Sprintf("layer %q grows from %d to %d parameters", w.Layers[0].Name, w.Params(), w.Rows*w.Cols)}}
		}
		if j != nil {
			j.by = js.maps[w]
			js.list = append(js.list, j)
		}
	}
	return out, js, nil
}

// newJob is what the plan asks for one weight; nil where that stays.
func newJob(w *match.Weight, planned map[string]*LayerPlan) (*job, error) {
	first := w.Layers[0]
	e := planned[first.Name]
	replaced := func(e *LayerPlan) bool { return e != nil && (e.Action == ActBilinear || e.Action == ActLowRank) }
	for _, l := range w.Layers[1:] {
		if replaced(planned[l.Name]) != replaced(e) {
			return nil, fmt.Errorf("layers %q and %q share a weight: both are replaced or none", first.Name, l.Name)
		}
	}
	if !replaced(e) {
		return nil, nil
	}
	j := &job{weight: w, terms: e.Terms, start: e.Start, shape: factorize.LowRankShape(w.Rows, w.Cols)}
	switch {
	case e.Action == ActBilinear && e.Shape == nil:
		return nil, fmt.Errorf("layer %q: a bilinear layer needs a shape", e.Name)
	case e.Shape != nil:
		j.shape = e.Shape.factorize()
		if e.Action == ActLowRank && j.shape != factorize.LowRankShape(w.Rows, w.Cols) {
			return nil, fmt.Errorf("layer %q: shape %v is not low rank", e.Name, e.Shape)
		}
	}
	switch e.Start {
	case "", Fitted, Random:
	default:
		return nil, fmt.Errorf("layer %q: start %q, wanted fitted or random", e.Name, e.Start)
	}
	j.kernel = e.Kernel
	if err := checkForm(w, form{j.shape, j.kernel}); err != nil {
		return nil, fmt.Errorf("layer %q: %w", e.Name, err)
	}
	s := j.shape
	for _, side := range []struct {
		what         string
		d1, d2, size int
	}{{"rows", s.M1, s.M2, w.Rows}, {"columns", s.N1, s.N2, w.Cols}} {
		if side.d1 < 1 || side.d2 < 1 || side.d1 > side.size || side.d2 > side.size || side.d1*side.d2 < side.size {
			return nil, fmt.Errorf("layer %q: shape %v has %d·%d %s for the weight's %d", e.Name, s, side.d1, side.d2, side.what, side.size)
		}
	}
	if j.terms < 1 || j.terms > s.MaxTerms() {
		return nil, fmt.Errorf("layer %q: %d terms of shape %v, wanted 1 to %d", e.Name, j.terms, s, s.MaxTerms())
	}
	if params := s.Params(j.terms) + extraParams(w, s.IsLowRank()); params > w.Params() {
		j.warnings = append(j.warnings, fmt.Sprintf("layer %q grows from %d to %d parameters", e.Name, w.Params(), params))
	}
	return j, nil
}

// fit is what takes the place of a weight, by the weights alone, and
// ‖W−Ŵ‖²/‖W‖².
func (js *jobs) fit(ctx context.Context, j *job, o factorize.Options) (*fitted, float64, error) {
	if j.dense {
		d, err := js.target(j.weight)
		return &fitted{dense: d}, 0, err
	}
	k, e, err := js.fromWeight(ctx, j, o)
	return &fitted{k: k}, e, err
}

// fromWeight gives the factors of a job that goes by its weight alone, and
// ‖W−Ŵ‖²/‖W‖².
func (js *jobs) fromWeight(ctx context.Context, j *job, o factorize.Options) (*factorize.Kronecker, float64, error) {
	w, err := js.target(j.weight)
	if err != nil {
		return nil, 0, err
	}
	if j.by.Factor() > 1 {
		return js.wideFromWeight(ctx, j, w, o)
	}
	if j.start != Random {
		return factorize.NearestKronecker(ctx, ordered(w, columnOrder(j.weight, j.kernel)), j.shape, j.terms, o)
	}
	k, err := js.random(j, o.Seed)
	if err != nil {
		return nil, 0, err
	}
	var rest mat.Dense
	rest.Sub(w, denseOf(j.weight, k, j.kernel))
	before, after := mat.Norm(w, 2), mat.Norm(&rest, 2)
	if before == 0 {
		return k, 0, nil
	}
	return k, after * after / (before * before), nil
}

// random draws the factors of a job. Each input counts 2/inputs, which keeps
// the variance through a layer and a Relu (K. He et al., "Delving deep into
// rectifiers", 2015).
func (js *jobs) random(j *job, seed uint64) (*factorize.Kronecker, error) {
	rows, cols := j.weight.Rows, j.weight.Cols
	return factorize.Random(j.shape, j.terms, rows, cols, 2/float64(cols), seed<<8+uint64(js.index(j)))
}

// replace puts factors in the place of one weight; bias is that of a widened
// layer, where it was fitted.
func (js *jobs) replace(j *job, f *fitted) error {
	k := f.k
	if j.dense {
		return js.build.replaceDense(j.weight.Layers[0], f.dense)
	}
	if js.wide[j.weight] != nil {
		var bias []float64
		if f.bias != nil {
			bias = f.bias[0]
		}
		if err := js.widenBetween(j, bias); err != nil {
			return err
		}
	}
	done, err := js.build.replace(j.weight, k, j.kernel, js.found.facts.Of)
	for i := range done {
		if j.start == Random {
			done[i].Start = Random
		}
		if f := j.by.Factor(); f > 1 {
			done[i].Widen = f
		}
	}
	js.done = append(js.done, done...)
	return err
}

// index is the number of a job's weight among all of the model.
func (js *jobs) index(j *job) int { return slices.Index(js.found.weights, j.weight) }

// finish records what was done and checks the model.
func (js *jobs) finish() error {
	if len(js.list) == 0 {
		return nil
	}
	if err := writeLayers(js.model, js.done); err != nil {
		return err
	}
	if err := js.model.Check(); err != nil {
		return fmt.Errorf("after the layers were replaced: %w", err)
	}
	return nil
}

// dry is the model that an allocation gives, with zeros for factors: as large
// as the true one, but made at once.
func (p *planner) dry(a allocation) (*graph.Model, error) {
	m, js, err := prepare(p.model, p.plan(a, nil))
	if err != nil {
		return nil, err
	}
	for _, j := range js.list {
		f := &fitted{k: zeros(j.shape, j.terms, j.weight.Rows, j.weight.Cols)}
		if j.dense {
			f = &fitted{dense: mat.NewDense(j.weight.Rows, j.weight.Cols, nil)}
		}
		if err := js.replace(j, f); err != nil {
			return nil, err
		}
	}
	return m, js.finish()
}

// zeros is a sum of so many terms that are all 0.
func zeros(s factorize.Shape, terms, rows, cols int) *factorize.Kronecker {
	k := &factorize.Kronecker{Shape: s, Rows: rows, Cols: cols}
	a, b := mat.NewDense(s.M1, s.N1, nil), mat.NewDense(s.M2, s.N2, nil)
	for range terms {
		k.A, k.B = append(k.A, a), append(k.B, b)
	}
	return k
}

// encodedSize is the bytes of m in one file.
func encodedSize(m *graph.Model) (int64, error) {
	b, err := onnx.Encode(m)
	return int64(len(b)), err
}
