package file

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

func put(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func text(content string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, content); return err }
}

// only fails unless dir holds exactly the named files.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, wanted %q", got, want)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q (%v), wanted %q", path, got, err, want)
	}
}

func link(t *testing.T, to, name string) string {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	return name
}

func TestWriteAtomicNewAndExisting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := WriteAtomic(path, false, text("one")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "one")
	called := false
	err := WriteAtomic(path, false, func(io.Writer) error { called = true; return nil })
	if !errors.Is(err, fs.ErrExist) || called {
		t.Errorf("existing file: error %v, written %v", err, called)
	}
	holds(t, path, "one")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteAtomic(path, true, text("two")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "two")
	if info, _ := os.Stat(path); info.Mode().Perm()&0o077 != 0 {
		t.Errorf("permissions of the replaced file were 0600, now %v", info.Mode())
	}
	only(t, dir, "out")
}

// A file that appears while the output is written is not harmed.
func TestWriteAtomicRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	err := WriteAtomic(path, false, func(w io.Writer) error {
		put(t, path, "theirs")
		return text("ours")(w)
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, wanted fs.ErrExist", err)
	}
	holds(t, path, "theirs")
	only(t, dir, "out")
}

func TestWriteAtomicFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "out"), "old")
	boom := errors.New("boom")
	half := func(w io.Writer) error { _ = text("half")(w); return boom }
	if err := WriteAtomic(path, true, half); !errors.Is(err, boom) {
		t.Errorf("error %v, wanted boom", err)
	}
	if err := WriteAtomic(filepath.Join(dir, "new"), false, half); !errors.Is(err, boom) {
		t.Errorf("error %v, wanted boom", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = WriteAtomic(path, true, func(io.Writer) error { panic("boom") })
	}()
	ctx, cancel := context.WithCancelCause(t.Context())
	err := WriteAtomic(path, true, func(w io.Writer) error {
		w = Writer(ctx, w)
		if err := text("before")(w); err != nil {
			return err
		}
		cancel(boom)
		return text("after")(w)
	})
	if !errors.Is(err, boom) {
		t.Errorf("cancelled: error %v, wanted the cause", err)
	}
	holds(t, path, "old")
	only(t, dir, "out")
}

func TestWriteAtomicRefusesOddTargets(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteAtomic(sub, true, text("x")); err == nil || !strings.Contains(err.Error(), "a folder") {
		t.Errorf("folder as output: %v", err)
	}
	err := WriteAtomic(filepath.Join(dir, "none", "out"), true, text("x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	err = WriteAtomic(link(t, filepath.Join(dir, "nothing"), filepath.Join(dir, "link")), true, text("x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dangling link: %v", err)
	}
	only(t, dir, "link", "sub")
}

func TestWriteAtomicThroughLink(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	target := put(t, filepath.Join(sub, "real"), "old")
	name := link(t, filepath.Join("sub", "real"), filepath.Join(dir, "link"))
	if err := WriteAtomic(name, false, text("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without force: %v", err)
	}
	if err := WriteAtomic(name, true, text("new")); err != nil {
		t.Fatal(err)
	}
	holds(t, target, "new")
	if info, _ := os.Lstat(name); info.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	only(t, sub, "real")
}

func TestWriterPassesLongWritesWhole(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), chunk/4)
	var got bytes.Buffer
	if n, err := Writer(t.Context(), &got).Write(want); n != len(want) || err != nil {
		t.Fatal(n, err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("bytes differ")
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "in"), "12345")
	data, err := Read(path, 5)
	if err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if uintptr(unsafe.Pointer(&data[0]))%8 != 0 {
		t.Error("the first byte is not aligned")
	}
	var big *TooLargeError
	if _, err := Read(path, 4); !errors.As(err, &big) || big.Size != 5 || big.Limit != 4 {
		t.Errorf("limit 4: %v", err)
	}
	if _, err := Read(dir, 4); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("folder: %v", err)
	}
	_, err = Read(filepath.Join(dir, "none"), 4)
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), "none") != 1 {
		t.Errorf("missing file: %v", err)
	}
}

func TestReadPipe(t *testing.T) {
	for limit, ok := range map[int64]bool{5: true, 4: false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.WriteString("12345")
		_ = w.Close()
		data, err := readAll(r, limit)
		_ = r.Close()
		if ok != (err == nil && string(data) == "12345") {
			t.Errorf("limit %d: %q, %v", limit, data, err)
		}
	}
}

func TestReadRange(t *testing.T) {
	f, err := os.Open(put(t, filepath.Join(t.TempDir(), "in"), "0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, c := range []struct {
		offset, length int64
		want           string // "": refused
	}{
		{0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"},
		{0, 11, ""}, {10, 1, ""}, {11, 0, ""}, {-1, 2, ""}, {2, -1, ""},
		{1, 1 << 62, ""}, {1<<63 - 1, 1<<63 - 1, ""},
	} {
		got, err := ReadRange(f, c.offset, c.length)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("[%d, +%d): %q, %v; wanted %q", c.offset, c.length, got, err, c.want)
		}
	}
	if got, err := ReadRange(f, 10, 0); err != nil || len(got) != 0 {
		t.Errorf("nothing at the end: %q, %v", got, err)
	}
}

func TestOpenInside(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "dir")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	secret := put(t, filepath.Join(outer, "secret"), "secret")
	put(t, filepath.Join(dir, "w.bin"), "w")
	put(t, filepath.Join(dir, "sub", "v.bin"), "v")
	link(t, filepath.Join("..", "secret"), filepath.Join(dir, "out"))
	link(t, secret, filepath.Join(dir, "abs"))
	link(t, "..", filepath.Join(dir, "up"))
	link(t, filepath.Join("sub", "v.bin"), filepath.Join(dir, "in"))

	for rel, want := range map[string]string{"w.bin": "w", "sub/v.bin": "v", "./w.bin": "w", "in": "v"} {
		f, err := OpenInside(dir, rel)
		if err != nil {
			t.Errorf("%q: %v", rel, err)
			continue
		}
		if got, _ := io.ReadAll(f); string(got) != want {
			t.Errorf("%q holds %q, wanted %q", rel, got, want)
		}
		_ = f.Close()
	}
	for _, rel := range []string{
		"", secret, "/w.bin", `\w.bin`, "../secret", "sub/../w.bin", `..\secret`, "out", "abs", "up/secret", "sub", ".", "none", "w.bin\x00",
	} {
		if f, err := OpenInside(dir, rel); err == nil {
			_ = f.Close()
			t.Errorf("%q was opened", rel)
		}
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	a := put(t, filepath.Join(dir, "a"), "x")
	b := put(t, filepath.Join(dir, "b"), "x")
	if !SameFile(a, filepath.Join(dir, ".", "a")) || SameFile(a, b) || SameFile(a, filepath.Join(dir, "none")) || SameFile(filepath.Join(dir, "none"), a) {
		t.Error("plain files")
	}
	if !SameFile(link(t, a, filepath.Join(dir, "l")), a) {
		t.Error("a link and its target")
	}
}
