package convert

import (
	"context"
	"math"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/factorize"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A score says how far a model's outputs are from the original's on the
// selection rows.
type score struct {
	// mean is, for scores of classes, the mean Kullback-Leibler divergence, else
	// the squared error relative to the variance; summed over the outputs.
	mean float64
	// rows is what each sample adds to the mean, times the number of samples; nil
	// where outputs are not of samples.
	rows []float64
	// agree is the part of the classes that stay what they were; 1 where no
	// output is one of classes.
	agree float64
}

// A Score is how far a model's outputs are from the original's on the rows that
// were held out: what plans are chosen by.
type Score struct {
	// Divergence is, for outputs that are scores of classes, the mean
	// Kullback-Leibler divergence of a row, else the squared error relative to the
	// variance; summed over the outputs.
	Divergence float64
	// Agreement is the part of the classes that stay what they were; 1 where no
	// output is one of classes.
	Agreement float64
}

// Score measures a model that has the original's inputs and outputs. Under
// structure Auto, what NewPlan and Apply make is never worse in either than what
// they make under structure LowRank, of the same data, seed and budget.
func (c *Calibration) Score(ctx context.Context, m *graph.Model) (Score, error) {
	s, err := c.score(ctx, m, 1)
	if err != nil {
		return Score{}, err
	}
	return Score{s.mean, s.agree}, nil
}

// beats reports whether s is better than the score of a plan that is safe, by
// more than chance: in divergence by a standard error of the difference over
// the samples, and not worse in the classes.
func (s *score) beats(safe *score) bool {
	if !(s.mean < safe.mean) || s.agree < safe.agree {
		return false
	}
	n := len(s.rows)
	if n < 2 || n != len(safe.rows) {
		return true
	}
	mean, m2 := 0.0, 0.0
	for i := range s.rows {
		x := safe.rows[i] - s.rows[i]
		d := x - mean
		mean += d / float64(i+1)
		m2 += d * (x - mean)
	}
	return mean > math.Sqrt(m2/float64(n-1)/float64(n))
}

// wantedBatch is the original's outputs on a batch.
type wantedBatch []tensor.Value

// wantedMemory bounds the original's outputs that are kept, in bytes.
const wantedMemory = 64 << 20

// scorer adds up a score.
type scorer struct {
	kinds []outputKind // per output
	rows  [][]float64  // per output and sample
	same  int
	of    int
	devs  []deviation
}

// score measures a model on the selection rows, or on one of so many batches of
// them.
func (c *Calibration) score(ctx context.Context, small *graph.Model, thin int) (*score, error) {
	names := outputNames(c.model)
	a, err := c.compile(c.model, names)
	if err != nil {
		return nil, err
	}
	b, err := c.compile(small, names)
	if err != nil {
		return nil, err
	}
	s := &scorer{rows: make([][]float64, len(names)), devs: make([]deviation, len(names))}
	programs := []*runtime.Program{b, a}
	if c.wanted != nil {
		programs = programs[:1]
	}
	keep := map[int]wantedBatch{}
	bytes := 0
	err = c.each(ctx, c.selection(), thin, programs, func(index int, batch *dataset.Batch, out [][]tensor.Value) error {
		var wanted wantedBatch
		if c.wanted != nil {
			wanted = c.wanted[index]
		} else {
			wanted = out[1]
			for _, v := range wanted {
				if v.Kind == tensor.KindTensor && v.Tensor != nil {
					bytes += len(v.Tensor.Bytes())
				}
			}
			if bytes > wantedMemory {
				keep = nil
			}
			if keep != nil {
				keep[index] = wanted
			}
		}
		for k := range names {
			if a.Outputs()[k].Random || !measurable(wanted[k]) || !measurable(out[0][k]) {
				continue
			}
			y, z, rows, padded, err := c.countedPair(wanted[k], out[0][k], batch)
			if err != nil {
				return err
			}
			if err := s.add(k, y, z, rows, padded); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if thin <= 1 && len(keep) > 0 {
		c.wanted = keep
	}
	return s.finish(), nil
}

// add takes output k of a batch: y the original's, z the model's, of which the
// first rows out of padded samples count.
func (s *scorer) add(k int, y, z tensor.Value, rows, padded int) error {
	p, err := tensor.Float64s(y.Tensor)
	if err != nil {
		return err
	}
	q, err := tensor.Float64s(z.Tensor)
	if err != nil {
		return err
	}
	for len(s.kinds) <= k {
		s.kinds = append(s.kinds, -1)
	}
	if s.kinds[k] < 0 {
		s.kinds[k] = kindOf(y.Tensor, p)
	}
	if s.kinds[k] == numbers {
		s.devs[k].why = s.devs[k].add(y, z, rows, padded)
		if s.devs[k].why != "" || len(p)%max(1, padded) != 0 {
			return nil
		}
		each := len(p) / max(1, padded)
		for r := range rows {
			sum := 0.0
			for i := r * each; i < (r+1)*each; i++ {
				sum += (p[i] - q[i]) * (p[i] - q[i])
			}
			s.rows[k] = append(s.rows[k], sum)
		}
		return nil
	}
	n := rowLength(s.kinds[k], y.Tensor)
	if len(q) != len(p) {
		return nil
	}
	// A sample may have several distributions, as a line of text has.
	each := 1
	if all := len(p) / n; padded > 0 && all%padded == 0 {
		each = all / padded
	} else {
		rows = min(all, rows)
	}
	for r := range rows {
		sum := 0.0
		for i := r * each; i < (r+1)*each; i++ {
			u, v := p[i*n:(i+1)*n], q[i*n:(i+1)*n]
			sum += divergence(s.kinds[k], u, v)
			if argmax(u) == argmax(v) {
				s.same++
			}
			s.of++
		}
		s.rows[k] = append(s.rows[k], sum/float64(max(1, each)))
	}
	return nil
}

// argmax is the first place of the largest element.
func argmax[T float32 | float64](v []T) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// finish puts the outputs together.
func (s *scorer) finish() *score {
	out := &score{agree: 1}
	if s.of > 0 {
		out.agree = float64(s.same) / float64(s.of)
	}
	paired := true
	for k := range s.kinds {
		scale := 1.0
		switch {
		case s.kinds[k] < 0:
			continue
		case s.kinds[k] == numbers:
			d := &s.devs[k]
			e, why := d.relative()
			if d.why != "" || d.count == 0 || why != "" {
				continue
			}
			out.mean += e
			if scale = 0; d.diff > 0 {
				scale = e / d.diff * float64(len(s.rows[k])) // the rows add up to d.diff
			}
		case len(s.rows[k]) > 0:
			sum := 0.0
			for _, x := range s.rows[k] {
				sum += x
			}
			out.mean += sum / float64(len(s.rows[k]))
		}
		if out.rows == nil {
			out.rows = make([]float64, len(s.rows[k]))
		}
		if paired = paired && len(out.rows) == len(s.rows[k]); paired {
			for i, x := range s.rows[k] {
				out.rows[i] += scale * x
			}
		}
	}
	if !paired {
		out.rows = nil
	}
	if math.IsNaN(out.mean) {
		out.mean = math.Inf(1)
	}
	return out
}

// divergence is KL(p‖q) of the distributions that two rows stand for.
func divergence(kind outputKind, y, z []float64) float64 {
	p, q := y, z
	if kind == logits {
		p, q = softmax(y), softmax(z)
	}
	sum := 0.0
	for i := range p {
		if p[i] > least*least { // what is less adds nothing to speak of
			sum += p[i] * math.Log(p[i]/max(q[i], least*least))
		}
	}
	return max(0, sum) // rounding may leave less
}

// outputNames is the names of what is measured of the outputs of m's graph: their
// own, and of maps that of the numbers in them.
func outputNames(m *graph.Model) []string {
	names := make([]string, len(m.Graph.Outputs))
	for i, v := range m.Graph.Outputs {
		names[i] = op.Numbers(v).Name()
	}
	return names
}

// wideValues is the values of m that are wider than the original's, by name.
func wideValues(m *graph.Model) (map[string]factorize.Widening, error) {
	layers, err := ReadLayers(m)
	if err != nil {
		return nil, err
	}
	out := map[string]factorize.Widening{}
	for _, l := range layers {
		if by, ok := factorize.WideningOf(l.Shape.A[0], l.Shape.B[0], l.Widen); ok && l.Widen > 1 {
			out[l.Value] = by
		}
	}
	return out, nil
}

// firstCopies is what of a wide layer's output stands for the original's.
func firstCopies(v tensor.Value, by factorize.Widening) (tensor.Value, error) {
	if v.Kind != tensor.KindTensor || v.Tensor.Rank() == 0 || v.Tensor.Shape()[v.Tensor.Rank()-1] != by.Outputs() {
		return v, nil
	}
	x, err := tensor.Float64s(v.Tensor)
	if err != nil {
		return v, err
	}
	n := by.Outputs() / by.Factor()
	out := make([]float64, 0, len(x)/by.Factor())
	for r := 0; r < len(x); r += by.Outputs() {
		row := make([]float64, n)
		for i, e := range x[r : r+by.Outputs()] {
			if k, copied := by.Ancestor(i); copied == 0 {
				row[k] = e
			}
		}
		out = append(out, row...)
	}
	shape := slices.Clone(v.Tensor.Shape())
	shape[len(shape)-1] = n
	t, err := tensor.FromFloat64s(v.Tensor.DType(), out, shape...)
	return tensor.ValueOf(t), err
}

// relativeErrors is ‖y−ỹ‖²/‖y − mean y‖² on the selection rows for values of
// both models; nil where it cannot be had.
func (c *Calibration) relativeErrors(ctx context.Context, small *graph.Model, names []string) (map[string]*float64, error) {
	a, err := c.compile(c.model, names)
	if err != nil {
		return nil, err
	}
	b, err := c.compile(small, names)
	if err != nil {
		return nil, err
	}
	wide, err := wideValues(small)
	if err != nil {
		return nil, err
	}
	devs := make([]deviation, len(names))
	err = c.each(ctx, c.selection(), 1, []*runtime.Program{a, b}, func(_ int, batch *dataset.Batch, out [][]tensor.Value) error {
		for k := range devs {
			if devs[k].why == "" {
				if by, ok := wide[names[k]]; ok {
					if out[1][k], err = firstCopies(out[1][k], by); err != nil {
						return err
					}
				}
				u, v, given, padded, err := c.countedPair(out[0][k], out[1][k], batch)
				if err != nil {
					return err
				}
				devs[k].why = devs[k].add(u, v, given, padded)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	errs := map[string]*float64{}
	for k, n := range names {
		if devs[k].why != "" || a.Outputs()[k].Random {
			continue
		}
		if e, why := devs[k].relative(); why == "" {
			errs[n] = &e
		}
	}
	return errs, nil
}
