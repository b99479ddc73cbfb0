package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// randomWindow is a window along an axis, of which the padding may be more than the kernel.
func randomWindow(r *rand.Rand, most int) Window {
	for {
		w := Window{In: 1 + r.IntN(most), Kernel: 1 + r.IntN(5), Stride: 1 + r.IntN(4)*r.IntN(7), Dilation: 1 + r.IntN(3), Before: r.IntN(4), After: r.IntN(4)}
		if room := w.In + w.Before + w.After - w.extent(); room >= 0 {
			w.Out = room/w.Stride + 1
			if r.IntN(3) == 0 && w.Out*w.Stride < w.In+w.Before {
				w.Out++ // a last window that begins inside
			}
			return w
		}
	}
}

// plainWindows calls f for every output of a plane with the elements that it sees, and how many with the padding.
func plainWindows(axes *[3]Window, f func(i int, see []int, padded int)) {
	z, y, x := &axes[0], &axes[1], &axes[2]
	i := 0
	for oz := range z.Out {
		for oy := range y.Out {
			for ox := range x.Out {
				var see []int
				padded := 0
				for t := range z.Kernel * y.Kernel * x.Kernel {
					p := [3]int{oz*z.Stride + t/(y.Kernel*x.Kernel)*z.Dilation - z.Before,
						oy*y.Stride + t/x.Kernel%y.Kernel*y.Dilation - y.Before, ox*x.Stride + t%x.Kernel*x.Dilation - x.Before}
					inside, within := true, true
					for a := range p {
						inside = inside && p[a] >= 0 && p[a] < axes[a].In
						within = within && p[a] < axes[a].In+axes[a].After
					}
					if inside {
						see = append(see, (p[0]*y.In+p[1])*x.In+p[2])
					}
					if within {
						padded++
					}
				}
				f(i, see, padded)
				i++
			}
		}
	}
}

func TestWindows32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for n := range 300 {
			axes := [3]Window{{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, randomWindow(r, 20), randomWindow(r, 100)}
			switch n % 5 {
			case 0:
				axes[0] = randomWindow(r, 6)
			case 1:
				axes[1] = axes[0]
			case 2:
				axes[2] = Window{In: 128, Out: 64 - n%2, Kernel: 3, Stride: 2, Dilation: 1, After: 1 - n%2}
			}
			in, out := 1, 1
			for i := range axes {
				in, out = in*axes[i].In, out*axes[i].Out
			}
			planes := 1 + r.IntN(3)
			x := random[float32](r, planes*in+1)[1:]
			for range r.IntN(4) {
				x[r.IntN(len(x))] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1))}[r.IntN(4)]
			}
			// A mean is of products in float64, which are rounded once.
			const close = 1e-6
			for _, kind := range []string{"largest", "mean", "mean with padding"} {
				y := newFenced(r, 1, planes*out)
				switch kind {
				case "largest":
					MaxWindows32(NewPool(2), planes, &axes, y.rows, x)
				default:
					MeanWindows32(NewPool(2), planes, &axes, kind != "mean", y.rows, x)
				}
				y.check(t, fmt.Sprintf("%s of %+v", kind, axes))
				for plane := range planes {
					plainWindows(&axes, func(i int, see []int, padded int) {
						sum, most := 0.0, -math.MaxFloat32
						for k, s := range see {
							v := float64(x[plane*in+s])
							sum += v
							if k == 0 {
								most = v
							}
							most = max(most, v)
						}
						want := sum / float64(max(1, len(see)))
						switch {
						case kind == "largest":
							want = most
						case kind != "mean":
							want = sum / float64(max(1, padded))
						}
						got := float64(y.rows[plane*out+i])
						if !(math.Abs(got-want) <= close*math.Abs(sum)) && got != want && (got == got || want == want) {
							t.Fatalf("%s of %+v: output %d of plane %d is %v, want %v", kind, axes, i, plane, got, want)
						}
					})
				}
			}
		}
	})
}

func TestMax32(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for _, n := range append(lengths(), 1000, rowMost+1) {
			m, xs := 1+r.IntN(3), n+r.IntN(3)
			x := random[float32](r, m*xs+1)[1:]
			for i := range x {
				x[i] -= 10 // a zero from outside of the row would win
			}
			special := []float32{-10, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[r.IntN(4)]
			x[r.IntN(n)] = special
			y := newFenced(r, 1, m)
			Max32(NewPool(2), m, n, y.rows, x, xs)
			y.check(t, "largest of a row")
			for i, got := range y.rows[:m] {
				want := float32(math.Inf(-1))
				for _, v := range x[i*xs : i*xs+n] {
					want = max(want, v)
				}
				if got != want && (got == got || want == want) {
					t.Fatalf("n=%d with %v: row %d is %v, want %v", n, special, i, got, want)
				}
			}
		}
	})
}

// A NaN makes the windows NaN that see it, wherever it lies in a vector, and no others.
func TestWindowNaN(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		for stride := 1; stride <= 19; stride++ {
			w := Window{In: 70, Kernel: 3, Stride: stride, Dilation: 1, Before: 1}
			w.Out = (w.In+1-3)/stride + 1
			axes := [3]Window{{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, {In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}, w}
			x, y := make([]float32, w.In), make([]float32, w.Out)
			for at := range x {
				clear(x)
				x[at] = float32(math.NaN())
				MaxWindows32(nil, 1, &axes, y, x)
				for o, v := range y {
					if sees := at >= o*stride-1 && at <= o*stride+1; sees != (v != v) {
						t.Fatalf("stride %d, NaN at %d: y[%d] is %v", stride, at, o, v)
					}
				}
			}
		}
	})
}
