package dataset

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// Sizes that random inputs take for dimensions of which nothing is known.
const (
	DefaultDim   = 8  // of a sequence, a state, …: more than 1, so that attention has something to choose
	DefaultImage = 32 // from the third dimension of an image on: divisible by the usual strides
)

// Random draws rows samples for the inputs of m: normal numbers for floating
// point, for integers numbers within the table that they index (all byte
// values, or 0 and 1, where they index none). Every row has its own seed, so
// that the numbers do not depend on the size of batches. dims gives sizes of
// symbolic dimensions.
func Random(m *graph.Model, rows, batch int, seed uint64, dims map[string]int) (*Bound, error) {
	if m == nil || m.Graph == nil {
		return nil, errors.New("the model has no graph")
	}
	facts, err := op.Infer(m, nil)
	if err != nil {
		return nil, err
	}
	b := &Bound{Random: true, opts: Options{Dims: dims}}
	inputs := Inputs(m.Graph)
	shapes, fixed, apart := b.randomShapes(inputs, batch)
	p := part{name: "random inputs", rows: rows}
	if apart {
		// The inputs have no batch in common: one run is one sample.
		fixed = 1
	}
	b.Fixed = fixed
	for i, v := range inputs {
		b.Inputs = append(b.Inputs, v.Name())
		if k := v.Type.Kind; k != tensor.KindTensor && k != tensor.KindNone || v.Type.DType == tensor.Undefined {
			return nil, fmt.Errorf("input %q is %v: numbers for it cannot be drawn", v.Name(), v.Type)
		}
		if !v.Type.Ranked {
			return nil, fmt.Errorf("input %q is of unknown rank: numbers for it cannot be drawn", v.Name())
		}
		each, all := shapes[i], []int{}
		if !apart && len(each) > 0 {
			each = each[1:]
		}
		if apart || len(shapes[i]) > 0 {
			all = append([]int{rows}, each...)
		}
		if _, err := tensor.Elements(all); err != nil {
			return nil, fmt.Errorf("input %q: %w", v.Name(), err)
		}
		src := &random{elem: v.Type.DType, dims: all, seed: seed, name: v.Name(), bound: tableBound(v, facts, dims)}
		// A lone number is rather a length than a class.
		src.one = src.bound == 0 && len(each) == 0
		c := column{src: src, input: v.Name(), where: p.name, elem: v.Type.DType, each: each, flat: apart}
		p.columns = append(p.columns, c)
	}
	b.parts = []part{p}
	return b, nil
}

// randomShapes is a shape for each input, and the batch that they fix. apart
// says that their first dimensions are no common batch.
func (b *Bound) randomShapes(inputs []*graph.Value, batch int) (shapes [][]int, fixed int, apart bool) {
	batch = max(1, batch)
	sizes := map[string]int{}
	for _, v := range inputs {
		if d := b.known(v.Type).Shape; len(d) > 0 {
			if _, ok := d[0].Const(); !ok && d[0].IsKnown() {
				sizes[d[0].String()] = batch
			}
		}
	}
	for name, n := range b.opts.Dims {
		sizes[name] = n
	}
	free := false
	for _, v := range inputs {
		var shape []int
		for i, d := range v.Type.Shape {
			n, ok := d.Eval(sizes)
			switch {
			case ok:
			case i == 0:
				n = batch
			case i >= 2 && len(v.Type.Shape) >= 4 && v.Type.DType.IsFloat():
				n = DefaultImage
			default:
				n = DefaultDim
			}
			shape = append(shape, n)
		}
		shapes = append(shapes, shape)
		if len(shape) == 0 {
			continue
		}
		if _, ok := b.known(v.Type).Shape[0].Const(); !ok {
			free = true
		} else if fixed > 0 && fixed != shape[0] {
			apart = true
		} else {
			fixed = shape[0]
			if fixed == 0 {
				apart = true
			}
		}
	}
	// A fixed first dimension beside free ones: a recurrent state, say, whose
	// batch is its second dimension.
	return shapes, fixed, apart || free && fixed > 1
}

// MaxMadeUp is the most numbers of an input that one run is given beyond what
// is in the data: random ones, or repeated rows of a fixed batch.
const MaxMadeUp = 1 << 30

// checkMadeUp fails for a shape of more numbers than are made up.
func checkMadeUp(shape []int) error {
	if n, err := tensor.Elements(shape); err != nil || n > MaxMadeUp {
		return fmt.Errorf("a run would take %v numbers that no data holds, wanted at most %d: the batch or another dimension is too large", shape, MaxMadeUp)
	}
	return nil
}

// random is an array that is drawn when it is read.
type random struct {
	elem  tensor.DType
	dims  []int
	seed  uint64
	name  string
	bound int  // of integers; 0: none is known
	one   bool // all are 1
}

func (r *random) dtype() tensor.DType { return r.elem }
func (r *random) shape() []int        { return r.dims }

func (r *random) rows(lo, hi int) (*tensor.Tensor, error) {
	h := fnv.New64a()
	h.Write([]byte(r.name))
	key := h.Sum64()
	each, shape := 1, r.dims
	if len(shape) == 0 {
		lo, hi = 0, 1
	} else {
		each, shape = product(shape[1:]), withRows(shape, hi-lo)
	}
	if err := checkMadeUp(shape); err != nil {
		return nil, err
	}
	v := make([]float64, (hi-lo)*each)
	for row := lo; row < hi; row++ {
		rng := rand.New(rand.NewPCG(r.seed^key, uint64(row)))
		for i := range v[(row-lo)*each : (row-lo+1)*each] {
			v[(row-lo)*each+i] = r.draw(rng)
		}
	}
	switch r.elem {
	case tensor.Bool:
		t := tensor.New(r.elem, shape...)
		for i, x := range v {
			tensor.Data[bool](t)[i] = x != 0
		}
		return t, nil
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
		return tensor.FromFloat64s(r.elem, v, shape...)
	}
	ints := make([]int64, len(v))
	for i, x := range v {
		ints[i] = int64(x)
	}
	return intsOf(r.elem, ints, shape)
}

// draw is one number.
func (r *random) draw(rng *rand.Rand) float64 {
	switch {
	case r.elem.IsFloat():
		return rng.NormFloat64()
	case r.one:
		return 1
	case r.bound > 0:
		return float64(rng.IntN(r.bound))
	case r.elem == tensor.Uint8:
		return float64(rng.IntN(256))
	case r.elem == tensor.Int8:
		return float64(rng.IntN(256) - 128)
	}
	return float64(rng.IntN(2))
}

// tableBound is the length of the shortest table that v indexes, directly or
// through operators that hand its numbers on; 0 where it indexes none.
func tableBound(v *graph.Value, facts *op.Facts, sizes map[string]int) int {
	bound := 0
	seen := map[*graph.Value]bool{v: true}
	queue := []*graph.Value{v}
	for len(queue) > 0 {
		for _, u := range queue[0].Uses() {
			if n, ok := tableLen(u, facts, sizes); ok {
				if bound == 0 || n < bound {
					bound = max(1, n)
				}
				continue
			}
			if !handsOn(u) {
				continue
			}
			for _, out := range u.Node.Outputs() {
				if out != nil && !seen[out] {
					seen[out] = true
					queue = append(queue, out)
				}
			}
		}
		queue = queue[1:]
	}
	return bound
}

// handsOn reports whether the numbers that a use reads come out of the node.
func handsOn(u graph.Use) bool {
	switch u.Node.OpType {
	case "Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Expand", "Tile",
		"Split", "Gather", "GatherElements", "GatherND":
		return u.Input == 0
	case "Concat":
		return true
	}
	return false
}

// tableLen is the length of the table that a use indexes, 1 where the table's
// length is not known; false where the use is no index.
func tableLen(u graph.Use, facts *op.Facts, sizes map[string]int) (int, bool) {
	axis := 0
	switch {
	case u.Input == 0 && u.Node.OpType == "OneHot" && u.Node.Input(1) != nil:
		depth := facts.Of(u.Node.Input(1))
		if len(depth.Ints) > 0 {
			if n, ok := depth.Ints[0].Eval(sizes); ok {
				return n, true
			}
		}
		return 1, true
	case u.Input != 1:
		return 0, false
	}
	switch u.Node.OpType {
	case "Gather", "GatherElements", "Scatter", "ScatterElements":
		if a := u.Node.Attr("axis"); a != nil {
			axis = int(a.I)
		}
	case "GatherND", "ScatterND":
	default:
		return 0, false
	}
	table := facts.Of(u.Node.Input(0))
	if axis < 0 {
		axis += len(table.Shape)
	}
	if !table.Ranked || axis < 0 || axis >= len(table.Shape) {
		return 1, true
	}
	if u.Node.OpType == "GatherND" || u.Node.OpType == "ScatterND" {
		// Which dimension an index meets depends on its place: the shortest
		// is safe for all.
		n := 0
		for _, d := range table.Shape {
			k, ok := d.Eval(sizes)
			if !ok {
				return 1, true
			}
			if n == 0 || k < n {
				n = k
			}
		}
		return n, true
	}
	n, ok := table.Shape[axis].Eval(sizes)
	if !ok {
		return 1, true
	}
	return n, true
}
