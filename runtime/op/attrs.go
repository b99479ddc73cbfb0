package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// attrs reads a node's attributes for a parser. Errors are collected, so that
// a parser reads as a list of fields; finish reports the first one, and any
// attribute that no one asked for.
type attrs struct {
	node  *graph.Node
	opset int64
	read  map[string]bool
	err   error
}

// get finds an attribute of the wanted type; nil where the node has none.
func (a *attrs) get(name string, want graph.AttrType) *graph.Attr {
	if a.read == nil {
		a.read = map[string]bool{}
	}
	a.read[name] = true
	at := a.node.Attr(name)
	if at == nil {
		return nil
	}
	if at.Ref != "" {
		a.fail(fmt.Errorf("attribute %s refers to %q outside a function", name, at.Ref))
		return nil
	}
	if at.Type != want {
		a.fail(fmt.Errorf("attribute %s is of type %v, wanted %v", name, at.Type, want))
		return nil
	}
	return at
}

func (a *attrs) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// has reports whether the node has the attribute, without reading it.
func (a *attrs) has(name string) bool { return a.node.Attr(name) != nil }

func (a *attrs) int(name string, def int64) int64 {
	if at := a.get(name, graph.AttrInt); at != nil {
		return at.I
	}
	return def
}

func (a *attrs) bool(name string, def bool) bool {
	d := int64(0)
	if def {
		d = 1
	}
	return a.int(name, d) != 0
}

func (a *attrs) float(name string, def float32) float32 {
	if at := a.get(name, graph.AttrFloat); at != nil {
		return at.F
	}
	return def
}

func (a *attrs) string(name, def string) string {
	if at := a.get(name, graph.AttrString); at != nil {
		return string(at.S)
	}
	return def
}

// ints is nil where the attribute is absent, and not nil where it is there
// with no elements.
func (a *attrs) ints(name string) []int {
	at := a.get(name, graph.AttrInts)
	if at == nil {
		return nil
	}
	out := make([]int, len(at.Ints))
	for i, v := range at.Ints {
		out[i] = int(v)
	}
	return out
}

func (a *attrs) floats(name string) []float32 {
	if at := a.get(name, graph.AttrFloats); at != nil {
		return at.Floats
	}
	return nil
}

// strings is nil where the attribute is absent.
func (a *attrs) strings(name string) []string {
	at := a.get(name, graph.AttrStrings)
	if at == nil {
		return nil
	}
	out := make([]string, len(at.Strings))
	for i, s := range at.Strings {
		out[i] = string(s)
	}
	return out
}

func (a *attrs) tensor(name string) *tensor.Tensor {
	if at := a.get(name, graph.AttrTensor); at != nil {
		return at.T
	}
	return nil
}

func (a *attrs) graph(name string) *graph.Graph {
	if at := a.get(name, graph.AttrGraph); at != nil {
		return at.G
	}
	a.fail(fmt.Errorf("attribute %s is missing", name))
	return nil
}

// dtype is an attribute that holds a number of TensorProto.DataType.
func (a *attrs) dtype(name string, def tensor.DType) tensor.DType {
	d := tensor.DType(a.int(name, int64(def)))
	if d != def && !d.Valid() {
		a.fail(fmt.Errorf("attribute %s is no element type: %d", name, int32(d)))
	}
	return d
}

// require fails where the node does not have the attribute.
func (a *attrs) require(name string) {
	if !a.has(name) {
		a.fail(fmt.Errorf("attribute %s is missing", name))
	}
}

// finish is the first error, or one for the first attribute that the operator
// does not have: to ignore it would be to compute something else.
func (a *attrs) finish() error {
	if a.err != nil {
		return a.err
	}
	for _, at := range a.node.Attrs {
		if !a.read[at.Name] {
			return fmt.Errorf("opset %d has no attribute %s", a.opset, at.Name)
		}
	}
	return nil
}

// arity checks the number of inputs: at least the required ones, of which none
// may be left out, and at most max (negative: any number).
func arity(in []graph.Fact, required, max int) error {
	if len(in) < required || max >= 0 && len(in) > max {
		want := fmt.Sprint(required)
		switch {
		case max < 0:
			want += " or more"
		case max != required:
			want = fmt.Sprintf("%d to %d", required, max)
		}
		return fmt.Errorf("found %d inputs, wanted %s", len(in), want)
	}
	for i := range in[:required] {
		if in[i].Kind == tensor.KindNone {
			return fmt.Errorf("input %d is left out", i)
		}
	}
	return nil
}

// given reports whether the optional input i is there.
func given(in []graph.Fact, i int) bool { return i < len(in) && in[i].Kind != tensor.KindNone }

// present reports whether the optional input i is there in a run.
func present(in []tensor.Value, i int) bool { return i < len(in) && in[i].Kind != tensor.KindNone }

// normAxis turns an axis that may count from the end into an index below rank.
func normAxis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is outside rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// normAxes does so for a list, which must not name an axis twice.
func normAxes(axes []int, rank int) ([]int, error) {
	out := make([]int, len(axes))
	seen := make(map[int]bool, len(axes))
	for i, a := range axes {
		n, err := normAxis(a, rank)
		if err != nil {
			return nil, err
		}
		if seen[n] {
			return nil, fmt.Errorf("axes %v name axis %d twice", axes, n)
		}
		seen[n] = true
		out[i] = n
	}
	return out, nil
}
