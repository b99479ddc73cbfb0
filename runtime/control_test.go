package runtime_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func graphAttr(name string, g *graph.Graph) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrGraph, G: g}
}

// sub is a builder for a new subgraph of b's graph.
func (b *modelBuilder) sub(name string) *modelBuilder { return b.in(graph.New(name, b.g)) }

// branches is x[N], flag → If(flag): −(x+x) with a branch in the branch, else
// the constant c given out as it is. h = x+x is captured.
func branches(t *testing.T) *modelBuilder {
	b := newModel(t)
	x, flag := b.input("x", tensor.Float32, "N"), b.input("flag", tensor.Bool)
	c := b.floats("c", []float32{7}, 1)
	h := b.node("Add", "h", vals(x, x))

	then := b.sub("then")
	zero := then.node("Sub", "zero", vals(h, h))
	inner, same := then.sub("inner"), then.sub("same")
	inner.outputs(inner.node("Sub", "minus", vals(zero, h)))
	same.outputs(h)
	then.outputs(then.node("If", "nested", vals(flag), graphAttr("then_branch", inner.g), graphAttr("else_branch", same.g)))
	other := b.sub("else")
	other.outputs(c)
	y := b.node("If", "y", vals(flag), graphAttr("then_branch", then.g), graphAttr("else_branch", other.g))
	b.outputs(y, b.node("Add", "twice", vals(y, y)))
	return b
}

func TestIf(t *testing.T) {
	p := compile(t, branches(t), runtime.Options{})
	yes, no := tensor.ValueOf(tensor.Scalar(true)), tensor.ValueOf(tensor.Scalar(false))
	for range 2 {
		check(t, p, []tensor.Value{f32(2), yes}, []tensor.Value{floatsOf([]float32{-2, -4}, 2), floatsOf([]float32{-4, -8}, 2)})
		check(t, p, []tensor.Value{f32(2), no}, []tensor.Value{floatsOf([]float32{7}, 1), floatsOf([]float32{14}, 1)})
		check(t, p, []tensor.Value{f32(1), yes}, []tensor.Value{floatsOf([]float32{-2}, 1), floatsOf([]float32{-4}, 1)})
	}
}

// The constant that a branch gives out stays the program's.
func TestBodyResultsAreTheCallers(t *testing.T) {
	p := compile(t, branches(t), runtime.Options{})
	in := []tensor.Value{f32(1), tensor.ValueOf(tensor.Scalar(false))}
	got, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	tensor.Data[float32](got[0].Tensor)[0] = 0
	check(t, p, in, []tensor.Value{floatsOf([]float32{7}, 1)})
}

// counting is a Loop that adds step to its state in each of n rounds and
// stacks the states; op is what the body does with them.
func counting(t *testing.T, opType string) *modelBuilder {
	b := newModel(t)
	n, start := b.input("n", tensor.Int64), b.input("start", tensor.Float32, "N")
	step := b.input("step", tensor.Float32, "N")
	body := b.sub("body")
	body.input("i", tensor.Int64)
	on := body.input("on", tensor.Bool)
	state := body.input("state", tensor.Float32, "N")
	next := body.node(opType, "next", vals(state, step))
	kept := body.node("Flatten", "kept", vals(next), intAttr("axis", 0))
	kept.Type = graph.TensorType(tensor.Float32, graph.Size(1), graph.Symbol("N"))
	body.outputs(on, next, kept)
	b.outputs(b.nodes("Loop", []string{"last", "all"}, vals(n, nil, start), graphAttr("body", body.g))...)
	return b
}

func TestLoop(t *testing.T) {
	p := compile(t, counting(t, "Add"), runtime.Options{})
	run := func(n int64) []tensor.Value {
		return []tensor.Value{tensor.ValueOf(tensor.Scalar(n)), f32(2), floatsOf([]float32{10, 20}, 2)}
	}
	check(t, p, run(3), []tensor.Value{floatsOf([]float32{31, 62}, 2), floatsOf([]float32{11, 22, 21, 42, 31, 62}, 3, 1, 2)})
	got, err := p.Run(context.Background(), run(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := sameValue(got[0], f32(2), 0, 0); err != nil {
		t.Error(err)
	}
	if all := got[1].Tensor; all.Rank() != 3 || all.Len() != 0 {
		t.Errorf("no round gives %v", all)
	}
}

func TestLoopStops(t *testing.T) {
	p := compile(t, counting(t, "Add"), runtime.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	in := []tensor.Value{tensor.ValueOf(tensor.Scalar(int64(1 << 60))), f32(2), f32(2)}
	if _, err := p.Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	// An error inside names the node and the one around it.
	in[0], in[2] = tensor.ValueOf(tensor.Scalar(int64(2))), f32(2)
	p = compile(t, counting(t, "MatMul"), runtime.Options{})
	_, err := p.Run(context.Background(), in)
	if err == nil || !strings.HasPrefix(err.Error(), `node "last" (Loop): `) || !strings.Contains(err.Error(), `node "kept" (Flatten)`) &&
		!strings.Contains(err.Error(), `node "next" (MatMul)`) {
		t.Errorf("error is %v", err)
	}
}

// Operators that are missing in a body count, but only those that are needed.
func TestUnsupportedInBody(t *testing.T) {
	b := newModel(t)
	flag := b.input("flag", tensor.Bool)
	one, two := b.sub("one"), b.sub("two")
	one.outputs(one.node("Frobnicate", "f", vals(flag)))
	two.node("Unwanted", "u", vals(flag))
	two.outputs(flag)
	b.outputs(b.node("If", "y", vals(flag), graphAttr("then_branch", one.g), graphAttr("else_branch", two.g)))
	_, err := runtime.Compile(b.Model, runtime.Options{})
	if want := `node "f" (Frobnicate): operator Frobnicate is not implemented`; err == nil || err.Error() != want {
		t.Errorf("error is %v, wanted %s", err, want)
	}
}

// randomLoop draws twice outside and in each of three rounds of a Loop.
func randomLoop(t *testing.T) *modelBuilder {
	b := newModel(t)
	x := b.input("x", tensor.Float32, 4)
	a, c := b.node("RandomUniformLike", "a", vals(x)), b.node("RandomUniformLike", "c", vals(x))
	sum := b.node("Add", "sum", vals(x, x))
	body := b.sub("body")
	body.input("i", tensor.Int64)
	on := body.input("on", tensor.Bool)
	body.outputs(on, body.node("RandomUniformLike", "drawn", vals(x)))
	n := b.g.NewConst("n", tensor.Scalar(int64(3)))
	all := b.nodes("Loop", []string{"all"}, vals(n, nil), graphAttr("body", body.g))[0]
	b.outputs(a, c, sum, all, b.node("Add", "both", vals(sum, a)))
	return b
}

func TestSeed(t *testing.T) {
	b := randomLoop(t)
	run := func(o runtime.Options) [][]float32 {
		p := compile(t, b, o)
		var first [][]float32
		for round := range 2 {
			got, err := p.Run(context.Background(), []tensor.Value{f32(4)})
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				x := tensor.Data[float32](v.Tensor)
				if round == 0 {
					first = append(first, x)
				} else if err := sameTensor(v.Tensor, tensor.Of(first[i], v.Tensor.Shape()...), 0, 0); err != nil {
					t.Errorf("second run: %v", err)
				}
			}
		}
		return first
	}
	one := run(runtime.Options{Seed: 1})
	if one[0][0] == one[1][0] {
		t.Error("two nodes draw the same")
	}
	if all := one[3]; len(all) != 12 || all[0] == all[4] || all[4] == all[8] {
		t.Errorf("rounds of the loop draw %v", all)
	}
	if two := run(runtime.Options{Seed: 2}); two[0][0] == one[0][0] {
		t.Error("another seed draws the same")
	}
	// What a node draws does not depend on which others are needed.
	if part := run(runtime.Options{Seed: 1, Outputs: b.g.Outputs[1:2]}); part[0][0] != one[1][0] {
		t.Errorf("alone c is %g, with the others %g", part[0][0], one[1][0])
	}
	p := compile(t, b, runtime.Options{})
	for i, want := range []bool{true, true, false, true, true} {
		if got := p.Outputs()[i]; got.Random != want {
			t.Errorf("output %q: Random is %v", got.Name, got.Random)
		}
	}
}
