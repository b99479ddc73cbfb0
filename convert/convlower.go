package convert

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// replaceConvolutions puts the factors of k in the place of all layers of w,
// which are convolutions.
//
// Each factor is a convolution of its own: B over C2 channels of every one of
// C1 groups, which stand in the batch's axis, and A over C1 channels at every
// one of the places that are left, the other channels standing beside the
// space. Strides, dilations and padding go with the axes of the kernel. All
// terms lie side by side:
//
//	B first: B[r·M2+b, c2, kb] = B_r[b,(c2,kb)]   A[a, c1·R+r, ka] = A_r[a,(ka,c1)]
//	A first: A[a·R+r, c1, ka] = A_r[a,(ka,c1)]    B[b, r·C2+c2, kb] = B_r[b,(c2,kb)]
//
// Where A has an axis of the kernel, it is a convolution over one axis more
// than the layer's, since other channels beside the space would be mixed.
func (b *builder) replaceConvolutions(w *match.Weight, k *factorize.Kronecker, kernel string) ([]Compressed, error) {
	first := w.Layers[0]
	p := newConvPair(first.Conv, form{k.Shape, kernel}, k.Terms())
	ta, tb := p.tensors(k)
	var err error
	if p.a, err = b.constant(w, first.Name+".bilinc.A", ta); err != nil {
		return nil, err
	}
	if p.b, err = b.constant(w, first.Name+".bilinc.B", tb); err != nil {
		return nil, err
	}
	var done []Compressed
	for _, l := range w.Layers {
		one := *p
		one.conv, one.layer = l.Conv, l
		c, err := one.replace(b)
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		done = append(done, c)
	}
	return done, nil
}

// A block is an array of numbers with a shape.
type block struct {
	data  []float64
	shape []int
}

// constant stores a block in the element type of the weight, where all layers
// of the weight can see it.
func (b *builder) constant(w *match.Weight, name string, k block) (*graph.Value, error) {
	t, err := tensor.FromFloat64s(w.DType, k.data, k.shape...)
	if err != nil {
		return nil, err
	}
	return b.initializer(w.Root.Graph(), name, t)
}

// A convPair is the two convolutions of one layer.
type convPair struct {
	*site
	layer  *match.Layer
	conv   *match.Convolution
	form   form
	terms  int
	aFirst bool
	c1, c2 int
	a, b   *graph.Value
}

func newConvPair(c *match.Convolution, f form, terms int) *convPair {
	ka, kb := tapsOf(c, f.kernel)
	p := &convPair{conv: c, form: f, terms: terms, c1: f.N1 / ka, c2: f.N2 / kb}
	p.aFirst = p.macs(true) < p.macs(false)
	return p
}

// macs is the multiplications per place of the output and term: the first
// convolution has strides only along its own axes.
func (p *convPair) macs(aFirst bool) int {
	mine := byte('b')
	if aFirst {
		mine = 'a'
	}
	places := 1 // of the first one per place of the second
	for i, s := range p.conv.Strides {
		if p.owner(i) != mine {
			places *= s
		}
	}
	f := p.form
	if aFirst {
		return places*f.M1*f.N1*p.c2 + f.M2*f.N2*f.M1
	}
	return places*p.c1*f.M2*f.N2 + f.M1*f.N1*f.M2
}

// owner is the factor that has an axis of the kernel.
func (p *convPair) owner(axis int) byte {
	if p.form.kernel == "" {
		return 'b'
	}
	return p.form.kernel[axis]
}

// window is the kernel, strides and so on that a factor has.
func (p *convPair) window(factor byte) (kernel []int) {
	for i, n := range p.conv.Kernel {
		if p.owner(i) != factor {
			n = 1
		}
		kernel = append(kernel, n)
	}
	return kernel
}

// deep reports whether A works over one axis more than the layer.
func (p *convPair) deep() bool { return !onlyB(p.form.kernel) }

// tensors is the constants of all terms.
func (p *convPair) tensors(k *factorize.Kronecker) (a, b block) {
	ka, kb := tapsOf(p.conv, p.form.kernel)
	r, f := p.terms, p.form
	a.shape, b.shape = []int{f.M1, p.c1 * r}, []int{r * f.M2, p.c2}
	if p.aFirst {
		a.shape, b.shape = []int{f.M1 * r, p.c1}, []int{f.M2, r * p.c2}
	}
	if p.deep() {
		a.shape = append(a.shape, 1)
	}
	a.shape, b.shape = append(a.shape, p.window('a')...), append(b.shape, p.window('b')...)
	a.data, b.data = make([]float64, f.M1*p.c1*ka*r), make([]float64, f.M2*p.c2*kb*r)
	for t := range r {
		for i := range f.M1 {
			for c := range p.c1 {
				at := (i*p.c1+c)*r + t
				if p.aFirst {
					at = (i*r+t)*p.c1 + c
				}
				for q := range ka {
					a.data[at*ka+q] = k.A[t].At(i, q*p.c1+c)
				}
			}
		}
		for i := range f.M2 {
			at := t*f.M2 + i
			if p.aFirst {
				at = i*r + t
			}
			copy(b.data[at*f.N2:(at+1)*f.N2], mat.Row(nil, i, k.B[t]))
		}
	}
	return a, b
}

// replace puts the two convolutions in the place of the layer.
func (p *convPair) replace(b *builder) (Compressed, error) {
	l := p.layer
	last := l.Product
	if l.BiasAdd != nil {
		last = l.BiasAdd
	}
	p.site = &site{builder: b, g: l.Product.Graph(), at: last, name: l.Name}
	bias := l.Addend
	x := l.X
	if n := p.c1*p.c2 - p.conv.Channels; n > 0 {
		x = p.pad("pad", x, l.Rank, 1, n)
	}
	// The second convolution of low rank gives all channels at once.
	inside := (*graph.Value)(nil)
	if bias != nil && l.BiasAdd == nil && p.form.IsLowRank() {
		inside = bias
	}
	var y *graph.Value
	if p.aFirst {
		y = p.stageB("y", p.stageA("t", x, p.form.M1*p.terms, p.c2, nil), p.form.M1, p.terms*p.c2, p.form.M2, inside)
	} else {
		y = p.stageA("y", p.stageB("t", x, p.c1, p.c2, p.terms*p.form.M2, nil), p.form.M1, p.form.M2, inside)
	}
	if p.form.M1*p.form.M2 > l.Out {
		y = p.slice("crop", y, 1, 0, l.Out)
	}
	c := Compressed{Name: l.Name, Value: l.Y.Name(), Op: l.Op, Action: ActBilinear, First: "b", Shape: *shapeOf(p.form.Shape), Kernel: p.form.kernel,
		Terms: p.terms, In: l.In, Out: l.Out, A: p.a.Name(), B: p.b.Name()}
	if p.aFirst {
		c.First = "a"
	}
	if p.form.IsLowRank() {
		c.Action = ActLowRank
	}
	added := bias
	if bias != nil && inside == nil {
		if l.BiasAdd == nil {
			added = p.channelBias(bias)
		}
		y = p.node("Add", "biased", []*graph.Value{y, added})
	}
	if added != nil && added.Const() != nil {
		c.Bias = added.Name()
	}
	p.yield(y, last)
	if p.err != nil {
		return c, p.err
	}
	// A refitted bias that went into another shape was never read.
	refitted := bias != nil && len(bias.Uses()) == 0
	if err := removeLayer(l, last); err != nil || !refitted {
		return c, err
	}
	return c, prune(bias)
}

// stageB convolves with B: x [N, outer·in, …] gives [N, outer·out, …], every
// group of in channels on its own.
func (p *convPair) stageB(role string, x *graph.Value, outer, in, out int, bias *graph.Value) *graph.Value {
	if outer > 1 {
		x = p.reshape(role+".groups", x, append([]int{-1, in}, make([]int, len(p.conv.Kernel))...)...)
	}
	y := p.convolve(role+".b", x, p.b, 'b', false, bias)
	if outer > 1 {
		y = p.reshape(role+".joined", y, append([]int{-1, outer * out}, make([]int, len(p.conv.Kernel))...)...)
	}
	return y
}

// stageA convolves with A: x [N, in·inner, …] gives [N, out·inner, …], every
// inner-th channel belonging together.
func (p *convPair) stageA(role string, x *graph.Value, out, inner int, bias *graph.Value) *graph.Value {
	axes := len(p.conv.Kernel)
	in := p.c1
	if !p.aFirst {
		in *= p.terms
	}
	zeros := make([]int, axes)
	switch {
	case p.deep():
		// 0 copies the size of the same axis: the new axis goes in front first.
		x = p.unsqueeze(role+".front", x)
		x = p.reshape(role+".beside", x, append([]int{-1, in, inner}, zeros...)...)
		y := p.convolve(role+".a", x, p.a, 'a', true, bias)
		y = p.reshape(role+".joined", y, append([]int{1, -1, out * inner}, zeros...)...)
		return p.squeeze(role+".back", y)
	case inner == 1:
		return p.convolve(role+".a", x, p.a, 'a', false, bias)
	}
	x = p.reshape(role+".beside", x, append([]int{0, in, -1}, zeros[1:]...)...)
	y := p.convolve(role+".a", x, p.a, 'a', false, bias)
	return p.reshape(role+".joined", y, append([]int{0, out * inner, -1}, zeros[1:]...)...)
}

// convolve is a Conv with the axes of the kernel that a factor has; deep, over
// one axis more in front of them.
func (p *convPair) convolve(role string, x, w *graph.Value, factor byte, deep bool, bias *graph.Value) *graph.Value {
	c := p.conv
	var strides, dilations, begin, end []int
	kernel := p.window(factor)
	for i := range kernel {
		st, di, be, en := 1, 1, 0, 0
		if p.owner(i) == factor {
			st, di = c.Strides[i], c.Dilations[i]
			if c.Begin != nil {
				be, en = c.Begin[i], c.End[i]
			}
		}
		strides, dilations, begin, end = append(strides, st), append(dilations, di), append(begin, be), append(end, en)
	}
	if deep {
		kernel, strides, dilations = slices.Insert(kernel, 0, 1), slices.Insert(strides, 0, 1), slices.Insert(dilations, 0, 1)
		begin, end = slices.Insert(begin, 0, 0), slices.Insert(end, 0, 0)
	}
	attrs := []*graph.Attr{intsAttr("kernel_shape", kernel...), intsAttr("strides", strides...), intsAttr("dilations", dilations...)}
	if c.AutoPad != "" {
		attrs = append(attrs, &graph.Attr{Name: "auto_pad", Type: graph.AttrString, S: []byte(c.AutoPad)})
	} else {
		attrs = append(attrs, intsAttr("pads", append(begin, end...)...))
	}
	inputs := []*graph.Value{x, w}
	if bias != nil {
		inputs = append(inputs, bias)
	}
	return p.node("Conv", role, inputs, attrs...)
}

// channelBias is a bias [F] as it is added to [N F D1 …].
func (p *convPair) channelBias(bias *graph.Value) *graph.Value {
	if p.err != nil {
		return nil
	}
	shape := append([]int{p.layer.Out}, ones(len(p.conv.Kernel))...)
	if bias.Const() == nil {
		return p.reshape("bias", bias, shape...)
	}
	t, err := bias.Const().Reshaped(shape...)
	if err != nil {
		p.err = err
		return nil
	}
	var v *graph.Value
	v, p.err = p.initializer(bias.Graph(), p.name+".bilinc.bias", t)
	return v
}

func ones(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

// unsqueeze puts an axis of size 1 in front.
func (s *site) unsqueeze(role string, x *graph.Value) *graph.Value {
	if s.opset < 13 {
		return s.node("Unsqueeze", role, []*graph.Value{x}, intsAttr("axes", 0))
	}
	return s.node("Unsqueeze", role, []*graph.Value{x, s.ints(role+".axes", 0)})
}

// squeeze takes an axis of size 1 from the front.
func (s *site) squeeze(role string, x *graph.Value) *graph.Value {
	if s.opset < 13 {
		return s.node("Squeeze", role, []*graph.Value{x}, intsAttr("axes", 0))
	}
	return s.node("Squeeze", role, []*graph.Value{x, s.ints(role+".axes", 0)})
}
