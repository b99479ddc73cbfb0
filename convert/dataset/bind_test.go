package dataset

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

func numbers(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

// shapes is the shapes of all batches.
func shapes(t *testing.T, b *Bound, size int) string {
	t.Helper()
	var out []string
	for batch, err := range b.Batches(size) {
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range batch.Inputs {
			out = append(out, x.String())
		}
		out = append(out, fmt.Sprint(batch.Rows))
	}
	return strings.Join(out, " ")
}

func TestShapes(t *testing.T) {
	dir := t.TempDir()
	x := save(t, dir, "x.npy", tensor.Of(numbers(5*6), 5, 2, 3))
	for _, c := range []struct {
		input, want string
		dims        map[string]int
	}{
		{"float32 N 2 3", "float32[2 2 3] 2 float32[2 2 3] 2 float32[1 2 3] 1", nil},
		{"float32 N 2 T", "float32[2 2 3] 2 float32[2 2 3] 2 float32[1 2 3] 1", nil},
		{"float32 N 6", "float32[2 6] 2 float32[2 6] 2 float32[1 6] 1", nil},
		{"float32 N 1 6", "float32[2 1 6] 2 float32[2 1 6] 2 float32[1 1 6] 1", nil},
		{"float32 1 2 3", strings.TrimSpace(strings.Repeat("float32[1 2 3] 1 ", 5)), nil},
		{"float32 3 6", "float32[3 6] 3 float32[3 6] 2", nil},
		{"float32 6", strings.TrimSpace(strings.Repeat("float32[6] 1 ", 5)), nil},
		{"float32 N D", "float32[4 6] 4 float32[4 6] 1", map[string]int{"N": 4, "D": 6}},
		{"float32 N D", "", nil},
		{"float32 N 5", "", nil},
		{"float32 N 2 T", "", map[string]int{"T": 4}},
		{"float32", "", nil},
		{"float32 0 6", "", nil},
		{"float16 N 6", "", nil},
		{"int64 N 6", "", nil},
		{"float64 N 6", "float64[2 6] 2 float64[2 6] 2 float64[1 6] 1", nil},
	} {
		s, err := Open([]string{"x=" + x}, Options{Dims: c.dims})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(model(t, "x", typ(c.input)))
		switch {
		case c.want == "":
			if err == nil {
				t.Errorf("%s was bound", c.input)
			} else if !strings.Contains(err.Error(), strings.Fields(c.input)[0]) || !strings.Contains(err.Error(), "float32") {
				t.Errorf("%s: the error does not name both sides: %v", c.input, err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.input, err)
		default:
			if got := shapes(t, b, 2); got != c.want {
				t.Errorf("%s: %s, wanted %s", c.input, got, c.want)
			}
		}
		s.Close()
	}
}

// The rows that fill a fixed batch repeat the last one.
func TestPadding(t *testing.T) {
	x := save(t, t.TempDir(), "x.npy", tensor.Of(numbers(3), 3, 1))
	s, err := Open([]string{x}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Bind(model(t, "x", typ("float32 5 1")))
	if err != nil {
		t.Fatal(err)
	}
	for batch, err := range b.Batches(100) {
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(tensor.Data[float32](batch.Inputs[0])); got != "[0 1 2 2 2]" || batch.Rows != 3 || batch.Padded != 5 {
			t.Errorf("%s, %d rows of %d", got, batch.Rows, batch.Padded)
		}
	}
}

func TestTypes(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		data  *tensor.Tensor
		input string
		scale float64
		want  string // the elements; "": refused
	}{
		{tensor.Of([]uint8{0, 51, 255}, 3), "float32 N", 0, "[0 0.2 1]"},
		{tensor.Of([]uint8{0, 51, 255}, 3), "float32 N", 2, "[0 102 510]"},
		{tensor.Of([]uint8{0, 51, 255}, 3), "float64 N", 0, "[0 0.2 1]"},
		{tensor.Of([]uint8{0, 51, 255}, 3), "uint8 N", 2, "[0 51 255]"},
		{tensor.Of([]uint8{0, 51, 255}, 3), "int64 N", 0, "[0 51 255]"},
		{tensor.Of([]uint8{0, 51, 255}, 3), "int8 N", 0, ""},
		{tensor.Of([]int32{-3, 4}, 2), "int64 N", 0, "[-3 4]"},
		{tensor.Of([]int32{-3, 4}, 2), "uint64 N", 0, ""},
		{tensor.Of([]int64{-3, 4}, 2), "int32 N", 0, ""},
		{tensor.Of([]int64{-3, 4}, 2), "float32 N", 0, ""},
		{tensor.Of([]int64{-3, 4}, 2), "float32 N", 0.5, "[-1.5 2]"},
		{tensor.Of([]float32{-3, 4}, 2), "float32 N", 0.5, "[-1.5 2]"},
		{tensor.Of([]float32{-3, 4}, 2), "float64 N", 0, "[-3 4]"},
		{tensor.Of([]float64{-3, 4}, 2), "float32 N", 0, ""},
		{tensor.Of([]bool{true, false}, 2), "float32 N", 0, ""},
		{tensor.Of([]float32{1, 0}, 2), "bool N", 0, ""},
		{tensor.Of([]string{"a"}, 1), "string N", 0, "[a]"},
	} {
		name := fmt.Sprintf("%v into %s, scale %g", c.data, c.input, c.scale)
		s, err := Open([]string{save(t, dir, "x.npy", c.data)}, Options{Scale: c.scale})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bind(model(t, "x", typ(c.input)))
		if (err == nil) != (c.want != "") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			for batch, err := range b.Batches(10) {
				if err != nil {
					t.Fatal(err)
				}
				x := batch.Inputs[0]
				got := fmt.Sprint(x.DType())
				if x.DType() == tensor.String {
					got = fmt.Sprint(tensor.Data[string](x))
				} else if v, err := tensor.Float64s(x); err == nil {
					for i := range v {
						v[i] = math.Round(v[i]*1e6) / 1e6
					}
					got = fmt.Sprint(v)
				}
				if got != c.want || x.DType() != typ(c.input).DType {
					t.Errorf("%s: %v %s", name, x, got)
				}
			}
		}
		s.Close()
	}
}

func TestArraysAndInputs(t *testing.T) {
	dir := t.TempDir()
	a := save(t, dir, "a.npy", tensor.Of(numbers(6), 3, 2))
	b := save(t, dir, "b.npy", tensor.Of(numbers(3), 3))
	short := save(t, dir, "short.npy", tensor.Of(numbers(2), 2))
	one := save(t, dir, "one.npy", tensor.Scalar(float32(7)))
	two := []any{"a", typ("float32 N 2"), "b", typ("float32 N")}
	for _, c := range []struct {
		specs  []string
		labels string
		inputs []any
		want   string // part of the error; "": none
	}{
		{[]string{"a=" + a, "b=" + b}, "", two, ""},
		{[]string{"b=" + b, "a=" + a}, "", two, ""},
		{[]string{"a=" + a}, "", two, `no array for the input "b"`},
		{[]string{"a=" + a, "b=" + short}, "", two, `has 2 rows, "a" (`},
		{[]string{"a=" + a, "b=" + one}, "", []any{"a", typ("float32 N 2"), "b", typ("float32")}, ""},
		{[]string{"z=" + a, "labels=" + b}, "", two[:2], ""},
		{[]string{"z=" + a, "y=" + b}, "y", two[:2], ""},
		{[]string{"z=" + a, "y=" + b}, "", two[:2], `no array for the input "a"`},
		{[]string{"z=" + a}, "y", two[:2], `no array "y" for the labels`},
		{[]string{"z=" + a, "labels=" + short}, "", two[:2], `) have 2: wanted as many`},
	} {
		s, err := Open(c.specs, Options{Labels: c.labels})
		if err != nil {
			t.Fatal(err)
		}
		bound, err := s.Bind(model(t, c.inputs...))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, wanted %q", c.specs, err, c.want)
		}
		if err == nil && bound.Rows() != 3 {
			t.Errorf("%v: %d rows", c.specs, bound.Rows())
		}
		s.Close()
	}
}
