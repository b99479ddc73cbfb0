package onnx

import (
	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// ReadTensor reads a file that holds one TensorProto, such as the input_0.pb
// of a test_data_set folder, with the name that it has there.
func ReadTensor(path string) (name string, t *tensor.Tensor, err error) {
	p := &onnxpb.TensorProto{}
	if err := message(path, p); err != nil {
		return "", nil, err
	}
	if t, err = TensorFromProto(p); err != nil {
		return "", nil, &FormatError{Reason: "read " + path + ": " + tensorLabel(p, "the file"), Err: err}
	}
	return p.GetName(), t, nil
}

// ReadValue reads a file that holds one value of the kind that t says: a
// TensorProto, SequenceProto or OptionalProto. The file does not say itself
// which of them it is.
func ReadValue(path string, t graph.Type) (name string, v tensor.Value, err error) {
	switch t.Kind {
	case tensor.KindSequence:
		p := &onnxpb.SequenceProto{}
		if err = message(path, p); err == nil {
			v, err = sequenceFromProto(p)
			name = p.GetName()
		}
	case tensor.KindOptional:
		p := &onnxpb.OptionalProto{}
		if err = message(path, p); err == nil {
			v, err = optionalFromProto(p)
			name = p.GetName()
		}
	case tensor.KindMap:
		return "", v, invalidf("read %s: maps are not supported", path)
	default:
		var x *tensor.Tensor
		name, x, err = ReadTensor(path)
		return name, tensor.ValueOf(x), err
	}
	if err != nil {
		return "", tensor.Value{}, &FormatError{Reason: "read " + path, Err: err}
	}
	return name, v, nil
}

func sequenceFromProto(p *onnxpb.SequenceProto) (tensor.Value, error) {
	out := tensor.Value{Kind: tensor.KindSequence}
	add := func(v tensor.Value, err error) error {
		out.Elems = append(out.Elems, v)
		return err
	}
	if len(p.GetSparseTensorValues()) > 0 || len(p.GetMapValues()) > 0 {
		return out, invalidf("sequence %q: sparse tensors and maps as elements are not supported", p.GetName())
	}
	for _, t := range p.GetTensorValues() {
		v, err := TensorFromProto(t)
		if err != nil {
			return out, &FormatError{Reason: tensorLabel(t, "a sequence"), Err: err}
		}
		out.Elems = append(out.Elems, tensor.ValueOf(v))
	}
	for _, s := range p.GetSequenceValues() {
		if err := add(sequenceFromProto(s)); err != nil {
			return out, err
		}
	}
	for _, o := range p.GetOptionalValues() {
		if err := add(optionalFromProto(o)); err != nil {
			return out, err
		}
	}
	return out, nil
}

func optionalFromProto(p *onnxpb.OptionalProto) (tensor.Value, error) {
	out := tensor.Value{Kind: tensor.KindOptional}
	var v tensor.Value
	var err error
	switch {
	case p.GetSparseTensorValue() != nil || p.GetMapValue() != nil:
		return out, invalidf("optional %q: sparse tensors and maps are not supported", p.GetName())
	case p.GetTensorValue() != nil:
		var t *tensor.Tensor
		if t, err = TensorFromProto(p.GetTensorValue()); err != nil {
			return out, &FormatError{Reason: tensorLabel(p.GetTensorValue(), "an optional"), Err: err}
		}
		v = tensor.ValueOf(t)
	case p.GetSequenceValue() != nil:
		v, err = sequenceFromProto(p.GetSequenceValue())
	case p.GetOptionalValue() != nil:
		v, err = optionalFromProto(p.GetOptionalValue())
	default:
		return out, nil
	}
	out.Elems = []tensor.Value{v}
	return out, err
}
