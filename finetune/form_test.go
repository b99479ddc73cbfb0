package finetune

import (
	"context"
	"errors"
	"math"
	"testing"

	"bilinc/finetune/grad"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// normed is 8 → 16 → 4 with a BatchNormalization and a Dropout, of the given
// opset.
func normed(t *testing.T, opset int64, ratio float32) *graph.Model {
	n, x := newNet(t, 0, 8)
	n.m.Opsets[0].Version = opset
	h := n.dense("fc1", x, 8, 16)
	ones := func(name string, v float32) *graph.Value {
		c := tensor.New(tensor.Float32, 16)
		fill(c, func() float64 { return float64(v) })
		return n.m.Graph.NewConst(name, c)
	}
	h = n.node("BatchNormalization", values{h, ones("scale", 1), ones("shift", 0), ones("mean", 0), ones("var", 1)})
	h = n.node("Relu", values{h})
	if opset < 12 {
		h = n.node("Dropout", values{h}, &graph.Attr{Name: "ratio", Type: graph.AttrFloat, F: ratio})
	} else {
		h = n.node("Dropout", values{h, n.scalar("ratio", ratio)})
	}
	return n.done(n.dense("fc2", h, 16, 4))
}

// In training a BatchNormalization goes by the batch, and its running
// statistics come to those of the data.
func TestRunningStatisticsFollowTheData(t *testing.T) {
	d := blobs(640, 8, 4, 0.7)
	for _, opset := range []int64{9, 13, 17} {
		for _, init := range []Init{Keep, Random} {
			m := normed(t, opset, 0.1)
			before := constants(m)
			out, h := train(t, m, nil, d, Options{Epochs: 10, Batch: 32, LR: 0.01, Init: init})
			if constants(m) != before {
				t.Error("the student has changed")
			}
			if *h.BestMetric < 0.9 {
				t.Errorf("opset %d: accuracy %.3f", opset, *h.BestMetric)
			}
			if len(out.Graph.Nodes()) != len(m.Graph.Nodes()) {
				t.Errorf("opset %d: %d nodes came out of %d", opset, len(out.Graph.Nodes()), len(m.Graph.Nodes()))
			}
			// The values before the norm, by the weights that came out.
			p, err := grad.New(out, grad.Options{Outputs: values{out.Graph.Nodes()[0].Outputs()[0]}})
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.Forward(context.Background(), []tensor.Value{tensor.ValueOf(d.x)})
			if err != nil {
				t.Fatal(err)
			}
			v := tensor.Data[float32](s.Outputs()[0].Tensor)
			mean, variance := tensor.Data[float32](out.Graph.Value("mean").Init()), tensor.Data[float32](out.Graph.Value("var").Init())
			for c := range 16 {
				sum, square := 0.0, 0.0
				for r := range 640 {
					x := float64(v[r*16+c])
					sum += x
					square += x * x
				}
				m := sum / 640
				sd := math.Sqrt(square/640 - m*m)
				if math.Abs(float64(mean[c])-m) > 0.2*sd || math.Abs(math.Sqrt(float64(variance[c]))-sd) > 0.2*sd {
					t.Errorf("opset %d, channel %d: running %g ± %g, of the data %g ± %g", opset, c, mean[c], math.Sqrt(float64(variance[c])), m, sd)
				}
			}
		}
	}
}

// Statistics stay where that is asked for, and where a run has too few rows.
func TestFrozenStatistics(t *testing.T) {
	d := blobs(200, 8, 4, 0.7)
	m := normed(t, 17, 0)
	for _, o := range []Options{{Frozen: true}, {Batch: leastBatch - 1}} {
		o.Epochs = 1
		out, _ := train(t, m, nil, d, o)
		for _, name := range []string{"mean", "var"} {
			if !tensor.Equal(out.Graph.Value(name).Init(), m.Graph.Value(name).Init()) {
				t.Errorf("%+v: the running %s changes", o, name)
			}
		}
		if tensor.Equal(out.Graph.Value("scale").Init(), m.Graph.Value("scale").Init()) {
			t.Error("the scale is not trained")
		}
	}
}

// A Dropout zeroes its share of the elements, scales the others, and is
// differentiated by the same mask.
func TestDropoutDrops(t *testing.T) {
	for _, opset := range []int64{7, 11, 13, 17} {
		n, x := newNet(t, 0, 1000)
		n.m.Opsets[0].Version = opset
		y := n.node("Relu", values{x})
		if opset < 12 {
			y = n.node("Dropout", values{y}, &graph.Attr{Name: "ratio", Type: graph.AttrFloat, F: 0.3})
		} else {
			y = n.node("Dropout", values{y, n.scalar("ratio", 0.3)})
		}
		m := n.done(y)
		f, _, err := trainingForm(m, true)
		if err != nil {
			t.Fatal(err)
		}
		p, err := grad.New(f, grad.Options{Wrt: values{f.Graph.Inputs[0]}})
		if err != nil {
			t.Fatal(err)
		}
		one := tensor.New(tensor.Float32, 4, 1000)
		fill(one, func() float64 { return 1 })
		var masks [2]string
		for run := range masks {
			s, err := p.Forward(context.Background(), []tensor.Value{tensor.ValueOf(one)})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Backward(context.Background(), []tensor.Value{tensor.ValueOf(one)}); err != nil {
				t.Fatal(err)
			}
			out := s.Outputs()[0].Tensor
			masks[run] = string(out.Bytes())
			dropped := 0
			for i, v := range tensor.Data[float32](out) {
				if g := tensor.Data[float32](s.Grad(f.Graph.Inputs[0]))[i]; g != v {
					t.Fatalf("element %d: %g, its gradient %g", i, v, g)
				}
				if v == 0 {
					dropped++
				} else if math.Abs(float64(v)-1/0.7) > 1e-6 {
					t.Fatalf("element %d is %g", i, v)
				}
			}
			if dropped < 1100 || dropped > 1300 { // 1200 ± 29
				t.Errorf("opset %d: %d of 4000 are dropped", opset, dropped)
			}
		}
		if masks[0] == masks[1] {
			t.Errorf("opset %d: two runs drop the same", opset)
		}
	}
	n, x := newNet(t, 0, 8)
	y := n.node("Dropout", values{n.dense("fc", x, 8, 4), n.scalar("ratio", 0)})
	if f, _, err := trainingForm(n.done(y), true); err != nil || len(f.Graph.Nodes()) != 2 {
		t.Errorf("a ratio of 0: %d nodes, %v", len(f.Graph.Nodes()), err)
	}
}

// Running statistics and the draws of a Dropout go on after an interruption.
func TestResumeOfNormsAndDropout(t *testing.T) {
	d := blobs(300, 8, 4, 0.7)
	m := normed(t, 17, 0.2)
	o := Options{Epochs: 2, Batch: 32}
	whole, _ := train(t, m, nil, d, o)
	for stop := 1; stop < 16; stop += 4 {
		o.Checkpoint = Checkpoint{Dir: t.TempDir(), Resume: true}
		ctx, cancel := context.WithCancelCause(context.Background())
		o.Progress = func(p Progress) {
			if p.Step == stop {
				cancel(errStop)
			}
		}
		for _, want := range []error{errStop, nil} {
			k, err := New(m, nil, d, o)
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := k.Run(ctx)
			if !errors.Is(err, want) {
				t.Fatalf("error %v, wanted %v", err, want)
			}
			if err == nil && constants(out) != constants(whole) {
				t.Errorf("interrupted after step %d, other constants come out", stop)
			}
			ctx, o.Progress = context.Background(), nil
		}
	}
}
