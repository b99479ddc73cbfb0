package op

import (
	"sync/atomic"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// What follows reads elements, and short runs of them, at places that indices name, straight into the output, over
// all cores: a list of the places would be more memory than what is moved. Each function reports whether it did all
// that was asked. It did not where an index is outside of its axis, nor for the types of indices and elements that
// it has no loop for: takeRuns serves any, and with lists of indices comes the word which of them is outside.

// pickElements is GatherElements along an axis of x.
func pickElements(p *kernel.Pool, y, x, at *tensor.Tensor, axis int) bool {
	switch at.DType() {
	case tensor.Int64:
		return pickElementsBy[int64](p, y, x, at, axis)
	case tensor.Int32:
		return pickElementsBy[int32](p, y, x, at, axis)
	}
	return false
}

func pickElementsBy[I int32 | int64](p *kernel.Pool, y, x, at *tensor.Tensor, axis int) bool {
	switch y.DType().Bits() {
	case 8:
		return pickElementsAs[uint8, I](p, y, x, at, axis)
	case 16:
		return pickElementsAs[uint16, I](p, y, x, at, axis)
	case 32:
		return pickElementsAs[uint32, I](p, y, x, at, axis)
	case 64:
		return pickElementsAs[uint64, I](p, y, x, at, axis)
	}
	return false
}

func pickElementsAs[T tensor.Elem, I int32 | int64](p *kernel.Pool, y, x, at *tensor.Tensor, axis int) bool {
	dst, src, list := tensor.Data[T](y), tensor.Data[T](x), tensor.Data[I](at)
	if len(dst) == 0 {
		return true
	}
	strides := tensor.Strides(x.Shape())
	last := at.Rank() - 1
	outer, n, d, step := at.Shape()[:last], at.Shape()[last], x.Shape()[axis], strides[axis]
	var outside atomic.Bool
	p.For(len(dst)/n, max(1, elementGrain/n), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			from := 0
			for i, rest := last-1, row; i >= 0; i-- {
				if i != axis {
					from += rest % outer[i] * strides[i]
				}
				rest /= outer[i]
			}
			out, list := dst[row*n:(row+1)*n], list[row*n:(row+1)*n]
			var ok bool
			if axis == last {
				ok = pickAlong(out, src[from:from+d], list)
			} else {
				ok = pickAcross(out, src[from:], list, d, step)
			}
			if !ok {
				outside.Store(true)
				return
			}
		}
	})
	return !outside.Load()
}

// pickAlong is out[k] = row[list[k]], where indices below 0 count from the end.
func pickAlong[T tensor.Elem, I int32 | int64](out, row []T, list []I) bool {
	out = out[:len(list)]
	for k, v := range list {
		i := int(v)
		i += len(row) & (i >> 63) // no branch: signs may well be mixed
		if uint(i) >= uint(len(row)) {
			return false
		}
		out[k] = row[i]
	}
	return true
}

// pickAcross is out[k] = src[list[k]·step + k], where indices below 0 count from d.
func pickAcross[T tensor.Elem, I int32 | int64](out, src []T, list []I, d, step int) bool {
	out = out[:len(list)]
	for k, v := range list {
		i := int(v)
		i += d & (i >> 63)
		if uint(i) >= uint(d) {
			return false
		}
		out[k] = src[i*step+k]
	}
	return true
}

// pickPoints is GatherND of single elements: the last axis of at names all axes of x after batchDims.
func pickPoints(p *kernel.Pool, y, x, at *tensor.Tensor, batchDims int) bool {
	switch at.DType() {
	case tensor.Int64:
		return pickPointsBy[int64](p, y, x, at, batchDims)
	case tensor.Int32:
		return pickPointsBy[int32](p, y, x, at, batchDims)
	}
	return false
}

func pickPointsBy[I int32 | int64](p *kernel.Pool, y, x, at *tensor.Tensor, batchDims int) bool {
	switch y.DType().Bits() {
	case 8:
		return pickPointsAs[uint8, I](p, y, x, at, batchDims)
	case 16:
		return pickPointsAs[uint16, I](p, y, x, at, batchDims)
	case 32:
		return pickPointsAs[uint32, I](p, y, x, at, batchDims)
	case 64:
		return pickPointsAs[uint64, I](p, y, x, at, batchDims)
	}
	return false
}

func pickPointsAs[T tensor.Elem, I int32 | int64](p *kernel.Pool, y, x, at *tensor.Tensor, batchDims int) bool {
	axes := x.Shape()[batchDims:]
	if at.Shape()[at.Rank()-1] != len(axes) {
		return false // runs
	}
	dst, src, list := tensor.Data[T](y), tensor.Data[T](x), tensor.Data[I](at)
	if len(dst) == 0 {
		return true
	}
	perBatch, size := len(dst)/product(x.Shape()[:batchDims]), product(axes)
	var outside atomic.Bool
	p.For(len(dst), max(1, elementGrain/len(axes)), func(lo, hi int) {
		for k := lo; k < hi; {
			batch := k / perBatch
			end := min(hi, (batch+1)*perBatch)
			if !pickPlaces(dst[k:end], src[batch*size:(batch+1)*size], list[k*len(axes):end*len(axes)], axes) {
				outside.Store(true)
				return
			}
			k = end
		}
	})
	return !outside.Load()
}

// pickPlaces is out[k] = src[list[k·rank] … list[k·rank+rank−1]] of src in the shape axes.
func pickPlaces[T tensor.Elem, I int32 | int64](out, src []T, list []I, axes []int) bool {
	switch len(axes) {
	case 2:
		high, wide := axes[0], axes[1]
		list = list[:2*len(out)]
		for k := range out {
			i, j := int(list[2*k]), int(list[2*k+1])
			i += high & (i >> 63)
			j += wide & (j >> 63)
			if uint(i) >= uint(high) || uint(j) >= uint(wide) {
				return false
			}
			out[k] = src[i*wide+j]
		}
	default:
		for k := range out {
			at := 0
			for a, d := range axes {
				i := int(list[k*len(axes)+a])
				i += d & (i >> 63)
				if uint(i) >= uint(d) {
					return false
				}
				at = at*d + i
			}
			out[k] = src[at]
		}
	}
	return true
}
