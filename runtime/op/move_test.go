package op

import (
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// plainBox is what copyBox does, one element after the other.
func plainBox(to, from []uint32, b box) {
	idx := make([]int, len(b.shape))
	for range product(b.shape) {
		at, src := b.dstAt, b.src
		for i, k := range idx {
			at += k * b.dstStrides[i]
			src += k * b.srcStrides[i]
		}
		to[at] = from[src]
		advance(idx, b.shape)
	}
}

// randomBox is a part of a list of n elements in any order of its axes, of which some repeat, skip or turn around,
// for a list of which it leaves some elements alone.
func randomBox(r *rand.Rand, shape []int) (b box, dst, src int) {
	rank := len(shape)
	b = box{shape: shape, dstStrides: make([]int, rank), srcStrides: make([]int, rank), dstAt: r.IntN(3), src: r.IntN(3)}
	dst, src = 1, 1
	gap := func() int { return max(0, r.IntN(6)-3) }
	order := upTo(rank)
	if r.IntN(2) == 0 {
		order = r.Perm(rank)
	}
	for i := rank - 1; i >= 0; i-- {
		b.dstStrides[i] = dst
		dst = dst*shape[i] + gap()
	}
	for _, i := range slices.Backward(order) {
		switch r.IntN(6) {
		case 0: // repeats
			continue
		case 1:
			b.srcStrides[i] = -src
			b.src += src * max(0, shape[i]-1)
		default:
			b.srcStrides[i] = src
		}
		src = src*shape[i] + gap()
	}
	return b, dst + b.dstAt, src + b.src
}

func TestCopyBoxAgainstPlain(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	r := rand.New(rand.NewPCG(1, 2))
	pools := []*kernel.Pool{nil, kernel.NewPool(3)}
	shapes := [][]int{
		{}, {1}, {0, 3}, {5}, {40000}, {2, 3}, {8, 8}, {9, 17}, {3, 200, 7}, {2, 8, 3, 5, 2}, {300, 130}, {20, 1100}, {17, 2000},
		{40, 2, 300}, {300, 2, 40}, {2, 3, 64, 65}, {1, 2, 1, 3, 2, 2, 3, 2, 2, 2, 3},
	}
	for range 20 {
		for _, shape := range shapes {
			b, n, m := randomBox(r, shape)
			from := make([]uint32, m)
			for i := range from {
				from[i] = r.Uint32()
			}
			want := make([]uint32, n)
			plainBox(want, from, b)
			for _, p := range pools {
				got := make([]uint32, n)
				if err := copyBox(p, "test", tensor.Of(got, n), tensor.Of(from, m), b); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%+v on %d threads is copied otherwise than element by element", b, p.Threads())
				}
			}
		}
	}
}

func TestRepeat(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 511, 512, 1000} {
		run := make([]int32, n+1)
		repeat(run[:n], 7)
		if n > 0 && (slices.Min(run[:n]) != 7 || slices.Max(run[:n]) != 7) || run[n] != 0 {
			t.Errorf("a run of %d is not filled, or more than it", n)
		}
	}
}
