package convert

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
)

// Of the plans of a fitted start the one that learns best is the plan, whichever
// it is; each is of the budget, none there twice, and the first layer gets more
// of it from one to the next.
func TestLearnDecides(t *testing.T) {
	ctx := context.Background()
	m := mlp(t, 200, 200, 200, 200)
	c := calibrated(t, m, correlated(400, 200, 1), 1)
	o := Options{Ratio: 4, ForTraining: true, Calibration: c}
	count := 1
	for wanted := 0; wanted < count; wanted++ {
		var tried [][]byte
		terms := 0
		o.Learn = func(_ context.Context, small *graph.Model) (float64, error) {
			b, err := onnx.Encode(small)
			if err != nil || 4*Params(small) > Params(m) {
				t.Errorf("%d parameters of %d, error %v", Params(small), Params(m), err)
			}
			for _, other := range tried {
				if bytes.Equal(b, other) {
					t.Errorf("candidate %d was there before", len(tried))
				}
			}
			tried = append(tried, b)
			layers, err := ReadLayers(small)
			if err != nil || len(layers) == 0 {
				t.Errorf("candidate %d: layers %+v, error %v", len(tried), layers, err)
				return 0, nil
			}
			if layers[0].Name != "n_h0" || layers[0].Terms < terms {
				t.Errorf("the first layer of candidate %d has %d terms, that before %d: %+v", len(tried), layers[0].Terms, terms, layers)
			}
			terms = layers[0].Terms
			if len(tried)-1 == wanted {
				return 1, nil
			}
			return 2, nil
		}
		p, err := NewPlan(ctx, m, o)
		if err != nil {
			t.Fatal(err)
		}
		if count = len(tried); count < 2 {
			t.Fatalf("%d candidates", count)
		}
		c.setTrial(true)
		small, err := (&planner{model: m, opts: o}).fitted(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := onnx.Encode(small); err != nil || !bytes.Equal(got, tried[wanted]) {
			t.Errorf("the plan does not give candidate %d, error %v", wanted, err)
		}
		if p.Options.Learn != nil || !p.Options.ForTraining {
			t.Errorf("the plan's options are %+v", p.Options)
		}
	}
	failed := errors.New("no")
	o.Learn = func(context.Context, *graph.Model) (float64, error) { return 0, failed }
	if _, err := NewPlan(ctx, m, o); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}
