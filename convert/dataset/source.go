package dataset

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"bilinc/runtime/tensor"
)

// memory is an array that is held whole.
type memory struct{ t *tensor.Tensor }

func (m memory) dtype() tensor.DType { return m.t.DType() }
func (m memory) shape() []int        { return m.t.Shape() }

func (m memory) rows(lo, hi int) (*tensor.Tensor, error) { return Rows(m.t, lo, hi) }

// Rows is rows lo to hi of t, sharing its memory where alignment allows;
// t itself where it has rank 0.
func Rows(t *tensor.Tensor, lo, hi int) (*tensor.Tensor, error) {
	shape := t.Shape()
	if len(shape) == 0 || lo == 0 && hi == shape[0] {
		return t, nil
	}
	part := withRows(shape, hi-lo)
	each := t.Len() / max(1, shape[0])
	if t.DType() == tensor.String {
		return tensor.Of(tensor.Data[string](t)[lo*each:hi*each], part...), nil
	}
	size := t.DType().ByteLen(each)
	return tensor.FromBytes(t.DType(), part, t.Bytes()[lo*size:hi*size])
}

// withRows is shape with n as its first dimension.
func withRows(shape []int, n int) []int {
	s := slices.Clone(shape)
	s[0] = n
	return s
}

// onDisk is an array of whole-byte elements, row-major, that is read row by
// row from a file.
type onDisk struct {
	layout
	r      io.ReaderAt
	offset int64
}

// layout is how a file stores an array.
type layout struct {
	elem tensor.DType
	dims []int
	big  bool // most significant byte first
}

func (l *layout) dtype() tensor.DType { return l.elem }
func (l *layout) shape() []int        { return l.dims }

func (d *onDisk) rows(lo, hi int) (*tensor.Tensor, error) {
	each, rest := d.elem.ByteLen(1), []int{}
	if len(d.dims) > 0 {
		rest = withRows(d.dims, hi-lo)
		for _, n := range d.dims[1:] {
			each *= n
		}
	} else {
		lo, hi = 0, 1
	}
	data := make([]byte, (hi-lo)*each)
	if _, err := d.r.ReadAt(data, d.offset+int64(lo)*int64(each)); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file became shorter while it was read")
		}
		return nil, bare(err)
	}
	return d.tensor(data, rest)
}

// tensor is the element bytes of a file, of the given shape, as a tensor; it
// takes data over.
func (l *layout) tensor(data []byte, shape []int) (*tensor.Tensor, error) {
	if l.big {
		swapBytes(data, l.swapSize())
	}
	if l.elem == tensor.Bool {
		for i, b := range data {
			if b > 1 { // anything but 0 is true
				data[i] = 1
			}
		}
	}
	return tensor.FromBytes(l.elem, shape, data)
}

// swapSize is the bytes of one number: half an element where that is complex.
func (l *layout) swapSize() int {
	n := l.elem.ByteLen(1)
	if l.elem == tensor.Complex64 || l.elem == tensor.Complex128 {
		n /= 2
	}
	return n
}

// swapBytes turns numbers of size bytes from one byte order into the other.
func swapBytes(data []byte, size int) {
	for ; len(data) >= size && size > 1; data = data[size:] {
		slices.Reverse(data[:size])
	}
}

// byteLen is the bytes that an array of a file takes. It fails where they are
// more than an int64 counts.
func (l *layout) byteLen() (int64, error) {
	n, err := tensor.Elements(l.dims)
	if err != nil {
		return 0, err
	}
	return int64(l.elem.ByteLen(n)), nil
}

// readStream reads the bytes of an array, at most take rows of it, from a
// stream whose length is not known: memory grows with what really comes, not
// with what the header promises.
func (l *layout) readStream(r io.Reader, take int) (*tensor.Tensor, error) {
	dims := l.dims
	if len(dims) > 0 {
		dims = withRows(dims, min(take, dims[0]))
	}
	cut := layout{l.elem, dims, l.big}
	want, err := cut.byteLen()
	if err != nil {
		return nil, err
	}
	data, err := readGrowing(r, want)
	if err != nil {
		return nil, err
	}
	return cut.tensor(data, dims)
}

// readGrowing reads exactly want bytes.
func readGrowing(r io.Reader, want int64) ([]byte, error) {
	const first = 1 << 20
	data := make([]byte, 0, min(want, first))
	for int64(len(data)) < want {
		if len(data) == cap(data) {
			data = slices.Grow(data, int(min(want-int64(len(data)), int64(len(data)))))
		}
		room := data[len(data):min(int64(cap(data)), want)]
		n, err := io.ReadFull(r, room)
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("the data ends after %d of %d bytes", len(data), want)
		} else if err != nil {
			return nil, bare(err)
		}
	}
	return data, nil
}

// openFile opens a regular file, which stays open until s is closed.
func (s *Set) openFile(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	s.files = append(s.files, f)
	return f, info.Size(), nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// mustExist fails where no file is at path, in words that name it once.
func mustExist(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("read %s: %w", path, bare(err))
	}
	return nil
}

// bare takes operation and path off an error of package os.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
