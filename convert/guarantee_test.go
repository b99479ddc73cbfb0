package convert

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// blockModel is a transformer's block without attention, on activations of rank
// 3, and a head of classes at every position.
func blockModel(t testing.TB) *graph.Model {
	b := newModeller(t, 8, 17)
	x := b.input("x", "N", "T", 16)
	h := b.op("Relu", "r1", list(b.op("MatMul", "f1", list(x, b.weight("w1", 16, 48)))))
	h = b.op("Add", "a", list(x, b.op("MatMul", "f2", list(h, b.weight("w2", 48, 16)))))
	h = b.op("Add", "c", list(b.op("MatMul", "f3", list(h, b.weight("w3", 16, 30))), b.weight("b3", 30)))
	b.output(b.op("Softmax", "y", list(h), attrInt("axis", -1)))
	return b.model()
}

// tiedModel uses one weight twice and has outputs of numbers.
func tiedModel(t testing.TB) *graph.Model {
	b := newModeller(t, 8, 13)
	x := b.input("x", "N", 24)
	w := b.weight("w", 24, 24)
	h := b.op("Tanh", "h1", list(b.op("MatMul", "p1", list(x, w))))
	h = b.op("Tanh", "h2", list(b.op("MatMul", "p2", list(h, w))))
	b.output(b.op("Reshape", "y", list(b.op("MatMul", "p3", list(h, b.weight("v", 24, 9))), b.ints("s", -1))))
	return b.model()
}

// tallModel has so many outputs that their errors are told apart by what they
// were made of.
func tallModel(t testing.TB) *graph.Model {
	b := newModeller(t, 8, 13)
	x := b.input("x", "N", 24)
	h := b.op("Relu", "h", list(b.op("MatMul", "p", list(x, b.weight("w", 24, 32)))))
	b.output(b.op("Gemm", "y", list(h, b.weight("v", 32, mostOutputs+100), b.weight("c", mostOutputs+100))))
	return b.model()
}

// softConvNet is convNet with scores that leave its classes in doubt.
func softConvNet(t testing.TB) *graph.Model {
	m := convNet(t)
	w := tensor.Data[float32](m.Graph.Value("w4").Const())
	for i := range w {
		w[i] *= 1e-3
	}
	return m
}

// sequences is rows of correlated positions.
func sequences(rows, length, n int, seed uint64) *tensor.Tensor {
	x := correlated(rows*length, n, seed)
	return tensor.Of(tensor.Data[float32](x), rows, length, n)
}

// On whatever model, auto moves the outputs no more than low rank does on the
// rows that were held out, and changes no more of the classes.
func TestAutoIsNeverBelowLowRank(t *testing.T) {
	for _, c := range []struct {
		name   string
		model  func(testing.TB) *graph.Model
		data   []*tensor.Tensor
		ratios []float64
	}{
		{"mlp", func(t testing.TB) *graph.Model { return reluNet(t, 24, 64, 48, 10) }, []*tensor.Tensor{correlated(400, 24, 1)}, []float64{2, 6, 12}},
		{"few rows", func(t testing.TB) *graph.Model { return reluNet(t, 120, 64, 48, 10) }, []*tensor.Tensor{correlated(60, 120, 1)}, []float64{3, 12}},
		{"convolutions", softConvNet, []*tensor.Tensor{images(120, 10, 1)}, []float64{2, 5}},
		{"positions", blockModel, []*tensor.Tensor{sequences(100, 7, 16, 1)}, []float64{1.5, 3}},
		{"shared weight, numbers", tiedModel, []*tensor.Tensor{correlated(200, 24, 2)}, []float64{1.5, 3}},
		{"many outputs", tallModel, []*tensor.Tensor{correlated(200, 24, 3)}, []float64{2, 4}},
	} {
		for _, ratio := range c.ratios {
			t.Run(fmt.Sprintf("%s/%g", c.name, ratio), func(t *testing.T) {
				m := c.model(t)
				scores := map[Structure]Score{}
				for _, s := range []Structure{LowRank, Auto} {
					cal := calibratedOn(t, m, "", c.data...)
					small, r := converted(t, m, cal, Options{Ratio: ratio, Structure: s})
					if float64(r.ParamsAfter)*ratio > float64(r.ParamsBefore) {
						t.Errorf("%s: %d of %d parameters at ratio %g", s, r.ParamsAfter, r.ParamsBefore, ratio)
					}
					var err error
					if scores[s], err = cal.Score(context.Background(), small); err != nil {
						t.Fatal(err)
					}
				}
				low, auto := scores[LowRank], scores[Auto]
				t.Logf("low rank %+v, auto %+v", low, auto)
				// The two calibrations compute low rank in other batches of terms, which rounds otherwise.
				if auto.Divergence > low.Divergence*(1+1e-4) || auto.Agreement < low.Agreement {
					t.Errorf("auto is %+v, low rank %+v", auto, low)
				}
			})
		}
	}
}

// With fewer rows than inputs there is a warning and more damping. What comes
// out is still better than by the weights alone, on rows that nothing has seen,
// and auto is not worse there than low rank.
func TestFewerRowsThanInputs(t *testing.T) {
	ctx := context.Background()
	const inputs, ratio = 120, 4
	m := reluNet(t, inputs, 64, 48, 10)
	unseen := bindTo(t, m, correlated(500, inputs, 99))
	relError := func(small *graph.Model) float64 {
		out, _, err := Verify(ctx, m, small, unseen, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *out[m.Graph.Outputs[0].Name()].RelError
	}
	free, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: ratio, Structure: LowRank}))
	without := relError(free)
	for _, rows := range []int{20, 60, 110} {
		errs := map[Structure]float64{}
		for _, s := range []Structure{LowRank, Auto} {
			c := calibratedOn(t, m, "", correlated(rows, inputs, 1))
			p, err := NewPlan(ctx, m, Options{Ratio: ratio, Structure: s, Calibration: c})
			if err != nil {
				t.Fatal(err)
			}
			if w := strings.Join(p.Warnings, "; "); !strings.Contains(w, "damped more") {
				t.Errorf("%d rows, %s: no word of it in %q", rows, s, w)
			}
			small, _, err := Apply(ctx, m, p, ApplyOptions{Calibration: c})
			if err != nil {
				t.Fatal(err)
			}
			errs[s] = relError(small)
		}
		t.Logf("%d rows: output error %.4f by the weights alone, %.4f low rank, %.4f auto", rows, without, errs[LowRank], errs[Auto])
		if errs[Auto] > errs[LowRank]*1.02 {
			t.Errorf("%d rows: auto has an output error of %g, low rank of %g", rows, errs[Auto], errs[LowRank])
		}
		if errs[LowRank] > without {
			t.Errorf("%d rows: low rank has an output error of %g, by the weights alone %g", rows, errs[LowRank], without)
		}
	}
}
