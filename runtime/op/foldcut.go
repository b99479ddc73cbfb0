package op

import (
	"slices"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A reductionCut is how a reduction is shared out, by its shape alone: over
// the results, and where these are too few, over blocks of one of the reduced
// axes too, whose partial results joinBlocks folds in their order.
type reductionCut struct {
	b      box // from the input to the results, where reduced axes do not move; empty: nothing to fold
	outs   int
	first  int // the first axis of results, of which a task has high; −1: none
	high   int
	wide   int // of the last axis, if that is one of results
	axis   int // the reduced one that is cut into blocks, per elements each
	per    int
	blocks int
}

// A reduction is cut into blocks where fewer tasks than this would come of its results; a task has at least
// fewestColumns neighbours.
const fewTasks, fewestColumns = 8, 64

// cutReduction is the cut of a reduction of shape to kept, which has outs elements.
func cutReduction(shape, kept []int, outs int) reductionCut {
	c := reductionCut{outs: outs, first: -1, axis: -1, blocks: 1}
	total := product(shape)
	if total == 0 {
		return c
	}
	b := box{shape: shape, dstStrides: tensor.Strides(kept), srcStrides: tensor.Strides(shape)}
	for i, d := range kept {
		if d != shape[i] {
			b.dstStrides[i] = 0
		}
	}
	c.b = b.merged()
	last := len(c.b.shape) - 1
	c.first = slices.IndexFunc(c.b.dstStrides, func(s int) bool { return s != 0 })
	c.wide = c.b.shape[last]
	grain := min(max(elementGrain, total/16), 4*elementGrain)
	tasks, each := 1, total // elements of a task
	if c.first >= 0 && c.first < last {
		n := c.b.shape[c.first]
		c.high = max(1, grain/(total/n))
		tasks, each = (n-1)/c.high+1, total/n*c.high
	}
	if tasks < fewTasks && c.b.dstStrides[last] != 0 {
		c.wide = min(c.wide, max(fewestColumns, grain/max(1, each/c.wide)))
		tasks *= (c.b.shape[last]-1)/c.wide + 1
	}
	if tasks >= fewTasks || total < 4*elementGrain {
		return c
	}
	for i, d := range c.b.shape {
		if c.b.dstStrides[i] == 0 && (c.axis < 0 || d > c.b.shape[c.axis]) {
			c.axis = i
		}
	}
	if c.axis < 0 {
		return c
	}
	d := c.b.shape[c.axis]
	c.per = max(1, d/min(d, total/grain))
	if c.blocks = (d-1)/c.per + 1; c.blocks*outs > total/4 {
		c.axis, c.blocks = -1, 1
	}
	return c
}

// empty reports whether there is nothing to fold.
func (c reductionCut) empty() bool { return len(c.b.shape) == 0 }

// apart is how far the partial results of a block lie from those of the next: in cache lines of their own.
func (c reductionCut) apart() int { return (c.outs + 15) &^ 15 }

// each calls f with the part of each task and its block, over all cores. Few elements are not worth another core.
func (c reductionCut) each(p *kernel.Pool, f func(b box, block int)) {
	if c.empty() {
		return
	}
	last, rows := len(c.b.shape)-1, 1
	if c.high > 0 {
		rows = (c.b.shape[c.first]-1)/c.high + 1
	}
	columns := (c.b.shape[last]-1)/c.wide + 1
	if product(c.b.shape) <= 4*elementGrain {
		p = nil
	}
	p.For(rows*columns*c.blocks, 1, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			part, block := c.b, t/(rows*columns)
			part.shape = slices.Clone(c.b.shape)
			if c.high > 0 {
				part.narrow(c.first, t/columns%rows*c.high, c.high)
			}
			if columns > 1 {
				part.narrow(last, t%columns*c.wide, c.wide)
			}
			if c.axis >= 0 {
				part.narrow(c.axis, block*c.per, c.per)
			}
			f(part, block)
		}
	})
}

// narrow keeps at most n of an axis from a position on.
func (b *box) narrow(axis, from, n int) {
	b.dstAt += from * b.dstStrides[axis]
	b.src += from * b.srcStrides[axis]
	b.shape[axis] = min(n, b.shape[axis]-from)
}

// own is the part with results of its own, which lie together, the way from those to the ones of all, and their number.
func (b box) own() (own, results box, outs int) {
	own, outs = b, 1
	own.dstAt, own.dstStrides = 0, make([]int, len(b.shape))
	results.dstAt = b.dstAt
	for i := len(b.shape) - 1; i >= 0; i-- {
		if b.dstStrides[i] != 0 {
			own.dstStrides[i] = outs
			outs *= b.shape[i]
			results.shape = append(results.shape, b.shape[i])
			results.dstStrides = append(results.dstStrides, b.dstStrides[i])
			results.srcStrides = append(results.srcStrides, own.dstStrides[i])
		}
	}
	slices.Reverse(results.shape)
	slices.Reverse(results.dstStrides)
	slices.Reverse(results.srcStrides)
	return own, results.merged(), outs
}

// joinBlocks folds what blocks came to, outs results that lie apart, into the first of them, in order.
func joinBlocks[A number](acc []A, outs, apart int, f folding) {
	for from := apart; from < len(acc) && apart > 0; from += apart {
		for j, v := range acc[from : from+outs] {
			switch f {
			case foldProd:
				acc[j] *= v
			case foldMax:
				acc[j] = max(acc[j], v)
			case foldMin:
				acc[j] = min(acc[j], v)
			default:
				acc[j] += v
			}
		}
	}
}
