package onnx

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/convert/onnx/wire"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Small messages for the tests.

func floats(name string, dims []int64, v ...float32) *onnxpb.TensorProto {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return &onnxpb.TensorProto{Name: &name, Dims: dims, DataType: new(int32(onnxpb.TensorProto_FLOAT)), RawData: raw}
}

func zeros(name string, dims ...int64) *onnxpb.TensorProto {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return floats(name, dims, make([]float32, n)...)
}

func info(name string, elem onnxpb.TensorProto_DataType, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		p := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, p)
	}
	t := &onnxpb.TypeProto_Tensor{ElemType: new(int32(elem)), Shape: shape}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

// node parses "y z = Op x w", an input left out written as "_".
func node(spec string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	left, right, _ := strings.Cut(spec, "=")
	words := strings.Fields(right)
	n := &onnxpb.NodeProto{OpType: &words[0], Attribute: attrs, Output: strings.Fields(left)}
	for _, w := range words[1:] {
		n.Input = append(n.Input, strings.TrimPrefix(w, "_"))
	}
	return n
}

func intAttr(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func graphAttr(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

// mlp is x[N 2] → Gemm w[2 2] → Relu → y, and whatever a test adds.
func mlp(inits ...*onnxpb.TensorProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:   new(int64(8)),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: new(""), Version: new(int64(17))}},
		Graph: &onnxpb.GraphProto{
			Name:        new("mlp"),
			Node:        []*onnxpb.NodeProto{node("h = Gemm x w", intAttr("transB", 1)), node("y = Relu h")},
			Input:       []*onnxpb.ValueInfoProto{info("x", onnxpb.TensorProto_FLOAT, "N", 2)},
			Output:      []*onnxpb.ValueInfoProto{info("y", onnxpb.TensorProto_FLOAT, "N", 2)},
			ValueInfo:   []*onnxpb.ValueInfoProto{info("h", onnxpb.TensorProto_FLOAT, "N", 2)},
			Initializer: append([]*onnxpb.TensorProto{floats("w", []int64{2, 2}, 1, 2, 3, 4)}, inits...),
		},
	}
}

// fromProto is the tensor of a message, by way of its bytes.
func fromProto(t testing.TB, p *onnxpb.TensorProto) (*tensor.Tensor, error) {
	t.Helper()
	w := &wire.Tensor{}
	if err := wire.Unmarshal(encoded(t, p), w, wire.Options{}); err != nil {
		t.Fatal(err)
	}
	return tensorFromWire(w)
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decoded(t testing.TB, m *onnxpb.ModelProto) *graph.Model {
	t.Helper()
	g, err := Decode(encoded(t, m), "")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// reencoded is what the writer makes of m, as a message.
func reencoded(t testing.TB, m *graph.Model) *onnxpb.ModelProto {
	t.Helper()
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	pb := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, pb); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(data, ""); err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	return pb
}

// saved writes bytes to a file of a new folder.
func saved(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
