package runtime_test

import (
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Element-wise results lie where an operand was that is not needed any more,
// and nowhere else: the arena has room for so many tensors.
func TestOverwrite(t *testing.T) {
	const rows, cols = 16, 64
	softmax := func(b *modelBuilder, name string, x *graph.Value, axis int64) *graph.Value {
		return b.node("Softmax", name, vals(x), intAttr("axis", axis))
	}
	for _, c := range []struct {
		name    string
		tensors int
		make    func(b *modelBuilder, x *graph.Value) *graph.Value
	}{
		{"over the first operand", 2, func(b *modelBuilder, x *graph.Value) *graph.Value {
			y := b.node("Mul", "y", vals(softmax(b, "p", x, 0), softmax(b, "q", x, 1)))
			return softmax(b, "out", y, 1)
		}},
		{"one after the other, through a view", 2, func(b *modelBuilder, x *graph.Value) *graph.Value {
			y := b.node("Mul", "y", vals(softmax(b, "p", x, 0), softmax(b, "q", x, 1)))
			y = b.node("Reshape", "r", vals(y, b.ints("shape", cols, rows)))
			y = softmax(b, "s", y, 1)
			return softmax(b, "out", b.node("Sub", "z", vals(y, softmax(b, "u", y, 0))), 0)
		}},
		{"not over what is read later", 4, func(b *modelBuilder, x *graph.Value) *graph.Value {
			p, q := softmax(b, "p", x, 0), softmax(b, "q", x, 1)
			y := softmax(b, "s", b.node("Mul", "y", vals(p, q)), 1)
			return b.node("Concat", "out", vals(y, p, q), intAttr("axis", 0))
		}},
		{"not over an operand that is spread", 2, func(b *modelBuilder, x *graph.Value) *graph.Value {
			m := b.node("ReduceMax", "m", vals(softmax(b, "p", x, 0)), intsAttr("axes", 1))
			y := b.node("Mul", "y", vals(x, m))
			return b.node("Concat", "out", vals(softmax(b, "s", y, 1), y), intAttr("axis", 0))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModel(t)
			b.outputs(c.make(b, b.input("x", tensor.Float32, rows, cols)))
			in := noise(1, rows, cols)
			sameLowered(t, b.Model, 0, in)
			p, err := runtime.Compile(b.Model, runtime.Options{Threads: 1})
			b.must(err)
			size, err := p.Arena([]tensor.Value{in})
			b.must(err)
			if n := size / (4 * rows * cols); n != c.tensors {
				t.Errorf("the arena has %d bytes, room for %d tensors, wanted %d", size, n, c.tensors)
			}
		})
	}
}
