package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestReadWhatIsNoModel(t *testing.T) {
	data := encoded(t, mlp(zeros("big", 2000)))
	whole := fmt.Sprintf("its graph ends at byte %d of ", len(data)-len(encoded(t, &onnxpb.ModelProto{OpsetImport: mlp().OpsetImport})))
	noGraph, noOpset := mlp(), mlp()
	noGraph.Graph, noOpset.OpsetImport = nil, nil
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("this is not a model\n"), "it looks like text"},
		{"html", []byte("<!DOCTYPE html><html>" + strings.Repeat("é", 600)), "it looks like text"},
		{"json", []byte(`{"ir_version": 8}`), "it looks like text"},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS pointer"},
		{"zip", []byte("PK\x03\x04\x00\x00"), "zip archive"},
		{"gzip", []byte("\x1f\x8b\x08\x00"), "gzip"},
		{"binary", bytes.Repeat([]byte{0xff, 0x00, 0x13}, 100), "no protobuf message of that kind"},
		{"cut in the graph", data[:len(data)/2], whole + fmt.Sprint(len(data)/2)},
		{"cut by a byte", data[:len(data)-1], "its opset_import ends at byte"},
		{"cut after the graph", encoded(t, noOpset), "imports no operator set"},
		{"cut before the graph", data[:2], "has no graph"},
		{"cut in a length", data[:4], "cut short inside graph, after 4 bytes"},
		{"a tensor", encoded(t, floats("w", []int64{1}, 1)), "no"},
		{"no graph", encoded(t, noGraph), "has no graph"},
		{"a damaged graph", append(protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), []byte{0x0a, 0xff, 0x01}), 0x42, 0), "damaged"},
	} {
		path := saved(t, "model.onnx", c.data)
		_, err := Read(path)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read "+path+": ") {
			t.Errorf("%s: error %v\nwanted %q", c.name, err, c.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.onnx")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// No cut of a model is taken for a model.
func TestReadEveryTruncation(t *testing.T) {
	data := encoded(t, mlp())
	for n := range data {
		if m, err := Decode(data[:n], ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("first %d of %d bytes: %v, %v", n, len(data), m, err)
		}
	}
}

func TestReadBrokenGraphs(t *testing.T) {
	for _, c := range []struct {
		name, want string
		edit       func(*onnxpb.GraphProto)
	}{
		{"undefined input", `node "h" (Gemm): input 1: value "nothing" is defined nowhere`,
			func(g *onnxpb.GraphProto) { g.Node[0].Input[1] = "nothing" }},
		{"cycle", "cycle", func(g *onnxpb.GraphProto) { g.Node[0].Input[0] = "y" }},
		{"undefined output", `graph output: value "nothing" is defined nowhere`,
			func(g *onnxpb.GraphProto) { g.Output[0].Name = new("nothing") }},
		{"output twice", `node "h" (Relu): value "h" is defined twice`,
			func(g *onnxpb.GraphProto) { g.Node[1].Output[0] = "h" }},
		{"output over initializer", `value "w" is defined twice`,
			func(g *onnxpb.GraphProto) { g.Node[1].Output[0] = "w" }},
		{"input twice", `graph input: value "x" is defined twice`,
			func(g *onnxpb.GraphProto) { g.Input = append(g.Input, g.Input[0]) }},
		{"initializer twice", `initializer "w" is defined twice`,
			func(g *onnxpb.GraphProto) { g.Initializer = append(g.Initializer, g.Initializer[0]) }},
		{"initializer without name", "must have a name",
			func(g *onnxpb.GraphProto) { g.Initializer[0].Name = nil }},
		{"attribute without tensor", `node "h" (Gemm): attribute "t": has no tensor`,
			func(g *onnxpb.GraphProto) {
				g.Node[0].Attribute = []*onnxpb.AttributeProto{{Name: new("t"), Type: onnxpb.AttributeProto_TENSOR.Enum()}}
			}},
		{"attribute without graph", `attribute "g": has no graph`,
			func(g *onnxpb.GraphProto) { g.Node[0].Attribute = []*onnxpb.AttributeProto{graphAttr("g", nil)} }},
		{"inside a subgraph", `node "h" (Gemm): attribute "g": tensor "w2": float32[3] takes 12 bytes, found 4`,
			func(g *onnxpb.GraphProto) {
				g.Node[0].Attribute = []*onnxpb.AttributeProto{graphAttr("g", &onnxpb.GraphProto{
					Initializer: []*onnxpb.TensorProto{floats("w2", []int64{3}, 1)}})}
			}},
		{"undefined in a subgraph", `value "inner" is defined nowhere`,
			func(g *onnxpb.GraphProto) {
				g.Node[0].Attribute = []*onnxpb.AttributeProto{graphAttr("g", &onnxpb.GraphProto{
					Node: []*onnxpb.NodeProto{node("v = Relu inner")}})}
			}},
	} {
		m := mlp()
		c.edit(m.Graph)
		_, err := Decode(encoded(t, m), "")
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v\nwanted %q", c.name, err, c.want)
		}
	}
}

// A node may stand before the one that it reads: the order can be mended.
func TestReadUnsortedNodes(t *testing.T) {
	pb := mlp()
	pb.Graph.Node[0], pb.Graph.Node[1] = pb.Graph.Node[1], pb.Graph.Node[0]
	m := decoded(t, pb)
	sorted, err := m.Graph.Sorted()
	if err != nil || len(sorted) != 2 || sorted[0].OpType != "Gemm" {
		t.Errorf("%v, %v", sorted, err)
	}
}

func TestNestingIsBounded(t *testing.T) {
	nested := func(depth int, fill ...*onnxpb.TensorProto) []byte {
		g := &onnxpb.GraphProto{Initializer: fill}
		for range depth {
			g = &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{node(" = Loop", graphAttr("body", g))}}
		}
		m := mlp()
		m.Graph.Node = append(m.Graph.Node, g.Node...)
		return encoded(t, m)
	}
	// With a large tensor innermost the walk goes down itself.
	for _, fill := range [][]*onnxpb.TensorProto{nil, {zeros("big", 2000)}} {
		if _, err := Decode(nested(50, fill...), ""); err != nil {
			t.Errorf("50 levels: %v", err)
		}
		if _, err := Decode(nested(100, fill...), ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("100 levels: %v", err)
		}
	}
}

func TestSparseTensors(t *testing.T) {
	i64 := func(dims []int64, v ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{DataType: new(int32(tensor.Int64)), Dims: dims, Int64Data: v}
	}
	for _, c := range []struct {
		name string
		p    *onnxpb.SparseTensorProto
		want string // the elements, or what the error says
		ok   bool
	}{
		{"flat", &onnxpb.SparseTensorProto{Values: floats("s", []int64{2}, 5, 6), Indices: i64([]int64{2}, 1, 5), Dims: []int64{2, 3}}, "[0 5 0 0 0 6]", true},
		{"by coordinates", &onnxpb.SparseTensorProto{Values: floats("s", []int64{2}, 5, 6), Indices: i64([]int64{2, 2}, 0, 1, 1, 2), Dims: []int64{2, 3}}, "[0 5 0 0 0 6]", true},
		{"no values", &onnxpb.SparseTensorProto{Values: floats("s", []int64{0}), Dims: []int64{3}}, "[0 0 0]", true},
		{"index too large", &onnxpb.SparseTensorProto{Values: floats("s", []int64{1}, 5), Indices: i64([]int64{1}, 6), Dims: []int64{2, 3}}, "index 6 of value 0 is out of range", false},
		{"coordinate too large", &onnxpb.SparseTensorProto{Values: floats("s", []int64{1}, 5), Indices: i64([]int64{1, 2}, 0, 3), Dims: []int64{2, 3}}, "index 3 of value 0 is out of range", false},
		{"negative", &onnxpb.SparseTensorProto{Values: floats("s", []int64{1}, 5), Indices: i64([]int64{1}, -1), Dims: []int64{2, 3}}, "index -1", false},
		{"too few indices", &onnxpb.SparseTensorProto{Values: floats("s", []int64{2}, 5, 6), Indices: i64([]int64{1}, 1), Dims: []int64{2, 3}}, "do not fit", false},
		{"bomb", &onnxpb.SparseTensorProto{Values: floats("s", []int64{1}, 5), Indices: i64([]int64{1}, 1), Dims: []int64{1 << 20, 1 << 20}}, "when filled up", false},
		{"overflow", &onnxpb.SparseTensorProto{Values: floats("s", []int64{1}, 5), Indices: i64([]int64{1}, 1), Dims: []int64{1 << 40, 1 << 40}}, "too many elements", false},
		{"without values", &onnxpb.SparseTensorProto{Dims: []int64{2}}, "without values", false},
	} {
		pb := mlp()
		pb.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{c.p}
		m, err := Decode(encoded(t, pb), "")
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.ok:
			if got := fmt.Sprint(tensor.Data[float32](m.Graph.Value("s").Init())); got != c.want {
				t.Errorf("%s: %s, wanted %s", c.name, got, c.want)
			}
		case !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: error %v\nwanted %q", c.name, err, c.want)
		}
	}
}

// The weights share the bytes read whatever their alignment in the file, so
// that reading takes the memory of the file and writing once more as much.
func TestMemory(t *testing.T) {
	const elements = 1 << 17
	var models []*graph.Model
	var paths []string
	size := int64(0)
	for _, name := range []string{"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"} {
		data := encoded(t, mlp(zeros(name, elements), zeros("second", elements)))
		size += int64(len(data))
		paths = append(paths, saved(t, "model.onnx", data))
		models = append(models, decoded(t, mlp(zeros(name, elements))), decoded(t, mlp(zeros("second", elements))))
	}
	for what, f := range map[string]func() error{
		"read": func() (err error) {
			for _, path := range paths {
				_, e := Read(path)
				err = errors.Join(err, e)
			}
			return err
		},
		"write": func() (err error) {
			for _, m := range models {
				_, e := Encode(m)
				err = errors.Join(err, e)
			}
			return err
		},
	} {
		r := testing.Benchmark(func(b *testing.B) {
			for range b.N {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
		if got, limit := r.AllocedBytesPerOp(), size*21/20; got > limit {
			t.Errorf("%s takes %d bytes for %d bytes of files, wanted at most %d", what, got, size, limit)
		}
	}
}

// Decode shares aligned elements and leaves its input alone.
func TestDecodeLeavesInputAlone(t *testing.T) {
	data := encoded(t, mlp(zeros("big", 2000), zeros("bigger", 3001)))
	before := bytes.Clone(data)
	m, err := Decode(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Error("Decode changed its input")
	}
	for _, v := range m.Graph.Consts() {
		if uintptr(unsafe.Pointer(&v.Init().Bytes()[0]))%4 != 0 {
			t.Errorf("%s is not aligned", v.Name())
		}
	}
}

func TestReadValue(t *testing.T) {
	a, b := floats("a", []int64{1}, 1), floats("b", []int64{2}, 2, 3)
	seq := &onnxpb.SequenceProto{Name: new("s"), ElemType: new(int32(1)), TensorValues: []*onnxpb.TensorProto{a, b}}
	for _, c := range []struct {
		kind tensor.Kind
		p    proto.Message
		want string
	}{
		{tensor.KindTensor, a, "a float32[1]"},
		{tensor.KindSequence, seq, "s (float32[1] float32[2])"},
		{tensor.KindSequence, &onnxpb.SequenceProto{Name: new("e")}, "e ()"},
		{tensor.KindSequence, &onnxpb.SequenceProto{Name: new("n"), SequenceValues: []*onnxpb.SequenceProto{seq}}, "n ((float32[1] float32[2]))"},
		{tensor.KindOptional, &onnxpb.OptionalProto{Name: new("o"), TensorValue: b}, "o ?(float32[2])"},
		{tensor.KindOptional, &onnxpb.OptionalProto{Name: new("o"), SequenceValue: seq}, "o ?((float32[1] float32[2]))"},
		{tensor.KindOptional, &onnxpb.OptionalProto{Name: new("o")}, "o ?()"},
	} {
		name, v, err := ReadValue(saved(t, "input_0.pb", encoded(t, c.p)), graph.Type{Kind: c.kind})
		if got := name + " " + show(v); err != nil || got != c.want {
			t.Errorf("%q, %v; wanted %q", got, err, c.want)
		}
	}
	bad := floats("bad", []int64{3}, 1)
	for _, c := range []struct {
		kind tensor.Kind
		data []byte
		want string
	}{
		{tensor.KindTensor, encoded(t, bad), `tensor "bad": float32[3] takes 12 bytes, found 4`},
		{tensor.KindTensor, []byte("text"), "it is no TensorProto"},
		{tensor.KindSequence, encoded(t, &onnxpb.SequenceProto{TensorValues: []*onnxpb.TensorProto{bad}}), `tensor "bad"`},
		{tensor.KindSequence, encoded(t, &onnxpb.SequenceProto{MapValues: []*onnxpb.MapProto{{}}}), "not supported"},
		{tensor.KindOptional, encoded(t, &onnxpb.OptionalProto{TensorValue: bad}), `tensor "bad"`},
		{tensor.KindMap, nil, "not supported"},
		{tensor.KindTensor, encoded(t, outside("w", []int64{1}, "location", "w.data")), "in another file"},
	} {
		path := saved(t, "input_0.pb", c.data)
		_, _, err := ReadValue(path, graph.Type{Kind: c.kind})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v\nwanted %q", err, c.want)
		}
	}
}

// show prints the kinds and types in v.
func show(v tensor.Value) string {
	if v.Kind == tensor.KindTensor {
		return v.Tensor.String()
	}
	var parts []string
	for _, e := range v.Elems {
		parts = append(parts, show(e))
	}
	out := "(" + strings.Join(parts, " ") + ")"
	if v.Kind == tensor.KindOptional {
		out = "?" + out
	}
	return out
}

// classifier has nodes of another domain, whose attributes are lists, and gives out
// maps.
func classifier() *onnxpb.ModelProto {
	m := mlp()
	tree := node("label scores = TreeEnsembleClassifier x")
	zip := node("maps = ZipMap scores")
	for _, n := range []*onnxpb.NodeProto{tree, zip} {
		n.Domain = new("ai.onnx.ml")
	}
	ints := func(name string, v ...int64) *onnxpb.AttributeProto {
		return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
	}
	tree.Attribute = []*onnxpb.AttributeProto{ints("nodes_treeids", 0, 0, 0), ints("nodes_nodeids", 0, 1, 2), ints("nodes_truenodeids", 1, 0, 0),
		{Name: new("nodes_modes"), Type: onnxpb.AttributeProto_STRINGS.Enum(), Strings: [][]byte{[]byte("BRANCH_LEQ"), []byte("LEAF"), []byte("LEAF")}},
		{Name: new("nodes_values"), Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: []float32{0.5, 0, 0}}}
	zip.Attribute = []*onnxpb.AttributeProto{ints("classlabels_int64s", 0, 1)}
	m.Graph.Node = append(m.Graph.Node, tree, zip)
	m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: new("ai.onnx.ml"), Version: new(int64(3))})
	number := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: new(int32(tensor.Float32))}}}
	pairs := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_MapType{MapType: &onnxpb.TypeProto_Map{KeyType: new(int32(tensor.Int64)), ValueType: number}}}
	m.Graph.Output = append(m.Graph.Output, &onnxpb.ValueInfoProto{Name: new("maps"),
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{ElemType: pairs}}}})
	return m
}

// FuzzDecode looks for input that makes the reader panic, and for models that
// are written otherwise than they were read.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, rich()))
	f.Add(encoded(f, mlp()))
	f.Add(encoded(f, classifier()))
	f.Add(encoded(f, mlp(zeros("big", 2000), outside("o", []int64{2}, "location", "w.data"))))
	for _, c := range typedCases {
		p := proto.Clone(c.p).(*onnxpb.TensorProto)
		p.DataType, p.Dims, p.Name = new(int32(c.d)), c.dims, new("extra")
		f.Add(encoded(f, mlp(p)))
	}
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.data"), make([]byte, 64), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data, dir)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not an ErrInvalid: %v", err)
			}
			return
		}
		out, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(out, dir)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice, err := Encode(again); err != nil || !bytes.Equal(twice, out) {
			t.Fatalf("the second writing differs from the first (%v)", err)
		}
	})
}
