package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// counting is the numbers 0 to 23 that testdata/make.py stores.
func counting(t *testing.T, x *tensor.Tensor) {
	t.Helper()
	if fmt.Sprint(x.Shape()) != "[2 3 4]" {
		t.Fatalf("shape %v", x.Shape())
	}
	switch x.DType() {
	case tensor.Complex64:
		for i, v := range tensor.Data[complex64](x) {
			if v != complex(float32(i), 0) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	case tensor.Complex128:
		for i, v := range tensor.Data[complex128](x) {
			if v != complex(float64(i), 0) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	default:
		v, err := tensor.Float64s(x)
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			if v[i] != float64(i) {
				t.Fatalf("element %d is %v", i, v[i])
			}
		}
	}
}

func read(t *testing.T, path string) *tensor.Tensor {
	t.Helper()
	s := &Set{}
	defer s.Close()
	src, err := s.openNPY(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := src.rows(0, firstDim(src.shape()))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestNPY(t *testing.T) {
	files, err := filepath.Glob("testdata/[blv]e*.npy")
	if err != nil || len(files) < 40 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			x := read(t, path)
			if kind := strings.Split(filepath.Base(path), "-"); len(kind) == 3 && npyTypes[kind[1]] != x.DType() {
				t.Errorf("element type %v", x.DType())
			}
			counting(t, x)
		})
	}
	for i, v := range tensor.Data[bool](read(t, "testdata/bool.npy")) {
		if v != (i%2 == 1) {
			t.Errorf("bool %d is %v", i, v)
		}
	}
	if v := tensor.Data[string](read(t, "testdata/text.npy")); strings.Join(v, "|") != "a|bé||xyz" {
		t.Errorf("strings %q", v)
	}
	if x := read(t, "testdata/scalar.npy"); x.Rank() != 0 || tensor.Data[float32](x)[0] != 7 {
		t.Errorf("scalar %v", x)
	}
}

// Rows from the middle of a file are those of the whole.
func TestRowsAreReadApart(t *testing.T) {
	for _, name := range []string{"be-f8-c", "le-i2-c", "be-c8-f", "bool", "text"} {
		path := "testdata/" + name + ".npy"
		whole := read(t, path)
		s := &Set{}
		src, err := s.openNPY(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := src.rows(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Rows(whole, 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if !tensor.Equal(got, want) {
			t.Errorf("%s: row 1 differs", name)
		}
		s.Close()
	}
}

func model(t *testing.T, inputs ...any) *graph.Graph {
	t.Helper()
	g := graph.New("g", nil)
	for i := 0; i < len(inputs); i += 2 {
		if _, err := g.AddInput(inputs[i].(string), inputs[i+1].(graph.Type)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// typ is a type from a string such as "float32 N 28 28".
func typ(s string) graph.Type {
	f := strings.Fields(s)
	var d tensor.DType
	for d = 1; d.Valid() && d.String() != f[0]; d++ {
	}
	dims := []graph.Dim{}
	for _, part := range f[1:] {
		var n int
		if _, err := fmt.Sscan(part, &n); err == nil {
			dims = append(dims, graph.Size(n))
		} else {
			dims = append(dims, graph.Symbol(part))
		}
	}
	return graph.TensorType(d, dims...)
}

func TestNPZ(t *testing.T) {
	for _, name := range []string{"stored", "deflated"} {
		s, err := Open([]string{"testdata/" + name + ".npz"}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(model(t, "other name", typ("float32 N 3 4")))
		if err != nil {
			t.Fatal(err)
		}
		for batch, err := range b.Batches(10) {
			if err != nil {
				t.Fatal(err)
			}
			counting(t, batch.Inputs[0])
			if v := tensor.Data[int64](batch.Labels); v[0] != 3 || v[1] != 5 {
				t.Errorf("labels %v", v)
			}
		}
		s.Close()
	}
}

func save(t *testing.T, dir, name string, x *tensor.Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteNPY(&b, x); err != nil {
		t.Fatal(err)
	}
	return put(t, dir, name, b.Bytes())
}

func put(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWriteReadsBack(t *testing.T) {
	dir := t.TempDir()
	arrays := []Array{
		{"f", tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)},
		{"i", tensor.Of([]int64{-1, 1 << 40}, 2)},
		{"b", tensor.Of([]bool{true, false}, 2, 1)},
		{"s", tensor.Of([]string{"é", "longer"}, 2)},
		{"none", tensor.Of([]float64{}, 0, 7)},
		{"scalar", tensor.Scalar(uint16(9))},
	}
	for _, a := range arrays {
		if got := read(t, save(t, dir, a.Name, a.Tensor)); !tensor.Equal(got, a.Tensor) {
			t.Errorf("%s: %v came back as %v", a.Name, a.Tensor, got)
		}
	}
	half := tensor.New(tensor.BFloat16, 1)
	tensor.Data[uint16](half)[0] = tensor.Float32ToBFloat16(1.5)
	if got := read(t, save(t, dir, "bf16", half)); got.DType() != tensor.Float32 || tensor.Data[float32](got)[0] != 1.5 {
		t.Errorf("bfloat16 came back as %v", got)
	}
	var one, two bytes.Buffer
	if err := errors.Join(WriteNPZ(&one, arrays), WriteNPZ(&two, arrays)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same arrays gave other bytes")
	}
	s, err := Open([]string{put(t, dir, "all.npz", one.Bytes())}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.groups[0].arrays) != len(arrays) {
		t.Errorf("%d arrays came back", len(s.groups[0].arrays))
	}
}

func idx(code byte, data []byte, dims ...int) []byte {
	out := []byte{0, 0, code, byte(len(dims))}
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
	}
	return append(out, data...)
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	pixels := make([]byte, 3*2*2)
	for i := range pixels {
		pixels[i] = byte(20 * i)
	}
	plain := put(t, dir, "a-idx3-ubyte", idx(8, pixels, 3, 2, 2))
	images := put(t, dir, "a-idx3-ubyte.gz", zipped(t, idx(8, pixels, 3, 2, 2)))
	labels := put(t, dir, "a-idx1-ubyte.gz", zipped(t, idx(8, []byte{7, 8, 9}, 3)))
	for _, spec := range []string{"images=" + plain, "images=" + images + ",labels=" + labels, images} {
		s, err := Open([]string{spec}, Options{Samples: 2})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(model(t, "x", typ("float32 N 4")))
		if err != nil {
			t.Fatal(err)
		}
		if b.Rows() != 2 || b.HasLabels() != strings.Contains(spec, "labels") || len(b.Notes) != 2 {
			t.Errorf("%s: rows %d, labels %v, notes %q", spec, b.Rows(), b.HasLabels(), b.Notes)
		}
		row := 0
		for batch, err := range b.Batches(1) {
			if err != nil {
				t.Fatal(err)
			}
			if batch.First != row || batch.Rows != 1 {
				t.Errorf("batch from %d of %d rows", batch.First, batch.Rows)
			}
			for i, v := range tensor.Data[float32](batch.Inputs[0]) {
				if want := float32(float64(pixels[row*4+i]) / 255); math.Abs(float64(v-want)) > 1e-7 {
					t.Errorf("pixel %d of row %d is %v, wanted %v", i, row, v, want)
				}
			}
			if batch.Labels != nil && tensor.Data[uint8](batch.Labels)[0] != byte(7+row) {
				t.Errorf("label %v", tensor.Data[uint8](batch.Labels))
			}
			row++
		}
		s.Close()
	}
	wide := put(t, dir, "w-idx1-ubyte", idx(0x0B, []byte{1, 2, 0xff, 0xfe}, 2))
	s, err := Open([]string{wide}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, err := s.groups[0].arrays[0].src.rows(0, 2)
	if err != nil || tensor.Data[int16](x)[0] != 0x102 || tensor.Data[int16](x)[1] != -2 {
		t.Errorf("16-bit numbers %v, %v", x, err)
	}
}

// What is wrong with a file is found before memory is taken for what it says.
func TestBrokenFiles(t *testing.T) {
	dir := t.TempDir()
	header := func(text string) []byte {
		b := append([]byte(npyMagic), 1, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
		return append(b, text...)
	}
	huge := "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 100000), }"
	var small bytes.Buffer
	if err := WriteNPZ(&small, []Array{{"x", tensor.Of([]float32{1}, 1)}}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"text.npy":       {[]byte("hello, world"), "not an .npy file"},
		"empty.npy":      {nil, "not an .npy file"},
		"version.npy":    {append([]byte(npyMagic), 9, 0, 1, 0, 0, 0), "version 9"},
		"cut.npy":        {header(huge)[:40], "cut short"},
		"huge.npy":       {header(huge), "only 0 follow"},
		"overflow.npy":   {header(strings.Replace(huge, "100000)", "9999999999999)", 1)), "too many elements"},
		"negative.npy":   {header(strings.Replace(huge, "100000)", "-1)", 1)), "no dimension"},
		"object.npy":     {header(strings.Replace(huge, "<f4", "|O", 1)), `"|O" is not read`},
		"structured.npy": {header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), "structured"},
		"noshape.npy":    {header("{'descr': '<f4', 'fortran_order': False}"), "no 'shape'"},
		"noorder.npy":    {header("{'descr': '<f4', 'shape': (1,)}"), "no 'fortran_order'"},
		"bad.npz":        {[]byte("PK nothing"), "not an .npz archive"},
		"cut.npz":        {small.Bytes()[:small.Len()-10], "not an .npz archive"},
		"a-idx3-ubyte":   {idx(8, make([]byte, 5), 3, 2, 2), "takes 12 bytes, but 5 follow"},
		"b-idx3-ubyte":   {[]byte("text instead"), "not an IDX file"},
		"c-idx3-ubyte":   {idx(7, nil, 1), "no element type 0x07"},
		"d-idx3-ubyte":   {idx(8, nil, 1, 2, 3)[:9], "cut short"},
		"e-idx3-ubyte":   {idx(8, nil, math.MaxUint32, math.MaxUint32, math.MaxUint32), "too many elements"},
		"f-idx3-ubyte.gz": {
			zipped(t, idx(8, make([]byte, 5), 1<<31, 2, 2)), "the data ends after 5 of"},
		"g-idx3-ubyte.gz": {[]byte("not gzip"), "no gzip file"},
	} {
		path := put(t, dir, name, c.data)
		s, err := Open([]string{path}, Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", name)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, wanted %q", name, err, c.want)
		}
	}
	for _, spec := range []string{"none.npz", "x=none.npy", "images=none-idx3-ubyte.gz", "none"} {
		if _, err := Open([]string{filepath.Join(dir, spec)}, Options{}); !errors.Is(err, fs.ErrNotExist) && spec != "x=none.npy" {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := Open([]string{"x=" + filepath.Join(dir, "none.npy")}, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, specs := range [][]string{{}, {"testdata/stored.npz", "testdata/stored.npz"}, {"testdata/make.py"}, {dir},
		{"x=testdata/bool.npy", "x=testdata/bool.npy"}} {
		if _, err := Open(specs, Options{}); err == nil {
			t.Errorf("%q was opened", specs)
		}
	}
}
