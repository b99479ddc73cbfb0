package grad

import "bilinc/runtime/tensor"

// An arena hands out memory for elements and takes it back for others of the
// same type and number.
type arena map[bufferType][]*buffer

type bufferType struct {
	dtype tensor.DType
	n     int
}

// A buffer is the elements of one tensor, or of several that are views of one
// another.
type buffer struct {
	t    *tensor.Tensor // of rank 1
	refs int
}

// take is memory for n elements, with anything in it.
func (a arena) take(d tensor.DType, n int) *buffer {
	key := bufferType{d, n}
	if free := a[key]; len(free) > 0 {
		b := free[len(free)-1]
		a[key] = free[:len(free)-1]
		b.refs = 1
		return b
	}
	return &buffer{tensor.New(d, n), 1}
}

// release gives up one use of b, which may be nil; it returns nil for the
// place where b was kept.
func (a arena) release(b *buffer) *buffer {
	if b == nil {
		return nil
	}
	if b.refs--; b.refs == 0 {
		key := bufferType{b.t.DType(), b.t.Len()}
		a[key] = append(a[key], b)
	}
	return nil
}
