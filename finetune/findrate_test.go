package finetune

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// near is a copy of m whose constants are off by a part of themselves.
func near(m *graph.Model, part float64) *graph.Model {
	c := m.Clone()
	r := rand.New(rand.NewPCG(3, 4))
	for _, v := range c.Graph.Consts() {
		x := v.Init().Clone()
		for i, w := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = w * float32(1+part*r.NormFloat64())
		}
		v.SetConst(x)
	}
	return c
}

// A start that is as close to its teacher as it can come is trained in smaller
// steps than one that is far from it; the trials leave nothing behind.
func TestRateOfAFittedStart(t *testing.T) {
	d := blobs(600, 8, 4, 1)
	teacher, _ := train(t, mlp(t, 0, 8, 64, 4), nil, d, Options{Epochs: 10, Batch: 32, LR: 0.01})
	bare := &rows{x: d.x}
	close, _ := train(t, mlp(t, 0, 8, 3, 4), teacher, bare, Options{Epochs: 100, Batch: 32, LR: 0.01, Mix: -1})
	o := Options{Epochs: 10, Batch: 2, Rule: SGD, Mix: -1}
	for _, c := range []struct {
		what  string
		start *graph.Model
		full  bool // the default rate is the best
	}{{"close", close, false}, {"far", near(close, 1), true}} {
		k, err := New(c.start, teacher, bare, o)
		if err != nil {
			t.Fatal(err)
		}
		out, h, err := k.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if full := k.LR == k.o.LR; full != c.full || *h.BestLoss >= *h.StartLoss {
			t.Errorf("%s: rate %g, by default %g; loss %g after %g", c.what, k.LR, k.o.LR, *h.BestLoss, *h.StartLoss)
		}
		asked := o
		asked.LR = k.LR
		same, again := train(t, c.start, teacher, bare, asked)
		if constants(same) != constants(out) || *again.BestLoss != *h.BestLoss || again.BestEpoch != h.BestEpoch {
			t.Errorf("%s: the rate that was found gives something else when it is asked for", c.what)
		}
	}
}

// A run that goes on keeps the rate that was found.
func TestFoundRateIsResumed(t *testing.T) {
	d := blobs(300, 8, 4, 1)
	teacher, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 3, Batch: 32, LR: 0.01})
	bare, start := &rows{x: d.x}, near(teacher, 1e-3)
	o := Options{Epochs: 3, Batch: 32}
	whole, _ := train(t, start, teacher, bare, o)
	o.Checkpoint = Checkpoint{Dir: t.TempDir(), Resume: true}
	ctx, stop := context.WithCancelCause(context.Background())
	o.Progress = func(p Progress) {
		if p.Step == 12 {
			stop(errStop)
		}
	}
	k, err := New(start, teacher, bare, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Run(ctx); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	o.Progress = nil
	if out, _ := train(t, start, teacher, bare, o); constants(out) != constants(whole) {
		t.Error("the resumed run came to something else")
	}
}
