package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// number is an element type that can be computed with.
type number interface{ integer | float }

// reduceAs computes a reduction of elements of type T with accumulators of
// type A: float64 for floating point, 64-bit integers for integers, which wrap
// around as the operator's own type would. lo and hi are the least and the
// greatest T, which the extremes of no elements are.
func reduceAs[T, A number](name string, x, y *tensor.Tensor, mask []bool, lo, hi A, src, dst []T) {
	kept, n := keptShape(x.Shape(), mask)
	f, acc := foldings[name], make([]A, y.Len())
	var shift []float64
	switch f {
	case foldProd:
		setAll(acc, 1)
	case foldMax:
		setAll(acc, lo)
	case foldMin:
		setAll(acc, hi)
	case foldExp:
		shift = make([]float64, len(acc))
		sums := make([]float64, len(acc))
		logSumExp(src, x.Shape(), kept, shift, sums)
		for j, s := range sums {
			dst[j] = T(shift[j] + math.Log(s))
		}
		return
	}
	newWalk(x.Shape(), kept).rows(func(at, n int, offs, steps []int) {
		if row := src[at : at+n]; steps[0] == 0 {
			acc[offs[0]] = foldRow(f, acc[offs[0]], row)
		} else {
			foldColumns(f, acc[offs[0]:offs[0]+n], row)
		}
	})
	for j, a := range acc {
		dst[j] = finish[T](name, a, n)
	}
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

// logSumExp takes out the largest of each group (shift), so that no power
// overflows, and adds up e^(x − shift).
func logSumExp[T number](src []T, shape, kept []int, shift, sums []float64) {
	setAll(shift, math.Inf(-1))
	w := newWalk(shape, kept)
	w.rows(func(at, n int, offs, steps []int) {
		for k, v := range src[at : at+n] {
			j := offs[0] + k*steps[0]
			shift[j] = max(shift[j], float64(v))
		}
	})
	for j, s := range shift {
		if math.IsInf(s, 0) {
			shift[j] = 0 // e^(∞−∞) would be NaN
		}
	}
	w.rows(func(at, n int, offs, steps []int) {
		for k, v := range src[at : at+n] {
			j := offs[0] + k*steps[0]
			sums[j] += math.Exp(float64(v) - shift[j])
		}
	})
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
