package op

import (
	"bytes"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// poolsOfThree has Go schedule more threads than one for the time of a test.
func poolsOfThree(t *testing.T) []*kernel.Pool {
	t.Helper()
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	t.Cleanup(func() { goruntime.GOMAXPROCS(before) })
	return []*kernel.Pool{nil, kernel.NewPool(3)}
}

// Rows are padded as elements would be one by one, in pieces and out of them.
func TestPadAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, c := range []struct{ shape, before, after []int }{
		{[]int{5}, []int{2}, []int{3}},
		{[]int{5}, []int{-2}, []int{2}},
		{[]int{5}, []int{3}, []int{-4}},
		{[]int{5}, []int{-5}, []int{4}},
		{[]int{50000}, []int{20000}, []int{17000}},
		{[]int{50000}, []int{-20000}, []int{-17000}},
		{[]int{30, 700}, []int{2, 3}, []int{1, -2}},
		{[]int{30, 700}, []int{2, 0}, []int{3, 0}},
		{[]int{4, 9, 50, 20}, []int{0, 2, 3, 0}, []int{0, 1, 2, 0}},
		{[]int{3, 2, 20000}, []int{0, 1, 0}, []int{0, 1, 0}},
		{[]int{1, 3}, []int{1, 1}, []int{1, 1}},
	} {
		x := random(3, c.shape...)
		shape := make([]int, len(c.shape))
		for i := range shape {
			shape[i] = c.before[i] + c.shape[i] + c.after[i]
		}
		value := tensor.Of([]float32{2.5}, 1)
		for _, mode := range []string{"constant", "reflect", "edge", "wrap"} {
			o := &pad{mode: mode, asInput: true}
			want := tensor.New(tensor.Float32, shape...)
			if mode == "constant" {
				if err := fill(nil, "Pad", want, value); err != nil {
					t.Fatal(err)
				}
				if err := copyBox(nil, "Pad", want, x, keptBox(c.shape, shape, c.before)); err != nil {
					t.Fatal(err)
				}
			} else {
				for k, at := range o.positions(c.shape, shape, c.before) {
					tensor.Data[float32](want)[k] = tensor.Data[float32](x)[at]
				}
			}
			pads := tensor.New(tensor.Int64, 2*len(shape))
			for i := range shape {
				tensor.Data[int64](pads)[i], tensor.Data[int64](pads)[len(shape)+i] = int64(c.before[i]), int64(c.after[i])
			}
			for _, p := range pools {
				y := tensor.New(tensor.Float32, shape...)
				in := []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(pads), tensor.ValueOf(value)}
				if err := o.Forward(&Ctx{Pool: p}, in, []tensor.Value{tensor.ValueOf(y)}); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(y.Bytes(), want.Bytes()) {
					t.Errorf("%s of %v by %v and %v on %d threads differs from element by element", mode, c.shape, c.before, c.after, p.Threads())
				}
			}
		}
	}
}

func TestTakeRunsAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, c := range []struct{ outer, d, n, count int }{
		{1, 5, 1, 3}, {3, 5, 1, 40000}, {700, 30, 1, 50}, {7, 30, 3, 5000}, {2, 4, 40000, 3}, {0, 4, 2, 3}, {3, 4, 0, 3}, {3, 4, 2, 0},
	} {
		from := make([]uint16, c.outer*c.d*c.n)
		for i := range from {
			from[i] = uint16(i * 31)
		}
		at := make([]int, c.count)
		for i := range at {
			at[i] = i * 7 % c.d
		}
		var want []uint16
		for i := range c.outer {
			for _, k := range at {
				want = append(want, from[(i*c.d+k)*c.n:(i*c.d+k+1)*c.n]...)
			}
		}
		for _, p := range pools {
			got := make([]uint16, len(want))
			takeRunsAs(p, got, from, c.outer, c.d*c.n, at, c.n, c.n)
			if !slices.Equal(got, want) {
				t.Errorf("%+v on %d threads: other elements are taken", c, p.Threads())
			}
		}
	}
}

// Of many indices the first that is outside is named, however they are shared out.
func TestManyIndices(t *testing.T) {
	pools := poolsOfThree(t)
	at := tensor.New(tensor.Int64, 300, 200, 2)
	v := tensor.Data[int64](at)
	for i := range v {
		v[i] = int64(i%7 - 3)
	}
	x := random(1, 4, 5)
	flat := random(2, 4)
	want := make([]int, len(v))
	for i, n := range v {
		if want[i] = int(n); n < 0 {
			want[i] += 4
		}
	}
	for _, p := range pools {
		if got, err := indices(p, at, 4); err != nil || !slices.Equal(got, want) {
			t.Errorf("indices on %d threads: %v", p.Threads(), err)
		}
	}
	for _, bad := range []int{100, 40001, len(v) - 1} {
		v[bad] = int64(9 + bad)
	}
	for _, p := range pools {
		if _, err := indices(p, at, 4); err == nil || !strings.Contains(err.Error(), "index 109 ") {
			t.Errorf("indices on %d threads: %v", p.Threads(), err)
		}
		if _, _, err := slicePositions(p, x, at, 0); err == nil || !strings.Contains(err.Error(), "index 109 is outside axis 0") {
			t.Errorf("slices on %d threads: %v", p.Threads(), err)
		}
	}
	v[100] = 0
	if _, _, err := slicePositions(pools[1], x, at, 0); err == nil || !strings.Contains(err.Error(), "index 40010 is outside axis 1") {
		t.Errorf("slices: %v", err)
	}
	if _, err := indices(pools[1], flat, 4); err == nil {
		t.Error("indices that are no integers are accepted")
	}
}

// Parts are joined and split as rows would be one by one.
func TestCopyPartsAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, c := range []struct {
		outer, inner int
		sizes        []int
	}{{1, 1, []int{3, 0, 4}}, {1, 1, []int{50000, 7, 30000}}, {300, 3, []int{50, 0, 1, 90}}, {3, 20000, []int{1, 2}}, {0, 4, []int{1}}, {4, 0, []int{1, 1}}} {
		total := 0
		for _, n := range c.sizes {
			total += n
		}
		whole := tensor.New(tensor.Float32, c.outer, total, c.inner)
		for i := range tensor.Data[float32](whole) {
			tensor.Data[float32](whole)[i] = float32(i)
		}
		var want []*tensor.Tensor
		at := 0
		for _, n := range c.sizes {
			part := tensor.New(tensor.Float32, c.outer, n, c.inner)
			to := tensor.Data[float32](part)
			for i := range to {
				row, k := i/(n*c.inner), i%(n*c.inner)
				to[i] = tensor.Data[float32](whole)[row*total*c.inner+at*c.inner+k]
			}
			want, at = append(want, part), at+n
		}
		for _, p := range pools {
			parts := make([]tensor.Value, len(want))
			for i, w := range want {
				parts[i] = tensor.ValueOf(tensor.New(tensor.Float32, w.Shape()...))
			}
			parts[len(parts)-1] = tensor.Value{} // one that nobody wants
			if err := copyParts(p, "Split", whole, 1, parts, c.sizes, false); err != nil {
				t.Fatal(err)
			}
			for i, v := range parts[:len(parts)-1] {
				if !bytes.Equal(v.Tensor.Bytes(), want[i].Bytes()) {
					t.Errorf("%+v on %d threads: part %d differs", c, p.Threads(), i)
				}
			}
			for i, w := range want {
				parts[i] = tensor.ValueOf(w)
			}
			joined := tensor.New(tensor.Float32, whole.Shape()...)
			if err := copyParts(p, "Concat", joined, 1, parts, nil, true); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(joined.Bytes(), whole.Bytes()) {
				t.Errorf("%+v on %d threads: joined otherwise", c, p.Threads())
			}
		}
	}
	if err := copyParts(nil, "Concat", tensor.New(tensor.Int4, 2), 0, nil, nil, true); err == nil {
		t.Error("elements that share bytes are copied")
	}
}
