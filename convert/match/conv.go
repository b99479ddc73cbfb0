package match

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A Convolution is how the inputs of a layer are cut out of X, which is
// [N C D1 …]: a layer of a Conv node has a sample for every place of the
// kernel, and In is C·Πkernel, in the order of the weight [F C k1 …]. What is
// outside of X is 0.
type Convolution struct {
	Channels  int
	Kernel    []int // one per axis, as are the others
	Strides   []int
	Dilations []int
	Begin     []int // zeros before each axis; nil where AutoPad decides
	End       []int // and after it
	AutoPad   string
}

// Taps is the number of places of the kernel.
func (c *Convolution) Taps() int {
	n := 1
	for _, k := range c.Kernel {
		n *= k
	}
	return n
}

// Places gives, per axis, how many places the kernel takes in a space of the
// given sizes and at which index the first of them begins, which is not
// positive.
func (c *Convolution) Places(space []int) (places, first []int) {
	places, first = make([]int, len(space)), make([]int, len(space))
	for i, n := range space {
		span := (c.Kernel[i]-1)*c.Dilations[i] + 1
		if c.AutoPad == "SAME_UPPER" || c.AutoPad == "SAME_LOWER" {
			places[i] = (n + c.Strides[i] - 1) / c.Strides[i]
			zeros := max(0, (places[i]-1)*c.Strides[i]+span-n)
			before := zeros / 2
			if c.AutoPad == "SAME_LOWER" {
				before = zeros - zeros/2
			}
			first[i] = -before
			continue
		}
		if c.Begin != nil {
			first[i] = -c.Begin[i]
			n += c.Begin[i] + c.End[i]
		}
		if n >= span {
			places[i] = (n-span)/c.Strides[i] + 1
		}
	}
	return places, first
}

// Offsets gives where in a plane of the given sizes each place of the kernel is,
// −1 outside, at the at-th of all places of the output. places and first are
// those of Places.
func (c *Convolution) Offsets(at int, places, first, space []int, offset []int) {
	for t := range offset {
		p, k, o, stride := at, t, 0, 1
		for i := len(space) - 1; i >= 0; i-- {
			j := first[i] + p%places[i]*c.Strides[i] + k%c.Kernel[i]*c.Dilations[i]
			if j < 0 || j >= space[i] {
				o = -1
				break
			}
			o += j * stride
			stride *= space[i]
			p, k = p/places[i], k/c.Kernel[i]
		}
		offset[t] = o
	}
}

// convolution looks at a Conv node.
func (s *search) convolution(n *graph.Node) {
	if len(n.Inputs()) < 2 || n.Input(0) == nil || n.Input(1) == nil || len(n.Outputs()) != 1 || n.Outputs()[0] == nil {
		return
	}
	w, why := s.resolve(n.Input(1))
	if w == nil && why == "" {
		return // the weight is computed from the inputs
	}
	params := 0
	if w != nil {
		params = w.root.Const().Len()
	}
	skip := func(format string, args ...any) { s.skip(n, params, fmt.Sprintf(format, args...)) }
	switch {
	case w == nil:
		skip("%s", why)
		return
	case s.isConstant(n.Input(0)):
		skip("its input is a constant, so that the convolution is one too")
		return
	case s.model.Opset("") < oldest:
		skip("the model's operator set %d is older than %d", s.model.Opset(""), oldest)
		return
	case len(w.shape) < 3 || len(w.shape) > 5:
		skip("the weight is of rank %d, wanted 3 to 5", len(w.shape))
		return
	}
	switch w.dtype {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
	default:
		skip("the convolution is one of %v", w.dtype)
		return
	}
	if g := intAttr(n, "group"); g > 1 {
		skip("grouped: its %d groups of channels each have a weight of their own", g)
		return
	}
	l := &Layer{Op: n.OpType, Product: n, X: n.Input(0), Y: n.Outputs()[0], Beta: 1, alpha: 1, operand: w, Rank: len(w.shape), Columns: true}
	if why := s.window(l); why != "" {
		skip("%s", why)
		return
	}
	l.Addend = n.Input(2)
	s.foldChannelBias(l)
	l.Name = s.unique(n.Label())
	s.layers = append(s.layers, l)
}

// window reads a Conv's attributes. It returns why they are not understood.
func (s *search) window(l *Layer) string {
	shape, n := l.operand.shape, l.Product
	axes := len(shape) - 2
	c := &Convolution{Channels: shape[1], Kernel: append([]int{}, shape[2:]...)}
	l.Conv, l.Out, l.In = c, shape[0], c.Channels*c.Taps()
	l.operand.rows, l.operand.cols = l.Out, l.In
	if l.In == 0 || l.Out == 0 {
		return fmt.Sprintf("the weight %v is empty", shape)
	}
	read := func(name string, count int, least int64, def int) ([]int, string) {
		out := make([]int, count)
		a := n.Attr(name)
		if a == nil || len(a.Ints) == 0 {
			for i := range out {
				out[i] = def
			}
			return out, ""
		}
		if len(a.Ints) != count {
			return nil, fmt.Sprintf("attribute %s is %v, wanted %d numbers", name, a.Ints, count)
		}
		for i, v := range a.Ints {
			if v < least || v > 1<<30 {
				return nil, fmt.Sprintf("attribute %s is %v", name, a.Ints)
			}
			out[i] = int(v)
		}
		return out, ""
	}
	var why string
	if c.Strides, why = read("strides", axes, 1, 1); why != "" {
		return why
	}
	if c.Dilations, why = read("dilations", axes, 1, 1); why != "" {
		return why
	}
	pads, why := read("pads", 2*axes, 0, 0)
	if why != "" {
		return why
	}
	if a := n.Attr("auto_pad"); a != nil {
		c.AutoPad = string(a.S)
	}
	switch c.AutoPad {
	case "", "NOTSET":
		c.AutoPad, c.Begin, c.End = "", pads[:axes], pads[axes:]
	case "VALID", "SAME_UPPER", "SAME_LOWER":
	default:
		return fmt.Sprintf("attribute auto_pad is %q", c.AutoPad)
	}
	x := s.facts.Of(l.X)
	if x.Ranked && len(x.Shape) != len(shape) {
		return fmt.Sprintf("the input is of rank %d, the weight of rank %d", len(x.Shape), len(shape))
	}
	return ""
}

// foldChannelBias takes an Add of a constant [F 1 …] behind a convolution
// without a bias into the layer, as foldBias does behind a product.
func (s *search) foldChannelBias(l *Layer) {
	y := l.Product.Outputs()[0]
	add, c, shape := s.addedTo(l, y)
	if add == nil || len(shape) > l.Rank {
		return
	}
	for i, d := range shape {
		if d != 1 && (len(shape)-i != l.Rank-1 || d != l.Out) {
			return
		}
	}
	l.BiasAdd, l.Addend, l.Y = add, c, add.Outputs()[0]
}

// addedTo is the Add that alone reads the output y of l, which has no bias of
// its own, with its constant operand and that one's shape; nil where there is
// none.
func (s *search) addedTo(l *Layer, y *graph.Value) (*graph.Node, *graph.Value, []int) {
	if l.Addend != nil || y.IsOutput() || len(y.Uses()) != 1 {
		return nil, nil, nil
	}
	use := y.Uses()[0]
	add := use.Node
	if add.OpType != "Add" || add.Domain != "" && add.Domain != "ai.onnx" || add.Graph() != l.Product.Graph() ||
		len(add.Inputs()) != 2 || len(add.Outputs()) != 1 || add.Outputs()[0] == nil {
		return nil, nil, nil
	}
	c := add.Input(1 - use.Input)
	if c == nil {
		return nil, nil, nil
	}
	b, _ := s.resolve(c)
	if b == nil {
		return nil, nil, nil
	}
	return add, c, b.shape
}
