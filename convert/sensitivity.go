package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/finetune/grad"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// identityShare is the part of the identity in the metrics of output errors:
// what is only true to second order, and of the rows that were seen, is not
// taken at its word.
const identityShare = 0.05

// mostOutputs is the number of outputs of a layer up to which errors are told
// apart by a metric: its matrix, and those that fits make of it, grow with the
// square. Beyond, errors of all outputs count alike.
const mostOutputs = 3072

// An outputKind is what a difference of outputs is measured by.
type outputKind int

const (
	numbers       outputKind = iota // the square, relative to the variance
	logits                          // the Kullback-Leibler divergence of their softmax
	probabilities                   // the same of themselves
)

// kindOf guesses the kind of an output from one batch: rows of several numbers
// are scores of classes. Of more axes than two, only probabilities are taken
// for such, along the last one.
func kindOf(t *tensor.Tensor, v []float64) outputKind {
	if t.Rank() < 2 || t.Shape()[t.Rank()-1] < 2 {
		return numbers
	}
	other := numbers
	if t.Rank() == 2 {
		other = logits
	}
	n := t.Shape()[t.Rank()-1]
	for r := 0; r < len(v); r += n {
		sum := 0.0
		for _, x := range v[r : r+n] {
			if x < 0 {
				return other
			}
			sum += x
		}
		if math.Abs(sum-1) > 1e-3 {
			return other
		}
	}
	return probabilities
}

// softmax is the probabilities of a row of scores.
func softmax(v []float64) []float64 {
	most := math.Inf(-1)
	for _, x := range v {
		most = max(most, x)
	}
	out, sum := make([]float64, len(v)), 0.0
	for i, x := range v {
		out[i] = math.Exp(x - most)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// least is what a probability counts at least where it divides.
const least = 1e-6

// cotangent is F·ξ for a row of outputs, with random signs ξ and F·Fᵀ the
// second derivatives H of half the loss that its kind stands for: of logits,
// diag(p) − p·pᵀ. Then E[F ξ ξᵀ Fᵀ] = H, so that one backward run per row is
// enough. Plain numbers are weighed by scale alone.
func cotangent(kind outputKind, y []float64, scale float64, rng *rand.Rand) []float64 {
	out := make([]float64, len(y))
	for i := range out {
		out[i] = float64(2*rng.IntN(2) - 1)
	}
	switch kind {
	case logits:
		p, along := softmax(y), 0.0
		for i := range out {
			out[i] *= math.Sqrt(p[i])
			along += out[i]
		}
		for i := range out {
			out[i] -= p[i] * along
		}
	case probabilities:
		for i := range out {
			out[i] /= math.Sqrt(max(y[i], least))
		}
	default:
		for i := range out {
			out[i] *= scale
		}
	}
	return out
}

// measureMetrics sets the metric of every weight's output errors: S = E[g gᵀ],
// g the gradient of the model's outputs by the layer's, seeded with
// cotangents. It is the Gauss-Newton approximation of how far an error moves
// the outputs (N. Schraudolph, "Fast curvature matrix-vector products for
// second-order gradient descent", 2002). Where the model cannot be
// differentiated all metrics stay the identity, and a warning says why.
func (c *Calibration) measureMetrics(ctx context.Context) error {
	if c.measured {
		return nil
	}
	if err := c.measureThin(ctx); err != nil {
		return err
	}
	c.measured = true
	var ys []*graph.Value
	var owner []int
	var layers []*match.Layer
	narrow := ""
	for i, w := range c.found.weights {
		if unrecorded(c.model, w) != "" {
			continue
		}
		for _, l := range readers(w) {
			if d := c.found.facts.Of(l.Y).DType; d == tensor.Float16 || d == tensor.BFloat16 {
				narrow = fmt.Sprintf("%q is %v, which has no gradient", l.Y.Name(), d)
				continue
			}
			ys, owner, layers = append(ys, c.model.Graph.Value(l.Y.Name())), append(owner, i), append(layers, l)
		}
	}
	if narrow != "" {
		c.warnings = append(c.warnings, "errors of all outputs of a layer count alike: "+narrow)
	}
	if len(ys) == 0 {
		return nil
	}
	p, err := grad.New(c.model, grad.Options{Pool: c.pool, Wrt: ys, Seed: c.seed, Outputs: c.differentiated()})
	var none *grad.NotDifferentiableError
	var unsupported *runtime.UnsupportedError
	if errors.As(err, &none) || errors.As(err, &unsupported) {
		c.warnings = append(c.warnings, fmt.Sprintf("errors of all outputs of a layer count alike: %v", err))
		return nil
	}
	if err != nil {
		return err
	}
	rows := c.rows / c.gradThin
	sums, dense := make([]*mat.Dense, len(c.found.weights)), make([]*mat.Dense, len(c.found.weights))
	rng := rand.New(rand.NewPCG(c.seed, 1))
	seed := &cotangents{rng: rng}
	err = c.batches(ctx, func(index, part int, b *dataset.Batch) error {
		if part != 0 || c.gradThin > 1 && index/selectionEvery%c.gradThin != 0 {
			return nil
		}
		state, err := c.backward(ctx, p, b, seed)
		if err != nil {
			return err
		}
		for k, y := range ys {
			g := state.Grad(y)
			if g == nil {
				continue
			}
			i := owner[k]
			m := c.found.weights[i].Rows
			if tall(c.found.weights[i]) {
				if dense[i] == nil {
					if dense[i], err = c.found.weights[i].Dense(); err != nil {
						return err
					}
				}
				square, err := addThrough(c.pool, &sums[i], g, layers[k], dense[i], c.stride(i, rows, someOfMetric*c.found.weights[i].Cols))
				if err != nil {
					return err
				}
				c.weights[i] += square / float64(m)
				continue
			}
			if m > mostOutputs {
				square, err := squares(g)
				if err != nil {
					return err
				}
				c.weights[owner[k]] += square / float64(m)
				continue
			}
			if err := addOuter(c.pool, &sums[owner[k]], g, layers[k], c.stride(owner[k], rows, someOfMetric*m)); err != nil {
				return err
			}
		}
		state.Release()
		return nil
	})
	if err != nil {
		return err
	}
	for i, s := range sums {
		if s == nil {
			continue
		}
		if dense[i] != nil {
			c.through[i] = mixedThrough(c.pool, s, dense[i], c.weights[i])
			continue
		}
		c.metrics[i], c.weights[i] = mixed(s)
	}
	return nil
}

// squares is Σg² of a gradient.
func squares(g *tensor.Tensor) (float64, error) {
	v, err := tensor.Float64s(g)
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return sum, err
}

// differentiated is the outputs that errors are followed to: all but labels and
// other integers, which no gradient leads to.
func (c *Calibration) differentiated() []*graph.Value {
	var out []*graph.Value
	for _, v := range c.model.Graph.Outputs {
		v = op.Numbers(v)
		if d := c.found.facts.Of(v).DType; (d == tensor.Undefined || d.IsFloat()) && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// backward runs a batch forward and, with random cotangents, backward.
func (c *Calibration) backward(ctx context.Context, p *grad.Program, b *dataset.Batch, seed *cotangents) (*grad.State, error) {
	in := make([]tensor.Value, len(p.Inputs()))
	for i, v := range p.Inputs() {
		for k, name := range c.data.Inputs {
			if name == v.Name() {
				in[i] = tensor.ValueOf(b.Inputs[k])
			}
		}
	}
	state, err := p.Forward(ctx, in)
	if err != nil {
		return nil, dataError(ctx, err)
	}
	counting, err := c.positionsOf(b)
	if err != nil {
		return nil, err
	}
	dout, err := seed.of(state.Outputs(), b, counting)
	if err != nil {
		return nil, err
	}
	return state, state.Backward(ctx, dout)
}

// cotangents draws those of whole batches. What the first batch shows of each
// output holds for all.
type cotangents struct {
	rng    *rand.Rand
	kinds  []outputKind
	scales []float64 // 1/the standard deviation
}

// of is the cotangents of a batch's outputs; those that are not floating-point
// tensors have none.
func (c *cotangents) of(outs []tensor.Value, b *dataset.Batch, p *positions) ([]tensor.Value, error) {
	dout := make([]tensor.Value, len(outs))
	first := c.kinds == nil
	for k, out := range outs {
		if first {
			c.kinds, c.scales = append(c.kinds, numbers), append(c.scales, 0)
		}
		if !measurable(out) {
			continue
		}
		y, err := tensor.Float64s(out.Tensor)
		if err != nil {
			return nil, err
		}
		if first {
			c.kinds[k], c.scales[k] = kindOf(out.Tensor, y), 1/math.Sqrt(max(variance(y), math.SmallestNonzeroFloat32))
		}
		n := rowLength(c.kinds[k], out.Tensor)
		d := make([]float64, 0, len(y))
		for r := 0; r < len(y); r += n {
			d = append(d, cotangent(c.kinds[k], y[r:r+n], c.scales[k], c.rng)...)
		}
		// Rows that only fill a batch count for nothing.
		if shape := out.Tensor.Shape(); len(shape) > 0 && shape[0]%b.Padded == 0 {
			clear(d[len(d)/b.Padded*b.Rows:])
		}
		silence(d, out.Tensor.Shape(), p)
		t, err := tensor.FromFloat64s(out.Tensor.DType(), d, out.Tensor.Shape()...)
		if err != nil {
			return nil, err
		}
		dout[k] = tensor.ValueOf(t)
	}
	return dout, nil
}

// measurable reports whether an output is a tensor of numbers.
func measurable(v tensor.Value) bool {
	return v.Kind == tensor.KindTensor && v.Tensor != nil && v.Tensor.DType().IsFloat() && v.Tensor.Len() > 0
}

// rowLength is how many elements of an output make one distribution; all where
// they are plain numbers.
func rowLength(kind outputKind, t *tensor.Tensor) int {
	if kind == numbers {
		return t.Len()
	}
	return t.Shape()[t.Rank()-1]
}

// variance is that of all elements.
func variance(v []float64) float64 {
	mean, m2 := 0.0, 0.0
	for i, x := range v {
		d := x - mean
		mean += d / float64(i+1)
		m2 += d * (x - mean)
	}
	return m2 / float64(max(1, len(v)))
}

// addOuter adds g·gᵀ of all positions of a gradient to sum: of every stride-th
// one as many times, where positions are rows. The mirror of what is below the
// diagonal is left to mixed.
func addOuter(pool *kernel.Pool, sum **mat.Dense, g *tensor.Tensor, l *match.Layer, stride int) error {
	m := l.Out
	if g.Len() == 0 || g.Len()%m != 0 {
		return nil
	}
	if *sum == nil {
		*sum = mat.NewDense(m, m, nil)
	}
	to := (*sum).RawMatrix().Data
	add := func(v []float64, count, along, across int) {
		for j := 0; j < m; j += symmetricBlock {
			kernel.Gemm64(pool, m-j, min(symmetricBlock, m-j), count, v[j*along:], along, across, v[j*along:], across, along, to[j*m+j:], m, true)
		}
	}
	if !l.Columns {
		some, err := stridedGradient(g, m, stride)
		if err != nil {
			return err
		}
		count, _ := some.Dims()
		add(some.RawMatrix().Data, count, 1, m)
		return nil
	}
	v, err := tensor.Float64s(g)
	if err != nil {
		return err
	}
	s := g.Shape()[g.Rank()-1]
	if l.Conv != nil {
		s = len(v) / m / g.Shape()[0]
	}
	for at := 0; at < len(v); at += m * s {
		add(v[at:at+m*s], s, s, 1)
	}
	return nil
}

// stridedGradient is every stride-th row of m numbers of a gradient, times the
// root of stride, so that their squares stand for those of all.
func stridedGradient(g *tensor.Tensor, m, stride int) (*mat.Dense, error) {
	some := mat.NewDense((g.Len()/m+stride-1)/stride, m, nil)
	if err := copyRows(some, g, 0, stride); err != nil {
		return nil, err
	}
	if stride > 1 {
		some.Scale(math.Sqrt(float64(stride)), some)
	}
	return some, nil
}

// mixed is a metric of mean diagonal 1, with the identity in it, and what it
// was divided by; nil where nothing matters.
func mixed(s *mat.Dense) (*mat.Dense, float64) {
	if s == nil {
		return nil, 0
	}
	mirror(s)
	m, _ := s.Dims()
	mean := mat.Trace(s) / float64(m)
	if !(mean > 0) || math.IsInf(mean, 0) {
		return nil, 0
	}
	s.Scale((1-identityShare)/mean, s)
	for i := range m {
		s.Set(i, i, s.At(i, i)+identityShare)
	}
	return s, mean
}
