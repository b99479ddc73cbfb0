package finetune

import (
	"context"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// BenchmarkStep is whole steps of training, the choice of rows and the update
// included, on one thread: 784-1024-1024-10, 128 rows, AdamW.
func BenchmarkStep(b *testing.B) {
	k := stepTrainer(b, 784, 1024, 2048, 128)
	b.ReportAllocs()
	for b.Loop() {
		if err := k.oneStep(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(128*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}

// stepper makes steps for as long as it is asked to.
type stepper struct{ *Trainer }

func (s stepper) oneStep() error {
	if s.Pos == s.perEpoch {
		s.Epoch++
		s.Pos = 0
	}
	return s.step(context.Background())
}

func stepTrainer(t testing.TB, in, hidden, n, batch int) stepper {
	return newStepper(t, in, hidden, nil, blobs(n, in, 10, 1), Options{Batch: batch})
}

// newStepper trains a net in-hidden-hidden-10, perhaps with one of other weights as
// the teacher.
func newStepper(t testing.TB, in, hidden int, teacher *graph.Model, data *rows, o Options) stepper {
	o.Epochs, o.Pool = 1<<20, kernel.NewPool(1)
	k, err := New(perceptron(t, in, hidden), teacher, &reused{rows: data}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	return stepper{k}
}

func perceptron(t testing.TB, in, hidden int) *graph.Model {
	net, x := newNet(t, 0, in)
	h := net.node("Relu", values{net.dense("fc1", x, in, hidden)})
	h = net.node("Relu", values{net.dense("fc2", h, hidden, hidden)})
	return net.done(net.dense("fc3", h, hidden, 10))
}

// reused is rows that are picked into the same memory again.
type reused struct {
	*rows
	x, labels *tensor.Tensor
}

func (d *reused) Pick(units []int, b *dataset.Batch) error {
	if d.x == nil || d.x.Shape()[0] != len(units) {
		if err := d.rows.Pick(units, b); err != nil {
			return err
		}
		d.x, d.labels = b.Inputs[0], b.Labels
		return nil
	}
	b.First, b.Rows, b.Padded = units[0], len(units), len(units)
	b.Inputs, b.Labels = append(b.Inputs[:0], d.x), d.labels
	for _, c := range [][2]*tensor.Tensor{{d.x, d.rows.x}, {d.labels, d.rows.labels}} {
		if c[0] == nil {
			continue
		}
		each := len(c[1].Bytes()) / d.Units()
		for k, u := range units {
			copy(c[0].Bytes()[k*each:(k+1)*each], c[1].Bytes()[u*each:])
		}
	}
	return nil
}
