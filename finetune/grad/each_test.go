package grad

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// BackwardEach gives out each gradient once, with Backward's bits, also where a
// weight is spoilt as soon as its gradient is there, and run after run.
func TestBackwardEach(t *testing.T) {
	shared := func(t *testing.T) *graph.Model { // a weight that two layers have, one of them by its transpose
		n, x := newNet(t, "x", 3, 6)
		w := n.weight("w", 0, 1, 6, 6)
		h := n.node("Tanh", values{n.node("MatMul", values{x, w})})
		return n.done(n.node("MatMul", values{h, n.node("Transpose", values{w})}))
	}
	for name, build := range map[string]func(*testing.T) *graph.Model{"mlp": mlp, "transformer": transformer, "cnn": cnn, "shared": shared} {
		t.Run(name, func(t *testing.T) {
			m := build(t)
			shape, _ := graph.Ints(m.Graph.Inputs[0].Type.Shape)
			r := rand.New(rand.NewPCG(5, 6))
			x := normals(r, shape...)
			wrt := floating(t, m, x) // constants, activations and the input
			p := program(t, m, Options{Wrt: wrt, Pool: kernel.NewPool(2)})
			s := forward(t, p, x)
			dout := asValues([]*tensor.Tensor{normals(r, s.Outputs()[0].Tensor.Shape()...)})
			if err := s.Backward(context.Background(), dout); err != nil {
				t.Fatal(err)
			}
			want := make([]*tensor.Tensor, len(wrt))
			for i, v := range wrt {
				if g := s.Grad(v); g != nil {
					want[i] = g.Clone()
				}
			}
			s.Release()
			for range 2 {
				s := forward(t, p, x)
				got, kept := make([]*tensor.Tensor, len(wrt)), map[int][]byte{}
				var mu sync.Mutex
				err := s.BackwardEach(context.Background(), dout, func(i, at int, g *tensor.Tensor) error {
					mu.Lock()
					defer mu.Unlock()
					c := wrt[i].Const()
					if got[i] == nil {
						got[i] = tensor.New(g.DType(), s.Value(wrt[i]).Tensor.Shape()...)
						for k, v := 0, tensor.Data[float64](got[i]); k < len(v); k++ {
							v[k] = math.NaN()
						}
						if c != nil {
							kept[i] = slices.Clone(c.Bytes())
						}
					}
					piece := tensor.Data[float64](got[i])[at : at+g.Len()]
					if slices.ContainsFunc(piece, func(v float64) bool { return v == v }) {
						t.Errorf("some of %v comes twice", wrt[i])
					}
					copy(piece, tensor.Data[float64](g))
					if c != nil {
						for k, v := at, tensor.Data[float64](c); k < at+g.Len(); k++ {
							v[k] = math.NaN()
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for i, b := range kept {
					copy(wrt[i].Const().Bytes(), b)
				}
				for i, v := range wrt {
					switch {
					case (got[i] == nil) != (want[i] == nil):
						t.Errorf("%v: gradient %v, wanted %v", v, got[i], want[i])
					case got[i] != nil && !tensor.Equal(got[i], want[i]):
						t.Errorf("%v: another gradient than Backward's", v)
					}
				}
				if len(kept) == 0 {
					t.Error("no constant's gradient came")
				}
				s.Release()
			}
		})
	}
}

// The gradients of layers one after the other share memory, and those of an
// ordinary Backward that follows do not.
func TestBackwardEachShares(t *testing.T) {
	m := mnistNet(t, 0)
	tr := newTraining(t, m, 4, 784, 10, 1)
	s, err := tr.program.Forward(context.Background(), tr.in)
	if err != nil {
		t.Fatal(err)
	}
	lines, total := map[uintptr]bool{}, 0 // of 64 bytes
	err = s.BackwardEach(context.Background(), tr.out, func(_, _ int, g *tensor.Tensor) error {
		at, n := address(g), len(g.Bytes())
		for l := at / 64; l < (at+uintptr(n)+63)/64; l++ {
			lines[l] = true
		}
		total += n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if used := 64 * len(lines); used > total*2/3 && !raceEnabled {
		t.Errorf("gradients of %d bytes take %d", total, used)
	}
	if err := s.Backward(context.Background(), tr.out); err != nil {
		t.Fatal(err)
	}
	var ends [][2]uintptr
	for _, v := range tr.params {
		g := s.Grad(v)
		ends = append(ends, [2]uintptr{address(g), address(g) + uintptr(len(g.Bytes()))})
	}
	slices.SortFunc(ends, func(a, b [2]uintptr) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	for i := 1; i < len(ends); i++ {
		if ends[i][0] < ends[i-1][1] {
			t.Error("two gradients of Backward share memory")
		}
	}
}

// A gradient of zero comes as zeros; an error of take ends the run.
func TestBackwardEachEnds(t *testing.T) {
	m := mlp(t)
	shape, _ := graph.Ints(m.Graph.Inputs[0].Type.Shape)
	x := normals(rand.New(rand.NewPCG(7, 8)), shape...)
	wrt := floating(t, m, x)
	p := program(t, m, Options{Wrt: wrt})
	s := forward(t, p, x)
	count := 0
	err := s.BackwardEach(context.Background(), nil, func(i, _ int, g *tensor.Tensor) error {
		count++
		if slices.ContainsFunc(tensor.Data[float64](g), func(v float64) bool { return v != 0 }) {
			t.Errorf("%v: %v where nothing is differentiated", wrt[i], tensor.Data[float64](g))
		}
		return nil
	})
	if err != nil || count == 0 {
		t.Errorf("%d gradients, error %v", count, err)
	}
	stop, calls := errors.New("stop"), 0
	err = s.BackwardEach(context.Background(), nil, func(int, int, *tensor.Tensor) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func address(t *tensor.Tensor) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(t.Bytes())))
}

// The gradients of large weights come in pieces, which are never together in memory, with Backward's bits,
// and the first error of take ends the run.
func TestBackwardEachInPieces(t *testing.T) {
	tr := newTraining(t, mnistNet(t, 0), 32, 784, 10, 2)
	s, err := tr.program.Forward(context.Background(), tr.in)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(9, 10))
	for i, v := 0, tensor.Data[float32](tr.out[0].Tensor); i < len(v); i++ {
		v[i] = float32(r.NormFloat64())
	}
	if err := s.Backward(context.Background(), tr.out); err != nil {
		t.Fatal(err)
	}
	var want []*tensor.Tensor
	for _, v := range tr.params {
		want = append(want, s.Grad(v).Clone())
	}
	for range 2 {
		var mu sync.Mutex
		got, most := make([]int, len(tr.params)), 0
		err := s.BackwardEach(context.Background(), tr.out, func(i, at int, g *tensor.Tensor) error {
			mu.Lock()
			defer mu.Unlock()
			got[i] += g.Len()
			most = max(most, g.Len())
			if !slices.Equal(tensor.Data[float32](g), tensor.Data[float32](want[i])[at:at+g.Len()]) {
				t.Errorf("%v from element %d on: another gradient than Backward's", tr.params[i], at)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range got {
			if n != want[i].Len() {
				t.Errorf("%v: %d elements came, wanted %d", tr.params[i], n, want[i].Len())
			}
		}
		if most > 1<<16 {
			t.Errorf("%d elements came at a time", most)
		}
	}
	for k := range s.loans {
		if b := s.loans[k]; b != nil && b.t.Len() > 1<<16 {
			t.Errorf("there is memory for %d elements of a gradient", b.t.Len())
		}
	}
	stop := errors.New("stop")
	var calls atomic.Int32
	err = s.BackwardEach(context.Background(), tr.out, func(_, _ int, g *tensor.Tensor) error {
		if g.Len() < 1<<14 {
			return nil
		}
		calls.Add(1)
		return stop
	})
	if !errors.Is(err, stop) || calls.Load() > 2 {
		t.Errorf("%d calls after the first error, error %v", calls.Load(), err)
	}
}
