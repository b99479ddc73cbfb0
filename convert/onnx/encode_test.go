package onnx

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// rich is a model that uses what the IR has a field for and what it has not:
// subgraphs, a function, sparse constants, training, devices, every kind of
// attribute, and in every message text, metadata and a field of the future.
func rich() *onnxpb.ModelProto {
	m := mlp()
	g := m.Graph
	branch := func(name string, inits ...*onnxpb.TensorProto) *onnxpb.GraphProto {
		return &onnxpb.GraphProto{
			Name: &name, Initializer: inits, Node: []*onnxpb.NodeProto{node(name + "_y = Add h " + inits[0].GetName())},
			Output: []*onnxpb.ValueInfoProto{info(name+"_y", onnxpb.TensorProto_FLOAT, "N", 2)},
		}
	}
	sparse := func(name string) *onnxpb.SparseTensorProto {
		return &onnxpb.SparseTensorProto{Values: floats(name, []int64{2}, 5, 6), Dims: []int64{2, 3},
			Indices: &onnxpb.TensorProto{Dims: []int64{2, 2}, DataType: new(int32(tensor.Int64)), Int64Data: []int64{0, 1, 1, 2}}}
	}
	attr := func(name string, typ onnxpb.AttributeProto_AttributeType, p *onnxpb.AttributeProto) *onnxpb.AttributeProto {
		p.Name, p.Type = &name, &typ
		return p
	}
	all := node("a b = Everything x _ w",
		attr("f", onnxpb.AttributeProto_FLOAT, &onnxpb.AttributeProto{F: new(float32(0))}),
		attr("i", onnxpb.AttributeProto_INT, &onnxpb.AttributeProto{}), // 0 left out
		attr("s", onnxpb.AttributeProto_STRING, &onnxpb.AttributeProto{S: []byte("\xff")}),
		attr("t", onnxpb.AttributeProto_TENSOR, &onnxpb.AttributeProto{T: zeros("", 2000)}),
		attr("st", onnxpb.AttributeProto_SPARSE_TENSOR, &onnxpb.AttributeProto{SparseTensor: sparse("")}),
		attr("tp", onnxpb.AttributeProto_TYPE_PROTO, &onnxpb.AttributeProto{Tp: info("", onnxpb.TensorProto_INT8, 3, nil).Type}),
		attr("fs", onnxpb.AttributeProto_FLOATS, &onnxpb.AttributeProto{Floats: []float32{1, 2}}),
		attr("is", onnxpb.AttributeProto_INTS, &onnxpb.AttributeProto{Ints: []int64{-1, 0}}),
		attr("ss", onnxpb.AttributeProto_STRINGS, &onnxpb.AttributeProto{Strings: [][]byte{nil, []byte("x")}}),
		attr("ts", onnxpb.AttributeProto_TENSORS, &onnxpb.AttributeProto{Tensors: []*onnxpb.TensorProto{zeros("", 1), zeros("", 1500)}}),
		attr("gs", onnxpb.AttributeProto_GRAPHS, &onnxpb.AttributeProto{Graphs: []*onnxpb.GraphProto{branch("p", zeros("pc", 2000)), branch("q", zeros("qc", 1))}}),
		attr("sts", onnxpb.AttributeProto_SPARSE_TENSORS, &onnxpb.AttributeProto{SparseTensors: []*onnxpb.SparseTensorProto{sparse("")}}),
		attr("tps", onnxpb.AttributeProto_TYPE_PROTOS, &onnxpb.AttributeProto{TypeProtos: []*onnxpb.TypeProto{info("", 1).Type}}),
		&onnxpb.AttributeProto{Name: new("untyped"), Ints: []int64{1}},
	)
	all.Domain, all.Overload = new("com.example"), new("second")
	g.Node = append(g.Node, all,
		node("z = If b", graphAttr("then_branch", branch("then", zeros("tc", 1200))), graphAttr("else_branch", branch("else", zeros("ec", 1)))),
		node("k = Scale y", intAttr("factor", 3)))
	g.Node[4].Domain = new("com.example")
	g.Initializer = append(g.Initializer, zeros("big", 40, 30))
	g.SparseInitializer = []*onnxpb.SparseTensorProto{sparse("sp")}
	g.ValueInfo = append(g.ValueInfo, info("nowhere", onnxpb.TensorProto_FLOAT, 1))
	g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: new("seq"), Type: &onnxpb.TypeProto{Denotation: new("D"),
		Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{ElemType: info("", 1, "N").Type}}}})
	g.QuantizationAnnotation = []*onnxpb.TensorAnnotation{{TensorName: new("w")}, {TensorName: new("elsewhere")}}
	m.Functions = []*onnxpb.FunctionProto{{
		Name: new("Scale"), Domain: new("com.example"), Input: []string{"u"}, Output: []string{"v"}, Attribute: []string{"factor"},
		AttributeProto: []*onnxpb.AttributeProto{intAttr("bias", 0)}, OpsetImport: m.OpsetImport,
		Node: []*onnxpb.NodeProto{node("c = Constant", &onnxpb.AttributeProto{Name: new("value_int"), RefAttrName: new("factor"),
			Type: onnxpb.AttributeProto_INT.Enum()}), node("v = Mul u c")},
		ValueInfo: []*onnxpb.ValueInfoProto{info("c", onnxpb.TensorProto_INT64)},
	}}
	m.TrainingInfo = []*onnxpb.TrainingInfoProto{{Algorithm: branch("step", zeros("lr", 1)), Initialization: &onnxpb.GraphProto{}}}
	m.Configuration = []*onnxpb.DeviceConfigurationProto{{Name: new("two"), NumDevices: new(int32(2)), Device: []string{"a", "b"}}}
	all.DeviceConfigurations = []*onnxpb.NodeDeviceConfigurationProto{{ConfigurationId: new("two"), PipelineStage: new(int32(0)),
		ShardingSpec: []*onnxpb.ShardingSpecProto{{TensorName: new("w"), Device: []int64{0, -1}}}}}
	decorate(m.ProtoReflect())
	return m
}

// decorate puts a doc string, a metadata entry and an unknown field into
// every message below m that can have them.
func decorate(m protoreflect.Message) {
	name := string(m.Descriptor().FullName())
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Kind() == protoreflect.MessageKind {
			if fd.IsList() {
				for i := range v.List().Len() {
					decorate(v.List().Get(i).Message())
				}
			} else {
				decorate(v.Message())
			}
		}
		return true
	})
	if fd := m.Descriptor().Fields().ByName("doc_string"); fd != nil {
		m.Set(fd, protoreflect.ValueOfString("about "+name))
	}
	if fd := m.Descriptor().Fields().ByName("metadata_props"); fd != nil {
		list := m.Mutable(fd).List()
		entry := &onnxpb.StringStringEntryProto{Key: new("k"), Value: new("")}
		list.Append(protoreflect.ValueOfMessage(entry.ProtoReflect()))
	}
	m.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 9999, protowire.BytesType), name))
}

func TestEverythingSurvives(t *testing.T) {
	m := decoded(t, rich())
	if got := reencoded(t, m); !proto.Equal(got, rich()) {
		t.Fatalf("written\n%v\nwanted\n%v", first(got, rich()), first(rich(), got))
	}
	// Go's package proto has the alternatives of a oneof behind all other fields, other writers where their numbers are.
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Decode(data, ""); err != nil {
		t.Fatal(err)
	}
	for i, m := range []*graph.Model{m, m, m.Clone()} {
		if out, err := Encode(m); err != nil || !bytes.Equal(out, data) {
			t.Fatalf("writing %d: not what was read (%v)", i, err)
		}
	}
	if got, err := Read(saved(t, "rich.onnx", data)); err != nil {
		t.Error(err)
	} else if out, err := Encode(got); err != nil || !bytes.Equal(out, data) {
		t.Errorf("read from a file: not what was read (%v)", err)
	}
	// The writer left the origins alone: decoding anew gives the same text.
	again, err := Decode(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if text(t, m) != text(t, again) {
		t.Error("writing changed the model")
	}
}

// Each edit changes the places that it means and no others.
func TestEditsReachTheFile(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*graph.Model)
		want func(*onnxpb.ModelProto)
	}{
		{"model fields", func(m *graph.Model) {
			m.ProducerName, m.Doc, m.ModelVersion = "bilinc", "", 7
			m.SetMetadata("k", "new")
			m.SetMetadata("bilinc.layers", "x")
		}, func(p *onnxpb.ModelProto) {
			p.ProducerName, p.DocString, p.ModelVersion = new("bilinc"), new(""), new(int64(7))
			p.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: new("k"), Value: new("new")}, {Key: new("bilinc.layers"), Value: new("x")}}
		}},
		{"node fields and an attribute", func(m *graph.Model) {
			n := m.Graph.Nodes()[0]
			n.Name, n.OpType = "fc", "Gemm2"
			n.Attr("transB").I = 0
		}, func(p *onnxpb.ModelProto) {
			n := p.Graph.Node[0]
			n.Name, n.OpType = new("fc"), new("Gemm2")
			n.Attribute[0] = intAttr("transB", 0)
		}},
		{"an initializer", func(m *graph.Model) {
			m.Graph.Value("w").SetConst(tensor.Of([]float32{9, 8, 7, 6}, 2, 2))
		}, func(p *onnxpb.ModelProto) {
			w := floats("w", []int64{2, 2}, 9, 8, 7, 6)
			p.Graph.Initializer = append(p.Graph.Initializer[1:1:1], w, p.Graph.Initializer[1])
		}},
		{"a type", func(m *graph.Model) {
			m.Graph.Value("h").Type = graph.TensorType(tensor.Float16, graph.Symbol("N"), graph.Unknown)
		}, func(p *onnxpb.ModelProto) {
			p.Graph.ValueInfo[0].Type = info("h", onnxpb.TensorProto_FLOAT16, "N", nil).Type
		}},
		{"a removed node", func(m *graph.Model) {
			g := m.Graph
			last := g.Nodes()[4]
			if err := g.Remove(last); err != nil {
				t.Fatal(err)
			}
		}, func(p *onnxpb.ModelProto) { p.Graph.Node = p.Graph.Node[:4] }},
		{"inside a subgraph", func(m *graph.Model) {
			s := m.Graph.Nodes()[3].Attr("then_branch").G
			s.Value("tc").SetConst(tensor.Of([]float32{1}, 1))
		}, func(p *onnxpb.ModelProto) {
			p.Graph.Node[3].Attribute[0].G.Initializer[0] = floats("tc", []int64{1}, 1)
		}},
		{"inside a function", func(m *graph.Model) {
			m.Functions[0].Graph.Nodes()[1].OpType = "Div"
			m.Functions[0].Defaults[0].I = 4
		}, func(p *onnxpb.ModelProto) {
			p.Functions[0].Node[1].OpType = new("Div")
			p.Functions[0].AttributeProto[0] = intAttr("bias", 4)
		}},
	} {
		pb := rich()
		m := decoded(t, pb)
		before := encoded(t, reencoded(t, m))
		edited := m.Clone()
		c.edit(edited)
		c.want(pb)
		got := reencoded(t, edited)
		if !proto.Equal(got, pb) {
			t.Errorf("%s: written\n%v\nwanted\n%v", c.name, first(got, pb), first(pb, got))
		}
		if !bytes.Equal(before, encoded(t, reencoded(t, m))) {
			t.Errorf("%s: the edit of a clone reached the original", c.name)
		}
	}
}

func text(t *testing.T, m *graph.Model) string {
	t.Helper()
	var b strings.Builder
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// first is the part of a's text from where it differs from b's.
func first(a, b proto.Message) string {
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	i := 0
	for i < len(x) && i < len(y) && x[i] == y[i] {
		i++
	}
	return x[max(0, i-80):min(len(x), i+300)]
}

// A rewrite replaces the Gemm: the old weight and what is said of it go, new
// values get their types, names in the file that mean nothing here stay.
func TestRewrite(t *testing.T) {
	pb := mlp()
	pb.Graph.QuantizationAnnotation = []*onnxpb.TensorAnnotation{{TensorName: new("w")}, {TensorName: new("elsewhere")}}
	pb.Graph.ValueInfo = append(pb.Graph.ValueInfo, info("w", onnxpb.TensorProto_FLOAT, 2, 2), info("nowhere", onnxpb.TensorProto_FLOAT))
	m := decoded(t, pb)
	g := m.Graph
	old := g.Nodes()[0]
	a, b := g.NewConst("w_a", tensor.Of([]float32{1, 2}, 2, 1)), g.NewConst("w_b", tensor.Of([]float32{3, 4}, 1, 2))
	mid, err := g.NewValue("h_mid", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(1)))
	if err != nil {
		t.Fatal(err)
	}
	x := old.Input(0)
	n1, err := g.NewNode("", "MatMul", "fc.a", []*graph.Value{x, a}, []*graph.Value{mid})
	if err != nil {
		t.Fatal(err)
	}
	n2, err := g.NewNode("", "MatMul", "fc.b", []*graph.Value{mid, b}, []*graph.Value{nil})
	if err != nil {
		t.Fatal(err)
	}
	g.InsertBefore(old, n1, n2)
	if err := n2.TakeOutput(0, old, 0); err != nil {
		t.Fatal(err)
	}
	w := g.Value("w")
	if err := g.Remove(old); err != nil {
		t.Fatal(err)
	}
	if err := g.RemoveValue(w); err != nil {
		t.Fatal(err)
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	got := reencoded(t, m).Graph
	var inits, infos, annotations, ops []string
	for _, p := range got.Initializer {
		inits = append(inits, p.GetName())
	}
	for _, p := range got.ValueInfo {
		infos = append(infos, p.GetName())
	}
	for _, p := range got.QuantizationAnnotation {
		annotations = append(annotations, p.GetTensorName())
	}
	for _, p := range got.Node {
		ops = append(ops, p.GetOpType()+strings.Join(p.Input, ",")+">"+strings.Join(p.Output, ","))
	}
	for _, c := range []struct{ got, want []string }{
		{inits, []string{"w_a", "w_b"}},
		{infos, []string{"h", "nowhere", "h_mid"}},
		{annotations, []string{"elsewhere"}},
		{ops, []string{"MatMulx,w_a>h_mid", "MatMulh_mid,w_b>h", "Reluh>y"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("got %q, wanted %q", c.got, c.want)
		}
	}
}

// Files of IR version 3 list every initializer among the inputs.
func TestNewConstantsOfOldFiles(t *testing.T) {
	for ir, want := range map[int64]string{3: "x w v", 4: "x w"} {
		pb := mlp()
		pb.IrVersion = &ir
		pb.Graph.Input = append(pb.Graph.Input, info("w", onnxpb.TensorProto_FLOAT, 2, 2))
		m := decoded(t, pb)
		m.Graph.NewConst("v", tensor.Of([]float32{1}, 1))
		var got []string
		p := reencoded(t, m)
		for _, in := range p.Graph.Input {
			got = append(got, in.GetName())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("IR version %d: inputs %q, wanted %q", ir, got, want)
		}
		if len(p.Graph.Initializer) != 2 {
			t.Errorf("IR version %d: %d initializers, wanted 2", ir, len(p.Graph.Initializer))
		}
	}
}

// A model that no file was read for has all it needs to be read again.
func TestModelMadeInMemory(t *testing.T) {
	g := graph.New("made", nil)
	x, err := g.AddInput("x", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(2)))
	if err != nil {
		t.Fatal(err)
	}
	w := g.NewConst("w", tensor.Of([]float32{1, 2, 3, 4}, 2, 2))
	h, _ := g.NewValue("h", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(2)))
	y, _ := g.NewValue("y", graph.Type{Kind: tensor.KindSequence, Elem: &graph.Type{Kind: tensor.KindTensor, DType: tensor.Float32}})
	n, err := g.NewNode("", "MatMul", "fc", []*graph.Value{x, w}, []*graph.Value{h},
		&graph.Attr{Name: "f", Type: graph.AttrFloat, F: 0}, &graph.Attr{Name: "s", Type: graph.AttrString},
		&graph.Attr{Name: "t", Type: graph.AttrTensor, T: tensor.Of([]string{"a"}, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n2, err := g.NewNode("", "SplitToSequence", "", []*graph.Value{h, nil}, []*graph.Value{y})
	if err != nil {
		t.Fatal(err)
	}
	g.Append(n)
	g.Append(n2)
	g.AddOutput(y)
	m := &graph.Model{Graph: g, IRVersion: 8, Opsets: []graph.Opset{{Domain: "", Version: 17}}}
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if text(t, got) != text(t, m) {
		t.Errorf("written\n%s\nread\n%s", text(t, m), text(t, got))
	}
	if v := got.Graph.Value("h").Type; !sameType(v, h.Type) {
		t.Errorf("h has type %v, wanted %v", v, h.Type)
	}
	n.Attrs = append(n.Attrs, &graph.Attr{Name: "bad", Type: graph.AttrTypeProtos})
	if _, err := Encode(m); err == nil || !strings.Contains(err.Error(), `node "fc" (MatMul): attribute "bad"`) {
		t.Errorf("an attribute that cannot be written: %v", err)
	}
}
