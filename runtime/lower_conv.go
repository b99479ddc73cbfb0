package runtime

import (
	"math"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// affine folds what scales and shifts the channels of a convolution into its
// weights and biases: BatchNormalization, and Mul, Div, Add and Sub with a
// constant for each channel or for all. A BatchNormalization behind something
// else becomes Mul and Add. Convolutions then take what follows them along.
func (l *lowerer) affine() error {
	for _, n := range l.order {
		if !l.gone[n] && l.is(n, "BatchNormalization") {
			if err := l.splitBatchNorm(n); err != nil {
				return err
			}
		}
	}
	for _, n := range l.order {
		if l.gone[n] || !l.is(n, "Conv") || !l.isFloats(n.Input(0)) || !l.isFloats(n.Outputs()[0]) {
			continue
		}
		last, err := l.foldAffine(n)
		if err != nil {
			return err
		}
		inputs := last.Inputs()
		if _, err := l.replace(last, last.OpType, &conv{inner: l.op(last), own: len(inputs), end: noEnding}, inputs); err != nil {
			return err
		}
	}
	return nil
}

// splitBatchNorm replaces an inference-mode BatchNormalization by its scale and
// shift: y = x·s/√(v+ε) + (b − m·s/√(v+ε)).
func (l *lowerer) splitBatchNorm(n *graph.Node) error {
	x := l.facts.Of(n.Input(0))
	if flag(n, "training_mode") || !l.isFloats(n.Input(0)) || len(x.Shape) < 2 {
		return nil
	}
	for _, v := range n.Outputs()[1:] {
		if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
			return nil
		}
	}
	if a := n.Attr("spatial"); a != nil && a.I == 0 {
		return nil
	}
	var p [4][]float32 // scale, bias, mean, variance
	for i := range p {
		t := l.constant(n.Input(i + 1))
		if t == nil || t.DType() != tensor.Float32 || t.Rank() != 1 || t.Len() == 0 || i > 0 && t.Len() != len(p[0]) {
			return nil
		}
		p[i] = tensor.Data[float32](t)
	}
	c := len(p[0])
	epsilon := float64(number(n, "epsilon", 1e-5))
	shape := make([]int, len(x.Shape)-1)
	for i := range shape {
		shape[i] = 1
	}
	shape[0] = c
	scale, shift := tensor.New(tensor.Float32, shape...), tensor.New(tensor.Float32, shape...)
	for i := range c {
		s := float64(p[0][i]) / math.Sqrt(float64(p[3][i])+epsilon)
		tensor.Data[float32](scale)[i] = float32(s)
		tensor.Data[float32](shift)[i] = float32(float64(p[1][i]) - float64(p[2][i])*s)
	}
	y, err := l.between(n, "Mul", []*graph.Value{n.Input(0), l.g.NewConst(n.Label()+"/scale", scale)}, x.Type)
	if err != nil {
		return err
	}
	return l.instead(n, "BatchNormalization", "Add", []*graph.Value{y, l.g.NewConst(n.Label()+"/shift", shift)})
}

// foldAffine folds the scales and shifts behind the convolution n into it, and
// returns the convolution that there is then.
func (l *lowerer) foldAffine(n *graph.Node) (*graph.Node, error) {
	w, bias := l.constant(n.Input(1)), n.Input(2)
	if w == nil || w.DType() != tensor.Float32 || w.Rank() < 3 || bias != nil && l.constant(bias) == nil || len(w.Bytes()) > l.budget {
		return n, nil
	}
	m := w.Shape()[0]
	scale, shift := make([]float64, m), make([]float64, m)
	for i := range scale {
		scale[i] = 1
		if bias != nil {
			shift[i] = float64(tensor.Data[float32](l.constant(bias))[i])
		}
	}
	last, labels := n, []string{"Conv"}
	for l.foldNext(&last, w.Rank(), scale, shift) {
		labels = l.appendLabel(labels, last)
	}
	if last == n {
		return n, nil
	}
	weights, biases := w.Clone(), tensor.New(tensor.Float32, m)
	l.budget -= len(w.Bytes())
	data, each := tensor.Data[float32](weights), w.Len()/m
	for i := range m {
		for k := range each {
			data[i*each+k] = float32(float64(data[i*each+k]) * scale[i])
		}
		tensor.Data[float32](biases)[i] = float32(shift[i])
	}
	inputs := []*graph.Value{n.Input(0), l.g.NewConst(n.Label()+"/W", weights), l.g.NewConst(n.Label()+"/B", biases)}
	made, err := l.replace(last, strings.Join(labels, "+"), l.op(n), inputs)
	if err != nil {
		return nil, err
	}
	made.Name = n.Label()
	return made, nil
}

// foldNext takes the node behind *last into scale and shift, and makes it *last;
// false where it does something else, or others read what is before it.
func (l *lowerer) foldNext(last **graph.Node, rank int, scale, shift []float64) bool {
	v := (*last).Outputs()[0]
	if v.IsOutput() || len(v.Uses()) != 1 {
		return false
	}
	u := v.Uses()[0]
	n := u.Node
	code, known := binaries[n.OpType]
	if !known || n.Graph() != l.g || !l.plain(n) || len(n.Inputs()) != 2 || code > opDiv || code == opDiv && u.Input == 1 {
		return false
	}
	t := l.constant(n.Input(1 - u.Input))
	if t == nil || t.DType() != tensor.Float32 || t.Rank() > rank || t.Len() != 1 && t.Len() != len(scale) {
		return false
	}
	// One element for each channel: the axis of channels is the second.
	for i, d := range t.Shape() {
		if d != 1 && i+rank-t.Rank() != 1 {
			return false
		}
	}
	c := tensor.Data[float32](t)
	for i := range scale {
		k := float64(c[i%len(c)])
		switch code {
		case opMul:
			scale[i], shift[i] = scale[i]*k, shift[i]*k
		case opDiv:
			scale[i], shift[i] = scale[i]/k, shift[i]/k
		case opAdd:
			shift[i] += k
		case opSub:
			if u.Input == 0 {
				shift[i] -= k
			} else {
				scale[i], shift[i] = -scale[i], k-shift[i]
			}
		}
	}
	*last = n
	return true
}

// conv is a convolution of float32 with an ending and a pointwise program.
type conv struct {
	inner op.Op
	own   int // inputs of the convolution
	end   ending
	tail  *program
}

func (o *conv) withTail(e ending, tail *program) op.Op {
	return &conv{inner: o.inner, own: o.own, end: e, tail: tail}
}

func (o *conv) ends() (adds, functions bool) {
	_, functions = o.inner.(op.Functional)
	return false, functions
}

func (o *conv) Infer(in []graph.Fact, n int) ([]graph.Fact, error) {
	out, err := o.inner.Infer(in[:o.own], n)
	if err != nil {
		return nil, err
	}
	return out, checkOperands(out[0].Type, in[o.own:])
}

func (o *conv) Forward(ctx *op.Ctx, in, out []tensor.Value) error {
	var err error
	if f, ok := o.inner.(op.Functional); ok {
		err = f.ForwardThen(ctx, in[:o.own], out, o.end.f, o.end.alpha, o.end.beta)
	} else {
		err = o.inner.Forward(ctx, in[:o.own], out)
	}
	if err != nil || o.tail == nil {
		return err
	}
	y := tensor.Data[float32](out[0].Tensor)
	o.tail.run(ctx, y, y, 0, len(y), out[0].Tensor.Shape(), in[o.own:])
	return nil
}
