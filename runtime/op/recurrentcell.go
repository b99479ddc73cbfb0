package op

import "bilinc/runtime/kernel"

// cellFunctions are the kernels' cells, see [kernel.LSTMCell32] and those beside it.
type cellFunctions[T float] struct {
	lstm    func(m, n int, g []T, gs, gap int, c []T, cs int, h []T, hs int)
	gru     func(m, n int, g []T, gs int, u []T, us int, h []T, hs int, y []T, ys int)
	gruLate func(m, n int, g []T, gs, gap int, u []T, us int, late []T, ls int, h []T, hs int, y []T, ys int)
	gated   func(m, n int, g []T, gs int, h []T, hs int, y []T, ys int)
	unary   func(f kernel.Function, m, n int, y []T, ys int, x []T, xs int, alpha, beta T)
}

// A recurrentCell is the state of some sequences that go through the steps of a direction together. It is kept for
// others.
type recurrentCell[T float] struct {
	r       *recurrentRun[T]
	w       *recurrentWay[T]
	m       int
	h, next []T    // the state [m hidden], and the one after the step
	c       []T    // LSTM
	extra   []T    // GRU: r∘h, or what the late reset acts on; LSTM: a function of c
	live    []bool // whose step it is; the state of others stays
	all     bool   // are live
	gates   []T    // of the step: [m G·hidden]; before it, of some steps, and
	x       []T    // their inputs
	rows    int    // of these

	inputsFn, unitsFn, candidatesFn func(lo, hi int) // methods, bound once
}

// cell is one for m sequences, with room for their states.
func (r *recurrentRun[T]) cell(w *recurrentWay[T], m int, room []T) *recurrentCell[T] {
	s, _ := r.cellPool.Get().(*recurrentCell[T])
	if s == nil {
		s = &recurrentCell[T]{r: r}
		s.inputsFn, s.unitsFn, s.candidatesFn = s.unitsInputs, s.units, s.candidates
	}
	n := m * r.hidden
	s.w, s.m, s.h, s.next, s.c, s.extra = w, m, room[:n], room[n:2*n], room[2*n:3*n], room[3*n:4*n]
	if cap(s.live) < m {
		s.live = make([]bool, m)
	}
	s.live = s.live[:m]
	return s
}

// begin sets the states of direction d's sequences from n on before their first step, end gives out those after the
// last.
func (s *recurrentCell[T]) begin(d, n int) {
	r, hidden := s.r, s.r.hidden
	clear(s.h)
	clear(s.c)
	for i := range s.m {
		if r.first != nil {
			copy(s.h[i*hidden:(i+1)*hidden], r.first[r.stateAt(d, n+i):])
		}
		if r.firstC != nil {
			copy(s.c[i*hidden:(i+1)*hidden], r.firstC[r.stateAt(d, n+i):])
		}
	}
}

func (s *recurrentCell[T]) end(d, n int) {
	r, hidden := s.r, s.r.hidden
	for i := range s.m {
		if r.last != nil {
			copy(r.last[r.stateAt(d, n+i):], s.h[i*hidden:(i+1)*hidden])
		}
		if r.lastC != nil {
			copy(r.lastC[r.stateAt(d, n+i):], s.c[i*hidden:(i+1)*hidden])
		}
	}
}

// look finds out whose step k is.
func (s *recurrentCell[T]) look(k, n int) {
	if s.all = s.r.even; s.all {
		return
	}
	s.all = true
	for i := range s.live {
		s.live[i] = k < s.r.lens[n+i]
		s.all = s.all && s.live[i]
	}
}

// write puts the states after step k into Y; what lies past the end of a sequence is zero.
func (s *recurrentCell[T]) write(k, d, n int) {
	r, hidden := s.r, s.r.hidden
	switch {
	case r.y == nil:
	case s.all && !r.o.batchFirst:
		copy(r.y[r.outputAt(k, d, n):], s.h)
	default:
		for i := range s.m {
			to := r.y[r.outputAt(k, d, n+i):][:hidden]
			if s.all || s.live[i] {
				copy(to, s.h[i*hidden:(i+1)*hidden])
			} else {
				clear(to)
			}
		}
	}
}

// inputs computes what rows of inputs, of some steps, give to the gates. Where cores share out the units of a step, each
// multiplies for those that it will read.
func (s *recurrentCell[T]) inputs(p *kernel.Pool, rows int, x, gates []T) {
	o, r := s.r.o, s.r
	if p == nil || r.shared >= r.hidden || o.together() < o.gates && o.together()*r.hidden%r.unit != 0 {
		s.w.input.all(p, rows, x, gates, s.w.bias)
		return
	}
	s.rows, s.x, s.gates = rows, x, gates
	p.For(r.hidden, r.shared, s.inputsFn)
}

// unitsInputs is inputs for the gates of units lo to hi.
func (s *recurrentCell[T]) unitsInputs(lo, hi int) {
	o, hidden, n := s.r.o, s.r.hidden, s.r.o.gates*s.r.hidden
	columns := func(j0, j1 int) {
		var bias []T
		if s.w.bias != nil {
			bias = s.w.bias[j0:]
		}
		s.w.input.some(s.rows, s.x, s.r.width, j0, j1, s.gates[j0:], n, bias, 0)
	}
	columns(o.together()*lo, o.together()*hi)
	if o.together() < o.gates {
		columns(o.together()*hidden+lo, o.together()*hidden+hi)
	}
}

// step computes the next state from what the step's input gives to the gates [m G·hidden], their biases included.
// Cores share out the units.
func (s *recurrentCell[T]) step(p *kernel.Pool, gates []T) {
	s.gates = gates
	share := s.r.hidden
	if p != nil {
		share = s.r.shared
	}
	p.For(s.r.hidden, share, s.unitsFn)
	if s.r.o.name == "GRU" && !s.r.o.linearBefore {
		p.For(s.r.hidden, share, s.candidatesFn)
	}
	s.h, s.next = s.next, s.h
}

// units computes the next state of units lo to hi; in a GRU that resets early, what candidates needs of all.
func (s *recurrentCell[T]) units(lo, hi int) {
	o, w, m, hidden, rows := s.r.o, s.w, s.m, s.r.hidden, s.r.o.gates*s.r.hidden
	g := s.gates[o.together()*lo:]
	w.back.some(m, s.h, hidden, o.together()*lo, o.together()*hi, g, rows, g, rows)
	if o.name == "GRU" && o.linearBefore {
		w.candidate.some(m, s.h, hidden, lo, hi, s.extra[lo:], hidden, w.inner[lo:], 0)
	}
	s.blocks(lo, hi, o.name != "GRU" || o.linearBefore)
}

// candidates computes the next state of units lo to hi of a GRU that resets early, from the state that was reset.
func (s *recurrentCell[T]) candidates(lo, hi int) {
	hidden, rows := s.r.hidden, s.r.o.gates*s.r.hidden
	g := s.gates[2*hidden+lo:]
	s.w.candidate.some(s.m, s.extra, hidden, lo, hi, g, rows, g, rows)
	s.blocks(lo, hi, true)
}

// blocks does, for units whose gates lie together, what comes behind the products: the next state, or what a GRU that
// resets early needs before it.
func (s *recurrentCell[T]) blocks(lo, hi int, state bool) {
	for u := lo; u < hi; u += s.r.unit {
		n := min(s.r.unit, hi-u)
		for i := 0; i < s.m; {
			j := s.m
			if !s.all {
				for j = i + 1; j < s.m && s.live[j] == s.live[i]; j++ {
				}
			}
			switch {
			case !s.all && !s.live[i]:
				for ; i < j; i++ {
					copy(s.next[i*s.r.hidden+u:][:n], s.h[i*s.r.hidden+u:])
				}
			case s.w.usual:
				s.usual(i, j-i, u, n, state)
			default:
				for ; i < j; i++ {
					s.plain(i, u, n, state)
				}
			}
			i = j
		}
	}
}

// usual is blocks of n units from u on of m sequences from i on, by the kernels.
func (s *recurrentCell[T]) usual(i, m, u, n int, state bool) {
	o, f, hidden, rows := s.r.o, s.r.cells, s.r.hidden, s.r.o.gates*s.r.hidden
	at, g := i*hidden+u, s.gates[i*rows+o.together()*u:]
	switch {
	case o.name == "RNN":
		act := s.w.act[0]
		f.unary(act.vector, m, n, s.next[at:], hidden, g, rows, T(act.alpha), T(act.beta))
	case o.name == "LSTM":
		f.lstm(m, n, g, rows, n, s.c[at:], hidden, s.next[at:], hidden)
	case o.linearBefore:
		f.gruLate(m, n, g, rows, n, s.gates[i*rows+2*hidden+u:], rows, s.extra[at:], hidden, s.h[at:], hidden, s.next[at:], hidden)
	case state:
		f.gru(m, n, g, rows, s.gates[i*rows+2*hidden+u:], rows, s.h[at:], hidden, s.next[at:], hidden)
	default:
		f.gated(m, n, g[n:], rows, s.h[at:], hidden, s.extra[at:], hidden)
	}
}

// plain is usual for one sequence and any functions, one after the other.
func (s *recurrentCell[T]) plain(i, u, n int, state bool) {
	o, hidden, rows := s.r.o, s.r.hidden, s.r.o.gates*s.r.hidden
	at := i*hidden + u
	g, h, next, extra := s.gates[i*rows+o.together()*u:][:o.together()*n], s.h[at:at+n], s.next[at:at+n], s.extra[at:at+n]
	switch o.name {
	case "RNN":
		s.gate(0, g)
		copy(next, g)
	case "LSTM":
		s.lstm(g, next, s.c[at:at+n], extra, u)
	case "GRU":
		candidate := s.gates[i*rows+2*hidden+u:][:n]
		if o.linearBefore || !state {
			s.reset(g, h, extra, candidate)
		}
		if !state {
			return
		}
		z := g[:n]
		s.gate(1, candidate)
		for k, v := range candidate {
			next[k] = (1-z[k])*v + z[k]*h[k]
		}
	}
}

// gate clips the sums of a gate and puts the use-th function in their place.
func (s *recurrentCell[T]) gate(use int, sums []T) {
	if clip := T(s.r.o.clip); clip > 0 {
		for i, v := range sums {
			sums[i] = min(max(v, -clip), clip)
		}
	}
	s.r.row(s.w.act[use], sums)
}

// reset is the first two gates of a GRU and what they make of the state of one sequence: r∘h; where the reset comes
// late it adds r∘extra to the last gate.
func (s *recurrentCell[T]) reset(g, h, extra, candidate []T) {
	s.gate(0, g)
	r := g[len(h):][:len(h)]
	if s.r.o.linearBefore {
		for k, v := range extra {
			candidate[k] += r[k] * v
		}
		return
	}
	for k, v := range h {
		extra[k] = r[k] * v
	}
}

// lstm computes the next state of the units from u on of one sequence from their gates i, o, f and c.
func (s *recurrentCell[T]) lstm(g, next, c, extra []T, u int) {
	n, hidden := len(c), s.r.hidden
	in, out, forget, candidate := g[:n], g[n:2*n], g[2*n:3*n], g[3*n:4*n]
	if peep := s.w.peep; peep != nil {
		peep = peep[u:]
		for k, v := range c {
			in[k] += peep[k] * v
			forget[k] += peep[2*hidden+k] * v
		}
		s.gate(0, in)
		s.gate(0, forget)
	} else {
		s.gate(0, g[:3*n])
	}
	if s.r.o.inputForget {
		for k, v := range in {
			forget[k] = 1 - v
		}
	}
	s.gate(1, candidate)
	for k, v := range c {
		c[k] = forget[k]*v + in[k]*candidate[k]
	}
	if peep := s.w.peep; peep != nil {
		peep = peep[hidden+u:]
		for k, v := range c {
			out[k] += peep[k] * v
		}
		s.gate(0, out)
	}
	copy(extra, c)
	s.r.row(s.w.act[2], extra)
	for k, v := range extra {
		next[k] = out[k] * v
	}
}
