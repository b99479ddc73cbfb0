package finetune

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// names lists weights as name:kind.
func names(t *testing.T, m *graph.Model) []string {
	t.Helper()
	ws, err := Weights(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range ws {
		out = append(out, w.Value.Name()+":"+[]string{"m", "v"}[w.Kind])
	}
	slices.Sort(out)
	return out
}

func TestWhichConstantsAreWeights(t *testing.T) {
	n, x := newNet(t, 0, 8)
	// Inputs are normalised: no weights.
	x = n.node("Div", values{n.node("Sub", values{x, n.weight("mean", 1, 8)}), n.weight("deviation", 1, 8)})
	// A weight that is stored the other way round, and one that is scaled.
	h := n.node("MatMul", values{x, n.node("Transpose", values{n.weight("w1", 1, 8, 8)})})
	h = n.node("Add", values{n.weight("b1", 1, 8), h})
	h = n.node("MatMul", values{h, n.node("Mul", values{n.weight("w2", 1, 8, 8), n.weight("norm", 1, 1, 8)})})
	// A GELU: its √2, 1 and ½ are no weights.
	erf := n.node("Erf", values{n.node("Div", values{h, n.scalar("root2", math.Sqrt2)})})
	h = n.node("Mul", values{n.node("Mul", values{h, n.node("Add", values{erf, n.scalar("one", 1)})}), n.scalar("half", 0.5)})
	h = n.node("Clip", values{h, n.scalar("low", -9), n.scalar("high", 9)})
	h = n.node("LayerNormalization", values{h, n.weight("scale", 1, 8), n.weight("shift", 1, 8)})
	h = n.node("BatchNormalization", values{h, n.weight("bnScale", 1, 8), n.weight("bnShift", 1, 8), n.weight("bnMean", 1, 8), n.weight("bnVar", 1, 8)})
	mask := n.weight("mask", 1, 8)
	tensor.Data[float32](mask.Init())[3] = float32(math.Inf(-1))
	h = n.node("Add", values{h, mask})
	h = n.node("PRelu", values{h, n.weight("slope", 1, 1)})
	h = n.node("Mul", values{h, n.weight("layerScale", 1, 8)})
	// The bias of a single output is one.
	y := n.node("Add", values{n.node("MatMul", values{h, n.weight("w3", 1, 8, 1)}), n.weight("b3", 1, 1)})
	m := n.done(y)
	want := strings.Fields("b1:v b3:v bnScale:v bnShift:v layerScale:v norm:m scale:v shift:v slope:v w1:m w2:m w3:m")
	if got := names(t, m); !slices.Equal(got, want) {
		t.Errorf("found  %v\nwanted %v", got, want)
	}
}

func TestTablesAndTokensAreWeights(t *testing.T) {
	g := graph.New("net", nil)
	ids, err := g.AddInput("ids", graph.TensorType(tensor.Int64, graph.Symbol("N"), graph.Size(5)))
	if err != nil {
		t.Fatal(err)
	}
	n := &net{t, &graph.Model{Graph: g, IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}}, rand.New(rand.NewPCG(1, 2))}
	h := n.node("Gather", values{n.weight("table", 1, 20, 8), ids})
	h = n.node("Add", values{h, n.weight("positions", 1, 5, 8)})
	h = n.node("Concat", values{n.node("Expand", values{n.weight("token", 1, 1, 1, 8), g.NewConst("shape", tensor.Of([]int64{3, 1, 1}, 3))}), h}, attrInt("axis", 1))
	m := n.done(n.node("MatMul", values{h, n.weight("w", 1, 8, 4)}))
	want := strings.Fields("positions:v table:m token:v w:m")
	if got := names(t, m); !slices.Equal(got, want) {
		t.Errorf("found %v, wanted %v", got, want)
	}
}

// bilinear is 64 → 64 as R pairs in the form that conversion writes, with the
// group that describes it.
func bilinear(t *testing.T, terms int) (*graph.Model, []Group) {
	n, x := newNet(t, 0, 64)
	ints := func(v ...int64) *graph.Value { return n.m.Graph.NewConst("shape", tensor.Of(v, len(v))) }
	r := int64(terms)
	h := n.node("MatMul", values{n.node("Reshape", values{x, ints(-1, 8)}), n.weight("B", 0.1, 8, terms*8)})
	h = n.node("MatMul", values{n.weight("A", 0.4, 8, 8*terms), n.node("Reshape", values{h, ints(-1, 8*r, 8)})})
	h = n.node("Add", values{n.node("Reshape", values{h, ints(-1, 64)}), n.weight("bias", 1, 64)})
	m := n.done(n.dense("out", n.node("Relu", values{h}), 64, 4))
	return m, []Group{{Layer: "fc", A: "A", B: "B", Terms: terms, M1: 8, N1: 8, M2: 8, N2: 8, In: 64, Output: h.Name()}}
}

// slots is what a trainer makes of the weights of m.
func slotsOf(t *testing.T, m *graph.Model, groups []Group) map[string]*slot {
	t.Helper()
	k, err := New(m, nil, blobs(40, 64, 4, 1), Options{Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*slot{}
	for _, s := range k.slots {
		out[s.Value.Name()] = s
	}
	return out
}

// What is drawn keeps the variance: twice that of the inputs before a ReLU,
// as much after the last layer.
func TestRandomStartKeepsVariance(t *testing.T) {
	m, groups := bilinear(t, 4)
	slots := slotsOf(t, m, groups)
	var all []*slot
	for _, s := range slots {
		all = append(all, s)
	}
	redraw(all, 5)
	for _, c := range []struct {
		name      string
		deviation float64
	}{
		{"A", math.Pow(2./(4*64), 0.25)}, {"B", math.Pow(2./(4*64), 0.25)}, {"bias", 0},
		{"out.weight", math.Sqrt(1. / 64)}, {"out.bias", 0},
	} {
		x := slots[c.name].x
		got := rootMeanSquare(x)
		if math.Abs(got-c.deviation) > 3*c.deviation/math.Sqrt(float64(x.Len())) {
			t.Errorf("%s: deviation %.4f of %d numbers, wanted %.4f", c.name, got, x.Len(), c.deviation)
		}
	}
	a := slots["A"].x.Clone()
	if redraw(all, 5); !tensor.Equal(a, slots["A"].x) {
		t.Error("the same seed draws other numbers")
	}
	if redraw(all, 6); tensor.Equal(a, slots["A"].x) {
		t.Error("another seed draws the same numbers")
	}
}

func TestRandomStartOfOtherWeights(t *testing.T) {
	n, x := newNet(t, 0, 3, 8, 8)
	h := n.node("Conv", values{x, n.weight("conv", 9, 4, 3, 3, 3), n.weight("convBias", 9, 4)})
	h = n.node("Relu", values{n.node("BatchNormalization", values{h, n.weight("scale", 9, 4), n.weight("shift", 9, 4), n.weight("mean", 1, 4), n.weight("var", 0, 4)})})
	h = n.node("Flatten", values{h})
	h = n.node("Gemm", values{h, n.weight("fc", 9, 144, 10)})
	m := n.done(n.node("PRelu", values{n.node("MatMul", values{h, n.node("Transpose", values{n.weight("turned", 9, 5, 10)})}), n.weight("slope", 9, 5)}))
	d := &rows{x: tensor.New(tensor.Float32, 20, 3, 8, 8), labels: tensor.New(tensor.Int64, 20)}
	k, err := New(m, nil, d, Options{Init: Random})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range k.slots {
		mean, deviation := s.start()
		want := map[string][2]float64{
			"conv": {0, math.Sqrt(2. / 27)}, "convBias": {0, 0}, "scale": {1, 0}, "shift": {0, 0},
			"fc": {0, math.Sqrt(1. / 144)}, "turned": {0, math.Sqrt(2. / 10)}, "slope": {0.25, 0},
		}[s.Value.Name()]
		if mean != want[0] || math.Abs(deviation-want[1]) > 1e-12 {
			t.Errorf("%s: mean %g, deviation %g, wanted %v", s.Value.Name(), mean, deviation, want)
		}
		if v := tensor.Data[float32](s.x); deviation == 0 && float64(v[0]) != mean {
			t.Errorf("%s holds %g", s.Value.Name(), v[0])
		}
	}
}

// The steps of the rules, worked out in float64 from their formulas.
func TestUpdates(t *testing.T) {
	pool := kernel.NewPool(2)
	r := rand.New(rand.NewPCG(1, 1))
	const n = 50
	for _, c := range []update{
		{rule: AdamW, decay: 0.1}, {rule: Adam, decay: 0.1}, {rule: SGD, decay: 0.1}, {rule: SGD, nesterov: true}, {rule: AdamW, average: 0.5},
	} {
		for _, kind := range []Kind{Matrix, Vector} {
			for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
				s := &slot{Weight: &Weight{Kind: kind, Value: &graph.Value{}}, rate: 3, x: tensor.New(d, n), mean: tensor.New(d, n), square: tensor.New(d, n)}
				fill(s.x, r.NormFloat64)
				if c.average > 0 {
					s.average = s.x.Clone()
				}
				w, _ := tensor.Float64s(s.x)
				avg := slices.Clone(w)
				m, v := make([]float64, n), make([]float64, n)
				for step := 1; step <= 5; step++ {
					u := c
					u.step, u.lr, u.momentum, u.scale = step, 0.01, 0.9, 0.5
					g := tensor.New(d, n)
					fill(g, r.NormFloat64)
					for at := 0; at < n; at += n / 2 { // in two pieces
						half := tensor.New(d, n/2)
						if err := half.SeeFrom(g, at); err != nil {
							t.Fatal(err)
						}
						if err := u.apply(pool, s, at, half); err != nil {
							t.Fatal(err)
						}
					}
					gs, _ := tensor.Float64s(g)
					lr, decay := 0.03, c.decay
					if kind == Vector {
						decay = 0
					}
					for i, x := range gs {
						x *= 0.5
						if c.rule != AdamW {
							x += decay * w[i]
						}
						switch {
						case c.rule == SGD:
							m[i] = 0.9*m[i] + x
							if w[i] -= lr * m[i]; c.nesterov {
								w[i] += lr*m[i] - lr*(x+0.9*m[i])
							}
						default:
							if c.rule == AdamW {
								w[i] -= lr * decay * w[i]
							}
							m[i], v[i] = 0.9*m[i]+0.1*x, 0.999*v[i]+0.001*x*x
							mean, square := m[i]/(1-math.Pow(0.9, float64(step))), v[i]/(1-math.Pow(0.999, float64(step)))
							w[i] -= lr * mean / (math.Sqrt(square) + 1e-8)
						}
						keep := math.Min(c.average, float64(step)/float64(step+9))
						avg[i] = keep*avg[i] + (1-keep)*w[i]
					}
				}
				tolerance := 1e-12
				if d == tensor.Float32 {
					tolerance = 2e-6
				}
				compare := func(what string, t32 *tensor.Tensor, want []float64) {
					got, _ := tensor.Float64s(t32)
					for i := range got {
						if math.Abs(got[i]-want[i]) > tolerance*(1+math.Abs(want[i])) {
							t.Fatalf("%+v, %v, %v: %s %d is %g, wanted %g", c, kind, d, what, i, got[i], want[i])
						}
					}
				}
				compare("weight", s.x, w)
				if s.average != nil {
					compare("mean", s.average, avg)
				}
			}
		}
	}
}
