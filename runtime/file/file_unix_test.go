//go:build !windows

package file

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Opening a pipe that no one writes to would block for ever.
func TestOpenInsideRefusesPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := OpenInside(dir, "pipe"); err == nil || !strings.Contains(err.Error(), "a pipe") {
		t.Error(err)
	}
}

func TestWriteAtomicRefusesDevice(t *testing.T) {
	if err := WriteAtomic("/dev/null", true, text("x")); err == nil || !strings.Contains(err.Error(), "a device") {
		t.Error(err)
	}
}
