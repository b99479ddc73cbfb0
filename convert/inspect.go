package convert

import (
	"bilinc/runtime/graph"
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
	In           int    `json:"in"`  // 0 where the node is no fully connected layer
	Out          int    `json:"out"` // likewise
	Params       int64  `json:"params"`
	Compressible bool   `json:"compressible"`
	Reason       string `json:"reason"` // why it is not compressible, or what is special
}

// InspectOptions says what is not in the model.
type InspectOptions struct {
	Dims map[string]int // sizes of symbolic dimensions other than the batch
}

// Inspect says what a model is made of. Params are the elements of
// floating-point and quantised constants, once per shared tensor.
func Inspect(m *graph.Model, o InspectOptions) (*Inspection, error) { panic("not yet") }
