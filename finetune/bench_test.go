package finetune

import (
	"context"
	"testing"

	"bilinc/convert/dataset"
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
	net, x := newNet(t, 0, in)
	h := net.node("Relu", values{net.dense("fc1", x, in, hidden)})
	h = net.node("Relu", values{net.dense("fc2", h, hidden, hidden)})
	m := net.done(net.dense("fc3", h, hidden, 10))
	data := &reused{rows: blobs(n, in, 10, 1)}
	k, err := New(m, nil, data, Options{Epochs: 1 << 20, Batch: batch, Pool: kernel.NewPool(1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	return stepper{k}
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
	each := len(d.rows.x.Bytes()) / d.Units()
	for k, u := range units {
		copy(d.x.Bytes()[k*each:(k+1)*each], d.rows.x.Bytes()[u*each:])
		tensor.Data[int64](d.labels)[k] = tensor.Data[int64](d.rows.labels)[u]
	}
	return nil
}
