package dataset

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"bilinc/runtime/tensor"
)

// imagesKey is the name of the first array of an IDX pair.
const imagesKey = "images"

// idxTypes maps the third byte of an IDX file to an element type.
var idxTypes = map[byte]tensor.DType{
	0x08: tensor.Uint8, 0x09: tensor.Int8, 0x0B: tensor.Int16,
	0x0C: tensor.Int32, 0x0D: tensor.Float32, 0x0E: tensor.Float64,
}

// openIDX opens images=FILE[,labels=FILE]; the first name may be left out.
func (s *Set) openIDX(spec string) error {
	images, labels, both := strings.Cut(spec, ","+DefaultLabels+"=")
	images = strings.TrimPrefix(images, imagesKey+"=")
	g := group{name: images}
	add := func(name, path string) error {
		src, err := s.idxFile(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		g.arrays = append(g.arrays, array{name: name, where: path, src: src})
		return nil
	}
	if err := add(imagesKey, images); err != nil {
		return err
	}
	if both {
		if err := add(s.opts.labels(), labels); err != nil {
			return err
		}
	}
	s.groups = append(s.groups, g)
	return nil
}

func (s *Set) idxFile(path string) (source, error) {
	f, size, err := s.openFile(path)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		l, head, err := readIDXHeader(f)
		if err != nil {
			return nil, err
		}
		want, err := l.byteLen()
		if err != nil {
			return nil, err
		}
		if have := size - head; want != have {
			return nil, fmt.Errorf("the header says %v%v, which takes %d bytes, but %d follow", l.elem, l.dims, want, have)
		}
		return &onDisk{l, f, head}, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("it is no gzip file: %w", err)
	}
	l, _, err := readIDXHeader(z)
	if err != nil {
		return nil, err
	}
	if _, err := l.byteLen(); err != nil {
		return nil, err
	}
	take := s.opts.cut(firstDim(l.dims))
	t, err := l.readStream(z, take)
	if err != nil {
		return nil, err
	}
	if take == firstDim(l.dims) {
		switch n, err := io.ReadFull(z, make([]byte, 1)); {
		case n > 0:
			return nil, fmt.Errorf("the header says %v%v, but more bytes follow than that takes", l.elem, l.dims)
		case errors.Is(err, gzip.ErrChecksum):
			return nil, errors.New("it is damaged: its checksum is wrong")
		case !errors.Is(err, io.EOF):
			return nil, bare(err)
		}
	}
	return memory{t}, nil
}

// readIDXHeader reads two zero bytes, the element type, the rank and the
// dimensions of four bytes each, the most significant first; head is their
// length.
func readIDXHeader(r io.Reader) (l layout, head int64, err error) {
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || magic[0] != 0 || magic[1] != 0 {
		return layout{}, 0, errors.New("it is not an IDX file: it does not begin with two zero bytes")
	}
	l.big = true
	l.elem = idxTypes[magic[2]]
	if l.elem == tensor.Undefined {
		return layout{}, 0, fmt.Errorf("IDX has no element type 0x%02x", magic[2])
	}
	dims := make([]byte, 4*int(magic[3]))
	if _, err := io.ReadFull(r, dims); err != nil {
		return layout{}, 0, errors.New("the header is cut short")
	}
	l.dims = []int{}
	for i := 0; i < len(dims); i += 4 {
		l.dims = append(l.dims, int(binary.BigEndian.Uint32(dims[i:])))
	}
	return l, int64(4 + len(dims)), nil
}
