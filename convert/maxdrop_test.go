package convert

import (
	"context"
	"errors"
	"math"
	"testing"

	"bilinc/runtime/graph"
)

// With the share of parameters that is left as the metric, the largest drop is
// a ratio.
func TestWithinDrop(t *testing.T) {
	ctx := context.Background()
	m := mlp(t, 48, 64, 64, 4)
	before := float64(Params(m))
	metric := func(_ context.Context, small *graph.Model) (float64, error) {
		return float64(Params(small)) / before, nil
	}
	for _, data := range []bool{false, true} {
		o := Options{}
		if data {
			o.Calibration = calibrated(t, m, correlated(400, 48, 1), 1)
		}
		for _, ratio := range []float64{1.5, 4, 7} {
			p, err := NewPlanWithin(ctx, m, o, 1-1/ratio, metric)
			if err != nil {
				t.Fatal(err)
			}
			small, _ := mustApplyWith(t, m, p, ApplyOptions{Calibration: o.Calibration})
			got := before / float64(Params(small))
			if got > ratio*(1+1e-12) || got < 0.85*ratio {
				t.Errorf("data %v: ratio %g, wanted nearly %g", data, got, ratio)
			}
			if math.Abs(p.Options.MaxDrop-(1-1/ratio)) > 1e-15 || p.ParamsAfter != Params(small) {
				t.Errorf("data %v: the plan says %+v, %d parameters", data, p.Options, p.ParamsAfter)
			}
		}
		p, err := NewPlanWithin(ctx, m, o, 0, metric)
		if err != nil || p.Changes() {
			t.Errorf("data %v: no drop: changes %v, error %v", data, p.Changes(), err)
		}
		failed := errors.New("no")
		if _, err := NewPlanWithin(ctx, m, o, 0.1, func(context.Context, *graph.Model) (float64, error) { return 0, failed }); !errors.Is(err, failed) {
			t.Errorf("error %v", err)
		}
	}
	// A metric that never falls is followed to the smallest plan.
	p, err := NewPlanWithin(ctx, m, Options{Structure: LowRank}, 0, func(context.Context, *graph.Model) (float64, error) { return 1, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range p.Layers {
		if l.Action == ActLowRank && l.Terms > 2 {
			t.Errorf("layer %q keeps rank %d", l.Name, l.Terms)
		}
	}
	for _, o := range []Options{{Ratio: 2}, {TargetParams: 5}, {TargetSize: 5}, {NumTerms: 2}, {ForTraining: true}} {
		if _, err := NewPlanWithin(ctx, m, o, 0.1, metric); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: error %v", o, err)
		}
	}
	if _, err := NewPlanWithin(ctx, m, Options{}, math.NaN(), metric); !errors.Is(err, ErrOptions) {
		t.Errorf("a drop of NaN: error %v", err)
	}
}
