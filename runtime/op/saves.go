package op

import "slices"

// Saves reports which elements d's Backward reads, so that others need not be
// kept after Forward: those of in[i], and those of all outputs, where the
// gradients that want marks are wanted. It reads the types of all of them, and
// the elements of inputs that are no floating-point numbers, in any case.
func Saves(d Differentiable, want []bool) (in []bool, out bool) {
	if s, ok := d.(saver); ok {
		return s.saves(want)
	}
	return inputs(want, true), true
}

// A saver does not read all elements.
type saver interface {
	saves(want []bool) (in []bool, out bool)
}

// inputs is the same answer for every input.
func inputs(want []bool, read bool) []bool { return slices.Repeat([]bool{read}, len(want)) }

// Only shapes matter where elements go back to where they came from.

func (view) saves(want []bool) ([]bool, bool)             { return inputs(want, false), false }
func (expand) saves(want []bool) ([]bool, bool)           { return inputs(want, false), false }
func (tile) saves(want []bool) ([]bool, bool)             { return inputs(want, false), false }
func (*transpose) saves(want []bool) ([]bool, bool)       { return inputs(want, false), false }
func (*slice) saves(want []bool) ([]bool, bool)           { return inputs(want, false), false }
func (*concat) saves(want []bool) ([]bool, bool)          { return inputs(want, false), false }
func (*split) saves(want []bool) ([]bool, bool)           { return inputs(want, false), false }
func (*gather) saves(want []bool) ([]bool, bool)          { return inputs(want, false), false }
func (*gatherElements) saves(want []bool) ([]bool, bool)  { return inputs(want, false), false }
func (*gatherND) saves(want []bool) ([]bool, bool)        { return inputs(want, false), false }
func (*scatterElements) saves(want []bool) ([]bool, bool) { return inputs(want, false), false }
func (*scatterND) saves(want []bool) ([]bool, bool)       { return inputs(want, false), false }
func (*pad) saves(want []bool) ([]bool, bool)             { return inputs(want, false), false }
func (*depthToSpace) saves(want []bool) ([]bool, bool)    { return inputs(want, false), false }
func (*spaceToDepth) saves(want []bool) ([]bool, bool)    { return inputs(want, false), false }
func (where) saves(want []bool) ([]bool, bool)            { return inputs(want, false), false }
func (identity) saves(want []bool) ([]bool, bool)         { return inputs(want, false), false }
func (*dropout) saves(want []bool) ([]bool, bool)         { return inputs(want, false), false }
func (*cast) saves(want []bool) ([]bool, bool)            { return inputs(want, false), false }
func (castLike) saves(want []bool) ([]bool, bool)         { return inputs(want, false), false }

// A factor of a product is read for the other's gradient.

func otherFactor(want []bool) []bool {
	in := inputs(want, false)
	in[0], in[1] = want[1], want[0]
	return in
}

func (matMul) saves(want []bool) ([]bool, bool) { return otherFactor(want), false }
func (*gemm) saves(want []bool) ([]bool, bool)  { return otherFactor(want), false }
func (*conv) saves(want []bool) ([]bool, bool)  { return otherFactor(want), false }

func (o *arith) saves(want []bool) ([]bool, bool) {
	switch o.code {
	case mulCode:
		return otherFactor(want), false
	case divCode:
		return []bool{want[1], true}, false
	}
	return inputs(want, false), false
}

func (o *variadic) saves(want []bool) ([]bool, bool) {
	extreme := o.name == "Min" || o.name == "Max"
	return inputs(want, extreme), extreme
}

// Functions whose derivative is written by their result, or is constant.
var byResult = []string{"Sqrt", "Exp", "Tan", "Tanh", "Reciprocal", "Sigmoid", "HardSigmoid", "Relu"}
var byNeither = []string{"Ceil", "Floor", "Round", "Sign", "Neg"}
var byBoth = []string{"Elu", "Selu"}

func (o *unary) saves([]bool) ([]bool, bool) {
	switch {
	case slices.Contains(byResult, o.name):
		return []bool{false}, true
	case slices.Contains(byNeither, o.name):
		return []bool{false}, false
	}
	return []bool{true}, slices.Contains(byBoth, o.name)
}

func (*prelu) saves(want []bool) ([]bool, bool)       { return inputs(want, true), false }
func (*clip) saves(want []bool) ([]bool, bool)        { return inputs(want, true), false }
func (pow) saves(want []bool) ([]bool, bool)          { return inputs(want, true), false }
func (*einsum) saves(want []bool) ([]bool, bool)      { return inputs(want, true), false }
func (*channelNorm) saves(want []bool) ([]bool, bool) { return inputs(want, true), false }
func (*softmax) saves(want []bool) ([]bool, bool)     { return inputs(want, false), true }

func (*layerNorm) saves(want []bool) ([]bool, bool) {
	in := inputs(want, false)
	in[0], in[1] = want[0] || want[1], want[0]
	return in, false
}

func (o *reduce) saves(want []bool) ([]bool, bool) {
	linear := o.name == "ReduceSum" || o.name == "ReduceMean"
	return inputs(want, !linear), !linear
}

func (o *pool) saves([]bool) ([]bool, bool) {
	return []bool{o.name != "AveragePool"}, o.name == "LpPool"
}

func (o *globalPool) saves([]bool) ([]bool, bool) {
	return []bool{o.name != "GlobalAveragePool"}, o.name == "GlobalLpPool"
}
