package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// bilinearShape is n1, n2, m1, m2 and the number of terms.
type bilinearShape [5]int

// bilinearShapes cover both orders, every width of a panel, whole and split groups of terms.
var bilinearShapes = []bilinearShape{
	{1, 1, 1, 1, 1}, {2, 3, 5, 7, 1}, {2, 3, 5, 7, 4}, {32, 32, 32, 32, 1}, {32, 32, 32, 32, 5}, {24, 32, 48, 64, 3},
	{48, 64, 24, 32, 3}, {1, 40, 9, 1, 6}, {40, 1, 1, 33, 6}, {7, 130, 3, 65, 2}, {130, 7, 65, 3, 2},
	{blockK + 3, 2, 3, 2, 2}, {2, blockK + 3, 2, 5, 2}, {3, 5, blockK + 40, 17, 9}, {64, 64, 64, 64, 16},
}

// files is one set of factors in the two forms that files have.
type files struct {
	shape      bilinearShape
	a, b       [][]float32 // of each term, A[m1 n1] and B[m2 n2]
	bcat, acat []float32   // B first
	a1, b1     []float32   // A first
}

func newFiles(r *rand.Rand, s bilinearShape) *files {
	n1, n2, m1, m2, terms := s[0], s[1], s[2], s[3], s[4]
	f := &files{shape: s}
	f.acat, f.a1 = make([]float32, m1*n1*terms), make([]float32, m1*n1*terms)
	f.bcat, f.b1 = make([]float32, m2*n2*terms), make([]float32, m2*n2*terms)
	for t := range terms {
		a, b := random[float32](r, m1*n1), random[float32](r, m2*n2)
		f.a, f.b = append(f.a, a), append(f.b, b)
		for i, v := range a {
			f.acat[i/n1*n1*terms+i%n1*terms+t] = v
			f.a1[(i/n1*terms+t)*n1+i%n1] = v
		}
		for i, v := range b {
			f.bcat[i%n2*terms*m2+t*m2+i/n2] = v
			f.b1[(t*n2+i%n2)*m2+i/n2] = v
		}
	}
	return f
}

// pack is by the recipe for one of the two forms.
func (f *files) pack(bFirst bool) *PackedBilinear32 {
	n1, n2, m1, m2, terms := f.shape[0], f.shape[1], f.shape[2], f.shape[3], f.shape[4]
	if bFirst {
		return PackBilinear32(n1, n2, m1, m2, terms, Factor32{f.acat, 1, n1 * terms, terms}, Factor32{f.bcat, m2, 1, terms * m2})
	}
	return PackBilinear32(n1, n2, m1, m2, terms, Factor32{f.a1, n1, terms * n1, 1}, Factor32{f.b1, n2 * m2, 1, m2})
}

// exact is y = Σ_r A_r·X·B_rᵀ of one sample in float64, and the same sum of absolute values.
func (f *files) exact(x []float32) (y, scale []float64) {
	n1, n2, m1, m2 := f.shape[0], f.shape[1], f.shape[2], f.shape[3]
	y, scale = make([]float64, m1*m2), make([]float64, m1*m2)
	for t := range f.a {
		for i := range n1 {
			for b := range m2 {
				var sum, size float64
				for l := range n2 {
					v := float64(x[i*n2+l]) * float64(f.b[t][b*n2+l])
					sum += v
					size += math.Abs(v)
				}
				for a := range m1 {
					v := float64(f.a[t][a*n1+i])
					y[a*m2+b] += v * sum
					scale[a*m2+b] += math.Abs(v) * size
				}
			}
		}
	}
	return y, scale
}

func TestBilinear(t *testing.T) {
	orders := map[bool]int{}
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		for _, s := range bilinearShapes {
			f := newFiles(r, s)
			one, other := f.pack(true), f.pack(false)
			for i := range one.a {
				if one.a[i] != other.a[i] {
					t.Fatalf("%v: the two forms give other factors A", s)
				}
			}
			for i := range one.b {
				if one.b[i] != other.b[i] {
					t.Fatalf("%v: the two forms give other factors B", s)
				}
			}
			for _, bFirst := range []bool{true, false} {
				// Small shapes are cheap enough to be forced into either order.
				w := one
				if w.bFirst != bFirst {
					if s[0]*s[1]*s[2]*s[3]*s[4] > 1<<21 {
						continue
					}
					w = packInOrder(f, bFirst)
				}
				orders[w.bFirst]++
				for _, samples := range []int{1, 2, 7} {
					for _, e := range endings() {
						if testing.Short() && r.IntN(8) != 0 {
							continue
						}
						checkBilinear(t, r, f, w, samples, r.IntN(2)*3, e)
					}
				}
			}
		}
	})
	if orders[true] == 0 || orders[false] == 0 {
		t.Errorf("tried B first %d times and A first %d times", orders[true], orders[false])
	}
}

// packInOrder packs in an order that need not be the quicker one.
func packInOrder(f *files, bFirst bool) *PackedBilinear32 {
	n1, n2, m1, m2, terms := f.shape[0], f.shape[1], f.shape[2], f.shape[3], f.shape[4]
	return packBilinear(n1, n2, m1, m2, terms, Factor32{f.acat, 1, n1 * terms, terms}, Factor32{f.bcat, m2, 1, terms * m2}, bFirst)
}

func checkBilinear(t *testing.T, r *rand.Rand, f *files, w *PackedBilinear32, samples, gap int, e ending) {
	t.Helper()
	const guard = 35
	nx, ny := w.Dims()
	ldx, ldy := nx+gap, ny+gap
	x := random[float32](r, samples*ldx+1)[1:]
	for i := range x {
		x[i] /= float32(math.Sqrt(float64(nx * f.shape[4])))
	}
	all := make([]float32, guard+samples*ldy+guard)
	for i := range all {
		all[i] = mark
	}
	y := all[guard:][:samples*ldy]
	end, added := e.make(r, samples, ny, y, ldy)
	w.Mul(nil, samples, x, ldx, y, ldy, end)
	at := fmt.Sprintf("%v, %d samples, gap %d, %+v, B first: %v", f.shape, samples, gap, e, w.bFirst)
	for i, v := range all {
		pos := i - guard
		if inside := pos >= 0 && pos < samples*ldy && pos%ldy < ny; !inside && v != mark {
			t.Fatalf("%s: wrote %v outside of Y at %d", at, v, pos)
		}
	}
	for s := range samples {
		want, scale := f.exact(x[s*ldx:])
		for i, sum := range want {
			sum += added(s, i)
			bound := gemmTolerance * 0x1p-23 * float64(f.shape[0]+f.shape[1]+f.shape[4]+4) * (scale[i] + math.Abs(added(s, i)))
			if err := end.checkEnd(y[s*ldy+i], sum, bound); err != nil {
				t.Fatalf("%s: element %d of sample %d: %v", at, i, s, err)
			}
		}
	}
}

// Neither the number of threads, nor of samples, nor the width of the vectors is part of the bits.
func TestBilinearSameBits(t *testing.T) {
	for _, s := range []bilinearShape{{64, 64, 64, 64, 16}, {24, 32, 48, 64, 8}, {48, 64, 24, 32, 8}, {30, 34, 31, 33, 7}} {
		if testing.Short() {
			s[4] = min(s[4], 3)
		}
		var across [][]float32
		inEveryPath(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(31, 32))
			f := newFiles(r, s)
			w := f.pack(true)
			nx, ny := w.Dims()
			samples := 37
			if testing.Short() {
				samples = 9
			}
			x, bias := random[float32](r, samples*nx), random[float32](r, ny)
			want, got := make([]float32, samples*ny), make([]float32, samples*ny)
			end := Epilogue32{Bias: bias, F: Relu}
			for i := range samples {
				w.Mul(nil, 1, x[i*nx:], nx, want[i*ny:], ny, end)
			}
			for _, threads := range []int{1, 2, 3, 8} {
				w.Mul(NewPool(threads), samples, x, nx, got, ny, end)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("%v: %d threads give %v at %d, sample by sample %v", s, threads, got[i], i, want[i])
				}
			}
			if Path() != "generic" {
				across = append(across, want)
			}
		})
		for _, other := range across[min(1, len(across)):] {
			if i := firstDifference(other, across[0]); i >= 0 {
				t.Errorf("%v: two vector paths give %v and %v at %d", s, other[i], across[0][i], i)
			}
		}
	}
}

// A NaN reaches all of its own sample's elements that depend on it, and no other sample.
func TestBilinearNaN(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for _, s := range []bilinearShape{{8, 40, 9, 33, 2}, {40, 48, 9, 20, 2}} {
			f := newFiles(rand.New(rand.NewPCG(1, 2)), s)
			w := f.pack(true)
			nx, ny := w.Dims()
			x, y := make([]float32, 3*nx), make([]float32, 3*ny)
			x[nx+nx/2] = float32(math.NaN())
			w.Mul(nil, 3, x, nx, y, ny, Epilogue32{F: Relu})
			for i, v := range y {
				if math.IsNaN(float64(v)) != (i/ny == 1) {
					t.Fatalf("%v: element %d of sample %d is %v with a NaN in sample 1", s, i%ny, i/ny, v)
				}
			}
		}
	})
}

func TestBilinearRefusals(t *testing.T) {
	s := func(n int) []float32 { return make([]float32, n) }
	for want, call := range map[string]func(){
		"kernel: 0 terms of 2×2 ⊗ 2×2: all must be at least 1":                                 func() { PackBilinear32(2, 2, 2, 2, 0, Factor32{}, Factor32{}) },
		"kernel: 2 terms of A[3 2] with strides 6, 2 and 1 need 12 elements, the slice has 11": func() { PackBilinear32(2, 2, 3, 2, 2, Factor32{s(11), 6, 2, 1}, Factor32{s(8), 4, 2, 1}) },
		"kernel: X[2 4] with strides 4 and 1 needs 8 elements, the slice has 7": func() {
			PackBilinear32(2, 2, 3, 2, 1, Factor32{s(6), 6, 2, 1}, Factor32{s(4), 4, 2, 1}).Mul(nil, 2, s(7), 4, s(12), 6, Epilogue32{})
		},
		"kernel: Y[2 6] with strides 6 and 1 needs 12 elements, the slice has 11": func() {
			PackBilinear32(2, 2, 3, 2, 1, Factor32{s(6), 6, 2, 1}, Factor32{s(4), 4, 2, 1}).Mul(nil, 2, s(8), 4, s(11), 6, Epilogue32{})
		},
	} {
		func() {
			defer func() {
				if v := recover(); v != want {
					t.Errorf("panicked with %v, want %s", v, want)
				}
			}()
			call()
		}()
	}
}

// Both products in one call give the bits that two calls give.
func TestBilinearPair(t *testing.T) {
	pairs := 0
	inEveryPath(t, func(t *testing.T) {
		if active.Load().f32.pair == nil {
			return
		}
		r := rand.New(rand.NewPCG(41, 42))
		for _, s := range []bilinearShape{
			{1, 1, 1, 32, 1}, {32, 32, 32, 32, 1}, {24, 32, 48, 64, 3}, {28, 28, 31, 33, 2}, {9, 5, 17, 70, 60}, {3, 7, 2, 32, 5},
			{33, 2, 15, 32, 40}, {1, 40, 9, 64, 6}, {2, 300, 3, 48, 2},
		} {
			f := newFiles(r, s)
			w := packInOrder(f, true)
			apart := *w
			apart.paired = false
			if w.paired {
				pairs++
			}
			nx, ny := w.Dims()
			for _, e := range endings() {
				const samples, gap = 5, 3
				x := random[float32](r, samples*(nx+gap))
				want := random[float32](r, samples*(ny+gap))
				end, _ := e.make(r, samples, ny, want, ny+gap)
				got, same := append([]float32(nil), want...), end
				if len(end.Add) > 0 && &end.Add[0] == &want[0] {
					same.Add = got
				}
				apart.Mul(nil, samples, x, nx+gap, want, ny+gap, end)
				w.Mul(nil, samples, x, nx+gap, got, ny+gap, same)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("%v, %+v: a pair gives %v at %d, two products %v", s, e, got[i], i, want[i])
				}
			}
		}
	})
	if active.Load().f32.pair != nil && pairs == 0 {
		t.Error("no shape went to pairs")
	}
}

// What a call of a pair does is bounded, since it cannot be interrupted.
func TestBilinearPairBound(t *testing.T) {
	for _, s := range []bilinearShape{{512, 512, 512, 64, 1}, {4, 600, 4, 32, 1}, {2, 2, 600, 32, 300}} {
		w := packInOrder(newFiles(rand.New(rand.NewPCG(1, 2)), s), true)
		if work := w.block * w.work; w.paired && (work > pairWork || w.n2 > blockK || w.n1*w.group > blockK) {
			t.Errorf("%v: a pair of %d multiplications", s, work)
		}
	}
}
