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
	acc := make([]A, outs*c.blocks)
	switch f {
	case foldProd:
		setAll(acc, 1)
	case foldMax:
		setAll(acc, lo)
	case foldMin:
		setAll(acc, hi)
	}
	c.each(p, func(b box, _ int) { foldBox(f, acc, src, b) })
	joinBlocks(acc, c.outs, f)
	p.For(outs, elementGrain/4, func(lo, hi int) { finish(name, dst[lo:hi], acc[lo:hi], n) })
}

// fewColumns is how many neighbours at most are folded each by itself, down all rows, rather than row by row.
const fewColumns = 8

// foldBox folds a part of src into acc.
func foldBox[T, A number](f folding, acc []A, src []T, b box) {
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

// finish is the results of reductions of n elements each from what they folded to.
func finish[T, A number](name string, dst []T, acc []A, n int) {
	dst = dst[:len(acc)]
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
	shift, sums := filled(c.outs*c.blocks, math.Inf(-1)), make([]float64, c.outs*c.blocks)
	c.each(p, func(b box, _ int) {
		step := b.dstStrides[len(b.shape)-1]
		b.rows(func(at, from, n int) {
			for k, v := range src[from : from+n] {
				shift[at+k*step] = max(shift[at+k*step], float64(v))
			}
		})
	})
	joinBlocks(shift, c.outs, foldMax)
	for j, s := range shift[:c.outs] {
		if math.IsInf(s, 0) {
			shift[j] = 0 // e^(∞−∞) would be NaN
		}
	}
	c.each(p, func(b box, block int) {
		step := b.dstStrides[len(b.shape)-1]
		b.rows(func(at, from, n int) {
			of := at - block*c.outs
			for k, v := range src[from : from+n] {
				sums[at+k*step] += math.Exp(float64(v) - shift[of+k*step])
			}
		})
	})
	joinBlocks(sums, c.outs, foldSum)
	for j, s := range sums[:c.outs] {
		dst[j] = T(shift[j] + math.Log(s))
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
