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
	c.each(p, func(b box, _ int) {
		columns := b.dstStrides[len(b.shape)-1] != 0
		b.rows(func(at, from, n int) {
			if row := src[from : from+n]; columns {
				foldColumns(f, acc[at:at+n], row)
			} else {
				acc[at] = foldRow(f, acc[at], row)
			}
		})
	})
	joinBlocks(acc, c.outs, f)
	p.For(outs, elementGrain, func(lo, hi int) {
		for j, a := range acc[lo:hi] {
			dst[lo+j] = finish[T](name, a, n)
		}
	})
}

// finish is the result of a reduction of n elements from what they folded to.
func finish[T, A number](name string, a A, n int) T {
	switch name {
	case "ReduceMean":
		if n == 0 && !isFloat[T]() {
			return 0
		}
		return T(a / A(n))
	case "ReduceL2":
		return T(math.Sqrt(float64(a)))
	case "ReduceLogSum":
		return T(math.Log(float64(a)))
	}
	return T(a)
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
