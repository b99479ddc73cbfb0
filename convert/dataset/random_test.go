package dataset

import (
	"fmt"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// embedding is a model whose integer input reaches, through Cast, a table of
// 5 rows, and whose second input indexes nothing.
func embedding(t *testing.T) *graph.Model {
	t.Helper()
	g := model(t, "ids", typ("int32 N T"), "mask", typ("int64 N T"), "x", typ("float32 N 3"))
	table := g.NewConst("table", tensor.New(tensor.Float32, 5, 4))
	wide, err := g.NewValue("wide", graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.NewValue("out", graph.Type{})
	if err != nil {
		t.Fatal(err)
	}
	to := &graph.Attr{Name: "to", Type: graph.AttrInt, I: int64(tensor.Int64)}
	cast, err := g.NewNode("", "Cast", "", []*graph.Value{g.Value("ids")}, []*graph.Value{wide}, to)
	if err != nil {
		t.Fatal(err)
	}
	gather, err := g.NewNode("", "Gather", "", []*graph.Value{table, wide}, []*graph.Value{out})
	if err != nil {
		t.Fatal(err)
	}
	g.Append(cast)
	g.Append(gather)
	g.AddOutput(out)
	return &graph.Model{Graph: g, IRVersion: 8, Opsets: []graph.Opset{{Version: 13}}}
}

func TestRandom(t *testing.T) {
	m := embedding(t)
	all := func(batch int, seed uint64) []string {
		b, err := Random(m, 6, batch, seed, map[string]int{"T": 50})
		if err != nil {
			t.Fatal(err)
		}
		if !b.Random || b.Rows() != 6 || b.HasLabels() {
			t.Errorf("%d rows", b.Rows())
		}
		rows := make([]string, 6)
		for batch, err := range b.Batches(batch) {
			if err != nil {
				t.Fatal(err)
			}
			ids, mask := tensor.Data[int32](batch.Inputs[0]), tensor.Data[int64](batch.Inputs[1])
			top := int32(0)
			for _, v := range ids {
				if v < 0 || v > 4 {
					t.Fatalf("index %d into a table of 5", v)
				}
				top = max(top, v)
			}
			if top != 4 {
				t.Errorf("the largest of %d indices is %d", len(ids), top)
			}
			for _, v := range mask {
				if v < 0 || v > 1 {
					t.Fatalf("mask %d", v)
				}
			}
			for i := range batch.Rows {
				x := tensor.Data[float32](batch.Inputs[2])[3*i : 3*i+3]
				rows[batch.First+i] = fmt.Sprint(ids[50*i:50*i+50], x)
			}
		}
		return rows
	}
	want := fmt.Sprint(all(2, 0))
	if fmt.Sprint(all(4, 0)) != want {
		t.Error("the numbers depend on the size of batches")
	}
	if fmt.Sprint(all(2, 1)) == want {
		t.Error("another seed gives the same numbers")
	}
	if rows := all(2, 0); rows[0] == rows[1] {
		t.Error("two rows are the same")
	}
}

func TestRandomShapes(t *testing.T) {
	for _, c := range []struct {
		inputs []any
		want   string
	}{
		{[]any{"x", typ("float32 N 7")}, "float32[2 7] 2 float32[1 7] 1"},
		{[]any{"x", typ("float32 N T 7")}, "float32[2 8 7] 2 float32[1 8 7] 1"},
		{[]any{"x", typ("float32 N 3 H 48")}, "float32[2 3 32 48] 2 float32[1 3 32 48] 1"},
		{[]any{"x", typ("float32 1 7")}, "float32[1 7] 1 float32[1 7] 1 float32[1 7] 1"},
		{[]any{"x", typ("float32 N 7"), "n", typ("int64")}, "float32[2 7] int64[] 2 float32[1 7] int64[] 1"},
		{[]any{"x", typ("float32 T N 7"), "h", typ("float32 2 N 5")},
			"float32[2 8 7] float32[2 8 5] 1 float32[2 8 7] float32[2 8 5] 1 float32[2 8 7] float32[2 8 5] 1"},
		{[]any{"x", typ("float32 0 7")}, "float32[0 7] 1 float32[0 7] 1 float32[0 7] 1"},
		{nil, "2 1"},
	} {
		m := &graph.Model{Graph: model(t, c.inputs...), Opsets: []graph.Opset{{Version: 13}}}
		b, err := Random(m, 3, 2, 0, nil)
		if err != nil {
			t.Errorf("%v: %v", c.inputs, err)
		} else if got := shapes(t, b, 2); got != c.want {
			t.Errorf("%v: %s, wanted %s", c.inputs, got, c.want)
		}
	}
	m := &graph.Model{Graph: model(t, "x", graph.Type{Kind: tensor.KindSequence}), Opsets: []graph.Opset{{Version: 13}}}
	if _, err := Random(m, 1, 1, 0, nil); err == nil {
		t.Error("numbers were drawn for a sequence")
	}
}

// What no data holds is not made up without bound: neither random rows nor
// copies of one that fill a batch.
func TestMadeUpIsBounded(t *testing.T) {
	for _, c := range []struct {
		what, shape string
		rows        int
		dims        map[string]int
	}{
		{"a batch", "float32 N 3", 1 << 30, nil},
		{"a dimension", "float32 N T", 2, map[string]int{"T": 1 << 40}},
		{"a fixed batch", "float32 1099511627776 3", 2, nil},
		{"a fixed dimension", "int64 N 1099511627776", 2, nil},
	} {
		m := &graph.Model{Graph: model(t, "x", typ(c.shape)), IRVersion: 8, Opsets: []graph.Opset{{Version: 13}}}
		b, err := Random(m, c.rows, c.rows, 0, c.dims)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		for _, err = range b.Batches(c.rows) {
			break
		}
		if err == nil || !strings.Contains(err.Error(), "wanted at most 1073741824") {
			t.Errorf("%s: error %v", c.what, err)
		}
	}
}
