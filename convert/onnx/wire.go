package onnx

import (
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
)

const (
	// maxDepth bounds how deep messages nest. A subgraph takes three levels, so
	// about sixty of them can stand inside each other.
	maxDepth = 200
	// largeField is the size from which on raw_data is shared with the file's
	// bytes. proto.Unmarshal copies every one, which doubles the memory.
	largeField = 4096
)

// A wireReader decodes messages like proto.Unmarshal, except that large
// raw_data fields share the input's memory. It walks down to them through the
// messages on the way and leaves everything else, in runs, to package proto:
// the protobuf encoding is made so that decoding a concatenation is decoding
// the parts in turn.
type wireReader struct {
	// own says that the input may be changed: raw_data is then moved down to
	// the next multiple of 8 bytes, over its own already decoded header, so that
	// tensors need no aligned copy.
	own bool
}

// A field decodes the body of one length-delimited field.
type field func(body []byte, depth int) error

// message decodes data into m, large fields through the function that pick
// gives for their number (nil: package proto decodes them too).
func (w wireReader) message(data []byte, m proto.Message, depth int, pick func(protowire.Number) field) error {
	if depth > maxDepth {
		return invalidf("messages nest deeper than %d levels", maxDepth)
	}
	rest := 0 // data[rest:i] is yet to be decoded by package proto
	flush := func(end int) error {
		if rest == end {
			return nil
		}
		err := proto.UnmarshalOptions{Merge: true, AllowPartial: true, RecursionLimit: maxDepth - depth + 1}.
			Unmarshal(data[rest:end], m)
		if err != nil {
			return &FormatError{Reason: "damaged " + string(m.ProtoReflect().Descriptor().Name()), Err: err}
		}
		rest = end
		return nil
	}
	for i := 0; i < len(data); {
		num, typ, n := protowire.ConsumeTag(data[i:])
		if n < 0 {
			return invalidf("damaged %s: %v", m.ProtoReflect().Descriptor().Name(), protowire.ParseError(n))
		}
		k := protowire.ConsumeFieldValue(num, typ, data[i+n:])
		if k < 0 {
			return invalidf("damaged %s: field %d: %v", m.ProtoReflect().Descriptor().Name(), num, protowire.ParseError(k))
		}
		if typ == protowire.BytesType && k >= largeField {
			if f := pick(num); f != nil {
				if err := flush(i); err != nil {
					return err
				}
				body, _ := protowire.ConsumeBytes(data[i+n:])
				if err := f(body, depth+1); err != nil {
					return err
				}
				rest = i + n + k
			}
		}
		i += n + k
	}
	return flush(len(data))
}

func (w wireReader) model(data []byte, m *onnxpb.ModelProto) error {
	return w.message(data, m, 1, func(num protowire.Number) field {
		switch num {
		case 7:
			if m.Graph == nil {
				m.Graph = &onnxpb.GraphProto{}
			}
			return func(b []byte, depth int) error { return w.graph(b, m.Graph, depth) }
		case 25:
			return func(b []byte, depth int) error {
				f := &onnxpb.FunctionProto{}
				m.Functions = append(m.Functions, f)
				return w.message(b, f, depth, func(num protowire.Number) field {
					if num == 7 {
						return w.nodeInto(&f.Node)
					}
					return nil
				})
			}
		}
		return nil
	})
}

func (w wireReader) graph(data []byte, g *onnxpb.GraphProto, depth int) error {
	return w.message(data, g, depth, func(num protowire.Number) field {
		switch num {
		case 1:
			return w.nodeInto(&g.Node)
		case 5:
			return w.tensorInto(&g.Initializer)
		}
		return nil
	})
}

func (w wireReader) nodeInto(list *[]*onnxpb.NodeProto) field {
	return func(b []byte, depth int) error {
		n := &onnxpb.NodeProto{}
		*list = append(*list, n)
		return w.message(b, n, depth, func(num protowire.Number) field {
			if num != 5 {
				return nil
			}
			return func(b []byte, depth int) error {
				a := &onnxpb.AttributeProto{}
				n.Attribute = append(n.Attribute, a)
				return w.attribute(b, a, depth)
			}
		})
	}
}

func (w wireReader) attribute(data []byte, a *onnxpb.AttributeProto, depth int) error {
	return w.message(data, a, depth, func(num protowire.Number) field {
		switch num {
		case 5:
			return func(b []byte, depth int) error {
				if a.T == nil {
					a.T = &onnxpb.TensorProto{}
				}
				return w.tensor(b, a.T, depth)
			}
		case 6:
			return func(b []byte, depth int) error {
				if a.G == nil {
					a.G = &onnxpb.GraphProto{}
				}
				return w.graph(b, a.G, depth)
			}
		case 10:
			return w.tensorInto(&a.Tensors)
		case 11:
			return func(b []byte, depth int) error {
				g := &onnxpb.GraphProto{}
				a.Graphs = append(a.Graphs, g)
				return w.graph(b, g, depth)
			}
		}
		return nil
	})
}

func (w wireReader) tensorInto(list *[]*onnxpb.TensorProto) field {
	return func(b []byte, depth int) error {
		t := &onnxpb.TensorProto{}
		*list = append(*list, t)
		return w.tensor(b, t, depth)
	}
}

func (w wireReader) tensor(data []byte, t *onnxpb.TensorProto, depth int) error {
	return w.message(data, t, depth, func(num protowire.Number) field {
		if num != 9 {
			return nil
		}
		return func(raw []byte, _ int) error {
			if w.own {
				raw = alignDown(data, raw)
			}
			t.RawData = raw[:len(raw):len(raw)]
			return nil
		}
	})
}

// alignDown moves raw, a part of data, to begin at a multiple of 8 bytes.
// The up to 7 bytes before it are overwritten; where data has fewer there, raw
// stays.
func alignDown(data, raw []byte) []byte {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(raw)))
	start := int(first - uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	shift := int(first % 8)
	if shift == 0 || shift > start {
		return raw
	}
	moved := data[start-shift : start-shift+len(raw)]
	copy(moved, raw)
	return moved
}
