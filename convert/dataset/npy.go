package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bilinc/runtime/tensor"
)

// npyHeader is what stands before the elements of an .npy file, as NumPy's
// format description (NEP 1) has it.
type npyHeader struct {
	layout
	fortran bool
	chars   int  // of one string element
	wide    bool // strings of four-byte characters ('U'), not bytes ('S')
	size    int64
}

// npyTypes maps NumPy's kind and item size to an element type.
var npyTypes = map[string]tensor.DType{
	"f2": tensor.Float16, "f4": tensor.Float32, "f8": tensor.Float64,
	"i1": tensor.Int8, "i2": tensor.Int16, "i4": tensor.Int32, "i8": tensor.Int64,
	"u1": tensor.Uint8, "u2": tensor.Uint16, "u4": tensor.Uint32, "u8": tensor.Uint64,
	"b1": tensor.Bool, "c8": tensor.Complex64, "c16": tensor.Complex128,
}

const (
	npyMagic     = "\x93NUMPY"
	maxNPYHeader = 1 << 16
	maxNPYString = 1 << 20
)

// readNPYHeader reads up to the first element.
func readNPYHeader(r io.Reader) (*npyHeader, error) {
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil || string(pre[:6]) != npyMagic {
		return nil, errors.New("it is not an .npy file: the first bytes are not \\x93NUMPY")
	}
	var size, field int
	switch major := pre[6]; major {
	case 1:
		field = 2
	case 2, 3:
		field = 4
	default:
		return nil, fmt.Errorf("it has version %d of the .npy format, known are 1 to 3", major)
	}
	var length [4]byte
	if _, err := io.ReadFull(r, length[:field]); err != nil {
		return nil, errors.New("the header is cut short")
	}
	size = int(binary.LittleEndian.Uint32(length[:]))
	if size > maxNPYHeader {
		return nil, fmt.Errorf("the header has %d bytes, at most %d are read", size, maxNPYHeader)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, errors.New("the header is cut short")
	}
	h, err := parseNPYHeader(string(text))
	if err != nil {
		return nil, fmt.Errorf("the header %q: %w", strings.TrimSpace(string(text)), err)
	}
	h.size = int64(8 + field + size)
	return h, nil
}

// parseNPYHeader reads the Python dictionary that describes the array.
func parseNPYHeader(text string) (*npyHeader, error) {
	descr, ok := quoted(text, "descr")
	if !ok {
		return nil, errors.New("no simple 'descr' (structured and object arrays are not read)")
	}
	h := &npyHeader{}
	order, kind := byte('|'), descr
	if descr != "" && strings.IndexByte("<>|=", descr[0]) >= 0 {
		order, kind = descr[0], descr[1:]
	}
	h.big = order == '>'
	if elem, ok := npyTypes[kind]; ok {
		h.elem = elem
	} else if n, err := strconv.Atoi(kind[min(1, len(kind)):]); err == nil && n >= 0 && n <= maxNPYString &&
		(kind[0] == 'U' || kind[0] == 'S') {
		h.elem, h.chars, h.wide = tensor.String, n, kind[0] == 'U'
	} else {
		return nil, fmt.Errorf("element type %q is not read", descr)
	}
	switch after := afterKey(text, "fortran_order"); {
	case strings.HasPrefix(after, "True"):
		h.fortran = true
	case !strings.HasPrefix(after, "False"):
		return nil, errors.New("no 'fortran_order'")
	}
	after := afterKey(text, "shape")
	end := strings.IndexByte(after, ')')
	if !strings.HasPrefix(after, "(") || end < 0 {
		return nil, errors.New("no 'shape'")
	}
	h.dims = []int{}
	for _, part := range strings.Split(after[1:end], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSuffix(part, "L"))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no dimension", part)
		}
		h.dims = append(h.dims, n)
	}
	return h, nil
}

// afterKey is the text behind 'key':, without blanks before it.
func afterKey(text, key string) string {
	for _, q := range []string{"'", `"`} {
		if _, rest, ok := strings.Cut(text, q+key+q); ok {
			rest = strings.TrimLeft(rest, " ")
			return strings.TrimLeft(strings.TrimPrefix(rest, ":"), " ")
		}
	}
	return ""
}

// quoted is the string literal behind 'key':.
func quoted(text, key string) (string, bool) {
	rest := afterKey(text, key)
	if rest == "" || rest[0] != '\'' && rest[0] != '"' {
		return "", false
	}
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 1 {
		return "", false
	}
	return rest[1 : 1+end], true
}

// byteLen is the bytes of all elements.
func (h *npyHeader) byteLen() (int64, error) {
	if h.elem != tensor.String {
		return h.layout.byteLen()
	}
	n, err := tensor.Elements(h.dims)
	if err != nil {
		return 0, err
	}
	if n > 0 && h.itemSize() > 0 && n > tensor.MaxElements/h.itemSize() {
		return 0, fmt.Errorf("shape %v has too many elements", h.dims)
	}
	return int64(n) * int64(h.itemSize()), nil
}

func (h *npyHeader) itemSize() int {
	if h.wide {
		return 4 * h.chars
	}
	return h.chars
}

// whole reads all elements, or the first take rows where that spares reading.
func (h *npyHeader) whole(r io.Reader, take int) (source, error) {
	if h.elem == tensor.String {
		return h.strings(r)
	}
	if !h.fortran || len(h.dims) < 2 {
		t, err := h.readStream(r, take)
		return memory{t}, err
	}
	// Column-major: the same bytes as the transposed array in row-major order.
	reversed := layout{h.elem, make([]int, len(h.dims)), h.big}
	for i, d := range h.dims {
		reversed.dims[len(h.dims)-1-i] = d
	}
	t, err := reversed.readStream(r, reversed.dims[0])
	if err != nil {
		return nil, err
	}
	out := tensor.New(h.elem, h.dims...)
	transposeAll(out.Bytes(), t.Bytes(), h.dims, h.elem.ByteLen(1))
	return memory{out}, nil
}

// transposeAll copies column-major elements of size bytes into row-major order.
func transposeAll(dst, src []byte, dims []int, size int) {
	step := make([]int, len(dims)) // of the source, per dimension, in bytes
	n := size
	for i, d := range dims {
		step[i] = n
		n *= d
	}
	at, index := 0, make([]int, len(dims))
	for len(dst) > 0 {
		copy(dst[:size], src[at:])
		dst = dst[size:]
		for k := len(dims) - 1; k >= 0; k-- {
			index[k]++
			at += step[k]
			if index[k] < dims[k] {
				break
			}
			at -= index[k] * step[k]
			index[k] = 0
		}
	}
}

// strings reads an array of strings of fixed width; trailing zeros are padding.
func (h *npyHeader) strings(r io.Reader) (source, error) {
	if h.fortran && len(h.dims) > 1 {
		return nil, errors.New("strings in column-major order are not read")
	}
	want, err := h.byteLen()
	if err != nil {
		return nil, err
	}
	data, err := readGrowing(r, want)
	if err != nil {
		return nil, err
	}
	n, _ := tensor.Elements(h.dims) // byteLen has checked them
	elems := make([]string, n)
	order := binary.ByteOrder(binary.LittleEndian)
	if h.big {
		order = binary.BigEndian
	}
	for i := range elems {
		item := data[i*h.itemSize() : (i+1)*h.itemSize()]
		if h.wide {
			runes := make([]rune, h.chars)
			for k := range runes {
				runes[k] = rune(order.Uint32(item[4*k:]))
			}
			elems[i] = strings.TrimRight(string(runes), "\x00")
		} else {
			elems[i] = strings.TrimRight(string(item), "\x00")
		}
	}
	return memory{tensor.Of(elems, h.dims...)}, nil
}

// openNPY opens an .npy file; rows are read when they are wanted.
func (s *Set) openNPY(path string) (source, error) {
	f, size, err := s.openFile(path)
	if err != nil {
		return nil, err
	}
	return s.npyAt(f, 0, size)
}

// npyAt is the array in size bytes of r from offset on.
func (s *Set) npyAt(r io.ReaderAt, offset, size int64) (source, error) {
	body := io.NewSectionReader(r, offset, size)
	h, err := readNPYHeader(body)
	if err != nil {
		return nil, err
	}
	if err := h.fits(size - h.size); err != nil {
		return nil, err
	}
	if h.elem == tensor.String || h.fortran && len(h.dims) > 1 {
		return h.whole(body, s.opts.cut(firstDim(h.dims)))
	}
	return &onDisk{h.layout, r, offset + h.size}, nil
}

// fits fails where the elements take more than the have bytes that there are.
func (h *npyHeader) fits(have int64) error {
	want, err := h.byteLen()
	if err != nil {
		return err
	}
	if want > have {
		return fmt.Errorf("the header says %v%v, which takes %d bytes, but only %d follow", h.elem, h.dims, want, have)
	}
	return nil
}

func firstDim(shape []int) int {
	if len(shape) == 0 {
		return 0
	}
	return shape[0]
}
