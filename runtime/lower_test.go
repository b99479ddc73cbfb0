package runtime_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Tolerances of lowered programs, as a share of an output's largest element:
// exact for rewrites that keep every bit, rounding for those that add up in
// another order or use the kernels' own functions, loweredModels for the same
// over a whole model.
const exact, rounding, loweredModels = 0, 2e-6, 1e-5

// noise is a float32 value from the standard normal distribution.
func noise(seed uint64, shape ...int) tensor.Value {
	rng := rand.New(rand.NewPCG(seed, 11))
	t := tensor.New(tensor.Float32, shape...)
	for i, x := 0, tensor.Data[float32](t); i < len(x); i++ {
		x[i] = float32(rng.NormFloat64())
	}
	return tensor.ValueOf(t)
}

// noisy is a constant of the model from the standard normal distribution.
func (b *modelBuilder) noisy(name string, shape ...int) *graph.Value {
	return b.g.NewConst(name, noise(uint64(len(name))*7+uint64(name[0]), shape...).Tensor)
}

// sameLowered compares a lowered program with the plain one on in, on one
// thread and on two, twice each, and returns what the lowered one runs.
func sameLowered(t *testing.T, m *graph.Model, tolerance float64, in ...tensor.Value) string {
	t.Helper()
	plain, err := runtime.Compile(m, runtime.Options{Threads: 1, NoLowering: true})
	if err != nil {
		t.Fatal(err)
	}
	want, err := plain.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	var first []tensor.Value
	var ops []string
	for _, threads := range []int{1, 2} {
		p, err := runtime.Compile(m, runtime.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, times, err := p.RunProfile(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if ops = nil; first == nil {
				first = got
			}
			for _, o := range times {
				ops = append(ops, o.Op)
			}
			for i, port := range p.Outputs() {
				if port.Random {
					continue
				}
				if err := sameValue(got[i], first[i], 0, 0); err != nil {
					t.Errorf("%d threads: output %q differs from one thread's first: %v", threads, port.Name, err)
				}
				if err := nearly(got[i], want[i], tolerance); err != nil {
					t.Errorf("%d threads: output %q: %v", threads, port.Name, err)
				}
			}
		}
	}
	return strings.Join(ops, " ")
}

// nearly compares within a share of the largest finite element of want.
func nearly(got, want tensor.Value, share float64) error {
	most := 0.0
	if want.Kind == tensor.KindTensor && want.Tensor.DType().IsFloat() {
		v, err := tensor.Float64s(want.Tensor)
		if err != nil {
			return err
		}
		for _, x := range v {
			if a := math.Abs(x); a > most && !math.IsInf(a, 0) {
				most = a
			}
		}
	}
	return sameValue(got, want, 0, share*most)
}

func TestLinear(t *testing.T) {
	for _, c := range []struct {
		name, ops string
		tolerance float64
		make      func(b *modelBuilder, x *graph.Value) *graph.Value
	}{
		{"MatMul", "MatMul", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("MatMul", "y", vals(x, b.noisy("w", 7, 5)))
		}},
		{"MatMul with a bias on either side", "MatMul+Add MatMul+Add+Relu", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			h := b.node("Add", "h", vals(b.noisy("c", 7), b.node("MatMul", "m", vals(x, b.noisy("w", 7, 7)))))
			y := b.node("Add", "k", vals(b.node("MatMul", "m2", vals(h, b.noisy("w2", 7, 5))), b.noisy("c2", 1, 5)))
			return b.node("Relu", "y", vals(y))
		}},
		{"MatMul by a large transposed weight", "MatMul+Tanh", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Tanh", "y", vals(b.node("MatMul", "m", vals(x, b.node("Transpose", "wt", vals(b.noisy("w", 3000, 7)))))))
		}},
		{"Gemm", "Gemm+Sigmoid+Mul", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			g := b.node("Gemm", "g", vals(x, b.noisy("w", 5, 7), b.noisy("c", 5)), intAttr("transB", 1))
			return b.node("Mul", "y", vals(g, b.node("Sigmoid", "s", vals(g))))
		}},
		{"Gemm with factors", "Gemm", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Gemm", "y", vals(x, b.noisy("w", 7, 5), b.noisy("c", 1, 5)), floatAttr("alpha", 0.5), floatAttr("beta", -3))
		}},
		{"Gemm with a factor alone", "Gemm", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Gemm", "y", vals(x, b.noisy("w", 7, 5)), floatAttr("alpha", 0.5))
		}},
		{"Gemm with beta 0", "Gemm", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Gemm", "y", vals(x, b.noisy("w", 7, 5), b.noisy("c", 1, 5)), floatAttr("beta", 0))
		}},
		{"Gemm with a computed C", "Gemm", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Gemm", "y", vals(x, b.noisy("w", 7, 7), x), intAttr("transB", 1))
		}},
		{"a residual", "MatMul+Add+Add", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			m := b.node("MatMul", "m", vals(x, b.noisy("w", 7, 7)))
			return b.node("Add", "y", vals(x, b.node("Add", "a", vals(m, b.noisy("c", 7)))))
		}},
		{"a product that two nodes read", "MatMul Softmax Mul", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			m := b.node("MatMul", "m", vals(x, b.noisy("w", 7, 5)))
			return b.node("Mul", "y", vals(m, b.node("Softmax", "s", vals(m))))
		}},
		{"a bias that makes the result larger", "MatMul Add", rounding, func(b *modelBuilder, x *graph.Value) *graph.Value {
			return b.node("Add", "y", vals(b.node("MatMul", "m", vals(x, b.noisy("w", 7, 5))), b.noisy("c", 2, 1, 5)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 3, 700} {
				b := newModel(t)
				b.outputs(c.make(b, b.input("x", tensor.Float32, "N", 7)))
				if ops := sameLowered(t, b.Model, c.tolerance, noise(1, n, 7)); ops != c.ops {
					t.Errorf("%d rows: found %s, wanted %s", n, ops, c.ops)
				}
			}
		})
	}
}

func floatAttr(name string, v float32) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrFloat, F: v}
}

// Weights of rank 3, of float64 and of vectors stay what they are.
func TestLinearLeavesOthers(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 7)
	d := b.input("d", tensor.Float64, "N", 2)
	w := b.g.NewConst("wd", tensor.Of([]float64{1, 2, 3, 4}, 2, 2))
	b.outputs(b.node("MatMul", "a", vals(x, b.noisy("w3", 2, 7, 5))), b.node("MatMul", "v", vals(x, b.noisy("w", 7))),
		b.node("MatMul", "f", vals(d, w)))
	in := tensor.ValueOf(tensor.Of([]float64{1, 2, 3, 4, 5, 6}, 3, 2))
	if ops := sameLowered(t, b.Model, exact, noise(1, 3, 7), in); ops != strings.TrimSpace(strings.Repeat("MatMul ", 3)) {
		t.Errorf("found %s", ops)
	}
}

// A value that is wanted is computed, whatever could be fused around it.
func TestWantedValuesAreNotFused(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 7)
	g := b.node("Gemm", "g", vals(x, b.noisy("w", 7, 5), b.noisy("c", 5)))
	r := b.node("Relu", "r", vals(g))
	y := b.node("Neg", "y", vals(r))
	b.outputs(y)
	in := noise(3, 4, 7)
	for _, wanted := range [][]*graph.Value{{g, y}, {r, y}, {y, g, r, x}, {y}, {r}} {
		plain := compile(t, b, runtime.Options{Threads: 1, Outputs: wanted, NoLowering: true})
		p := compile(t, b, runtime.Options{Threads: 1, Outputs: wanted})
		want, err := plain.Run(context.Background(), []tensor.Value{in})
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, []tensor.Value{in}, want)
	}
}

// Each operand that meets the result in one of the ways that a program knows,
// and some that it does not, on either side of each operator.
func TestPointwiseOperands(t *testing.T) {
	shapes := [][]int{{}, {1}, {6}, {5, 6}, {5, 1}, {4, 5, 6}, {4, 1, 1}, {4, 5, 1}, {3, 1, 1, 1}, {3, 4, 5, 6}, {3, 4, 1, 1}, {1, 4, 1, 6}, {4, 1, 6}, {3, 1, 5, 1}}
	for _, name := range []string{"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"} {
		for _, s := range shapes {
			for _, swapped := range []bool{false, true} {
				b := newModel(t)
				x := b.input("x", tensor.Float32, 3, 4, 5, 6)
				args := vals(x, b.noisy(fmt.Sprint("c", s), s...))
				if swapped && name != "PRelu" {
					args[0], args[1] = args[1], args[0]
				}
				b.outputs(b.node("Sigmoid", "y", vals(b.node(name, "h", args))))
				sameLowered(t, b.Model, exact, noise(5, 3, 4, 5, 6))
			}
		}
	}
}

// Element-wise graphs of any form: the bits are those of the nodes one by one.
func TestPointwiseRandom(t *testing.T) {
	unary := []string{"Relu", "Sigmoid", "Tanh", "Neg", "Abs", "HardSwish", "Erf", "Exp", "LeakyRelu", "Softplus", "Elu", "Selu", "Softsign", "Floor", "ThresholdedRelu"}
	binary := []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"}
	fused := 0
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := newModel(t)
		x, y := b.input("x", tensor.Float32, "N", 9, 11), b.input("y", tensor.Float32, "N", 9, 11)
		w := b.node("MatMul", "product", vals(x, b.noisy("w", 11, 11)))
		pool := []*graph.Value{x, y, w, b.floats("two", []float32{2}), b.noisy("row", 11), b.noisy("column", 9, 1), b.noisy("matrix", 1, 9, 11)}
		for i := range 1 + rng.IntN(30) {
			v, u := pool[rng.IntN(len(pool))], pool[max(0, len(pool)-1-rng.IntN(4))]
			name := fmt.Sprint("v", i)
			switch rng.IntN(4) {
			case 0:
				v = b.node(unary[rng.IntN(len(unary))], name, vals(u))
			case 1:
				v = b.node(binary[rng.IntN(len(binary))], name, vals(v, u))
			case 2:
				v = b.node("PRelu", name, vals(b.node("Add", name+"+", vals(u, x)), v))
			default:
				v = b.node("Clip", name, vals(b.node("Add", name+"+", vals(u, v)), b.floats("lo", []float32{-2}), b.floats("hi", []float32{float32(rng.IntN(9))})))
			}
			pool = append(pool, v)
		}
		b.outputs(pool[len(pool)-1])
		n := 1 + rng.IntN(30)
		if ops := sameLowered(t, b.Model, rounding, noise(seed, n, 9, 11), noise(seed+1, n, 9, 11)); strings.Contains(ops, "+") {
			fused++
		}
	}
	if fused < 60 {
		t.Errorf("%d of 120 graphs had nodes fused", fused)
	}
}

// Before opset 7 an operand may lie along an axis that is not its last: no program knows that.
func TestPointwiseAligned(t *testing.T) {
	for _, name := range []string{"Add", "Sub", "Mul", "Div", "PRelu"} {
		b := newModel(t)
		b.Model.Opsets[0].Version = 6
		x := b.input("x", tensor.Float32, 2, 5, 5, 5)
		var attrs []*graph.Attr
		if name != "PRelu" {
			attrs = []*graph.Attr{{Name: "broadcast", Type: graph.AttrInt, I: 1}, {Name: "axis", Type: graph.AttrInt, I: 1}}
		}
		b.outputs(b.node("Relu", "y", vals(b.node(name, "h", vals(b.node("Sigmoid", "s", vals(x)), b.noisy("c", 5)), attrs...))))
		sameLowered(t, b.Model, exact, noise(5, 2, 5, 5, 5))
	}
}

// What the model declares wrongly is found out at run time by the plain nodes.
func TestLoweringFallsBack(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", "K")
	flat := b.node("Reshape", "flat", vals(x, b.input("shape", tensor.Int64, 2)))
	flat.Type = graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Symbol("K"))
	b.outputs(b.node("Relu", "y", vals(b.node("Add", "a", vals(flat, x)))))
	shape := tensor.ValueOf(tensor.Of([]int64{1, 6}, 2))
	sameLowered(t, b.Model, exact, noise(1, 6, 6), tensor.ValueOf(tensor.Of([]int64{6, 6}, 2)))
	for _, plain := range []bool{true, false} {
		p := compile(t, b, runtime.Options{NoLowering: plain})
		if got, err := p.Run(context.Background(), []tensor.Value{noise(1, 1, 6), shape}); err != nil || len(got) != 1 {
			t.Errorf("plain %v: %v", plain, err)
		}
	}
}

// TestLoweredModels compares real models with their plain form.
func TestLoweredModels(t *testing.T) {
	for _, path := range realModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			p, err := runtime.Compile(m, runtime.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, symbol := range []int{1, 3} {
				in, err := randomInputs(filepath.Base(path), p, symbol)
				if err != nil {
					t.Fatal(err)
				}
				sameLowered(t, m, loweredModels, in...)
			}
		})
	}
}

// realModels is the files of the folder with real models.
func realModels(t *testing.T) []string {
	t.Helper()
	folder := os.Getenv("BILINC_TEST_MODELS")
	if folder == "" {
		t.Skip("no real models: set BILINC_TEST_MODELS to a folder of .onnx files")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no .onnx file in %s", folder)
	}
	return paths
}
