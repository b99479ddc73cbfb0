package runtime

import (
	"sync"
	"sync/atomic"
	"unsafe"

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

// largeWeight is the bytes from which on a weight in a mapped file is packed in
// parts: with its pages and the packed matrix, packing a smaller one takes
// little memory more than the model does then anyway.
const largeWeight = 16 << 20

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
	p, err := w.pack()
	if err != nil {
		return nil, err
	}
	if err := file.Check(w.t.Bytes()); err != nil {
		return nil, err
	}
	file.GiveBack(w.t.Bytes())
	w.prepared.Store(p)
	return p, nil
}

// pack packs the tensor. A large one in a mapped file goes in eight parts and
// more, so that a model that is one weight never takes twice its memory: columns
// that lie together give their pages back when the next ones are read; those
// that lie apart are on all pages, and are read from the file once more.
func (w *weight) pack() (*kernel.Packed32, error) {
	data, bytes := tensor.Data[float32](w.t), w.t.Bytes()
	if len(bytes) < largeWeight || !file.IsMapped(bytes) || w.rs != 1 && w.cs != 1 {
		return kernel.Pack32(w.k, w.n, data, w.rs, w.cs), nil
	}
	width := (w.n + 7) / 8
	if w.rs == 1 {
		return kernel.PackColumns32(w.k, w.n, width, func(j0, j1 int) ([]float32, int, int, error) {
			file.GiveBack(bytes[:4*j0*w.cs])
			return data[j0*w.cs:], 1, w.cs, nil
		})
	}
	file.GiveBack(bytes)
	var part []float32
	return kernel.PackColumns32(w.k, w.n, width, func(j0, j1 int) ([]float32, int, int, error) {
		n := j1 - j0
		if part == nil {
			part = make([]float32, w.k*n)
		}
		for l := range w.k {
			at := 4 * (l*w.rs + j0)
			row := unsafe.Slice((*byte)(unsafe.Pointer(&part[l*n])), 4*n)
			if err := file.ReadMapped(row, bytes[at:]); err != nil {
				return nil, 0, 0, err
			}
		}
		return part, n, 1, nil
	})
}
