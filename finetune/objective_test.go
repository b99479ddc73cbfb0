package finetune

import (
	"math"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestAutoTakesWhatIsThere(t *testing.T) {
	v := &graph.Value{}
	for _, c := range []struct {
		text string
		h    head
		want [3]float64 // ce, kl, mse
		axis int
		loss string
	}{
		{"auto", head{axis: 1, labels: true}, [3]float64{1, 0, 0}, 1, "ce"},
		{"auto", head{axis: 1, teacher: v}, [3]float64{0, 1, 0}, 1, "kl"},
		{"auto", head{axis: 1, labels: true, teacher: v}, [3]float64{0.8, 0.2, 0}, 1, "0.8*ce+0.2*kl"},
		{"auto", head{axis: -1, labels: true}, [3]float64{0, 0, 1}, -1, "mse"},
		{"auto", head{axis: -1, teacher: v}, [3]float64{0, 0, 1}, -1, "mse"},
		{"auto", head{axis: -1, labels: true, teacher: v}, [3]float64{0, 0, 1}, -1, "mse"},
		{"0.3*ce+0.7*kl", head{axis: 1, labels: true, teacher: v}, [3]float64{0.3, 0.7, 0}, 1, "0.3*ce+0.7*kl"},
		{"ce + 2*mse", head{axis: 1, labels: true, teacher: v}, [3]float64{1, 0, 2}, 1, "ce+2*mse"},
		{"kl", head{axis: -1, teacher: v, shape: []int{8, 5, 30}}, [3]float64{0, 1, 0}, 2, "kl"},
		{"kl", head{axis: -1, teacher: v, shape: []int{8, 5, 30, 30}}, [3]float64{0, 1, 0}, 1, "kl"},
	} {
		h := c.h
		o := &objective{heads: []*head{&h}}
		if err := o.share(c.text); err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := [3]float64{h.ce, h.kl, h.mse}; got != c.want || h.axis != c.axis || o.describe() != c.loss {
			t.Errorf("%s: %v along %d (%s), wanted %v along %d (%s)", c.text, got, h.axis, o.describe(), c.want, c.axis, c.loss)
		}
	}
}

// The output that labels are of is the one whose shape is theirs.
func TestLabelsFindTheirOutput(t *testing.T) {
	f := func(shape ...int) *tensor.Tensor { return tensor.New(tensor.Float32, shape...) }
	i := func(shape ...int) *tensor.Tensor { return tensor.New(tensor.Int64, shape...) }
	hot := f(4, 3)
	for r := range 4 {
		tensor.Data[float32](hot)[3*r+r%3] = 1
	}
	for _, c := range []struct {
		name   string
		labels *tensor.Tensor
		out    []*tensor.Tensor
		index  int // −1: none
		axis   int
		onehot bool
	}{
		{"classes", i(4), []*tensor.Tensor{f(4, 7), f(4, 10)}, 0, 1, false},
		{"a column of classes", i(4, 1), []*tensor.Tensor{f(4, 10)}, 0, 1, false},
		{"tokens", i(4, 6), []*tensor.Tensor{f(4, 10), f(4, 6, 30)}, 1, 2, false},
		{"pixels", i(4, 6, 5), []*tensor.Tensor{f(4, 9, 6, 5)}, 0, 1, false},
		{"one-hot", hot, []*tensor.Tensor{f(4, 3)}, 0, 1, true},
		{"numbers", f(4, 2), []*tensor.Tensor{f(4, 3), f(4, 2)}, 1, -1, false},
		{"a column of numbers", f(4), []*tensor.Tensor{f(4, 1)}, 0, -1, false},
		{"too few", i(4, 9), []*tensor.Tensor{f(4, 10)}, -1, 0, false},
		{"a single score", i(4), []*tensor.Tensor{f(4, 1)}, -1, 0, false},
	} {
		var heads []*head
		for range c.out {
			heads = append(heads, &head{axis: -1})
		}
		err := labelled(heads, c.out, c.labels)
		if (err != nil) != (c.index < 0) {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		for k, h := range heads {
			if h.labels != (k == c.index) || h.labels && (h.axis != c.axis || h.onehot != c.onehot) {
				t.Errorf("%s: output %d: %+v", c.name, k, h)
			}
		}
	}
}

// One-hot labels are the classes that they name, and a label that is none says
// which sample it is of.
func TestClassesOfLabels(t *testing.T) {
	h := &head{name: "y", axis: 1, onehot: true}
	l := layoutOf([]int{2, 3}, 1)
	to := make([]int32, 2)
	batch := &dataset.Batch{First: 40, Rows: 2, Padded: 2}
	if err := h.classes(to, []float64{0, 0, 1, 1, 0, 0}, l, batch); err != nil || to[0] != 2 || to[1] != 0 {
		t.Errorf("%v, %v", to, err)
	}
	h.onehot = false
	for _, bad := range []int64{3, -1} {
		err := h.classes(to, []float64{0, float64(bad)}, l, batch)
		if want := `labels: sample 41 is no class of the 3 that output "y" has`; err == nil || err.Error() != want {
			t.Errorf("label %d: %v", bad, err)
		}
	}
}

// The loss is a mean over the samples that count, and its gradient that of the
// same: padded rows have none.
func TestPaddedRowsDoNotCount(t *testing.T) {
	scores := tensor.Of([]float64{1, 2, 3, 0, 1, 0, 5, 5, 9}, 3, 3)
	run := func(h *head, batch *dataset.Batch, s *tensor.Tensor) (tally, *tensor.Tensor) {
		t.Helper()
		h.name, h.scale = "y", 1
		o := &objective{heads: []*head{h}, temperature: 1}
		d := tensor.New(tensor.Float64, s.Shape()...)
		sum, err := o.measure([]*tensor.Tensor{s}, nil, batch, nil, []*tensor.Tensor{d}, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		return sum, d
	}
	two, err := dataset.Rows(scores, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		h      head
		labels *tensor.Tensor
	}{
		{head{axis: 1, labels: true, ce: 1}, tensor.Of([]int64{0, 1}, 2)},
		{head{axis: -1, labels: true, mse: 1}, tensor.Of([]float64{0, 1, 2, 3, 4, 5}, 2, 3)},
	} {
		a, b := c.h, c.h
		padded, dp := run(&a, &dataset.Batch{Rows: 2, Padded: 3, Labels: c.labels}, scores)
		plain, d := run(&b, &dataset.Batch{Rows: 2, Padded: 2, Labels: c.labels}, two)
		if math.Abs(padded.loss-plain.loss) > 1e-12 || padded.rows != 2 || padded.of != plain.of || padded.right != plain.right {
			t.Errorf("padded %+v, plain %+v", padded, plain)
		}
		for i, g := range tensor.Data[float64](dp) {
			want := 0.0
			if i < 6 {
				want = tensor.Data[float64](d)[i]
			}
			if g != want {
				t.Errorf("gradient %d is %g, wanted %g", i, g, want)
			}
		}
	}
}
