package convert

import (
	"errors"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
)

// What a program forgets is an error that says so, not a panic.
func TestMisuseIsAnError(t *testing.T) {
	ctx, m, other := t.Context(), mlp(t, 8, 16, 4), mlp(t, 8, 16, 4)
	p := mustPlan(t, m, Options{Ratio: 2})
	c := calibrated(t, m, correlated(60, 8, 1), 1)
	data, err := dataset.Random(m, 4, 4, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func() error{
		"plan: has no graph":           func() error { _, err := NewPlan(ctx, nil, Options{Ratio: 2}); return err },
		"plan empty: has no graph":     func() error { _, err := NewPlan(ctx, &graph.Model{}, Options{Ratio: 2}); return err },
		"metric: no metric":            func() error { _, err := NewPlanWithin(ctx, m, Options{}, 0.1, nil); return err },
		"calibration: another model":   func() error { _, err := NewPlan(ctx, other, Options{Ratio: 2, Calibration: c}); return err },
		"apply: there is none":         func() error { _, _, err := Apply(ctx, m, nil, ApplyOptions{}); return err },
		"apply nil: has no graph":      func() error { _, _, err := Apply(ctx, nil, p, ApplyOptions{}); return err },
		"apply others': another model": func() error { _, _, err := Apply(ctx, other, p, ApplyOptions{Calibration: c}); return err },
		"verify: wanted":               func() error { _, _, err := Verify(ctx, m, m, nil, VerifyOptions{}); return err },
		"verify nil: wanted":           func() error { _, _, err := Verify(ctx, m, nil, data, VerifyOptions{}); return err },
		"inspect: has no graph":        func() error { _, err := Inspect(nil, InspectOptions{}); return err },
		"calibrate: there is none":     func() error { _, err := NewCalibration(ctx, m, nil, nil, 0); return err },
		"calibrate nil: has no graph":  func() error { _, err := NewCalibration(ctx, nil, data, nil, 0); return err },
		"random: has no graph":         func() error { _, err := dataset.Random(nil, 1, 1, 0, nil); return err },
	} {
		_, want, _ := strings.Cut(what, ": ")
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if _, _, err := Apply(ctx, m, nil, ApplyOptions{}); !errors.Is(err, ErrPlan) {
		t.Errorf("no plan: %v is no ErrPlan", err)
	}
	if l, err := ReadLayers(nil); l != nil || err != nil {
		t.Errorf("layers of no model: %v, %v", l, err)
	}
}
