package op

import (
	"math"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// number is an element type that can be computed with.
type number interface{ integer | float }

// reduceAs computes a reduction of elements of type T with accumulators of
// type A: float64 for floating point, 64-bit integers for integers, which wrap
// around as the operator's own type would. lo and hi are the least and the
// greatest T, which the extremes of no elements are.
func reduceAs[T, A number](p *kernel.Pool, name string, x, y *tensor.Tensor, mask []bool, lo, hi A, src, dst []T) {
	kept, n := keptShape(x.Shape(), mask)
	f, outs := foldings[name], y.Len()
	c := cutReduction(x.Shape(), kept, outs)
	if f == foldExp {
		reduceExp(p, c, src, dst)
		return
	}
	neutral := A(0)
	switch f {
	case foldProd:
		neutral = 1
	case foldMax:
		neutral = lo
	case foldMin:
		neutral = hi
	}
	if c.blocks > 1 || c.empty() {
		withRoom(c.apart()*c.blocks, func(acc []A) {
			setAll(acc, neutral)
			c.each(p, func(b box, block int) { foldBox(f, acc[block*c.apart():], src, b) })
			joinBlocks(acc, outs, c.apart(), f)
			finish(name, dst, acc[:outs], n)
		})
		return
	}
	c.each(p, func(b box, _ int) {
		own, results, outs := b.own()
		withRoom(outs, func(acc []A) {
			setAll(acc, neutral)
			foldBox(f, acc, src, own)
			results.rows(func(at, from, k int) { finish(name, dst[at:at+k], acc[from:from+k], n) })
		})
	})
}

// withRoom calls f with n elements, whatever is in them.
func withRoom[A number](n int, f func(acc []A)) {
	if g, ok := any(f).(func([]float64)); ok {
		w := wideScratches.get(n)
		g(*w)
		wideScratches.Put(w)
		return
	}
	f(make([]A, n))
}

// fewColumns is how many neighbours at most are folded each by itself, down all rows, rather than row by row.
const fewColumns = 8

// foldBox folds a part of src into acc.
func foldBox[T, A number](f folding, acc []A, src []T, b box) {
	if x, ok := any(src).([]float32); ok {
		foldBox32(f.fold32(), any(acc).([]float64), x, b)
		return
	}
	last := len(b.shape) - 1
	n, columns := b.shape[last], b.dstStrides[last] != 0
	b.groupsIn(0, product(b.shape[:last]), func(at, from, runs, ds, ss int) {
		if columns && ds == 0 && n <= fewColumns {
			for j := range n {
				acc[at+j] = foldDown(f, acc[at+j], src[from+j:], ss, runs)
			}
			return
		}
		for range runs {
			if row := src[from : from+n]; columns {
				foldColumns(f, acc[at:at+n], row)
			} else {
				acc[at] = foldRow(f, acc[at], row)
			}
			at += ds
			from += ss
		}
	})
}

// fold32 is the folding as package kernel has it for float32.
func (f folding) fold32() kernel.Fold {
	return [...]kernel.Fold{foldSum: kernel.FoldSum, foldAbs: kernel.FoldAbs, foldSquare: kernel.FoldSquare,
		foldProd: kernel.FoldProd, foldMax: kernel.FoldMax, foldMin: kernel.FoldMin}[f]
}

// foldBox32 is foldBox of float32.
func foldBox32(f kernel.Fold, acc []float64, src []float32, b box) {
	n := b.shape[len(b.shape)-1]
	b.matrices(func(at, from, rows, ss int, columns bool) {
		if columns {
			kernel.FoldColumns32(f, rows, n, acc[at:], src[from:], ss)
		} else {
			kernel.FoldRows32(f, rows, n, acc[at:], src[from:], ss)
		}
	})
}

// matrices calls visit for each group of rows, of as many elements as the last axis has and ss apart from one at
// from on, that are folded into neighbours from at on: each row into one, or all of them by columns.
func (b box) matrices(visit func(at, from, rows, ss int, columns bool)) {
	last := len(b.shape) - 1
	columns := b.dstStrides[last] != 0
	b.groupsIn(0, product(b.shape[:last]), func(at, from, runs, ds, ss int) {
		if columns && ds == 0 || !columns && ds == 1 {
			visit(at, from, runs, ss, columns)
			return
		}
		for range runs {
			visit(at, from, 1, ss, columns)
			at += ds
			from += ss
		}
	})
}

// finish is the results of reductions of n elements each from what they folded to.
func finish[T, A number](name string, dst []T, acc []A, n int) {
	dst = dst[:len(acc)]
	if y, ok := any(dst).([]float32); ok && name != "ReduceLogSum" {
		x := any(acc).([]float64)
		switch name {
		case "ReduceMean":
			kernel.Quotients32(y, x, float64(n))
		case "ReduceL2":
			kernel.Roots32(y, x)
		default:
			kernel.Quotients32(y, x, 1)
		}
		return
	}
	switch {
	case name == "ReduceMean" && n == 0 && !isFloat[T]():
		clear(dst)
	case name == "ReduceMean":
		for j, a := range acc {
			dst[j] = T(a / A(n))
		}
	case name == "ReduceL2":
		for j, a := range acc {
			dst[j] = T(math.Sqrt(float64(a)))
		}
	case name == "ReduceLogSum":
		for j, a := range acc {
			dst[j] = T(math.Log(float64(a)))
		}
	default:
		for j, a := range acc {
			dst[j] = T(a)
		}
	}
}

// foldDown folds n elements that lie step apart into acc, in their order.
func foldDown[T, A number](f folding, acc A, v []T, step, n int) A {
	at := 0
	switch f {
	case foldSum:
		for range n {
			acc += A(v[at])
			at += step
		}
	case foldSquare:
		for range n {
			acc += A(v[at]) * A(v[at])
			at += step
		}
	case foldAbs:
		for range n {
			acc += magnitude(A(v[at]))
			at += step
		}
	case foldProd:
		for range n {
			acc *= A(v[at])
			at += step
		}
	case foldMax:
		for range n {
			acc = max(acc, A(v[at]))
			at += step
		}
	case foldMin:
		for range n {
			acc = min(acc, A(v[at]))
			at += step
		}
	}
	return acc
}

// isFloat tells the floating-point types from the integers.
func isFloat[T number]() bool {
	half := 0.5
	return T(half) != 0
}

// keptShape is shape with the reduced axes of one element, and the number of
// elements that are folded into one.
func keptShape(shape []int, mask []bool) (kept []int, n int) {
	kept, n = make([]int, len(shape)), 1
	for i, d := range shape {
		if kept[i] = d; mask[i] {
			kept[i] = 1
			n *= d
		}
	}
	return kept, n
}

func setAll[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

func filled(n int, v float64) []float64 {
	out := make([]float64, n)
	setAll(out, v)
	return out
}

// foldRow folds all of row into acc; sums run in four chains, which the
// processor adds up at the same time.
func foldRow[T, A number](f folding, acc A, row []T) A {
	var s [4]A
	switch f {
	case foldProd:
		for _, v := range row {
			acc *= A(v)
		}
		return acc
	case foldMax:
		for _, v := range row {
			acc = max(acc, A(v))
		}
		return acc
	case foldMin:
		for _, v := range row {
			acc = min(acc, A(v))
		}
		return acc
	case foldAbs:
		for _, v := range row {
			s[0] += magnitude(A(v))
		}
	case foldSum:
		for ; len(row) >= 4; row = row[4:] {
			s[0] += A(row[0])
			s[1] += A(row[1])
			s[2] += A(row[2])
			s[3] += A(row[3])
		}
		for _, v := range row {
			s[0] += A(v)
		}
	case foldSquare:
		for ; len(row) >= 4; row = row[4:] {
			s[0] += A(row[0]) * A(row[0])
			s[1] += A(row[1]) * A(row[1])
			s[2] += A(row[2]) * A(row[2])
			s[3] += A(row[3]) * A(row[3])
		}
		for _, v := range row {
			s[0] += A(v) * A(v)
		}
	}
	return acc + (s[0] + s[1] + (s[2] + s[3]))
}

// foldColumns folds each element of row into the one of acc.
func foldColumns[T, A number](f folding, acc []A, row []T) {
	row = row[:len(acc)]
	switch f {
	case foldSum:
		for i, v := range row {
			acc[i] += A(v)
		}
	case foldSquare:
		for i, v := range row {
			acc[i] += A(v) * A(v)
		}
	case foldAbs:
		for i, v := range row {
			acc[i] += magnitude(A(v))
		}
	case foldProd:
		for i, v := range row {
			acc[i] *= A(v)
		}
	case foldMax:
		for i, v := range row {
			acc[i] = max(acc[i], A(v))
		}
	case foldMin:
		for i, v := range row {
			acc[i] = min(acc[i], A(v))
		}
	}
}

func magnitude[A number](v A) A {
	if v < 0 {
		return -v
	}
	return v
}

// reduceExp is ReduceLogSumExp: it takes out the largest of each group (shift), so that no power overflows, and
// adds up e^(x − shift).
func reduceExp[T number](p *kernel.Pool, c reductionCut, src, dst []T) {
	if c.blocks > 1 || c.empty() {
		apart := c.apart()
		withRoom(2*c.blocks*apart, func(room []float64) {
			shift, sums := room[:c.blocks*apart], room[c.blocks*apart:]
			setAll(shift, math.Inf(-1))
			clear(sums)
			c.each(p, func(b box, block int) { foldBox(foldMax, shift[block*apart:], src, b) })
			joinBlocks(shift, c.outs, apart, foldMax)
			c.each(p, func(b box, block int) { addPowers(sums[block*apart:], shift, src, b) })
			joinBlocks(sums[:c.blocks*apart], c.outs, apart, foldSum)
			logSum(dst, shift, sums)
		})
		return
	}
	c.each(p, func(b box, _ int) {
		own, results, outs := b.own()
		withRoom(2*outs, func(room []float64) {
			shift, sums := room[:outs], room[outs:]
			setAll(shift, math.Inf(-1))
			clear(sums)
			foldBox(foldMax, shift, src, own)
			addPowers(sums, shift, src, own)
			results.rows(func(at, from, k int) { logSum(dst[at:at+k], shift[from:], sums[from:]) })
		})
	})
}

// addPowers adds up e^(x − shift). What comes out where a shift is infinite, or NaN, does not matter.
func addPowers[T number](sums, shift []float64, src []T, b box) {
	if x, ok := any(src).([]float32); ok {
		n := b.shape[len(b.shape)-1]
		b.matrices(func(at, from, rows, ss int, columns bool) {
			if columns {
				kernel.FoldExpColumns32(rows, n, sums[at:], x[from:], ss, shift[at:])
			} else {
				kernel.FoldExpRows32(rows, n, sums[at:], x[from:], ss, shift[at:])
			}
		})
		return
	}
	step := b.dstStrides[len(b.shape)-1]
	b.rows(func(at, from, n int) {
		for k, v := range src[from : from+n] {
			sums[at+k*step] += math.Exp(float64(v) - shift[at+k*step])
		}
	})
}

// logSum is the results of ReduceLogSumExp.
func logSum[T number](dst []T, shift, sums []float64) {
	for j := range dst {
		s := shift[j]
		if !math.IsInf(s, 0) { // of -Inf alone, or with one that exceeds all
			s += math.Log(sums[j])
		}
		dst[j] = T(s)
	}
}

// reduceBool is the largest or smallest of truth values (from opset 20): of
// none, false and true.
func (o *reduce) reduceBool(x, y *tensor.Tensor, mask []bool) error {
	if o.name != "ReduceMax" && o.name != "ReduceMin" {
		return unsupportedType(o.name, tensor.Bool)
	}
	src, dst, or := tensor.Data[bool](x), tensor.Data[bool](y), o.name == "ReduceMax"
	setAll(dst, !or)
	eachReduced(x.Shape(), mask, func(i, j int) {
		if src[i] == or {
			dst[j] = or
		}
	})
	return nil
}
