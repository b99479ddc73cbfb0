package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// Pick gives rows as Batches does, converted and padded.
func TestPickGivesTheRowsOfBatches(t *testing.T) {
	const rows = 7
	arrays := []Array{
		{"x", tensor.New(tensor.Uint8, rows, 2, 3)},
		{"y", tensor.New(tensor.Float32, rows, 2)},
		{"z", tensor.New(tensor.Int32, rows)},
		{"labels", tensor.New(tensor.Uint8, rows)},
	}
	for i, v := 0, tensor.Data[uint8](arrays[0].Tensor); i < len(v); i++ {
		v[i] = uint8(i * 5)
	}
	for i, v := 0, tensor.Data[float32](arrays[1].Tensor); i < len(v); i++ {
		v[i] = float32(i) / 3
	}
	for i := range rows {
		tensor.Data[int32](arrays[2].Tensor)[i] = int32(i - 3)
		tensor.Data[uint8](arrays[3].Tensor)[i] = uint8(i)
	}
	path := filepath.Join(t.TempDir(), "x.npz")
	var b bytes.Buffer
	if err := WriteNPZ(&b, arrays); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fixed := range []int{0, 4} {
		g := graph.New("g", nil)
		batch := graph.Symbol("N")
		if fixed > 0 {
			batch = graph.Size(fixed)
		}
		for _, in := range []struct {
			name  string
			dtype tensor.DType
			shape []graph.Dim
		}{
			{"x", tensor.Float32, []graph.Dim{batch, graph.Size(6)}},
			{"y", tensor.Float64, []graph.Dim{batch, graph.Size(2)}},
			{"z", tensor.Int64, []graph.Dim{batch}},
		} {
			if _, err := g.AddInput(in.name, graph.TensorType(in.dtype, in.shape...)); err != nil {
				t.Fatal(err)
			}
		}
		set, err := Open([]string{path}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		bound, err := set.Bind(g)
		if err != nil {
			t.Fatal(err)
		}
		var all Batch
		for one, err := range bound.Batches(rows) {
			if err != nil {
				t.Fatal(err)
			}
			all = join(t, all, one)
		}
		p := bound.Picker()
		if p.Units() != rows || p.Most() != fixed || !p.HasLabels() {
			t.Fatalf("%d units, at most %d", p.Units(), p.Most())
		}
		var got Batch
		for _, units := range [][]int{{3, 1, 6}, {0, 0, 5}, {2}} {
			before := got.Inputs
			if err := p.Pick(units, &got); err != nil {
				t.Fatal(err)
			}
			if before != nil && len(units) == 3 && before[0] != got.Inputs[0] {
				t.Error("the memory of an equal batch is not used again")
			}
			padded := max(fixed, len(units))
			if got.Rows != len(units) || got.Padded != padded || got.First != units[0] {
				t.Fatalf("%v: %d rows padded to %d from %d", units, got.Rows, got.Padded, got.First)
			}
			for i, x := range got.Inputs {
				for k := range padded {
					want, err := Rows(all.Inputs[i], units[min(k, len(units)-1)], units[min(k, len(units)-1)]+1)
					if err != nil {
						t.Fatal(err)
					}
					have, err := Rows(x, k, k+1)
					if err != nil {
						t.Fatal(err)
					}
					if !tensor.Equal(have, want) {
						t.Errorf("input %d, row %d of %v differs", i, k, units)
					}
				}
			}
			for k, u := range units {
				if tensor.Data[uint8](got.Labels)[k] != uint8(u) {
					t.Errorf("label of %d is %d", u, tensor.Data[uint8](got.Labels)[k])
				}
			}
		}
		for _, bad := range [][]int{{}, {7}, {-1}, {0, 1, 2, 3, 4}} {
			if err := p.Pick(bad, &got); err == nil && (fixed > 0 || len(bad) < 5) {
				t.Errorf("%v is picked", bad)
			}
		}
	}
}

// join is a with the rows of b that count.
func join(t *testing.T, a, b Batch) Batch {
	if a.Inputs == nil {
		a.Inputs = make([]*tensor.Tensor, len(b.Inputs))
	}
	for i, x := range b.Inputs {
		each := len(x.Bytes()) / b.Padded
		bytes := append([]byte{}, x.Bytes()[:each*b.Rows]...)
		rows := b.Rows
		if a.Inputs[i] != nil {
			bytes, rows = append(append([]byte{}, a.Inputs[i].Bytes()...), bytes...), rows+a.Inputs[i].Shape()[0]
		}
		all, err := tensor.FromBytes(x.DType(), append([]int{rows}, x.Shape()[1:]...), bytes)
		if err != nil {
			t.Fatal(err)
		}
		a.Inputs[i] = all
	}
	return a
}

// A Sample is some of the rows, in order, the same for the same seed.
func TestSampleIsSomeOfTheRows(t *testing.T) {
	const rows = 50
	x := tensor.New(tensor.Float32, rows, 1)
	labels := tensor.New(tensor.Int64, rows)
	for i := range rows {
		tensor.Data[float32](x)[i], tensor.Data[int64](labels)[i] = float32(i), int64(i)
	}
	path := filepath.Join(t.TempDir(), "x.npz")
	var b bytes.Buffer
	if err := WriteNPZ(&b, []Array{{"x", x}, {"labels", labels}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	g := graph.New("g", nil)
	if _, err := g.AddInput("x", graph.TensorType(tensor.Float32, graph.Symbol("N"), graph.Size(1))); err != nil {
		t.Fatal(err)
	}
	set, err := Open([]string{path}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	bound, err := set.Bind(g)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b *Bound) (out []float32) {
		first := 0
		for batch, err := range b.Batches(8) {
			if err != nil {
				t.Fatal(err)
			}
			if batch.First != first || batch.Rows > 8 {
				t.Errorf("%d rows from %d, wanted them from %d", batch.Rows, batch.First, first)
			}
			first += batch.Rows
			for i, v := range tensor.Data[float32](batch.Inputs[0]) {
				if int64(v) != tensor.Data[int64](batch.Labels)[i] {
					t.Errorf("row %g has the label %d", v, tensor.Data[int64](batch.Labels)[i])
				}
				out = append(out, v)
			}
		}
		return out
	}
	some := bound.Sample(20, 1)
	got := read(some)
	if some.Rows() != 20 || len(got) != 20 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 20 {
		t.Errorf("%d rows: %v", some.Rows(), got)
	}
	if got[19] < 25 {
		t.Errorf("the rows are the first ones: %v", got)
	}
	if !slices.Equal(read(bound.Sample(20, 1)), got) || slices.Equal(read(bound.Sample(20, 2)), got) {
		t.Error("the seed does not decide")
	}
	among := []int{3, 5, 7, 11, 13, 17}
	if few := read(bound.SampleOf(among, 4, 1)); len(few) != 4 || slices.ContainsFunc(few, func(v float32) bool { return !slices.Contains(among, int(v)) }) {
		t.Errorf("4 rows of %v: %v", among, few)
	}
	if all := read(bound.SampleOf(among, 9, 1)); !slices.Equal(all, []float32{3, 5, 7, 11, 13, 17}) {
		t.Errorf("all rows of %v: %v", among, all)
	}
	if bound.Rows() != rows || bound.Sample(rows, 1) != bound {
		t.Error("all of the rows are not the data itself")
	}
}
