package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// A TooLargeError says that a file passes the limit given to Read.
type TooLargeError struct {
	Size  int64 // of the file; just past Limit where its size is not known
	Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the file has %d bytes or more, the limit is %d", e.Size, e.Limit)
}

// Read is the whole content of the file at path, at most limit bytes; a longer
// file is a *TooLargeError, found before memory is taken for it. The first byte
// is aligned to 8 bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	defer func() { _ = f.Close() }()
	data, err := readAll(f, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	return data, nil
}

func readAll(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return nil, errors.New("it is a folder")
	case info.Mode().IsRegular():
		if info.Size() > limit {
			return nil, &TooLargeError{info.Size(), limit}
		}
		return ReadRange(f, 0, info.Size())
	}
	// A pipe: its length shows at its end.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, &TooLargeError{int64(len(data)), limit}
	}
	return data, err
}

// ReadRange is the length bytes of the regular file f from offset on, checked
// against the file's size before memory is taken for them. The first byte is
// aligned to 8 bytes.
func ReadRange(f *os.File, offset, length int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch size := info.Size(); {
	case offset < 0 || length < 0:
		return nil, fmt.Errorf("offset %d and length %d must not be negative", offset, length)
	case offset > size || length > size-offset:
		return nil, fmt.Errorf("bytes %d to %d are wanted, the file has %d", offset, uint64(offset)+uint64(length), size)
	case int64(int(length)) != length:
		return nil, fmt.Errorf("%d bytes are more than this machine can address", length)
	case length == 0:
		return []byte{}, nil
	}
	words := make([]uint64, (length+7)/8)
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), int(length))
	if _, err := io.ReadFull(io.NewSectionReader(f, offset, length), data); err != nil {
		return nil, fmt.Errorf("%w: the file became shorter while it was read", cause(err))
	}
	return data, nil
}

// OpenInside opens the regular file rel in the folder dir, where rel comes
// from a file that need not be trusted: an absolute path, one with "..", and
// one that a symbolic link leads out of dir are refused, and so are pipes,
// devices and folders (without opening them, which could block).
func OpenInside(dir, rel string) (*os.File, error) {
	parts := strings.FieldsFunc(rel, func(r rune) bool { return r == '/' || r == '\\' })
	switch {
	case rel == "":
		return nil, errors.New("the path is empty")
	case filepath.IsAbs(rel) || rel[0] == '/' || rel[0] == '\\' || filepath.VolumeName(rel) != "":
		return nil, fmt.Errorf("%q is an absolute path, wanted one inside the folder", rel)
	case slices.Contains(parts, ".."):
		return nil, fmt.Errorf("%q contains \"..\", wanted a path inside the folder", rel)
	case !filepath.IsLocal(rel):
		return nil, fmt.Errorf("%q is not a path inside the folder", rel)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", dir, cause(err))
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(rel)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", rel, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is %s, wanted a regular file", rel, kind(info.Mode()))
	}
	f, err := root.Open(rel)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", rel, cause(err))
	}
	// The name may have changed hands between the look and the opening.
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		_ = f.Close()
		return nil, fmt.Errorf("%q changed while it was opened", rel)
	}
	return f, nil
}

// SameFile reports whether both paths lead to one existing file, by whatever
// links and spellings.
func SameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
