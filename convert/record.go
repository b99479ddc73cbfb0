package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// recordMemory bounds the sums that one run over the data gathers, in bytes;
// those of one weight are gathered in any case.
const recordMemory = 512 << 20

// wideOutput is how many times more outputs than inputs a weight has where the
// products with its original inputs are gathered, in place of those with its
// outputs.
const wideOutput = 4

// tall reports whether a weight has so many outputs that their errors are told
// apart by what they were made of, the inputs.
func tall(w *match.Weight) bool {
	return w.Rows > mostOutputs && w.Rows > wideOutput*w.Cols && !isTable(w)
}

// inputsKey is equal for weights whose layers read the same values in the same
// way, so that they share statistics.
func (c *Calibration) inputsKey(i int) string {
	var b strings.Builder
	w := c.found.weights[i]
	for _, l := range readers(w) {
		fmt.Fprintf(&b, "%q %v %d", l.X.Name(), l.Columns == l.TransposeX, l.In)
		if l.Conv != nil {
			fmt.Fprintf(&b, " %v", *l.Conv)
		}
		b.WriteByte(';')
	}
	fmt.Fprintf(&b, "%v %d/%d", refittable(w), c.thin, c.inputStride(i))
	return b.String()
}

// inputNames is the values that layers of the weights read, each once.
func (c *Calibration) inputNames(weights []int) []string {
	var names []string
	for _, i := range weights {
		for _, l := range readers(c.found.weights[i]) {
			if !slices.Contains(names, l.X.Name()) {
				names = append(names, l.X.Name())
			}
		}
	}
	return names
}

// original is the moments of a weight's original inputs on the rows of the fit
// and of the selection; nil before they are gathered.
func (c *Calibration) original(i int) *[2]*averages {
	return c.originals[c.inputsKey(i)]
}

// recordOriginals gathers the moments of the original inputs of weights, in
// one run over the data for as many as memory allows.
func (c *Calibration) recordOriginals(ctx context.Context, weights []int) error {
	w := &walk{model: c.model, original: c}
	if err := c.measureThin(ctx); err != nil {
		return err
	}
	for len(weights) > 0 {
		var some []int
		sums := map[string]*[2]products{}
		bytes := 0
		for len(weights) > 0 {
			i := weights[0]
			key := c.inputsKey(i)
			if c.originals[key] == nil && sums[key] == nil {
				need := 2 * 8 * c.found.weights[i].Cols * c.found.weights[i].Cols
				if len(some) > 0 && bytes+need > recordMemory {
					break
				}
				some, bytes = append(some, i), bytes+need
				sums[key] = &[2]products{}
			}
			weights = weights[1:]
		}
		if len(some) == 0 {
			return nil
		}
		names := c.inputNames(some)
		err := c.together(ctx, []*walk{w}, names, true, func(_, part int, b *dataset.Batch, out [][]tensor.Value) error {
			for _, i := range some {
				wt := c.found.weights[i]
				p := &sums[c.inputsKey(i)][part]
				for _, l := range readers(wt) {
					at := slices.Index(names, l.X.Name())
					x, rows, err := c.someRows(l, l.In, out[0][at].Tensor, b, p.seen, c.inputStride(i))
					if err != nil {
						return err
					}
					if p.seen += rows; x != nil {
						p.add(c.pool, x, x)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, i := range some {
			wt := c.found.weights[i]
			key := c.inputsKey(i)
			done := &[2]*averages{}
			for part := range done {
				if p := &sums[key][part]; p.rows > 0 {
					done[part] = p.finish(c.pool, refittable(wt))
				}
			}
			c.originals[key] = done
			delete(sums, key)
		}
	}
	return nil
}

// changed is the moments of a weight behind others that were changed.
type changed struct {
	inputs [2]*averages // x̃ with itself
	target [2]*averages // the original output with x̃, or x̃ with the original x
	cross  bool         // the latter
}

// recordChanged gathers the moments of weights whose inputs in the model that
// small walks are no longer those of the original, along both. width is the
// number of inputs that a weight has there.
func (c *Calibration) recordChanged(ctx context.Context, weights []int, orig, small *walk, width func(i int) int) (map[int]*changed, error) {
	names := c.inputNames(weights)
	inputs := map[string]*[2]products{}
	targets := map[int]*[2]products{}
	dense := map[int]*mat.Dense{}
	trial := c.sweeps > 0 // its fits look at no rows of the selection
	for _, i := range weights {
		wt := c.found.weights[i]
		inputs[c.inputsKey(i)] = &[2]products{{single: trial}, {single: trial}}
		targets[i] = &[2]products{{single: trial}, {single: trial}}
		if wt.Rows > wideOutput*wt.Cols {
			continue
		}
		var err error
		if dense[i], err = wt.Dense(); err != nil {
			return nil, err
		}
	}
	walks := []*walk{small, orig}
	kept := c.targets.have(c.mode(), weights) && !slices.ContainsFunc(weights, func(i int) bool { return dense[i] == nil })
	if kept {
		walks = walks[:1]
	}
	err := c.together(ctx, walks, names, !trial, func(index, part int, b *dataset.Batch, out [][]tensor.Value) error {
		done := map[string]bool{}
		for _, i := range weights {
			wt := c.found.weights[i]
			key := c.inputsKey(i)
			for k, l := range readers(wt) {
				at := slices.Index(names, l.X.Name())
				p := &targets[i][part]
				y, rows, err := c.someRows(l, width(i), out[0][at].Tensor, b, p.seen, c.inputStride(i))
				if err != nil {
					return err
				}
				var target *mat.Dense
				if kept {
					target = c.targets.rows[targetKey{i, index, k}]
				} else {
					x, others, err := c.someRows(l, l.In, out[1][at].Tensor, b, p.seen, c.inputStride(i))
					if err != nil {
						return err
					}
					if rows != others {
						return fmt.Errorf("layer %q: %d rows of inputs in the original and %d in the compressed model", l.Name, others, rows)
					}
					if target = x; x != nil && dense[i] != nil {
						target = timesTransposed(c.pool, x, dense[i])
						c.targets.keep(targetKey{i, index, k}, target)
					}
				}
				if p.seen += rows; y == nil {
					continue
				}
				if !done[key] {
					inputs[key][part].add(c.pool, y, y)
				}
				if dense[i] == nil {
					p.add(c.pool, y, target)
				} else {
					p.add(c.pool, target, y)
				}
			}
			done[key] = true
		}
		return nil
	})
	if err == nil && !kept {
		c.targets.complete(weights)
	}
	if err != nil {
		return nil, err
	}
	result := map[int]*changed{}
	ready := map[string][2]*averages{}
	for _, i := range weights {
		wt := c.found.weights[i]
		key, centred := c.inputsKey(i), refittable(wt)
		ch := &changed{cross: dense[i] == nil}
		for part := range 2 {
			if targets[i][part].rows == 0 {
				continue
			}
			ch.target[part] = targets[i][part].finish(c.pool, centred)
			if got := ready[key]; got[part] == nil {
				got[part] = inputs[key][part].finish(c.pool, centred)
				ready[key] = got
			}
		}
		ch.inputs = ready[key]
		result[i] = ch
	}
	return result, nil
}

// targetsMemory bounds the outputs of the original that are kept, in bytes.
const targetsMemory = 192 << 20

// targets keeps the outputs of the original's weights at its own inputs, which
// are the same for all plans, so that it need not run again for each.
type targets struct {
	mode  string
	rows  map[targetKey]*mat.Dense
	all   map[int]bool // weights whose rows are complete
	bytes int
	full  bool
}

type targetKey struct{ weight, batch, layer int }

// have reports whether the rows of weights are there for a mode; those of
// another one go.
func (t *targets) have(mode string, weights []int) bool {
	if t.mode != mode {
		*t = targets{mode: mode, rows: map[targetKey]*mat.Dense{}, all: map[int]bool{}}
	}
	for _, i := range weights {
		if !t.all[i] {
			return false
		}
	}
	return true
}

// keep takes rows in, as long as there is room.
func (t *targets) keep(k targetKey, rows *mat.Dense) {
	if t.full || t.all[k.weight] {
		return
	}
	t.bytes += 8 * len(rows.RawMatrix().Data)
	if t.full = t.bytes > targetsMemory; t.full {
		for k := range t.rows {
			if !t.all[k.weight] {
				delete(t.rows, k)
			}
		}
		return
	}
	t.rows[k] = rows
}

// complete notes that all rows of weights were offered.
func (t *targets) complete(weights []int) {
	for _, i := range weights {
		if !t.full {
			t.all[i] = true
		}
	}
}

// timesTransposed is x·wᵀ.
func timesTransposed(pool *kernel.Pool, x, w *mat.Dense) *mat.Dense {
	rows, n := x.Dims()
	m, _ := w.Dims()
	out := mat.NewDense(rows, m, nil)
	a, b := x.RawMatrix(), w.RawMatrix()
	kernel.Gemm64(pool, rows, m, n, a.Data, a.Stride, 1, b.Data, 1, b.Stride, out.RawMatrix().Data, m, false)
	return out
}

// moments is what the fit of a weight goes by: ch is nil where its inputs are
// the original's.
func (c *Calibration) moments(ctx context.Context, i, part int, ch *changed, dense *mat.Dense) (*factorize.Moments, error) {
	o := factorize.Options{Pool: c.pool, Seed: c.seed}
	if ch == nil || ch.cross {
		if err := c.recordOriginals(ctx, []int{i}); err != nil {
			return nil, err
		}
	}
	switch {
	case ch == nil:
		orig := c.original(i)[part]
		return factorize.SymmetricMoments(dense, orig.xy, orig.a, orig.rows, o)
	case ch.cross:
		orig, in := c.original(i)[part], ch.inputs[part]
		return factorize.AsymmetricMoments(dense, in.xy, ch.target[part].xy, orig.xy, in.a, orig.a, in.rows, o)
	}
	in, t := ch.inputs[part], ch.target[part]
	mo := &factorize.Moments{C: in.xy, G: t.xy, Energy: t.energy, Mean: in.a, OutMean: t.a, W: dense, Rows: in.rows}
	return mo, mo.Check()
}

// together runs stretches up to the targets side by side on the batches that
// are in use, of the fit and, if selected is set, of the selection, and moves
// the walks there.
func (c *Calibration) together(ctx context.Context, walks []*walk, targets []string, selected bool, f func(index, part int, b *dataset.Batch, out [][]tensor.Value) error) error {
	stretches := make([]*stretch, len(walks))
	for k, w := range walks {
		var err error
		if stretches[k], err = c.stretch(w, targets); err != nil {
			return err
		}
	}
	out := make([][]tensor.Value, len(walks))
	err := c.batches(ctx, func(index, part int, b *dataset.Batch) error {
		if !c.inUse(index) || part == 1 && !selected {
			return nil
		}
		for k, s := range stretches {
			var err error
			if out[k], err = s.run(ctx, c, index, b); err != nil {
				return err
			}
		}
		return f(index, part, b, out)
	})
	if err != nil {
		return err
	}
	for _, s := range stretches {
		s.done()
	}
	return nil
}

// inUse reports whether fits take a batch: one group of selectionEvery batches
// out of thin.
func (c *Calibration) inUse(index int) bool {
	return c.thin <= 1 || index/selectionEvery%c.thin == 0
}

// batchesInUse is about how many batches inUse lets through.
func (c *Calibration) batchesInUse() int {
	return (c.data.Rows()/c.batch + c.thin) / max(1, c.thin)
}

// batches goes through all batches of the data and says of which part each
// one is: 0 of the fit, 1 of the selection.
func (c *Calibration) batches(ctx context.Context, f func(index, part int, b *dataset.Batch) error) error {
	index := 0
	for b, err := range c.data.Batches(c.batch) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrData, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		part := 0
		if index%selectionEvery == selectionEvery-1 {
			part = 1
		}
		if err := f(index, part, &b); err != nil {
			return err
		}
		index++
	}
	return nil
}

// dependencies gives for every weight those whose layers its inputs depend on,
// in ascending order.
func dependencies(m *graph.Model, weights []*match.Weight) [][]int {
	words := (len(weights) + 63) / 64
	owner := map[*graph.Node]int{}
	for i, w := range weights {
		for _, l := range w.Layers {
			owner[l.Product] = i
		}
	}
	of := map[*graph.Value][]uint64{}
	order, err := m.Graph.Sorted()
	if err != nil {
		order = m.Graph.Nodes() // Check has found none before
	}
	for _, n := range order {
		set := make([]uint64, words)
		for _, v := range append(slices.Clone(n.Inputs()), n.Captures()...) {
			for k, bits := range of[v] {
				set[k] |= bits
			}
		}
		if i, ok := owner[n]; ok {
			set[i/64] |= 1 << (i % 64)
		}
		for _, v := range n.Outputs() {
			if v != nil {
				of[v] = set
			}
		}
	}
	out := make([][]int, len(weights))
	for i, w := range weights {
		for k := range weights {
			for _, l := range readers(w) {
				if set := of[l.X]; k != i && set != nil && set[k/64]>>(k%64)&1 != 0 {
					out[i] = append(out[i], k)
					break
				}
			}
		}
	}
	return out
}
