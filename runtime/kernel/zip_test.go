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
	case Over:
		return x / y
	case Minimum:
		return min(x, y)
	case Maximum:
		return max(x, y)
	}
	if x < 0 {
		return x * y
	}
	return x
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

// An extreme is NaN where an operand is, and zeros have an order; a slope leaves alone what is not below 0.
func TestZip32Extremes(t *testing.T) {
	nan, inf, zero := float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1))
	values := []float32{nan, -inf, -2, -math.SmallestNonzeroFloat32, zero, 0, math.SmallestNonzeroFloat32, 3, inf}
	var x, y []float32
	for _, v := range values {
		for _, w := range values {
			x, y = append(x, v), append(y, w)
		}
	}
	inEveryPath(t, func(t *testing.T) {
		z, ones := make([]float32, len(x)), make([]float32, 1)
		for _, op := range []Operation{Minimum, Maximum, Slope} {
			check := func(x, y, got float32) {
				t.Helper()
				if want := apply(op, x, y); !equal(got, want) || got == got && math.Signbit(float64(got)) != math.Signbit(float64(want)) {
					t.Errorf("operation %d of %v and %v is %v, want %v", op, x, y, got, want)
				}
			}
			Zip32(nil, op, 1, len(x), z, 0, x, 0, 1, y, 0, 1)
			for i := range z {
				check(x[i], y[i], z[i])
			}
			for _, one := range values {
				ones[0] = one
				Zip32(nil, op, 1, len(x), z, 0, x, 0, 1, ones, 0, 0)
				for i := range z {
					check(x[i], one, z[i])
				}
				Zip32(nil, op, 1, len(x), z, 0, ones, 0, 0, y, 0, 1)
				for i := range z {
					check(one, y[i], z[i])
				}
			}
		}
	})
}
