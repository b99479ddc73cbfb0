package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// optionalMake wraps its input, or nothing, of the type that the attribute
// says then.
type optionalMake struct {
	noForward
	elem *graph.Type
}

func parseOptional(a *attrs) Op {
	o := &optionalMake{}
	if at := a.get("type", graph.AttrTypeProto); at != nil {
		o.elem = at.TP
	}
	return o
}

func (o *optionalMake) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 0, 1); err != nil {
		return nil, err
	}
	t := graph.Type{Kind: tensor.KindOptional, Elem: o.elem}
	switch {
	case given(in, 0):
		elem := in[0].Type
		t.Elem = &elem
	case o.elem == nil:
		return nil, fmt.Errorf("neither an input nor the attribute type is there")
	}
	return []graph.Fact{{Type: t}}, nil
}

func (o *optionalMake) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	v := tensor.Value{Kind: tensor.KindOptional}
	if present(in, 0) {
		v.Elems = []tensor.Value{in[0]}
	}
	return []tensor.Value{v}, nil
}

// optionalGet gives out what an optional holds; a value that is no optional
// (from opset 18) is given out as it is.
type optionalGet struct{ noForward }

func parseOptionalGet(*attrs) Op { return optionalGet{} }

func (optionalGet) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if in[0].Kind == tensor.KindOptional {
		return []graph.Fact{{Type: elemType(in[0])}}, nil
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (optionalGet) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	if in[0].Kind != tensor.KindOptional {
		return in, nil
	}
	if len(in[0].Elems) == 0 {
		return nil, fmt.Errorf("the optional is empty")
	}
	return in[0].Elems, nil
}

// optionalHas says whether an optional holds something. From opset 18 on, any
// other value does, and an input that is left out does not.
type optionalHas struct{ noForward }

func parseOptionalHas(*attrs) Op { return optionalHas{} }

func (optionalHas) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 0, 1); err != nil {
		return nil, err
	}
	return tensorFact(tensor.Bool), nil
}

func (optionalHas) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	has := present(in, 0) && (in[0].Kind != tensor.KindOptional || len(in[0].Elems) > 0)
	return []tensor.Value{tensor.ValueOf(tensor.Scalar(has))}, nil
}
