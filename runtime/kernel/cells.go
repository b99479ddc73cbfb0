package kernel

// cellKernels are what recurrent layers do with the sums of their gates, see [LSTMCell32], [GRUCell32], [GRULateCell32]
// and [Gated32]. m and n are at least 1. Each may be missing: then the functions and operations do it one by one,
// which gives the same bits.
type cellKernels struct {
	lstm    func(m, n int, g []float32, gs, gap int, c []float32, cs int, h []float32, hs int)
	gru     func(m, n int, g []float32, gs int, u []float32, us int, h []float32, hs int, y []float32, ys int)
	gruLate func(m, n int, g []float32, gs, gap int, u []float32, us int, late []float32, ls int, h []float32, hs int, y []float32, ys int)
	gated   func(m, n int, g []float32, gs int, h []float32, hs int, y []float32, ys int)
}

// LSTMCell32 computes for m rows of n units, i < m and j < n, with the sums of their four gates gap apart in G,
//
//	in, out, forget, next = σ(g[j]), σ(g[gap+j]), σ(g[2·gap+j]), tanh(g[3·gap+j])    of row g[i·gs:]
//	c[i·cs+j] = in·next + forget·c[i·cs+j]
//	h[i·hs+j] = out·tanh(c[i·cs+j])
//
// It leaves anything in G, of which no row may overlap the next, and nothing else overlaps it.
func LSTMCell32(m, n int, g []float32, gs, gap int, c []float32, cs int, h []float32, hs int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("G", len(g), m, 3*gap+n, gs, 1)
	mustHold("C", len(c), m, n, cs, 1)
	mustHold("H", len(h), m, n, hs, 1)
	if f := active.Load().cells.lstm; f != nil {
		f(m, n, g, gs, gap, c, cs, h, hs)
		return
	}
	active.Load().lstm(m, n, g, gs, gap, c, cs, h, hs)
}

// lstm is cellKernels.lstm in single steps.
func (p *path) lstm(m, n int, g []float32, gs, gap int, c []float32, cs int, h []float32, hs int) {
	sigmoid, tanh, times := p.unary[Sigmoid], p.unary[Tanh], p.zips[Times].rows
	in, out, forget, next := g, g[gap:], g[2*gap:], g[3*gap:]
	for _, gate := range [][]float32{in, out, forget} {
		sigmoid(m, n, gate, gs, gate, gs, 0, 0)
	}
	tanh(m, n, next, gs, next, gs, 0, 0)
	times(m, n, in, gs, in, gs, next, gs)
	times(m, n, c, cs, forget, gs, c, cs)
	p.zips[Plus].rows(m, n, c, cs, c, cs, in, gs)
	tanh(m, n, next, gs, c, cs, 0, 0)
	times(m, n, h, hs, out, gs, next, gs)
}

// GRUCell32 computes, for i < m and j < n, with the sums of the update gate in G and those of the candidate in U,
//
//	z = σ(g[i·gs+j])
//	y[i·ys+j] = (1-z)·tanh(u[i·us+j]) + z·h[i·hs+j]
//
// It leaves anything in G and U, which overlap neither each other nor the others. Y may be H, if the strides are alike.
func GRUCell32(m, n int, g []float32, gs int, u []float32, us int, h []float32, hs int, y []float32, ys int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("G", len(g), m, n, gs, 1)
	mustHold("U", len(u), m, n, us, 1)
	mustHold("H", len(h), m, n, hs, 1)
	mustHold("Y", len(y), m, n, ys, 1)
	if f := active.Load().cells.gru; f != nil {
		f(m, n, g, gs, u, us, h, hs, y, ys)
		return
	}
	active.Load().gru(m, n, g, gs, u, us, h, hs, y, ys)
}

// ones is what 1-z is subtracted from, a row that serves all.
var ones = []float32{1}

// gru is cellKernels.gru in single steps.
func (p *path) gru(m, n int, g []float32, gs int, u []float32, us int, h []float32, hs int, y []float32, ys int) {
	p.unary[Sigmoid](m, n, g, gs, g, gs, 0, 0)
	p.unary[Tanh](m, n, u, us, u, us, 0, 0)
	times, minus := p.zips[Times].rows, p.zips[Minus].left
	times(m, n, y, ys, g, gs, h, hs)
	minus(m, n, g, gs, ones, 0, g, gs)
	times(m, n, u, us, g, gs, u, us)
	p.zips[Plus].rows(m, n, y, ys, u, us, y, ys)
}

// GRULateCell32 is [GRUCell32] of a cell that resets what its state gives to the candidate: before all else
//
//	u[i·us+j] += σ(g[i·gs+gap+j])·late[i·ls+j]
//
// LATE may be left with anything too.
func GRULateCell32(m, n int, g []float32, gs, gap int, u []float32, us int, late []float32, ls int, h []float32, hs int, y []float32, ys int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("G", len(g), m, gap+n, gs, 1)
	mustHold("U", len(u), m, n, us, 1)
	mustHold("LATE", len(late), m, n, ls, 1)
	mustHold("H", len(h), m, n, hs, 1)
	mustHold("Y", len(y), m, n, ys, 1)
	if f := active.Load().cells.gruLate; f != nil {
		f(m, n, g, gs, gap, u, us, late, ls, h, hs, y, ys)
		return
	}
	active.Load().gruLate(m, n, g, gs, gap, u, us, late, ls, h, hs, y, ys)
}

// gruLate is cellKernels.gruLate in single steps.
func (p *path) gruLate(m, n int, g []float32, gs, gap int, u []float32, us int, late []float32, ls int, h []float32, hs int, y []float32, ys int) {
	p.gated(m, n, g[gap:], gs, late, ls, late, ls)
	p.zips[Plus].rows(m, n, u, us, u, us, late, ls)
	p.gru(m, n, g, gs, u, us, h, hs, y, ys)
}

// Gated32 computes y[i·ys+j] = σ(g[i·gs+j])·h[i·hs+j], i < m, j < n. It leaves anything in G, which overlaps neither of
// the others. Y may be H, if the strides are alike.
func Gated32(m, n int, g []float32, gs int, h []float32, hs int, y []float32, ys int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("G", len(g), m, n, gs, 1)
	mustHold("H", len(h), m, n, hs, 1)
	mustHold("Y", len(y), m, n, ys, 1)
	if f := active.Load().cells.gated; f != nil {
		f(m, n, g, gs, h, hs, y, ys)
		return
	}
	active.Load().gated(m, n, g, gs, h, hs, y, ys)
}

// gated is cellKernels.gated in single steps.
func (p *path) gated(m, n int, g []float32, gs int, h []float32, hs int, y []float32, ys int) {
	p.unary[Sigmoid](m, n, g, gs, g, gs, 0, 0)
	p.zips[Times].rows(m, n, y, ys, g, gs, h, hs)
}

// UnaryRows32 computes y[i·ys+j] = f(x[i·xs+j]), i < m, j < n, on the calling goroutine. Y may be X, if the strides are
// alike, else must not overlap it.
func UnaryRows32(f Function, m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("Y", len(y), m, n, ys, 1)
	mustHold("X", len(x), m, n, xs, 1)
	if f == Identity {
		for i := range m {
			copy(y[i*ys:i*ys+n], x[i*xs:i*xs+n])
		}
		return
	}
	active.Load().unary[f](m, n, y, ys, x, xs, alpha, beta)
}
