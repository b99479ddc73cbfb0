package runtime_test

import (
	"context"
	"fmt"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/tensor"
)

func TestMovement(t *testing.T) {
	for _, perm := range [][]int64{{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {2, 0, 3, 1}, nil} {
		for _, axes := range [][]int64{{0}, {1}, {-2}, {0, 1}, {2, 1}, {0, 2}, {3}, {2, 3}, {0, 1, 2}} {
			for _, keep := range []int64{0, 1} {
				t.Run(fmt.Sprint(perm, axes, keep), func(t *testing.T) {
					b := newModel(t)
					x := b.input("x", tensor.Float32, "N", 3, 4, 5)
					v := b.node("Transpose", "p", vals(x))
					if perm != nil {
						v.Producer().Attrs = append(v.Producer().Attrs, intsAttr("perm", perm...))
					}
					b.outputs(v, b.node("ReduceMean", "m", vals(v), intsAttr("axes", axes...), intAttr("keepdims", keep)))
					for _, n := range []int{1, 6} {
						sameLowered(t, b.Model, exact, noise(4, n, 3, 4, 5))
					}
				})
			}
		}
	}
}

// largeMovement is nodes that take long enough to be shared out.
var largeMovement = []struct {
	name  string
	shape []int
	perm  []int64
	axes  []int64
}{
	{"matrix", []int{700, 650}, []int64{1, 0}, nil},
	{"heads", []int{4, 128, 8, 64}, []int64{0, 2, 1, 3}, nil},
	{"channels last", []int{2, 64, 50, 41}, []int64{0, 2, 3, 1}, nil},
	{"long rows", []int{3, 2, 50000}, []int64{1, 0, 2}, nil},
	{"mean of rows", []int{512, 523}, nil, []int64{0}},
	{"mean over pages", []int{3, 70, 2048}, nil, []int64{1}},
	{"mean of places", []int{2, 56, 56, 64}, nil, []int64{1, 2}},
	{"mean of pairs", []int{90000, 3}, nil, []int64{0}},
}

// movementModel is a model of one of them.
func movementModel(t testing.TB, shape []int, perm, axes []int64) *modelBuilder {
	b := newModel(t)
	x := b.input("x", tensor.Float32, sizes(shape)...)
	if perm != nil {
		b.outputs(b.node("Transpose", "y", vals(x), intsAttr("perm", perm...)))
	} else {
		b.outputs(b.node("ReduceMean", "y", vals(x), intsAttr("axes", axes...)))
	}
	return b
}

func sizes(shape []int) (dims []any) {
	for _, d := range shape {
		dims = append(dims, d)
	}
	return dims
}

func TestLargeMovement(t *testing.T) {
	for _, c := range largeMovement {
		t.Run(c.name, func(t *testing.T) {
			tolerance := 0.0
			if c.axes != nil {
				tolerance = 1e-6 // the operator itself adds up some of these in blocks
			}
			sameLowered(t, movementModel(t, c.shape, c.perm, c.axes).Model, tolerance, noise(4, c.shape...))
		})
	}
}

// BenchmarkMovement is the compiled forms on one thread and on two.
func BenchmarkMovement(b *testing.B) {
	for _, c := range largeMovement {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", c.name, threads), func(b *testing.B) {
				p, err := runtime.Compile(movementModel(b, c.shape, c.perm, c.axes).Model, runtime.Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				in := []tensor.Value{noise(4, c.shape...)}
				out, err := p.Run(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := p.RunInto(context.Background(), in, out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
