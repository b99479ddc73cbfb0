package op

import (
	"fmt"

	"bilinc/runtime/tensor"
)

// A scattering is where updates go: the k-th size elements to pos[k], in order, so that of two to one place the
// later wins. It serves what a scatterer has no loop for, and is what that is compared with.
type scattering struct {
	pos  []int
	size int
}

// scatter copies x to y and puts updates there.
func scatter(reduce scatterRule, x, updates, y *tensor.Tensor, s scattering) error {
	if err := y.CopyFrom(x); err != nil {
		return err
	}
	if reduce == "none" {
		return scatterCells(y, updates, &s)
	}
	switch d := x.DType(); d {
	case tensor.Float32:
		reduceInto[float32](reduce, y, updates, &s)
	case tensor.Float64:
		reduceInto[float64](reduce, y, updates, &s)
	case tensor.Int8:
		reduceInto[int8](reduce, y, updates, &s)
	case tensor.Int16:
		reduceInto[int16](reduce, y, updates, &s)
	case tensor.Int32:
		reduceInto[int32](reduce, y, updates, &s)
	case tensor.Int64:
		reduceInto[int64](reduce, y, updates, &s)
	case tensor.Uint8:
		reduceInto[uint8](reduce, y, updates, &s)
	case tensor.Uint16:
		reduceInto[uint16](reduce, y, updates, &s)
	case tensor.Uint32:
		reduceInto[uint32](reduce, y, updates, &s)
	case tensor.Uint64:
		reduceInto[uint64](reduce, y, updates, &s)
	default:
		return &Unsupported{OpType: "Scatter", Detail: fmt.Sprintf("with reduction %s for %v", reduce, d)}
	}
	return nil
}

// scatterCells replaces elements of whatever type.
func scatterCells(y, updates *tensor.Tensor, s *scattering) error {
	if y.DType() == tensor.String {
		replaceIn[string](y, updates, s)
		return nil
	}
	switch y.DType().Bits() {
	case 8:
		replaceIn[uint8](y, updates, s)
	case 16:
		replaceIn[uint16](y, updates, s)
	case 32:
		replaceIn[uint32](y, updates, s)
	case 64:
		replaceIn[uint64](y, updates, s)
	case 128:
		replaceIn[complex128](y, updates, s)
	default:
		return unsupportedType("Scatter", y.DType())
	}
	return nil
}

func replaceIn[T tensor.Elem](y, updates *tensor.Tensor, s *scattering) {
	to, from, size := tensor.Data[T](y), tensor.Data[T](updates), s.size
	for k, p := range s.pos {
		copy(to[p:p+size], from[k*size:(k+1)*size])
	}
}

func reduceInto[T integer | float32 | float64](reduce scatterRule, y, updates *tensor.Tensor, s *scattering) {
	to, from, size := tensor.Data[T](y), tensor.Data[T](updates), s.size
	for k, p := range s.pos {
		dst := to[p : p+size]
		for i, v := range from[k*size : (k+1)*size] {
			switch reduce {
			case "add":
				dst[i] += v
			case "mul":
				dst[i] *= v
			case "min":
				dst[i] = min(dst[i], v)
			case "max":
				dst[i] = max(dst[i], v)
			}
		}
	}
}
