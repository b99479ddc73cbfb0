package onnx

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// shallow is a copy of m that shares m's lists and messages, unknown fields
// included. Its fields may be set, what they share may not be changed.
func shallow[M any](m *M) *M {
	c := *m
	return &c
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

// modelToWire is the message of m. It shares messages with m's origins and
// memory with its tensors, and must not be changed below the lists.
func modelToWire(m *graph.Model) (*wire.Model, error) {
	if m == nil || m.Graph == nil {
		return nil, fmt.Errorf("the model has no graph")
	}
	p := &wire.Model{}
	if o, ok := m.Origin.(*modelOrigin); ok {
		p = shallow(o.pb)
	}
	set(&p.IrVersion, m.IRVersion)
	set(&p.ProducerName, m.ProducerName)
	set(&p.ProducerVersion, m.ProducerVersion)
	set(&p.Domain, m.Domain)
	set(&p.ModelVersion, m.ModelVersion)
	set(&p.DocString, m.Doc)
	p.OpsetImport = opsetsToWire(m.Opsets, p.OpsetImport)
	p.MetadataProps = metadataToWire(m.Metadata, p.MetadataProps)
	var err error
	if p.Graph, err = graphToWire(m.Graph); err != nil {
		return nil, err
	}
	if m.IRVersion > 0 && m.IRVersion < 4 {
		listNewConsts(m.Graph, p.Graph)
	}
	for _, f := range m.Functions {
		fp, err := functionToWire(f)
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

func opsetsToWire(want []graph.Opset, old []*wire.OperatorSetID) []*wire.OperatorSetID {
	return reuse(want, old,
		func(p *wire.OperatorSetID, v graph.Opset) bool {
			return get(p.Domain) == v.Domain && get(p.Version) == v.Version
		},
		func(v graph.Opset) *wire.OperatorSetID {
			return &wire.OperatorSetID{Domain: &v.Domain, Version: &v.Version}
		})
}

func metadataToWire(want []graph.KeyValue, old []*wire.StringStringEntry) []*wire.StringStringEntry {
	return reuse(want, old,
		func(p *wire.StringStringEntry, v graph.KeyValue) bool {
			return get(p.Key) == v.Key && get(p.Value) == v.Value
		},
		func(v graph.KeyValue) *wire.StringStringEntry {
			return &wire.StringStringEntry{Key: &v.Key, Value: &v.Value}
		})
}

// graphToWire is the message of g: the file's, with the lists that the IR
// holds made anew. Its nodes and lists may be changed, nothing deeper.
func graphToWire(g *graph.Graph) (*wire.Graph, error) {
	p := &wire.Graph{}
	var types map[string]graph.Type
	if o, ok := g.Origin.(*graphOrigin); ok {
		p, types = shallow(o.pb), o.types
	}
	set(&p.Name, g.Name)
	set(&p.DocString, g.Doc)
	p.Input = portsToWire(g.Inputs, p.Input, types)
	p.Output = portsToWire(g.Outputs, p.Output, types)
	p.ValueInfo = infosToWire(g, p.ValueInfo, types)
	p.QuantizationAnnotation = slices.DeleteFunc(slices.Clone(p.QuantizationAnnotation), func(a *wire.TensorAnnotation) bool {
		return removed(g, types, get(a.TensorName))
	})
	for _, v := range g.Consts() {
		switch o := v.Origin.(type) {
		case *wire.Tensor:
			p.Initializer = append(p.Initializer, o)
		case *wire.SparseTensor:
			p.SparseInitializer = append(p.SparseInitializer, o)
		default:
			p.Initializer = append(p.Initializer, tensorToWire(v.Name(), v.Init()))
		}
	}
	var err error
	p.Node, err = nodesToWire(g)
	return p, err
}

// listNewConsts adds the initializers that the file did not have to the inputs,
// where files of IR version 3 and before must list them.
func listNewConsts(g *graph.Graph, p *wire.Graph) {
	for _, v := range g.Consts() {
		if v.Origin == nil && !v.IsInput() {
			p.Input = append(p.Input, &wire.ValueInfo{Name: new(v.Name()), Type: typeToWire(graph.TypeOf(v.Init()))})
		}
	}
}

// removed reports whether the file had a value of that name and g has it no
// longer. What a file says of names that it does not define itself stays.
func removed(g *graph.Graph, types map[string]graph.Type, name string) bool {
	_, had := types[name]
	return had && g.Value(name) == nil
}

// portsToWire is the messages of a graph's inputs or outputs.
func portsToWire(values []*graph.Value, old []*wire.ValueInfo, types map[string]graph.Type) []*wire.ValueInfo {
	named := func(p *wire.ValueInfo, v *graph.Value) bool { return get(p.Name) == v.Name() }
	out := reuse(values, old, named, newInfo)
	for i, v := range values {
		out[i] = retyped(out[i], v, types)
	}
	return out
}

// infosToWire is the messages that give types to the values in between: the
// file's, without those of values that are gone, and one for each new value
// whose type is known.
func infosToWire(g *graph.Graph, old []*wire.ValueInfo, types map[string]graph.Type) []*wire.ValueInfo {
	var out []*wire.ValueInfo
	for _, p := range old {
		if v := g.Value(get(p.Name)); v != nil {
			out = append(out, retyped(p, v, types))
		} else if !removed(g, types, get(p.Name)) {
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
func newInfo(v *graph.Value) *wire.ValueInfo {
	return &wire.ValueInfo{Name: new(v.Name()), Type: typeToWire(v.Type)}
}

// retyped is p, or a copy of it with v's type where that is no longer the file's.
func retyped(p *wire.ValueInfo, v *graph.Value, types map[string]graph.Type) *wire.ValueInfo {
	if t, had := types[v.Name()]; !had || sameType(t, v.Type) {
		return p
	}
	p = shallow(p)
	p.Type = typeToWire(v.Type)
	return p
}

// nodesToWire is the messages of g's nodes in their order.
func nodesToWire(g *graph.Graph) ([]*wire.Node, error) {
	var out []*wire.Node
	for _, n := range g.Nodes() {
		p := &wire.Node{}
		if o, ok := n.Origin.(*wire.Node); ok {
			p = shallow(o)
		}
		p.Input, p.Output = names(n.Inputs()), names(n.Outputs())
		set(&p.Name, n.Name)
		set(&p.OpType, n.OpType)
		set(&p.Domain, n.Domain)
		set(&p.Overload, n.Overload)
		set(&p.DocString, n.Doc)
		for _, a := range n.Attrs {
			ap, err := attrToWire(a)
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

// attrToWire is the file's message while that says what a does, graphs inside
// it made anew; else a new one.
func attrToWire(a *graph.Attr) (*wire.Attribute, error) {
	p := &wire.Attribute{}
	if o, ok := a.Origin.(*attrOrigin); ok && unchanged(a, o) {
		if a.G == nil && a.Graphs == nil {
			return o.pb, nil
		}
		p = shallow(o.pb)
	} else {
		p.Name, p.Type = &a.Name, new(int32(a.Type))
		if err := newValue(p, a); err != nil {
			return nil, err
		}
	}
	var err error
	if a.G != nil {
		if p.G, err = graphToWire(a.G); err != nil {
			return nil, err
		}
	}
	for _, g := range a.Graphs {
		gp, err := graphToWire(g)
		if err != nil {
			return nil, err
		}
		p.Graphs = append(p.Graphs, gp)
	}
	return p, nil
}

// newValue sets the field of p that a's type names, graphs excepted.
func newValue(p *wire.Attribute, a *graph.Attr) error {
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
		p.T = tensorToWire("", a.T)
	case graph.AttrTensors:
		for _, t := range a.Tensors {
			p.Tensors = append(p.Tensors, tensorToWire("", t))
		}
	case graph.AttrTypeProto:
		if a.TP != nil {
			p.Tp = typeToWire(*a.TP)
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
	typ := graph.AttrType(get(p.Type))
	if typ == graph.AttrUndefined && a.Type != typ {
		typ = impliedTypeOf(p, a)
	}
	if a.Name != get(p.Name) || a.Ref != get(p.RefAttrName) || a.Type != typ {
		return false
	}
	switch a.Type {
	case graph.AttrFloat:
		return math.Float32bits(a.F) == math.Float32bits(get(p.F))
	case graph.AttrInt:
		return a.I == get(p.I)
	case graph.AttrString:
		return bytes.Equal(a.S, p.S)
	case graph.AttrFloats:
		return slices.EqualFunc(a.Floats, p.Floats, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
	case graph.AttrInts:
		return slices.Equal(a.Ints, p.Ints)
	case graph.AttrStrings:
		return slices.EqualFunc(a.Strings, p.Strings, bytes.Equal)
	case graph.AttrTypeProto:
		return a.TP == nil || sameType(*a.TP, typeFromWire(p.Tp))
	}
	return a.T == o.tensor && slices.Equal(a.Tensors, o.tensors)
}

// impliedTypeOf is impliedType where the graphs have moved into a.
func impliedTypeOf(p *wire.Attribute, a *graph.Attr) graph.AttrType {
	switch {
	case a.Type == graph.AttrGraph && a.G != nil, a.Type == graph.AttrGraphs && a.Graphs != nil:
		return a.Type
	}
	return impliedType(p)
}

// functionToWire is the message of f.
func functionToWire(f *graph.Function) (*wire.Function, error) {
	p := &wire.Function{}
	var types map[string]graph.Type
	if o, ok := f.Origin.(*functionOrigin); ok {
		p, types = shallow(o.pb), o.types
	}
	set(&p.Name, f.Name)
	set(&p.Domain, f.Domain)
	set(&p.Overload, f.Overload)
	p.Attribute = f.Attrs
	p.OpsetImport = opsetsToWire(f.Opsets, p.OpsetImport)
	p.Input, p.Output = names(f.Graph.Inputs), names(f.Graph.Outputs)
	p.ValueInfo = infosToWire(f.Graph, p.ValueInfo, types)
	p.AttributeProto = nil
	for _, a := range f.Defaults {
		ap, err := attrToWire(a)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		p.AttributeProto = append(p.AttributeProto, ap)
	}
	var err error
	p.Node, err = nodesToWire(f.Graph)
	return p, err
}
