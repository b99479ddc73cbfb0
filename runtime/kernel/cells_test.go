package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sums is m rows of n elements, step apart, with all that is odd among them.
func oddRows(r *rand.Rand, m, step int) []float32 {
	x := random[float32](r, m*step)
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 100, -100, 0} {
		if at := r.IntN(4 * len(x)); at < len(x) && i < len(x) {
			x[at] = float32(v)
		}
	}
	return x
}

func sigma(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

func hyper(x float32) float64 { return math.Tanh(float64(x)) }

// within fails unless got is want, but for what float32 rounds and the functions are off.
func within(t *testing.T, what string, got float32, want float64) {
	t.Helper()
	if math.IsNaN(want) != (got != got) || math.Abs(float64(got)-want) > 2e-6*(1+math.Abs(want)) {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// sameRows fails unless the rows of a and b have the same bits.
func sameRows(t *testing.T, what string, a, b *fenced) {
	t.Helper()
	for i := range a.m {
		for j, v := range a.row(i) {
			if !equal(v, b.row(i)[j]) {
				t.Fatalf("%s, %d rows of %d: the kernel gives %v at (%d, %d), its steps one by one %v", what, a.m, a.n, v, i, j, b.row(i)[j])
			}
		}
	}
}

// copyOf is rows like those of g.
func (g *fenced) copyOf() *fenced {
	c := *g
	c.all = slices.Clone(g.all)
	c.rows = c.all[cap(g.all)-cap(g.rows):][:len(g.rows)]
	return &c
}

func (g *fenced) fill(x []float32) {
	for i := range g.m {
		copy(g.row(i), x[i*g.n:])
	}
}

func TestLSTMCell32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for _, n := range lengths() {
			m, gap := 1+r.IntN(4), n+r.IntN(3)
			gs := 3*gap + n + r.IntN(3)
			g := oddRows(r, m, gs)
			c, h := newFenced(r, m, n), newFenced(r, m, n)
			c.fill(random[float32](r, m*n))
			first, c2, h2 := c.copyOf(), c.copyOf(), h.copyOf()
			active.Load().lstm(m, n, slices.Clone(g), gs, gap, c2.rows, c2.step, h2.rows, h2.step)
			LSTMCell32(m, n, slices.Clone(g), gs, gap, c.rows, c.step, h.rows, h.step)
			c.check(t, "c")
			h.check(t, "h")
			sameRows(t, "c", c, c2)
			sameRows(t, "h", h, h2)
			for i := range m {
				for j := range n {
					gate := func(k int) float32 { return g[i*gs+k*gap+j] }
					want := sigma(gate(0))*hyper(gate(3)) + sigma(gate(2))*float64(first.row(i)[j])
					within(t, fmt.Sprint("c of ", gate(0), gate(2), gate(3)), c.row(i)[j], want)
					within(t, fmt.Sprint("h of ", gate(1)), h.row(i)[j], sigma(gate(1))*math.Tanh(want))
				}
			}
		}
	})
}

func TestGRUCell32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for _, n := range lengths() {
			for _, late := range []bool{false, true} {
				m, gap := 1+r.IntN(4), n+r.IntN(3)
				gs, us, ls := gap+n+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
				g, u, l := oddRows(r, m, gs), oddRows(r, m, us), random[float32](r, m*ls)
				h, y := newFenced(r, m, n), newFenced(r, m, n)
				h.fill(random[float32](r, m*n))
				y2 := y.copyOf()
				if late {
					active.Load().gruLate(m, n, slices.Clone(g), gs, gap, slices.Clone(u), us, slices.Clone(l), ls, h.rows, h.step, y2.rows, y2.step)
					GRULateCell32(m, n, slices.Clone(g), gs, gap, slices.Clone(u), us, slices.Clone(l), ls, h.rows, h.step, y.rows, y.step)
				} else {
					active.Load().gru(m, n, slices.Clone(g), gs, slices.Clone(u), us, h.rows, h.step, y2.rows, y2.step)
					GRUCell32(m, n, slices.Clone(g), gs, slices.Clone(u), us, h.rows, h.step, y.rows, y.step)
				}
				h.check(t, "h")
				y.check(t, "y")
				sameRows(t, "y", y, y2)
				for i := range m {
					for j := range n {
						z, x := sigma(g[i*gs+j]), float64(u[i*us+j])
						if late {
							x += sigma(g[i*gs+gap+j]) * float64(l[i*ls+j])
						}
						within(t, fmt.Sprint("y of ", g[i*gs+j], x), y.row(i)[j], (1-z)*math.Tanh(x)+z*float64(h.row(i)[j]))
					}
				}
			}
		}
	})
}

// The state may be overwritten.
func TestGated32AndInPlace(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		for _, n := range lengths() {
			m := 1 + r.IntN(4)
			gs := n + r.IntN(3)
			g, u := oddRows(r, m, gs), oddRows(r, m, gs)
			h := newFenced(r, m, n)
			h.fill(random[float32](r, m*n))
			y, y2 := h.copyOf(), h.copyOf()
			active.Load().gated(m, n, slices.Clone(g), gs, y2.rows, y2.step, y2.rows, y2.step)
			Gated32(m, n, slices.Clone(g), gs, h.rows, h.step, y.rows, y.step)
			y.check(t, "y")
			sameRows(t, "gated", y, y2)
			for i := range m {
				for j := range n {
					within(t, fmt.Sprint("gated of ", g[i*gs+j]), y.row(i)[j], sigma(g[i*gs+j])*float64(h.row(i)[j]))
				}
			}
			z := h.copyOf()
			GRUCell32(m, n, slices.Clone(g), gs, slices.Clone(u), gs, h.rows, h.step, y.rows, y.step)
			GRUCell32(m, n, slices.Clone(g), gs, slices.Clone(u), gs, z.rows, z.step, z.rows, z.step)
			sameRows(t, "in place", y, z)
		}
	})
}

func TestUnaryRows32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(37, 38))
		for _, f := range []Function{Identity, Tanh, LeakyRelu} {
			for _, n := range lengths() {
				m := 1 + r.IntN(4)
				xs := n + r.IntN(3)
				x, y := oddRows(r, m, xs), newFenced(r, m, n)
				UnaryRows32(f, m, n, y.rows, y.step, x, xs, 0.1, 0)
				y.check(t, f.String())
				want := make([]float32, n)
				for i := range m {
					Unary32(nil, f, want, x[i*xs:i*xs+n], 0.1, 0)
					for j, v := range y.row(i) {
						if !equal(v, want[j]) {
							t.Fatalf("%v(%v) is %v, alone %v", f, x[i*xs+j], v, want[j])
						}
					}
				}
			}
		}
	})
}
