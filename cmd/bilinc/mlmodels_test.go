package main

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/tensor"
)

// pipeline is a net of three layers between what skl2onnx puts around it: missing
// values are filled in and features scaled before, and the class of the highest
// probability is looked up after; maps makes its probabilities maps by class.
func pipeline(words []string, maps bool) *onnxpb.ModelProto {
	const ml = "ai.onnx.ml"
	var nodes []*onnxpb.NodeProto
	add := func(domain, op string, in []string, out string, attrs ...*onnxpb.AttributeProto) {
		n := node(op, op+"_"+out, in, out)
		if n.Attribute = attrs; domain != "" {
			n.Domain = proto.String(domain)
		}
		nodes = append(nodes, n)
	}
	offset, scale := make([]float32, 16), make([]float32, 16)
	for i := range scale {
		offset[i], scale[i] = 0.01*float32(i), 1+0.1*float32(i%3)
	}
	add(ml, "Imputer", []string{"x"}, "filled", floatsAttr("imputed_value_floats", 0.5), &onnxpb.AttributeProto{Name: proto.String("replaced_value_float"), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(-9)})
	add(ml, "Scaler", []string{"filled"}, "scaled", floatsAttr("offset", offset...), floatsAttr("scale", scale...))
	var consts []*onnxpb.TensorProto
	from := "scaled"
	sizes := []int{16, 32, 32, 4}
	for i, in := range sizes[:3] {
		out := sizes[i+1]
		w := ramp(in * out)
		for k := range w {
			w[k] /= 4
		}
		wn, bn, mn, yn := fmt.Sprintf("coefficient%d", i), fmt.Sprintf("intercepts%d", i), fmt.Sprintf("mul_result%d", i), fmt.Sprintf("add_result%d", i)
		consts = append(consts, constant(wn, w, in, out), constant(bn, ramp(out), 1, out))
		add("", "MatMul", []string{from, wn}, mn)
		add("", "Add", []string{mn, bn}, yn)
		if from = yn; i < 2 {
			from = fmt.Sprintf("next_activations%d", i)
			add("", "Relu", []string{yn}, from)
		}
	}
	add("", "Softmax", []string{from}, "probabilities", intAttr("axis", 1))
	add("", "ArgMax", []string{"probabilities"}, "argmax", intAttr("axis", 1))
	classes := &onnxpb.TensorProto{Name: proto.String("classes"), Dims: []int64{4}}
	keys := &onnxpb.AttributeProto{Type: onnxpb.AttributeProto_INTS.Enum(), Name: proto.String("classlabels_int64s")}
	label, kind := "extracted", tensor.Int64
	if words == nil {
		classes.DataType, classes.Int32Data = proto.Int32(int32(tensor.Int32)), []int32{0, 1, 2, 3}
		keys.Ints = []int64{0, 1, 2, 3}
	} else {
		classes.DataType, kind = proto.Int32(int32(tensor.String)), tensor.String
		keys.Type, keys.Name = onnxpb.AttributeProto_STRINGS.Enum(), proto.String("classlabels_strings")
		for _, w := range words {
			classes.StringData, keys.Strings = append(classes.StringData, []byte(w)), append(keys.Strings, []byte(w))
		}
	}
	consts = append(consts, classes, &onnxpb.TensorProto{Name: proto.String("shape"), Dims: []int64{1}, DataType: proto.Int32(int32(tensor.Int64)), Int64Data: []int64{-1}})
	add(ml, "ArrayFeatureExtractor", []string{"classes", "argmax"}, label)
	if words == nil {
		add("", "Cast", []string{label}, "cast", intAttr("to", int64(tensor.Int64)))
		label = "cast"
	}
	add("", "Reshape", []string{label, "shape"}, "output_label")
	out := value("probabilities", "N 4")
	if maps {
		add(ml, "ZipMap", []string{"probabilities"}, "output_probability", keys)
		out = &onnxpb.ValueInfoProto{Name: proto.String("output_probability"), Type: mapsType(kind)}
	}
	m := model(nodes, consts, value("x", "N 16"), out)
	m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(ml), Version: proto.Int64(1)})
	first := value("output_label", "N")
	first.Type.GetTensorType().ElemType = proto.Int32(int32(kind))
	m.Graph.Output = []*onnxpb.ValueInfoProto{first, out}
	return m
}

// mapsType is the type of sequences of maps from such keys to float32.
func mapsType(keys tensor.DType) *onnxpb.TypeProto {
	number := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(tensor.Float32))}}}
	m := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_MapType{MapType: &onnxpb.TypeProto_Map{KeyType: proto.Int32(int32(keys)), ValueType: number}}}
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{ElemType: m}}}
}

func floatsAttr(name string, v ...float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: v}
}
