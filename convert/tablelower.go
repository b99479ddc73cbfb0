package convert

import (
	"fmt"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// replaceTables puts the factors of k in the place of all layers of w, which
// look rows up. With V = V1·V2 rows of d = d1·d2 numbers, row v is
//
//	Σ_r A_r[v div V2] ⊗ B_r[v mod V2]    A [V1, d1, R], B [V2, R, d2]
//
// so that the product of one matrix of each has all terms summed. Of low rank,
// B is [V, R] and A [R, d].
func (b *builder) replaceTables(w *match.Weight, k *factorize.Kronecker) ([]Compressed, error) {
	first := w.Layers[0]
	p := &lookup{shape: k.Shape, terms: k.Terms()}
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
		one.layer = l
		c, err := one.replace(b)
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		done = append(done, c)
	}
	return done, nil
}

// A lookup is what replaces one Gather.
type lookup struct {
	*site
	layer *match.Layer
	shape factorize.Shape // of A_r, d1×V1, and B_r, d2×V2
	terms int
	a, b  *graph.Value
}

// tensors is the constants of all terms.
func (p *lookup) tensors(k *factorize.Kronecker) (a, b block) {
	s, r := p.shape, p.terms
	a = block{make([]float64, s.N1*s.M1*r), []int{s.N1, s.M1, r}}
	b = block{make([]float64, s.N2*r*s.M2), []int{s.N2, r, s.M2}}
	if s.IsLowRank() {
		a.shape, b.shape = []int{r, s.M1}, []int{s.N2, r}
	}
	for t := range r {
		for i := range s.M1 {
			for v := range s.N1 {
				at := (v*s.M1+i)*r + t
				if s.IsLowRank() {
					at = t*s.M1 + i
				}
				a.data[at] = k.A[t].At(i, v)
			}
		}
		for i := range s.M2 {
			for v := range s.N2 {
				b.data[(v*r+t)*s.M2+i] = k.B[t].At(i, v)
			}
		}
	}
	return a, b
}

// replace puts the nodes in the place of the layer.
func (p *lookup) replace(b *builder) (Compressed, error) {
	l := p.layer
	p.site = &site{builder: b, g: l.Product.Graph(), at: l.Product, name: l.Name}
	c := Compressed{Name: l.Name, Value: l.Y.Name(), Op: l.Op, Action: ActBilinear, First: "b", Shape: *shapeOf(p.shape), Terms: p.terms,
		In: l.In, Out: l.Out, A: p.a.Name(), B: p.b.Name()}
	var y *graph.Value
	if p.shape.IsLowRank() {
		c.Action = ActLowRank
		y = p.matMul("y", p.gather("t", p.b, l.X), p.a)
	} else {
		v, size := p.index(), p.number("size", p.shape.N2)
		group := p.node("Div", "group", []*graph.Value{v, size})
		inside := p.node("Sub", "inside", []*graph.Value{v, p.node("Mul", "start", []*graph.Value{group, size})})
		y = p.matMul("ab", p.gather("ta", p.a, group), p.gather("tb", p.b, inside))
		if l.Rank >= 0 {
			y = p.reshape("y", y, join(make([]int, l.Rank), l.Out)...)
		} else {
			shape := p.node("Concat", "y.shape", []*graph.Value{p.node("Shape", "dims", []*graph.Value{l.X}), p.ints("out", l.Out)},
				&graph.Attr{Name: "axis", Type: graph.AttrInt, I: 0})
			y = p.node("Reshape", "y", []*graph.Value{y, shape})
		}
	}
	p.yield(y, l.Product)
	if p.err != nil {
		return c, p.err
	}
	return c, removeLayer(l, l.Product)
}

func (p *lookup) gather(role string, table, index *graph.Value) *graph.Value {
	return p.node("Gather", role, []*graph.Value{table, index}, &graph.Attr{Name: "axis", Type: graph.AttrInt, I: 0})
}

// index is the indices without negative ones, which count from the end; those
// outside of the table are behind all rows of the factors, so that they stay an
// error.
func (p *lookup) index() *graph.Value {
	x, zero := p.layer.X, p.number("zero", 0)
	fromEnd := p.node("Add", "fromEnd", []*graph.Value{x, p.number("rows", p.layer.In)})
	v := p.where("index", x, zero, fromEnd, x)
	all := p.shape.N1 * p.shape.N2
	outside := p.number("outside", all)
	if all > p.layer.In { // padded
		last := p.node("Sub", "toLast", []*graph.Value{p.number("last", p.layer.In-1), v})
		v = p.where("inTable", last, zero, outside, v)
	}
	return p.where("inRange", v, zero, outside, v)
}

// where is a in the places where x is negative, and b elsewhere. No integer
// Less before operator set 9.
func (p *lookup) where(role string, x, zero, a, b *graph.Value) *graph.Value {
	if p.opset >= 9 {
		return p.node("Where", role, []*graph.Value{p.node("Less", role+".below", []*graph.Value{x, zero}), a, b})
	}
	to := func(role string, v *graph.Value, d tensor.DType) *graph.Value {
		return p.node("Cast", role, []*graph.Value{v}, &graph.Attr{Name: "to", Type: graph.AttrInt, I: int64(d)})
	}
	below := p.node("Less", role+".below", []*graph.Value{to(role+".signed", x, tensor.Float32), to(role+".zero", zero, tensor.Float32)})
	step := p.node("Mul", role+".step", []*graph.Value{to(role+".one", below, p.layer.Index), p.node("Sub", role+".off", []*graph.Value{a, b})})
	return p.node("Add", role, []*graph.Value{b, step})
}

// number is an integer of rank 0, which changes no shape, in the type of the
// indices.
func (p *lookup) number(role string, n int) *graph.Value {
	if p.err != nil {
		return nil
	}
	t := tensor.New(p.layer.Index)
	if p.layer.Index == tensor.Int32 {
		tensor.Data[int32](t)[0] = int32(n)
	} else {
		tensor.Data[int64](t)[0] = int64(n)
	}
	var c *graph.Value
	c, p.err = p.initializer(p.model.Graph, p.name+".bilinc."+role, t)
	return c
}
