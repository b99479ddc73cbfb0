package op

import (
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// TestDraws looks at the moments of 10000 numbers: the mean within 0.05, at
// least five times its deviation, and at what the seed does.
func TestDraws(t *testing.T) {
	for _, c := range []struct {
		op             string
		mean, variance float64
	}{
		{"RandomNormal", 0, 1},
		{"RandomUniform", 0.5, 1. / 12},
	} {
		draw := func(seed float32, own bool, source uint64) []float32 {
			attrs := []*graph.Attr{attrInts("shape", 100, 100)}
			if own {
				attrs = append(attrs, attrFloat("seed", seed))
			}
			o, err := parseOp(opTest{op: c.op, opset: 1, attrs: attrs}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := o.(Random); !ok {
				t.Errorf("%s is not Random", c.op)
			}
			y := tensor.New(tensor.Float32, 100, 100)
			ctx := &Ctx{Rand: rand.New(rand.NewPCG(source, 0))}
			if err := o.Forward(ctx, nil, []tensor.Value{tensor.ValueOf(y)}); err != nil {
				t.Fatal(err)
			}
			return tensor.Data[float32](y)
		}
		v := draw(1, true, 1)
		mean, deviation := moments(v, 0)
		if math.Abs(mean-c.mean) > 0.05 || math.Abs(deviation*deviation-c.variance) > 0.1*c.variance {
			t.Errorf("%s: mean %v and variance %v, wanted %v and %v", c.op, mean, deviation*deviation, c.mean, c.variance)
		}
		if w := draw(1, true, 2); v[0] != w[0] || v[9999] != w[9999] {
			t.Errorf("%s: one seed gives two results", c.op)
		}
		if w := draw(2, true, 1); v[0] == w[0] && v[1] == w[1] {
			t.Errorf("%s: two seeds give one result", c.op)
		}
		if a, b := draw(0, false, 1), draw(0, false, 2); a[0] == b[0] && a[1] == b[1] {
			t.Errorf("%s: without a seed, the run's source is not used", c.op)
		}
	}
}
