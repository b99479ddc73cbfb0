package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/tensor"
)

// A stage is what the fits of one weight share while the choices before it stay.
type stage struct {
	before string
	mode   string
	weight *match.Weight
	fitter *factorize.Fitter // nil: not ready
	mo     *factorize.Moments
	inputs *inputFit // of a tall weight
	o      factorize.FitOptions
	others map[string]*factorize.Fitter // by what has the kernel's axes, where that is not B alone
}

// fitted is one weight's factors and the biases of its layers.
type fitted struct {
	k     *factorize.Kronecker
	dense *mat.Dense  // where the layer keeps its form; else nil
	bias  [][]float64 // per layer; nil: stays
}

// mode tells fits of trials from those that are carried out.
func (c *Calibration) mode() string { return fmt.Sprintf("%d/%d:", c.thin, c.sweeps) }

// stageMemory bounds what the stages of all weights hold together, in bytes
// and roughly, beside the one in use.
const stageMemory = 256 << 20

// ready is the stage of weight i behind the choices before, if there is one.
func (c *Calibration) ready(i int, before string) *stage {
	s := &c.stages[min(1, len(before))][i]
	if s.fitter == nil || s.before != before || s.mode != c.mode() {
		return nil
	}
	return s
}

// prepare makes the stage of weight i behind the choices before, to which the
// inputs ch belong.
func (c *Calibration) prepare(ctx context.Context, i int, before string, ch *changed) (*stage, error) {
	s := &c.stages[min(1, len(before))][i]
	*s = stage{}
	c.evict()
	dense, err := c.found.weights[i].Dense()
	if err != nil {
		return nil, err
	}
	mo, err := c.moments(ctx, i, 0, ch, dense)
	if err != nil {
		return nil, err
	}
	mo.Weight = c.metrics[i]
	fo := factorize.FitOptions{Options: factorize.Options{Pool: c.pool, Seed: c.seed}, Sweeps: c.sweeps, Unjudged: true}
	if c.heldOut && c.sweeps == 0 { // in trials sweeps are too few to go wrong
		if fo.Held, err = c.moments(ctx, i, 1, ch, dense); err != nil {
			return nil, err
		}
		fo.Held.Weight = c.metrics[i]
	}
	if m, _ := mo.Dims(); m <= keptOutputs {
		fo.Weighting = &c.weighting[i]
	}
	f, err := factorize.NewFitter(ctx, mo, fo)
	if err != nil {
		return nil, err
	}
	*s = stage{before: before, mode: c.mode(), weight: c.found.weights[i], fitter: f, mo: mo, o: fo}
	if c.through[i] != nil {
		s.inputs, err = c.newInputFit(ctx, i, ch, dense)
	}
	return s, err
}

// keptOutputs is the number of a weight's outputs up to which all its fits share
// what they make of its metric: matrices of that size.
const keptOutputs = 1024

// evict lets stages go where all hold too much.
func (c *Calibration) evict() {
	bytes := 0
	for k := range c.stages {
		for i := range c.stages[k] {
			s := &c.stages[k][i]
			if s.fitter == nil {
				continue
			}
			m, n := s.mo.Dims()
			if bytes += 8 * (5*n*n + 4*m*n + 2*m*m) * (1 + len(s.others)); bytes > stageMemory {
				*s = stage{}
			}
		}
	}
}

// fitterOf is the fitter of the weight with its columns as a form has them.
func (s *stage) fitterOf(ctx context.Context, kernel string) (*factorize.Fitter, error) {
	order := columnOrder(s.weight, kernel)
	if order == nil {
		return s.fitter, nil
	}
	if f := s.others[kernel]; f != nil {
		return f, nil
	}
	o := s.o
	o.Held = inOrder(o.Held, order)
	f, err := factorize.NewFitter(ctx, inOrder(s.mo, order), o)
	if err != nil {
		return nil, err
	}
	if s.others == nil {
		s.others = map[string]*factorize.Fitter{}
	}
	s.others[kernel] = f
	return f, nil
}

// fitFactors fits so many terms of a form.
func (s *stage) fitFactors(ctx context.Context, shape form, terms int) (*factorize.Kronecker, error) {
	if shape.IsLowRank() {
		if s.inputs != nil {
			return s.inputs.lowRank(ctx, terms)
		}
		low, err := s.fitter.LowRank(ctx, terms)
		if err != nil {
			return nil, err
		}
		return low.Terms(terms), nil
	}
	f, err := s.fitterOf(ctx, shape.kernel)
	if err != nil {
		return nil, err
	}
	start, err := f.Start(ctx, shape.Shape, terms)
	if err != nil {
		return nil, err
	}
	k, _, err := f.Fit(ctx, start)
	return k, err
}

// fit replaces the weights of all jobs by fitted factors. Jobs that do not
// depend on each other are fitted in one run over the data.
func (c *Calibration) fit(ctx context.Context, js *jobs, progress func([]*job)) error {
	orig, small := &walk{model: c.model, original: c}, &walk{model: js.model, original: c}
	choices := map[int]string{}
	for n := 0; n < len(js.list); {
		group := js.list[n : n+c.independent(js, n)]
		if progress != nil {
			progress(group)
		}
		if err := c.fitGroup(ctx, js, group, choices, orig, small); err != nil {
			return err
		}
		for _, j := range group {
			done := c.fits[c.fitKey(js, j, choices)]
			for b, l := range j.weight.Layers {
				if done.bias == nil || js.wide[j.weight] != nil {
					break // a wide layer's is of another size
				}
				if err := js.build.setBias(l, done.bias[b]); err != nil {
					return c.at(ctx, j, err)
				}
			}
			if err := js.replace(j, done); err != nil {
				return err
			}
		}
		for _, j := range group { // which do not see each other
			choices[js.index(j)] = j.choice(js.index(j))
		}
		n += len(group)
	}
	return nil
}

// independent is how many of the jobs from n on can be fitted together.
func (c *Calibration) independent(js *jobs, n int) int {
	members := map[int]bool{}
	bytes := 0
	for k, j := range js.list[n:] {
		i := js.index(j)
		w := c.found.weights[i]
		if !isTable(w) {
			bytes += 2 * 8 * (w.Cols*w.Cols + w.Rows*w.Cols)
		}
		for _, d := range c.deps[i] {
			if members[d] {
				return k
			}
		}
		if k > 0 && bytes > recordMemory {
			return k
		}
		members[i] = true
	}
	return len(js.list) - n
}

// choice is what a job does to weight i, in a few characters.
func (j *job) choice(i int) string {
	return fmt.Sprintf("%d %v%s %d %s %v %v;", i, j.shape, j.kernel, j.terms, j.start, j.by, j.dense)
}

// before is the choices that the inputs of weight i depend on.
func (c *Calibration) before(i int, choices map[int]string) string {
	var b strings.Builder
	for _, d := range c.deps[i] {
		b.WriteString(choices[d])
	}
	return b.String()
}

func (c *Calibration) fitKey(js *jobs, j *job, choices map[int]string) string {
	i := js.index(j)
	return c.mode() + c.before(i, choices) + j.choice(i)
}

// fitGroup fits jobs that do not depend on each other, where that was not done
// before.
func (c *Calibration) fitGroup(ctx context.Context, js *jobs, group []*job, choices map[int]string, orig, small *walk) error {
	var left []*job
	var record []int
	for _, j := range group {
		i := js.index(j)
		key := c.fitKey(js, j, choices)
		if c.fits[key] != nil {
			continue
		}
		if j.start == Random {
			k, err := js.random(j, c.seed)
			if err != nil {
				return c.at(ctx, j, err)
			}
			c.fits[key] = &fitted{k: k}
			continue
		}
		if isTable(j.weight) {
			k, err := c.fitTable(ctx, i, j.shape, j.terms)
			if err != nil {
				return c.at(ctx, j, err)
			}
			c.fits[key] = &fitted{k: k}
			continue
		}
		left = append(left, j)
		if before := c.before(i, choices); before != "" && c.ready(i, before) == nil {
			record = append(record, i)
		}
	}
	var recorded map[int]*changed
	if len(record) > 0 {
		var err error
		recorded, err = c.recordChanged(ctx, record, orig, small, func(i int) int { return js.found.weights[i].Cols })
		if err != nil {
			return c.at(ctx, left[0], err)
		}
	}
	for _, j := range left {
		i := js.index(j)
		before := c.before(i, choices)
		s := c.ready(i, before)
		if s == nil {
			var err error
			if s, err = c.prepare(ctx, i, before, recorded[i]); err != nil {
				return c.at(ctx, j, err)
			}
			delete(recorded, i)
		}
		done, err := c.fitOne(ctx, s, js, j)
		if err != nil {
			return c.at(ctx, j, err)
		}
		c.fits[c.fitKey(js, j, choices)] = done
	}
	return nil
}

// fitOne fits one job on its stage.
func (c *Calibration) fitOne(ctx context.Context, s *stage, js *jobs, j *job) (*fitted, error) {
	w := c.found.weights[js.index(j)]
	switch {
	case j.by.Factor() > 1:
		return s.fitWide(ctx, w, j)
	case j.dense:
		return s.fitDense(w)
	}
	k, err := s.fitFactors(ctx, form{j.shape, j.kernel}, j.terms)
	if err != nil {
		return nil, err
	}
	done := &fitted{k: k}
	if refittable(w) {
		done.bias, err = biases(w, s.mo, denseOf(w, k, j.kernel))
	}
	return done, err
}

// at names the layer in an error.
func (c *Calibration) at(ctx context.Context, j *job, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What the layer sees of these rows is not finite, as a rule.
	return dataError(ctx, fmt.Errorf("layer %q: %w", j.weight.Layers[0].Name, err))
}

// biases is the biases that go with factors, of every layer of w.
func biases(w *match.Weight, mo *factorize.Moments, dense *mat.Dense) ([][]float64, error) {
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

// setBias gives a layer another bias, in the place and shape of the old one but
// for the last axis of a wide one.
func (b *builder) setBias(l *match.Layer, bias []float64) error {
	old := l.Addend.Const()
	shape := slices.Clone(old.Shape())
	if len(bias) != old.Len() {
		shape[len(shape)-1] = len(bias)
	}
	t, err := tensor.FromFloat64s(old.DType(), bias, shape...)
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
