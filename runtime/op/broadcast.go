package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// broadcastShapes is numpy's rule for the shape of an element-wise result.
// A dimension meets an unlike one only where one of the two is 1; where one is
// symbolic, a number other than 1 wins, since nothing else is valid.
func broadcastShapes(in ...graph.Type) (shape []graph.Dim, ranked bool, err error) {
	rank := 0
	for _, t := range in {
		if !t.Ranked {
			return nil, false, nil
		}
		rank = max(rank, len(t.Shape))
	}
	shape = make([]graph.Dim, rank)
	for i := range shape {
		shape[i] = graph.Size(1)
		for _, t := range in {
			k := i - rank + len(t.Shape)
			if k < 0 {
				continue
			}
			d, e := shape[i], t.Shape[k]
			dn, dConst := d.Const()
			en, eConst := e.Const()
			switch {
			case d.Same(e) || eConst && en == 1:
			case dConst && dn == 1:
				shape[i] = e
			case dConst && eConst:
				return nil, false, fmt.Errorf("shapes %s do not broadcast: %d meets %d at axis %d", formatShapes(in), dn, en, i-rank)
			case dConst:
			case eConst:
				shape[i] = e
			default:
				shape[i] = graph.Unknown
			}
		}
	}
	return shape, true, nil
}

func formatShapes(in []graph.Type) string {
	s := ""
	for i, t := range in {
		if i > 0 {
			s += " and "
		}
		s += graph.FormatShape(t.Shape, t.Ranked)
	}
	return s
}

// A walk visits the elements of an output in order together with the
// elements of operands that are broadcast to it.
type walk struct {
	shape   []int
	strides [][]int // per operand, 0 where it is broadcast
}

// newWalk is the walk over out with operands of the given shapes, adjacent
// axes that all operands step through alike merged into one.
func newWalk(out []int, operands ...[]int) walk {
	strides := make([][]int, len(operands))
	for k, shape := range operands {
		s := make([]int, len(out))
		own := tensor.Strides(shape)
		for i, d := range shape {
			if d != 1 {
				s[len(out)-len(shape)+i] = own[i]
			}
		}
		strides[k] = s
	}
	w := walk{strides: make([][]int, len(operands))}
	for i, d := range out {
		if d == 1 {
			continue
		}
		if n := len(w.shape); n > 0 {
			merge := true
			for k := range operands {
				if w.strides[k][n-1] != strides[k][i]*d {
					merge = false
				}
			}
			if merge {
				w.shape[n-1] *= d
				for k := range operands {
					w.strides[k][n-1] = strides[k][i]
				}
				continue
			}
		}
		w.shape = append(w.shape, d)
		for k := range operands {
			w.strides[k] = append(w.strides[k], strides[k][i])
		}
	}
	return w
}

// rows calls f for each run of the innermost axis: the position of its first
// output element, its length, and each operand's offset and step.
func (w walk) rows(f func(at, n int, offs, steps []int)) {
	n, steps := 1, make([]int, len(w.strides))
	outer := len(w.shape) - 1
	if outer >= 0 {
		n = w.shape[outer]
		for k := range steps {
			steps[k] = w.strides[k][outer]
		}
	}
	for _, d := range w.shape {
		if d == 0 {
			return
		}
	}
	offs := make([]int, len(w.strides))
	idx := make([]int, max(outer, 0))
	for at := 0; ; at += n {
		f(at, n, offs, steps)
		i := outer - 1
		for ; i >= 0; i-- {
			idx[i]++
			for k := range offs {
				offs[k] += w.strides[k][i]
			}
			if idx[i] < w.shape[i] {
				break
			}
			for k := range offs {
				offs[k] -= w.strides[k][i] * w.shape[i]
			}
			idx[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// planes calls f for each run of the two innermost axes, m rows of n elements: the position of its first output
// element, its size, and each operand's offset, its step from row to row, and within a row. f shares a large one out
// over the cores of the pool it gets; small ones go to several cores.
func (w walk) planes(p *kernel.Pool, f func(p *kernel.Pool, at, m, n int, offs, rows, steps []int)) {
	total := product(w.shape)
	if total == 0 {
		return
	}
	m, n, outer := 1, 1, max(0, len(w.shape)-2)
	rows, steps := make([]int, len(w.strides)), make([]int, len(w.strides))
	switch len(w.shape) {
	case 0:
	case 1:
		n = w.shape[0]
		for k, s := range w.strides {
			steps[k] = s[0]
		}
	default:
		m, n = w.shape[outer], w.shape[outer+1]
		for k, s := range w.strides {
			rows[k], steps[k] = s[outer], s[outer+1]
		}
	}
	each := func(lo, hi int, inside *kernel.Pool) {
		offs := make([]int, len(w.strides))
		for plane := lo; plane < hi; plane++ {
			clear(offs)
			for i, rest := outer-1, plane; i >= 0; i-- {
				for k := range offs {
					offs[k] += rest % w.shape[i] * w.strides[k][i]
				}
				rest /= w.shape[i]
			}
			f(inside, plane*m*n, m, n, offs, rows, steps)
		}
	}
	switch count := total / (m * n); {
	case p.Threads() == 1 || total <= elementGrain:
		each(0, count, nil)
	case m*n > 16*elementGrain || count == 1:
		each(0, count, p)
	default:
		p.For(count, max(1, elementGrain/(m*n)), func(lo, hi int) { each(lo, hi, nil) })
	}
}

// share is rows over all cores: long runs in pieces, short ones some at a time, in no order.
func (w walk) share(p *kernel.Pool, f func(at, n int, offs, steps []int)) {
	w.shareEach(p, func() func(at, n int, offs, steps []int) { return f })
}

// shareEach is share by a function of each task's own.
func (w walk) shareEach(p *kernel.Pool, each func() func(at, n int, offs, steps []int)) {
	total := product(w.shape)
	if p.Threads() == 1 || total <= elementGrain {
		w.rows(each())
		return
	}
	outer := len(w.shape) - 1
	n, steps := w.shape[outer], make([]int, len(w.strides))
	for k := range steps {
		steps[k] = w.strides[k][outer]
	}
	pieces := (n + elementGrain - 1) / elementGrain
	p.For(total/n*pieces, max(1, elementGrain/n), func(lo, hi int) {
		f, offs := each(), make([]int, len(w.strides))
		for t := lo; t < hi; t++ {
			row, from := t/pieces, t%pieces*elementGrain
			for k := range offs {
				offs[k] = from * steps[k]
			}
			for i, rest := outer-1, row; i >= 0; i-- {
				for k := range offs {
					offs[k] += rest % w.shape[i] * w.strides[k][i]
				}
				rest /= w.shape[i]
			}
			f(row*n+from, min(elementGrain, n-from), offs, steps)
		}
	})
}
