package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"bilinc/convert/dataset"
	"bilinc/finetune/grad"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Data is samples for the inputs of the model in any order; *dataset.Picker is
// one. A unit is what is picked: a row, or rows that only come together.
type Data interface {
	Units() int
	Most() int // the units that one Pick may take; 0: any number
	HasLabels() bool
	Pick(units []int, batch *dataset.Batch) error
}

// A Trainer is a model in training.
type Trainer struct {
	o      Options
	model  *graph.Model // whose constants are trained, in place
	form   *graph.Model // the same in training mode, over the same constants
	data   Data
	inputs []string
	slots  []*slot
	stats  []*stat
	obj    *objective
	teach  *teacher // nil: none
	train  *grad.Program
	eval   *grad.Program

	rows, held   []int // units to train on and those held out
	mix          bool  // rows are blended in training
	byLoss       bool  // the best state is that of the least loss, not of the best metric
	perEpoch     int   // steps
	perEpochRows int   // units
	steps        int   // in all
	chunk        int   // the units of one run
	print        fingerprint

	state
	order   []int // rows in the order of epoch ordered
	ordered int
	batch   dataset.Batch
	dout    []*tensor.Tensor
	grads   []*tensor.Tensor
	sums    []*tensor.Tensor // of gradients, where a step takes several runs
	states  []*grad.State    // to release after the step
	out     []*tensor.Tensor // of the last run
	args    []tensor.Value   // those of the last call
	update  update           // of the step
	moveFn  func(i, at int, g *tensor.Tensor) error
	mixer   mixer
	clock   clock
	kept    bool // there is a checkpoint
	ran     bool
}

// New prepares the training of a copy of student by data, which has the inputs
// of student's graph in its order. teacher, of the same inputs and outputs, may
// be nil. The error wraps ErrOptions where there is nothing to learn from or
// options do not fit, ErrUntrainable where no weight can be trained, and is a *grad.NotDifferentiableError or a
// *runtime.UnsupportedError where nodes of student cannot be trained or run.
func New(student, teacher *graph.Model, data Data, o Options) (*Trainer, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if student == nil || student.Graph == nil || data == nil {
		return nil, fmt.Errorf("%w: a model and data to train it on are wanted", ErrOptions)
	}
	t := &Trainer{o: o, model: student.Clone(), data: data, ordered: -1}
	t.moveFn = t.move
	for _, v := range dataset.Inputs(student.Graph) {
		t.inputs = append(t.inputs, v.Name())
	}
	if err := t.split(); err != nil {
		return nil, err
	}
	t.print = newFingerprint(student, teacher, data)
	if err := t.weights(); err != nil {
		return nil, err
	}
	var err error
	batches := !o.Frozen && data.Most() == 0 && t.chunk >= leastBatch
	if t.form, t.stats, err = trainingForm(t.model, batches); err != nil {
		return nil, err
	}
	t.plan()
	if o.Init == Random {
		redraw(t.slots, o.Seed)
		for _, s := range t.stats {
			fill(s.x, func() float64 { return float64(s.start) })
		}
	}
	rates(t.slots)
	if err := t.prepare(teacher); err != nil {
		return nil, err
	}
	var wrt, keep, values []*graph.Value
	for _, s := range t.slots {
		s.form = t.form.Graph.Value(s.Value.Name())
		wrt = append(wrt, s.form)
	}
	for _, s := range t.stats {
		keep = append(keep, s.out)
	}
	for _, v := range t.obj.values {
		values = append(values, t.form.Graph.Value(v.Name()))
	}
	if t.train, err = grad.New(t.form, grad.Options{Pool: o.Pool, Seed: o.Seed, Wrt: wrt, Outputs: values, Keep: keep}); err != nil {
		return nil, err
	}
	t.eval, err = grad.New(t.model, grad.Options{Pool: o.Pool, Seed: o.Seed, Outputs: t.obj.values[:len(t.obj.heads)]})
	return t, err
}

// split holds some of the data out.
func (t *Trainer) split() error {
	n := t.data.Units()
	if t.rows, t.held = t.o.Split(n); len(t.rows) == 0 {
		return fmt.Errorf("%w: %d samples, of which %d are held out, leave nothing to train on", ErrOptions, n, len(t.held))
	}
	t.chunk = t.o.Batch
	if most := t.data.Most(); most > 0 {
		t.chunk = min(t.chunk, most)
	}
	return nil
}

// Split is the units of n, by their numbers, that a training with these options
// trains on, and those that it holds out. What the start of a training is fitted
// to must be among the first, or it looks better on the others than it is.
func (o *Options) Split(n int) (rows, held []int) {
	k, share := 0, o.Holdout
	if share == 0 {
		share = DefaultHoldout
	}
	if share > 0 {
		k = min(n, max(1, int(share*float64(n)+0.5)))
	}
	if o.Holdout == 0 && o.Seen {
		k = min(k, MostSeen)
	}
	order := rand.New(rand.NewPCG(o.Seed, holdoutStream)).Perm(n)
	held, rows = order[:k], order[k:]
	slices.Sort(held)
	slices.Sort(rows)
	return rows, held
}

// plan counts the steps. The last batch of an epoch has what is left of the
// rows; where statistics are taken of batches it is left out if it is small.
func (t *Trainer) plan() {
	n := len(t.rows)
	batches := (n + t.o.Batch - 1) / t.o.Batch
	if rest := n % t.o.Batch; len(t.stats) > 0 && rest > 0 && rest < leastBatch {
		batches = max(1, batches-1)
	}
	t.perEpoch = (batches + t.o.Accumulate - 1) / t.o.Accumulate
	t.perEpochRows = min(n, batches*t.o.Batch)
	t.steps = t.perEpoch * t.o.Epochs
}

// The streams of random numbers that a seed gives.
const (
	holdoutStream = 0x686f6c64
	orderStream   = 0x6f72646572000000
)

// weights gives the weights that are trained elements of their own.
func (t *Trainer) weights() error {
	all, err := Weights(t.model, t.o.Groups)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%w: the model has none of float32 or float64", ErrUntrainable)
	}
	for _, w := range all {
		if t.o.Train != nil && !t.o.Train(w) {
			continue
		}
		s := &slot{Weight: w, x: w.Value.Const().Clone(), rate: 1}
		set(w.Value, s.x)
		s.mean = tensor.New(s.x.DType(), s.x.Shape()...)
		if t.o.Rule != SGD {
			s.square = tensor.New(s.x.DType(), s.x.Shape()...)
		}
		if t.o.Average > 0 {
			s.average = s.x.Clone()
		}
		t.slots = append(t.slots, s)
	}
	if len(t.slots) == 0 {
		return fmt.Errorf("%w: no constant of the model is to be trained", ErrOptions)
	}
	return nil
}

// prepare makes the objective, from what one run gives.
func (t *Trainer) prepare(teacher *graph.Model) error {
	if err := t.data.Pick(t.rows[:min(len(t.rows), t.chunk)], &t.batch); err != nil {
		return err
	}
	o := &objective{pool: t.o.Pool, smoothing: max(0, t.o.Smoothing), temperature: t.o.Temperature, matchWeight: t.o.MatchWeight}
	t.obj = o
	made, err := t.heads(teacher)
	if err != nil {
		return err
	}
	out, err := t.probe()
	if err != nil {
		return err
	}
	for i, h := range o.heads {
		h.shape, h.axis, h.scale = slices.Clone(out[i].Shape()), -1, 1
	}
	if t.data.HasLabels() {
		if err := labelled(o.heads, out, t.batch.Labels); err != nil {
			return err
		}
	}
	for i, h := range o.heads {
		if !h.labels {
			h.axis = h.guess(made[i], false)
		}
	}
	if err := o.share(t.o.Loss); err != nil {
		return err
	}
	t.byLoss = !slices.ContainsFunc(o.heads, func(h *head) bool { return h.labels })
	if err := t.match(teacher); err != nil {
		return err
	}
	o.values, o.targets = nil, nil
	for _, h := range o.heads {
		o.values = append(o.values, h.student)
		if h.teacher != nil && h.kl+h.mse == 0 && h.labels {
			h.teacher = nil // not looked at
		}
		if h.teacher != nil {
			o.targets = append(o.targets, h.teacher)
		}
	}
	for _, p := range o.pairs {
		o.values, o.targets = append(o.values, p.student), append(o.targets, p.teacher)
	}
	if len(o.targets) > 0 {
		if t.teach, err = newTeacher(teacher, o.targets, t.o.Pool, t.o.Seed); err != nil {
			return err
		}
	}
	return t.blends()
}

// heads lists the outputs that a loss could look at; made says which a Softmax
// makes.
func (t *Trainer) heads(teacher *graph.Model) (made []bool, err error) {
	o := t.obj
	for _, v := range t.model.Graph.Outputs {
		if v.Const() != nil || v.Type.Kind == tensor.KindTensor && v.Type.DType != tensor.Undefined &&
			v.Type.DType != tensor.Float32 && v.Type.DType != tensor.Float64 {
			continue
		}
		h := &head{name: v.Name(), student: scores(t.model, v)}
		if slices.ContainsFunc(o.heads, func(g *head) bool { return g.student == h.student }) {
			continue
		}
		if teacher != nil {
			if tv := teacher.Graph.Value(v.Name()); tv != nil && tv.IsOutput() {
				h.teacher = scores(teacher, tv)
				if (h.teacher != tv) != (h.student != v) {
					return nil, fmt.Errorf("%w: a Softmax makes output %q of one of model and teacher, not of both", ErrOptions, v.Name())
				}
			}
		}
		o.heads, o.values, made = append(o.heads, h), append(o.values, h.student), append(made, h.student != v)
	}
	if len(o.heads) == 0 {
		return nil, fmt.Errorf("%w: the model has no floating-point output", ErrOptions)
	}
	if teacher != nil && !slices.ContainsFunc(o.heads, func(h *head) bool { return h.teacher != nil }) {
		return nil, fmt.Errorf("%w: the teacher has none of the model's outputs", ErrOptions)
	}
	return made, nil
}

// probe runs the model as it is, for the shapes of its outputs. Outputs that
// are no floating-point numbers are dropped from the heads.
func (t *Trainer) probe() ([]*tensor.Tensor, error) {
	p, err := grad.New(t.model, grad.Options{Pool: t.o.Pool, Seed: t.o.Seed, Outputs: t.obj.values})
	if err != nil {
		return nil, err
	}
	s, err := p.Forward(context.Background(), valuesOf(&t.args, t.batch.Inputs))
	if err != nil {
		return nil, err
	}
	defer s.Release()
	var out []*tensor.Tensor
	for i, v := range s.Outputs() {
		if v.Kind != tensor.KindTensor || v.Tensor.DType() != tensor.Float32 && v.Tensor.DType() != tensor.Float64 {
			return nil, fmt.Errorf("%w: output %q is no tensor of float32 or float64", ErrOptions, t.obj.heads[i].name)
		}
		out = append(out, v.Tensor)
	}
	return out, nil
}

// match finds the values that are to agree.
func (t *Trainer) match(teacher *graph.Model) error {
	if len(t.o.Matches) == 0 {
		return nil
	}
	if teacher == nil {
		return fmt.Errorf("%w: matching layers needs a teacher", ErrOptions)
	}
	for _, m := range t.o.Matches {
		s, err := find(t.model, m.Student)
		if err != nil {
			return err
		}
		v, err := find(teacher, m.Teacher)
		if err != nil {
			return fmt.Errorf("teacher: %w", err)
		}
		t.obj.pairs = append(t.obj.pairs, &pair{student: s, teacher: v, scale: 1})
	}
	return nil
}

// valuesOf is ts as arguments, in the memory of buf.
func valuesOf(buf *[]tensor.Value, ts []*tensor.Tensor) []tensor.Value {
	*buf = (*buf)[:0]
	for _, t := range ts {
		*buf = append(*buf, tensor.ValueOf(t))
	}
	return *buf
}

// loss describes the terms in words.
func (o *objective) describe() string {
	var parts []string
	add := func(f float64, what string) {
		if f > 0 {
			if f != 1 {
				what = fmt.Sprintf("%g*%s", f, what)
			}
			if !slices.Contains(parts, what) {
				parts = append(parts, what)
			}
		}
	}
	for _, h := range o.heads {
		add(h.ce, "ce")
		add(h.kl, "kl")
		add(h.mse, "mse")
	}
	if len(o.pairs) > 0 {
		add(o.matchWeight, "match")
	}
	return strings.Join(parts, "+")
}

// scales measures the variance of targets that are numbers, over at most
// varianceRows samples.
func (t *Trainer) scales(ctx context.Context) error {
	o := t.obj
	numbers := slices.ContainsFunc(o.heads, func(h *head) bool { return h.axis < 0 || h.mse > 0 })
	if !numbers && len(o.pairs) == 0 {
		return nil
	}
	labels, targets := make([]spread, len(o.heads)), make([]spread, len(o.targets))
	rows := t.rows[:min(len(t.rows), varianceRows)]
	for lo := 0; lo < len(rows); lo += t.chunk {
		units := rows[lo:min(len(rows), lo+t.chunk)]
		if err := errors.Join(context.Cause(ctx), t.data.Pick(units, &t.batch)); err != nil {
			return err
		}
		for i, h := range o.heads {
			if h.labels && h.axis < 0 {
				if err := labels[i].add(t.batch.Labels, t.batch.Rows, t.batch.Rows); err != nil {
					return fmt.Errorf("labels: %w", err)
				}
			}
		}
		if t.teach == nil {
			continue
		}
		out, err := t.teach.outputs(ctx, t.inputs, units, &t.batch)
		if err != nil {
			return err
		}
		for i, v := range out {
			if err := targets[i].add(v, t.batch.Rows, t.batch.Padded); err != nil {
				return err
			}
		}
	}
	next := 0
	for i, h := range o.heads {
		if h.teacher != nil {
			h.scale = targets[next].scale()
			next++
		}
		if h.labels && h.axis < 0 {
			h.scale = labels[i].scale()
		}
	}
	for _, p := range o.pairs {
		p.scale = targets[next].scale()
		next++
	}
	return nil
}

// varianceRows is the samples that the variance of targets is measured on.
const varianceRows = 1024
