package op

import "bilinc/runtime/kernel"

// A phase is every stride-th column or line of a transposed convolution's output: those that have the same taps. The
// j-th is the sum over taps of the input's column j + shift.
type phase struct {
	n           int // columns
	taps, shift []int
	lo, hi      int // the columns of which all taps lie in the input
}

// phasesOf are the phases of an axis, from the first column on.
func phasesOf(w slide) []phase {
	phases := make([]phase, min(w.stride, w.in))
	for b := range phases {
		p := &phases[b]
		p.n = (w.in-b-1)/w.stride + 1
		p.hi = p.n
		for t := range w.kernel {
			if at := b + w.before - t*w.dilation; at%w.stride == 0 {
				shift := at / w.stride
				p.taps, p.shift = append(p.taps, t), append(p.shift, shift)
				p.lo, p.hi = max(p.lo, -shift), min(p.hi, w.out-shift)
			}
		}
		p.lo = min(p.lo, p.n)
		p.hi = max(p.lo, p.hi)
	}
	return phases
}

// foldPhases makes lines of an image from top on of the lines first to before end of the positions: each tap's product
// with a line are weights[tap] times the columns from tap·step + (line-first)·width on. The columns of a phase lie
// together until they are spread over the line.
func foldPhases(w slide, downs, phases []phase, cols []float32, step int, weights []float32, first, end int, image []float32, top int) {
	scratch := floatScratches.get(w.in)
	defer floatScratches.Put(scratch)
	at, factors := make([]int, 0, len(weights)), make([]float32, 0, len(weights))
	for l := range len(image) / w.in {
		row, down := (top+l)/len(downs), &downs[(top+l)%len(downs)]
		line, rest := image[l*w.in:(l+1)*w.in], (*scratch)[:w.in]
		if w.stride == 1 {
			rest = line
		}
		var parts [2][]float32 // of the first two phases
		for b := range phases {
			p := &phases[b]
			to := rest[:p.n]
			if rest = rest[p.n:]; b < len(parts) {
				parts[b] = to
			}
			at, factors = at[:0], factors[:0]
			for k, ty := range down.taps {
				oy := row + down.shift[k]
				if oy < first || oy >= end {
					continue
				}
				for i, tx := range p.taps {
					tap := ty*w.kernel + tx
					at = append(at, tap*step+(oy-first)*w.out+p.shift[i])
					factors = append(factors, weights[tap])
				}
			}
			p.sum(to, cols, at, factors, w.out)
			if w.stride > len(parts) {
				for j, v := range to {
					line[b+j*w.stride] = v
				}
			}
		}
		if w.stride == 2 {
			n := len(parts[1])
			kernel.Interleave32(line, parts[0][:n], parts[1])
			if n < len(parts[0]) {
				line[2*n] = parts[0][n]
			}
		}
	}
}

// sum computes the columns of a phase as factors times cols from at on, each of a line of so many of which some columns
// lie outside. There may be several lines of taps.
func (p *phase) sum(to, cols []float32, at []int, factors []float32, width int) {
	p.edge(to, cols, at, factors, width, 0, p.lo)
	p.edge(to, cols, at, factors, width, p.hi, p.n)
	if p.lo < p.hi {
		for k := range at {
			at[k] += p.lo
		}
		kernel.Combine32(to[p.lo:p.hi], cols, at, factors)
	}
}

// edge is sum for the columns lo to before hi, where taps may lie outside.
func (p *phase) edge(to, cols []float32, at []int, factors []float32, width, lo, hi int) {
	for j := lo; j < hi; j++ {
		sum := float32(0)
		for k, a := range at {
			if from := j + p.shift[k%len(p.shift)]; from >= 0 && from < width {
				sum += float32(factors[k] * cols[a+j])
			}
		}
		to[j] = sum
	}
}
