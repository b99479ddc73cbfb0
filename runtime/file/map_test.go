//go:build unix && !aix

package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// large is the content of a file that is mapped.
func large() []byte { return bytes.Repeat([]byte("0123456789abcde\n"), mapLeast/8) }

func mapLarge(t *testing.T) (path string, data []byte) {
	t.Helper()
	path = put(t, filepath.Join(t.TempDir(), "large"), string(large()))
	data, err := Map(path, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if !IsMapped(data) || !IsMapped(data[len(data)-1:]) {
		t.Fatal("it is not mapped")
	}
	t.Cleanup(func() {
		if err := Unmap(data); err != nil || IsMapped(data) {
			t.Error("unmapping:", err)
		}
	})
	return path, data
}

func TestMap(t *testing.T) {
	_, a := mapLarge(t)
	_, b := mapLarge(t)
	for _, data := range [][]byte{a, b} {
		GiveBack(data[5 : len(data)-7])
		GiveBack(data[1:2])
		if !bytes.Equal(data, large()) {
			t.Error("the content differs")
		}
		if err := Check(data[7:8]); err != nil {
			t.Error(err)
		}
	}
	own := []byte("x")
	if IsMapped(own) || IsMapped(nil) || Check(own) != nil || Unmap(own) != nil {
		t.Error("ordinary memory is taken for a mapped file")
	}
	GiveBack(own)
}

func TestMapSmall(t *testing.T) {
	dir := t.TempDir()
	data, err := Map(put(t, filepath.Join(dir, "small"), "12345"), 5)
	if err != nil || string(data) != "12345" || IsMapped(data) {
		t.Errorf("%q, %v", data, err)
	}
	var big *TooLargeError
	if _, err := Map(put(t, filepath.Join(dir, "large"), string(large())), mapLeast); !errors.As(err, &big) {
		t.Errorf("past the limit: %v", err)
	}
	if _, err := Map(filepath.Join(dir, "none"), 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Map(dir, 5); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("folder: %v", err)
	}
}

var sink atomic.Int64

// sumOf reads all bytes.
func sumOf(data []byte) {
	n := 0
	for _, b := range data {
		n += int(b)
	}
	sink.Store(int64(n))
}

func TestReadMapped(t *testing.T) {
	path, data := mapLarge(t)
	got := make([]byte, 1000)
	for _, at := range []int{0, 4095, len(data) - len(got)} {
		if err := ReadMapped(got, data[at:]); err != nil || !bytes.Equal(got, large()[at:at+len(got)]) {
			t.Errorf("from byte %d: other bytes (%v)", at, err)
		}
	}
	if ReadMapped(got, data[len(data)-len(got)+1:]) == nil || ReadMapped(got, make([]byte, 2000)) == nil {
		t.Error("read what is in no mapped file")
	}
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	var cut *CutError
	if err := ReadMapped(got, data[4500:]); !errors.As(err, &cut) || cut.Now != 5000 {
		t.Errorf("behind the file's new end: %v", err)
	}
}

func TestCutShort(t *testing.T) {
	path, data := mapLarge(t)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var cut *CutError
			err := Guard(func() error { sumOf(data); return nil })
			if !errors.As(err, &cut) || cut.Path != path || cut.Was != int64(len(data)) || cut.Now != 100 {
				t.Errorf("a fault gives %v", err)
			}
		})
	}
	wg.Wait()
	// Behind the new end of its last page a file reads as zeros, without a fault.
	if err := Guard(func() error { sumOf(data[:200]); return Check(data[:200]) }); err == nil {
		t.Error("zeros passed for the file's content")
	}
}

func TestGuardPassesPanicsOn(t *testing.T) {
	_, _ = mapLarge(t)
	for _, f := range []func(){
		func() { panic("other") },
		func() { var p *[4]int; _ = p[3] },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is gone")
				}
			}()
			_ = Guard(func() error { f(); return nil })
		}()
	}
	want := errors.New("x")
	if err := Guard(func() error { return Guard(func() error { return want }) }); !errors.Is(err, want) {
		t.Error(err)
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	_, data := mapLarge(t)
	if n := testing.AllocsPerRun(10, func() {
		if Check(data) != nil {
			t.Error("it was not cut")
		}
		PanicOnFault()()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
