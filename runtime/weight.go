package runtime

import (
	"sync"
	"sync/atomic"

	"bilinc/runtime/file"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A weight is a constant matrix [k n] that products pack when they need it again,
// once for all plans. Until then it costs no memory beside the tensor's.
type weight struct {
	t        *tensor.Tensor // float32; element (l, j) is at l·rs + j·cs
	k, n     int
	rs, cs   int
	used     atomic.Bool
	mu       sync.Mutex
	prepared atomic.Pointer[kernel.Packed32]
}

// firstRows is the most rows for which a first product takes less time with the tensor as it is: most
// of what packing costs is memory that a process has not touched before.
const firstRows = 8

// product computes Y[m n] = end(X[m k]·W). The first product of few rows reads the tensor where it lies,
// so that a process that runs a model once packs nothing; the bits are the same.
func (w *weight) product(p *kernel.Pool, m int, x, y []float32, e kernel.Epilogue32) error {
	if m <= firstRows && w.prepared.Load() == nil && !w.used.Swap(true) {
		kernel.GemmEpilogue32(p, m, w.n, w.k, x, w.k, 1, tensor.Data[float32](w.t), w.rs, w.cs, y, w.n, e)
		return file.Check(w.t.Bytes())
	}
	packed, err := w.packed()
	if err != nil {
		return err
	}
	kernel.GemmFused32(p, m, x, w.k, 1, packed, y, w.n, e)
	return nil
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
