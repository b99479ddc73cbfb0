package convert

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// factors is the two constants of a replaced weight.
//
// Of a bilinear weight W ≈ Σ_r A_r ⊗ B_r they hold all terms side by side, in
// the layout of the order of application:
//
//	B first: b[j, r·M2+b] = B_r[b,j], of N2×(R·M2)   a[a, i·R+r] = A_r[a,i], of M1×(N1·R)
//	A first: a[a·R+r, i] = A_r[a,i], of (M1·R)×N1    b[r·N2+j, b] = B_r[b,j], of (R·N2)×M2
//
// a multiplies from the left and b from the right. Of a low-rank weight
// W ≈ U V they are b = Vᵀ of Cols×R and a = Uᵀ of R×Rows, both from the right.
//
// The transposed weight Wᵀ takes the transposed constants in the other order,
// so that tied layers share them whichever way they read W; where the samples
// are columns, what multiplies from the right multiplies transposed from the
// left.
type factors struct {
	shape  factorize.Shape // of the first layer's W
	terms  int
	aFirst bool
	a, b   *graph.Value
	flipA  bool // a is stored transposed
	flipB  bool
}

// matrices is the constants of k as factors says, for the order aFirst.
func matrices(k *factorize.Kronecker, aFirst bool) (a, b *mat.Dense) {
	terms := k.Terms()
	if u, v := k.LowRank(); u != nil {
		return mat.DenseCopyOf(u.T()), mat.DenseCopyOf(v.T())
	}
	if aFirst {
		a, b = mat.NewDense(k.M1*terms, k.N1, nil), mat.NewDense(terms*k.N2, k.M2, nil)
	} else {
		a, b = mat.NewDense(k.M1, k.N1*terms, nil), mat.NewDense(k.N2, terms*k.M2, nil)
	}
	for r := range terms {
		for i := range k.M1 {
			for j := range k.N1 {
				if aFirst {
					a.Set(i*terms+r, j, k.A[r].At(i, j))
				} else {
					a.Set(i, j*terms+r, k.A[r].At(i, j))
				}
			}
		}
		for i := range k.M2 {
			for j := range k.N2 {
				if aFirst {
					b.Set(r*k.N2+j, i, k.B[r].At(i, j))
				} else {
					b.Set(j, r*k.M2+i, k.B[r].At(i, j))
				}
			}
		}
	}
	return a, b
}

// aFirst reports whether applying A first takes fewer multiplications.
func aFirst(s factorize.Shape) bool {
	return s.M1*s.N2*(s.N1+s.M2) < s.N1*s.M2*(s.N2+s.M1)
}

// replace puts the factors of k in the place of all layers of w, and removes
// w's constants. It returns the record of each layer.
func (b *builder) replace(w *match.Weight, k *factorize.Kronecker, kernel string, facts func(*graph.Value) graph.Fact) ([]Compressed, error) {
	if w.Layers[0].Conv != nil {
		return b.replaceConvolutions(w, k, kernel)
	}
	if isTable(w) {
		return b.replaceTables(w, k)
	}
	f := &factors{shape: k.Shape, terms: k.Terms(), aFirst: aFirst(k.Shape)}
	first := w.Layers[0]
	lowRank := k.IsLowRank()
	// Stored the way the first layer reads them.
	f.flipA, f.flipB = lowRank && first.Columns, first.Columns
	ma, mb := matrices(k, f.aFirst)
	var err error
	if f.a, err = b.factor(w, first.Name+".bilinc.A", ma, f.flipA); err != nil {
		return nil, err
	}
	if f.b, err = b.factor(w, first.Name+".bilinc.B", mb, f.flipB); err != nil {
		return nil, err
	}
	var done []Compressed
	for _, l := range w.Layers {
		c, err := b.replaceLayer(l, f, facts(l.X))
		if err != nil {
			return nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		done = append(done, c)
	}
	return done, nil
}

// factor stores a matrix in the element type of the weight, where all layers
// of the weight can see it.
func (b *builder) factor(w *match.Weight, name string, m *mat.Dense, flip bool) (*graph.Value, error) {
	if flip {
		m = mat.DenseCopyOf(m.T())
	}
	rows, cols := m.Dims()
	t, err := tensor.FromFloat64s(w.DType, m.RawMatrix().Data, rows, cols)
	if err != nil {
		return nil, err
	}
	return b.initializer(w.Root.Graph(), name, t)
}

// replaceLayer replaces the nodes of one layer.
func (b *builder) replaceLayer(l *match.Layer, f *factors, x graph.Fact) (Compressed, error) {
	last := l.Product
	if l.BiasAdd != nil {
		last = l.BiasAdd
	}
	s := &site{builder: b, g: l.Product.Graph(), at: last, name: l.Name}
	p := &product{site: s, layer: l, shape: f.shape, terms: f.terms, aFirst: f.aFirst, samples: -1}
	if l.Transposed {
		p.shape = factorize.Shape{M1: f.shape.N1, N1: f.shape.M1, M2: f.shape.N2, N2: f.shape.M2}
		p.aFirst = !f.aFirst
	}
	v := l.X
	if l.TransposeX {
		v = s.transpose("xT", v)
	}
	if l.Columns && x.Ranked {
		axis := len(x.Shape) - 1
		if l.TransposeX {
			axis--
		}
		if n, ok := x.Shape[axis].Const(); ok {
			p.samples = n
		}
	}
	beta := l.Beta
	addend := l.Addend
	if beta == 0 {
		addend = nil
	}
	if f.shape.IsLowRank() {
		v, addend = p.lowRank(v, f, addend)
	} else {
		p.a = p.oriented("A", f.a, l.Transposed != f.flipA)
		p.b = p.oriented("B", f.b, (l.Transposed != l.Columns) != f.flipB)
		v = p.bilinear(v)
	}
	c := Compressed{Name: l.Name, Value: l.Y.Name(), Action: ActBilinear, First: "b", Shape: *shapeOf(p.shape), Terms: f.terms,
		In: l.In, Out: l.Out, A: f.a.Name(), B: f.b.Name()}
	if p.aFirst {
		c.First = "a"
	}
	if f.shape.IsLowRank() {
		c.Action = ActLowRank
	}
	if addend != nil {
		addend = s.scaled(addend, beta, l.Weight.DType)
		v = s.node("Add", "y", []*graph.Value{v, addend})
	} else if l.Addend != nil && beta != 0 {
		addend = l.Addend
	}
	if addend != nil && addend.Const() != nil {
		c.Bias = addend.Name()
	}
	s.yield(v, last)
	if s.err != nil {
		return c, s.err
	}
	return c, removeLayer(l, last)
}

// removeLayer removes the nodes of a replaced layer, whose output is made by
// others now, and the constants that only they read.
func removeLayer(l *match.Layer, last *graph.Node) error {
	nodes := []*graph.Node{last}
	if last != l.Product {
		nodes = append(nodes, l.Product)
	}
	for _, n := range nodes {
		inputs := append([]*graph.Value{}, n.Inputs()...)
		if err := n.Graph().Remove(n); err != nil {
			return err
		}
		for _, v := range inputs {
			if v == nil || v == l.X || v.Producer() == l.Product {
				continue
			}
			if err := prune(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// scaled is beta·v: a constant of its own where v is one, or a product.
func (s *site) scaled(v *graph.Value, beta float64, d tensor.DType) *graph.Value {
	if beta == 1 || s.err != nil {
		return v
	}
	t := v.Const()
	if t == nil {
		one, err := tensor.FromFloat64s(d, []float64{beta})
		if err != nil {
			s.err = fmt.Errorf("beta %g: %w", beta, err)
			return nil
		}
		c, err := s.initializer(s.model.Graph, s.name+".bilinc.beta", one)
		s.err = err
		return s.node("Mul", "betaC", []*graph.Value{v, c})
	}
	numbers, err := tensor.Float64s(t)
	if err == nil {
		for i := range numbers {
			numbers[i] *= beta
		}
		t, err = tensor.FromFloat64s(t.DType(), numbers, t.Shape()...)
	}
	if err != nil {
		s.err = fmt.Errorf("beta %g: %w", beta, err)
		return nil
	}
	c, err := s.initializer(v.Graph(), s.name+".bilinc.bias", t)
	s.err = err
	return c
}

// extraParams is what replacing w adds beside the factors: a scaled copy of
// the addend of a Gemm whose original stays, or its scale; a copy of a
// convolution's bias in another shape.
func extraParams(w *match.Weight, lowRank bool) int {
	n := 0
	for _, l := range w.Layers {
		if a := l.Addend; l.Conv != nil && !lowRank && l.BiasAdd == nil && a != nil && a.Const() != nil && (len(a.Uses()) > 1 || a.IsOutput()) {
			n += a.Const().Len()
		}
		if l.Beta == 1 || l.Beta == 0 || l.Addend == nil || lowRank && !l.Columns {
			continue
		}
		switch t := l.Addend.Const(); {
		case t == nil:
			n++
		case len(l.Addend.Uses()) > 1 || l.Addend.IsOutput():
			n += t.Len()
		}
	}
	return n
}
