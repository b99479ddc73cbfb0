package op

import (
	"cmp"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// nonZero is the positions of the elements that are not zero, one column for
// each, in row-major order. A scalar counts as one axis.
type nonZero struct{ noForward }

// noForward is the Forward of Dynamic ops, which nothing calls.
type noForward struct{}

func (noForward) Forward(*Ctx, []tensor.Value, []tensor.Value) error {
	return fmt.Errorf("the output's shape depends on data")
}

func parseNonZero(*attrs) Op { return nonZero{} }

func (nonZero) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return rankFact(tensor.Int64, 2), nil
	}
	return tensorFact(tensor.Int64, graph.Size(max(1, len(in[0].Shape))), graph.Unknown), nil
}

func (nonZero) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return nil, unsupportedType("NonZero", x.DType())
	}
	shape := x.Shape()
	if len(shape) == 0 {
		shape = []int{1}
	}
	var found []int
	for i, e := range v {
		if e != 0 {
			found = append(found, i)
		}
	}
	y := tensor.New(tensor.Int64, len(shape), len(found))
	out, strides := tensor.Data[int64](y), tensor.Strides(shape)
	for k, p := range found {
		for a, s := range strides {
			out[a*len(found)+k] = int64(p / s % shape[a])
		}
	}
	return []tensor.Value{tensor.ValueOf(y)}, nil
}

// compress keeps the slices along an axis for which the condition holds;
// without axis it does so with the elements in a list.
type compress struct {
	noForward
	axis    int
	hasAxis bool
}

func parseCompress(a *attrs) Op {
	return &compress{axis: int(a.int("axis", 0)), hasAxis: a.has("axis")}
}

func (o *compress) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	if err := withRank(in[1], "condition", 1); err != nil {
		return nil, err
	}
	if in[1].DType != tensor.Undefined && in[1].DType != tensor.Bool {
		return nil, fmt.Errorf("the condition is %s, wanted bool", in[1].Type)
	}
	if !o.hasAxis {
		return rankFact(in[0].DType, 1), nil
	}
	if !in[0].Ranked {
		return unrankedFact(in[0].DType), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(in[0].Shape)
	shape[axis] = graph.Unknown
	return tensorFact(in[0].DType, shape...), nil
}

func (o *compress) Run(ctx *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	x, axis := in[0].Tensor, 0
	var err error
	if !o.hasAxis {
		if x, err = x.Reshaped(x.Len()); err != nil {
			return nil, err
		}
	} else if axis, err = normAxis(o.axis, x.Rank()); err != nil {
		return nil, err
	}
	var kept []int
	for i, c := range tensor.Data[bool](in[1].Tensor) {
		if !c {
			continue
		}
		if i >= x.Shape()[axis] {
			return nil, fmt.Errorf("condition %d is beyond axis %d of %v", i, axis, x)
		}
		kept = append(kept, i)
	}
	y, err := takeAlong(ctx.Pool, "Compress", x, axis, kept)
	return []tensor.Value{tensor.ValueOf(y)}, err
}

// takeAlong is the slices of x along an axis in the listed order.
func takeAlong(p *kernel.Pool, name string, x *tensor.Tensor, axis int, at []int) (*tensor.Tensor, error) {
	shape := slices.Clone(x.Shape())
	shape[axis] = len(at)
	y := tensor.New(x.DType(), shape...)
	inner := product(shape[axis+1:])
	return y, takeRuns(p, name, y, x, product(shape[:axis]), x.Shape()[axis]*inner, at, inner, inner)
}

// comparer orders the elements of a tensor by their positions. NaN comes
// before all numbers, as in cmp.Compare.
func comparer(name string, t *tensor.Tensor) (func(i, j int) int, error) {
	switch t.DType() {
	case tensor.Float32:
		return orderAs[float32](t), nil
	case tensor.Float64:
		return orderAs[float64](t), nil
	case tensor.Int8:
		return orderAs[int8](t), nil
	case tensor.Int16:
		return orderAs[int16](t), nil
	case tensor.Int32:
		return orderAs[int32](t), nil
	case tensor.Int64:
		return orderAs[int64](t), nil
	case tensor.Uint8, tensor.Bool:
		return orderAs[uint8](t), nil
	case tensor.Uint16:
		return orderAs[uint16](t), nil
	case tensor.Uint32:
		return orderAs[uint32](t), nil
	case tensor.Uint64:
		return orderAs[uint64](t), nil
	case tensor.String:
		return orderAs[string](t), nil
	case tensor.Float16, tensor.BFloat16:
		wide := tensor.New(tensor.Float32, t.Shape()...)
		if err := tensor.Convert(wide, t); err != nil {
			return nil, err
		}
		return orderAs[float32](wide), nil
	}
	return nil, unsupportedType(name, t.DType())
}

func orderAs[T interface {
	tensor.Elem
	cmp.Ordered
}](t *tensor.Tensor) func(i, j int) int {
	v := tensor.Data[T](t)
	return func(i, j int) int { return cmp.Compare(v[i], v[j]) }
}

// topK finds the k largest or smallest elements along an axis and where they
// are; of equal ones the first come first. They are always given in order,
// which sorted = 0 allows too.
type topK struct {
	axis, k int // k is −1 where it is an input
	largest bool
}

func parseTopK(a *attrs) Op {
	o := &topK{axis: int(a.int("axis", -1)), k: -1, largest: true}
	if a.opset < 10 {
		a.require("k")
		if o.k = int(a.int("k", 0)); o.k < 0 {
			a.fail(fmt.Errorf("attribute k is %d", o.k))
		}
	}
	if a.opset >= 11 {
		o.largest = a.bool("largest", true)
		a.bool("sorted", true)
	}
	return o
}

func (o *topK) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	out, err := o.infer(in)
	return out[:min(nOut, len(out))], err
}

// infer gives the facts of both outputs.
func (o *topK) infer(in []graph.Fact) ([]graph.Fact, error) {
	k := graph.Unknown
	if o.k >= 0 {
		if err := arity(in, 1, 1); err != nil {
			return nil, err
		}
		k = graph.Size(o.k)
	} else {
		if err := arity(in, 2, 2); err != nil {
			return nil, err
		}
		v, known, err := axesOf(in, 1)
		if err != nil {
			return nil, err
		}
		if known && (len(v) != 1 || v[0] < 0) {
			return nil, fmt.Errorf("k is %v, wanted one number that is not negative", v)
		}
		if ints := intsOf(in[1]); len(ints) == 1 {
			k = ints[0]
		}
	}
	if !in[0].Ranked {
		return append(unrankedFact(in[0].DType), unrankedFact(tensor.Int64)...), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	n, ok := in[0].Shape[axis].Const()
	m, ok2 := k.Const()
	if ok && ok2 && m > n {
		return nil, fmt.Errorf("the top %d of axis %d of %s", m, axis, in[0].Type)
	}
	shape := slices.Clone(in[0].Shape)
	shape[axis] = k
	return append(tensorFact(in[0].DType, shape...), tensorFact(tensor.Int64, shape...)...), nil
}

func (o *topK) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	if !isNumber(x.DType()) {
		return o.plain(x, axis, out)
	}
	to, from, err := cellsPair("TopK", out[0].Tensor, x)
	if err != nil {
		return err
	}
	var at []int64
	if present(out, 1) {
		at = tensor.Data[int64](out[1].Tensor)
	}
	outer, d, inner := around(x.Shape(), axis)
	k := out[0].Tensor.Shape()[axis]
	first := func(lane int) int { return lane/inner*d*inner + lane%inner }
	selectTop(ctx.Pool, x, outer*inner, d, inner, k, o.largest, first, func(lane int, top []ranked) {
		y, x := lane/inner*k*inner+lane%inner, first(lane)
		for i, r := range top {
			to.copy(y+i*inner, from, x+r.at*inner, 1)
			if at != nil {
				at[y+i*inner] = int64(r.at)
			}
		}
	})
	return nil
}

// plain sorts the whole of each lane, of any type that has an order.
func (o *topK) plain(x *tensor.Tensor, axis int, out []tensor.Value) error {
	compare, err := comparer("TopK", x)
	if err != nil {
		return err
	}
	shape := out[0].Tensor.Shape()
	to, from, err := cellsPair("TopK", out[0].Tensor, x)
	if err != nil {
		return err
	}
	var at []int64
	if present(out, 1) {
		at = tensor.Data[int64](out[1].Tensor)
	}
	d, k, inner := x.Shape()[axis], shape[axis], product(shape[axis+1:])
	order := make([]int, d)
	for lane := range product(shape[:axis]) * inner {
		first := lane/inner*d*inner + lane%inner
		for i := range order {
			order[i] = first + i*inner
		}
		slices.SortStableFunc(order, func(i, j int) int {
			if o.largest {
				return compare(j, i)
			}
			return compare(i, j)
		})
		for i, p := range order[:k] {
			y := (lane/inner*k+i)*inner + lane%inner
			to.copy(y, from, p, 1)
			if at != nil {
				at[y] = int64((p - first) / inner)
			}
		}
	}
	return nil
}

// unique is the unlike slices along an axis (without axis: the unlike
// elements), in ascending order or in that of first appearance; where each
// appears first, which one each slice of the input is, and how often.
type unique struct {
	noForward
	axis    int
	hasAxis bool
	sorted  bool
}

func parseUnique(a *attrs) Op {
	return &unique{axis: int(a.int("axis", 0)), hasAxis: a.has("axis"), sorted: a.bool("sorted", true)}
}

func (o *unique) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	out := rankFact(in[0].DType, 1)
	if o.hasAxis {
		out = unrankedFact(in[0].DType)
		if in[0].Ranked {
			axis, err := normAxis(o.axis, len(in[0].Shape))
			if err != nil {
				return nil, err
			}
			shape := slices.Clone(in[0].Shape)
			shape[axis] = graph.Unknown
			out = tensorFact(in[0].DType, shape...)
		}
	}
	for len(out) < nOut {
		out = append(out, rankFact(tensor.Int64, 1)...)
	}
	return out, nil
}

func (o *unique) Run(ctx *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	x, axis := in[0].Tensor, 0
	var err error
	if !o.hasAxis {
		if x, err = x.Reshaped(x.Len()); err != nil {
			return nil, err
		}
	} else if axis, err = normAxis(o.axis, x.Rank()); err != nil {
		return nil, err
	}
	element, err := comparer("Unique", x)
	if err != nil {
		return nil, err
	}
	d, inner := x.Shape()[axis], product(x.Shape()[axis+1:])
	outer := product(x.Shape()[:axis])
	compare := func(i, j int) int {
		for a := range outer {
			for b := range inner {
				if c := element((a*d+i)*inner+b, (a*d+j)*inner+b); c != 0 {
					return c
				}
			}
		}
		return 0
	}
	order := upTo(d)
	slices.SortStableFunc(order, compare)
	var groups [][]int // equal slices, ascending
	for i, p := range order {
		if i == 0 || compare(order[i-1], p) != 0 {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], p)
	}
	if !o.sorted {
		slices.SortFunc(groups, func(a, b []int) int { return a[0] - b[0] })
	}
	first, counts, inverse := make([]int64, len(groups)), make([]int64, len(groups)), make([]int64, d)
	at := make([]int, len(groups))
	for g, members := range groups {
		at[g], first[g], counts[g] = members[0], int64(members[0]), int64(len(members))
		for _, p := range members {
			inverse[p] = int64(g)
		}
	}
	y, err := takeAlong(ctx.Pool, "Unique", x, axis, at)
	if err != nil {
		return nil, err
	}
	out := []tensor.Value{tensor.ValueOf(y)}
	for _, v := range [][]int64{first, inverse, counts} {
		out = append(out, tensor.ValueOf(tensor.Of(v, len(v))))
	}
	return out[:min(nOut, len(out))], nil
}
