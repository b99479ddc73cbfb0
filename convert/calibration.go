package convert

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// ErrData is wrapped by errors for calibration data that nothing can be fitted
// to.
var ErrData = errors.New("calibration data")

// The rows of calibration data are taken in batches. The last one of every
// selectionEvery is for selection: fits do not see it, choices are made by it
// and errors are reported on it.
const (
	selectionEvery   = 5
	calibrationBatch = 256 // at most
	leastBatches     = 20  // if there are as many rows
)

// A Calibration fits the weights of one model to data, one after the other:
// each to the inputs that it sees once those before it are replaced. It keeps
// what it has fitted, so that a plan and its Apply should share one. It is for
// one goroutine at a time.
type Calibration struct {
	model *graph.Model // the original
	found *found
	data  *dataset.Bound
	batch int
	pool  *kernel.Pool
	seed  uint64
	rows  int // for the fit

	metrics   []*mat.Dense   // of output errors, per weight, of mean diagonal 1; nil: the identity
	weights   []float64      // what the metrics were divided by
	originals []*[2]products // x with x, of the fit and the selection rows, per weight
	stages    []stage
	fits      map[string]*fitted // by the choices up to a weight
	heldOut   bool
	sweeps    int  // of fits in trials of plans; 0: as many as pay
	measured  bool // the metrics are
	warnings  []string
}

// A stage is what the fits of one weight share while the choices before it stay.
type stage struct {
	before string
	sweeps int
	ready  bool
	fitter *factorize.Fitter
	mo     *factorize.Moments
}

// fitted is one weight's factors and the biases of its layers.
type fitted struct {
	k    *factorize.Kronecker
	bias [][]float64 // per layer; nil: stays
}

// NewCalibration prepares fits of m's layers to data, of which every fifth
// batch is held out for selection. pool may be nil. The error wraps ErrData
// where a number is not finite or there are no rows.
func NewCalibration(m *graph.Model, data *dataset.Bound, pool *kernel.Pool, seed uint64) (*Calibration, error) {
	f, err := find(m)
	if err != nil {
		return nil, err
	}
	rows := data.Rows()
	if rows == 0 {
		return nil, fmt.Errorf("%w: no rows", ErrData)
	}
	c := &Calibration{model: m, found: f, data: data, pool: pool, seed: seed, fits: map[string]*fitted{},
		batch:     max(1, min(calibrationBatch, rows/leastBatches)),
		metrics:   make([]*mat.Dense, len(f.weights)),
		weights:   make([]float64, len(f.weights)),
		originals: make([]*[2]products, len(f.weights)),
		stages:    make([]stage, len(f.weights))}
	batches := 0
	for b, err := range data.Batches(c.batch) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrData, err)
		}
		for i, t := range b.Inputs {
			if err := finite(data.Inputs[i], t, &b); err != nil {
				return nil, err
			}
		}
		if batches%selectionEvery != selectionEvery-1 {
			c.rows += b.Rows
		}
		batches++
	}
	c.heldOut = batches >= selectionEvery
	if !c.heldOut {
		c.warnings = append(c.warnings, fmt.Sprintf("%d rows of calibration data are too few to hold some out: errors are those on the rows fitted to", rows))
	}
	return c, nil
}

// finite refuses numbers that are none.
func finite(name string, t *tensor.Tensor, b *dataset.Batch) error {
	if !t.DType().IsFloat() {
		return nil
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		return fmt.Errorf("%w: input %q: %w", ErrData, name, err)
	}
	each := max(1, len(v)/max(1, b.Padded))
	for i, x := range v {
		if x-x != 0 { // NaN and the infinities
			return fmt.Errorf("%w: input %q: %v in row %d, element %d", ErrData, name, x, b.First+i/each, i%each)
		}
	}
	return nil
}

// each runs programs side by side on the batches of the fit (0) or the
// selection (1), or on all where wanted is −1.
func (c *Calibration) each(ctx context.Context, wanted int, programs []*runtime.Program, f func(part int, b *dataset.Batch, out [][]tensor.Value) error) error {
	i := -1
	for b, err := range c.data.Batches(c.batch) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrData, err)
		}
		i++
		part := 0
		if i%selectionEvery == selectionEvery-1 {
			part = 1
		}
		if wanted >= 0 && part != wanted {
			continue
		}
		out := make([][]tensor.Value, len(programs))
		for k, p := range programs {
			if out[k], err = runBatch(ctx, p, c.data.Inputs, b.Inputs); err != nil {
				return err
			}
		}
		if err := f(part, &b, out); err != nil {
			return err
		}
	}
	return nil
}

// selection is the part that choices are made by and errors reported on.
func (c *Calibration) selection() int {
	if c.heldOut {
		return 1
	}
	return 0
}

// compile makes a program of m that gives out the values of the given names.
func (c *Calibration) compile(m *graph.Model, names []string) (*runtime.Program, error) {
	values := make([]*graph.Value, len(names))
	for i, n := range names {
		if values[i] = m.Graph.Value(n); values[i] == nil {
			return nil, fmt.Errorf("the model has no value %q", n)
		}
	}
	return runtime.Compile(m, runtime.Options{Pool: c.pool, Seed: c.seed, Outputs: values})
}

// readers is the layers of a weight whose inputs its fit goes by: those that
// read it the way round that is fitted.
func readers(w *match.Weight) []*match.Layer {
	var out []*match.Layer
	for _, l := range w.Layers {
		if !l.Transposed {
			out = append(out, l)
		}
	}
	return out
}

// unrecorded says why the inputs of a weight's layers cannot be had.
func unrecorded(m *graph.Model, w *match.Weight) string {
	for _, l := range w.Layers {
		if l.X.Graph() != m.Graph {
			return "its inputs are inside a subgraph, where calibration does not see them"
		}
	}
	return ""
}

// refittable reports whether all layers of w have a bias of their own, which
// can take up the mean of the error.
func refittable(w *match.Weight) bool {
	for _, l := range w.Layers {
		a := l.Addend
		if l.Transposed || a == nil || a.Const() == nil || a.Const().Len() != l.Out || len(a.Uses()) > 1 || a.IsOutput() || l.Beta == 0 {
			return false
		}
	}
	return true
}

// record gathers the moments of weight i: of the original's inputs, if that
// was not done before, and of those of the model small, which is nil where
// nothing before the weight has changed.
func (c *Calibration) record(ctx context.Context, i int, small *graph.Model) (cov, cross [2]products, err error) {
	if small == nil && c.originals[i] != nil {
		return cov, cross, nil
	}
	ls := readers(c.found.weights[i])
	names := make([]string, len(ls))
	for k, l := range ls {
		names[k] = l.X.Name()
	}
	programs := make([]*runtime.Program, 1, 2)
	if programs[0], err = c.compile(c.model, names); err != nil {
		return cov, cross, err
	}
	if small != nil {
		p, err := c.compile(small, names)
		if err != nil {
			return cov, cross, err
		}
		programs = append(programs, p)
	}
	var fresh *[2]products
	if c.originals[i] == nil {
		fresh = new([2]products)
	}
	err = c.each(ctx, -1, programs, func(part int, b *dataset.Batch, out [][]tensor.Value) error {
		for k, l := range ls {
			x, err := layerRows(l, out[0][k].Tensor)
			if err != nil {
				return err
			}
			x = counted(x, b)
			if fresh != nil {
				fresh[part].add(c.pool, x, x)
			}
			if small == nil {
				continue
			}
			y, err := layerRows(l, out[1][k].Tensor)
			if err != nil {
				return err
			}
			y = counted(y, b)
			cov[part].add(c.pool, y, y)
			cross[part].add(c.pool, y, x)
		}
		return nil
	})
	if err == nil && fresh != nil {
		c.originals[i] = fresh
	}
	return cov, cross, err
}

// stage prepares fits of weight i behind the choices before, which small
// carries; nil: the original.
func (c *Calibration) stage(ctx context.Context, i int, before string, small *graph.Model) (*stage, error) {
	s := &c.stages[i]
	if s.ready && s.before == before && s.sweeps == c.sweeps {
		return s, nil
	}
	cov, cross, err := c.record(ctx, i, small)
	if err != nil {
		return nil, err
	}
	w := c.found.weights[i]
	dense, err := w.Dense()
	if err != nil {
		return nil, err
	}
	centred := refittable(w)
	moments := func(part int) (*factorize.Moments, error) {
		orig, mean, _ := c.originals[i][part].moments(centred)
		o := factorize.Options{Pool: c.pool, Seed: c.seed}
		rows := c.originals[i][part].rows
		if small == nil {
			return factorize.SymmetricMoments(dense, orig, mean, rows, o)
		}
		x, xm, _ := cov[part].moments(centred)
		xy, _, _ := cross[part].moments(centred)
		return factorize.AsymmetricMoments(dense, x, xy, orig, xm, mean, rows, o)
	}
	mo, err := moments(0)
	if err != nil {
		return nil, err
	}
	mo.Weight = c.metrics[i]
	fo := factorize.FitOptions{Options: factorize.Options{Pool: c.pool, Seed: c.seed}, Sweeps: c.sweeps}
	if c.heldOut {
		if fo.Held, err = moments(1); err != nil {
			return nil, err
		}
		fo.Held.Weight = c.metrics[i]
	}
	f, err := factorize.NewFitter(ctx, mo, fo)
	if err != nil {
		return nil, err
	}
	*s = stage{before: before, ready: true, fitter: f, mo: mo, sweeps: c.sweeps}
	return s, nil
}

// fitFactors fits so many terms of a shape.
func (s *stage) fitFactors(ctx context.Context, shape factorize.Shape, terms int) (*factorize.Kronecker, error) {
	if shape.IsLowRank() {
		low, err := s.fitter.LowRank(ctx, terms)
		if err != nil {
			return nil, err
		}
		return low.Terms(terms), nil
	}
	start, err := s.fitter.Start(ctx, shape, terms)
	if err != nil {
		return nil, err
	}
	k, _, err := s.fitter.Fit(ctx, start)
	return k, err
}

// fit replaces the weights of all jobs by fitted factors.
func (c *Calibration) fit(ctx context.Context, js *jobs, progress func(*job, int)) error {
	var before strings.Builder
	for n, j := range js.list {
		if progress != nil {
			progress(j, n)
		}
		i := js.index(j)
		key := before.String() + fmt.Sprintf("%d %v %d %s %d;", i, j.shape, j.terms, j.start, c.sweeps)
		done := c.fits[key]
		if done == nil && j.start == Random {
			k, err := js.random(j, c.seed)
			if err != nil {
				return c.at(ctx, j, err)
			}
			done = &fitted{k: k}
			c.fits[key] = done
		}
		if done == nil {
			var small *graph.Model
			if n > 0 {
				small = js.model
			}
			s, err := c.stage(ctx, i, before.String(), small)
			if err != nil {
				return c.at(ctx, j, err)
			}
			k, err := s.fitFactors(ctx, j.shape, j.terms)
			if err != nil {
				return c.at(ctx, j, err)
			}
			done = &fitted{k: k}
			if w := c.found.weights[i]; refittable(w) {
				if done.bias, err = biases(w, s.mo, k); err != nil {
					return c.at(ctx, j, err)
				}
			}
			c.fits[key] = done
		}
		before.Reset()
		before.WriteString(key)
		for n, l := range j.weight.Layers {
			if done.bias == nil {
				break
			}
			if err := js.build.setBias(l, done.bias[n]); err != nil {
				return c.at(ctx, j, err)
			}
		}
		if err := js.replace(j, done.k); err != nil {
			return err
		}
	}
	return nil
}

// at names the layer in an error.
func (c *Calibration) at(ctx context.Context, j *job, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("layer %q: %w", j.weight.Layers[0].Name, err)
}

// biases is the biases that go with factors, of every layer of w.
func biases(w *match.Weight, mo *factorize.Moments, k *factorize.Kronecker) ([][]float64, error) {
	dense := k.Dense()
	out := make([][]float64, len(w.Layers))
	for i, l := range w.Layers {
		b, err := tensor.Float64s(l.Addend.Const())
		if err != nil {
			return nil, err
		}
		for j := range b {
			b[j] *= l.Beta
		}
		out[i] = mo.Bias(b, dense)
	}
	return out, nil
}

// setBias gives a layer another bias, in the place and shape of the old one.
func (b *builder) setBias(l *match.Layer, bias []float64) error {
	old := l.Addend.Const()
	t, err := tensor.FromFloat64s(old.DType(), bias, old.Shape()...)
	if err != nil {
		return err
	}
	v, err := b.initializer(l.Addend.Graph(), l.Name+".bilinc.bias", t)
	if err != nil {
		return err
	}
	// The node that is about to be replaced still reads the old one; with it,
	// that goes.
	l.Addend, l.Beta = v, 1
	return nil
}
