package runtime_test

import (
	"context"
	"fmt"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// kron writes out a layer of Σ_r A_r ⊗ B_r as convert does, on x of the given
// leading dimensions (−1: all as one), and gives its result before a bias.
func (b *modelBuilder) kron(name string, x *graph.Value, lead []int64, n1, n2, m1, m2, terms int, aFirst bool) *graph.Value {
	reshape := func(role string, v *graph.Value, rest ...int) *graph.Value {
		shape := append([]int64{}, lead...)
		for _, d := range rest {
			shape = append(shape, int64(d))
		}
		return b.node("Reshape", name+role, vals(v, b.ints(name+role+".shape", shape...)))
	}
	flat := len(lead) == 1 && lead[0] == -1 && terms > 1
	var y *graph.Value
	if aFirst {
		t := b.node("MatMul", name+"t", vals(b.noisy(name+"A", m1*terms, n1), reshape("x", x, n1, n2)))
		switch {
		case terms > 1 && flat:
			t = reshape("tr", t, terms*n2)
		case terms > 1:
			t = reshape("tr", t, m1, terms*n2)
		}
		y = b.node("MatMul", name+"ax", vals(t, b.noisy(name+"B", terms*n2, m2)))
	} else {
		in := reshape("x", x, n1, n2)
		if flat {
			in = reshape("xf", x, n2)
		}
		t := b.node("MatMul", name+"t", vals(in, b.noisy(name+"B", n2, terms*m2)))
		if terms > 1 {
			t = reshape("tr", t, n1*terms, m2)
		}
		y = b.node("MatMul", name+"ax", vals(b.noisy(name+"A", m1, n1*terms), t))
	}
	return reshape("y", y, m1*m2)
}

func TestBilinear(t *testing.T) {
	for _, aFirst := range []bool{false, true} {
		for _, terms := range []int{1, 3} {
			for _, lead := range [][]int64{{-1}, {0, 0}} {
				t.Run(fmt.Sprint(aFirst, terms, lead), func(t *testing.T) {
					b := newModel(t)
					shape, dims := []int{7, 20}, []any{"N", 20}
					if len(lead) == 2 {
						shape, dims = []int{7, 3, 20}, []any{"N", "T", 20}
					}
					x := b.input("x", tensor.Float32, dims...)
					h := b.kron("h", x, lead, 4, 5, 6, 3, terms, aFirst)
					h = b.node("Relu", "relu", vals(b.node("Add", "hb", vals(h, b.noisy("bias", 18)))))
					y := b.kron("y", h, lead, 3, 6, 2, 8, terms, aFirst)
					b.outputs(b.node("Add", "out", vals(b.noisy("last", 16), y)))
					if ops := sameLowered(t, b.Model, rounding, noise(1, shape...)); ops != "Bilinear+Add+Relu Bilinear+Add" {
						t.Errorf("found %s", ops)
					}
				})
			}
		}
	}
}

// A step of the pattern that is read elsewhere, or wanted, stays what it is; so
// do products whose rows are not those of samples.
func TestBilinearLeavesOthers(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 20)
	y := b.kron("h", x, []int64{-1}, 4, 5, 6, 3, 2, false)
	middle := b.g.Value("htr")
	b.outputs(y)
	in := []tensor.Value{noise(1, 7, 20)}
	want, err := compile(t, b, runtime.Options{NoLowering: true, Outputs: vals(middle, y)}).Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	check(t, compile(t, b, runtime.Options{Threads: 1, Outputs: vals(middle, y)}), in, want)

	b = newModel(t)
	x = b.input("x", tensor.Float32, 4, 5)
	p := b.node("MatMul", "p", vals(b.noisy("a", 6, 4), b.node("MatMul", "q", vals(x, b.noisy("b", 5, 3)))))
	b.outputs(b.node("Reshape", "r", vals(p, b.ints("shape", 1, 18))))
	if ops := sameLowered(t, b.Model, rounding, noise(1, 4, 5)); ops != "MatMul MatMul Reshape" { //nolint:dupword // two nodes
		t.Errorf("found %s", ops)
	}
}

// Two layers that read the same factors, one of them transposed by a node.
func TestBilinearSharesFactors(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 36)
	for i := range 2 {
		a, w := b.g.Value("A"), b.g.Value("B")
		if a == nil {
			a, w = b.noisy("A", 6, 12), b.noisy("B", 6, 12)
		}
		name := fmt.Sprint("layer", i)
		r := func(role string, v *graph.Value, shape ...int64) *graph.Value {
			return b.node("Reshape", name+role, vals(v, b.ints(name+role+"s", shape...)))
		}
		t := b.node("MatMul", name+"t", vals(r("x", x, -1, 6), w))
		x = r("y", b.node("MatMul", name+"ax", vals(a, r("tr", t, -1, 12, 6))), -1, 36)
	}
	b.outputs(x)
	if ops := sameLowered(t, b.Model, rounding, noise(1, 9, 36)); ops != "Bilinear Bilinear" { //nolint:dupword // two nodes
		t.Errorf("found %s", ops)
	}
}
