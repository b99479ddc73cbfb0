package file

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// inMemory is how much of a mapping has pages in this process, in KB.
func inMemory(t *testing.T, data []byte) (kb int) {
	t.Helper()
	all, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	_, of, found := strings.Cut("\n"+string(all), fmt.Sprintf("\n%x-", uintptr(unsafe.Pointer(&data[0]))))
	_, rss, also := strings.Cut(of, "\nRss:")
	if _, err := fmt.Sscan(rss, &kb); !found || !also || err != nil {
		t.Fatalf("the mapping is not in smaps: %v", err)
	}
	return kb
}

// Up to wholeMost a file is mapped with its pages, beyond it without; what it holds is the same.
func TestMapWhole(t *testing.T) {
	for size, want := range map[int]int{wholeMost: wholeMost >> 10, wholeMost + 1: 0} {
		content := bytes.Repeat([]byte{5}, size)
		data, err := Map(put(t, filepath.Join(t.TempDir(), "file"), string(content)), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if got := inMemory(t, data); got != want {
			t.Errorf("%d bytes: %d KB are in memory, wanted %d", size, got, want)
		}
		if !bytes.Equal(data, content) {
			t.Errorf("%d bytes: other content", size)
		}
		if err := Unmap(data); err != nil {
			t.Error(err)
		}
	}
}
