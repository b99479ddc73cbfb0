package runtime

import (
	"sync"
	"sync/atomic"

	"bilinc/runtime/file"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A weight is a constant matrix [k n] that products pack when they first need
// it, once for all plans. Until then it costs no memory beside the tensor's.
type weight struct {
	t        *tensor.Tensor // float32; element (l, j) is at l·rs + j·cs
	k, n     int
	rs, cs   int
	mu       sync.Mutex
	prepared atomic.Pointer[kernel.Packed32]
}

// packed is the packed matrix. Where the tensor lies in a mapped file, the
// file's pages are given back: they are not read again. An error, or a panic,
// from a file that has become shorter leaves the matrix for the next call.
func (w *weight) packed() (*kernel.Packed32, error) {
	if p := w.prepared.Load(); p != nil {
		return p, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.prepared.Load(); p != nil {
		return p, nil
	}
	p := kernel.Pack32(w.k, w.n, tensor.Data[float32](w.t), w.rs, w.cs)
	if err := file.Check(w.t.Bytes()); err != nil {
		return nil, err
	}
	file.GiveBack(w.t.Bytes())
	w.prepared.Store(p)
	return p, nil
}
