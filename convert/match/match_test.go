package match

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// chainModel is x·f(w) for a chain of nodes f that build adds.
func chainModel(t *testing.T, opset int64, w *tensor.Tensor, in int, build func(g *graph.Graph, w *graph.Value) *graph.Value) *graph.Model {
	t.Helper()
	g := graph.New("main", nil)
	x, err := g.AddInput("x", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(in)))
	if err != nil {
		t.Fatal(err)
	}
	v := build(g, g.NewConst("w", w))
	y := add(t, g, "MatMul", "y", []*graph.Value{x, v})
	g.AddOutput(y)
	m := &graph.Model{Graph: g, IRVersion: 8, Opsets: []graph.Opset{{Version: opset}}}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

func add(t *testing.T, g *graph.Graph, opType, out string, in []*graph.Value, attrs ...*graph.Attr) *graph.Value {
	t.Helper()
	v, err := g.NewValue(out, graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := g.NewNode("", opType, "", in, []*graph.Value{v}, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	g.Append(n)
	return v
}

// only is the one layer of a model.
func only(t *testing.T, m *graph.Model) (*Layer, []Skip) {
	t.Helper()
	f, err := op.Infer(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, skips := Layers(m, f)
	if len(layers) == 0 {
		return nil, skips
	}
	return layers[0], skips
}

func ints(name string, v ...int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInts, Ints: v}
}

func integer(name string, v int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInt, I: v}
}

// A block-wise quantised weight of 4 bits, against the definition of
// DequantizeLinear element by element.
func TestBlockwiseInt4(t *testing.T) {
	const rows, cols, block = 8, 6, 4
	for _, d := range []tensor.DType{tensor.Int4, tensor.Uint4} {
		for axis, scales := range [][]int{{2, cols}, {rows, 2}} {
			w := tensor.New(d, rows, cols)
			rng := rand.New(rand.NewPCG(3, uint64(axis)))
			for i := range w.Bytes() {
				w.Bytes()[i] = byte(rng.Uint32())
			}
			scale, zero := tensor.New(tensor.Float32, scales...), tensor.New(d, scales...)
			for i := range tensor.Data[float32](scale) {
				tensor.Data[float32](scale)[i] = rng.Float32()
			}
			for i := range zero.Bytes() {
				zero.Bytes()[i] = byte(rng.Uint32())
			}
			m := chainModel(t, 21, w, rows, func(g *graph.Graph, v *graph.Value) *graph.Value {
				return add(t, g, "DequantizeLinear", "d", []*graph.Value{v, g.NewConst("s", scale), g.NewConst("z", zero)},
					integer("axis", int64(axis)), integer("block_size", block))
			})
			l, skips := only(t, m)
			if l == nil {
				t.Fatalf("%v axis %d: %v", d, axis, skips)
			}
			got, err := l.Weight.Dense()
			if err != nil {
				t.Fatal(err)
			}
			nibble := func(t *tensor.Tensor, i int) float64 {
				b := int(t.Bytes()[i/2])
				if i%2 == 1 {
					b >>= 4
				}
				if b &= 15; d == tensor.Int4 && b > 7 {
					b -= 16
				}
				return float64(b)
			}
			for i := range rows {
				for j := range cols {
					k := i/block*cols + j
					if axis == 1 {
						k = i*2 + j/block
					}
					want := (nibble(w, i*cols+j) - nibble(zero, k)) * float64(tensor.Data[float32](scale)[k])
					if math.Abs(got.At(j, i)-want) > 1e-12 {
						t.Fatalf("%v axis %d: (%d, %d) is %g, want %g", d, axis, i, j, got.At(j, i), want)
					}
				}
			}
			if want := rows*cols + 2*scale.Len(); l.Weight.Params() != want || l.Weight.Bytes() != rows*cols/2+scale.Len()*4+scale.Len()/2 {
				t.Errorf("%d parameters in %d bytes, want %d parameters", l.Weight.Params(), l.Weight.Bytes(), want)
			}
		}
	}
}

// permuted is compared with index arithmetic for every order of three axes.
func TestPermuted(t *testing.T) {
	shape := []int{2, 3, 4}
	v := make([]float64, 24)
	for i := range v {
		v[i] = float64(i)
	}
	for _, perm := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		got := permuted(v, shape, perm)
		k := 0
		idx := [3]int{}
		for idx[perm[0]] = range shape[perm[0]] {
			for idx[perm[1]] = range shape[perm[1]] {
				for idx[perm[2]] = range shape[perm[2]] {
					if want := float64((idx[0]*3+idx[1])*4 + idx[2]); got[k] != want {
						t.Fatalf("perm %v: element %d is %g, want %g", perm, k, got[k], want)
					}
					k++
				}
			}
		}
	}
}

// Chains that contradict themselves are skipped with a reason, whatever the
// file says.
func TestBrokenChains(t *testing.T) {
	w := tensor.New(tensor.Float32, 6, 4)
	for name, build := range map[string]func(g *graph.Graph, w *graph.Value) *graph.Value{
		"a permutation of another rank": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Transpose", "v", []*graph.Value{w}, ints("perm", 1, 0, 2))
		},
		"no permutation": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Transpose", "v", []*graph.Value{w}, ints("perm", 1, 1))
		},
		"a shape of more elements": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Reshape", "v", []*graph.Value{w, g.NewConst("s", tensor.Of([]int64{6, 5}, 2))})
		},
		"a shape that overflows": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Reshape", "v", []*graph.Value{w, g.NewConst("s", tensor.Of([]int64{1 << 62, 1 << 62}, 2))})
		},
		"two open dimensions": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Reshape", "v", []*graph.Value{w, g.NewConst("s", tensor.Of([]int64{-1, -1}, 2))})
		},
		"a cast to integers": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "Cast", "v", []*graph.Value{w}, integer("to", int64(tensor.Int32)))
		},
		"a scale for another axis": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "DequantizeLinear", "v", []*graph.Value{w, g.NewConst("s", tensor.New(tensor.Float32, 5))}, integer("axis", 0))
		},
		"zero points that are too few": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "DequantizeLinear", "v", []*graph.Value{w, g.NewConst("s", tensor.New(tensor.Float32, 6)),
				g.NewConst("z", tensor.New(tensor.Int8, 5))}, integer("axis", 0))
		},
		"blocks that do not fit": func(g *graph.Graph, w *graph.Value) *graph.Value {
			return add(t, g, "DequantizeLinear", "v", []*graph.Value{w, g.NewConst("s", tensor.New(tensor.Float32, 6, 2))},
				integer("axis", 0), integer("block_size", 2))
		},
	} {
		l, skips := only(t, chainModel(t, 21, w, 6, build))
		if l != nil || len(skips) != 1 || skips[0].Reason == "" || skips[0].Name != "y" {
			t.Errorf("%s: layer %+v, skips %+v", name, l, skips)
		}
	}
}

// Names stay unique where nodes share one.
func TestUniqueNames(t *testing.T) {
	s := &search{names: map[string]int{}}
	seen := map[string]bool{}
	for i, base := range []string{"fc", "fc", "fc#2", "fc", "fc#2", "other"} {
		name := s.unique(base)
		if seen[name] {
			t.Errorf("name %q is given twice (call %d)", name, i)
		}
		seen[name] = true
	}
	if !seen["fc"] || !seen["other"] {
		t.Error(fmt.Sprint(seen))
	}
}

// The body of a function serves every call: its weights are left alone.
func TestFunctionsAreLeftAlone(t *testing.T) {
	m := chainModel(t, 13, tensor.New(tensor.Float32, 6, 4), 6, func(_ *graph.Graph, w *graph.Value) *graph.Value { return w })
	body := graph.New("body", nil)
	x, err := body.AddInput("x", graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	w := add(t, body, "Constant", "w", nil, &graph.Attr{Name: "value", Type: graph.AttrTensor, T: tensor.New(tensor.Float32, 6, 4)})
	body.AddOutput(add(t, body, "MatMul", "inside", []*graph.Value{x, w}))
	m.Functions = []*graph.Function{{Domain: "local", Name: "dense", Graph: body}}
	l, skips := only(t, m)
	if l == nil || l.Name != "y" || len(skips) != 1 || skips[0].Name != "inside" || skips[0].Params != 24 {
		t.Errorf("layer %+v, skips %+v", l, skips)
	}
}
