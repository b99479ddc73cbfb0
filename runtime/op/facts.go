package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// tensorFact is the fact of one output: a tensor of the given dimensions.
func tensorFact(d tensor.DType, shape ...graph.Dim) []graph.Fact {
	return []graph.Fact{{Type: graph.TensorType(d, shape...)}}
}

// unrankedFact is the fact of one output of which not even the rank is known.
func unrankedFact(d tensor.DType) []graph.Fact {
	return []graph.Fact{{Type: graph.Type{Kind: tensor.KindTensor, DType: d}}}
}

// rankFact is the fact of one output of known rank and unknown dimensions.
func rankFact(d tensor.DType, rank int) []graph.Fact { return tensorFact(d, unknownDims(rank)...) }

func unknownDims(rank int) []graph.Dim {
	out := make([]graph.Dim, rank)
	for i := range out {
		out[i] = graph.Unknown
	}
	return out
}

// maxContents bounds the contents that intsOf makes up where only their
// number is known.
const maxContents = 64

// intsOf is the contents of an integer tensor of rank 0 or 1 as dimensions,
// Unknown where one is negative or not known; nil where not even the number
// of elements is.
func intsOf(f graph.Fact) []graph.Dim {
	if f.Ints != nil {
		return f.Ints
	}
	if v, ok := constInts(f); ok && f.Const.Rank() <= 1 {
		out := unknownDims(len(v))
		for i, n := range v {
			if n >= 0 {
				out[i] = graph.Size(n)
			}
		}
		return out
	}
	if !f.Ranked || len(f.Shape) > 1 {
		return nil
	}
	if n, ok := graph.Product(f.Shape).Const(); ok && n <= maxContents {
		return unknownDims(n)
	}
	return nil
}

// constInts is the contents of a constant integer tensor.
func constInts(f graph.Fact) ([]int, bool) {
	if f.Const == nil {
		return nil, false
	}
	return intsIn(f.Const)
}

// intsIn is the elements of an integer tensor; false for another type.
func intsIn(t *tensor.Tensor) ([]int, bool) {
	v, err := tensor.Int64s(t)
	if err != nil {
		return nil, false
	}
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out, true
}

// contents is the fact of an integer tensor of the given shape (rank 0 or 1)
// and contents: a constant where all of them are numbers, and without contents
// where all are Unknown.
func contents(d tensor.DType, ints []graph.Dim, shape ...graph.Dim) graph.Fact {
	f := tensorFact(d, shape...)[0]
	numbers, all := graph.Ints(ints)
	known := false
	for _, x := range ints {
		known = known || x.IsKnown()
	}
	size, exact := graph.Ints(shape)
	if all && exact && (d == tensor.Int64 || d == tensor.Int32) {
		t := tensor.New(d, size...)
		for i, n := range numbers {
			if d == tensor.Int64 {
				tensor.Data[int64](t)[i] = int64(n)
			} else {
				tensor.Data[int32](t)[i] = int32(n)
			}
		}
		return graph.FactOf(t)
	}
	if known {
		f.Ints = ints
	}
	return f
}

// axesOf is the value of an input that lists integers (axes, repeats): false
// where it is left out (nil) or, since it depends on data, not known yet. It
// fails where the input is no list of integers.
func axesOf(in []graph.Fact, i int) (axes []int, known bool, err error) {
	if !given(in, i) {
		return nil, true, nil
	}
	if in[i].Ranked && len(in[i].Shape) > 1 {
		return nil, false, fmt.Errorf("input %d is %v, wanted a list of integers", i, in[i].Type)
	}
	if in[i].Const == nil {
		return nil, false, nil
	}
	axes, ok := constInts(in[i])
	if !ok {
		return nil, false, fmt.Errorf("input %d is %v, wanted a list of integers", i, in[i].Type)
	}
	return axes, true, nil
}

// withRank fails unless f has the wanted rank or an unknown one.
func withRank(f graph.Fact, name string, rank int) error {
	if f.Ranked && len(f.Shape) != rank {
		return fmt.Errorf("%s%s has rank %d, wanted %d", name, graph.FormatShape(f.Shape, true), len(f.Shape), rank)
	}
	return nil
}

// differ reports whether two dimensions are numbers that are not equal.
func differ(a, b graph.Dim) bool {
	m, ok := a.Const()
	n, ok2 := b.Const()
	return ok && ok2 && m != n
}

// meet is what is known of a dimension of which two things are: a number
// before a symbol before nothing.
func meet(a, b graph.Dim) graph.Dim {
	if _, ok := a.Const(); ok || !b.IsKnown() {
		return a
	}
	if _, ok := b.Const(); ok || !a.IsKnown() {
		return b
	}
	return a
}

// product is the product of numbers; that of none is 1.
func product(v []int) int {
	n := 1
	for _, d := range v {
		n *= d
	}
	return n
}
