package convert

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// walked is nets of every kind of place that a stretch may end at, each with an
// input of 8 numbers in the last axis.
var walked = map[string]func(b *modeller){
	"chain": func(b *modeller) {
		h := b.op("Relu", "r", list(b.op("Gemm", "h", list(b.input("x", "N", 8), b.weight("w", 8, 6), b.weight("c", 6)))))
		b.output(b.op("MatMul", "y", list(b.op("Tanh", "t", list(b.op("MatMul", "h2", list(h, b.weight("w2", 6, 6))))), b.weight("w3", 6, 2))))
	},
	"residual": func(b *modeller) {
		x := b.input("x", "N", 8)
		h := b.op("MatMul", "h", list(x, b.weight("w", 8, 8)))
		s := b.op("Add", "s", list(x, b.op("Relu", "r", list(h))))
		n := b.op("LayerNormalization", "n", list(s, b.weight("scale", 8)))
		b.output(b.op("Add", "y", list(s, b.op("MatMul", "z", list(n, b.weight("w2", 8, 8))))))
	},
	"attention": func(b *modeller) {
		x := b.input("x", "N", "T", 8)
		heads := func(name string, perm ...int64) *graph.Value {
			p := b.op("Add", name+"b", list(b.op("MatMul", name, list(x, b.weight("w"+name, 8, 8))), b.weight("c"+name, 8)))
			r := b.op("Reshape", name+"r", list(p, b.ints("to"+name, 0, 0, 2, 4)))
			return b.op("Transpose", name+"t", list(r), attrInts("perm", perm...))
		}
		q, k, v := heads("q", 0, 2, 1, 3), heads("k", 0, 2, 3, 1), heads("v", 0, 2, 1, 3)
		a := b.op("Softmax", "a", list(b.op("Div", "d", list(b.op("MatMul", "qk", list(q, k)), b.scalar("two", 2)))), attrInt("axis", 3))
		o := b.op("Transpose", "ot", list(b.op("MatMul", "av", list(a, v))), attrInts("perm", 0, 2, 1, 3))
		o = b.op("MatMul", "o", list(b.op("Reshape", "or", list(o, b.ints("too", 0, 0, 8))), b.weight("wo", 8, 8)))
		s := b.op("Add", "s", list(x, o))
		g := b.op("MatMul", "m1", list(s, b.weight("w1", 8, 12)))
		g = b.op("Mul", "gelu", list(g, b.op("Sigmoid", "sg", list(g))))
		y := b.op("Add", "s2", list(s, b.op("MatMul", "m2", list(g, b.weight("w2", 12, 8)))))
		b.output(b.op("MatMul", "y", list(b.op("ReduceMean", "pool", list(y), attrInts("axes", 1), attrInt("keepdims", 0)), b.weight("w3", 8, 3))))
	},
	"two outputs and a dead end": func(b *modeller) {
		x := b.input("x", "N", 8)
		parts := b.split(x, 4, 4)
		h := b.op("MatMul", "h", list(parts[0], b.weight("w", 4, 5)))
		b.op("Neg", "dead", list(h))
		b.output(b.op("MatMul", "y", list(h, b.weight("w2", 5, 2))), b.op("MatMul", "z", list(parts[1], b.weight("w3", 4, 2))))
	},
	"shapes and indices": func(b *modeller) {
		x := b.input("x", "N", 8)
		h := b.op("MatMul", "h", list(x, b.weight("w", 8, 6)))
		n := b.op("Gather", "n", list(b.op("Shape", "dims", list(h)), b.init("zero", tensor.Of([]int64{0}, 1))), attrInt("axis", 0))
		to := b.op("Concat", "to", list(n, b.ints("rest", 2, 3)), attrInt("axis", 0))
		r := b.op("Reshape", "rs", list(b.op("Relu", "r", list(h)), to))
		b.output(b.op("MatMul", "y", list(r, b.weight("w2", 3, 2))))
	},
	"a subgraph that reads from outside": func(b *modeller) {
		x := b.input("x", "N", 8)
		h := b.op("MatMul", "h", list(x, b.weight("w", 8, 6)))
		r := b.op("Relu", "r", list(h))
		yes := b.op("Greater", "yes", list(b.op("ReduceSum", "sum", list(r), attrInt("keepdims", 0)), b.init("none", scalarOf(b, -1))))
		then := b.body("then", func(c *modeller) { c.output(c.op("Neg", "neg", list(h))) })
		other := b.body("other", func(c *modeller) { c.output(c.op("Abs", "abs", list(r))) })
		i := b.op("If", "if", list(yes), attrGraph("then_branch", then), attrGraph("else_branch", other))
		b.output(b.op("MatMul", "y", list(i, b.weight("w2", 6, 2))))
	},
	"a sequence": func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 8), b.weight("w", 8, 6)))
		seq := b.op("SequenceConstruct", "seq", list(h, b.op("Relu", "r", list(h))))
		both := b.op("ConcatFromSequence", "both", list(seq), attrInt("axis", 1))
		b.output(b.op("MatMul", "y", list(both, b.weight("w2", 12, 2))))
	},
	"convolution": func(b *modeller) {
		r := b.op("Reshape", "im", list(b.input("x", "N", 8), b.ints("image", -1, 2, 2, 2)))
		h := b.op("Relu", "r", list(b.op("Conv", "h", list(r, b.weight("w", 4, 2, 1, 1), b.weight("c", 4)))))
		p := b.op("GlobalAveragePool", "p", list(h))
		b.output(b.op("MatMul", "y", list(b.op("Flatten", "f", list(p)), b.weight("w2", 4, 2))))
	},
}

// split is a Split into parts of the given sizes.
func (b *modeller) split(x *graph.Value, sizes ...int64) []*graph.Value {
	b.t.Helper()
	var out []*graph.Value
	for i := range sizes {
		v, err := b.g.NewValue(fmt.Sprintf("part%d", i), graph.Type{})
		b.must(err)
		out = append(out, v)
	}
	n, err := b.g.NewNode("", "Split", "n_split", list(x), out, attrInt("axis", 1), attrInts("split", sizes...))
	b.must(err)
	b.g.Append(n)
	return out
}

// A walk to the inputs of one layer after the other gives what the model itself
// does, whatever lies between.
func TestWalkAgainstTheModel(t *testing.T) {
	for name, build := range walked {
		t.Run(name, func(t *testing.T) {
			b := newModeller(t, 8, 12)
			if name == "residual" {
				b = newModeller(t, 8, 17)
			}
			build(b)
			m := b.model()
			x := correlated(90, 8, 1)
			if r := len(m.Graph.Inputs[0].Type.Shape); r == 3 {
				x = correlated(270, 8, 1)
				x, _ = x.Reshaped(90, 3, 8)
			}
			c := calibrated(t, m, x, 1)
			var all []string
			for _, l := range c.found.layers {
				all = append(all, l.X.Name())
			}
			if len(all) < 2 {
				t.Fatalf("%d layers", len(all))
			}
			w := &walk{model: m, original: c}
			// Also once more for a target that is kept, and two at a time.
			steps := [][]string{{all[0]}, {all[0], all[1]}}
			for i := 1; i < len(all); i++ {
				steps = append(steps, all[i:i+1])
			}
			steps = append(steps, outputNames(m))
			left := false
			for _, targets := range steps {
				s, err := c.stretch(w, targets)
				if err != nil {
					t.Fatal(err)
				}
				p, err := c.compile(m, targets)
				if err != nil {
					t.Fatal(err)
				}
				checkStretch(t, c, s, p, targets)
				s.done()
				left = left || len(w.names) > 0
			}
			if !left {
				t.Error("the walk never left the inputs")
			}
		})
	}
}

// checkStretch compares a stretch with a program of the whole model.
func checkStretch(t *testing.T, c *Calibration, s *stretch, p *runtime.Program, targets []string) {
	t.Helper()
	err := c.batches(context.Background(), func(index, _ int, b *dataset.Batch) error {
		got, err := s.run(context.Background(), c, index, b)
		if err != nil {
			return err
		}
		want, err := runBatch(context.Background(), p, c.data.Inputs, b.Inputs)
		if err != nil {
			return err
		}
		for k := range targets {
			wantClose(t, fmt.Sprintf("%q, batch %d", targets[k], index), got[k].Tensor, want[k].Tensor, tolFloat32)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a walk has passed may not change any more, what is ahead may: the layer
// behind a stretch is replaced, and the next stretch sees that.
func TestWalkSeesWhatChangesAhead(t *testing.T) {
	m := reluNet(t, 8, 8, 8, 8, 4)
	c := calibrated(t, m, correlated(90, 8, 1), 1)
	small, js, err := prepare(m, mustPlan(t, m, Options{Structure: LowRank, NumTerms: 1}))
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{model: small, original: c}
	for _, j := range js.list {
		name := j.weight.Layers[0].X.Name()
		s, err := c.stretch(w, []string{name})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.compile(small, []string{name})
		if err != nil {
			t.Fatal(err)
		}
		checkStretch(t, c, s, p, []string{name})
		s.done()
		if name != "x" && !slices.Contains(w.names, name) {
			t.Errorf("the walk keeps %q after %q", w.names, name)
		}
		f, _, err := js.fit(context.Background(), j, factorize.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := js.replace(j, f); err != nil {
			t.Fatal(err)
		}
	}
}

// The frontier is what is read behind the targets, and no more.
func TestFrontier(t *testing.T) {
	for _, c := range []struct {
		net     string
		targets []string
		want    []string
	}{
		{"chain", []string{"h"}, []string{"h"}},
		{"chain", []string{"t"}, []string{"t"}},
		{"chain", []string{"y"}, nil},
		{"residual", []string{"n"}, []string{"s", "n"}},
		{"attention", []string{"qr"}, []string{"qr"}},
		{"attention", []string{"or"}, []string{"or"}},
		{"attention", []string{"s", "m1"}, []string{"s", "m1"}},
		{"attention", []string{"gelu"}, []string{"s", "gelu"}},
		{"two outputs and a dead end", []string{"h"}, []string{"part1", "h"}},
		{"a subgraph that reads from outside", []string{"r"}, []string{"h", "r"}},
		{"a subgraph that reads from outside", []string{"yes"}, []string{"h", "r", "yes"}},
		{"shapes and indices", []string{"r"}, []string{"h", "r"}},
	} {
		b := newModeller(t, 8, 12)
		if c.net == "residual" {
			b = newModeller(t, 8, 17)
		}
		walked[c.net](b)
		if got := frontier(b.model().Graph, c.targets); !slices.Equal(got, c.want) {
			t.Errorf("%s up to %q: %q, want %q", c.net, c.targets, got, c.want)
		}
	}
}

// A sequence is not kept: the next stretch begins where this one did.
func TestWalkKeepsNoSequence(t *testing.T) {
	b := newModeller(t, 8, 12)
	walked["a sequence"](b)
	m := b.model()
	c := calibrated(t, m, correlated(90, 8, 1), 1)
	w := &walk{model: m, original: c}
	for _, target := range []string{"seq", "both"} {
		s, err := c.stretch(w, []string{target})
		if err != nil {
			t.Fatal(err)
		}
		err = c.batches(context.Background(), func(index, _ int, b *dataset.Batch) error {
			_, err := s.run(context.Background(), c, index, b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.done()
		if kept := len(w.names) > 0; kept != (target == "both") {
			t.Errorf("up to %q the walk keeps %q", target, w.names)
		}
	}
}

// Weights depend on those before them, through whatever lies between.
func TestDependencies(t *testing.T) {
	for net, want := range map[string][][]int{
		"chain":                              {nil, {0}, {0, 1}},
		"residual":                           {nil, {0}},
		"attention":                          {nil, nil, nil, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4, 5}},
		"two outputs and a dead end":         {nil, {0}, nil},
		"a subgraph that reads from outside": {nil, {0}},
		"shapes and indices":                 {nil, {0}},
		"convolution":                        {nil, {0}},
	} {
		b := newModeller(t, 8, 12)
		if net == "residual" {
			b = newModeller(t, 8, 17)
		}
		walked[net](b)
		m := b.model()
		f, err := find(m)
		if err != nil {
			t.Fatal(err)
		}
		got := dependencies(m, f.weights)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v (%v)", net, got, want, layerNames(f.layers))
		}
	}
}

func layerNames(layers []*match.Layer) []string {
	var out []string
	for _, l := range layers {
		out = append(out, l.Name)
	}
	return out
}
