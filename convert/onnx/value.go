package onnx

import (
	"bilinc/convert/onnx/wire"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// ReadTensor reads a file that holds one TensorProto, such as the input_0.pb
// of a test_data_set folder, with the name that it has there.
func ReadTensor(path string) (name string, t *tensor.Tensor, err error) {
	p := &wire.Tensor{}
	if err := message(path, p); err != nil {
		return "", nil, err
	}
	if t, err = tensorFromWire(p); err != nil {
		return "", nil, &FormatError{Reason: "read " + path + ": " + tensorLabel(p, "the file"), Err: err}
	}
	return get(p.Name), t, nil
}

// ReadValue reads a file that holds one value of the kind that t says: a
// TensorProto, SequenceProto or OptionalProto. The file does not say itself
// which of them it is.
func ReadValue(path string, t graph.Type) (name string, v tensor.Value, err error) {
	switch t.Kind {
	case tensor.KindSequence:
		p := &wire.Sequence{}
		if err = message(path, p); err == nil {
			v, err = sequenceFromWire(p)
			name = get(p.Name)
		}
	case tensor.KindOptional:
		p := &wire.Optional{}
		if err = message(path, p); err == nil {
			v, err = optionalFromWire(p)
			name = get(p.Name)
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

func sequenceFromWire(p *wire.Sequence) (tensor.Value, error) {
	out := tensor.Value{Kind: tensor.KindSequence}
	add := func(v tensor.Value, err error) error {
		out.Elems = append(out.Elems, v)
		return err
	}
	if len(p.SparseTensorValues) > 0 || len(p.MapValues) > 0 {
		return out, invalidf("sequence %q: sparse tensors and maps as elements are not supported", get(p.Name))
	}
	for _, t := range p.TensorValues {
		v, err := tensorFromWire(t)
		if err != nil {
			return out, &FormatError{Reason: tensorLabel(t, "a sequence"), Err: err}
		}
		out.Elems = append(out.Elems, tensor.ValueOf(v))
	}
	for _, s := range p.SequenceValues {
		if err := add(sequenceFromWire(s)); err != nil {
			return out, err
		}
	}
	for _, o := range p.OptionalValues {
		if err := add(optionalFromWire(o)); err != nil {
			return out, err
		}
	}
	return out, nil
}

func optionalFromWire(p *wire.Optional) (tensor.Value, error) {
	out := tensor.Value{Kind: tensor.KindOptional}
	var v tensor.Value
	var err error
	switch {
	case p.SparseTensorValue != nil || p.MapValue != nil:
		return out, invalidf("optional %q: sparse tensors and maps are not supported", get(p.Name))
	case p.TensorValue != nil:
		var t *tensor.Tensor
		if t, err = tensorFromWire(p.TensorValue); err != nil {
			return out, &FormatError{Reason: tensorLabel(p.TensorValue, "an optional"), Err: err}
		}
		v = tensor.ValueOf(t)
	case p.SequenceValue != nil:
		v, err = sequenceFromWire(p.SequenceValue)
	case p.OptionalValue != nil:
		v, err = optionalFromWire(p.OptionalValue)
	default:
		return out, nil
	}
	out.Elems = []tensor.Value{v}
	return out, err
}
