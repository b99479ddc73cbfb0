package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
)

// reluNet is layers with a Relu between.
func reluNet(t testing.TB, sizes ...int) *graph.Model {
	return gemms(t, "Relu", sizes...)
}

// With data and without, of every structure, the plan's widths and counts are
// those of the model, and the plan read back gives the same.
func TestWidenAsked(t *testing.T) {
	m := reluNet(t, 24, 32, 32, 8)
	x := correlated(400, 24, 1)
	for _, data := range []bool{false, true} {
		for _, o := range []Options{
			{Widen: 2, Structure: Bilinear, NumTerms: 1}, {Widen: 4, Structure: Bilinear},
			{Widen: 2, Structure: Terms, Ratio: 1.5}, {Widen: 2, Ratio: 1.5}, {Widen: 4, NumTerms: 2},
			{Widen: 2, Structure: Bilinear, Ratio: 1.5, Start: Random, ForTraining: true},
			{Widen: 2, Structure: Bilinear, NumTerms: 1, Exclude: []string{"n_h2"}},
		} {
			if data {
				o.Calibration = calibrated(t, m, x, 1)
			}
			p := mustPlan(t, m, o)
			small, r := mustApplyWith(t, m, p, ApplyOptions{Calibration: o.Calibration})
			if p.ParamsAfter != Params(small) || r.ParamsAfter != p.ParamsAfter {
				t.Errorf("%v, data %v: planned for %d parameters, reported %d, written %d", o, data, p.ParamsAfter, r.ParamsAfter, Params(small))
			}
			if o.Ratio > 0 && float64(p.ParamsAfter)*o.Ratio > float64(p.ParamsBefore) {
				t.Errorf("%v, data %v: %d parameters of %d", o, data, p.ParamsAfter, p.ParamsBefore)
			}
			for i, want := range []int{o.Widen, o.Widen, 1} {
				if l := r.Layers[i]; l.Widen != want {
					t.Errorf("%v, data %v: layer %q is %d times as wide, want %d", o, data, l.Name, l.Widen, want)
				}
				if l := r.Layers[i]; data && (math.IsNaN(l.Error) || l.Error == 0) {
					t.Errorf("%v: layer %q: error %v", o, l.Name, l.Error)
				}
			}
			if len(o.Exclude) > 0 {
				if l := p.Layers[2]; l.Action != ActDense || l.ParamsAfter != int64(8*32*o.Widen) || len(p.Warnings) == 0 {
					t.Errorf("data %v: the excluded layer is %+v, warnings %q", data, l, p.Warnings)
				}
			} else if p.Layers[2].NoWiden != `"h2" is an output of the graph` || !strings.Contains(p.Note(&p.Layers[2]), "not widened") {
				t.Errorf("data %v: the last layer is not widened since %q", data, p.Layers[2].NoWiden)
			}
			var file bytes.Buffer
			if err := p.Write(&file); err != nil {
				t.Fatal(err)
			}
			back, err := ReadPlan(&file)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := mustApplyWith(t, m, back, ApplyOptions{Calibration: o.Calibration})
			a, err := onnx.Encode(small)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := onnx.Encode(again); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%v, data %v: the plan read back gives another model, error %v", o, data, err)
			}
		}
	}
}

// What a pair loses, the layer behind a wider one makes up for.
func TestWidenHelpsOnePair(t *testing.T) {
	m := reluNet(t, 24, 64, 6)
	x := correlated(1200, 24, 1)
	loss := func(widen int) float64 {
		c := calibrated(t, m, x, 1)
		p := mustPlan(t, m, Options{Structure: Bilinear, NumTerms: 1, Widen: widen, Exclude: []string{"n_h1"}, Calibration: c})
		_, r := mustApplyWith(t, m, p, ApplyOptions{Calibration: c})
		return *r.Outputs["h1"].RelError
	}
	one, four := loss(1), loss(4)
	if !(four < 0.8*one) {
		t.Errorf("output error %.4f after the pair, %.4f after one four times as wide", one, four)
	}
}

func TestWidenOptions(t *testing.T) {
	m := reluNet(t, 24, 32, 8)
	for _, o := range []Options{{Widen: -1}, {Widen: 1000}, {Widen: 2, Structure: LowRank, NumTerms: 1}} {
		if _, err := NewPlan(context.Background(), m, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: error %v", o, err)
		}
	}
	// The budget holds for wide layers too.
	var infeasible *InfeasibleError
	if _, err := NewPlan(context.Background(), m, Options{Widen: 16, Ratio: 2}); !errors.As(err, &infeasible) {
		t.Errorf("16 times as wide at ratio 2: error %v", err)
	}
	// 1 widens nothing, and no layer that can be is said.
	p := mustPlan(t, m, Options{Widen: 1, Ratio: 2})
	for _, l := range p.Layers {
		if l.Widen > 1 {
			t.Errorf("layer %q is %d times as wide", l.Name, l.Widen)
		}
	}
	p = mustPlan(t, mlp(t, 24, 8), Options{Widen: 2, Ratio: 1.1})
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "no layer can be made 2 times as wide") {
		t.Errorf("warnings %q", p.Warnings)
	}
}

// The shape of a wide layer divides its width, pads no outputs and is of as few
// parameters as that allows.
func TestWideShape(t *testing.T) {
	for _, c := range []struct {
		m, n, factor int
		want         factorize.Shape
	}{
		{1024, 784, 4, factorize.Shape{M1: 64, N1: 28, M2: 64, N2: 28}},
		{1024, 4096, 16, factorize.Shape{M1: 128, N1: 64, M2: 128, N2: 64}},
		{12, 24, 2, factorize.Shape{M1: 4, N1: 4, M2: 6, N2: 6}},
	} {
		got, ok := wideShape(c.m, c.n, c.factor)
		by, fits := factorize.WideningOf(got.M1, got.M2, c.factor)
		if !ok || !fits || by.M1*by.M2 != c.m || got.Params(1) > c.want.Params(1) {
			t.Errorf("%d×%d, %d times: %v, want %v", c.m, c.n, c.factor, got, c.want)
		}
	}
	// A prime has no way but one.
	if s, ok := wideShape(31, 24, 4); !ok || s.M1*s.M2 != 124 {
		t.Errorf("31 outputs: %v, %v", s, ok)
	}
}

// Trials of a plan for training see wide layers, of the budget too.
func TestTrialSeesWideLayers(t *testing.T) {
	m := reluNet(t, 64, 64, 64, 8)
	widths := map[int]bool{}
	o := Options{Ratio: 4, Trial: func(_ context.Context, small *graph.Model) (float64, error) {
		layers, err := ReadLayers(small)
		if err != nil {
			return 0, err
		}
		if 4*Params(small) > Params(m) {
			t.Errorf("%d parameters of %d", Params(small), Params(m))
		}
		widths[layers[0].Widen] = true
		return -float64(layers[0].Widen), nil
	}}
	p := mustPlan(t, m, o)
	if !widths[0] || !widths[2] || !widths[4] {
		t.Errorf("trials saw the widths %v", widths)
	}
	if e := p.Layers[0]; e.Widen != 4 || e.Start != Random {
		t.Errorf("the plan has %+v, though the trial liked the widest", e)
	}
}

// A bound on the size of the file, and one on the drop of a metric, hold for
// wide layers too.
func TestWidenUnderOtherBudgets(t *testing.T) {
	ctx := context.Background()
	m := reluNet(t, 64, 64, 64, 8)
	full, err := encodedSize(m)
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, m, Options{Widen: 2, TargetSize: full / 2})
	small, _ := mustApply(t, m, p)
	if n, err := encodedSize(small); err != nil || n > full/2 || p.Layers[0].Widen != 2 {
		t.Errorf("%d bytes of %d, the first layer is %d times as wide, error %v", n, full, p.Layers[0].Widen, err)
	}
	most := 0.0
	p, err = NewPlanWithin(ctx, m, Options{Widen: 2}, 0.5, func(_ context.Context, m *graph.Model) (float64, error) {
		x := float64(Params(m)) / 10000
		most = max(most, x)
		return x, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	small, _ = mustApply(t, m, p)
	if got := float64(Params(small)) / 10000; got < most-0.5 || p.Layers[0].Widen != 2 {
		t.Errorf("the metric fell from %g to %g, the first layer is %d times as wide", most, got, p.Layers[0].Widen)
	}
}
