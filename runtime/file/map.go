package file

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A mapping is a file whose content stands in memory for as long as it is not
// unmapped: slices of it may be held anywhere, so nothing does that by itself.
type mapping struct {
	path string
	f    *os.File // kept to see whether the file has become shorter
	data []byte
}

// mapped is all mappings, by address. Readers take no lock.
var mapped struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*mapping]
}

// start and end are the addresses of the first byte and past the last.
func (m *mapping) start() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(m.data))) }
func (m *mapping) end() uintptr   { return m.start() + uintptr(len(m.data)) }

// mappingAt is the mapping that an address lies in, or just behind in its last
// page; nil where there is none.
func mappingAt(addr uintptr) *mapping {
	list := mapped.list.Load()
	if list == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(*list, addr, func(m *mapping, a uintptr) int {
		switch {
		case m.end() <= a:
			return -1
		case m.start() > a:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return (*list)[i]
}

// mappingOf is the mapping that the bytes lie in; nil where there is none.
func mappingOf(b []byte) *mapping {
	if len(b) == 0 {
		return nil
	}
	return mappingAt(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// Map is Read without reading: where the system can, and the file is a regular
// one that is worth it, its content is mapped into memory, that of a large file
// page by page as it is used, and may not be written to. What another process writes to the
// file shows in it; a file that it cuts short makes the pages
// behind its new end faults, which Guard turns into errors, and Check tells.
// The mapping stays until Unmap.
func Map(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	data, err := MapFile(f, path, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, cause(err))
	}
	return data, nil
}

// MapFile is Map for an opened file, which is the mapping's from then on. path
// names it in errors.
func MapFile(f *os.File, path string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	size := info.Size()
	if canMap && info.Mode().IsRegular() && size >= mapLeast && size <= limit && int64(int(size)) == size {
		if data, err := mapFile(f, int(size)); err == nil {
			add(&mapping{path, f, data})
			return data, nil
		}
	}
	defer func() { _ = f.Close() }() // only read from
	return readAll(f, limit)
}

// mapLeast is the size from which on a file is mapped: reading a smaller one
// costs less than the mapping.
const mapLeast = 1 << 18

// add enters m into the list.
func add(m *mapping) {
	mapped.mu.Lock()
	defer mapped.mu.Unlock()
	var list []*mapping
	if old := mapped.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	i, _ := slices.BinarySearchFunc(list, m.start(), func(m *mapping, a uintptr) int {
		if m.start() < a {
			return -1
		}
		return 1
	})
	list = slices.Insert(list, i, m)
	mapped.list.Store(&list)
}

// IsMapped reports whether the bytes lie in a mapped file.
func IsMapped(b []byte) bool { return mappingOf(b) != nil }

// SameMapping reports whether both lie in the same mapping, or in none.
func SameMapping(a, b []byte) bool { return mappingOf(a) == mappingOf(b) }

// Unmap ends the mapping that data lies in, if it does: from then on nobody may
// touch it, nor any slice of it.
func Unmap(data []byte) error {
	m := mappingOf(data)
	if m == nil {
		return nil
	}
	mapped.mu.Lock()
	list := slices.Clone(*mapped.list.Load())
	i := slices.Index(list, m)
	if i >= 0 {
		list = slices.Delete(list, i, i+1)
		mapped.list.Store(&list)
	}
	mapped.mu.Unlock()
	if i < 0 {
		return nil // another call was first
	}
	return errors.Join(unmapFile(m.data), m.f.Close())
}

// GiveBack tells the system that the bytes, if they lie in a mapped file, are
// not needed for now: their whole pages need no memory until they are read
// again.
func GiveBack(b []byte) {
	if mappingOf(b) == nil {
		return
	}
	page := uintptr(os.Getpagesize())
	first := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skip := (page - first%page) % page
	if n := (uintptr(len(b)) - min(skip, uintptr(len(b)))) / page * page; n > 0 {
		giveBack(b[skip : skip+n])
	}
}

// ReadMapped copies the beginning of from, which lies in a mapped file, to all
// of dst, from the file itself: no page of the mapping is touched.
func ReadMapped(dst, from []byte) error {
	m := mappingOf(from)
	if m == nil || len(from) < len(dst) {
		return fmt.Errorf("%d of %d bytes are to be read again, which lie in no mapped file", len(dst), len(from))
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(from))) - m.start()
	if _, err := m.f.ReadAt(dst, int64(at)); err != nil {
		if cut := Check(from); cut != nil {
			return cut
		}
		return fmt.Errorf("%s: %w", m.path, cause(err))
	}
	return nil
}

// Check fails where the bytes lie in a mapped file that has become shorter than
// it was. What was read from behind its new end before may be zeros.
func Check(b []byte) error {
	m := mappingOf(b)
	if m == nil {
		return nil
	}
	size, err := sizeOf(m.f)
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, cause(err))
	}
	if size < int64(len(m.data)) {
		return &CutError{m.path, int64(len(m.data)), size}
	}
	return nil
}

// A CutError says that a file was cut short while it was mapped.
type CutError struct {
	Path     string
	Was, Now int64 // bytes
}

func (e *CutError) Error() string {
	return fmt.Sprintf("%s had %d bytes when it was opened and has %d now: it was cut short while it was in use", e.Path, e.Was, e.Now)
}

// Guard calls f. A fault in a mapped file, in f's own goroutine, becomes an
// error; other panics go on.
func Guard(f func() error) (err error) {
	defer PanicOnFault()()
	defer func() {
		if v := recover(); v != nil {
			if err = Fault(v); err == nil {
				panic(v)
			}
		}
	}()
	return f()
}

// PanicOnFault makes a fault in this goroutine a panic, until the function that
// it returns is called.
func PanicOnFault() func() {
	if debug.SetPanicOnFault(true) {
		return stay
	}
	return restore
}

func stay()    {}
func restore() { debug.SetPanicOnFault(false) }

// Fault is the error behind a panic that reading a mapped file gave; nil for
// any other panic.
func Fault(v any) error {
	a, ok := v.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	m := mappingAt(a.Addr())
	if m == nil {
		return nil
	}
	if err := Check(m.data); err != nil {
		return err
	}
	return fmt.Errorf("%s: reading it failed while it was in use", m.path)
}
