package runtime_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// normRounding is for means and variances of rows in another precision.
const normRounding = 2e-6

// A normSpelling is a layer-norm as an exporter writes it, or nearly.
type normSpelling struct {
	axes, squareAxes []int64
	epsilon          *graph.Value
	mul, flip        bool // squares by Mul, sums the other way round
	quotient         string
	scale, bias      *graph.Value
	leak             bool // something else reads the differences
}

func (s *normSpelling) build(b *modelBuilder, x *graph.Value) *graph.Value {
	mean := b.node("ReduceMean", "mean", vals(x), intsAttr("axes", s.axes...))
	d := b.node("Sub", "d", vals(x, mean))
	var square *graph.Value
	if s.mul {
		square = b.node("Mul", "square", vals(d, d))
	} else {
		square = b.node("Pow", "square", vals(d, b.floats("two", []float32{2})))
	}
	v := b.node("ReduceMean", "variance", vals(square), intsAttr("axes", s.squareAxes...))
	sum := vals(v, s.epsilon)
	if s.flip {
		sum = vals(s.epsilon, v)
	}
	root := b.node("Sqrt", "root", vals(b.node("Add", "sum", sum)))
	var y *graph.Value
	switch s.quotient {
	case "Reciprocal":
		y = b.node("Mul", "n", vals(d, b.node("Reciprocal", "r", vals(root))))
	case "1/":
		y = b.node("Mul", "n", vals(b.node("Div", "r", vals(b.floats("one", []float32{1}), root)), d))
	default:
		y = b.node("Div", "n", vals(d, root))
	}
	if s.scale != nil {
		y = b.node("Mul", "scaled", vals(y, s.scale))
	}
	if s.bias != nil {
		y = b.node("Add", "shifted", vals(s.bias, y))
	}
	if s.leak {
		y = b.node("Add", "leak", vals(y, b.node("Softmax", "other", vals(d))))
	}
	return b.node("Softmax", "y", vals(y))
}

func TestNorm(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		edit      func(b *modelBuilder, s *normSpelling)
	}{
		{"with scale and bias", "LayerNormalization Softmax", func(b *modelBuilder, s *normSpelling) {
			s.scale, s.bias = b.noisy("scale", 12), b.noisy("bias", 12)
		}},
		{"as Keras has it", "LayerNormalization Softmax", func(b *modelBuilder, s *normSpelling) {
			s.mul, s.flip, s.quotient = true, true, "Reciprocal"
			s.axes, s.squareAxes = []int64{2}, []int64{-1}
			s.scale, s.bias = b.noisy("scale", 12), b.noisy("bias", 12)
		}},
		{"by a quotient of one", "LayerNormalization Softmax", func(b *modelBuilder, s *normSpelling) { s.quotient = "1/" }},
		{"with a bias alone", "LayerNormalization Softmax", func(b *modelBuilder, s *normSpelling) { s.bias = b.noisy("bias", 12) }},
		{"over two axes", "LayerNormalization Softmax", func(b *modelBuilder, s *normSpelling) {
			s.axes, s.squareAxes = []int64{-2, -1}, []int64{2, 1}
			s.scale, s.bias = b.noisy("scale", 5, 12), b.noisy("bias", 5, 12)
		}},
		{"a scale for all", "LayerNormalization Mul Softmax", func(b *modelBuilder, s *normSpelling) { s.scale = b.noisy("scale", 1) }},
		{"a scale of other rows", "LayerNormalization Mul Softmax", func(b *modelBuilder, s *normSpelling) { s.scale = b.noisy("scale", 5, 1) }},
		{"over the first axes", "", func(b *modelBuilder, s *normSpelling) { s.axes, s.squareAxes = []int64{1}, []int64{1} }},
		{"over different axes", "", func(b *modelBuilder, s *normSpelling) { s.squareAxes = []int64{1} }},
		{"an epsilon that is none", "", func(b *modelBuilder, s *normSpelling) { s.epsilon = b.noisy("rows", 5, 1) }},
		{"what something else reads", "", func(b *modelBuilder, s *normSpelling) { s.leak = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModel(t)
			b.Opsets[0].Version = 13
			x := b.input("x", tensor.Float32, "N", 5, 12)
			s := &normSpelling{axes: []int64{-1}, squareAxes: []int64{-1}}
			c.edit(b, s)
			if s.epsilon == nil {
				s.epsilon = b.floats("epsilon", []float32{0.01})
			}
			for i, v := range tensor.Data[float32](s.epsilon.Init()) { // the variance's root is to be real
				tensor.Data[float32](s.epsilon.Init())[i] = float32(math.Abs(float64(v)))
			}
			b.outputs(s.build(b, x))
			ops := sameLowered(t, b.Model, normRounding, noise(2, 3, 5, 12))
			switch {
			case c.ops != "" && ops != c.ops:
				t.Errorf("found %s, wanted %s", ops, c.ops)
			case c.ops == "" && strings.Contains(ops, "LayerNormalization"):
				t.Errorf("found %s in what is no layer-norm", ops)
			}
		})
	}
}

// lowered is what a lowered program of b makes of x.
func (b *modelBuilder) lowered(x tensor.Value, lower bool) tensor.Value {
	b.t.Helper()
	p, err := runtime.Compile(b.Model, runtime.Options{Threads: 1, NoLowering: !lower})
	b.must(err)
	y, err := p.Run(context.Background(), []tensor.Value{x})
	b.must(err)
	return y[0]
}

// What exporters write out for GELU by tanh is the operator's function, to the
// bit; what differs from it in a number or a power is computed node by node.
func TestGeluTanhWrittenOut(t *testing.T) {
	for _, c := range []struct {
		name                   string
		half, root, cubic, one float32
		power                  float32
		spelling               int
		gelu                   bool
	}{
		{"Pow", 0.5, 0.7978845608, 0.044715, 1, 3, 0, true},
		{"products", 0.5, 0.7978846, 0.044715, 1, 3, 1, true},
		{"x taken out", 0.5, 0.79788456, 0.044715, 1, 2, 2, true},
		{"another half", 0.25, 0.7978845608, 0.044715, 1, 3, 0, false},
		{"another root", 0.5, 0.8, 0.044715, 1, 3, 0, false},
		{"another number", 0.5, 0.7978845608, 0.0447, 1, 3, 0, false},
		{"another one", 0.5, 0.7978845608, 0.044715, 2, 3, 0, false},
		{"squares", 0.5, 0.7978845608, 0.044715, 1, 2, 0, false},
		{"another one, x taken out", 0.5, 0.7978845608, 0.044715, 3, 2, 2, false},
	} {
		b := newModel(t)
		x := b.input("x", tensor.Float32, "N", 40)
		scalar := func(name string, v float32) *graph.Value { return b.floats(name, []float32{v}) }
		var u *graph.Value
		switch c.spelling {
		case 0:
			p := b.node("Pow", "p", vals(x, scalar("power", c.power)))
			u = b.node("Add", "s", vals(x, b.node("Mul", "k", vals(p, scalar("cubic", c.cubic)))))
		case 1:
			p := b.node("Mul", "p", vals(x, b.node("Mul", "q", vals(x, x))))
			u = b.node("Add", "s", vals(b.node("Mul", "k", vals(scalar("cubic", c.cubic), p)), x))
		case 2:
			p := b.node("Mul", "p", vals(b.node("Mul", "q", vals(scalar("cubic", c.cubic), x)), x))
			u = b.node("Mul", "s", vals(b.node("Add", "k", vals(p, scalar("inner", c.one))), x))
		}
		g := b.node("Tanh", "tanh", vals(b.node("Mul", "u", vals(u, scalar("root", c.root)))))
		g = b.node("Add", "g", vals(g, scalar("one", c.one)))
		b.outputs(b.node("Mul", "y", vals(b.node("Mul", "h", vals(x, scalar("half", c.half))), g)))

		want := newModel(t)
		want.Opsets[0].Version = 20
		want.outputs(want.node("Gelu", "y", vals(want.input("x", tensor.Float32, "N", 40)),
			&graph.Attr{Name: "approximate", Type: graph.AttrString, S: []byte("tanh")}))
		in := noise(3, 30, 40)
		got := b.lowered(in, true)
		if same := sameValue(got, want.lowered(in, true), 0, 0) == nil; same != c.gelu {
			t.Errorf("%s: taken for the function: %v", c.name, same)
		}
		plain := b.lowered(in, false)
		if c.gelu {
			if err := nearly(got, plain, normRounding); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if err := sameValue(got, plain, 0, 0); err != nil {
			t.Errorf("%s: not what the nodes make: %v", c.name, err)
		}
	}
}
