package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
)

// The candidate that the trial likes best is the plan, with and without data,
// and each one is of the budget.
func TestTrialDecides(t *testing.T) {
	ctx := context.Background()
	m := mlp(t, 24, 32, 32, 4)
	for _, data := range []bool{false, true} {
		o := Options{Ratio: 3, Structure: Auto}
		if data {
			o.Calibration = calibrated(t, m, correlated(400, 24, 1), 1)
		}
		for wanted := range 4 {
			calls := 0
			seen := map[string]bool{}
			var liked []byte
			o.Trial = func(_ context.Context, small *graph.Model) (float64, error) {
				b, err := onnx.Encode(small)
				if err != nil || seen[string(b)] {
					t.Errorf("data %v: candidate %d was there before, error %v", data, calls, err)
				}
				seen[string(b)] = true
				if 3*Params(small) > Params(m) {
					t.Errorf("data %v: candidate %d has %d parameters of %d", data, calls, Params(small), Params(m))
				}
				score := math.Abs(float64(calls - wanted))
				if calls == wanted {
					liked = b
				}
				calls++
				return score, nil
			}
			p, err := NewPlan(ctx, m, o)
			if err != nil {
				t.Fatal(err)
			}
			if calls < 5 {
				t.Errorf("data %v: %d candidates", data, calls)
			}
			if !p.Options.ForTraining || p.Options.Trial != nil {
				t.Errorf("data %v: the plan's options are %+v", data, p.Options)
			}
			small, _ := mustApplyWith(t, m, p, ApplyOptions{Calibration: o.Calibration})
			got, err := onnx.Encode(small)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, liked) {
				t.Errorf("data %v: the plan does not give candidate %d back", data, wanted)
			}
		}
		failed := errors.New("no")
		o.Trial = func(context.Context, *graph.Model) (float64, error) { return 0, failed }
		if _, err := NewPlan(ctx, m, o); !errors.Is(err, failed) {
			t.Errorf("data %v: error %v", data, err)
		}
	}
}

func mustApplyWith(t testing.TB, m *graph.Model, p *Plan, o ApplyOptions) (*graph.Model, *Report) {
	t.Helper()
	small, r, err := Apply(context.Background(), m, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return small, r
}

// Without a trial the rank that the budget leaves decides, within what the
// options ask for.
func TestForTrainingByRank(t *testing.T) {
	m := mlp(t, 256, 256, 256)
	for _, c := range []struct {
		o      Options
		action Action
		start  Start
	}{
		{Options{Ratio: 2}, ActLowRank, Fitted},
		{Options{Ratio: 6}, ActLowRank, Fitted},  // rank 21
		{Options{Ratio: 7}, ActBilinear, Random}, // rank 18
		{Options{Ratio: 50}, ActBilinear, Random},
		{Options{Ratio: 50, Start: Fitted}, ActBilinear, Fitted},
		{Options{Ratio: 2, Start: Random}, ActLowRank, Random},
		{Options{Ratio: 2, Structure: Terms}, ActBilinear, Random},
		{Options{Structure: Bilinear}, ActBilinear, Random},
	} {
		c.o.ForTraining = true
		p := mustPlan(t, m, c.o)
		for _, l := range p.Layers {
			if l.Action != ActDense && (l.Action != c.action || l.Start != c.start) {
				t.Errorf("%+v: layer %q is %s, %s; wanted %s, %s", c.o, l.Name, l.Action, l.Start, c.action, c.start)
			}
		}
		if !p.Changes() {
			t.Errorf("%+v: nothing changes", c.o)
		}
	}
	if _, err := NewPlan(context.Background(), m, Options{Ratio: 2, Start: "warm"}); !errors.Is(err, ErrOptions) {
		t.Errorf("an unknown start: error %v", err)
	}
}

// A random start draws factors of the layer's size, the same ones each time,
// and says so in the report.
func TestRandomStart(t *testing.T) {
	m := mlp(t, 64, 64, 8)
	o := Options{Ratio: 2, Start: Random, ForTraining: true, Seed: 3}
	p := mustPlan(t, m, o)
	small, r := mustApply(t, m, p)
	again, _ := mustApply(t, m, p)
	a, _ := onnx.Encode(small)
	b, _ := onnx.Encode(again)
	if !bytes.Equal(a, b) {
		t.Error("the draws differ")
	}
	if r.Layers[0].Start != Random || !(r.Layers[0].Error > 0.5) {
		t.Errorf("the report says %+v", r.Layers[0])
	}
	p.Layers[0].Start = Fitted
	fitted, rf := mustApply(t, m, p)
	if c, _ := onnx.Encode(fitted); bytes.Equal(a, c) || rf.Layers[0].Error >= r.Layers[0].Error {
		t.Errorf("fitted error %g, random %g", rf.Layers[0].Error, r.Layers[0].Error)
	}
	p.Layers[0].Start = "warm"
	if _, _, err := Apply(context.Background(), m, p, ApplyOptions{}); !errors.Is(err, ErrPlan) {
		t.Errorf("an unknown start: error %v", err)
	}
}

// The metadata says that factors are draws, until they have been trained.
func TestStartIsRecorded(t *testing.T) {
	m := mlp(t, 64, 64, 8)
	for _, start := range []Start{Random, Fitted} {
		small, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: 2, Start: start, ForTraining: true}))
		want := start
		if start == Fitted {
			want = ""
		}
		for range 2 {
			layers, err := ReadLayers(small)
			if err != nil || len(layers) == 0 {
				t.Fatalf("%s: layers %v, error %v", start, layers, err)
			}
			for _, l := range layers {
				if l.Start != want {
					t.Errorf("layer %q of a %s start has %q, wanted %q", l.Name, start, l.Start, want)
				}
			}
			if err := Trained(small); err != nil {
				t.Fatal(err)
			}
			want = ""
		}
	}
	if err := Trained(m); err != nil {
		t.Errorf("a model without factors: %v", err)
	}
}
