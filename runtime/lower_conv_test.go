package runtime_test

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// batchNorm adds an inference-mode BatchNormalization of c channels.
func (b *modelBuilder) batchNorm(name string, x *graph.Value, c int) *graph.Value {
	variance := noise(9, c).Tensor
	for i, v := range tensor.Data[float32](variance) {
		tensor.Data[float32](variance)[i] = v*v + 0.5
	}
	return b.node("BatchNormalization", name, vals(x, b.noisy(name+"s", c), b.noisy(name+"b", c), b.noisy(name+"m", c),
		b.g.NewConst(name+"v", variance)), floatAttr("epsilon", 1e-3))
}

func TestConv(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		make      func(b *modelBuilder, x *graph.Value) *graph.Value
	}{
		{"BatchNormalization behind a convolution without bias", "Conv+BatchNormalization+Relu", func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Relu", "y", vals(b.batchNorm("n", b.node("Conv", "c", vals(x, b.noisy("w", 6, 4, 3, 3))), 6)))
		}},
		{"scales and shifts of all kinds", "Conv+Mul+Add+Sub+Div+Sub+HardSwish", func(b *modelBuilder, x *graph.Value) *graph.Value {
			v := b.node("Conv", "c", vals(x, b.noisy("w", 6, 2, 3, 3), b.noisy("bias", 6)), intAttr("group", 2))
			v = b.node("Mul", "v1", vals(b.floats("half", []float32{0.5}), v))
			v = b.node("Add", "v2", vals(v, b.noisy("channel", 6, 1, 1)))
			v = b.node("Sub", "v3", vals(b.noisy("channels", 1, 6, 1, 1), v))
			v = b.node("Div", "v4", vals(v, b.floats("two", []float32{2}, 1)))
			v = b.node("Sub", "v5", vals(v, b.floats("three", []float32{0.25})))
			return b.node("HardSwish", "y", vals(v))
		}},
		{"what is no scale of channels", "Conv Add Div", func(b *modelBuilder, x *graph.Value) *graph.Value {
			v := b.node("Conv", "c", vals(x, b.noisy("w", 6, 4, 3, 3)))
			v = b.node("Add", "v1", vals(v, b.noisy("row", 4)))
			return b.node("Div", "y", vals(b.noisy("wide", 2, 1, 1, 1, 1), v))
		}},
		{"a convolution that two nodes read", "Conv Softmax Mul+Mul", func(b *modelBuilder, x *graph.Value) *graph.Value {
			v := b.node("Conv", "c", vals(x, b.noisy("w", 6, 4, 3, 3)))
			return b.node("Mul", "y", vals(b.node("Mul", "m", vals(v, b.floats("half", []float32{0.5}))), b.node("Softmax", "s", vals(v))))
		}},
		{"a residual", "Conv+BatchNormalization+Add+Relu", func(b *modelBuilder, x *graph.Value) *graph.Value {
			v := b.node("Conv", "c", vals(x, b.noisy("w", 4, 4, 3, 3)), &graph.Attr{Name: "pads", Type: graph.AttrInts, Ints: []int64{1, 1, 1, 1}})
			return b.node("Relu", "y", vals(b.node("Add", "a", vals(x, b.batchNorm("n", v, 4)))))
		}},
		{"a stride that hides the size", "Conv Conv+Mul+HardSigmoid+Mul", func(b *modelBuilder, x *graph.Value) *graph.Value {
			two := &graph.Attr{Name: "strides", Type: graph.AttrInts, Ints: []int64{2, 2}}
			v := b.node("Conv", "c", vals(b.node("Conv", "d", vals(x, b.noisy("w", 4, 4, 1, 1)), two), b.noisy("u", 4, 4, 2, 2)), two)
			v = b.node("Mul", "m", vals(v, b.floats("half", []float32{0.5})))
			return b.node("Mul", "y", vals(v, b.node("HardSigmoid", "s", vals(v))))
		}},
		{"BatchNormalization alone", "BatchNormalization+Mul", func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Mul", "y", vals(b.batchNorm("n", x, 4), b.floats("three", []float32{3})))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModel(t)
			b.outputs(c.make(b, b.input("x", tensor.Float32, "N", 4, "H", "W")))
			if ops := sameLowered(t, b.Model, convRounding, noise(2, 2, 4, 9, 6)); ops != c.ops {
				t.Errorf("found %s, wanted %s", ops, c.ops)
			}
		})
	}
}

// convRounding is for constants folded into the weights of a convolution.
const convRounding = 5e-6
