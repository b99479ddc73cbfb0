package onnx

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// shallow is a copy of m that shares m's lists and messages, unknown fields
// included. Its fields may be set, what they share may not be changed.
func shallow[M proto.Message](m M) M {
	from := m.ProtoReflect()
	to := from.New()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(fd, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return to.Interface().(M)
}

// set makes p say v, and leaves it alone where it does already: an absent
// field says the zero value.
func set[T comparable](p **T, v T) {
	var have T
	if *p != nil {
		have = **p
	}
	if have != v {
		*p = &v
	}
}

// modelToProto is the message of m. It shares messages with m's origins and
// memory with its tensors, and must not be changed below the lists.
func modelToProto(m *graph.Model) (*onnxpb.ModelProto, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("the model has no graph")
	}
	p := &onnxpb.ModelProto{}
	if o, ok := m.Origin.(*modelOrigin); ok {
		p = shallow(o.pb)
	}
	set(&p.IrVersion, m.IRVersion)
	set(&p.ProducerName, m.ProducerName)
	set(&p.ProducerVersion, m.ProducerVersion)
	set(&p.Domain, m.Domain)
	set(&p.ModelVersion, m.ModelVersion)
	set(&p.DocString, m.Doc)
	p.OpsetImport = opsetsToProto(m.Opsets, p.OpsetImport)
	p.MetadataProps = metadataToProto(m.Metadata, p.MetadataProps)
	var err error
	if p.Graph, err = graphToProto(m.Graph); err != nil {
		return nil, err
	}
	if m.IRVersion > 0 && m.IRVersion < 4 {
		listNewConsts(m.Graph, p.Graph)
	}
	for _, f := range m.Functions {
		fp, err := functionToProto(f)
		if err != nil {
			return nil, fmt.Errorf("function %q of domain %q: %w", f.Name, f.Domain, err)
		}
		p.Functions = append(p.Functions, fp)
	}
	return p, nil
}

// reuse gives each wanted entry the old message that says it, by preference
// the one in the same place, or a new message.
func reuse[V any, P any](want []V, old []*P, says func(*P, V) bool, make func(V) *P) []*P {
	var out []*P
	for i, v := range want {
		at := i
		if i >= len(old) || !says(old[i], v) {
			at = slices.IndexFunc(old, func(p *P) bool { return says(p, v) })
		}
		if at >= 0 {
			out = append(out, old[at])
		} else {
			out = append(out, make(v))
		}
	}
	return out
}

func opsetsToProto(want []graph.Opset, old []*onnxpb.OperatorSetIdProto) []*onnxpb.OperatorSetIdProto {
	return reuse(want, old,
		func(p *onnxpb.OperatorSetIdProto, v graph.Opset) bool {
			return p.GetDomain() == v.Domain && p.GetVersion() == v.Version
		},
		func(v graph.Opset) *onnxpb.OperatorSetIdProto {
			return &onnxpb.OperatorSetIdProto{Domain: &v.Domain, Version: &v.Version}
		})
}

func metadataToProto(want []graph.KeyValue, old []*onnxpb.StringStringEntryProto) []*onnxpb.StringStringEntryProto {
	return reuse(want, old,
		func(p *onnxpb.StringStringEntryProto, v graph.KeyValue) bool {
			return p.GetKey() == v.Key && p.GetValue() == v.Value
		},
		func(v graph.KeyValue) *onnxpb.StringStringEntryProto {
			return &onnxpb.StringStringEntryProto{Key: &v.Key, Value: &v.Value}
		})
}

// graphToProto is the message of g: the file's, with the lists that the IR
// holds made anew. Its nodes and lists may be changed, nothing deeper.
func graphToProto(g *graph.Graph) (*onnxpb.GraphProto, error) {
	p := &onnxpb.GraphProto{}
	var types map[string]graph.Type
	if o, ok := g.Origin.(*graphOrigin); ok {
		p, types = shallow(o.pb), o.types
	}
	set(&p.Name, g.Name)
	set(&p.DocString, g.Doc)
	p.Input = portsToProto(g.Inputs, p.Input, types)
	p.Output = portsToProto(g.Outputs, p.Output, types)
	p.ValueInfo = infosToProto(g, p.ValueInfo, types)
	p.QuantizationAnnotation = slices.DeleteFunc(slices.Clone(p.QuantizationAnnotation), func(a *onnxpb.TensorAnnotation) bool {
		return removed(g, types, a.GetTensorName())
	})
	for _, v := range g.Consts() {
		switch o := v.Origin.(type) {
		case *onnxpb.TensorProto:
			p.Initializer = append(p.Initializer, o)
		case *onnxpb.SparseTensorProto:
			p.SparseInitializer = append(p.SparseInitializer, o)
		default:
			p.Initializer = append(p.Initializer, TensorToProto(v.Name(), v.Init()))
		}
	}
	var err error
	p.Node, err = nodesToProto(g)
	return p, err
}

// listNewConsts adds the initializers that the file did not have to the inputs,
// where files of IR version 3 and before must list them.
func listNewConsts(g *graph.Graph, p *onnxpb.GraphProto) {
	for _, v := range g.Consts() {
		if v.Origin == nil && !v.IsInput() {
			p.Input = append(p.Input, &onnxpb.ValueInfoProto{Name: new(v.Name()), Type: typeToProto(graph.TypeOf(v.Init()))})
		}
	}
}

// removed reports whether the file had a value of that name and g has it no
// longer. What a file says of names that it does not define itself stays.
func removed(g *graph.Graph, types map[string]graph.Type, name string) bool {
	_, had := types[name]
	return had && g.Value(name) == nil
}

// portsToProto is the messages of a graph's inputs or outputs.
func portsToProto(values []*graph.Value, old []*onnxpb.ValueInfoProto, types map[string]graph.Type) []*onnxpb.ValueInfoProto {
	named := func(p *onnxpb.ValueInfoProto, v *graph.Value) bool { return p.GetName() == v.Name() }
	out := reuse(values, old, named, newInfo)
	for i, v := range values {
		out[i] = retyped(out[i], v, types)
	}
	return out
}

// infosToProto is the messages that give types to the values in between: the
// file's, without those of values that are gone, and one for each new value
// whose type is known.
func infosToProto(g *graph.Graph, old []*onnxpb.ValueInfoProto, types map[string]graph.Type) []*onnxpb.ValueInfoProto {
	var out []*onnxpb.ValueInfoProto
	for _, p := range old {
		if v := g.Value(p.GetName()); v != nil {
			out = append(out, retyped(p, v, types))
		} else if !removed(g, types, p.GetName()) {
			out = append(out, p)
		}
	}
	for _, n := range g.Nodes() {
		for _, v := range n.Outputs() {
			if v == nil {
				continue
			}
			if _, had := types[v.Name()]; !had && v.Type.Kind != tensor.KindNone && !slices.Contains(g.Outputs, v) {
				out = append(out, newInfo(v))
			}
		}
	}
	return out
}

// newInfo describes a value that the file did not have.
func newInfo(v *graph.Value) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: new(v.Name()), Type: typeToProto(v.Type)}
}

// retyped is p, or a copy of it with v's type where that is no longer the file's.
func retyped(p *onnxpb.ValueInfoProto, v *graph.Value, types map[string]graph.Type) *onnxpb.ValueInfoProto {
	if t, had := types[v.Name()]; !had || sameType(t, v.Type) {
		return p
	}
	p = shallow(p)
	p.Type = typeToProto(v.Type)
	return p
}

// nodesToProto is the messages of g's nodes in their order.
func nodesToProto(g *graph.Graph) ([]*onnxpb.NodeProto, error) {
	var out []*onnxpb.NodeProto
	for _, n := range g.Nodes() {
		p := &onnxpb.NodeProto{}
		if o, ok := n.Origin.(*onnxpb.NodeProto); ok {
			p = shallow(o)
		}
		p.Input, p.Output = names(n.Inputs()), names(n.Outputs())
		set(&p.Name, n.Name)
		set(&p.OpType, n.OpType)
		set(&p.Domain, n.Domain)
		set(&p.Overload, n.Overload)
		set(&p.DocString, n.Doc)
		for _, a := range n.Attrs {
			ap, err := attrToProto(a)
			if err != nil {
				return nil, fmt.Errorf("%v: attribute %q: %w", n, a.Name, err)
			}
			p.Attribute = append(p.Attribute, ap)
		}
		out = append(out, p)
	}
	return out, nil
}

// names is the names of values, "" for one left out.
func names(values []*graph.Value) []string {
	var out []string
	for _, v := range values {
		if v == nil {
			out = append(out, "")
		} else {
			out = append(out, v.Name())
		}
	}
	return out
}

// attrToProto is the file's message while that says what a does, graphs inside
// it made anew; else a new one.
func attrToProto(a *graph.Attr) (*onnxpb.AttributeProto, error) {
	p := &onnxpb.AttributeProto{}
	if o, ok := a.Origin.(*attrOrigin); ok && unchanged(a, o) {
		if a.G == nil && a.Graphs == nil {
			return o.pb, nil
		}
		p = shallow(o.pb)
	} else {
		p.Name, p.Type = &a.Name, new(onnxpb.AttributeProto_AttributeType(a.Type))
		if err := newValue(p, a); err != nil {
			return nil, err
		}
	}
	var err error
	if a.G != nil {
		if p.G, err = graphToProto(a.G); err != nil {
			return nil, err
		}
	}
	for _, g := range a.Graphs {
		gp, err := graphToProto(g)
		if err != nil {
			return nil, err
		}
		p.Graphs = append(p.Graphs, gp)
	}
	return p, nil
}

// newValue sets the field of p that a's type names, graphs excepted.
func newValue(p *onnxpb.AttributeProto, a *graph.Attr) error {
	if a.Ref != "" {
		p.RefAttrName = &a.Ref
		return nil
	}
	switch a.Type {
	case graph.AttrFloat:
		p.F = &a.F
	case graph.AttrInt:
		p.I = &a.I
	case graph.AttrString:
		p.S = append([]byte{}, a.S...)
	case graph.AttrFloats:
		p.Floats = a.Floats
	case graph.AttrInts:
		p.Ints = a.Ints
	case graph.AttrStrings:
		p.Strings = a.Strings
	case graph.AttrTensor:
		if a.T == nil {
			return fmt.Errorf("it has no tensor")
		}
		p.T = TensorToProto("", a.T)
	case graph.AttrTensors:
		for _, t := range a.Tensors {
			p.Tensors = append(p.Tensors, TensorToProto("", t))
		}
	case graph.AttrTypeProto:
		if a.TP != nil {
			p.Tp = typeToProto(*a.TP)
		}
	case graph.AttrGraph, graph.AttrGraphs:
	default:
		return fmt.Errorf("a new or changed attribute of type %v cannot be written", a.Type)
	}
	return nil
}

// unchanged reports whether the file's message still says what a does; graphs
// are not looked at.
func unchanged(a *graph.Attr, o *attrOrigin) bool {
	p := o.pb
	typ := graph.AttrType(p.GetType())
	if typ == graph.AttrUndefined && a.Type != typ {
		typ = impliedTypeOf(p, a)
	}
	if a.Name != p.GetName() || a.Ref != p.GetRefAttrName() || a.Type != typ {
		return false
	}
	switch a.Type {
	case graph.AttrFloat:
		return math.Float32bits(a.F) == math.Float32bits(p.GetF())
	case graph.AttrInt:
		return a.I == p.GetI()
	case graph.AttrString:
		return bytes.Equal(a.S, p.S)
	case graph.AttrFloats:
		return slices.EqualFunc(a.Floats, p.Floats, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
	case graph.AttrInts:
		return slices.Equal(a.Ints, p.Ints)
	case graph.AttrStrings:
		return slices.EqualFunc(a.Strings, p.Strings, bytes.Equal)
	case graph.AttrTypeProto:
		return a.TP == nil || sameType(*a.TP, typeFromProto(p.Tp))
	}
	return a.T == o.tensor && slices.Equal(a.Tensors, o.tensors)
}

// impliedTypeOf is impliedType where the graphs have moved into a.
func impliedTypeOf(p *onnxpb.AttributeProto, a *graph.Attr) graph.AttrType {
	switch {
	case a.Type == graph.AttrGraph && a.G != nil, a.Type == graph.AttrGraphs && a.Graphs != nil:
		return a.Type
	}
	return impliedType(p)
}

// functionToProto is the message of f.
func functionToProto(f *graph.Function) (*onnxpb.FunctionProto, error) {
	p := &onnxpb.FunctionProto{}
	var types map[string]graph.Type
	if o, ok := f.Origin.(*functionOrigin); ok {
		p, types = shallow(o.pb), o.types
	}
	set(&p.Name, f.Name)
	set(&p.Domain, f.Domain)
	set(&p.Overload, f.Overload)
	p.Attribute = f.Attrs
	p.OpsetImport = opsetsToProto(f.Opsets, p.OpsetImport)
	p.Input, p.Output = names(f.Graph.Inputs), names(f.Graph.Outputs)
	p.ValueInfo = infosToProto(f.Graph, p.ValueInfo, types)
	p.AttributeProto = nil
	for _, a := range f.Defaults {
		ap, err := attrToProto(a)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		p.AttributeProto = append(p.AttributeProto, ap)
	}
	var err error
	p.Node, err = nodesToProto(f.Graph)
	return p, err
}
