package finetune

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// An objective is what a model is trained for: a sum of terms over its heads
// and over values that are to be those of the teacher.
type objective struct {
	pool        *kernel.Pool
	heads       []*head
	pairs       []*pair
	values      []*graph.Value // of the student: heads, then pairs
	targets     []*graph.Value // of the teacher, for the heads and pairs that have one
	smoothing   float64
	temperature float64
	matchWeight float64

	class  []int32
	loss   []float64
	right  []bool
	weight []float64

	// What a step works with, so that it allocates nothing.
	entropies entropies
	squares   squares
	numbers   []float64        // labels, or a mask
	targetsOf []*tensor.Tensor // numbers that one head is to give
}

// A pair is a value of the student and the one of the teacher that it stands
// for.
type pair struct {
	student, teacher *graph.Value
	scale            float64
}

// A tally is what a loss comes to over some samples.
type tally struct {
	loss   float64 // Σ over samples
	rows   float64
	right  float64 // positions whose largest score is the target's
	of     float64 // positions that were looked at
	square float64 // Σ over positions of squared differences by the variance, of plain numbers
}

func (t *tally) add(s tally) {
	t.loss += s.loss
	t.rows += s.rows
	t.right += s.right
	t.of += s.of
	t.square += s.square
}

// mean is the loss of a sample.
func (t *tally) mean() float64 { return t.loss / t.rows }

// metric is the share of positions that are right; of plain numbers 1 minus
// the mean squared error by the variance.
func (t *tally) metric(classes bool) float64 {
	if classes {
		return t.right / t.of
	}
	return 1 - t.square/t.of
}

// terms reads what Options.Loss says: the factors of ce, kl and mse; nil for
// auto.
func terms(text string) (map[string]float64, error) {
	if text == "auto" {
		return nil, nil
	}
	out := map[string]float64{}
	for _, part := range strings.Split(text, "+") {
		factor, name, ok := strings.Cut(strings.TrimSpace(part), "*")
		if !ok {
			factor, name = "1", factor
		}
		f, err := strconv.ParseFloat(factor, 64)
		if err != nil || !(f > 0) || f > 1e6 || !slices.Contains([]string{"ce", "kl", "mse"}, name) {
			return nil, fmt.Errorf("%w: loss %q, wanted auto or a sum of ce, kl and mse, as in 0.5*ce+0.5*kl", ErrOptions, text)
		}
		out[name] += f
	}
	return out, nil
}

// share gives the heads their terms: those that Options.Loss names, or by what
// is there. A head with classes learns from labels by cross-entropy and from
// the teacher by the divergence, one of plain numbers by squares from both;
// where there are both sources, classes count labelShare and the teacher the
// rest, and of numbers each half.
func (o *objective) share(text string) error {
	named, err := terms(text)
	if err != nil {
		return err
	}
	labels, teacher := false, false
	for _, h := range o.heads {
		labels, teacher = labels || h.labels, teacher || h.teacher != nil
	}
	if !labels && !teacher {
		return fmt.Errorf("%w: there are neither labels nor a teacher to learn from", ErrOptions)
	}
	used := false
	for _, h := range o.heads {
		if named == nil {
			h.auto()
			used = used || h.ce+h.kl+h.mse > 0
			continue
		}
		if h.labels && h.axis >= 0 {
			h.ce = named["ce"]
		}
		if h.teacher != nil {
			h.kl, h.mse = named["kl"], named["mse"]
			if h.axis < 0 && h.kl > 0 && !h.labels {
				if h.axis = h.guess(false, true); h.axis < 0 {
					return fmt.Errorf("%w: output %q of shape %v has no axis of classes for the loss kl", ErrOptions, h.name, h.shape)
				}
			}
		} else if h.labels && h.axis < 0 {
			h.mse = named["mse"]
		}
		used = used || h.ce+h.kl+h.mse > 0
	}
	for name := range named {
		has := slices.ContainsFunc(o.heads, func(h *head) bool {
			return map[string]float64{"ce": h.ce, "kl": h.kl, "mse": h.mse}[name] > 0
		})
		if !has {
			need := map[string]string{"ce": "labels that are classes", "kl": "a teacher", "mse": "a teacher, or labels that are numbers"}[name]
			return fmt.Errorf("%w: loss %s needs %s", ErrOptions, name, need)
		}
	}
	if !used {
		return fmt.Errorf("%w: no output has a loss", ErrOptions)
	}
	o.heads = slices.DeleteFunc(o.heads, func(h *head) bool { return h.ce+h.kl+h.mse == 0 && !h.labels })
	return nil
}

// labelShare is what labels count beside the teacher. A teacher tells of rows
// that it has been trained on little more than their labels, which it knows by
// heart, and less evenly than smoothed labels do. On Fashion-MNIST, ten epochs
// on 50,000 rows, of 10,000 that neither net has seen: a net of
// 784-1024-1024-10 at an eighth, low rank, fitted, .902 with a half each and
// .905 with labels alone; at a 64th, pairs, random, without smoothing .893 with
// a half each and .893 with labels alone, with smoothing .900 at 0.8 to 0.2 and
// .899 with labels alone, whose loss is larger.
const labelShare = 0.8

func (h *head) auto() {
	ce, kl := 1.0, 1.0
	if h.labels && h.teacher != nil {
		ce, kl = labelShare, 1-labelShare
	}
	switch {
	case h.axis < 0:
		if h.labels || h.teacher != nil {
			h.mse = 1
		}
	default:
		if h.labels {
			h.ce = ce
		}
		if h.teacher != nil {
			h.kl = kl
		}
	}
}

// classes reports whether the metric counts right classes: that of the head
// with labels, or of the first.
func (o *objective) classes() bool { return o.chief().axis >= 0 }

// chief is the head that the metric is of.
func (o *objective) chief() *head {
	for _, h := range o.heads {
		if h.labels {
			return h
		}
	}
	return o.heads[0]
}

// measure computes the loss of one run: out is the values of the student,
// targets those of the teacher, in the order of o.values and o.targets. Where
// dout is not nil, it becomes the gradient of share·(mean loss of a sample) by
// out.
func (o *objective) measure(out, targets []*tensor.Tensor, batch *dataset.Batch, mask *tensor.Tensor, dout []*tensor.Tensor, share float64, smooth bool) (tally, error) {
	sum := tally{rows: float64(batch.Rows)}
	next := 0
	target := func(v *graph.Value) *tensor.Tensor {
		if v == nil {
			return nil
		}
		next++
		return targets[next-1]
	}
	for i, h := range o.heads {
		var d *tensor.Tensor
		if dout != nil {
			d = dout[i]
		}
		t, err := like(target(h.teacher), out[i])
		if err != nil {
			return tally{}, fmt.Errorf("output %q: %w", h.name, err)
		}
		if err := o.head(&sum, h, out[i], t, d, batch, mask, share, smooth); err != nil {
			return tally{}, err
		}
	}
	if dout == nil {
		return sum, nil // the hold-out is not judged by what happens inside
	}
	for i, p := range o.pairs {
		s := out[len(o.heads)+i]
		t, err := like(target(p.teacher), s)
		if err != nil {
			return tally{}, fmt.Errorf("value %q: %w", p.student.Name(), err)
		}
		clear(dout[len(o.heads)+i].Bytes())
		rows, per, err := o.rows(s, batch)
		if err != nil {
			return tally{}, fmt.Errorf("value %q: %w", p.student.Name(), err)
		}
		w := o.matchWeight / float64(len(o.pairs))
		q := &o.squares
		*q = squares{scale: p.scale * w / float64(per), factor: share / float64(batch.Rows), each: per, loss: o.loss[:rows],
			weight: o.padding(rows, batch), partFn: q.partFn}
		q.run(o.pool, s, t, dout[len(o.heads)+i])
		for _, l := range q.loss {
			sum.loss += l
		}
	}
	return sum, nil
}

// rows is the rows of a value that is one row for each of the batch's, and the
// elements of a row.
func (o *objective) rows(s *tensor.Tensor, batch *dataset.Batch) (rows, per int, err error) {
	if s.Len()%batch.Padded != 0 || s.Rank() == 0 {
		return 0, 0, fmt.Errorf("%v is no row for each of %d samples", s, batch.Padded)
	}
	o.grow(batch.Padded)
	return batch.Padded, s.Len() / batch.Padded, nil
}

// grow makes room for so many positions.
func (o *objective) grow(n int) {
	if len(o.loss) < n {
		o.class, o.loss, o.right, o.weight = make([]int32, n), make([]float64, n), make([]bool, n), make([]float64, n)
	}
}

// padding is the weights of n positions of which those of padded rows do not
// count; nil where all do.
func (o *objective) padding(n int, batch *dataset.Batch) []float64 {
	if batch.Rows == batch.Padded {
		return nil
	}
	w := o.weight[:n]
	for p := range w {
		w[p] = 0
		if p < n/batch.Padded*batch.Rows {
			w[p] = 1
		}
	}
	return w
}

// weights is the weights of n positions by padding and mask; nil where all
// count. total is how many do.
func (o *objective) weights(n int, batch *dataset.Batch, mask *tensor.Tensor) (w []float64, total float64, err error) {
	if n%batch.Padded != 0 && batch.Rows != batch.Padded {
		return nil, 0, fmt.Errorf("%d positions are not those of %d samples", n, batch.Padded)
	}
	w, total = o.padding(n, batch), float64(n)
	if w != nil {
		total = float64(n / batch.Padded * batch.Rows)
	}
	if mask == nil {
		return w, total, nil
	}
	m, err := tensor.Float64sInto(o.numbers, mask)
	if err != nil {
		return nil, 0, fmt.Errorf("mask: %w", err)
	}
	o.numbers = m
	if len(m) == 0 || n%len(m) != 0 {
		return nil, 0, fmt.Errorf("the mask has %d positions, the output %d", len(m), n)
	}
	if w == nil {
		w = o.weight[:n]
		for i := range w {
			w[i] = 1
		}
	}
	total = 0
	for p := range w {
		if m[p/(n/len(m))] == 0 {
			w[p] = 0
		}
		total += w[p]
	}
	return w, total, nil
}

// head adds the terms of one head.
func (o *objective) head(sum *tally, h *head, s, t, d *tensor.Tensor, batch *dataset.Batch, mask *tensor.Tensor, share float64, smooth bool) error {
	if d != nil {
		clear(d.Bytes())
	}
	chief := h == o.chief()
	rows := float64(batch.Rows)
	if h.axis >= 0 {
		l := layoutOf(s.Shape(), h.axis)
		o.grow(l.positions)
		w, total, err := o.weights(l.positions, batch, mask)
		if err != nil {
			return fmt.Errorf("output %q: %w", h.name, err)
		}
		if total == 0 {
			return nil
		}
		e := &o.entropies
		*e = entropies{layout: l, ce: h.ce, kl: h.kl, temperature: o.temperature, factor: share / total, weight: w, teacher: t,
			loss: o.loss[:l.positions], right: o.right[:l.positions], partFn: e.partFn}
		if smooth {
			e.smoothing = o.smoothing
		}
		if h.labels {
			v, err := tensor.Float64sInto(o.numbers, batch.Labels)
			if err != nil {
				return fmt.Errorf("labels: %w", err)
			}
			o.numbers = v
			if err := h.classes(o.class[:l.positions], v, l, batch); err != nil {
				return err
			}
			e.class = o.class
		}
		e.run(o.pool, s, d)
		for p, x := range e.loss {
			sum.loss += x * rows / total
			if chief && e.right[p] {
				sum.right++
			}
		}
		if chief {
			sum.of += total
		}
	}
	if h.mse == 0 && !(chief && h.axis < 0) {
		return nil
	}
	return o.differences(sum, h, s, t, d, batch, mask, share, chief && h.axis < 0)
}

// differences adds the squared differences from the teacher, or from labels, or
// half of both.
func (o *objective) differences(sum *tally, h *head, s, t, d *tensor.Tensor, batch *dataset.Batch, mask *tensor.Tensor, share float64, chief bool) error {
	targets := o.targetsOf[:0]
	if h.labels && h.axis < 0 {
		y, err := o.paddedLike(h.target, batch.Labels, s, batch)
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		h.target = y
		targets = append(targets, y)
	}
	if t != nil {
		targets = append(targets, t)
	}
	o.targetsOf = targets
	rows, per, err := o.rows(s, batch)
	if err != nil {
		return fmt.Errorf("output %q: %w", h.name, err)
	}
	if mask != nil && mask.Len() > rows && s.Len()%mask.Len() == 0 {
		rows, per = mask.Len(), s.Len()/mask.Len()
		o.grow(rows)
	}
	w, total, err := o.weights(rows, batch, mask)
	if err != nil {
		return fmt.Errorf("output %q: %w", h.name, err)
	}
	if total == 0 {
		return nil
	}
	for i, y := range targets {
		factor := h.mse / float64(len(targets))
		grad := d
		if h.mse == 0 {
			grad = nil
		}
		q := &o.squares
		*q = squares{scale: h.scale / float64(per), factor: share / total * factor, weight: w, each: per, loss: o.loss[:rows], partFn: q.partFn}
		q.run(o.pool, s, y, grad)
		for _, x := range q.loss {
			sum.loss += factor * x * float64(batch.Rows) / total
			if chief && i == 0 {
				sum.square += x
			}
		}
	}
	if chief {
		sum.of += total
	}
	return nil
}

// like is t, the teacher's tensor for s, in s's element type; it fails where
// the two differ in shape.
func like(t, s *tensor.Tensor) (*tensor.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	if !slices.Equal(t.Shape(), s.Shape()) {
		return nil, fmt.Errorf("the teacher gives %v, the model %v", t, s)
	}
	return converted(t, s.DType(), s.Shape())
}

// converted is t in another element type.
func converted(t *tensor.Tensor, d tensor.DType, shape []int) (*tensor.Tensor, error) {
	if t.DType() == d && slices.Equal(t.Shape(), shape) {
		return t, nil
	}
	if t.DType() == d {
		return t.Reshaped(shape...)
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		return nil, err
	}
	return tensor.FromFloat64s(d, v, shape...)
}

// paddedLike is labels in the type of the output s, 0 in padded rows; in the
// memory of before where that is of the type.
func (o *objective) paddedLike(before, labels, s *tensor.Tensor, batch *dataset.Batch) (*tensor.Tensor, error) {
	v, err := tensor.Float64sInto(o.numbers, labels)
	if err != nil {
		return nil, err
	}
	o.numbers = v
	if want := s.Len() / batch.Padded * batch.Rows; len(v) != want {
		return nil, fmt.Errorf("%d numbers, the output has %d", len(v), want)
	}
	if before == nil || before.DType() != s.DType() || !slices.Equal(before.Shape(), s.Shape()) {
		before = tensor.New(s.DType(), s.Shape()...)
	}
	if s.DType() == tensor.Float64 {
		fillPadded(tensor.Data[float64](before), v)
	} else {
		fillPadded(tensor.Data[float32](before), v)
	}
	return before, nil
}

func fillPadded[T float](to []T, v []float64) {
	for i, x := range v {
		to[i] = T(x)
	}
	clear(to[len(v):])
}
