package dataset

import (
	"archive/zip"
	"fmt"
	"io"
	"strings"
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
		return s.npyAt(f, offset, int64(entry.CompressedSize64))
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
	return h.whole(r, s.opts.cut(firstDim(h.dims)))
}
