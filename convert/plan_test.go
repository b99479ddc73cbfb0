package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// mlp is a network of Gemms without activations between them; sizes are the
// widths from the input on.
func mlp(t testing.TB, sizes ...int) *graph.Model { return gemms(t, "", sizes...) }

// gemms is a network of Gemms with an operator between them; "": none.
func gemms(t testing.TB, between string, sizes ...int) *graph.Model {
	b := newModeller(t, 8, 13)
	v := b.input("x", "N", sizes[0])
	for i, n := range sizes[1:] {
		if i > 0 && between != "" {
			v = b.op(between, fmt.Sprintf("r%d", i), list(v))
		}
		v = b.op("Gemm", fmt.Sprintf("h%d", i), list(v, b.weight(fmt.Sprintf("w%d", i), n, sizes[i]), b.weight(fmt.Sprintf("b%d", i), n)),
			attrInt("transB", 1))
	}
	b.output(v)
	return b.model()
}

func mustPlan(t testing.TB, m *graph.Model, o Options) *Plan {
	t.Helper()
	p, err := NewPlan(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustApply(t testing.TB, m *graph.Model, p *Plan) (*graph.Model, *Report) {
	t.Helper()
	out, r, err := Apply(context.Background(), m, p, ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

// Whatever the structure and the ratio, the model keeps to the budget, no layer
// grows, and the counts of plan, report and model agree.
func TestPlansKeepToTheBudget(t *testing.T) {
	m := mlp(t, 48, 64, 40, 60, 10)
	before := Params(m)
	met := 0
	for _, structure := range []Structure{Auto, Bilinear, Terms, LowRank} {
		last := math.Inf(1)
		for _, ratio := range []float64{1.5, 2, 3, 4, 8, 16, 32, 64} {
			p, err := NewPlan(context.Background(), m, Options{Ratio: ratio, Structure: structure})
			var infeasible *InfeasibleError
			if errors.As(err, &infeasible) {
				if infeasible.Least <= int64(float64(before)/ratio) {
					t.Errorf("%s %g: infeasible, yet the least is %d of %d", structure, ratio, infeasible.Least, before)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			met++
			out, r := mustApply(t, m, p)
			after := Params(out)
			if float64(after)*ratio > float64(before) {
				t.Errorf("%s %g: %d of %d parameters are left", structure, ratio, after, before)
			}
			if after != p.ParamsAfter || after != r.ParamsAfter || before != p.ParamsBefore {
				t.Errorf("%s %g: the model has %d parameters, plan says %d and report %d", structure, ratio, after, p.ParamsAfter, r.ParamsAfter)
			}
			if float64(after) > last {
				t.Errorf("%s %g: more parameters than under a smaller ratio", structure, ratio)
			}
			last = float64(after)
			for i, l := range r.Layers {
				if l.ParamsAfter > l.ParamsBefore {
					t.Errorf("%s %g: layer %s grows from %d to %d", structure, ratio, l.Name, l.ParamsBefore, l.ParamsAfter)
				}
				// So small weights have no estimated errors.
				if math.Abs(l.Error-p.Layers[i].Error) > 1e-9 && !factorize.Balanced(p.Layers[i].Out, p.Layers[i].In).Pads(p.Layers[i].Out, p.Layers[i].In) {
					t.Errorf("%s %g: layer %s has error %g, planned %g", structure, ratio, l.Name, l.Error, p.Layers[i].Error)
				}
			}
			checkStructure(t, p)
		}
	}
	if met < 20 {
		t.Errorf("only %d plans were feasible", met)
	}
}

// checkStructure fails where a plan uses what its structure does not allow.
func checkStructure(t *testing.T, p *Plan) {
	t.Helper()
	for _, l := range p.Layers {
		switch p.Options.Structure {
		case Bilinear:
			if l.Action != ActBilinear || l.Terms != 1 || *l.Shape != *shapeOf(factorize.Balanced(l.Out, l.In)) {
				t.Errorf("bilinear: layer %s is %s %v × %d", l.Name, l.Action, l.Shape, l.Terms)
			}
		case Terms:
			if l.Action == ActLowRank || l.Action == ActBilinear && *l.Shape != *shapeOf(factorize.Balanced(l.Out, l.In)) {
				t.Errorf("terms: layer %s is %s %v", l.Name, l.Action, l.Shape)
			}
		case LowRank:
			if l.Action == ActBilinear {
				t.Errorf("lowrank: layer %s is bilinear", l.Name)
			}
		}
	}
}

// What is left of the budget is less than the next step of any layer.
func TestPlansSpendTheBudget(t *testing.T) {
	m := mlp(t, 48, 64, 40, 60, 10)
	for _, target := range []int64{1500, 2000, 2500, 3333, 5000} {
		p := mustPlan(t, m, Options{TargetParams: target, Structure: Terms})
		for _, l := range p.Layers {
			if l.Action != ActBilinear {
				continue
			}
			step := int64(l.Shape.factorize().Params(1))
			if l.ParamsAfter+step < l.ParamsBefore && p.ParamsAfter+step <= target {
				t.Errorf("target %d: %d used, layer %s could have another term of %d", target, p.ParamsAfter, l.Name, step)
			}
		}
	}
}

// The allocation is compared with the best of all combinations.
func TestAllocateAgainstAllCombinations(t *testing.T) {
	b := newModeller(t, 8, 13)
	worst := 0.0
	for trial := range 200 {
		var curves []*curve
		for range 3 {
			c := &curve{scale: 1 + float64(b.rng.IntN(2))}
			params, e := 1+b.rng.IntN(20), 1.0
			for range 1 + b.rng.IntN(6) {
				c.points = append(c.points, point{terms: 1, params: params, err: e})
				params += 1 + b.rng.IntN(30)
				e *= b.rng.Float64()
			}
			curves = append(curves, c)
		}
		budget := int64(30 + b.rng.IntN(200))
		got, ok := allocate(curves, budget)
		best := math.Inf(1)
		for i := range curves[0].points {
			for j := range curves[1].points {
				for k := range curves[2].points {
					if params, e := total(curves, allocation{i, j, k}); params <= budget {
						best = min(best, e)
					}
				}
			}
		}
		if ok == math.IsInf(best, 1) {
			t.Fatalf("trial %d: feasible %v, the best is %g", trial, ok, best)
		}
		if !ok {
			continue
		}
		params, e := total(curves, got)
		if params > budget || e < best-1e-12 {
			t.Errorf("trial %d: %d parameters of %d, error %g, the best is %g", trial, params, budget, e, best)
		}
		worst = max(worst, e-best)
	}
	// Greedy choice with so few and so coarse steps is not exact.
	if worst > 0.25 {
		t.Errorf("the error is up to %g above the best", worst)
	}
}

// The estimated tail is exact where squared singular values fall in a straight
// line, keeps the total, and never rises.
func TestTailOfALine(t *testing.T) {
	const n, known = 40, 12
	squares, sum := make([]float64, n), 0.0
	for i := range squares {
		squares[i] = float64(n - i)
		sum += squares[i]
	}
	errAt := func(k int) float64 {
		e := 0.0
		for _, s := range squares[k:] {
			e += s / sum
		}
		return e
	}
	tl := lineTail(errAt(known), errAt(known-1)-errAt(known), n-known)
	before := errAt(known)
	for k := 1; known+k <= n; k++ {
		e := tl.after(k)
		if e > before+1e-12 {
			t.Errorf("the error rises from %g to %g at %d", before, e, known+k)
		}
		before = e
		if math.Abs(e-errAt(known+k)) > 0.02 {
			t.Errorf("%d terms: error %g, the line has %g", known+k, e, errAt(known+k))
		}
	}
	if before > 1e-12 {
		t.Errorf("error %g with all terms", before)
	}
	// A flat tail does not end before its values do.
	flat := lineTail(0.5, 0.005, 100)
	if e := flat.after(50); math.Abs(e-0.25) > 1e-12 {
		t.Errorf("half of a flat tail leaves %g, want 0.25", e)
	}
}

func TestInfeasibleBudget(t *testing.T) {
	m := mlp(t, 48, 64, 40)
	_, err := NewPlan(context.Background(), m, Options{Ratio: 1000})
	var e *InfeasibleError
	if !errors.As(err, &e) {
		t.Fatalf("ratio 1000 gave %v", err)
	}
	if e.Unit != "parameters" || e.Budget != Params(m)/1000 || e.Least <= e.Budget {
		t.Errorf("%+v", e)
	}
	if n := len(e.Tradeoff); n < 3 || e.Tradeoff[n-1].Feasible || !e.Tradeoff[0].Feasible || e.Tradeoff[0].Ratio != 2 {
		t.Fatalf("trade-off %+v", e.Tradeoff)
	}
	for i, row := range e.Tradeoff {
		if row.Feasible && float64(row.Params)*row.Ratio > float64(Params(m)) {
			t.Errorf("%+v does not meet its ratio", row)
		}
		if i > 0 && row.Error < e.Tradeoff[i-1].Error {
			t.Errorf("the error falls at %+v", row)
		}
	}
	// What the table calls the least is what a plan of that size has.
	p := mustPlan(t, m, Options{TargetParams: e.Least})
	if p.ParamsAfter != e.Least {
		t.Errorf("the least is %d, a plan for that has %d", e.Least, p.ParamsAfter)
	}
	if _, err := NewPlan(context.Background(), m, Options{TargetParams: e.Least - 1}); !errors.As(err, &e) {
		t.Errorf("one parameter less than the least gave %v", err)
	}
}

func TestRatioOneChangesNothing(t *testing.T) {
	m := mlp(t, 48, 64, 40)
	want, err := onnx.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Structure{Auto, Bilinear, Terms, LowRank} {
		p := mustPlan(t, m, Options{Ratio: 1, Structure: s})
		if p.Changes() {
			t.Errorf("%s: the plan changes layers", s)
		}
		out, r := mustApply(t, m, p)
		got, err := onnx.Encode(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || r.Ratio != 1 {
			t.Errorf("%s: the model changed, ratio %g", s, r.Ratio)
		}
	}
}

func TestTargetSize(t *testing.T) {
	m := mlp(t, 48, 64, 40, 60, 10)
	whole, err := encodedSize(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []int64{whole / 2, whole / 3, 10_000, whole} {
		p := mustPlan(t, m, Options{TargetSize: target})
		out, _ := mustApply(t, m, p)
		size, err := encodedSize(out)
		if err != nil {
			t.Fatal(err)
		}
		if size > target {
			t.Errorf("target %d: %d bytes", target, size)
		}
		if target == whole && p.Changes() {
			t.Error("a model that is small enough is changed")
		}
		if size < target-target/10 {
			t.Errorf("target %d: only %d bytes are used", target, size)
		}
	}
	var e *InfeasibleError
	if _, err := NewPlan(context.Background(), m, Options{TargetSize: 500}); !errors.As(err, &e) || e.Unit != "bytes" {
		t.Errorf("500 bytes gave %v", err)
	}
}

func TestExplicitTermsMayGrow(t *testing.T) {
	m := mlp(t, 12, 18, 10)
	p := mustPlan(t, m, Options{Structure: Terms, NumTerms: 1 << 20})
	if len(p.Warnings) == 0 || !strings.Contains(p.Warnings[0], "grows") {
		t.Errorf("warnings %q", p.Warnings)
	}
	out, r := mustApply(t, m, p)
	if r.ParamsAfter <= r.ParamsBefore || len(r.Warnings) != len(p.Warnings) {
		t.Errorf("%d parameters became %d, warnings %q", r.ParamsBefore, r.ParamsAfter, r.Warnings)
	}
	x := randomLike(t, m, batch)
	wantClose(t, "all terms", runModel(t, out, x...)[0], runModel(t, m, x...)[0], tolFloat32)

	two := mustPlan(t, m, Options{Structure: LowRank, NumTerms: 2})
	for _, l := range two.Layers {
		if l.Action != ActLowRank || l.Terms != 2 {
			t.Errorf("layer %s is %s with %d terms, want rank 2", l.Name, l.Action, l.Terms)
		}
	}
	var e *InfeasibleError
	if _, err := NewPlan(context.Background(), m, Options{NumTerms: 8, Ratio: 4}); !errors.As(err, &e) {
		t.Errorf("8 terms under ratio 4 gave %v", err)
	}
}

func TestPlanAsJSON(t *testing.T) {
	m := mlp(t, 48, 64, 40)
	p := mustPlan(t, m, Options{Ratio: 6, ModelSHA256: "abc", Seed: 3, Pool: kernel.NewPool(1)})
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	q, err := ReadPlan(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, q) {
		t.Errorf("read back as\n%+v\nwant\n%+v", q, p)
	}
	for name, edit := range map[string][2]string{
		"another version":  {`"bilinc_plan": 1`, `"bilinc_plan": 2`},
		"no version":       {`"bilinc_plan": 1,`, ``},
		"an unknown field": {`"terms"`, `"turns"`},
		"a wrong type":     {`"params_before": `, `"params_before": "many", "x": `},
		"no JSON":          {`{`, `<`},
		"two values":       {"\n}\n", "\n}\n{}"},
	} {
		edited := strings.Replace(text, edit[0], edit[1], 1)
		if edited == text {
			t.Fatalf("%s: nothing was edited in\n%s", name, text)
		}
		if _, err := ReadPlan(strings.NewReader(edited)); !errors.Is(err, ErrPlan) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

func TestEditedPlans(t *testing.T) {
	m := mlp(t, 12, 18, 10)
	edit := func(f func(*Plan)) error {
		p := mustPlan(t, m, Options{Ratio: 2, Structure: Bilinear})
		f(p)
		_, _, err := Apply(context.Background(), m, p, ApplyOptions{ModelSHA256: "this"})
		return err
	}
	for name, f := range map[string]func(*Plan){
		"an unknown layer":   func(p *Plan) { p.Layers[0].Name = "fc9" },
		"a layer twice":      func(p *Plan) { p.Layers[1].Name = p.Layers[0].Name },
		"an unknown action":  func(p *Plan) { p.Layers[0].Action = "shrink" },
		"no shape":           func(p *Plan) { p.Layers[0].Shape = nil },
		"a shape too small":  func(p *Plan) { p.Layers[0].Shape.A[0] = 1 },
		"a factor too large": func(p *Plan) { p.Layers[0].Shape.A[0] = 19 },
		"a negative size":    func(p *Plan) { p.Layers[0].Shape.B[1] = -3 },
		"no terms":           func(p *Plan) { p.Layers[0].Terms = 0 },
		"too many terms":     func(p *Plan) { p.Layers[0].Terms = 1000 },
		"other sizes":        func(p *Plan) { p.Layers[0].In = 13 },
		"low rank of a pair": func(p *Plan) { p.Layers[0].Action = ActLowRank },
		"the model's digest": func(p *Plan) { p.Model = "that" },
	} {
		if err := edit(f); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := edit(func(p *Plan) {
		p.Layers[0].Shape, p.Layers[0].Terms = &Shape{A: [2]int{3, 4}, B: [2]int{6, 3}}, 2
		p.Layers[1].Action, p.Layers[1].Shape, p.Layers[1].Terms = ActDense, nil, 0
	}); err != nil {
		t.Error(err)
	}
}

func TestTiedLayersAreEditedTogether(t *testing.T) {
	b := newModeller(t, 8, 13)
	w := b.weight("w", 20, 20)
	b.output(b.op("MatMul", "y", list(b.op("MatMul", "h", list(b.input("x", "N", 20), w)), w)))
	m := b.model()
	p := mustPlan(t, m, Options{Ratio: 2})
	if p.Layers[1].TiedTo != "n_h" || p.Layers[1].ParamsBefore != 0 || p.Layers[0].ParamsBefore != 400 {
		t.Errorf("%+v", p.Layers)
	}
	p.Layers[1].Action = ActDense
	if _, _, err := Apply(context.Background(), m, p, ApplyOptions{}); !errors.Is(err, ErrPlan) {
		t.Errorf("half of a tied weight: %v", err)
	}
}

func TestGlobs(t *testing.T) {
	b := newModeller(t, 8, 13)
	v := b.input("x", "N", 20)
	for _, name := range []string{"/a/q/MatMul", "/a/k/MatMul", "/b/q/MatMul", "head[0]"} {
		v = b.op("MatMul", name, list(v, b.weight("w"+name, 20, 20)))
	}
	b.output(v)
	m := b.model()
	for _, c := range []struct {
		layers, exclude []string
		want            string
	}{
		{nil, nil, "/a/q/MatMul /a/k/MatMul /b/q/MatMul head[0]"},
		{[]string{"*q*"}, nil, "/a/q/MatMul /b/q/MatMul"},
		{nil, []string{"*/?/MatMul"}, "head[0]"},
		{[]string{"n_/a/*", "n_head[0]"}, []string{"*k*"}, "/a/q/MatMul head[0]"},
	} {
		p := mustPlan(t, m, Options{Structure: Bilinear, Layers: c.layers, Exclude: c.exclude})
		var got []string
		for _, l := range p.Layers {
			if l.Action == ActBilinear {
				got = append(got, strings.TrimPrefix(l.Name, "n_"))
			} else if l.Action != ActSkipped || l.Reason == "" {
				t.Errorf("layer %s is %s, reason %q", l.Name, l.Action, l.Reason)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q without %q: %q, want %q", c.layers, c.exclude, got, c.want)
		}
	}
	for _, o := range []Options{{Layers: []string{"fc*"}}, {Exclude: []string{"q"}}, {Ratio: 2, TargetParams: 9}, {Ratio: 0.5},
		{Ratio: math.NaN()}, {Structure: "tucker"}, {NumTerms: -1}, {TargetSize: -1}, {Structure: Bilinear, NumTerms: 2}} {
		if _, err := NewPlan(context.Background(), m, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v gave %v", o, err)
		}
	}
}

// Plans and models do not depend on the number of threads.
func TestThreadsChangeNothing(t *testing.T) {
	m := mlp(t, 300, 280, 260)
	var plans [][]byte
	for _, threads := range []int{1, 2, 3} {
		pool := kernel.NewPool(threads)
		p := mustPlan(t, m, Options{Ratio: 5, Pool: pool})
		out, _, err := Apply(context.Background(), m, p, ApplyOptions{Pool: pool})
		if err != nil {
			t.Fatal(err)
		}
		data, err := onnx.Encode(out)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, append(b.Bytes(), data...))
	}
	if !bytes.Equal(plans[0], plans[1]) || !bytes.Equal(plans[0], plans[2]) {
		t.Error("the plan or the model depends on the number of threads")
	}
}

func TestCancelledPlan(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m := mlp(t, 48, 64, 40)
	p := mustPlan(t, m, Options{Ratio: 4})
	cancel()
	if _, err := NewPlan(ctx, m, Options{Ratio: 4}); !errors.Is(err, context.Canceled) {
		t.Errorf("NewPlan: %v", err)
	}
	if _, _, err := Apply(ctx, m, p, ApplyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v", err)
	}
}

// A quantised weight is replaced only by factors that take fewer bytes, though
// many more would still have fewer parameters.
func TestQuantisedWeightsShrinkInBytes(t *testing.T) {
	b := newModeller(t, 8, 13)
	w := b.init("w", quantised(64, 64))
	d := b.op("DequantizeLinear", "wd", list(w, b.init("s", tensor.Scalar(float32(0.1))), b.init("z", tensor.Scalar(int8(0)))))
	b.output(b.op("MatMul", "y", list(b.input("x", "N", 64), d)))
	m := b.model()
	if got := Params(m); got != 64*64+2 {
		t.Errorf("%d parameters, want the quantised elements, the scale and the zero point", got)
	}
	p := mustPlan(t, m, Options{Ratio: 1.01})
	if l := p.Layers[0]; l.Action == ActDense || l.Action == ActSkipped || l.ParamsAfter*4 >= 64*64+4+1 {
		t.Errorf("%+v", l)
	}
	out, _ := mustApply(t, m, p)
	if out.Graph.Value("w") != nil || out.Graph.Value("s") != nil || out.Graph.Value("wd") != nil {
		t.Error("the quantised weight is still there")
	}
	small := newModeller(t, 8, 13)
	d = small.op("DequantizeLinear", "wd", list(small.init("w", quantised(6, 6)), small.init("s", tensor.Scalar(float32(0.1)))))
	small.output(small.op("MatMul", "y", list(small.input("x", "N", 6), d)))
	p = mustPlan(t, small.model(), Options{})
	if l := p.Layers[0]; l.Action != ActSkipped || !strings.Contains(l.Reason, "bytes") {
		t.Errorf("%+v", l)
	}
}

func TestWeightsThatAreNotFinite(t *testing.T) {
	m := mlp(t, 20, 30, 10)
	tensor.Data[float32](m.Graph.Value("w0").Init())[7] = float32(math.NaN())
	p := mustPlan(t, m, Options{Ratio: 1.2})
	if l := p.Layers[0]; l.Action != ActSkipped || !strings.Contains(l.Reason, "NaN") {
		t.Errorf("%+v", l)
	}
	if l := p.Layers[1]; l.Action == ActSkipped {
		t.Errorf("%+v", l)
	}
	mustApply(t, m, p)
}

func TestModelWithoutLayers(t *testing.T) {
	b := newModeller(t, 8, 13)
	b.output(b.op("Add", "y", list(b.input("x", "N", 4), b.weight("c", 4))))
	m := b.model()
	p := mustPlan(t, m, Options{})
	if p.Changes() || len(p.Layers) != 0 {
		t.Errorf("%+v", p)
	}
	var e *InfeasibleError
	if _, err := NewPlan(context.Background(), m, Options{Ratio: 4}); !errors.As(err, &e) || e.Least != 4 {
		t.Errorf("ratio 4 gave %v", err)
	}
}

// Names that a model already uses, in its subgraphs too, are not taken again.
func TestNamesDoNotClash(t *testing.T) {
	m := mlp(t, 12, 18, 10)
	p := mustPlan(t, m, Options{Structure: Bilinear})
	once, _ := mustApply(t, m, p)
	b := newModeller(t, 8, 13)
	b.m, b.g = mlp(t, 12, 18, 10), nil
	b.m.Graph.Name = "clash"
	b.g = b.m.Graph
	taken := map[string]bool{}
	for _, n := range once.Graph.Nodes() {
		for _, v := range n.Outputs() {
			if strings.Contains(v.Name(), "bilinc") && b.g.Value(v.Name()) == nil {
				b.weight(v.Name(), 1)
				taken[v.Name()] = true
			}
		}
	}
	for _, v := range once.Graph.Consts() {
		if strings.Contains(v.Name(), "bilinc") {
			b.weight(v.Name(), 1)
			taken[v.Name()] = true
		}
	}
	if len(taken) < 6 {
		t.Fatalf("names to clash with: %v", taken)
	}
	out, _ := mustApply(t, b.m, p)
	x := randomLike(t, m, batch)
	wantClose(t, "renamed", runModel(t, out, x...)[0], runModel(t, once, x...)[0], tolFloat32)
	var names []string
	for _, n := range out.Graph.Nodes() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("node names are not unique: %q", names)
	}
}
