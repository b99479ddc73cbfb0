package op

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Tolerances of expected outputs, relative to the larger of the wanted value
// and 1.
const (
	exact       = 0
	closeTo     = 1e-6 // float32 arithmetic in another order
	approximate = 1e-5 // long sums, or expected values printed to six digits
	half        = 2e-3 // results rounded to float16
)

// An opTest is one node run on its own: what its outputs must be, or what its
// error must say.
type opTest struct {
	name    string
	op      string
	opset   int64
	attrs   []*graph.Attr
	outs    int              // beside ONNX Runtime: how many outputs; 0: one
	in      []*tensor.Tensor // nil: left out
	want    []*tensor.Tensor // nil: made, but not looked at
	tol     float64
	err     string
	through func(float64) float64 // what results are compared with another runtime's through; nil: as they are
}

func attrInt(name string, v int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInt, I: v}
}

func attrInts(name string, v ...int64) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrInts, Ints: v}
}

func attrFloat(name string, v float32) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrFloat, F: v}
}

func attrFloats(name string, v ...float32) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrFloats, Floats: v}
}

func attrString(name, v string) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrString, S: []byte(v)}
}

func attrTensor(name string, v *tensor.Tensor) *graph.Attr {
	return &graph.Attr{Name: name, Type: graph.AttrTensor, T: v}
}

// list is a tensor of rank 1.
func list[T tensor.Elem](v ...T) *tensor.Tensor { return tensor.Of(v, len(v)) }

// counting is a float32 tensor of 0, 1, 2, …
func counting(shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i, v := 0, tensor.Data[float32](t); i < len(v); i++ {
		v[i] = float32(i)
	}
	return t
}

// random is a float32 tensor of normal numbers that depend on the seed alone.
func random(seed uint64, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 0))
	t := tensor.New(tensor.Float32, shape...)
	for i, v := 0, tensor.Data[float32](t); i < len(v); i++ {
		v[i] = float32(r.NormFloat64())
	}
	return t
}

// as converts a tensor to another floating-point type.
func as(d tensor.DType, t *tensor.Tensor) *tensor.Tensor {
	c := tensor.New(d, t.Shape()...)
	if err := tensor.Convert(c, t); err != nil {
		panic(err)
	}
	return c
}

// parseOp parses a node of nIn inputs and nOut outputs; missing inputs are
// those that in leaves nil.
func parseOp(c opTest, nOut int) (Op, error) {
	g := graph.New("test", nil)
	in := make([]*graph.Value, len(c.in))
	for i, x := range c.in {
		if x != nil {
			in[i], _ = g.AddInput(fmt.Sprintf("in%d", i), graph.TypeOf(x))
		}
	}
	out := make([]*graph.Value, nOut)
	for i := range out {
		out[i], _ = g.NewValue(fmt.Sprintf("out%d", i), graph.Type{})
	}
	domain, name := domainOf(c.op)
	n, err := g.NewNode(domain, name, "", in, out, c.attrs...)
	if err != nil {
		return nil, err
	}
	return Parse(n, c.opset)
}

// domainOf is the domain of an operator and its name there.
func domainOf(op string) (domain, name string) {
	if i := strings.LastIndex(op, "."); i >= 0 {
		return op[:i], op[i+1:]
	}
	return "", op
}

// runOpTests runs each test's node, compares its outputs, and checks that
// what inference says from less than all is true of them.
func runOpTests(t *testing.T, tests []opTest) {
	t.Helper()
	for _, c := range tests {
		name := c.op
		if c.name != "" {
			name += "/" + strings.ReplaceAll(c.name, " ", "_")
		}
		t.Run(name, func(t *testing.T) { runOpTest(t, c) })
	}
}

func runOpTest(t *testing.T, c opTest) {
	values := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		values[i] = tensor.ValueOf(x)
	}
	o, err := parseOp(c, max(1, len(c.want)))
	var got []tensor.Value
	if err == nil {
		ctx := &Ctx{Pool: kernel.NewPool(2), Rand: rand.New(rand.NewPCG(1, 2))}
		got, err = Eval(ctx, o, values, max(1, len(c.want)))
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
	if len(got) != len(c.want) {
		t.Fatalf("found %d outputs, wanted %d", len(got), len(c.want))
	}
	for i, want := range c.want {
		if want == nil {
			continue
		}
		if err := sameTensor(got[i].Tensor, want, c.tol); err != nil {
			t.Errorf("output %d: %v", i, err)
		}
	}
	checkInference(t, o, values, got)
}

// sameTensor fails where got has not want's type and shape, or an element
// that differs by more than the tolerance.
func sameTensor(got, want *tensor.Tensor, tol float64) error {
	if got == nil || got.String() != want.String() {
		return fmt.Errorf("found %v, wanted %v", got, want)
	}
	if tol == exact {
		if !tensor.Equal(got, want) {
			return fmt.Errorf("found %v, wanted %v", elements(got), elements(want))
		}
		return nil
	}
	x, err := tensor.Float64s(got)
	if err != nil {
		return err
	}
	y, err := tensor.Float64s(want)
	if err != nil {
		return err
	}
	for i := range x {
		if x[i] == y[i] || math.IsNaN(x[i]) && math.IsNaN(y[i]) {
			continue
		}
		if !(math.Abs(x[i]-y[i]) <= tol*max(1, math.Abs(y[i]))) {
			return fmt.Errorf("element %d of %v is %v, wanted %v", i, want, x[i], y[i])
		}
	}
	return nil
}

// elements is a tensor's elements for a message.
func elements(t *tensor.Tensor) any {
	if v, err := tensor.Float64s(t); err == nil {
		return v
	}
	if t.DType() == tensor.String {
		return tensor.Data[string](t)
	}
	return t.Bytes()
}

// checkInference infers from ever less knowledge of the inputs; whatever is
// then said of the outputs must be true of those found.
func checkInference(t *testing.T, o Op, in, out []tensor.Value) {
	t.Helper()
	if _, random := o.(Random); random {
		return
	}
	for level := everything; level <= nothing; level++ {
		sizes := map[string]int{}
		facts := make([]graph.Fact, len(in))
		for i, v := range in {
			facts[i] = level.fact(i, v, sizes)
		}
		inferred, err := InferNode(o, facts, len(out))
		if err != nil {
			t.Errorf("inference from %v: %v", level, err)
			continue
		}
		for i, f := range inferred {
			if err := contradiction(f, out[i], sizes); err != nil {
				t.Errorf("inference from %v: output %d: %v", level, i, err)
			}
		}
	}
}

// A knowledge is how much of its inputs a node's inference is given.
type knowledge int

const (
	everything knowledge = iota
	firstSymbolic
	types
	symbols
	ranks
	nothing
)

func (k knowledge) String() string {
	return [...]string{"everything", "a symbolic first input", "types", "symbols", "ranks", "nothing"}[k]
}

// fact is the knowledge of the i-th input; sizes gets the size of each symbol.
func (k knowledge) fact(i int, v tensor.Value, sizes map[string]int) graph.Fact {
	if v.Kind != tensor.KindTensor {
		return graph.Fact{Type: declaredType(v)}
	}
	full := graph.FactOf(v.Tensor)
	shape := make([]graph.Dim, v.Tensor.Rank())
	switch {
	case k == everything || k == firstSymbolic && i > 0:
		return full
	case k == types:
		return graph.Fact{Type: full.Type}
	case k == nothing:
		return graph.Fact{Type: graph.Type{Kind: tensor.KindTensor, DType: full.DType}}
	case k == ranks:
		for a := range shape {
			shape[a] = graph.Unknown
		}
	default:
		for a, n := range v.Tensor.Shape() {
			symbol := fmt.Sprintf("s%d_%d", i, a)
			shape[a], sizes[symbol] = graph.Symbol(symbol), n
		}
	}
	return graph.Fact{Type: graph.TensorType(full.DType, shape...)}
}

// declaredType is what a model may say of a value: of a sequence, what all of
// its elements are.
func declaredType(v tensor.Value) graph.Type {
	t := graph.Type{Kind: v.Kind}
	if v.Kind == tensor.KindTensor {
		return graph.TypeOf(v.Tensor)
	}
	for i, e := range v.Elems {
		elem := declaredType(e)
		if i > 0 {
			elem = common(*t.Elem, elem)
		}
		t.Elem = &elem
	}
	return t
}

// contradiction fails where a fact is not true of a value.
func contradiction(f graph.Fact, v tensor.Value, sizes map[string]int) error {
	if f.Kind == tensor.KindNone {
		return nil // a fact that says nothing
	}
	if f.Kind != v.Kind {
		return fmt.Errorf("said %v of %v", f.Kind, v.Kind)
	}
	if v.Kind != tensor.KindTensor {
		return nil
	}
	wrong := f.DType != tensor.Undefined && f.DType != v.Tensor.DType()
	if f.Ranked {
		wrong = wrong || len(f.Shape) != v.Tensor.Rank()
		for i := 0; i < len(f.Shape) && !wrong; i++ {
			n, ok := f.Shape[i].Eval(sizes)
			wrong = ok && n != v.Tensor.Shape()[i]
		}
	}
	if wrong {
		return fmt.Errorf("said %v of %v", f.Type, v.Tensor)
	}
	if f.Const != nil && !tensor.Equal(f.Const, v.Tensor) {
		return fmt.Errorf("said %v of %v", elements(f.Const), elements(v.Tensor))
	}
	if f.Ints == nil {
		return nil
	}
	is, err := tensor.Int64s(v.Tensor)
	if err != nil {
		return err
	}
	if len(is) != len(f.Ints) {
		return fmt.Errorf("said contents %v of %v", f.Ints, v.Tensor)
	}
	for i, d := range f.Ints {
		if n, ok := d.Eval(sizes); ok && n != int(is[i]) {
			return fmt.Errorf("said contents %v of %v", f.Ints, is)
		}
	}
	return nil
}
