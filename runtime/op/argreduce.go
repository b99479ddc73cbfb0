package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// argReduce is ArgMax or ArgMin: the position of the extreme along one axis.
type argReduce struct {
	name string
	axis int
	keep bool
	last bool
	max  bool
}

func parseArg(name string, isMax bool) parser {
	return func(a *attrs) Op {
		return &argReduce{name, int(a.int("axis", 0)), a.bool("keepdims", true), a.bool("select_last_index", false), isMax}
	}
}

func (o *argReduce) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return unrankedFact(tensor.Int64), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	mask := make([]bool, len(in[0].Shape))
	mask[axis] = true
	return tensorFact(tensor.Int64, reducedDims(in[0].Shape, mask, o.keep)...), nil
}

func (o *argReduce) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	switch d := x.DType(); d {
	case tensor.Float32:
		return argExtreme[float32](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Float64:
		return argExtreme[float64](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int64:
		return argExtreme[int64](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Int32:
		return argExtreme[int32](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Int16:
		return argExtreme[int16](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Int8:
		return argExtreme[int8](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Uint64:
		return argExtreme[uint64](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Uint32:
		return argExtreme[uint32](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Uint16:
		return argExtreme[uint16](ctx.Pool, o, x, out[0].Tensor)
	case tensor.Uint8:
		return argExtreme[uint8](ctx.Pool, o, x, out[0].Tensor)
	default:
		return unsupportedType(o.name, d)
	}
}

// argExtreme compares with the best so far; NaN is neither more nor less.
func argExtreme[T number](p *kernel.Pool, o *argReduce, x, y *tensor.Tensor) error {
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	outer, n, inner := around(x.Shape(), axis)
	src, dst := tensor.Data[T](x), tensor.Data[int64](y)
	if n == 0 && len(dst) > 0 {
		return fmt.Errorf("axis %d of %v is empty", axis, x)
	}
	switch {
	case len(dst) == 0:
	case inner > 1:
		lanes(p, readLanes, outer, n, inner, func(i, from, width int) {
			argColumns(o, src[i*n*inner+from:], dst[i*inner+from:i*inner+from+width], n, inner)
		})
	case outer < fewTasks && n > 2*elementGrain:
		argLong(p, o, src, dst, n)
	default:
		p.For(outer, max(1, elementGrain/n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				dst[i] = int64(argRow(o, src[i*n:(i+1)*n], 0))
			}
		})
	}
	return nil
}

// readLanes and writtenLanes are how many neighbouring lanes along an axis go down it together.
const readLanes, writtenLanes = 64, 128

// lanes calls f for so many lanes along an axis of n elements at a time, over all cores: those of the i-th of outer
// parts from one of inner positions on.
func lanes(p *kernel.Pool, together, outer, n, inner int, f func(i, from, width int)) {
	each := (inner-1)/together + 1
	p.For(outer*each, max(1, elementGrain/(max(1, n)*min(inner, together))), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			from := t % each * together
			f(t/each, from, min(together, inner-from))
		}
	})
}

// argRow is the position of the extreme of a row from a position on.
func argRow[T number](o *argReduce, row []T, at int) int {
	if x, ok := any(row[at:]).([]float32); ok && len(x) >= 16 {
		if k := argRow32(o, x); k >= 0 {
			return at + k
		}
	}
	return argRowPlain(o, row, at)
}

// argRow32 looks for the extreme first, by vectors, and then for where it is. It is -1 of a row with NaN.
func argRow32(o *argReduce, row []float32) int {
	f := kernel.FoldMin
	if o.max {
		f = kernel.FoldMax
	}
	best := [1]float64{f.Neutral()}
	kernel.FoldRows32(f, 1, len(row), best[:], row, len(row))
	switch v := float32(best[0]); {
	case v != v:
	case o.last:
		for k := len(row) - 1; k >= 0; k-- {
			if row[k] == v {
				return k
			}
		}
	default:
		for k, w := range row {
			if w == v {
				return k
			}
		}
	}
	return -1
}

// argRowPlain is argRow by comparing each element with the best so far.
func argRowPlain[T number](o *argReduce, row []T, at int) int {
	best := row[at]
	switch rest := row[at+1:]; {
	case o.max && o.last:
		for k, v := range rest {
			if v >= best {
				at, best = len(row)-len(rest)+k, v
			}
		}
	case o.max:
		for k, v := range rest {
			if v > best {
				at, best = len(row)-len(rest)+k, v
			}
		}
	case o.last:
		for k, v := range rest {
			if v <= best {
				at, best = len(row)-len(rest)+k, v
			}
		}
	default:
		for k, v := range rest {
			if v < best {
				at, best = len(row)-len(rest)+k, v
			}
		}
	}
	return at
}

// argColumns is the extremes of as many columns as dst has elements.
func argColumns[T number](o *argReduce, src []T, dst []int64, n, inner int) {
	var room [readLanes]T
	best := room[:copy(room[:len(dst)], src)]
	clear(dst)
	for k := 1; k < n; k++ {
		for j, v := range src[k*inner : k*inner+len(best)] {
			if b := best[j]; o.max && v > b || !o.max && v < b || o.last && v == b {
				best[j], dst[j] = v, int64(k)
			}
		}
	}
}

// argLong is the extremes of a few long rows, which it looks through in pieces. Only the first piece of a row begins
// with its first element whatever that is, the others with the first that is no NaN.
func argLong[T number](p *kernel.Pool, o *argReduce, src []T, dst []int64, n int) {
	pieces := (n-1)/elementGrain + 1
	found := make([]int, len(dst)*pieces) // in each piece; −1: nothing
	p.For(len(found), 1, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			i, from := t/pieces, t%pieces*elementGrain
			row, at := src[i*n+from:i*n+min(n, from+elementGrain)], 0
			for from > 0 && at < len(row) && row[at] != row[at] {
				at++
			}
			if found[t] = -1; at < len(row) {
				found[t] = from + argRow(o, row, at)
			}
		}
	})
	for i := range dst {
		row, at := src[i*n:(i+1)*n], found[i*pieces]
		for _, k := range found[i*pieces+1 : (i+1)*pieces] {
			if k < 0 {
				continue
			}
			if v, best := row[k], row[at]; o.max && v > best || !o.max && v < best || o.last && v == best {
				at = k
			}
		}
		dst[i] = int64(at)
	}
}

// around is the number of elements before, along and after an axis.
func around(shape []int, axis int) (outer, n, inner int) {
	return product(shape[:axis]), shape[axis], product(shape[axis+1:])
}

// cumSum adds up along an axis that an input gives.
type cumSum struct{ exclusive, reverse bool }

func parseCumSum(a *attrs) Op { return &cumSum{a.bool("exclusive", false), a.bool("reverse", false)} }

func (o *cumSum) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	axis, known, err := axesOf(in, 1)
	if err == nil && known && len(axis) != 1 {
		err = fmt.Errorf("the axis is %v, wanted one integer", in[1].Type)
	}
	if err == nil && known && in[0].Ranked {
		_, err = normAxis(axis[0], len(in[0].Shape))
	}
	if err != nil {
		return nil, err
	}
	return []graph.Fact{{Type: in[0].Type}}, nil
}

func (o *cumSum) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	list, ok := intsIn(in[1].Tensor)
	if !ok || len(list) != 1 {
		return unsupportedType("CumSum", in[1].Tensor.DType())
	}
	axis, err := normAxis(list[0], x.Rank())
	if err != nil {
		return err
	}
	switch x.DType() {
	case tensor.Float32:
		cumulate[float32, float64](ctx.Pool, o, x, y, axis)
	case tensor.Float64:
		cumulate[float64, float64](ctx.Pool, o, x, y, axis)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	case tensor.Int32:
		cumulate[int32, int32](ctx.Pool, o, x, y, axis)
	case tensor.Int64:
		cumulate[int64, int64](ctx.Pool, o, x, y, axis)
	case tensor.Uint32:
		cumulate[uint32, uint32](ctx.Pool, o, x, y, axis)
	case tensor.Uint64:
		cumulate[uint64, uint64](ctx.Pool, o, x, y, axis)
	default:
		return unsupportedType("CumSum", x.DType())
	}
	return nil
}

// cumulate adds up elements of type T with an accumulator of type A.
func cumulate[T, A number](p *kernel.Pool, o *cumSum, x, y *tensor.Tensor, axis int) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	outer, n, inner := around(x.Shape(), axis)
	if len(dst) == 0 {
		return
	}
	if inner == 1 {
		p.For(outer, max(4, elementGrain/n&^3), func(lo, hi int) {
			for ; lo+4 <= hi; lo += 4 {
				cumulateFour[T, A](o, n, src[lo*n:(lo+4)*n], dst[lo*n:(lo+4)*n])
			}
			for ; lo < hi; lo++ {
				cumulateRow[T, A](o, src[lo*n:(lo+1)*n], dst[lo*n:(lo+1)*n])
			}
		})
		return
	}
	lanes(p, writtenLanes, outer, n, inner, func(i, from, width int) {
		var room [writtenLanes]A
		high := scanRows(inner * x.DType().Bits() / 8)
		for done := 0; done < n; done += high {
			rows, at, step := min(high, n-done), (i*n+done)*inner+from, inner
			if o.reverse {
				at, step = (i*n+n-1-done)*inner+from, -inner
			}
			j := 0
			for ; j+8 <= width; j += 8 {
				cumulateEight(o.exclusive, room[j:], src, dst, at+j, step, rows)
			}
			for ; j < width; j++ {
				room[j] = cumulateLane(o.exclusive, room[j], src, dst, at+j, step, rows)
			}
		}
	})
}

// scanRows is how many rows, so many bytes apart, a group of lanes goes down before the next group does. Where two
// cores wrote rows of their lanes at a time, each fetched what the other writes beyond the end of its part, and both
// took two to four times as long as one alone. Cores that go down have a row's distance to fetch ahead by. But lines
// that are whole pages apart displace each other from a cache before the next group of lanes comes to them.
func scanRows(stride int) int {
	if stride%4096 == 0 {
		return 8
	}
	return math.MaxInt
}

// cumulateEight adds up eight lanes down so many rows, step elements apart from at on, and leaves their sums.
func cumulateEight[T, A number](exclusive bool, sums []A, src, dst []T, at, step, rows int) {
	sums = sums[:8:8]
	s0, s1, s2, s3, s4, s5, s6, s7 := sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7]
	for range rows {
		v, w := src[at:at+8:at+8], dst[at:at+8:at+8]
		t0, t1, t2, t3 := s0+A(v[0]), s1+A(v[1]), s2+A(v[2]), s3+A(v[3])
		t4, t5, t6, t7 := s4+A(v[4]), s5+A(v[5]), s6+A(v[6]), s7+A(v[7])
		if exclusive {
			w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = T(s0), T(s1), T(s2), T(s3), T(s4), T(s5), T(s6), T(s7)
		} else {
			w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7] = T(t0), T(t1), T(t2), T(t3), T(t4), T(t5), T(t6), T(t7)
		}
		s0, s1, s2, s3, s4, s5, s6, s7 = t0, t1, t2, t3, t4, t5, t6, t7
		at += step
	}
	sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7] = s0, s1, s2, s3, s4, s5, s6, s7
}

// cumulateLane is cumulateEight of one lane with the sum so far; it returns the next.
func cumulateLane[T, A number](exclusive bool, sum A, src, dst []T, at, step, rows int) A {
	for range rows {
		next := sum + A(src[at])
		if exclusive {
			dst[at] = T(sum)
		} else {
			dst[at] = T(next)
		}
		sum = next
		at += step
	}
	return sum
}

// cumulateFour is cumulateRow of four rows of n elements, of which one need not wait for another's additions.
func cumulateFour[T, A number](o *cumSum, n int, in, out []T) {
	a, b, c, d := in[:n], in[n:][:n], in[2*n:][:n], in[3*n:][:n]
	e, f, g, h := out[:n], out[n:][:n], out[2*n:][:n], out[3*n:][:n]
	var s0, s1, s2, s3 A
	at, step := 0, 1
	if o.reverse {
		at, step = n-1, -1
	}
	for range n {
		t0, t1, t2, t3 := s0+A(a[at]), s1+A(b[at]), s2+A(c[at]), s3+A(d[at])
		if o.exclusive {
			e[at], f[at], g[at], h[at] = T(s0), T(s1), T(s2), T(s3)
		} else {
			e[at], f[at], g[at], h[at] = T(t0), T(t1), T(t2), T(t3)
		}
		s0, s1, s2, s3 = t0, t1, t2, t3
		at += step
	}
}

// cumulateRow is cumulate of elements that lie together.
func cumulateRow[T, A number](o *cumSum, in, out []T) {
	out = out[:len(in)]
	var sum A
	add := func(k int) {
		before := sum
		if sum += A(in[k]); o.exclusive {
			out[k] = T(before)
		} else {
			out[k] = T(sum)
		}
	}
	if o.reverse {
		for k := len(in) - 1; k >= 0; k-- {
			add(k)
		}
		return
	}
	for k := range in {
		add(k)
	}
}
