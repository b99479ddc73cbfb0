package op

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// sequenceFact is the fact of a sequence of elements like elem.
func sequenceFact(elem graph.Type) graph.Fact {
	return graph.Fact{Type: graph.Type{Kind: tensor.KindSequence, Elem: &elem}}
}

// elemType is what is known of the elements of a sequence or optional.
func elemType(f graph.Fact) graph.Type {
	if f.Elem != nil {
		return *f.Elem
	}
	return graph.Type{}
}

// wantKind fails where a fact is surely of another kind than input i has to
// be. A tensor of which nothing is known stands for any value.
func wantKind(f graph.Fact, i int, k tensor.Kind) error {
	if f.Kind == k || f.Kind == tensor.KindTensor && f.DType == tensor.Undefined && !f.Ranked {
		return nil
	}
	return fmt.Errorf("input %d is %v, wanted a %v", i, f.Type, k)
}

// wantScalar fails where a fact is surely not one integer.
func wantScalar(in []graph.Fact, i int) error {
	if !given(in, i) {
		return nil
	}
	n, ok := graph.Product(in[i].Shape).Const()
	if d := in[i].DType; d != tensor.Undefined && !d.IsInteger() || in[i].Ranked && ok && n != 1 {
		return fmt.Errorf("input %d is %v, wanted one integer", i, in[i].Type)
	}
	return nil
}

// sequenceConstruct makes a sequence of its inputs.
type sequenceConstruct struct{ noForward }

func parseSequenceConstruct(*attrs) Op { return sequenceConstruct{} }

func (sequenceConstruct) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, -1); err != nil {
		return nil, err
	}
	if _, err := sameDType(in); err != nil {
		return nil, err
	}
	elem := in[0].Type
	for _, f := range in[1:] {
		elem = common(elem, f.Type)
	}
	return []graph.Fact{sequenceFact(elem)}, nil
}

func (sequenceConstruct) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	return sequenceOf(slices.Clone(in)), nil
}

func sequenceOf(elems []tensor.Value) []tensor.Value {
	return []tensor.Value{{Kind: tensor.KindSequence, Elems: elems}}
}

// sequenceEmpty makes a sequence of no tensors.
type sequenceEmpty struct {
	noForward
	dtype tensor.DType
}

func parseSequenceEmpty(a *attrs) Op {
	return &sequenceEmpty{dtype: a.dtype("dtype", tensor.Float32)}
}

func (o *sequenceEmpty) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 0, 0); err != nil {
		return nil, err
	}
	return []graph.Fact{sequenceFact(graph.Type{Kind: tensor.KindTensor, DType: o.dtype})}, nil
}

func (o *sequenceEmpty) Run(*Ctx, []tensor.Value, int) ([]tensor.Value, error) {
	return sequenceOf(nil), nil
}

// sequenceAt gives one element out, sequenceErase all but one (the last where
// the position is left out); a position may count from the end.
type sequenceAt struct {
	noForward
	erase bool
}

func parseSequenceAt(*attrs) Op    { return &sequenceAt{} }
func parseSequenceErase(*attrs) Op { return &sequenceAt{erase: true} }

func (o *sequenceAt) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	required := 2
	if o.erase {
		required = 1
	}
	if err := arity(in, required, 2); err != nil {
		return nil, err
	}
	if err := wantKind(in[0], 0, tensor.KindSequence); err != nil {
		return nil, err
	}
	if err := wantScalar(in, 1); err != nil {
		return nil, err
	}
	if o.erase {
		return []graph.Fact{sequenceFact(elemType(in[0]))}, nil
	}
	elem := elemType(in[0])
	if elem.Kind == tensor.KindNone {
		elem.Kind = tensor.KindTensor
	}
	return []graph.Fact{{Type: elem}}, nil
}

// place is the element that input i names, of n (and one more where it
// says where to insert); def where it is left out.
func place(in []tensor.Value, i, n, def int) (int, error) {
	if !present(in, i) {
		return def, nil
	}
	v, ok := intsIn(in[i].Tensor)
	if !ok || len(v) != 1 {
		return 0, fmt.Errorf("input %d is %v, wanted one integer", i, in[i].Tensor)
	}
	p := v[0]
	if p < 0 {
		p += n
	}
	if p < 0 || p > n {
		return 0, fmt.Errorf("position %d is outside a sequence of %d", v[0], n)
	}
	return p, nil
}

func (o *sequenceAt) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	elems := in[0].Elems
	p, err := place(in, 1, len(elems), len(elems)-1)
	if err == nil && (p < 0 || p == len(elems)) {
		err = fmt.Errorf("position %d is outside a sequence of %d", p, len(elems))
	}
	if err != nil {
		return nil, err
	}
	if o.erase {
		return sequenceOf(slices.Delete(slices.Clone(elems), p, p+1)), nil
	}
	return []tensor.Value{elems[p]}, nil
}

// sequenceInsert adds a tensor before a position, at the end where that is
// left out.
type sequenceInsert struct{ noForward }

func parseSequenceInsert(*attrs) Op { return sequenceInsert{} }

func (sequenceInsert) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	if err := wantKind(in[0], 0, tensor.KindSequence); err != nil {
		return nil, err
	}
	if err := wantScalar(in, 2); err != nil {
		return nil, err
	}
	elem := elemType(in[0])
	if _, err := sameDType([]graph.Fact{{Type: elem}, in[1]}); err != nil {
		return nil, fmt.Errorf("the sequence's elements and the new one: %w", err)
	}
	if elem.Kind != tensor.KindNone {
		elem = common(elem, in[1].Type)
	}
	return []graph.Fact{sequenceFact(elem)}, nil
}

func (sequenceInsert) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	elems := in[0].Elems
	p, err := place(in, 2, len(elems), len(elems))
	if err != nil {
		return nil, err
	}
	return sequenceOf(slices.Insert(slices.Clone(elems), p, in[1])), nil
}

// sequenceLength is the number of elements as an int64 scalar.
type sequenceLength struct{ noForward }

func parseSequenceLength(*attrs) Op { return sequenceLength{} }

func (sequenceLength) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantKind(in[0], 0, tensor.KindSequence); err != nil {
		return nil, err
	}
	return tensorFact(tensor.Int64), nil
}

func (sequenceLength) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	return []tensor.Value{tensor.ValueOf(tensor.Scalar(int64(len(in[0].Elems))))}, nil
}

// concatFromSequence joins the elements along an axis, a new one perhaps.
type concatFromSequence struct {
	noForward
	axis    int
	newAxis bool
}

func parseConcatFromSequence(a *attrs) Op {
	a.require("axis")
	return &concatFromSequence{axis: int(a.int("axis", 0)), newAxis: a.bool("new_axis", false)}
}

func (o *concatFromSequence) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantKind(in[0], 0, tensor.KindSequence); err != nil {
		return nil, err
	}
	elem := elemType(in[0])
	if !elem.Ranked {
		return unrankedFact(elem.DType), nil
	}
	rank := len(elem.Shape)
	if o.newAxis {
		rank++
	}
	axis, err := normAxis(o.axis, rank)
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(elem.Shape)
	if o.newAxis {
		shape = slices.Insert(shape, axis, graph.Unknown)
	} else {
		shape[axis] = graph.Unknown
	}
	return tensorFact(elem.DType, shape...), nil
}

// Run is Concat of the elements, each with the new axis where there is one.
func (o *concatFromSequence) Run(ctx *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	if len(in[0].Elems) == 0 {
		return nil, fmt.Errorf("the sequence is empty")
	}
	parts := slices.Clone(in[0].Elems)
	for i, v := range parts {
		if v.Kind != tensor.KindTensor {
			return nil, fmt.Errorf("element %d is a %v, wanted a tensor", i, v.Kind)
		}
		if !o.newAxis {
			continue
		}
		axis, err := normAxis(o.axis, v.Tensor.Rank()+1)
		if err != nil {
			return nil, err
		}
		t, err := v.Tensor.Reshaped(slices.Insert(slices.Clone(v.Tensor.Shape()), axis, 1)...)
		if err != nil {
			return nil, err
		}
		parts[i] = tensor.ValueOf(t)
	}
	return Eval(ctx, &concat{axis: o.axis}, parts, 1)
}

// splitToSequence cuts its input along an axis: into pieces of one (without
// the axis unless keepdims says otherwise), of a size, or of listed sizes.
type splitToSequence struct {
	noForward
	axis int
	keep bool
}

func parseSplitToSequence(a *attrs) Op {
	return &splitToSequence{axis: int(a.int("axis", 0)), keep: a.bool("keepdims", true)}
}

func (o *splitToSequence) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 2); err != nil {
		return nil, err
	}
	elem := graph.Type{Kind: tensor.KindTensor, DType: in[0].DType}
	if in[0].Ranked {
		axis, err := normAxis(o.axis, len(in[0].Shape))
		if err != nil {
			return nil, err
		}
		elem.Ranked, elem.Shape = true, slices.Clone(in[0].Shape)
		switch {
		case given(in, 1):
			elem.Shape[axis] = graph.Unknown
		case o.keep:
			elem.Shape[axis] = graph.Size(1)
		default:
			elem.Shape = slices.Delete(elem.Shape, axis, axis+1)
		}
	}
	return []graph.Fact{sequenceFact(elem)}, nil
}

func (o *splitToSequence) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return nil, err
	}
	sizes, err := o.sizes(in, x.Shape()[axis])
	if err != nil {
		return nil, err
	}
	from, strides := 0, tensor.Strides(x.Shape())
	elems := make([]tensor.Value, len(sizes))
	for i, n := range sizes {
		shape := slices.Clone(x.Shape())
		shape[axis] = n
		y := tensor.New(x.DType(), shape...)
		b := box{shape: shape, src: from * strides[axis], dstStrides: tensor.Strides(shape), srcStrides: strides}
		if err := copyBox(nil, "SplitToSequence", y, x, b); err != nil {
			return nil, err
		}
		if !o.keep && !present(in, 1) {
			if y, err = y.Reshaped(slices.Delete(shape, axis, axis+1)...); err != nil {
				return nil, err
			}
		}
		elems[i] = tensor.ValueOf(y)
		from += n
	}
	return sequenceOf(elems), nil
}

// sizes is the lengths of the pieces of n elements.
func (o *splitToSequence) sizes(in []tensor.Value, n int) ([]int, error) {
	list := []int{1}
	if present(in, 1) {
		var ok bool
		if list, ok = intsIn(in[1].Tensor); !ok || in[1].Tensor.Rank() > 1 {
			return nil, fmt.Errorf("input 1 is %v, wanted sizes", in[1].Tensor)
		}
		if in[1].Tensor.Rank() == 1 {
			total := 0
			for _, s := range list {
				if s < 0 || s > n-total {
					return nil, fmt.Errorf("sizes %v do not add up to %d", list, n)
				}
				total += s
			}
			if total != n {
				return nil, fmt.Errorf("sizes %v do not add up to %d", list, n)
			}
			return list, nil
		}
	}
	if list[0] < 1 {
		return nil, fmt.Errorf("pieces of %d", list[0])
	}
	var out []int
	for ; n > 0; n -= list[0] {
		out = append(out, min(n, list[0]))
	}
	return out, nil
}
