package op

import (
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A valueTest is one node of values that are not all tensors.
type valueTest struct {
	name  string
	op    string
	attrs []*graph.Attr
	in    []tensor.Value
	want  tensor.Value
	err   string
}

func sequence(elems ...*tensor.Tensor) tensor.Value {
	v := tensor.Value{Kind: tensor.KindSequence}
	for _, t := range elems {
		v.Elems = append(v.Elems, tensor.ValueOf(t))
	}
	return v
}

func maybe(elems ...tensor.Value) tensor.Value {
	return tensor.Value{Kind: tensor.KindOptional, Elems: elems}
}

// sameValues reports whether two values have the same kinds, types and bits.
func sameValues(a, b tensor.Value) bool {
	if a.Kind != b.Kind || len(a.Elems) != len(b.Elems) || a.Kind == tensor.KindTensor && !tensor.Equal(a.Tensor, b.Tensor) {
		return false
	}
	for i := range a.Elems {
		if !sameValues(a.Elems[i], b.Elems[i]) {
			return false
		}
	}
	return true
}

func runValueTests(t *testing.T, tests []valueTest) {
	for _, c := range tests {
		t.Run(c.op+"/"+strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			in := make([]*tensor.Tensor, len(c.in)) // stand-ins: a parser sees no kinds
			for i, v := range c.in {
				if v.Kind != tensor.KindNone {
					in[i] = counting()
				}
			}
			o, err := parseOp(opTest{op: c.op, opset: 18, attrs: c.attrs, in: in}, 1)
			var got []tensor.Value
			if err == nil {
				got, err = Eval(&Ctx{}, o, c.in, 1)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error is %v, wanted one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !sameValues(got[0], c.want) {
				t.Errorf("found %v, wanted %v", got[0], c.want)
			}
			checkInference(t, o, c.in, got)
			// Of values that nothing declares, inference knows no kind.
			facts := make([]graph.Fact, len(c.in))
			for i, v := range c.in {
				if v.Kind != tensor.KindNone {
					facts[i].Kind = tensor.KindTensor
				}
			}
			if _, err := InferNode(o, facts, 1); err != nil {
				t.Errorf("inference from no kinds: %v", err)
			}
		})
	}
}

func TestSequence(t *testing.T) {
	a, b, c := list[float32](1, 2), list[float32](3), list[float32](4, 5, 6)
	v := tensor.ValueOf
	at := func(n int64) tensor.Value { return v(tensor.Scalar(n)) }
	m := tensor.Of([]int32{1, 2, 3, 4, 5, 6}, 2, 3)
	runValueTests(t, []valueTest{
		{op: "SequenceConstruct", in: []tensor.Value{v(a), v(b)}, want: sequence(a, b)},
		{name: "types", op: "SequenceConstruct", in: []tensor.Value{v(a), v(m)}, err: "input 1 is int32"},
		{op: "SequenceEmpty", want: sequence()},
		{op: "SequenceLength", in: []tensor.Value{sequence(a, b)}, want: at(2)},
		{name: "a tensor", op: "SequenceLength", in: []tensor.Value{v(a)}, err: "wanted a sequence"},
		{op: "SequenceAt", in: []tensor.Value{sequence(a, b), at(1)}, want: v(b)},
		{name: "from the end", op: "SequenceAt", in: []tensor.Value{sequence(a, b), at(-2)}, want: v(a)},
		{name: "outside", op: "SequenceAt", in: []tensor.Value{sequence(a, b), at(2)}, err: "position 2 is outside a sequence of 2"},
		{name: "before", op: "SequenceAt", in: []tensor.Value{sequence(a, b), at(-3)}, err: "position -3 is outside a sequence of 2"},
		{name: "no integer", op: "SequenceAt", in: []tensor.Value{sequence(a), v(b)}, err: "wanted one integer"},
		{op: "SequenceErase", in: []tensor.Value{sequence(a, b, c), at(1)}, want: sequence(a, c)},
		{name: "last", op: "SequenceErase", in: []tensor.Value{sequence(a, b, c)}, want: sequence(a, b)},
		{name: "of nothing", op: "SequenceErase", in: []tensor.Value{sequence()}, err: "outside a sequence of 0"},
		{op: "SequenceInsert", in: []tensor.Value{sequence(a, b), v(c), at(0)}, want: sequence(c, a, b)},
		{name: "end", op: "SequenceInsert", in: []tensor.Value{sequence(a, b), v(c)}, want: sequence(a, b, c)},
		{name: "before the last", op: "SequenceInsert", in: []tensor.Value{sequence(a, b), v(c), at(-1)}, want: sequence(a, c, b)},
		{name: "past the end", op: "SequenceInsert", in: []tensor.Value{sequence(a), v(c), at(2)}, err: "position 2 is outside"},
		{op: "ConcatFromSequence", attrs: []*graph.Attr{attrInt("axis", 0)}, in: []tensor.Value{sequence(a, b, c)}, want: v(list[float32](1, 2, 3, 4, 5, 6))},
		{name: "new axis", op: "ConcatFromSequence", attrs: []*graph.Attr{attrInt("axis", -1), attrInt("new_axis", 1)},
			in: []tensor.Value{sequence(a, a)}, want: v(tensor.Of([]float32{1, 1, 2, 2}, 2, 2))},
		{name: "unlike", op: "ConcatFromSequence", attrs: []*graph.Attr{attrInt("axis", 0), attrInt("new_axis", 1)}, in: []tensor.Value{sequence(a, b)}, err: "[1 1]"},
		{name: "of nothing", op: "ConcatFromSequence", attrs: []*graph.Attr{attrInt("axis", 0)}, in: []tensor.Value{sequence()}, err: "the sequence is empty"},
		{name: "ones", op: "SplitToSequence", attrs: []*graph.Attr{attrInt("axis", 1)}, in: []tensor.Value{v(m)},
			want: sequence(tensor.Of([]int32{1, 4}, 2, 1), tensor.Of([]int32{2, 5}, 2, 1), tensor.Of([]int32{3, 6}, 2, 1))},
		{name: "without the axis", op: "SplitToSequence", attrs: []*graph.Attr{attrInt("keepdims", 0)}, in: []tensor.Value{v(m)},
			want: sequence(list[int32](1, 2, 3), list[int32](4, 5, 6))},
		{name: "size", op: "SplitToSequence", attrs: []*graph.Attr{attrInt("axis", -1)}, in: []tensor.Value{v(m), at(2)},
			want: sequence(tensor.Of([]int32{1, 2, 4, 5}, 2, 2), tensor.Of([]int32{3, 6}, 2, 1))},
		{name: "sizes", op: "SplitToSequence", in: []tensor.Value{v(c), v(list[int64](1, 0, 2))},
			want: sequence(list[float32](4), list[float32](), list[float32](5, 6))},
		{name: "wrong sizes", op: "SplitToSequence", in: []tensor.Value{v(c), v(list[int64](1, 1))}, err: "sizes [1 1] do not add up to 3"},
		{name: "size 0", op: "SplitToSequence", in: []tensor.Value{v(c), at(0)}, err: "pieces of 0"},
		{name: "outside", op: "SplitToSequence", attrs: []*graph.Attr{attrInt("axis", 1)}, in: []tensor.Value{v(c)}, err: "axis 1 is outside rank 1"},
	})
}

func TestOptional(t *testing.T) {
	v := tensor.ValueOf
	a := v(list[float32](1, 2))
	elem := graph.TensorType(tensor.Float32, graph.Size(2))
	typed := &graph.Attr{Name: "type", Type: graph.AttrTypeProto, TP: &elem}
	yes, no := v(tensor.Scalar(true)), v(tensor.Scalar(false))
	runValueTests(t, []valueTest{
		{name: "full", op: "Optional", in: []tensor.Value{a}, want: maybe(a)},
		{name: "empty", op: "Optional", attrs: []*graph.Attr{typed}, want: maybe()},
		{name: "neither", op: "Optional", err: "neither an input nor the attribute type"},
		{name: "full", op: "OptionalHasElement", in: []tensor.Value{maybe(a)}, want: yes},
		{name: "empty", op: "OptionalHasElement", in: []tensor.Value{maybe()}, want: no},
		{name: "left out", op: "OptionalHasElement", in: []tensor.Value{{}}, want: no},
		{name: "tensor", op: "OptionalHasElement", in: []tensor.Value{a}, want: yes},
		{name: "full", op: "OptionalGetElement", in: []tensor.Value{maybe(sequence(a.Tensor))}, want: sequence(a.Tensor)},
		{name: "tensor", op: "OptionalGetElement", in: []tensor.Value{a}, want: a},
		{name: "empty", op: "OptionalGetElement", in: []tensor.Value{maybe()}, err: "the optional is empty"},
	})
}

func TestSequenceMap(t *testing.T) {
	elem := graph.Type{Kind: tensor.KindTensor, DType: tensor.Float32}
	body := subgraph(t, "body", []graph.Type{elem, elem}, []graph.Type{elem})
	v := tensor.ValueOf
	three := v(tensor.Scalar[float32](3))
	// What the body gives is its second input.
	call := func(_ *graph.Graph, in []tensor.Value) ([]tensor.Value, error) { return []tensor.Value{in[1]}, nil }
	for _, c := range []struct {
		in   []tensor.Value
		want tensor.Value
		err  string
	}{
		{in: []tensor.Value{sequence(list[float32](1), list[float32](2)), three}, want: sequence(three.Tensor, three.Tensor)},
		{in: []tensor.Value{sequence(list[float32](1)), sequence(list[float32](7))}, want: sequence(list[float32](7))},
		{in: []tensor.Value{sequence(), three}, want: sequence()},
		{in: []tensor.Value{sequence(list[float32](1)), sequence()}, err: "input 1 has 0 elements, input 0 has 1"},
		{in: []tensor.Value{three, three}, err: "wanted a sequence"},
		{in: []tensor.Value{sequence()}, err: `subgraph "body" has 2 inputs, wanted 1`},
	} {
		o := &sequenceMap{body: body}
		got, err := Eval(&Ctx{Call: call}, o, c.in, 1)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error is %v, wanted one with %q", err, c.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !sameValues(got[0], c.want) {
			t.Errorf("found %v, wanted %v", got[0], c.want)
		}
		checkInference(t, o, c.in, got)
	}
}
