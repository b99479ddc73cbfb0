package runtime

import (
	"fmt"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// An inputCheck says what one dimension of an input must be.
type inputCheck struct {
	input, axis int
	size        int // where it is a number, else −1
	// Where it is a symbol, the first dimension of that name.
	likeInput, likeAxis int
}

// inputChecks lists the dimensions of inputs that are numbers, or symbols that
// an earlier dimension has too. Products of symbols, which no file has in an
// input, are not checked.
func inputChecks(inputs []Port) []inputCheck {
	var out []inputCheck
	first := map[graph.Dim][2]int{}
	for i, p := range inputs {
		for a, d := range p.Type.Shape {
			if n, ok := d.Const(); ok {
				out = append(out, inputCheck{input: i, axis: a, size: n})
				continue
			}
			if !d.IsKnown() {
				continue
			}
			if at, ok := first[d]; ok {
				out = append(out, inputCheck{i, a, -1, at[0], at[1]})
			} else {
				first[d] = [2]int{i, a}
			}
		}
	}
	return out
}

// checkInputs fails unless in fits the declared inputs.
func (p *Program) checkInputs(in []tensor.Value) error {
	if len(in) > len(p.inputs) {
		return fmt.Errorf("found %d inputs, wanted %d", len(in), len(p.inputs))
	}
	for i := range p.inputs {
		port := &p.inputs[i]
		if i >= len(in) || in[i].Kind == tensor.KindNone {
			if !port.Optional {
				return &InputError{port.Name, "nothing", port.Type.String()}
			}
			continue
		}
		t := &port.Type
		if t.Kind == tensor.KindNone {
			t = &graph.Type{Kind: in[i].Kind} // the model does not say
		}
		if v := in[i]; v.Kind != t.Kind || v.Kind == tensor.KindTensor && (v.Tensor == nil ||
			t.DType != tensor.Undefined && v.Tensor.DType() != t.DType || t.Ranked && v.Tensor.Rank() != len(t.Shape)) {
			return &InputError{port.Name, describe(v), t.String()}
		}
	}
	for _, c := range p.checks {
		if c.input >= len(in) || in[c.input].Kind != tensor.KindTensor {
			continue
		}
		n := in[c.input].Tensor.Shape()[c.axis]
		port := &p.inputs[c.input]
		if c.size >= 0 {
			if n != c.size {
				return &InputError{port.Name, describe(in[c.input]), port.Type.String()}
			}
			continue
		}
		if c.likeInput >= len(in) || in[c.likeInput].Kind != tensor.KindTensor {
			continue
		}
		if m := in[c.likeInput].Tensor.Shape()[c.likeAxis]; n != m {
			return &InputError{port.Name, describe(in[c.input]), fmt.Sprintf("%v with %v = %d, as axis %d of %q is",
				port.Type, port.Type.Shape[c.axis], m, c.likeAxis, p.inputs[c.likeInput].Name)}
		}
	}
	return nil
}

// describe is a value's type as errors print it.
func describe(v tensor.Value) string {
	switch {
	case v.Kind == tensor.KindTensor && v.Tensor == nil:
		return "a tensor without contents"
	case v.Kind == tensor.KindTensor:
		return v.Tensor.String()
	case v.Kind == tensor.KindSequence:
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = describe(e)
		}
		return "sequence(" + strings.Join(parts, ", ") + ")"
	case v.Kind == tensor.KindMap && v.Keys != nil && v.Tensor != nil:
		return "map(" + v.Keys.String() + ", " + v.Tensor.String() + ")"
	}
	return v.Kind.String()
}
