package kernel

import "slices"

// Sums of shifted rows and of shifted elements: what interpolation is made of. Every product and every sum is
// rounded, so that the bits do not depend on the path. They run on the caller.

// Combine32 computes, for every j,
//
//	y[j] = 0 + w[0]·x[at[0]+j] + w[1]·x[at[1]+j] + …
//
// y must not overlap x.
func Combine32(y, x []float32, at []int, w []float32) {
	if len(at) == 0 {
		clear(y)
		return
	}
	w = w[:len(at)]
	for _, a := range at {
		_ = x[a : a+len(y)]
	}
	n := combineBlocks(y, x, at, w)
	combineGeneric(y, x, at, w, n)
}

// combineGeneric is Combine32 from the n-th element on.
func combineGeneric(y, x []float32, at []int, w []float32, n int) {
	if n == len(y) {
		return
	}
	clear(y[n:])
	for k, a := range at {
		from, weight := x[a+n:a+len(y)], w[k]
		to := y[n:][:len(from)]
		for j, v := range from {
			to[j] += float32(weight * v)
		}
	}
}

// A Sampling32 is how elements of a row are sums of others' multiples.
type Sampling32 struct {
	first []int // where the terms of each begin, and where they all end
	at    []int
	w     []float32
	reach int // the elements that there must be

	// Of blocks of 16 elements whose terms lie within 32 others: where those begin, and for each term which of
	// them it is and its weight, 0 for none.
	taps    int // of the one with the most terms
	base    []int
	pick    []int32
	weights []float32
}

// SampleSlack is how many elements [Sampling32.Run] reads after the last term, whatever they are.
const SampleSlack = 32

// NewSampling32 is a sampling whose i-th element is made of the terms k from first[i] to before first[i+1], w[k]
// times the element at[k]. It keeps the slices.
func NewSampling32(first, at []int, w []float32) *Sampling32 {
	s := &Sampling32{first: first, at: at, w: w}
	for _, a := range at {
		s.reach = max(s.reach, a+1)
	}
	s.block()
	return s
}

// block makes the blocks, or none if there is one with terms too far apart.
func (s *Sampling32) block() {
	n := len(s.first) - 1
	for i := range n {
		s.taps = max(s.taps, s.first[i+1]-s.first[i])
	}
	blocks := n / 16
	if s.taps == 0 || blocks == 0 {
		return
	}
	s.base, s.pick, s.weights = make([]int, blocks), make([]int32, blocks*s.taps*16), make([]float32, blocks*s.taps*16)
	for b := range s.base {
		terms := s.at[s.first[16*b]:s.first[16*b+16]]
		if len(terms) == 0 {
			continue
		}
		least, most := terms[0], terms[0]
		for _, a := range terms {
			least, most = min(least, a), max(most, a)
		}
		if most-least >= 32 {
			s.base = nil
			return
		}
		s.base[b] = least
		for i := 16 * b; i < 16*b+16; i++ {
			for k := s.first[i]; k < s.first[i+1]; k++ {
				cell := (b*s.taps+k-s.first[i])*16 + i%16
				s.pick[cell], s.weights[cell] = int32(s.at[k]-least), s.w[k]
			}
		}
	}
}

// Run computes, for every i, y[i] = 0 + Σ w[k]·x[at[k]] over its terms in order; one of weight 0 does not count.
// x has at least SampleSlack elements more than it is read at.
func (s *Sampling32) Run(y, x []float32) {
	y = y[:len(s.first)-1]
	_ = x[:s.reach+SampleSlack]
	s.runGeneric(y, x, s.blocks(y, x))
}

// runGeneric is Run from the n-th element on.
func (s *Sampling32) runGeneric(y, x []float32, n int) {
	for i := n; i < len(y); i++ {
		sum := float32(0)
		at := s.at[s.first[i]:s.first[i+1]]
		for k, w := range s.w[s.first[i]:][:len(at)] {
			if w != 0 {
				sum += float32(w * x[at[k]])
			}
		}
		y[i] = sum
	}
}

// A Picking32 is how elements of a row, of 32 bits each, are copies of others.
type Picking32 struct {
	at    []int
	reach int // the elements that there must be

	// Of blocks of as many elements as a vector has lanes, the last of which ends where the row does, if the elements
	// of each lie within so many others: where those begin, and which of them each is.
	lanes, most int // most: how far a block reads
	base        []int
	pick        []int32
}

// NewPicking32 is a picking whose i-th element is the at[i]-th. It keeps the slice.
func NewPicking32(at []int) *Picking32 {
	s := &Picking32{at: at}
	for _, a := range at {
		s.reach = max(s.reach, a+1)
	}
	if lanes := pickLanes(); lanes > 0 && len(at) >= lanes {
		s.block(lanes)
	}
	return s
}

// block makes the blocks, or none if there is one with elements too far apart.
func (s *Picking32) block(lanes int) {
	for i := 0; i < len(s.at); i += lanes {
		terms := s.at[min(i, len(s.at)-lanes):][:lanes]
		base := max(0, min(slices.Min(terms), s.reach-lanes)) // not behind the elements, if there are so many
		if slices.Max(terms)-base >= lanes {
			return
		}
		s.base, s.most = append(s.base, base), max(s.most, base+lanes)
		for _, a := range terms {
			s.pick = append(s.pick, int32(a-base))
		}
	}
	s.lanes = lanes
}

// Run sets y[(r·copies+c)·ys + i] to x[r·xs + at[i]] for every i, r < rows, c < copies.
func (s *Picking32) Run(rows, copies int, y []uint32, ys int, x []uint32, xs int) {
	if rows <= 0 || copies <= 0 || len(s.at) == 0 {
		return
	}
	mustHold("Y", len(y), rows*copies, len(s.at), ys, 1)
	mustHold("X", len(x), rows, s.reach, xs, 1)
	r := 0
	if s.lanes > 0 && len(x) >= s.most {
		if r = rows; (rows-1)*xs > len(x)-s.most {
			r = (len(x)-s.most)/xs + 1
		}
		s.pickRows(r, copies, y, ys, x, xs)
	}
	for ; r < rows; r++ {
		from, row := x[r*xs:], y[r*copies*ys:][:len(s.at)]
		for i, a := range s.at {
			row[i] = from[a]
		}
		for c := 1; c < copies; c++ {
			copy(y[(r*copies+c)*ys:], row)
		}
	}
}
