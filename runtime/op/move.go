package op

import (
	"bilinc/runtime/tensor"
)

// A box is a rectangular part of a tensor to be copied to one of another:
// how many elements along each axis, where the first lies on either side, and
// the distance to the next. A source stride of 0 repeats, a negative one
// turns around.
type box struct {
	shape      []int
	dstAt, src int
	dstStrides []int
	srcStrides []int
}

// copyBox copies a part of src into dst, of the same element type.
func copyBox(name string, dst, src *tensor.Tensor, b box) error {
	if product(b.shape) == 0 {
		return nil
	}
	b = b.merged()
	if dst.DType() == tensor.String {
		moveBox[string](dst, src, b)
		return nil
	}
	switch dst.DType().Bits() {
	case 8:
		moveBox[uint8](dst, src, b)
	case 16:
		moveBox[uint16](dst, src, b)
	case 32:
		moveBox[uint32](dst, src, b)
	case 64:
		moveBox[uint64](dst, src, b)
	case 128:
		moveBox[complex128](dst, src, b)
	default:
		return unsupportedType(name, dst.DType())
	}
	return nil
}

// merged drops axes of one element and joins neighbours that both sides step
// through as one.
func (b box) merged() box {
	m := box{dstAt: b.dstAt, src: b.src}
	for i, d := range b.shape {
		if d == 1 {
			continue
		}
		if n := len(m.shape) - 1; n >= 0 && m.dstStrides[n] == b.dstStrides[i]*d && m.srcStrides[n] == b.srcStrides[i]*d {
			m.shape[n] *= d
			m.dstStrides[n], m.srcStrides[n] = b.dstStrides[i], b.srcStrides[i]
			continue
		}
		m.shape = append(m.shape, d)
		m.dstStrides = append(m.dstStrides, b.dstStrides[i])
		m.srcStrides = append(m.srcStrides, b.srcStrides[i])
	}
	if len(m.shape) == 0 {
		m.shape, m.dstStrides, m.srcStrides = []int{1}, []int{1}, []int{1}
	}
	return m
}

func moveBox[T tensor.Elem](dst, src *tensor.Tensor, b box) {
	to, from := tensor.Data[T](dst), tensor.Data[T](src)
	last := len(b.shape) - 1
	n, ds, ss := b.shape[last], b.dstStrides[last], b.srcStrides[last]
	b.rows(func(at, src int) {
		switch {
		case ds == 1 && ss == 1:
			copy(to[at:at+n], from[src:src+n])
		case ds == 1 && ss == 0:
			v := from[src]
			row := to[at : at+n]
			for k := range row {
				row[k] = v
			}
		default:
			for range n {
				to[at] = from[src]
				at += ds
				src += ss
			}
		}
	})
}

// rows calls f for each run of the innermost axis with the positions of its
// first element on either side. No axis is empty.
func (b box) rows(f func(at, src int)) {
	last := len(b.shape) - 1
	idx := make([]int, last)
	at, src := b.dstAt, b.src
	for {
		f(at, src)
		i := last - 1
		for ; i >= 0; i-- {
			idx[i]++
			at += b.dstStrides[i]
			src += b.srcStrides[i]
			if idx[i] < b.shape[i] {
				break
			}
			at -= b.dstStrides[i] * b.shape[i]
			src -= b.srcStrides[i] * b.shape[i]
			idx[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// cells is the elements of a tensor as something that can be copied without
// knowing their type.
type cells struct {
	size  int
	bytes []byte
	strs  []string
}

// cellsOf fails for element types that share bytes.
func cellsOf(name string, t *tensor.Tensor) (cells, error) {
	if t.DType() == tensor.String {
		return cells{strs: tensor.Data[string](t)}, nil
	}
	if t.DType().Bits() < 8 {
		return cells{}, unsupportedType(name, t.DType())
	}
	return cells{size: t.DType().Bits() / 8, bytes: t.Bytes()}, nil
}

// copy copies n elements from position from of src to position at.
func (c cells) copy(at int, src cells, from, n int) {
	if c.strs != nil || src.strs != nil {
		copy(c.strs[at:at+n], src.strs[from:from+n])
		return
	}
	copy(c.bytes[at*c.size:(at+n)*c.size], src.bytes[from*c.size:(from+n)*c.size])
}

// cellsPair is cellsOf an output and an input of one element type.
func cellsPair(name string, dst, src *tensor.Tensor) (to, from cells, err error) {
	if to, err = cellsOf(name, dst); err == nil {
		from, err = cellsOf(name, src)
	}
	return to, from, err
}
