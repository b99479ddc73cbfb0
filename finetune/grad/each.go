package grad

import (
	"slices"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// completions finds out when the gradients of wrt are whole: that of a constant
// when all steps that read it have gone back, others at the end.
func (p *Program) completions(wrt []*graph.Value) {
	p.whole = make([][]want, len(p.steps))
	first := make([]int, len(p.slots)) // the first step that reads it, plus 1
	for i := range slices.Backward(p.steps) {
		for _, k := range p.steps[i].in {
			if k >= 0 {
				first[k] = i + 1
			}
		}
	}
	seen := make([]bool, len(p.slots))
	for i, v := range wrt {
		k, ok := p.slots[v]
		if !ok || !p.carries[k] || seen[k] {
			continue
		}
		seen[k] = true
		if f := first[k]; f > 0 && v.Const() != nil {
			p.whole[f-1] = append(p.whole[f-1], want{k, i})
		} else {
			p.rest = append(p.rest, want{k, i})
		}
	}
	for i := range p.steps {
		st := &p.steps[i]
		if len(st.in) < 2 || st.in[1] < 0 || p.readers[st.in[1]] != 1 || !slices.ContainsFunc(p.whole[i], func(w want) bool { return w.slot == st.in[1] }) {
			continue
		}
		st.pieces, _ = st.back.(op.Piecewise)
	}
}

// inPieces takes the i-th step back and gives out the gradient of its second input in pieces.
func (s *State) inPieces(i int, take func(i, at int, g *tensor.Tensor) error) error {
	st, m, h := &s.p.steps[i], &s.steps[i], &s.handing
	if h.heads == nil {
		h.heads, h.useFn = map[extent]*tensor.Tensor{}, h.use
	}
	h.take, h.err = take, nil
	for _, w := range s.p.whole[i] {
		if w.slot == st.in[1] {
			h.want = w
		}
	}
	err := st.pieces.BackwardPieces(&s.ctx, m.in, m.out, m.dout, m.din, m.fresh, h.useFn)
	h.take = nil
	if err != nil {
		return err
	}
	return h.err
}

// handing is the gradient that is being given out in pieces.
type handing struct {
	take  func(i, at int, g *tensor.Tensor) error
	want  want
	useFn func(at int, g []float32) // use, bound once

	mu    sync.Mutex
	err   error // of take, the first
	heads map[extent]*tensor.Tensor
}

// An extent is a piece: so many elements from one on.
type extent struct{ slot, at, n int }

// use gives a piece to take.
func (h *handing) use(at int, g []float32) {
	x := extent{h.want.slot, at, len(g)}
	h.mu.Lock()
	head, err := h.heads[x], h.err
	if head == nil {
		head = tensor.Of(g, len(g))
		h.heads[x] = head
	}
	h.mu.Unlock()
	if err != nil {
		return
	}
	if err = head.SeeData(g); err == nil {
		err = h.take(h.want.place, at, head)
	}
	if err != nil {
		h.mu.Lock()
		if h.err == nil {
			h.err = err
		}
		h.mu.Unlock()
	}
}

// A loan is the part of the memory of gradients that one of them has, in bytes,
// from the step whose way back begins it to the one that makes it whole.
type loan struct {
	slot, at, size int
	from, to       int // steps, from ≥ to
}

// lend shares out memory to the gradients of constants: those that do not exist
// at the same time have the same, so that it stays in a cache.
func (s *State) lend() {
	p := s.p
	s.loans = make([]*buffer, len(p.slots))
	var loans []loan
	for i, ws := range p.whole {
		for _, w := range ws {
			if p.steps[i].pieces != nil && w.slot == p.steps[i].in[1] {
				continue // hardly ever a whole
			}
			x := s.values[w.slot].Tensor
			loans = append(loans, loan{slot: w.slot, size: (len(x.Bytes()) + 63) &^ 63, to: i})
		}
	}
	for j := range loans {
		for i := range p.steps {
			if slices.Contains(p.steps[i].in, loans[j].slot) {
				loans[j].from = i
			}
		}
	}
	slices.SortStableFunc(loans, func(a, b loan) int { return b.size - a.size })
	total := 0
	for j := range loans {
		l := &loans[j]
		// The lowest place that no one has at the same time.
		for moved := true; moved; {
			moved = false
			for _, o := range loans[:j] {
				if l.from >= o.to && o.from >= l.to && l.at < o.at+o.size && o.at < l.at+l.size {
					l.at, moved = o.at+o.size, true
				}
			}
		}
		total = max(total, l.at+l.size)
	}
	block := tensor.New(tensor.Uint8, total).Bytes()
	for _, l := range loans {
		x := s.values[l.slot].Tensor
		t, err := tensor.FromBytes(x.DType(), []int{x.Len()}, block[l.at:l.at+len(x.Bytes())])
		if err != nil {
			continue // never: the size is x's
		}
		s.loans[l.slot] = &buffer{t, 1}
	}
}
