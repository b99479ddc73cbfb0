package runtime

import (
	"slices"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// permute is a Transpose of float32 that allocates nothing.
type permute struct {
	inner  op.Op
	steps  []viewStep
	copies sync.Pool // of *op.Permutation
}

func (o *permute) Infer(in []graph.Fact, n int) ([]graph.Fact, error) { return o.inner.Infer(in, n) }

func (o *permute) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	v, ok := viewOf(x.Shape(), o.steps)
	if !ok {
		return o.inner.Forward(ctx, in, out)
	}
	if y.Len() == 0 {
		return nil
	}
	c, _ := o.copies.Get().(*op.Permutation)
	if c == nil {
		c = new(op.Permutation)
	}
	c.Copy(ctx.Pool, tensor.Data[float32](y), tensor.Data[float32](x), v.dims[:v.n], v.strides[:v.n])
	o.copies.Put(c)
	return nil
}

// mean is ReduceMean of float32 over axes that stand side by side, not the last; the sums are in float64. It allocates
// nothing.
type mean struct {
	inner    op.Op
	from, to int       // the axes
	jobs     sync.Pool // of *meanJob
}

func (o *mean) Infer(in []graph.Fact, n int) ([]graph.Fact, error) {
	return o.inner.Infer(in[:1:1], n)
}

// A meanJob is the mean of n rows of inner elements, for each of some matrices one after the other in x.
type meanJob struct {
	x, y     []float32
	n, inner int
	across   int       // tasks side by side
	blocks   int       // tasks one below the other
	per      int       // rows of a block
	sums     []float64 // of the blocks, where there are several: [matrices blocks inner]
	part     func(lo, hi int)
}

// A task adds up at most meanColumns columns, which are whole cache lines of the rows, and about meanGrain elements.
// Where fewer than meanTasks would come of that, rows are cut into blocks.
const meanColumns, meanGrain, meanTasks = 64, 1 << 14, 8

func (o *mean) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	shape := in[0].Tensor.Shape()
	j, _ := o.jobs.Get().(*meanJob)
	if j == nil {
		j = new(meanJob)
		j.part = j.run
	}
	j.n, j.inner = product(shape[o.from:o.to]), product(shape[o.to:])
	j.x, j.y = tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	if len(j.y) > 0 {
		j.all(ctx)
	}
	j.x, j.y = nil, nil
	o.jobs.Put(j)
	return nil
}

// all does the job. What a task is depends on the shape alone.
func (j *meanJob) all(ctx *op.Ctx) {
	matrices := len(j.y) / j.inner
	j.across = (j.inner-1)/meanColumns + 1
	j.blocks, j.per = 1, max(1, j.n)
	if matrices*j.across < meanTasks && len(j.x) >= 4*meanGrain {
		j.per = max(1, j.n/(2*meanTasks))
		j.blocks = (j.n-1)/j.per + 1
	}
	if j.blocks > 1 && len(j.sums) < j.blocks*len(j.y) {
		j.sums = make([]float64, j.blocks*len(j.y))
	}
	ctx.Pool.For(matrices*j.across*j.blocks, max(1, meanGrain/(j.per*min(j.inner, meanColumns))), j.part)
	for i := 0; i < len(j.y) && j.blocks > 1; i++ {
		sum, at := 0.0, i/j.inner*j.blocks*j.inner+i%j.inner
		for range j.blocks {
			sum += j.sums[at]
			at += j.inner
		}
		j.y[i] = float32(sum / float64(j.n))
	}
}

func (j *meanJob) run(lo, hi int) {
	for t := lo; t < hi; t++ {
		k, b, i := t/j.across/j.blocks, t/j.across%j.blocks, t%j.across*meanColumns
		var room [meanColumns]float64
		sums := room[:min(meanColumns, j.inner-i)]
		if from, rows := b*j.per, min(j.per, j.n-b*j.per); rows > 0 {
			addColumns(sums, j.x[(k*j.n+from)*j.inner+i:], rows, j.inner)
		}
		if j.blocks > 1 {
			copy(j.sums[(k*j.blocks+b)*j.inner+i:], sums)
			continue
		}
		for c, s := range sums {
			j.y[k*j.inner+i+c] = float32(s / float64(j.n))
		}
	}
}

// addColumns adds n rows, step elements apart, to sums. Eight columns at a time go down some rows with their sums in
// registers; few rows, lest these be a distance apart at which they displace each other from the cache before the next
// eight come to them.
func addColumns(sums []float64, x []float32, n, step int) {
	const high = 16
	wide := len(sums) &^ 7
	for done := 0; done < n && wide > 0; done += high {
		end := min(high, n-done) * step
		x := x[done*step:]
		for k := 0; k < wide; k += 8 {
			s := sums[k : k+8 : k+8]
			s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
			for at := k; at < end; at += step {
				v := x[at : at+8 : at+8]
				s0 += float64(v[0])
				s1 += float64(v[1])
				s2 += float64(v[2])
				s3 += float64(v[3])
				s4 += float64(v[4])
				s5 += float64(v[5])
				s6 += float64(v[6])
				s7 += float64(v[7])
			}
			s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7] = s0, s1, s2, s3, s4, s5, s6, s7
		}
	}
	for k := wide; k < len(sums); k++ {
		s := sums[k]
		for at := k; at < n*step; at += step {
			s += float64(x[at])
		}
		sums[k] = s
	}
}

// movement replaces nodes that are left of float32 Transpose and ReduceMean by
// forms that allocate nothing.
func (l *lowerer) movement() error {
	for _, n := range l.order {
		if l.gone[n] || l.isConstant(n) || len(n.Outputs()) != 1 || !l.isFloats(n.Input(0)) {
			continue
		}
		rank := len(l.facts.Of(n.Input(0)).Shape)
		switch {
		case l.is(n, "Transpose") && rank <= op.PermuteAxes:
			o := &permute{inner: l.op(n), steps: []viewStep{{perm: permOf(n, rank)}}}
			if _, err := l.replace(n, n.OpType, o, n.Inputs()); err != nil {
				return err
			}
		case l.is(n, "ReduceMean") && n.Input(1) == nil:
			axes, ok := l.ints(n, 1, "axes")
			for i, a := range axes {
				if a < 0 {
					axes[i] += rank
				}
			}
			slices.Sort(axes)
			if !ok || len(axes) == 0 || axes[len(axes)-1]-axes[0] != len(axes)-1 || axes[len(axes)-1] >= rank || axes[len(axes)-1] == rank-1 {
				continue // rows are the operator's own: it has vectors for them
			}
			o := &mean{inner: l.op(n), from: axes[0], to: axes[0] + len(axes)}
			if _, err := l.replace(n, n.OpType, o, n.Inputs()[:1]); err != nil {
				return err
			}
		}
	}
	return nil
}
