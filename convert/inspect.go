package convert

import (
	"slices"

	"bilinc/convert/match"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// An Inspection is what a model is made of.
type Inspection struct {
	IRVersion int64            `json:"ir_version"`
	Opset     int64            `json:"opset"` // of ONNX's own domain
	Opsets    map[string]int64 `json:"opsets"`
	Inputs    []ValueInfo      `json:"inputs"` // without those that have an initializer
	Outputs   []ValueInfo      `json:"outputs"`
	Operators map[string]int   `json:"operators"` // subgraphs included; "domain.Op" outside ONNX's own
	Params    int64            `json:"params"`
	Bytes     int64            `json:"bytes"` // for the caller to fill: the size of all files
	MACs      *int64           `json:"macs"`  // per sample; nil where that is not known
	Layers    []LayerInfo      `json:"layers"`
}

// A ValueInfo is an input or output of the model; its dimensions are numbers
// or names, "?" where nothing is known.
type ValueInfo struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []string `json:"shape"` // null: the rank is not known
}

// A LayerInfo is a node that reads a weight.
type LayerInfo struct {
	Name         string `json:"name"`
	Op           string `json:"op"`
	In           int    `json:"in"`     // 0 where the node is no fully connected layer
	Out          int    `json:"out"`    // likewise
	Params       int64  `json:"params"` // of the weight, also where several layers share it
	Compressible bool   `json:"compressible"`
	Reason       string `json:"reason"` // why it is not compressible
	TiedTo       string `json:"tied_to,omitempty"`
}

// InspectOptions says what is not in the model.
type InspectOptions struct {
	Dims map[string]int // sizes of symbolic dimensions other than the batch
}

// Inspect says what a model is made of. Params are the elements of
// floating-point and quantised constants, once per shared tensor. Layers are
// in the order of the nodes.
func Inspect(m *graph.Model, o InspectOptions) (*Inspection, error) {
	f, err := find(m)
	if err != nil {
		return nil, err
	}
	in := &Inspection{IRVersion: m.IRVersion, Opset: m.Opset(""), Opsets: map[string]int64{}, Operators: map[string]int{},
		Params: Params(m), MACs: MACs(m, o.Dims), Inputs: []ValueInfo{}, Outputs: []ValueInfo{}, Layers: []LayerInfo{}}
	for _, s := range m.Opsets {
		in.Opsets[s.Domain] = s.Version
	}
	for _, v := range m.Graph.Inputs {
		if v.Init() == nil {
			in.Inputs = append(in.Inputs, valueInfo(v.Name(), v.Type))
		}
	}
	for _, v := range m.Graph.Outputs {
		in.Outputs = append(in.Outputs, valueInfo(v.Name(), f.facts.Of(v).Type))
	}
	order := map[*graph.Node]int{}
	visit := func(n *graph.Node) {
		order[n] = len(order)
		name := n.OpType
		if n.Domain != "" && n.Domain != "ai.onnx" {
			name = n.Domain + "." + name
		}
		in.Operators[name]++
	}
	m.Graph.Walk(visit)
	for _, fn := range m.Functions {
		fn.Graph.Walk(visit)
	}
	in.Layers = layerInfos(f, order)
	return in, nil
}

// layerInfos is the layers and skips of f together, sorted by order.
func layerInfos(f *found, order map[*graph.Node]int) []LayerInfo {
	type entry struct {
		at   int
		info LayerInfo
	}
	var all []entry
	why := map[*match.Weight]string{}
	for _, w := range f.weights {
		why[w] = compressible(w)
	}
	for _, l := range f.layers {
		info := LayerInfo{Name: l.Name, Op: l.Op, In: l.In, Out: l.Out, Params: int64(l.Weight.Root.Const().Len()),
			Compressible: why[l.Weight] == "", Reason: why[l.Weight], TiedTo: tiedTo(l)}
		all = append(all, entry{order[l.Product], info})
	}
	for _, s := range f.skips {
		all = append(all, entry{order[s.Node], LayerInfo{Name: s.Name, Op: s.Node.OpType, Params: int64(s.Params), Reason: s.Reason}})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at - b.at })
	out := make([]LayerInfo, len(all))
	for i, e := range all {
		out[i] = e.info
	}
	return out
}

// tiedTo is the name of the layer that decides for l's weight; "" for that
// layer itself.
func tiedTo(l *match.Layer) string {
	if first := l.Weight.Layers[0]; first != l {
		return first.Name
	}
	return ""
}

func valueInfo(name string, t graph.Type) ValueInfo {
	v := ValueInfo{Name: name, DType: t.DType.String()}
	if t.Kind != tensor.KindTensor {
		v.DType = t.String()
	}
	if t.Ranked {
		v.Shape = []string{}
		for _, d := range t.Shape {
			v.Shape = append(v.Shape, d.String())
		}
	}
	return v
}
