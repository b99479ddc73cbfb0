package runtime_test

import (
	"errors"
	"strings"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// addFunction adds an empty function of domain "own" to b's model.
func (b *modelBuilder) addFunction(name string) (*graph.Function, *modelBuilder) {
	f := &graph.Function{Domain: "own", Name: name, Opsets: []graph.Opset{{Version: 17}, {Domain: "own", Version: 1}},
		Graph: graph.New(name, nil)}
	b.Functions = append(b.Functions, f)
	return f, b.in(f.Graph)
}

// call makes the last node of b's graph a call of a function.
func (b *modelBuilder) call(v *graph.Value) *graph.Value {
	v.Producer().Domain = "own"
	return v
}

// affine is the function y = flatten(x, axis)·w + x·w, whose axis is an
// attribute with the default 0, and "outer" calls it twice.
func withFunctions(t *testing.T) *modelBuilder {
	b := newModel(t)
	affine, f := b.addFunction("Affine")
	affine.Defaults = []*graph.Attr{intAttr("axis", 0)}
	x, w := f.input("x", tensor.Float32), f.input("w", tensor.Float32)
	flat := f.node("Flatten", "flat", vals(x), &graph.Attr{Name: "axis", Type: graph.AttrInt, Ref: "axis"})
	f.outputs(f.node("Mul", "y", vals(flat, w)))

	_, o := b.addFunction("Outer")
	x, w = o.input("x", tensor.Float32), o.input("w", tensor.Float32)
	first := o.call(o.node("Affine", "flat", vals(x, w), intAttr("axis", 1)))
	second := o.call(o.node("Affine", "second", vals(first, w)))
	o.outputs(second, first)
	return b
}

func TestFunctions(t *testing.T) {
	b := withFunctions(t)
	x := b.input("x", tensor.Float32, 2, 1, 2)
	w := b.floats("w", []float32{10}, 1)
	outs := b.nodes("Outer", []string{"a", "b"}, vals(x, w))
	b.call(outs[0])
	c := b.call(b.node("Outer", "c", vals(outs[1], w)))
	b.outputs(outs[0], outs[1], c)
	p := compile(t, b, runtime.Options{})
	check(t, p, []tensor.Value{f32(2, 1, 2)}, []tensor.Value{
		floatsOf([]float32{100, 200, 300, 400}, 1, 4),
		floatsOf([]float32{10, 20, 30, 40}, 2, 2),
		floatsOf([]float32{1000, 2000, 3000, 4000}, 1, 4),
	})
	if len(b.Functions) != 2 || len(b.g.Nodes()) != 2 {
		t.Error("the model itself was changed")
	}
	_, times, err := p.RunProfile(t.Context(), []tensor.Value{f32(2, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if times[0].Name != "a/flat/flat" {
		t.Errorf("the first node is named %q", times[0].Name)
	}
}

func TestFunctionErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(b *modelBuilder)
		want string
	}{
		{"recursion", func(b *modelBuilder) {
			_, f := b.addFunction("Loopy")
			x := f.input("x", tensor.Float32)
			f.outputs(f.call(f.node("Loopy", "y", vals(x))))
			b.outputs(b.call(b.node("Loopy", "z", vals(b.g.Inputs[0]))))
		}, `node "z/y" (own.Loopy): the function calls itself`},
		{"too many inputs", func(b *modelBuilder) {
			x := b.g.Inputs[0]
			b.outputs(b.call(b.node("Affine", "z", vals(x, x, x))))
		}, `node "z" (own.Affine): found 3 inputs and 1 outputs, the function has 2 and 1`},
		{"explosion", func(b *modelBuilder) {
			// Each function calls the one before four times: 4²⁰ nodes.
			last := "Affine"
			for i := range 20 {
				name := last + string(rune('a'+i))
				_, f := b.addFunction(name)
				v, w := f.input("x", tensor.Float32), f.input("w", tensor.Float32)
				for _, y := range []string{"1", "2", "3", "4"} {
					v = f.call(f.node(last, y, vals(v, w)))
				}
				f.outputs(v)
				last = name
			}
			b.outputs(b.call(b.node(last, "z", vals(b.g.Inputs[0], b.g.Inputs[0]))))
		}, "expand to more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := withFunctions(t)
			b.input("x", tensor.Float32, 2)
			c.make(b)
			_, err := runtime.Compile(b.Model, runtime.Options{})
			if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, wanted %s", err, c.want)
			}
		})
	}
}
