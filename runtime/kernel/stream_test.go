package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// testStream compares stream with tile, for rows with gaps and columns of A, sums that start somewhere
// and not, and fetches that go past the end of every slice.
func testStream[T float](t *testing.T, im *impl[T]) {
	if im.stream == nil {
		t.Skip("there is none")
	}
	r := rand.New(rand.NewPCG(1, 2))
	nr := im.nr
	for _, m := range []int{1, 2, im.mr - 1, im.mr, im.mr + 1, 2*im.mr - 1, 2 * im.mr, 5*im.mr + 3} {
		for _, k := range []int{1, 2, 7, 64, 256} {
			for kind := range 8 {
				ars, aks, ldc := k+1, 1, nr+3
				if kind&1 != 0 {
					ars, aks = 1, m
				}
				a, b := random[T](r, m*(k+1)), random[T](r, k*nr)
				var from []T
				if kind&2 != 0 {
					from = random[T](r, m*ldc)
				}
				want, got := make([]T, m*ldc), make([]T, m*ldc)
				for i := range want {
					want[i], got[i] = mark, mark
				}
				im.tile(m, k, a, ars, aks, b, nr, want, ldc, nr, from, ldc, kind&4 != 0)
				im.stream(m, k, a, ars, aks, b, nr, 4096*(kind+1), 64>>kind, got, ldc, from, ldc, kind&4 != 0)
				if i := firstDifference(got, want); i >= 0 {
					t.Fatalf("m=%d k=%d kind %d: element %d of C is %v, the tile's %v", m, k, kind, i, got[i], want[i])
				}
			}
		}
	}
}

func TestStream(t *testing.T) {
	for _, p := range paths {
		t.Run(p.name+"/float32", func(t *testing.T) { testStream(t, p.f32) })
		t.Run(p.name+"/float64", func(t *testing.T) { testStream(t, p.f64) })
	}
}

// TestPanelOrder multiplies by a B that is read panel by panel, and by one of as many terms that is read
// block by block of terms, because A is too large: the order must not show in the bits.
func TestPanelOrder(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		k := nearA/4/16 + blockK + 3 // of 16 rows and more A is too large
		n := 3*active.Load().f32.nr + 5
		b := Pack32(k, n, random[float32](r, k*n), n, 1)
		x, y := random[float32](r, 2*blockM*k), make([]float32, 2*blockM*n)
		GemmPacked32(nil, 2*blockM, x, k, 1, b, y, n, false)
		for _, m := range []int{1, 2, 9, 15} {
			few := make([]float32, m*n)
			GemmPacked32(nil, m, x, k, 1, b, few, n, false)
			if i := firstDifference(few, y[:m*n]); i >= 0 {
				t.Fatalf("%d rows: element %d is %v, of many rows %v", m, i, few[i], y[i])
			}
		}
	})
}

func TestAligned(t *testing.T) {
	for _, n := range []int{1, 15, 16, 1 << 10, hugePage / 4, hugePage/2 - 1, hugePage / 2, hugePage + 12345} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := aligned[float32](n)
			want := uintptr(64)
			if n*4 >= 2*hugePage {
				want = hugePage
			}
			if at := uintptr(unsafe.Pointer(&s[0])); at%want != 0 {
				t.Errorf("starts at %#x, no multiple of %#x", at, want)
			}
			if len(s) != n || cap(s) != n {
				t.Errorf("length %d, capacity %d", len(s), cap(s))
			}
			if i := slices.IndexFunc(s, func(v float32) bool { return v != 0 }); i >= 0 {
				t.Errorf("element %d is %v", i, s[i])
			}
			for i := range s {
				s[i] = 1 // all of it can be written
			}
		})
	}
}
