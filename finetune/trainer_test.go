package finetune

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/finetune/grad"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// train runs a training to its end.
func train(t *testing.T, m, teacher *graph.Model, d Data, o Options) (*graph.Model, *History) {
	t.Helper()
	k, err := New(m, teacher, d, o)
	if err != nil {
		t.Fatal(err)
	}
	out, h, err := k.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Check(); err != nil {
		t.Fatal(err)
	}
	return out, h
}

func TestTrainingLearns(t *testing.T) {
	d := blobs(600, 8, 4, 0.7)
	for name, o := range map[string]Options{
		"adamw":    {LR: 0.01},
		"adam":     {LR: 0.01, Rule: Adam, Decay: 1e-4, Schedule: Step},
		"sgd":      {LR: 0.1, Rule: SGD, Nesterov: true, Clip: 1, Warmup: 0.1},
		"constant": {LR: 0.01, Schedule: Constant, Average: 0.9, Smoothing: 0.1, Decay: 0.01},
		"random":   {LR: 0.01, Init: Random},
	} {
		o.Epochs, o.Batch = 8, 32
		_, h := train(t, mlp(t, 0, 8, 16, 4), nil, d, o)
		if *h.BestMetric < 0.9 || *h.BestMetric <= *h.StartMetric || h.Metric != "accuracy" || h.Loss != "ce" {
			t.Errorf("%s: from %.3f to %.3f of %s with loss %s", name, *h.StartMetric, *h.BestMetric, h.Metric, h.Loss)
		}
		if len(h.Epochs) != 8 || h.Train != 540 || h.Holdout != 60 || h.Params != 8*16+16+16*4+4 || h.SamplesPerSecond <= 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// The bits depend on the seed, not on the threads; the student stays as it is.
func TestBitsDependOnTheSeedAlone(t *testing.T) {
	d := blobs(300, 8, 4, 0.7)
	m := mlp(t, 0, 8, 16, 4)
	before := constants(m)
	run := func(threads int, seed uint64) string {
		out, _ := train(t, m, nil, d, Options{Epochs: 2, Batch: 32, Seed: seed, Pool: kernel.NewPool(threads)})
		return constants(out)
	}
	one := run(1, 0)
	if run(3, 0) != one {
		t.Error("the number of threads changes the result")
	}
	if run(1, 1) == one {
		t.Error("the seed changes nothing")
	}
	if constants(m) != before {
		t.Error("the student has changed")
	}
}

// What makes the model worse is not what comes out: then the start is.
func TestNeverWorse(t *testing.T) {
	d := blobs(400, 8, 4, 0.7)
	good, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 8, Batch: 32, LR: 0.01})
	for i := range tensor.Data[int64](d.labels) {
		if i%10 != 0 { // of these the hold-out has few: training goes astray
			tensor.Data[int64](d.labels)[i] = 0
		}
	}
	// The same, judged by labels that are right.
	right := blobs(400, 8, 4, 0.7)
	k, err := New(good, nil, right, Options{Epochs: 3, Batch: 32, LR: 3, Rule: SGD})
	if err != nil {
		t.Fatal(err)
	}
	k.data = &astray{d, right, k.held}
	out, h, err := k.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.Epochs {
		if *e.Metric > *h.StartMetric {
			t.Skipf("training on wrong labels made it better: %+v", h)
		}
	}
	if h.BestEpoch != 0 || *h.BestMetric != *h.StartMetric || constants(out) != constants(good) {
		t.Errorf("epoch %d came out: %.3f after %.3f", h.BestEpoch, *h.BestMetric, *h.StartMetric)
	}
}

// astray has wrong labels but for the units held out.
type astray struct {
	*rows
	right *rows
	held  []int
}

func (a *astray) Pick(units []int, b *dataset.Batch) error {
	for _, u := range a.held {
		if u == units[0] {
			return a.right.Pick(units, b)
		}
	}
	return a.rows.Pick(units, b)
}

// An interruption at any step, in the middle of an epoch or at its end, does
// not change the result.
func TestResumeIsBitForBit(t *testing.T) {
	d := blobs(300, 8, 4, 0.7)
	m := mlp(t, 0, 8, 16, 4)
	teacher, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 3, Batch: 32, LR: 0.01})
	for name, o := range map[string]Options{
		"adamw":      {},
		"average":    {Average: 0.9, Patience: 2, Warmup: 0.3},
		"sgd":        {Rule: SGD},
		"accumulate": {Accumulate: 2, Batch: 16},
		"random":     {Init: Random, Clip: 0.1},
	} {
		o.Epochs = 3
		if o.Batch == 0 {
			o.Batch = 32
		}
		whole, wh := train(t, m, teacher, d, o)
		stride := 1
		if testing.Short() {
			stride = 5
		}
		for stop := 0; stop < 28; stop += stride {
			o.Checkpoint = Checkpoint{Dir: filepath.Join(t.TempDir(), "k"), Resume: true}
			ctx, cancel := context.WithCancelCause(context.Background())
			calls := 0
			o.Progress = func(p Progress) {
				if p.Prepared == 0 {
					if calls == stop {
						cancel(errStop)
					}
					calls++
				}
			}
			k, err := New(m, teacher, d, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = k.Run(ctx); err == nil {
				break // it was over before
			} else if !errors.Is(err, errStop) {
				t.Fatal(err)
			}
			o.Progress = nil
			k, err = New(m, teacher, d, o)
			if err != nil {
				t.Fatal(err)
			}
			out, h, err := k.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if constants(out) != constants(whole) {
				t.Fatalf("%s: interrupted after report %d, other weights come out", name, stop)
			}
			if h.BestEpoch != wh.BestEpoch || len(h.Epochs) != len(wh.Epochs) || *h.BestLoss != *wh.BestLoss {
				t.Fatalf("%s: interrupted after report %d: %+v, wanted %+v", name, stop, h, wh)
			}
			for i, e := range h.Epochs {
				if e.TrainLoss != wh.Epochs[i].TrainLoss || *e.HoldoutLoss != *wh.Epochs[i].HoldoutLoss {
					t.Fatalf("%s: epoch %d differs", name, i)
				}
			}
		}
	}
}

var errStop = errors.New("stop")

func TestUnusableCheckpoints(t *testing.T) {
	d := blobs(100, 8, 4, 0.7)
	m := mlp(t, 0, 8, 16, 4)
	dir := t.TempDir()
	o := Options{Epochs: 2, Batch: 32, Checkpoint: Checkpoint{Dir: dir}}
	train(t, m, nil, d, o)
	o.Checkpoint.Resume = true
	file := filepath.Join(dir, CheckpointFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what, want string, bytes []byte, m *graph.Model, d *rows, o Options) {
		t.Helper()
		if err := os.WriteFile(file, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := New(m, nil, d, o)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = k.Run(context.Background())
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("as it was", "", good, m, d, o)
	flipped := append([]byte{}, good...)
	flipped[len(flipped)-100] ^= 1
	try("a bit flipped", "damaged", flipped, m, d, o)
	try("cut", "tensor", good[:len(good)/2], m, d, o)
	try("empty", "no checkpoint", nil, m, d, o)
	later := append([]byte{}, good...)
	later[len(checkpointMagic)] = checkpointVersion + 1
	try("a later version", "version 3, this program reads version 2", later, m, d, o)
	try("another model", "another model", good, mlp(t, 0, 8, 17, 4), d, o)
	try("other data", "other data", good, m, blobs(101, 8, 4, 0.7), o)
	o.Epochs = 3
	try("other options", "other options", good, m, d, o)
}

// A trainer without what it needs, and one that has run, are errors.
func TestMisuseIsAnError(t *testing.T) {
	m, d := mlp(t, 0, 8, 16, 4), blobs(40, 8, 4, 0.7)
	for _, err := range []error{
		func() error { _, err := New(nil, nil, d, Options{}); return err }(),
		func() error { _, err := New(m, nil, nil, Options{}); return err }(),
	} {
		if !errors.Is(err, ErrOptions) {
			t.Errorf("error %v", err)
		}
	}
	k, err := New(m, nil, d, Options{Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "has run") {
		t.Errorf("the second run: %v", err)
	}
}

// A step of several runs, or of rows that a fixed batch is padded with, is the
// step of one.
func TestStepsOfSeveralRuns(t *testing.T) {
	d := blobs(100, 8, 4, 0.7)
	whole, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 2, Batch: 32, Rule: SGD, Holdout: -1})
	check := func(what string, m *graph.Model, d *rows, o Options) {
		t.Helper()
		o.Epochs, o.Rule, o.Holdout = 2, SGD, -1
		out, _ := train(t, m, nil, d, o)
		for _, v := range out.Graph.Consts() {
			want := tensor.Data[float32](whole.Graph.Value(v.Name()).Init())
			for i, x := range tensor.Data[float32](v.Init()) {
				if math.Abs(float64(x-want[i])) > 1e-5 {
					t.Fatalf("%s: %s[%d] is %g, wanted %g", what, v.Name(), i, x, want[i])
				}
			}
		}
	}
	check("accumulated", mlp(t, 0, 8, 16, 4), d, Options{Batch: 16, Accumulate: 2})
	fixed := *d
	fixed.most = 10
	check("fixed batch", mlp(t, 10, 8, 16, 4), &fixed, Options{Batch: 32})
	fixed.most = 1
	check("one at a time", mlp(t, 1, 8, 16, 4), &fixed, Options{Batch: 32})
}

// A teacher alone: the copy comes to agree with it, and is judged by the loss.
func TestDistillation(t *testing.T) {
	d := blobs(600, 8, 4, 1)
	teacher, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 5, Batch: 32, LR: 0.01, Smoothing: -1})
	bare := &rows{x: d.x}
	for _, o := range []Options{{}, {Temperature: 3}, {Loss: "mse"}, {Loss: "kl+0.1*mse"}} {
		o.Epochs, o.Batch, o.LR, o.Init = 10, 32, 0.01, Random
		_, h := train(t, teacher, teacher, bare, o)
		if *h.BestMetric < 0.95 || h.Metric != "agreement" {
			t.Errorf("%s: %s %.3f after %.3f", h.Loss, h.Metric, *h.BestMetric, *h.StartMetric)
		}
	}
	// The teacher itself is the optimum, which nothing leaves.
	_, h := train(t, teacher, teacher, bare, Options{Epochs: 1, Batch: 32, Rule: SGD})
	if *h.StartLoss > 1e-9 || *h.StartMetric != 1 || h.Epochs[0].TrainLoss > 1e-9 {
		t.Errorf("of itself: %+v", h)
	}
	if _, h := train(t, teacher, teacher, d, Options{Epochs: 1}); h.Loss != "0.8*ce+0.2*kl" {
		t.Errorf("with both the loss is %s", h.Loss)
	}
}

// Values inside that are to agree do.
func TestMatchedValues(t *testing.T) {
	d := blobs(400, 8, 4, 1)
	teacher := mlp(t, 0, 8, 16, 4)
	bare := &rows{x: d.x}
	run := func(o Options) float64 {
		o.Epochs, o.Batch, o.LR, o.Init = 20, 32, 0.01, Random
		out, h := train(t, teacher, teacher, bare, o)
		if len(o.Matches) > 0 && h.Loss != "kl+match" {
			t.Errorf("the loss is %s", h.Loss)
		}
		hidden := teacher.Graph.Nodes()[0].Outputs()[0].Name()
		return distance(t, out, teacher, hidden, d.x)
	}
	hidden := teacher.Graph.Nodes()[0].Outputs()[0].Name()
	free, matched := run(Options{}), run(Options{Matches: []Match{{hidden, hidden}}})
	if matched > free/10 {
		t.Errorf("matched, the values differ by %g, else by %g", matched, free)
	}
}

// distance is the mean square difference of a value of two models.
func distance(t *testing.T, a, b *graph.Model, name string, x *tensor.Tensor) float64 {
	t.Helper()
	var out [2][]float64
	for i, m := range []*graph.Model{a, b} {
		p, err := grad.New(m, grad.Options{Outputs: values{m.Graph.Value(name)}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Forward(context.Background(), []tensor.Value{tensor.ValueOf(x)})
		if err != nil {
			t.Fatal(err)
		}
		if out[i], err = tensor.Float64s(s.Outputs()[0].Tensor); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0.0
	for i, v := range out[0] {
		sum += (v - out[1][i]) * (v - out[1][i])
	}
	return sum / float64(len(out[0]))
}

// Targets that are numbers: squares by their variance, judged by r².
func TestRegression(t *testing.T) {
	d := blobs(400, 8, 4, 1)
	y := make([]float32, 400*2)
	for i, x := range tensor.Data[float32](d.x) {
		if i%8 < 2 {
			y[i/8*2+i%8] = 100 * x
		}
	}
	d.labels = tensor.Of(y, 400, 2)
	_, h := train(t, mlp(t, 0, 8, 32, 2), nil, d, Options{Epochs: 30, Batch: 32, LR: 0.03})
	if h.Metric != "r2" || *h.BestMetric < 0.9 || *h.StartMetric > 0.2 || math.Abs(*h.BestLoss-(1-*h.BestMetric)) > 1e-9 {
		t.Errorf("%s from %.3f to %.3f, loss %g", h.Metric, *h.StartMetric, *h.BestMetric, *h.BestLoss)
	}
}

// A model that ends in a Softmax is trained by what that reads.
func TestSoftmaxIsLookedThrough(t *testing.T) {
	d := blobs(300, 8, 4, 0.7)
	plain, _ := train(t, mlp(t, 0, 8, 16, 4), nil, d, Options{Epochs: 2, Batch: 32})
	for _, op := range []string{"Softmax", "LogSoftmax"} {
		n, x := newNet(t, 0, 8)
		y := n.dense("fc2", n.node("Relu", values{n.dense("fc1", x, 8, 16)}), 16, 4)
		y.Type = graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(4))
		out, _ := train(t, n.done(n.node(op, values{y}, attrInt("axis", -1))), nil, d, Options{Epochs: 2, Batch: 32})
		if constants(out) != constants(plain) {
			t.Errorf("%s: other weights come out than without", op)
		}
	}
}

func TestDivergence(t *testing.T) {
	d := blobs(100, 8, 4, 0.7)
	run := func(m *graph.Model, o Options) *DivergedError {
		t.Helper()
		o.Epochs, o.Batch = 3, 32
		k, err := New(m, nil, d, o)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = k.Run(context.Background())
		var e *DivergedError
		if !errors.As(err, &e) {
			t.Fatalf("error %v", err)
		}
		return e
	}
	// Weights that grow without bound.
	if e := run(mlp(t, 0, 8, 16, 4), Options{LR: 1e30, Rule: SGD}); e.Step < 1 || e.Node == "" {
		t.Errorf("%v", e)
	}
	if e := run(mlp(t, 0, 8, 16, 4), Options{LR: 1e4, Rule: SGD}); !e.Finite || !strings.Contains(e.Error(), "grows without bound") || e.Node == "" {
		t.Errorf("%v", e)
	}
	// A logarithm of what is not positive, before training.
	n, x := newNet(t, 0, 8)
	m := n.done(n.dense("fc", n.node("Log", values{n.dense("fc1", x, 8, 8)}), 8, 4))
	if e := run(m, Options{}); !strings.Contains(e.Node, "Log") || e.Backward {
		t.Errorf("%v", e)
	}
	// A root whose derivative at 0 is infinite.
	n, x = newNet(t, 0, 8)
	zero := n.node("Mul", values{n.node("Relu", values{n.dense("fc1", x, 8, 8)}), n.scalar("zero", 0)})
	m = n.done(n.dense("fc", n.node("Sqrt", values{zero}), 8, 4))
	if e := run(m, Options{}); !e.Backward || !finite(e.Loss) || !strings.Contains(e.Error(), "gradient") {
		t.Errorf("%v", e)
	}
}

func TestWithoutGradient(t *testing.T) {
	n, x := newNet(t, 0, 8)
	h := n.node("Hardmax", values{n.dense("fc1", x, 8, 8)})
	m := n.done(n.dense("fc2", h, 8, 4))
	var e *grad.NotDifferentiableError
	if _, err := New(m, nil, blobs(100, 8, 4, 1), Options{}); !errors.As(err, &e) || len(e.Nodes) != 1 || e.Nodes[0].OpType != "Hardmax" {
		t.Errorf("error %v", err)
	}
	// What comes after it can be trained.
	train(t, m, nil, blobs(100, 8, 4, 1), Options{Epochs: 1, Train: func(w *Weight) bool { return strings.HasPrefix(w.Value.Name(), "fc2") }})
}

func TestHalfPrecisionIsUntrainable(t *testing.T) {
	n, x := newNet(t, 0, 8)
	half, err := tensor.FromFloat64s(tensor.Float16, make([]float64, 32), 8, 4)
	if err != nil {
		t.Fatal(err)
	}
	w := n.node("Cast", values{n.m.Graph.NewConst("w", half)}, attrInt("to", int64(tensor.Float32)))
	if _, err := New(n.done(n.node("MatMul", values{x, w})), nil, blobs(100, 8, 4, 1), Options{}); !errors.Is(err, ErrUntrainable) {
		t.Errorf("error %v", err)
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	d := blobs(100, 8, 4, 1)
	bare := &rows{x: d.x}
	m := mlp(t, 0, 8, 16, 4)
	for _, c := range []struct {
		o       Options
		d       *rows
		teacher *graph.Model
		want    string
	}{
		{Options{}, bare, nil, "neither labels nor a teacher"},
		{Options{Loss: "kl"}, d, nil, "kl needs a teacher"},
		{Options{Loss: "ce"}, bare, m, "ce needs labels"},
		{Options{Loss: "mse"}, d, nil, "mse needs"},
		{Options{Loss: "2*huber"}, d, nil, "wanted auto or a sum of ce, kl and mse"},
		{Options{Loss: "-1*ce"}, d, nil, "wanted auto or a sum"},
		{Options{Rule: "lion"}, d, nil, "optimizer"},
		{Options{Schedule: "linear"}, d, nil, "schedule"},
		{Options{Init: "zero"}, d, nil, "init"},
		{Options{Epochs: -1}, d, nil, "epochs"},
		{Options{LR: math.NaN()}, d, nil, "learning rate"},
		{Options{Holdout: 1}, d, nil, "holdout"},
		{Options{Holdout: 0.999}, d, nil, "leave nothing"},
		{Options{Momentum: 1}, d, nil, "momentum"},
		{Options{Checkpoint: Checkpoint{Resume: true}}, d, nil, "no checkpoint folder"},
		{Options{Matches: []Match{{"x", "x"}}}, d, nil, "needs a teacher"},
		{Options{Matches: []Match{{"y", "x"}}}, d, m, "no value"},
		{Options{Train: func(*Weight) bool { return false }}, d, nil, "no constant"},
	} {
		if _, err := New(m, c.teacher, c.d, c.o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v", c.want, err)
		}
	}
}

// An ended context ends the run with its cause, with nothing kept.
func TestInterruption(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	k, err := New(mlp(t, 0, 8, 16, 4), nil, blobs(100, 8, 4, 1), Options{Batch: 8, Progress: func(p Progress) {
		if p.Step == 3 {
			cancel(errStop)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Run(ctx); !errors.Is(err, errStop) {
		t.Errorf("error %v", err)
	}
}
