package onnx

import (
	"fmt"
	"slices"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// The origins that the reader leaves for the writer. They hold what the IR
// does not, stripped of what it does, so that a replaced weight is not kept
// alive. After decoding they are read only and shared by clones of the model.
type (
	modelOrigin struct {
		pb     *wire.Model // without graph and functions
		files  []string    // that the model was read from
		mapped [][]byte    // their contents, where constants may be mapped
	}
	graphOrigin struct {
		pb *wire.Graph // without nodes and initializers
		// types is what the file said of each value that it has; a value whose
		// type still is that keeps its message.
		types map[string]graph.Type
	}
	functionOrigin struct {
		pb    *wire.Function // without nodes
		types map[string]graph.Type
	}
	attrOrigin struct {
		pb      *wire.Attribute // without graphs
		tensor  *tensor.Tensor  // what t or sparse_tensor became
		tensors []*tensor.Tensor
	}
	// A Node's origin is its NodeProto without attributes; the origin of an
	// initializer is its TensorProto or SparseTensorProto.
)

// decoder turns messages, whose external data is loaded, into the IR.
type decoder struct {
	filled int64 // bytes of sparse tensors so far
}

// model decodes pb and takes it apart: what the IR holds is removed from it, the
// rest becomes the model's origin.
func (d *decoder) model(pb *wire.Model) (*graph.Model, error) {
	m := &graph.Model{
		IRVersion: get(pb.IrVersion), ProducerName: get(pb.ProducerName), ProducerVersion: get(pb.ProducerVersion),
		Domain: get(pb.Domain), ModelVersion: get(pb.ModelVersion), Doc: get(pb.DocString),
		Opsets: opsetsFromWire(pb.OpsetImport), Metadata: metadataFromWire(pb.MetadataProps),
	}
	var err error
	if m.Graph, err = d.graph(pb.Graph, nil); err != nil {
		return nil, err
	}
	for _, f := range pb.Functions {
		fn, err := d.function(f)
		if err != nil {
			return nil, &FormatError{Reason: fmt.Sprintf("function %q of domain %q", get(f.Name), get(f.Domain)), Err: err}
		}
		m.Functions = append(m.Functions, fn)
	}
	pb.Graph, pb.Functions = nil, nil
	m.Origin = &modelOrigin{pb: pb}
	return m, nil
}

func opsetsFromWire(ps []*wire.OperatorSetID) []graph.Opset {
	var out []graph.Opset
	for _, p := range ps {
		out = append(out, graph.Opset{Domain: get(p.Domain), Version: get(p.Version)})
	}
	return out
}

func metadataFromWire(ps []*wire.StringStringEntry) []graph.KeyValue {
	var out []graph.KeyValue
	for _, p := range ps {
		out = append(out, graph.KeyValue{Key: get(p.Key), Value: get(p.Value)})
	}
	return out
}

// graph decodes pb as a subgraph of outer, or as a main graph (nil). Inputs come
// first, then constants, which may be inputs too, then what the nodes make.
func (d *decoder) graph(pb *wire.Graph, outer *graph.Graph) (*graph.Graph, error) {
	g := graph.New(get(pb.Name), outer)
	g.Doc = get(pb.DocString)
	for _, p := range pb.Input {
		if _, err := g.AddInput(get(p.Name), typeFromWire(p.Type)); err != nil {
			return nil, &FormatError{Reason: "graph input", Err: err}
		}
	}
	for _, p := range pb.Initializer {
		t, err := d.tensor(p)
		if err != nil {
			return nil, &FormatError{Reason: tensorLabel(p, "graph "+get(pb.Name)), Err: err}
		}
		if err := initialize(g, get(p.Name), t, p); err != nil {
			return nil, err
		}
	}
	for _, p := range pb.SparseInitializer {
		t, err := d.dense(p)
		if err != nil {
			return nil, &FormatError{Reason: tensorLabel(p.Values, "graph "+get(pb.Name)), Err: err}
		}
		if err := initialize(g, get(p.Values.Name), t, p); err != nil {
			return nil, err
		}
	}
	if err := d.nodes(g, pb.Node); err != nil {
		return nil, err
	}
	describe(g, pb.ValueInfo)
	for _, p := range pb.Output {
		v, err := resolve(g, get(p.Name))
		if err != nil {
			return nil, &FormatError{Reason: "graph output", Err: err}
		}
		g.AddOutput(v)
	}
	describe(g, pb.Output)
	types := record(g)
	pb.Node, pb.Initializer, pb.SparseInitializer = nil, nil, nil
	g.Origin = &graphOrigin{pb, types}
	return g, nil
}

// initialize gives the graph input or new value name the constant t.
func initialize(g *graph.Graph, name string, t *tensor.Tensor, origin any) error {
	v := g.Value(name)
	if v != nil && v.Init() != nil {
		return invalidf("initializer %q is defined twice", name)
	}
	if v == nil {
		var err error
		if v, err = g.NewValue(name, graph.TypeOf(t)); err != nil {
			return &FormatError{Reason: "initializer", Err: err}
		}
	}
	v.SetConst(t)
	v.Origin = origin
	return nil
}

// nodes decodes in two rounds, so that a node may stand before the one whose
// output it reads; whether the order can be mended is for graph's Check.
func (d *decoder) nodes(g *graph.Graph, ps []*wire.Node) error {
	outputs := make([][]*graph.Value, len(ps))
	for i, p := range ps {
		outputs[i] = make([]*graph.Value, len(p.Output))
		for k, name := range p.Output {
			if name == "" {
				continue
			}
			v, err := g.NewValue(name, graph.Type{})
			if err != nil {
				return &FormatError{Reason: nodeLabel(p), Err: err}
			}
			outputs[i][k] = v
		}
	}
	for i, p := range ps {
		if err := d.node(g, p, outputs[i]); err != nil {
			return &FormatError{Reason: nodeLabel(p), Err: err}
		}
	}
	return nil
}

// node decodes p and appends it to g; outputs are the values made for it.
func (d *decoder) node(g *graph.Graph, p *wire.Node, outputs []*graph.Value) error {
	inputs := make([]*graph.Value, len(p.Input))
	for k, name := range p.Input {
		if name == "" {
			continue
		}
		var err error
		if inputs[k], err = resolve(g, name); err != nil {
			return err
		}
	}
	attrs := make([]*graph.Attr, len(p.Attribute))
	for k, a := range p.Attribute {
		var err error
		if attrs[k], err = d.attr(a, g); err != nil {
			return &FormatError{Reason: fmt.Sprintf("attribute %q", get(a.Name)), Err: err}
		}
	}
	n, err := g.NewNode(get(p.Domain), get(p.OpType), get(p.Name), inputs, outputs, attrs...)
	if err != nil {
		return err
	}
	n.Overload, n.Doc = get(p.Overload), get(p.DocString)
	p.Attribute = nil
	n.Origin = p
	g.Append(n)
	return nil
}

// resolve finds a value by name in g or around it. A name that nothing
// defines becomes a value without definition, which graph's Check reports
// together with its reader.
func resolve(g *graph.Graph, name string) (*graph.Value, error) {
	if v := g.Lookup(name); v != nil {
		return v, nil
	}
	return g.NewValue(name, graph.Type{})
}

// describe gives the values that nodes of g make the types that the file says.
func describe(g *graph.Graph, ps []*wire.ValueInfo) {
	for _, p := range ps {
		if v := g.Value(get(p.Name)); v != nil && v.Producer() != nil && p.Type != nil {
			v.Type = typeFromWire(p.Type)
		}
	}
}

// record notes the types of all values of g.
func record(g *graph.Graph) map[string]graph.Type {
	types := map[string]graph.Type{}
	for _, vs := range [][]*graph.Value{g.Inputs, g.Consts()} {
		for _, v := range vs {
			types[v.Name()] = cloneType(v.Type)
		}
	}
	for _, n := range g.Nodes() {
		for _, v := range n.Outputs() {
			if v != nil {
				types[v.Name()] = cloneType(v.Type)
			}
		}
	}
	return types
}

// aliasLeast is the size from which on a constant stays in the mapped file: a
// smaller one is copied, so that hardly anything but weights depends on the
// file later.
const aliasLeast = 1 << 16

// tensor decodes a constant. The message then shares the tensor's memory, so
// that a misaligned original can be freed.
func (d *decoder) tensor(p *wire.Tensor) (*tensor.Tensor, error) {
	if file.IsMapped(p.RawData) {
		dt, shape, n, err := tensorHead(p)
		switch {
		case err != nil:
			return nil, err
		case len(p.RawData) < aliasLeast:
			p.RawData = slices.Clone(p.RawData)
		case len(p.RawData) == dt.ByteLen(n) && dt.Bits() > 8:
			if _, _, err := dataField(p, dt, shape); err != nil {
				return nil, err
			}
			return tensor.Alias(dt, shape, p.RawData)
		}
	}
	t, err := tensorFromWire(p)
	if err == nil && len(p.RawData) > 0 && t.DType() != tensor.Bool {
		p.RawData = t.Bytes()
	}
	return t, err
}

// attr decodes an attribute. Files of IR version 1 leave its type out: then it
// is that of the field which is set.
func (d *decoder) attr(p *wire.Attribute, g *graph.Graph) (*graph.Attr, error) {
	a := &graph.Attr{
		Name: get(p.Name), Ref: get(p.RefAttrName), Type: graph.AttrType(get(p.Type)),
		F: get(p.F), I: get(p.I), S: p.S, Floats: p.Floats, Ints: p.Ints, Strings: p.Strings,
	}
	if a.Type == graph.AttrUndefined {
		a.Type = impliedType(p)
	}
	o := &attrOrigin{pb: p}
	a.Origin = o
	if a.Ref != "" {
		return a, nil
	}
	var err error
	switch a.Type {
	case graph.AttrTensor:
		if p.T == nil {
			return nil, invalidf("has no tensor, its type wants one")
		}
		if a.T, err = d.tensor(p.T); err != nil {
			return nil, err
		}
	case graph.AttrTensors:
		for _, t := range p.Tensors {
			v, err := d.tensor(t)
			if err != nil {
				return nil, err
			}
			a.Tensors = append(a.Tensors, v)
		}
	case graph.AttrSparseTensor:
		if p.SparseTensor == nil {
			return nil, invalidf("has no sparse tensor, its type wants one")
		}
		if a.T, err = d.dense(p.SparseTensor); err != nil {
			return nil, err
		}
	case graph.AttrSparseTensors:
		for _, s := range p.SparseTensors {
			v, err := d.dense(s)
			if err != nil {
				return nil, err
			}
			a.Tensors = append(a.Tensors, v)
		}
	case graph.AttrGraph:
		if p.G == nil {
			return nil, invalidf("has no graph, its type wants one")
		}
		if a.G, err = d.graph(p.G, g); err != nil {
			return nil, err
		}
	case graph.AttrGraphs:
		for _, s := range p.Graphs {
			v, err := d.graph(s, g)
			if err != nil {
				return nil, err
			}
			a.Graphs = append(a.Graphs, v)
		}
	case graph.AttrTypeProto:
		t := typeFromWire(p.Tp)
		a.TP = &t
	}
	// Graphs in fields that the type does not name have no place in the IR.
	if a.G != nil {
		p.G = nil
	}
	if a.Graphs != nil {
		p.Graphs = nil
	}
	o.tensor, o.tensors = a.T, a.Tensors
	return a, nil
}

// impliedType is the type of an attribute that only has a value.
func impliedType(p *wire.Attribute) graph.AttrType {
	switch {
	case p.F != nil:
		return graph.AttrFloat
	case p.I != nil:
		return graph.AttrInt
	case p.S != nil:
		return graph.AttrString
	case p.T != nil:
		return graph.AttrTensor
	case p.G != nil:
		return graph.AttrGraph
	case len(p.Floats) > 0:
		return graph.AttrFloats
	case len(p.Ints) > 0:
		return graph.AttrInts
	case len(p.Strings) > 0:
		return graph.AttrStrings
	case len(p.Tensors) > 0:
		return graph.AttrTensors
	case len(p.Graphs) > 0:
		return graph.AttrGraphs
	}
	return graph.AttrUndefined
}

// function decodes a local function; its inputs and outputs have no types.
func (d *decoder) function(pb *wire.Function) (*graph.Function, error) {
	g := graph.New(get(pb.Name), nil)
	f := &graph.Function{
		Domain: get(pb.Domain), Name: get(pb.Name), Overload: get(pb.Overload), Attrs: pb.Attribute,
		Opsets: opsetsFromWire(pb.OpsetImport), Graph: g,
	}
	for _, name := range pb.Input {
		if _, err := g.AddInput(name, graph.Type{}); err != nil {
			return nil, &FormatError{Reason: "input", Err: err}
		}
	}
	for _, p := range pb.AttributeProto {
		a, err := d.attr(p, g)
		if err != nil {
			return nil, &FormatError{Reason: fmt.Sprintf("attribute %q", get(p.Name)), Err: err}
		}
		f.Defaults = append(f.Defaults, a)
	}
	if err := d.nodes(g, pb.Node); err != nil {
		return nil, err
	}
	for _, name := range pb.Output {
		v, err := resolve(g, name)
		if err != nil {
			return nil, &FormatError{Reason: "output", Err: err}
		}
		g.AddOutput(v)
	}
	describe(g, pb.ValueInfo)
	pb.Node = nil
	f.Origin = &functionOrigin{pb, record(g)}
	return f, nil
}
