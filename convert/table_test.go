package convert

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// tableModel looks up rows of a table of 30×12, or as many as are given.
func tableModel(t testing.TB, opset int64, index tensor.DType, shape []any, size ...int) *graph.Model {
	b := newModeller(t, 8, opset)
	if size == nil {
		size = []int{30, 12}
	}
	typ := graph.TensorType(index, dims(shape...)...)
	if shape == nil {
		typ = graph.Type{Kind: tensor.KindTensor, DType: index}
	}
	x, err := b.g.AddInput("x", typ)
	b.must(err)
	y := b.op("Gather", "y", list(b.weight("w", size...), x))
	b.output(b.op("Neg", "z", list(y)))
	return b.model()
}

// indices is a tensor of indices of a table of so many rows; from operator set
// 11 on negative ones are among them.
func indices(d tensor.DType, opset int64, rows int, shape ...int) *tensor.Tensor {
	t := tensor.New(d, shape...)
	for i := range t.Len() {
		v := (7*i + 3) % rows
		if i == 0 {
			v = rows - 1
		}
		if opset >= 11 && i%2 == 1 {
			v -= rows
		}
		if d == tensor.Int32 {
			tensor.Data[int32](t)[i] = int32(v)
		} else {
			tensor.Data[int64](t)[i] = int64(v)
		}
	}
	return t
}

var tableCases = []struct {
	name  string
	shape []any
	fed   []int
}{
	{"N T", []any{"N", "T"}, []int{3, 5}}, {"N", []any{"N"}, []int{9}}, {"one", []any{}, []int{}},
	{"rank 3", []any{"N", 2, "T"}, []int{3, 2, 4}}, {"unknown rank", nil, []int{4, 2}},
}

func eachTable(t *testing.T, opsets []int64, f func(what string, m *graph.Model, in *tensor.Tensor, fo form, terms int)) {
	for _, c := range tableCases {
		for k, opset := range opsets {
			index := []tensor.DType{tensor.Int64, tensor.Int32}[k%2]
			for _, size := range [][]int{{30, 12}, {13, 6}} {
				m := tableModel(t, opset, index, c.shape, size...)
				w := weightOf(t, m)
				all := forms(w)
				if !all[0].IsLowRank() || len(all) < 3 {
					t.Fatalf("forms are %v", all)
				}
				for _, fo := range all {
					for _, terms := range []int{1, fo.MaxTerms()} {
						what := fmt.Sprintf("%s, opset %d, %v, %v, %d terms", c.name, opset, size, fo.Shape, terms)
						f(what, m, indices(index, opset, size[0], c.fed...), fo, terms)
					}
				}
			}
		}
	}
}

// Every form of a table, at one term and at as many as are exact, gives what
// the table with the same rows does, also for indices from the end.
func TestTableInEveryForm(t *testing.T) {
	eachTable(t, []int64{7, 8, 9, 11, 13, 22}, func(what string, m *graph.Model, in *tensor.Tensor, fo form, terms int) {
		out, r, err := Apply(context.Background(), m, planForm(t, m, fo, terms), ApplyOptions{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		ref := m
		if terms < fo.MaxTerms() {
			ref = withTable(t, m, fo, terms)
		}
		wantClose(t, what, runModel(t, out, in)[0], runModel(t, ref, in)[0], tolFloat32)
		checkInterface(t, m, out)
		if got, want := Params(out), int64(fo.Params(terms)); got != r.ParamsAfter || got != want {
			t.Errorf("%s: %d parameters, the report says %d, want %d", what, got, r.ParamsAfter, want)
		}
		done, err := ReadLayers(out)
		if err != nil || len(done) != 1 || done[0].Op != "Gather" || done[0].Shape.factorize() != fo.Shape {
			t.Errorf("%s: metadata %+v (%v)", what, done, err)
		}
	})
}

// An index outside of the table is an error, as it was.
func TestTableKeepsItsBounds(t *testing.T) {
	for k, opset := range []int64{8, 9, 13} {
		index := []tensor.DType{tensor.Int64, tensor.Int32}[k%2]
		for _, size := range [][]int{{30, 12}, {13, 6}} {
			m := tableModel(t, opset, index, []any{"N"}, size...)
			for _, fo := range forms(weightOf(t, m)) {
				out, _ := mustApply(t, m, planForm(t, m, fo, 1))
				for _, v := range []int{-size[0], -1, size[0] - 1, -size[0] - 1, -2 * size[0], -50, size[0], size[0] + 1, 50} {
					if opset < 11 && v < 0 { // no such thing there
						continue
					}
					in := tensor.Of([]int64{int64(v)}, 1)
					if index == tensor.Int32 {
						in = tensor.Of([]int32{int32(v)}, 1)
					}
					err := tryModel(t, out, in)
					if inside := v >= -size[0] && v < size[0]; inside != (err == nil) {
						t.Errorf("opset %d, %v, %v: index %d: error %v", opset, size, fo.Shape, v, err)
					}
				}
			}
		}
	}
}

// withTable is m with its table replaced by the nearest sum of a form.
func withTable(t testing.TB, m *graph.Model, fo form, terms int) *graph.Model {
	t.Helper()
	c := m.Clone()
	w := weightOf(t, c)
	d, err := w.Dense()
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := factorize.NearestKronecker(context.Background(), d, fo.Shape, terms, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tn, err := tensor.FromFloat64s(w.DType, transposed(k.Dense()).RawMatrix().Data, w.Cols, w.Rows)
	if err != nil {
		t.Fatal(err)
	}
	w.Layers[0].Product.SetInput(0, c.Graph.NewConst("dense", tn))
	return c
}

// An index behind the end is an error as before.
func TestTableOutOfRange(t *testing.T) {
	m := tableModel(t, 13, tensor.Int64, []any{"N"})
	out, _, err := Apply(context.Background(), m, planForm(t, m, form{Shape: factorize.Shape{M1: 3, N1: 5, M2: 4, N2: 6}}, 2), ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []int64{30, 31, 1000} {
		for what, x := range map[string]*graph.Model{"original": m, "compressed": out} {
			if err := tryModel(t, x, tensor.Of([]int64{0, v}, 2)); err == nil {
				t.Errorf("%s model looks up row %d", what, v)
			}
		}
	}
}

func TestTableONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	dir, ran := t.TempDir(), 0
	eachTable(t, []int64{7, 9, 12, 17}, func(what string, m *graph.Model, in *tensor.Tensor, fo form, terms int) {
		if terms > 1 && fo.M1%2 == 1 {
			return
		}
		out, _, err := Apply(context.Background(), m, planForm(t, m, fo, terms), ApplyOptions{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.onnx", ran))
		ran++
		if err := onnx.Write(out, path, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		want, err := s.Run(path, named(out, []*tensor.Tensor{in}))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if err := ortest.Compare(runModel(t, out, in)[0], want[0].Tensor, ortest.Tolerance); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
}

func TestTableReasons(t *testing.T) {
	index := func(b *modeller) *graph.Value {
		x, err := b.g.AddInput("x", graph.TensorType(tensor.Int64, dims("N", "T")...))
		b.must(err)
		return x
	}
	for _, c := range []struct {
		name   string
		build  func(b *modeller)
		reason string
	}{
		{"tied to the output layer", func(b *modeller) {
			w := b.weight("w", 30, 12)
			y := b.op("Gather", "y", list(w, index(b)))
			b.output(b.op("MatMul", "z", list(y, b.op("Transpose", "wt", list(w)))))
		}, `by node "n_z"`},
		{"in columns", func(b *modeller) {
			b.output(b.op("Gather", "y", list(b.weight("w", 30, 12), index(b)), attrInt("axis", 1)))
		}, "columns"},
		{"of rank 3", func(b *modeller) {
			b.output(b.op("Gather", "y", list(b.weight("w", 30, 12, 2), index(b))))
		}, "rank 3"},
		{"constant indices", func(b *modeller) {
			y := b.op("Gather", "y", list(b.weight("w", 30, 12), b.ints("i", 1, 2)))
			b.output(b.op("Add", "z", list(y, b.input("x", "N", 2, 12))))
		}, "constant"},
		{"also added", func(b *modeller) {
			w := b.weight("w", 30, 12)
			b.output(b.op("Gather", "y", list(w, index(b))), b.op("Neg", "z", list(w)))
		}, "also read"},
		{"computed", func(b *modeller) {
			b.output(b.op("Gather", "y", list(b.op("Mul", "ww", list(b.weight("w", 30, 12), b.weight("s", 12))), index(b))))
		}, `computed by node "n_ww"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModeller(t, 8, 13)
			c.build(b)
			in, err := Inspect(b.model(), InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range in.Layers {
				if l.Compressible || !strings.Contains(l.Reason, c.reason) {
					t.Errorf("%+v, want a reason with %q", l, c.reason)
				}
			}
			if len(in.Layers) == 0 {
				t.Error("nothing is listed")
			}
		})
	}
	// What is no weight is not listed at all.
	b := newModeller(t, 8, 13)
	b.output(b.op("Gather", "y", list(b.ints("w", 3, 4, 5), index(b))))
	if in, err := Inspect(b.model(), InspectOptions{}); err != nil || len(in.Layers) > 0 {
		t.Errorf("%+v (%v), want no layers", in, err)
	}
}

// Two lookups of one table are tied and share the factors.
func TestTableTied(t *testing.T) {
	b := newModeller(t, 8, 13)
	w := b.weight("w", 30, 12)
	for _, n := range []string{"p", "q"} {
		x, err := b.g.AddInput(n, graph.TensorType(tensor.Int64, dims(n+"s")...))
		b.must(err)
		b.output(b.op("Gather", n+"y", list(w, x)))
	}
	m := b.model()
	f := form{Shape: factorize.Shape{M1: 3, N1: 5, M2: 4, N2: 6}}
	out, _, err := Apply(context.Background(), m, planForm(t, m, f, f.MaxTerms()), ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := []*tensor.Tensor{indices(tensor.Int64, 13, 30, 4), indices(tensor.Int64, 13, 30, 6)}
	want := runModel(t, m, in...)
	for i, got := range runModel(t, out, in...) {
		wantClose(t, "tied", got, want[i], tolFloat32)
	}
	if got, want := Params(out), int64(f.Params(f.MaxTerms())); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}
