package op

import "bilinc/runtime/kernel"

// A recurrentCell is the state of some sequences that go through the steps of a direction together.
type recurrentCell[T float] struct {
	r     *recurrentRun[T]
	w     *recurrentWay[T]
	h, c  []T    // the state [m hidden]
	extra []T    // GRU: r∘h, or what the late reset acts on; LSTM: a function of c
	live  []bool // whose end is still to come; the state of others stays
}

// step computes the next state from what the step's input gives to the gates [m G·hidden], their biases included.
func (s *recurrentCell[T]) step(p *kernel.Pool, gates []T) {
	m, hidden, rows := len(s.live), s.r.hidden, s.r.o.gates*s.r.hidden
	s.w.back(p, m, s.h, hidden, gates, rows, true)
	late := s.r.o.linearBefore
	if s.r.o.name == "GRU" {
		if late {
			for i := range m {
				copy(s.extra[i*hidden:(i+1)*hidden], s.w.inner)
			}
			s.w.candidate(p, m, s.h, hidden, s.extra, hidden, true)
		}
		for i, live := range s.live {
			if live {
				s.reset(gates[i*rows:(i+1)*rows], s.h[i*hidden:(i+1)*hidden], s.extra[i*hidden:(i+1)*hidden])
			}
		}
		if !late {
			s.w.candidate(p, m, s.extra, hidden, gates[2*hidden:], rows, true)
		}
	}
	for i, live := range s.live {
		if !live {
			continue
		}
		g, h, c := gates[i*rows:(i+1)*rows], s.h[i*hidden:(i+1)*hidden], s.c[i*hidden:(i+1)*hidden]
		switch s.r.o.name {
		case "RNN":
			s.gate(0, g)
			copy(h, g)
		case "GRU":
			z, candidate := g[:hidden], g[2*hidden:][:hidden]
			s.gate(1, candidate)
			for k, v := range candidate {
				h[k] = (1-z[k])*v + z[k]*h[k]
			}
		case "LSTM":
			s.lstm(g, h, c, s.extra[i*hidden:(i+1)*hidden])
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
func (s *recurrentCell[T]) reset(g, h, extra []T) {
	s.gate(0, g[:2*len(h)])
	r, candidate := g[len(h):][:len(h)], g[2*len(h):][:len(h)]
	extra = extra[:len(h)]
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

// lstm computes the next state of one sequence from its gates i, o, f and c.
func (s *recurrentCell[T]) lstm(g, h, c, extra []T) {
	n := len(h)
	in, out, forget, next := g[:n], g[n:2*n], g[2*n:3*n], g[3*n:4*n]
	c, extra = c[:n], extra[:n]
	if peep := s.w.peep; peep != nil {
		for k, v := range c {
			in[k] += peep[k] * v
			forget[k] += peep[2*n+k] * v
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
	s.gate(1, next)
	for k, v := range c {
		c[k] = forget[k]*v + in[k]*next[k]
	}
	if peep := s.w.peep; peep != nil {
		for k, v := range c {
			out[k] += peep[n+k] * v
		}
		s.gate(0, out)
	}
	copy(extra, c)
	s.r.row(s.w.act[2], extra)
	for k, v := range extra {
		h[k] = out[k] * v
	}
}
