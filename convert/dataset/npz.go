package dataset

import (
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"bilinc/runtime/tensor"
)

// openNPZ opens an archive of .npy files: entries that are stored are read
// row by row from the file, deflated ones are unpacked once.
func (s *Set) openNPZ(path string) error {
	f, size, err := s.openFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("read %s: it is not an .npz archive: %w", path, err)
	}
	g := group{name: path}
	for _, entry := range archive.File {
		name, ok := strings.CutSuffix(entry.Name, ".npy")
		if !ok {
			continue
		}
		if slices.ContainsFunc(g.arrays, func(a array) bool { return a.name == name }) {
			return fmt.Errorf("read %s: it holds the array %q twice", path, name)
		}
		src, err := s.openEntry(f, size, entry)
		if err != nil {
			return fmt.Errorf("read %s: array %q: %w", path, name, err)
		}
		g.arrays = append(g.arrays, array{name: name, where: path, src: src})
	}
	if len(g.arrays) == 0 {
		return fmt.Errorf("read %s: it holds no array", path)
	}
	s.groups = append(s.groups, g)
	return nil
}

func (s *Set) openEntry(f io.ReaderAt, size int64, entry *zip.File) (source, error) {
	if entry.Method == zip.Store {
		offset, err := entry.DataOffset()
		if err != nil {
			return nil, err
		}
		if entry.CompressedSize64 > uint64(size-offset) {
			return nil, fmt.Errorf("it has %d bytes from %d on, the file only %d", entry.CompressedSize64, offset, size)
		}
		src, err := s.npyAt(f, offset, int64(entry.CompressedSize64))
		if err != nil || s.opts.cut(firstDim(src.shape())) < firstDim(src.shape()) {
			return src, err // some rows alone: the sum is of all
		}
		if _, ok := src.(memory); ok {
			return src, checkSum(entry)
		}
		return &summed{source: src, check: sync.OnceValue(func() error { return checkSum(entry) })}, nil
	}
	r, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	h, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	if err := h.fits(int64(entry.UncompressedSize64) - h.size); err != nil {
		return nil, err
	}
	take := s.opts.cut(firstDim(h.dims))
	src, err := h.whole(r, take)
	if err != nil || take < firstDim(h.dims) {
		return src, err
	}
	return src, drain(r)
}

// summed is an array that is read where it stands, once its bytes have been
// found to be those that the archive's checksum is of.
type summed struct {
	source
	check func() error
}

func (s *summed) rows(lo, hi int) (*tensor.Tensor, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.source.rows(lo, hi)
}

// checkSum reads an entry for the sake of its checksum.
func checkSum(entry *zip.File) error {
	r, err := entry.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return drain(r)
}

// drain reads a stream to its end, where a checksum of it is compared.
func drain(r io.Reader) error {
	buf := make([]byte, 1<<16)
	for {
		switch _, err := r.Read(buf); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, zip.ErrChecksum), errors.Is(err, gzip.ErrChecksum):
			return errors.New("it is damaged: its checksum is wrong")
		case err != nil:
			return bare(err)
		}
	}
}
