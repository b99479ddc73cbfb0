package grad

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// free makes the rows of a model's inputs any number.
func free(m *graph.Model) *graph.Model {
	for _, v := range m.Graph.Inputs {
		v.Type.Shape[0] = graph.Symbol("N")
	}
	return m
}

// inParts makes p cut all batches in so many parts; 1: in none.
func inParts(t *testing.T, p *Program, parts int) *Program {
	t.Helper()
	if p.rows == nil {
		t.Fatal("the program cannot be run in parts")
	}
	p.rows.params, p.rows.ways = 0, []way{{parts, 0}}
	if parts == 1 {
		p.rows = nil
	}
	return p
}

// Parts give what the whole batch gives, whatever it is that was asked for: outputs,
// kept values and gradients, handed over or left in the state.
func TestPartsAgree(t *testing.T) {
	for name, build := range map[string]func(*testing.T) *graph.Model{"mlp": mlp, "transformer": transformer, "cnn": cnn} {
		for _, parts := range []int{2, 3} {
			t.Run(fmt.Sprint(name, " in ", parts), func(t *testing.T) {
				m := build(t)
				shape, _ := graph.Ints(m.Graph.Inputs[0].Type.Shape)
				shape[0] = parts*leastRows + 1 // parts of different sizes
				free(m)
				r := rand.New(rand.NewPCG(5, 6))
				x := normals(r, shape...)
				wrt := slices.DeleteFunc(m.Graph.Consts(), func(v *graph.Value) bool { return v.Const().DType() != tensor.Float64 })
				inner := m.Graph.Nodes()[1].Outputs()[0]
				run := func(parts int) (results []*tensor.Tensor) {
					p := inParts(t, program(t, m, Options{Wrt: wrt, Keep: values{inner}, Pool: kernel.NewPool(2)}), parts)
					for range 2 { // the second run in the memory of the first
						results = nil
						s := forward(t, p, x)
						if (s.cut != nil) != (parts > 1) {
							t.Fatalf("cut: %v", s.cut != nil)
						}
						results = append(results, s.Outputs()[0].Tensor.Clone(), s.Value(inner).Tensor.Clone())
						dout := asValues([]*tensor.Tensor{normals(rand.New(rand.NewPCG(7, 8)), s.Outputs()[0].Tensor.Shape()...)})
						if err := s.Backward(context.Background(), dout); err != nil {
							t.Fatal(err)
						}
						for _, v := range wrt {
							results = append(results, s.Grad(v).Clone())
						}
						handed := make([]*tensor.Tensor, len(wrt))
						for i, v := range wrt {
							handed[i] = tensor.New(tensor.Float64, v.Const().Shape()...)
						}
						err := s.BackwardEach(context.Background(), dout, func(i, at int, g *tensor.Tensor) error {
							copy(tensor.Data[float64](handed[i])[at:], tensor.Data[float64](g)) // no two pieces are the same
							return nil
						})
						if err != nil {
							t.Fatal(err)
						}
						results = append(results, handed...)
						s.Release()
					}
					return results
				}
				want, got := run(1), run(parts)
				for i, x := range got {
					if !slices.Equal(x.Shape(), want[i].Shape()) {
						t.Fatalf("result %d is %v, wanted %v", i, x, want[i])
					}
					if err := near(tensor.Data[float64](x), tensor.Data[float64](want[i]), 1e-12); err != nil {
						t.Errorf("result %d: %v", i, err)
					}
				}
			})
		}
	}
}

// Large batches of nets with few weights are run in parts, with the same bits whatever
// the number of threads.
func TestPartsOfBatches(t *testing.T) {
	for _, c := range []struct{ terms, rows, parts int }{
		{1, 128, 2}, {1, 125, 2}, {4, 128, 2}, {4, 256, 4}, {4, 1024, 8},
		{1, 16, 0}, {1, 60, 0}, // small parts
		{0, 128, 0}, {0, 512, 0}, // more weights than half of the activations
	} {
		var want []float32
		for _, threads := range []int{1, 2, 3, 5} {
			if testing.Short() && c.rows > 200 && threads > 2 {
				continue
			}
			tr := newTraining(t, mnistNet(t, c.terms), c.rows, 784, 10, threads)
			for range 2 {
				if err := tr.step(); err != nil {
					t.Fatal(err)
				}
			}
			s, err := tr.program.Forward(context.Background(), tr.in)
			if err != nil {
				t.Fatal(err)
			}
			if parts := partsOf(s); parts != c.parts {
				t.Fatalf("%d terms, %d rows: in %d parts, wanted %d", c.terms, c.rows, parts, c.parts)
			}
			got := slices.Clone(tensor.Data[float32](s.Outputs()[0].Tensor))
			for _, v := range tr.params {
				got = append(got, tensor.Data[float32](v.Init())...)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d terms, %d rows: %d threads give other bits than one", c.terms, c.rows, threads)
			}
		}
	}
}

func partsOf(s *State) int {
	if s.cut == nil {
		return 0
	}
	return len(s.cut.parts)
}

// What mixes rows, or asks for more than parts can give, is run whole.
func TestNotInParts(t *testing.T) {
	m := free(mlp(t))
	hidden := m.Graph.Nodes()[1].Outputs()[0]
	if p := program(t, m, Options{Wrt: values{hidden}}); p.rows != nil {
		t.Error("gradients by activations in parts")
	}
	if p := program(t, mlp(t), Options{}); p.rows != nil {
		t.Error("a batch of a fixed size in parts")
	}
	if p := program(t, m, Options{}); p.rows == nil {
		t.Error("a run without gradients is not to be cut")
	}
	n, x := newNet(t, "x", 5, 4)
	m = free(n.done(n.node("Softmax", values{n.node("MatMul", values{x, n.weight("w", 0, 1, 4, 3)})}, attrInt("axis", 0))))
	if p := program(t, m, Options{}); p.rows != nil {
		t.Error("a Softmax over rows in parts")
	}
	n, x = newNet(t, "x", 5, 4)
	mean := n.node("ReduceMean", values{x}, attrInts("axes", 0), attrInt("keepdims", 1))
	m = free(n.done(n.node("Sub", values{x, mean})))
	if p := program(t, m, Options{}); p.rows != nil {
		t.Error("a mean over rows in parts")
	}
}

// Each part draws for itself, the same in every run of the same number, and forward as
// back.
func TestPartsAtRandom(t *testing.T) {
	n, x := newNet(t, "x", 5, 40)
	y := n.node("Dropout", values{n.node("Mul", values{x, n.weight("w", 0, 1, 40)}), n.m.Graph.NewConst("ratio", tensor.Scalar[float32](0.5)), n.m.Graph.NewConst("training", tensor.Scalar(true))})
	m := free(n.done(y))
	rows := 4 * leastRows
	ones := normals(rand.New(rand.NewPCG(1, 2)), rows, 40)
	for i, v := 0, tensor.Data[float64](ones); i < len(v); i++ {
		v[i] = 1
	}
	w := m.Graph.Value("w")
	run := func(threads int, number uint64) (out, grad []float64) {
		p := inParts(t, program(t, m, Options{Wrt: values{w}, Seed: 3, Pool: kernel.NewPool(threads)}), 4)
		p.Seek(number)
		s := forward(t, p, ones)
		if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{ones})); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(tensor.Data[float64](s.Outputs()[0].Tensor)), slices.Clone(tensor.Data[float64](s.Grad(w)))
	}
	out, grad := run(1, 7)
	part := leastRows * 40
	for q := range 4 {
		for o := range q {
			if slices.Equal(out[q*part:(q+1)*part], out[o*part:(o+1)*part]) {
				t.Errorf("parts %d and %d drop the same", o, q)
			}
		}
	}
	for j, g := range grad { // Σ over rows of 2 where the element was kept
		sum := 0.0
		for i := range rows {
			sum += out[i*40+j] / tensor.Data[float64](w.Const())[j]
		}
		if math.Abs(g-sum) > 1e-9 {
			t.Errorf("gradient %d is %v, wanted %v: backward drops others than forward", j, g, sum)
		}
	}
	if again, _ := run(2, 7); !slices.Equal(again, out) {
		t.Error("two threads drop others than one")
	}
	if other, _ := run(1, 8); slices.Equal(other, out) {
		t.Error("two runs drop the same")
	}
}

// An error in one of the parts comes out, with the node; so does one of take, and the
// end of the context.
func TestPartsFail(t *testing.T) {
	n, x := newNet(t, "x", 5, 4)
	at, err := n.m.Graph.AddInput("at", graph.TensorType(tensor.Int64, graph.Symbol("N")))
	if err != nil {
		t.Fatal(err)
	}
	y := n.node("Add", values{x, n.node("Gather", values{n.weight("table", 0, 1, 6, 4), at})})
	m := free(n.done(y))
	p := inParts(t, program(t, m, Options{Wrt: values{m.Graph.Value("table")}, Pool: kernel.NewPool(2)}), 2)
	rows := 2 * leastRows
	in := []*tensor.Tensor{normals(rand.New(rand.NewPCG(1, 2)), rows, 4), tensor.New(tensor.Int64, rows)}
	tensor.Data[int64](in[1])[rows-1] = 6
	if _, err := p.Forward(context.Background(), asValues(in)); err == nil || !strings.Contains(err.Error(), "Gather") || !strings.Contains(err.Error(), "index 6") {
		t.Errorf("error is %v", err)
	}
	tensor.Data[int64](in[1])[rows-1] = 5
	ctx, cancel := context.WithCancel(context.Background())
	s, err := p.Forward(ctx, asValues(in))
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	var calls atomic.Int32
	if err := s.BackwardEach(ctx, asValues([]*tensor.Tensor{in[0]}), func(int, int, *tensor.Tensor) error {
		calls.Add(1)
		return stop
	}); !errors.Is(err, stop) || calls.Load() != 1 {
		t.Errorf("%d calls, error %v", calls.Load(), err)
	}
	if err := s.Backward(ctx, asValues([]*tensor.Tensor{tensor.New(tensor.Float64, rows, 3)})); err == nil || !strings.Contains(err.Error(), "gradient of output 0") {
		t.Errorf("error is %v", err)
	}
	cancel()
	if err := s.Backward(ctx, asValues([]*tensor.Tensor{in[0]})); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := p.Forward(ctx, asValues(in)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	// Inputs of different rows are the model's own affair.
	in[1] = tensor.New(tensor.Int64, rows+1)
	if _, err := p.Forward(context.Background(), asValues(in)); err == nil {
		t.Error("inputs of different rows pass")
	}
}
