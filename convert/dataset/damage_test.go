package dataset

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

// npyBytes is an array of 8 rows, as numpy stores it in row-major order, or in
// column-major.
func npyBytes(t *testing.T, fortran bool) []byte {
	t.Helper()
	v := make([]float32, 8*300)
	for i := range v {
		v[i] = float32(i)
	}
	var b bytes.Buffer
	if err := WriteNPY(&b, tensor.Of(v, 8, 300)); err != nil {
		t.Fatal(err)
	}
	if !fortran {
		return b.Bytes()
	}
	return bytes.Replace(b.Bytes(), []byte("'fortran_order': False"), []byte("'fortran_order': True "), 1)
}

func archived(t *testing.T, method uint16, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: entries[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A checksum that a file has is compared, however its arrays are read; where
// some rows alone are taken it cannot be.
func TestDamageIsFound(t *testing.T) {
	idx := append([]byte{0, 0, 8, 2, 0, 0, 0, 8, 0, 0, 0, 3}, bytes.Repeat([]byte{7, 9, 200}, 8)...)
	plain, columns := string(npyBytes(t, false)), string(npyBytes(t, true))
	flip := func(b []byte, at int) []byte {
		if at < 0 {
			at += len(b)
		}
		c := bytes.Clone(b)
		c[at] ^= 0x10
		return c
	}
	stored, deflated := archived(t, zip.Store, "x.npy", plain), archived(t, zip.Deflate, "x.npy", plain)
	for _, c := range []struct {
		name, file string
		data       []byte
		samples    int
		want       string // "": it reads
	}{
		{"stored", "x.npz", stored, 0, ""},
		{"stored, a bit", "x.npz", flip(stored, 3000), 0, "checksum is wrong"},
		{"stored, a bit, some rows", "x.npz", flip(stored, 3000), 2, ""},
		{"stored, columns", "x.npz", archived(t, zip.Store, "x.npy", columns), 0, ""},
		{"stored, columns, a bit", "x.npz", flip(archived(t, zip.Store, "x.npy", columns), 3000), 0, "checksum is wrong"},
		{"deflated", "x.npz", deflated, 0, ""},
		{"deflated, some rows", "x.npz", deflated, 2, ""},
		{"twice", "x.npz", archived(t, zip.Store, "x.npy", plain, "x.npy", plain), 0, `the array "x" twice`},
		{"gzip", "images=x-idx2-ubyte.gz", zipped(t, idx), 0, ""},
		{"gzip, sum", "images=x-idx2-ubyte.gz", flip(zipped(t, idx), -8), 0, "checksum is wrong"},
		{"gzip, sum, some rows", "images=x-idx2-ubyte.gz", flip(zipped(t, idx), -8), 2, ""},
		{"gzip, more bytes", "images=x-idx2-ubyte.gz", zipped(t, append(idx, 1)), 0, "more bytes follow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			prefix, file, ok := strings.Cut(c.file, "=")
			spec := filepath.Join(dir, c.file)
			if ok {
				spec = prefix + "=" + filepath.Join(dir, file)
			} else {
				file = c.file
			}
			if err := os.WriteFile(filepath.Join(dir, file), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			err := readAll(spec, Options{Samples: c.samples})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, wanted %q", err, c.want)
			}
		})
	}
	// Each byte of what is deflated.
	for at := 0; at < len(deflated); at += 7 {
		path := filepath.Join(t.TempDir(), "x.npz")
		if err := os.WriteFile(path, flip(deflated, at), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readAll(path, Options{}); err == nil && at > 100 && at < len(deflated)-150 {
			t.Errorf("byte %d of %d: no error", at, len(deflated))
		}
	}
}

// readAll reads all rows of all arrays.
func readAll(spec string, o Options) error {
	s, err := Open([]string{spec}, o)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, g := range s.groups {
		for _, a := range g.arrays {
			if _, err := a.src.rows(0, o.cut(firstDim(a.src.shape()))); err != nil {
				return err
			}
		}
	}
	return nil
}
