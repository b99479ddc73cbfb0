package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A Bound is data fitted to the inputs of a model, to be had in batches.
type Bound struct {
	Inputs []string // the model's inputs without initializer, in its order
	Notes  []string // what was adapted, one sentence each
	Random bool     // the inputs are drawn, not read
	Fixed  int      // the batch that the model's shapes fix; 0: any

	opts   Options
	parts  []part
	sample []int // the units that are taken; nil: all
}

// A part is the rows of one group.
type part struct {
	name    string
	columns []column // one for each input
	labels  source   // nil: none
	target  string   // the name of the labels' array
	file    string   // and where that is
	rows    int
	whole   bool // fed at once, as it is
}

// A column fits one array to one input.
type column struct {
	src   source
	input string
	array string       // its name
	where string       // its file
	elem  tensor.DType // the input's
	each  []int        // the input's shape without the axis of the batch
	flat  bool         // the input has no such axis: one sample a run
	scale float64      // 0: converted as it is
}

// Inputs is the inputs of g that a run must be given: those without
// initializer.
func Inputs(g *graph.Graph) []*graph.Value {
	var out []*graph.Value
	for _, v := range g.Inputs {
		if v.Init() == nil {
			out = append(out, v)
		}
	}
	return out
}

// Bind fits the set to the inputs of g. It fails where an input has no array,
// where shapes differ in the number of elements per sample, and where the
// element type of an array cannot stand for the input's without loss; the
// error names both sides.
func (s *Set) Bind(g *graph.Graph) (*Bound, error) {
	b := &Bound{opts: s.opts}
	inputs := Inputs(g)
	for _, v := range inputs {
		b.Inputs = append(b.Inputs, v.Name())
		if v.Type.Kind != tensor.KindTensor && v.Type.Kind != tensor.KindNone {
			return nil, fmt.Errorf("input %q is %v: data for it cannot be read", v.Name(), v.Type)
		}
	}
	left := s.opts.Samples
	for i := range s.groups {
		p, err := b.bindGroup(&s.groups[i], g, inputs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.groups[i].name, err)
		}
		if s.opts.Samples > 0 {
			if left == 0 {
				break
			}
			if !p.whole {
				p.rows = min(p.rows, left)
			}
			left -= min(left, p.rows)
		}
		b.parts = append(b.parts, *p)
	}
	if b.Rows() == 0 {
		return nil, errors.New("the data has no rows")
	}
	return b, nil
}

func (b *Bound) bindGroup(g *group, model *graph.Graph, inputs []*graph.Value) (*part, error) {
	p := &part{name: g.name}
	arrays := make([]*array, len(inputs))
	for i, v := range inputs {
		a := g.find(v, i, inputs, b.opts.labels())
		if a == nil {
			return nil, fmt.Errorf("there is no array for the input %q: the model's inputs are %s, the arrays %s",
				v.Name(), quotedNames(inputs), g.names())
		}
		arrays[i] = a
	}
	label := g.target(model, b.opts.labels())
	if label == nil && b.opts.Labels != "" {
		return nil, fmt.Errorf("there is no array %q for the labels; the arrays are %s", b.opts.Labels, g.names())
	}
	if label != nil {
		p.labels, p.target, p.file = label.src, label.name, label.where
	}
	if g.onnx && b.bindWhole(p, arrays, inputs) {
		return p, nil
	}
	var first *array
	for i, v := range inputs {
		c, fixed, err := b.fit(arrays[i], v)
		if err != nil {
			return nil, err
		}
		p.columns = append(p.columns, *c)
		if fixed > 0 {
			if b.Fixed > 0 && b.Fixed != fixed {
				return nil, fmt.Errorf("input %q fixes the batch to %d, an input before it to %d", v.Name(), fixed, b.Fixed)
			}
			b.Fixed = fixed
		}
		if len(c.src.shape()) == 0 {
			continue
		}
		rows := c.src.shape()[0]
		if first != nil && rows != p.rows {
			return nil, fmt.Errorf("array %q (%s) has %d rows, %q (%s) has %d: wanted as many", arrays[i].name, arrays[i].where, rows, first.name, first.where, p.rows)
		}
		first, p.rows = arrays[i], rows
	}
	if first == nil {
		p.rows = 1
	}
	if label != nil && first != nil {
		if shape := label.src.shape(); firstDim(shape) < p.rows && (b.opts.Samples == 0 || firstDim(shape) < b.opts.Samples) ||
			firstDim(shape) > p.rows && b.opts.Samples == 0 {
			return nil, fmt.Errorf("array %q (%s) has %d rows, the labels %q (%s) have %d: wanted as many", first.name, first.where, p.rows, label.name, label.where, firstDim(shape))
		}
	}
	return p, nil
}

// bindWhole takes a test_data_set as it is where its tensors are what the
// inputs say. Its rows are the first dimension where all inputs share it.
func (b *Bound) bindWhole(p *part, arrays []*array, inputs []*graph.Value) bool {
	rows, alike := -1, true
	for i, a := range arrays {
		if !admits(b.known(inputs[i].Type), a.src) {
			return false
		}
		switch n := firstDim(a.src.shape()); {
		case len(a.src.shape()) == 0:
			alike = false
		case rows < 0:
			rows = n
		case rows != n:
			alike = false
		}
	}
	p.whole, p.rows = true, 1
	if alike && rows > 0 {
		p.rows = rows
	}
	for i, a := range arrays {
		p.columns = append(p.columns, column{src: a.src, input: inputs[i].Name(), array: a.name, where: a.where, elem: a.src.dtype()})
	}
	return true
}

// admits reports whether a tensor of src's type and shape is of type t.
func admits(t graph.Type, src source) bool {
	if t.DType != tensor.Undefined && t.DType != src.dtype() {
		return false
	}
	return !t.Ranked || matches(t.Shape, src.shape())
}

// matches reports whether shape is what want says, as far as that goes.
func matches(want []graph.Dim, shape []int) bool {
	if len(want) != len(shape) {
		return false
	}
	for i, d := range want {
		if n, ok := d.Const(); ok && n != shape[i] {
			return false
		}
	}
	return true
}

// known is t with the sizes that the user gave put for symbols.
func (b *Bound) known(t graph.Type) graph.Type {
	t.Shape = slices.Clone(t.Shape)
	for i, d := range t.Shape {
		if n, ok := d.Eval(b.opts.Dims); ok {
			t.Shape[i] = graph.Size(n)
		}
	}
	return t
}

// fit finds out how the rows of a become those of v; fixed is the batch that
// v's shape demands, 0 where it demands none.
func (b *Bound) fit(a *array, v *graph.Value) (c *column, fixed int, err error) {
	t := b.known(v.Type)
	c = &column{src: a.src, input: v.Name(), array: a.name, where: a.where, elem: t.DType}
	if c.elem == tensor.Undefined {
		c.elem = a.src.dtype()
	}
	if err := b.fitType(c, a); err != nil {
		return nil, 0, err
	}
	shape := a.src.shape()
	if len(shape) == 0 { // one value for every run
		if t.Ranked && len(t.Shape) > 0 {
			return nil, 0, mismatch(a, v)
		}
		c.flat = true
		return c, 0, nil
	}
	each := shape[1:]
	count, err := tensor.Elements(each)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case !t.Ranked || len(t.Shape) > 0 && matches(t.Shape[1:], each):
		c.each = each
	default:
		if want, ok := graph.Ints(tail(t.Shape)); ok && len(t.Shape) > 0 && product(want) == count {
			c.each = want
			b.note("input %q: samples of shape %v are read as %v", v.Name(), each, want)
		} else if want, ok := graph.Ints(t.Shape); ok && product(want) == count {
			// The input has no axis for a batch: one sample is all of it.
			c.each, c.flat = want, true
			return c, 1, nil
		} else {
			return nil, 0, mismatch(a, v)
		}
	}
	if t.Ranked {
		if n, ok := t.Shape[0].Const(); ok {
			if n == 0 {
				return nil, 0, mismatch(a, v)
			}
			fixed = n
		}
	}
	return c, fixed, nil
}

// fitType decides how elements are converted.
func (b *Bound) fitType(c *column, a *array) error {
	from, to := a.src.dtype(), c.elem
	float := to == tensor.Float32 || to == tensor.Float64 || to == tensor.Float16 || to == tensor.BFloat16
	number := from.IsInteger() || from == tensor.Float32 || from == tensor.Float64 || from == tensor.Float16
	switch {
	case float && number && b.opts.Scale != 0:
		c.scale = b.opts.Scale
	case from == to:
	case float && from == tensor.Uint8:
		c.scale = 1.0 / 255
		b.note("input %q: bytes are multiplied by 1/255 (--scale sets another factor)", c.input)
	case widens(from, to):
	default:
		return fmt.Errorf("array %q (%s) holds %v, the input %q takes %v, and the one does not become the other without loss",
			a.name, a.where, from, c.input, to)
	}
	return nil
}

// widens reports whether every number of type from is one of type to.
func widens(from, to tensor.DType) bool {
	signed := func(d tensor.DType) bool {
		return d == tensor.Int8 || d == tensor.Int16 || d == tensor.Int32 || d == tensor.Int64
	}
	switch {
	case from == tensor.Float16 && (to == tensor.Float32 || to == tensor.Float64), from == tensor.Float32 && to == tensor.Float64:
		return true
	case !from.IsInteger() || !to.IsInteger() || to.Bits() < 8:
		return false
	case signed(from) == signed(to):
		return to.Bits() > from.Bits()
	}
	return signed(to) && to.Bits() > from.Bits()
}

func mismatch(a *array, v *graph.Value) error {
	return fmt.Errorf("array %q (%s) is %v%v, the input %q is %v: the elements per sample do not agree",
		a.name, a.where, a.src.dtype(), a.src.shape(), v.Name(), v.Type)
}

func (b *Bound) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(b.Notes, n) {
		b.Notes = append(b.Notes, n)
	}
}

// find is the array for the i-th input: that of its name, for a test_data_set
// the i-th, and where there is only one of each whatever its name is.
func (g *group) find(v *graph.Value, i int, inputs []*graph.Value, labels string) *array {
	var only *array
	n := 0
	for k := range g.arrays {
		a := &g.arrays[k]
		if a.kind != output && a.name == v.Name() {
			return a
		}
		if a.kind == named && a.name != labels {
			only = a
			n++
		}
	}
	for k := range g.arrays {
		if a := &g.arrays[k]; a.kind == input && a.rank == i {
			return a
		}
	}
	if n == 1 && len(inputs) == 1 {
		return only
	}
	return nil
}

// target is the array of the labels; nil where there is none. A
// test_data_set's outputs go by their own names, by the model's and by
// output_0, output_1, ….
func (g *group) target(model *graph.Graph, key string) *array {
	for k := range g.arrays {
		a := &g.arrays[k]
		if a.kind != input && a.name == key {
			return a
		}
		if a.kind == output && (key == fmt.Sprintf("output_%d", a.rank) ||
			a.rank < len(model.Outputs) && model.Outputs[a.rank].Name() == key) {
			return a
		}
	}
	return nil
}

func (g *group) names() string {
	var out []string
	for _, a := range g.arrays {
		out = append(out, fmt.Sprintf("%q", a.name))
	}
	return strings.Join(out, ", ")
}

func quotedNames(vs []*graph.Value) string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = fmt.Sprintf("%q", v.Name())
	}
	return strings.Join(out, ", ")
}

func tail(shape []graph.Dim) []graph.Dim {
	if len(shape) == 0 {
		return nil
	}
	return shape[1:]
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
