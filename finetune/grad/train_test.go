package grad

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A perceptron is a net of layers with ReLU between them, in float32, each
// dense or a sum of terms of A ⊗ B, in the form that conversion writes.
type perceptron struct {
	g *graph.Graph
	r *rand.Rand
	x *graph.Value
	t testing.TB
}

func newPerceptron(t testing.TB, inputs int) *perceptron {
	p := &perceptron{graph.New("perceptron", nil), rand.New(rand.NewPCG(1, 2)), nil, t}
	var err error
	if p.x, err = p.g.AddInput("x", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(inputs))); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *perceptron) weight(name string, deviation float64, shape ...int) *graph.Value {
	w := tensor.New(tensor.Float32, shape...)
	for i, v := 0, tensor.Data[float32](w); i < len(v); i++ {
		v[i] = float32(deviation * p.r.NormFloat64())
	}
	return p.g.NewConst(p.g.FreshName(name), w)
}

func (p *perceptron) node(op string, in []*graph.Value, attrs ...*graph.Attr) {
	y, err := p.g.NewValue(p.g.FreshName(op), graph.Type{})
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := p.g.NewNode("", op, "", in, values{y}, attrs...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.g.Append(n)
	p.x = y
}

func (p *perceptron) ints(v ...int64) *graph.Value {
	return p.g.NewConst(p.g.FreshName("shape"), tensor.Of(v, len(v)))
}

func (p *perceptron) dense(in, out int) {
	p.node("Gemm", values{p.x, p.weight("w", math.Sqrt(2/float64(in)), out, in), p.weight("b", 0, out)}, attrInt("transB", 1))
}

// bilinear is B first: Reshape, MatMul, Reshape, MatMul from the left, Reshape, Add.
func (p *perceptron) bilinear(n1, n2, m1, m2, terms int) {
	p.node("Reshape", values{p.x, p.ints(-1, int64(n2))})
	p.node("MatMul", values{p.x, p.weight("Bcat", math.Sqrt(1/float64(n2)), n2, terms*m2)})
	p.node("Reshape", values{p.x, p.ints(-1, int64(n1*terms), int64(m2))})
	p.node("MatMul", values{p.weight("Acat", math.Sqrt(2/float64(n1*terms)), m1, n1*terms), p.x})
	p.node("Reshape", values{p.x, p.ints(-1, int64(m1*m2))})
	p.node("Add", values{p.x, p.weight("b", 0, m1*m2)})
}

func (p *perceptron) relu() { p.node("Relu", values{p.x}) }

func (p *perceptron) model() *graph.Model {
	p.g.AddOutput(p.x)
	m := &graph.Model{Graph: p.g, IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}}
	if err := m.Check(); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// mnistNet is 784-1024-1024-10 with dense layers (0 terms), or the two large
// ones in so many terms.
func mnistNet(t testing.TB, terms int) *graph.Model {
	p := newPerceptron(t, 784)
	if terms == 0 {
		p.dense(784, 1024)
		p.relu()
		p.dense(1024, 1024)
	} else {
		p.bilinear(28, 28, 32, 32, terms)
		p.relu()
		p.bilinear(32, 32, 32, 32, terms)
	}
	p.relu()
	p.dense(1024, 10)
	return p.model()
}

// A training is what a step of AdamW takes, all memory in place.
type training struct {
	program *Program
	pool    *kernel.Pool
	params  values
	output  *graph.Value
	m, s    [][]float32
	steps   int
	in, out []tensor.Value
	labels  []byte
	loss    float64

	updateFn func(i, at int, g *tensor.Tensor) error // update, bound once
}

func newTraining(t testing.TB, m *graph.Model, rows, inputs, classes, threads int) *training {
	tr := &training{pool: kernel.NewPool(threads), output: m.Graph.Outputs[0], labels: make([]byte, rows)}
	for _, v := range m.Graph.Consts() {
		if d := v.Init(); d.DType() == tensor.Float32 && d.Len() > 1 {
			tr.params = append(tr.params, v)
			tr.m, tr.s = append(tr.m, make([]float32, d.Len())), append(tr.s, make([]float32, d.Len()))
		}
	}
	tr.updateFn = tr.update
	tr.program = program(t, m, Options{Wrt: tr.params, Pool: tr.pool})
	r := rand.New(rand.NewPCG(3, 4))
	x := tensor.New(tensor.Float32, rows, inputs)
	for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
		v[i] = r.Float32()
	}
	for i := range tr.labels {
		tr.labels[i] = byte(r.IntN(classes))
	}
	tr.in, tr.out = asValues([]*tensor.Tensor{x}), asValues([]*tensor.Tensor{tensor.New(tensor.Float32, rows, classes)})
	return tr
}

// step is forward, cross-entropy, backward and AdamW.
func (tr *training) step() error {
	s, err := tr.program.Forward(context.Background(), tr.in)
	if err != nil {
		return err
	}
	tr.loss = softmaxLoss(tensor.Data[float32](tr.out[0].Tensor), tensor.Data[float32](s.Value(tr.output).Tensor), tr.labels)
	tr.steps++
	err = s.BackwardEach(context.Background(), tr.out, tr.updateFn)
	s.Release()
	return err
}

func (tr *training) update(i, at int, g *tensor.Tensor) error {
	end := at + g.Len()
	kernel.Adam32(tr.pool, tensor.Data[float32](tr.params[i].Init())[at:end], tensor.Data[float32](g), tr.m[i][at:end], tr.s[i][at:end],
		kernel.AdamStep{Rate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, Decoupled: true, Step: tr.steps, Scale: 1})
	return nil
}

// softmaxLoss is the mean cross-entropy of rows of logits y, dy its gradient.
func softmaxLoss(dy, y []float32, labels []byte) float64 {
	n, loss := len(y)/len(labels), 0.0
	for i, label := range labels {
		row, d := y[i*n:(i+1)*n], dy[i*n:(i+1)*n]
		most, sum := row[0], 0.0
		for _, v := range row {
			most = max(most, v)
		}
		for j, v := range row {
			e := math.Exp(float64(v - most))
			d[j] = float32(e)
			sum += e
		}
		loss += math.Log(sum) - float64(row[label]-most)
		scale := float32(1 / (sum * float64(len(labels))))
		for j := range d {
			d[j] *= scale
		}
		d[label] -= 1 / float32(len(labels))
	}
	return loss / float64(len(labels))
}

// Steps make the loss fall, and allocate nothing once the first is done.
func TestTrainingAllocatesNothing(t *testing.T) {
	for _, terms := range []int{0, 1, 4} {
		t.Run(fmt.Sprint(terms, " terms"), func(t *testing.T) {
			tr := newTraining(t, mnistNet(t, terms), 16, 784, 10, 1)
			step := func() {
				if err := tr.step(); err != nil {
					t.Fatal(err)
				}
			}
			step()
			first := tr.loss
			// Below one: the garbage collector may take a kernel's scratch memory once.
			if n := testing.AllocsPerRun(20, step); n >= 1 && !raceEnabled {
				t.Errorf("%v allocations a step", n)
			}
			if !(tr.loss < first/2) {
				t.Errorf("loss went from %v to %v", first, tr.loss)
			}
		})
	}
}

// 20 million parameters train within 1.5 GB, weights, gradients and both means of
// AdamW included.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("20 million parameters")
	}
	p := newPerceptron(t, 784)
	p.dense(784, 4096)
	p.relu()
	p.dense(4096, 4096)
	p.relu()
	p.dense(4096, 10)
	tr := newTraining(t, p.model(), 128, 784, 10, 2)
	for range 3 {
		if err := tr.step(); err != nil {
			t.Fatal(err)
		}
	}
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	t.Logf("%d MB from the system", m.Sys>>20)
	if m.Sys > 3<<29 {
		t.Errorf("%d MB from the system, wanted at most 1536", m.Sys>>20)
	}
}

// BenchmarkTraining is a step of AdamW on a batch of 128, loss included; its samples/s are
// those of the median step, as PyTorch's are in testdata/bench-training.py, which runs the
// two in turns.
func BenchmarkTraining(b *testing.B) {
	for _, terms := range []int{0, 1, 4} {
		name := "dense"
		if terms > 0 {
			name = fmt.Sprint("bilinear", terms)
		}
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", name, threads), func(b *testing.B) {
				tr := newTraining(b, mnistNet(b, terms), 128, 784, 10, threads)
				b.ReportAllocs()
				step := func() {
					if err := tr.step(); err != nil {
						b.Fatal(err)
					}
				}
				for range 5 { // as PyTorch's are
					step()
				}
				times := make([]time.Duration, 0, 1<<16)
				for b.Loop() {
					start := time.Now()
					step()
					if len(times) < cap(times) {
						times = append(times, time.Since(start))
					}
				}
				slices.Sort(times)
				b.ReportMetric(128/times[len(times)/2].Seconds(), "samples/s")
			})
		}
	}
}
