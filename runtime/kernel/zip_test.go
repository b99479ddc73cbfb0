package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func apply(op Operation, x, y float32) float32 {
	switch op {
	case Plus:
		return x + y
	case Minus:
		return x - y
	case Times:
		return x * y
	}
	return x / y
}

// equal tells equal numbers, or two NaNs.
func equal(a, b float32) bool { return a == b || a != a && b != b }

func TestZip32(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		for op := range operations {
			for _, n := range append(lengths(), 2*zipGrain+7) {
				for kind := range 16 { // which strides are 0
					if n > 1000 && kind&3 == 0 && r.IntN(4) > 0 {
						continue
					}
					m := 1 + r.IntN(3)
					z := newFenced(r, m, n)
					xs, ys, xe, ye := n+r.IntN(2), n+r.IntN(2), 1, 1
					x, y := random[float32](r, m*xs), random[float32](r, m*ys)
					x[r.IntN(len(x))], y[r.IntN(len(y))] = nan, 0
					x[r.IntN(len(x))], y[r.IntN(len(y))] = -inf, inf
					for i, s := range []*int{&xs, &ys, &xe, &ye} {
						if kind>>i&1 != 0 {
							*s = 0
						}
					}
					Zip32(NewPool(2), op, m, n, z.rows, z.step, x, xs, xe, y, ys, ye)
					what := fmt.Sprintf("operation %d, strides %d %d and %d %d", op, xs, xe, ys, ye)
					z.check(t, what)
					for i := range m {
						for j, got := range z.row(i) {
							if want := apply(op, x[i*xs+j*xe], y[i*ys+j*ye]); !equal(got, want) {
								t.Fatalf("%s: element (%d, %d) of (%d, %d) is %v, want %v", what, i, j, m, n, got, want)
							}
						}
					}
				}
			}
		}
	})
}

// The result may take the place of an operand.
func TestZip32InPlace(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 12))
		const m, n = 3, 50
		x, y := random[float32](r, m*n), random[float32](r, m*n)
		for op := range operations {
			for _, e := range [][2]int{{1, 1}, {1, 0}, {0, 1}} {
				want := make([]float32, m*n)
				Zip32(nil, op, m, n, want, n, x, n, e[0], y, n, e[1])
				for side, from := range [][]float32{x, y} {
					if e[side] == 0 {
						continue
					}
					z := append([]float32(nil), from...)
					a, b := x, y
					if side == 0 {
						a = z
					} else {
						b = z
					}
					Zip32(nil, op, m, n, z, n, a, n, e[0], b, n, e[1])
					if i := firstDifference(z, want); i >= 0 {
						t.Fatalf("operation %d over operand %d: %v at %d, want %v", op, side, z[i], i, want[i])
					}
				}
			}
		}
	})
}
