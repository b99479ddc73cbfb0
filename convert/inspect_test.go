package convert

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Weights that cannot be replaced are listed with a reason that names the cause.
func TestReasons(t *testing.T) {
	cases := []struct {
		name   string
		build  func(b *modeller)
		node   string
		reason string
	}{
		{"a weight read elsewhere", func(b *modeller) {
			w := b.weight("w", 20, 20)
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), w)), b.op("Mul", "z", list(w, w)))
		}, "n_y", `"w" is also read by node "n_z"`},
		{"a table and a weight", func(b *modeller) {
			w := b.weight("w", 20, 20)
			i, err := b.g.AddInput("i", graph.TensorType(tensor.Int64, dims("N")...))
			b.must(err)
			b.output(b.op("MatMul", "y", list(b.op("Gather", "e", list(w, i)), w)))
		}, "n_y", `by node "n_e"`},
		{"a weight that is an output", func(b *modeller) {
			w := b.weight("w", 20, 20)
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), w)), w)
		}, "n_y", "output of the graph"},
		{"a step that is an output", func(b *modeller) {
			w := b.op("Transpose", "wt", list(b.weight("w", 20, 20)))
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), w)), w)
		}, "n_y", "output of the graph"},
		{"a weight that is its own bias", func(b *modeller) {
			w := b.weight("w", 20, 20)
			b.output(b.op("Gemm", "y", list(b.input("x", 20, 20), w, w)))
		}, "n_y", "also added"},
		{"two forms of a weight", func(b *modeller) {
			w := b.weight("w", 400)
			w1 := b.op("Reshape", "w1", list(w, b.ints("s1", 20, 20)))
			w2 := b.op("Reshape", "w2", list(w, b.ints("s2", 10, 40)))
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), w1)), b.op("MatMul", "z", list(b.input("u", "N", 10), w2)))
		}, "n_y", "different forms"},
		{"two scales of a weight", func(b *modeller) {
			w := b.weight("w", 20, 20)
			h := b.op("Gemm", "h", list(b.input("x", "N", 20), w, b.weight("c", 20)), attrFloat("alpha", 2))
			b.output(b.op("MatMul", "y", list(h, w)))
		}, "n_h", "different forms"},
		{"a stack of matrices", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", 3, "N", 20), b.weight("w", 3, 20, 20))))
		}, "n_y", "stack of matrices"},
		{"a weight that raises the rank", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), b.weight("w", 1, 20, 20))))
		}, "n_y", "raises the rank"},
		{"a vector", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), b.weight("w", 20))))
		}, "n_y", "rank 1"},
		{"a computed weight", func(b *modeller) {
			w := b.op("Mul", "ww", list(b.weight("w", 20, 20), b.weight("s", 20)))
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), w)))
		}, "n_y", `computed by node "n_ww" (Mul)`},
		{"a computed weight behind a step", func(b *modeller) {
			w := b.op("Mul", "ww", list(b.weight("w", 20, 20), b.weight("s", 20)))
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 20), b.op("Transpose", "wt", list(w)))))
		}, "n_y", `computed by node "n_ww" (Mul)`},
		{"two constants", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.weight("v", 20, 20), b.weight("w", 20, 20))), b.input("x", "N"))
		}, "n_y", "both operands"},
		{"integers", func(b *modeller) {
			x, err := b.g.AddInput("x", graph.TensorType(tensor.Int32, dims("N", 2)...))
			b.must(err)
			b.output(b.op("MatMul", "y", list(x, b.init("w", tensor.Of([]int32{1, 2, 3, 4}, 2, 2)))))
		}, "n_y", "int32"},
		{"a left weight and unknown rank", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.weight("w", 20, 20), b.unranked("x"))))
		}, "n_y", "unknown rank"},
		{"an empty weight", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 0), b.weight("w", 0, 20))))
		}, "n_y", "empty"},
		{"a transposed convolution", func(b *modeller) {
			b.output(b.op("ConvTranspose", "y", list(b.input("x", "N", 3, 8, 8), b.weight("w", 3, 4, 3, 3))))
		}, "n_y", "convolutions"},
		{"an operator of another domain", func(b *modeller) {
			v, err := b.g.NewValue("y", graph.Type{})
			b.must(err)
			n, err := b.g.NewNode("com.acme", "Dense", "n_y", list(b.input("x", "N", 20), b.weight("w", 20, 20)), list(v))
			b.must(err)
			b.g.Append(n)
			b.output(v)
		}, "n_y", "com.acme.Dense"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newModeller(t, 8, 13)
			c.build(b)
			in, err := Inspect(b.model(), InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range in.Layers {
				if l.Name != c.node {
					continue
				}
				if l.Compressible || !strings.Contains(l.Reason, c.reason) {
					t.Errorf("%+v, want a reason with %q", l, c.reason)
				}
				// Nothing of such a model is changed, whatever is asked for.
				p, err := NewPlan(context.Background(), b.m, Options{Structure: LowRank, NumTerms: 1, Layers: []string{c.node}})
				if err != nil {
					t.Fatal(err)
				}
				if p.Changes() {
					t.Errorf("the plan changes it: %+v", p.Layers)
				}
				return
			}
			t.Errorf("%s is not listed in %+v", c.node, in.Layers)
		})
	}
}

func TestInspect(t *testing.T) {
	b := newModeller(t, 7, 13)
	x := b.input("x", "N", 6, 20)
	h := b.op("Gemm", "g", list(b.op("Reshape", "flat", list(x, b.ints("shape", -1, 120))), b.weight("w1", 120, 30), b.weight("c", 30)))
	yes := b.body("yes", func(b *modeller) {
		b.output(b.op("MatMul", "then", list(h, b.constant("w2", b.random(30, 4)))))
	})
	no := b.body("no", func(b *modeller) { b.output(b.op("MatMul", "else", list(h, b.weight("w3", 30, 4)))) })
	cond := b.constant("cond", tensor.Of([]bool{true}))
	b.output(b.op("If", "y", list(cond), attrGraph("then_branch", yes), attrGraph("else_branch", no)))
	m := b.model()
	in, err := Inspect(m, InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(120*30 + 30 + 2*30*4); in.Params != want || Params(m) != want {
		t.Errorf("%d parameters, want %d", in.Params, want)
	}
	// One branch of the If runs.
	if want := int64(120*30 + 30*4); in.MACs == nil || *in.MACs != want {
		t.Errorf("macs %v, want %d", in.MACs, want)
	}
	if got := fmt.Sprint(in.Operators); got != "map[Constant:2 Gemm:1 If:1 MatMul:2 Reshape:1]" {
		t.Error(got)
	}
	var names []string
	for _, l := range in.Layers {
		names = append(names, fmt.Sprintf("%s %s %d>%d %d %v", l.Name, l.Op, l.In, l.Out, l.Params, l.Compressible))
	}
	if got := strings.Join(names, ", "); got != "n_g Gemm 120>30 3600 true, n_then MatMul 30>4 120 true, n_else MatMul 30>4 120 true" {
		t.Error(got)
	}
	if in.IRVersion != 7 || in.Opset != 13 || len(in.Inputs) != 1 || fmt.Sprint(in.Inputs[0].Shape) != "[N 6 20]" || in.Inputs[0].DType != "float32" {
		t.Errorf("%+v", in)
	}
}

func TestMACs(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(b *modeller)
		dims  map[string]int
		want  int64 // negative: not known
	}{
		{"per sample of a dynamic batch", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), b.weight("w", 10, 7))))
		}, nil, 70},
		{"per sample of a fixed batch", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", 5, 10), b.weight("w", 10, 7))))
		}, nil, 70},
		{"a length that is not known", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", "T", 10), b.weight("w", 10, 7))))
		}, nil, -1},
		{"a length that is given", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", "T", 10), b.weight("w", 10, 7))))
		}, map[string]int{"T": 9}, 630},
		{"two activations", func(b *modeller) {
			b.output(b.op("MatMul", "y", list(b.input("x", "N", 4, 3, 10), b.input("u", "N", 4, 10, 6))))
		}, nil, 4 * 3 * 10 * 6},
		{"a transposed Gemm", func(b *modeller) {
			b.output(b.op("Gemm", "y", list(b.input("x", 10, "N"), b.weight("w", 10, 7)), attrInt("transA", 1)))
		}, map[string]int{"N": 1}, 7},
	} {
		b := newModeller(t, 8, 13)
		c.build(b)
		got := int64(-1)
		if n := MACs(b.model(), c.dims); n != nil {
			got = *n
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// The products of a replaced layer take as many multiplications as the formula
// of the shape says, in the order that was chosen.
func TestMACsOfFactors(t *testing.T) {
	m := mlp(t, 20, 24)
	for _, s := range factorize.Shapes(24, 20) {
		if s.Pads(24, 20) {
			continue
		}
		for _, terms := range []int{1, 3} {
			if terms > s.MaxTerms() {
				continue
			}
			out, r := mustApply(t, m, planFor(t, m, s, terms))
			if got := MACs(out, nil); got == nil || *got != int64(s.MACs(terms)) {
				t.Errorf("%v, %d terms: %v multiplications, want %d", s, terms, got, s.MACs(terms))
			}
			if r.MACsAfter == nil || *r.MACsBefore != 480 {
				t.Errorf("report: %v %v", r.MACsBefore, r.MACsAfter)
			}
		}
	}
}

func TestVerify(t *testing.T) {
	m := mlp(t, 12, 18, 10)
	out, r := mustApply(t, m, planFor(t, m, factorize.LowRankShape(1, 1), 4))
	data, err := dataset.Random(m, 50, 50, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var first float64
	for _, size := range []int{1, 7, 50} {
		outputs, warnings, err := Verify(context.Background(), m, out, data, VerifyOptions{Batch: size})
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		got := *outputs["h1"].RelError
		if size == 1 {
			first = got
		}
		if math.Abs(got-first) > 1e-6*first {
			t.Errorf("batches of %d: error %g, of 1: %g", size, got, first)
		}
	}
	// The plain definition.
	var rows, other []float64
	for b, err := range data.Batches(50) {
		if err != nil {
			t.Fatal(err)
		}
		rows, other = numbersOf(runModel(t, m, b.Inputs...)[0]), numbersOf(runModel(t, out, b.Inputs...)[0])
	}
	num, den := 0.0, 0.0
	for j := range 10 {
		mean := 0.0
		for i := range 50 {
			mean += rows[i*10+j] / 50
		}
		for i := range 50 {
			num += (rows[i*10+j] - other[i*10+j]) * (rows[i*10+j] - other[i*10+j])
			den += (rows[i*10+j] - mean) * (rows[i*10+j] - mean)
		}
	}
	if math.Abs(first-num/den) > 1e-9*first {
		t.Errorf("error %g, the definition gives %g", first, num/den)
	}
	if r.Layers[0].Error <= 0 || first <= 0 {
		t.Errorf("errors %g and %g of a model that was changed", r.Layers[0].Error, first)
	}
	same, _, err := Verify(context.Background(), m, m, data, VerifyOptions{})
	if err != nil || *same["h1"].RelError != 0 {
		t.Errorf("a model against itself: %v", err)
	}
}

// Outputs that cannot be run are null, with a warning; the others are compared.
func TestVerifyWithAnUnknownOperator(t *testing.T) {
	b := newModeller(t, 8, 13)
	h := b.op("MatMul", "h", list(b.input("x", "N", 20), b.weight("w", 20, 20)))
	v, err := b.g.NewValue("z", graph.Type{})
	b.must(err)
	n, err := b.g.NewNode("com.acme", "Twist", "twist", list(h), list(v))
	b.must(err)
	b.g.Append(n)
	b.output(h, v)
	m := b.model()
	out, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: 2}))
	data, err := dataset.Random(m, 10, 10, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs, warnings, err := Verify(context.Background(), m, out, data, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if outputs["h"].RelError == nil || outputs["z"] == nil || outputs["z"].RelError != nil ||
		len(warnings) != 1 || !strings.Contains(warnings[0], "Twist") {
		t.Errorf("%v, warnings %q", outputs, warnings)
	}
}

// Networks of random widths, depths, ranks and operator sets: at a full number
// of terms the outputs stay, under a budget the model keeps to it.
func TestRandomNetworks(t *testing.T) {
	widths := []int{1, 2, 5, 7, 8, 10, 12, 16, 21, 24, 30}
	for trial := range 40 {
		b := newModeller(t, 8, []int64{7, 9, 10, 11, 13, 17, 22}[trial%7])
		for range trial {
			b.rng.Uint64()
		}
		pick := func() int { return widths[b.rng.IntN(len(widths))] }
		width := pick()
		lead := [][]any{{"N"}, {"N", "T"}, {"N", 3}, {2, "T", 3}}[b.rng.IntN(4)]
		v := b.input("x", append(append([]any{}, lead...), width)...)
		for i := range 1 + b.rng.IntN(4) {
			next := pick()
			name := fmt.Sprintf("h%d", i)
			skip := v
			if len(lead) == 1 && b.rng.IntN(2) == 0 {
				v = b.op("Gemm", name, list(v, b.weight("w"+name, next, width), b.weight("c"+name, next)), attrInt("transB", 1))
			} else {
				v = b.op("MatMul", name, list(v, b.weight("w"+name, width, next)))
				if b.rng.IntN(2) == 0 {
					v = b.op("Add", name+"b", list(b.weight("c"+name, next), v))
				}
			}
			if next == width { // a residual connection
				v = b.op("Add", name+"r", list(v, skip))
			}
			v = b.op("Mul", name+"m", list(v, b.weight("m"+name, 1)))
			width = next
		}
		b.output(v)
		m := b.model()
		x := randomLike(t, m, batch)
		want := runModel(t, m, x...)[0]
		for _, s := range []Structure{Terms, LowRank} {
			out, _ := mustApply(t, m, mustPlan(t, m, Options{Structure: s, NumTerms: 1 << 20}))
			wantClose(t, fmt.Sprintf("trial %d, %s", trial, s), runModel(t, out, x...)[0], want, 10*tolFloat32)
			checkInterface(t, m, out)
		}
		p, err := NewPlan(context.Background(), m, Options{Ratio: 1.5})
		var infeasible *InfeasibleError
		if asInfeasible(err, &infeasible) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, r := mustApply(t, m, p)
		if 1.5*float64(r.ParamsAfter) > float64(r.ParamsBefore) || r.ParamsAfter != p.ParamsAfter {
			t.Errorf("trial %d: %d of %d parameters, planned %d", trial, r.ParamsAfter, r.ParamsBefore, p.ParamsAfter)
		}
		runModel(t, out, x...)
	}
}

// Metadata names the factors that are in the model, of the sizes that the
// layout says.
func TestReadLayers(t *testing.T) {
	m := mlp(t, 20, 24, 10)
	m.SetMetadata("author", "someone")
	p := mustPlan(t, m, Options{Structure: Terms, NumTerms: 3})
	p.Layers[1].Action, p.Layers[1].Shape, p.Layers[1].Terms = ActLowRank, nil, 2
	out, _ := mustApply(t, m, p)
	if got, _ := out.Meta("author"); got != "someone" {
		t.Error("the model's own metadata is gone")
	}
	done, err := ReadLayers(out)
	if err != nil || len(done) != 2 {
		t.Fatal(done, err)
	}
	for _, c := range done {
		a, b := out.Graph.Value(c.A).Const().Shape(), out.Graph.Value(c.B).Const().Shape()
		s := c.Shape.factorize()
		want := fmt.Sprint([]int{s.M1, s.N1 * c.Terms}, []int{s.N2, c.Terms * s.M2})
		if c.First == "a" {
			want = fmt.Sprint([]int{s.M1 * c.Terms, s.N1}, []int{c.Terms * s.N2, s.M2})
		}
		if c.Action == ActLowRank {
			want = fmt.Sprint([]int{c.Terms, c.Out}, []int{c.In, c.Terms})
		}
		if got := fmt.Sprint(a, b); got != want {
			t.Errorf("%+v: factors %s, want %s", c, got, want)
		}
		if out.Graph.Value(c.Value) == nil || out.Graph.Value(c.Bias) == nil {
			t.Errorf("%+v: its value or bias is not in the model", c)
		}
	}
	out.SetMetadata(LayersKey, "[{")
	if _, err := ReadLayers(out); err == nil {
		t.Error("metadata that is no JSON is accepted")
	}
}

// An output behind a random operator differs from run to run: it is not compared.
func TestVerifyWithARandomOperator(t *testing.T) {
	b := newModeller(t, 8, 13)
	h := b.op("MatMul", "h", list(b.input("x", "N", 20), b.weight("w", 20, 20)))
	b.output(h, b.op("Add", "z", list(h, b.op("RandomNormalLike", "noise", list(h)))))
	m := b.model()
	out, _ := mustApply(t, m, mustPlan(t, m, Options{Ratio: 2}))
	data, err := dataset.Random(m, 10, 10, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs, warnings, err := Verify(context.Background(), m, out, data, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if outputs["h"].RelError == nil || outputs["z"].RelError != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "random") {
		t.Errorf("%v, warnings %q", outputs, warnings)
	}
}
