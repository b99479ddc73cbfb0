package grad

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// asPyTorch is how near float32 runs must come to PyTorch's: relative to a loss
// and to a gradient's norm, or a hundredth of that of all of a model's gradients
// where it is smaller (that of a convolution's bias before a batch norm is 0).
const asPyTorch = 1e-4

// A reference is testdata/reference.json, the figures of PyTorch.
type reference struct {
	Steps int
	SGD   struct {
		Momentum    float64
		WeightDecay float64 `json:"weight_decay"`
	}
	AdamW      adamOptions
	Models     map[string]referenceModel
	Optimisers struct {
		Start     []float32
		Gradients [][]float32
		Cases     []struct {
			Name    string
			Options struct {
				adamOptions
				Rate     float64 `json:"lr"`
				Momentum float64
				Nesterov bool
			}
			Weights []float32
		}
	}
}

type adamOptions struct {
	Betas       []float64
	Epsilon     float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"`
}

type referenceModel struct {
	File      string
	Batch     int
	Training  bool
	Loss      float64
	Gradients map[string]struct {
		Norm                 float64
		Samples, Projections []float64
	}
	Rates   map[string]float64
	Curves  map[string][]float64
	Running map[string][]float64
}

func readReference(t *testing.T) *reference {
	t.Helper()
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{}
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// idxElements is an IDX file without its header.
func idxElements(t testing.TB, name string, header int) []byte {
	t.Helper()
	f, err := os.Open("../../testdata/data/" + name + "-ubyte.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b[header:]
}

// A trainee is a model of the reference as it is trained.
type trainee struct {
	*referenceModel
	program *Program
	params  values
	running map[string]*graph.Value // by the name of a constant, what replaces it after a step
	consts  map[string]*graph.Value
	images  []byte
	labels  []byte
}

func newTrainee(t *testing.T, r referenceModel, pool *kernel.Pool) *trainee {
	t.Helper()
	m, err := onnx.Read("../../" + r.File)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trainee{referenceModel: &r, running: map[string]*graph.Value{}, consts: map[string]*graph.Value{},
		images: idxElements(t, "fashion-train-images-idx3", 16), labels: idxElements(t, "fashion-train-labels-idx1", 8)}
	var keep values
	if r.Training {
		keep = tr.train(t, m)
	}
	for _, v := range m.Graph.Consts() {
		if _, ok := r.Gradients[v.Name()]; ok {
			v.SetConst(v.Init().Clone())
			tr.params = append(tr.params, v)
		}
	}
	if len(tr.params) != len(r.Gradients) {
		t.Fatalf("found %d of %d parameters", len(tr.params), len(r.Gradients))
	}
	tr.program = program(t, m, Options{Wrt: tr.params, Keep: keep, Pool: pool})
	return tr
}

// train puts batch normalisations into training mode.
func (tr *trainee) train(t *testing.T, m *graph.Model) values {
	var keep values
	for _, n := range m.Graph.Nodes() {
		if n.OpType != "BatchNormalization" {
			continue
		}
		outs := values{n.Outputs()[0]}
		for _, i := range []int{3, 4} {
			v, err := m.Graph.NewValue(m.Graph.FreshName("running"), graph.Type{})
			if err != nil {
				t.Fatal(err)
			}
			outs = append(outs, v)
			keep = append(keep, v)
			tr.running[n.Input(i).Name()] = v
			tr.consts[n.Input(i).Name()] = n.Input(i)
			n.Input(i).SetConst(n.Input(i).Init().Clone())
		}
		in, attrs := n.Inputs(), append(n.Attrs, attrInt("training_mode", 1))
		name := n.Name
		uses := outs[0].Uses()
		replacement, err := m.Graph.NewValue(m.Graph.FreshName("normalised"), graph.Type{})
		if err != nil {
			t.Fatal(err)
		}
		outs[0] = replacement
		k, err := m.Graph.NewNode(n.Domain, n.OpType, name, in, outs, attrs...)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range append([]graph.Use{}, uses...) {
			u.Node.SetInput(u.Input, replacement)
		}
		m.Graph.Append(k)
	}
	return keep
}

// step is the loss of the i-th batch and its gradients.
func (tr *trainee) step(t *testing.T, i int) (float64, *State) {
	t.Helper()
	x := tensor.New(tensor.Float32, tr.Batch, 784)
	for k, v := range tr.images[i*tr.Batch*784 : (i+1)*tr.Batch*784] {
		tensor.Data[float32](x)[k] = float32(v) / 255
	}
	s := forward(t, tr.program, x)
	y := s.Outputs()[0].Tensor
	loss, dy := crossEntropy(y, tr.labels[i*tr.Batch:(i+1)*tr.Batch])
	if err := s.Backward(context.Background(), asValues([]*tensor.Tensor{dy})); err != nil {
		t.Fatal(err)
	}
	return loss, s
}

// crossEntropy is the mean over the rows of logits, and its gradient.
func crossEntropy(y *tensor.Tensor, labels []byte) (float64, *tensor.Tensor) {
	rows, n := y.Shape()[0], y.Shape()[1]
	dy := tensor.New(tensor.Float32, rows, n)
	loss := 0.0
	for i, label := range labels {
		row, d := tensor.Data[float32](y)[i*n:(i+1)*n], tensor.Data[float32](dy)[i*n:(i+1)*n]
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		loss += math.Log(sum) - float64(row[label])
		for j, v := range row {
			d[j] = float32(math.Exp(float64(v)) / sum / float64(rows))
		}
		d[label] -= 1 / float32(rows)
	}
	return loss / float64(rows), dy
}

// sign is the i-th sign of vector k, as make-reference.py has it.
func sign(i, k int) float64 {
	h := uint64(i)*0x9e3779b97f4a7c15 + uint64(k)*0xbf58476d1ce4e5b9
	h = (h ^ h>>29) * 0x94d049bb133111eb
	return 1 - 2*float64(h>>63)
}

func TestPyTorchGradients(t *testing.T) {
	for name, r := range readReference(t).Models {
		t.Run(name, func(t *testing.T) {
			tr := newTrainee(t, r, kernel.NewPool(2))
			loss, s := tr.step(t, 0)
			if math.Abs(loss-r.Loss) > asPyTorch*r.Loss {
				t.Errorf("loss %v, wanted %v", loss, r.Loss)
			}
			least := 0.0
			for _, g := range r.Gradients {
				least = math.Hypot(least, g.Norm/100)
			}
			for _, v := range tr.params {
				want, g := r.Gradients[v.Name()], tensor.Data[float32](s.Grad(v))
				scale := max(want.Norm, least)
				check := func(what string, got, want float64) {
					if !(math.Abs(got-want) <= asPyTorch*scale) {
						t.Errorf("gradient of %s: %s is %v, wanted %v", v.Name(), what, got, want)
					}
				}
				squares := 0.0
				for _, e := range g {
					squares += float64(e) * float64(e)
				}
				check("the norm", math.Sqrt(squares), want.Norm)
				for i, w := range want.Samples {
					check("a sample", float64(g[i*(len(g)-1)/max(1, len(want.Samples)-1)]), w)
				}
				for k, w := range want.Projections {
					p := 0.0
					for i, e := range g {
						p += float64(e) * sign(i, k)
					}
					check("a projection", p, w)
				}
			}
		})
	}
}

func TestPyTorchCurves(t *testing.T) {
	ref := readReference(t)
	for name, r := range ref.Models {
		for optimiser, want := range r.Curves {
			t.Run(name+"/"+optimiser, func(t *testing.T) {
				if testing.Short() && strings.Contains(name, "vit") {
					t.Skip("40 steps of a transformer")
				}
				// Whole batches and cut ones, whichever way sizes decide: none owes it to luck that it agrees.
				for _, parts := range []int{1, 2, 4, 8} {
					if !compareCurve(t, ref, r, optimiser, want, parts) {
						break
					}
				}
			})
		}
	}
}

// compareCurve trains as PyTorch did, with batches in so many parts, and tells whether there are other ways.
func compareCurve(t *testing.T, ref *reference, r referenceModel, optimiser string, want []float64, parts int) (more bool) {
	t.Helper()
	p := kernel.NewPool(2)
	tr := newTrainee(t, r, p)
	more = tr.program.rows != nil
	if more {
		inParts(t, tr.program, parts)
	}
	first, second := make([][]float32, len(tr.params)), make([][]float32, len(tr.params))
	for i, v := range tr.params {
		first[i], second[i] = make([]float32, v.Init().Len()), make([]float32, v.Init().Len())
	}
	for step := range ref.Steps {
		loss, s := tr.step(t, step)
		if !(math.Abs(loss-want[step]) <= asPyTorch*want[step]) {
			t.Fatalf("%d parts, step %d: loss %v, wanted %v", parts, step, loss, want[step])
		}
		for i, v := range tr.params {
			w, g := tensor.Data[float32](v.Init()), tensor.Data[float32](s.Grad(v))
			if optimiser == "sgd" {
				kernel.SGD32(p, w, g, first[i], kernel.SGDStep{Rate: r.Rates["sgd"], Momentum: ref.SGD.Momentum,
					Nesterov: true, WeightDecay: ref.SGD.WeightDecay, Scale: 1})
			} else {
				kernel.Adam32(p, w, g, first[i], second[i], adam(ref.AdamW, r.Rates["adamw"], step+1, true))
			}
		}
		for name, v := range tr.running {
			copy(tensor.Data[float32](tr.consts[name].Init()), tensor.Data[float32](s.Value(v).Tensor))
		}
		s.Release()
	}
	return more
}

func adam(o adamOptions, rate float64, step int, decoupled bool) kernel.AdamStep {
	return kernel.AdamStep{Rate: rate, Beta1: o.Betas[0], Beta2: o.Betas[1], Epsilon: o.Epsilon, WeightDecay: o.WeightDecay,
		Decoupled: decoupled, Step: step, Scale: 1}
}

// Each optimiser by itself, its options away from the usual ones.
func TestPyTorchOptimisers(t *testing.T) {
	ref := readReference(t).Optimisers
	for _, c := range ref.Cases {
		w := append([]float32{}, ref.Start...)
		m, v := make([]float32, len(w)), make([]float32, len(w))
		o := c.Options
		if o.Betas == nil {
			o.Betas = []float64{0.9, 0.999}
		}
		if o.Epsilon == 0 {
			o.Epsilon = 1e-8
		}
		for i, g := range ref.Gradients {
			if strings.HasPrefix(c.Name, "adam") {
				kernel.Adam32(nil, w, g, m, v, adam(o.adamOptions, o.Rate, i+1, c.Name == "adamw"))
			} else {
				kernel.SGD32(nil, w, g, m, kernel.SGDStep{Rate: o.Rate, Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: o.WeightDecay, Scale: 1})
			}
		}
		for i, want := range c.Weights {
			if math.Abs(float64(w[i]-want)) > 1e-6*max(1, math.Abs(float64(want))) {
				t.Errorf("%s %+v: weight %d is %v, wanted %v", c.Name, c.Options, i, w[i], want)
			}
		}
	}
}
