package op

import (
	"math"
	goruntime "runtime"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Products of matrices give what the definition gives, whatever the order of axes; and are taken where they
// can be.
func TestEinsumContracts(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	p := kernel.NewPool(3)
	for _, c := range []struct {
		equation string
		a, b     []int
		products bool
	}{
		{"ij,jk->ik", []int{5, 7}, []int{7, 4}, true},
		{"ij,jk->ki", []int{5, 7}, []int{7, 4}, true},
		{"ji,kj->ik", []int{7, 5}, []int{4, 7}, true},
		{"bij,bkj->bik", []int{3, 5, 7}, []int{3, 4, 7}, true},
		{"bihd,bjhd->bhij", []int{2, 5, 3, 8}, []int{2, 6, 3, 8}, true},
		{"bhij,bjhd->bihd", []int{2, 3, 5, 6}, []int{2, 6, 3, 8}, true},
		{"abc,dbe->aecd", []int{2, 3, 4}, []int{5, 3, 6}, true},
		{"xay,bya->bx", []int{3, 4, 5}, []int{6, 5, 4}, true},
		{"...ij,...jk->...ik", []int{2, 1, 3, 4}, []int{5, 4, 6}, true},
		{"...ij,...jk->ik...", []int{2, 5, 3, 4}, []int{2, 5, 4, 6}, true},
		{"i,j->ij", []int{9}, []int{7}, true},
		{"ij,ij->", []int{9, 8}, []int{9, 8}, true},
		{"iij,jk->ik", []int{5, 5, 7}, []int{7, 4}, true},
		{"ij,jk->ik", []int{5, 1}, []int{7, 4}, false}, // B sums alone
		{"ij,jk->ik", []int{0, 7}, []int{7, 4}, false},
		{"ij,jk->ik", []int{5, 0}, []int{0, 4}, false},
		{"ij,kl->ik", []int{5, 7}, []int{3, 4}, false},
		{"i,i->i", []int{40}, []int{40}, false},
		{"bihd,bjhd->bhij", []int{3, 40, 4, 64}, []int{3, 50, 4, 64}, true},   // large enough to go without copies
		{"bihd,bjhd->bhij", []int{2, 300, 2, 64}, []int{2, 250, 2, 64}, true}, // each product is
		{"bihd,bjhd->bhji", []int{3, 40, 4, 64}, []int{3, 50, 4, 64}, true},
		{"bhij,bjhd->bihd", []int{3, 4, 40, 50}, []int{3, 50, 4, 64}, true},
		{"bhij,bjhd->bdhi", []int{3, 4, 40, 50}, []int{3, 50, 4, 64}, true},
		{"abhij,abjhd->abhid", []int{2, 2, 4, 40, 50}, []int{2, 2, 50, 4, 64}, true},
		{"abcd,abce->abde", []int{7, 11, 13, 6}, []int{7, 11, 13, 5}, true},
	} {
		a, b := random(1, c.a...), random(2, c.b...)
		for i := range tensor.Data[float32](a) { // integers, of which no sum is rounded
			tensor.Data[float32](a)[i] = float32(math.Round(float64(tensor.Data[float32](a)[i]) * 20))
		}
		for i := range tensor.Data[float32](b) {
			tensor.Data[float32](b)[i] = float32(math.Round(float64(tensor.Data[float32](b)[i]) * 20))
		}
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int32, tensor.Int64} {
			in := make([]*tensor.Tensor, 2)
			for i, x := range []*tensor.Tensor{a, b} {
				in[i] = tensor.New(d, x.Shape()...)
				if err := castTo(nil, x, in[i]); err != nil {
					t.Fatal(err)
				}
			}
			test := opTest{name: c.equation, op: "Einsum", opset: 12, attrs: []*graph.Attr{attrString("equation", c.equation)}, in: in}
			got := test.eval(t, p)[0].Tensor
			o, err := parseOp(test, 1)
			if err != nil {
				t.Fatal(err)
			}
			values := []tensor.Value{tensor.ValueOf(in[0]), tensor.ValueOf(in[1])}
			s, err := o.(*einsum).summation(values)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := s.contraction(); ok != c.products {
				t.Errorf("%s of %v and %v: products %v, wanted %v", c.equation, c.a, c.b, ok, c.products)
			}
			want := tensor.New(d, got.Shape()...)
			switch d {
			case tensor.Float32:
				sumTerms[float32, float64](&Ctx{}, s, values, want)
			case tensor.Float64:
				sumTerms[float64, float64](&Ctx{}, s, values, want)
			case tensor.Int32:
				sumTerms[int32, int32](&Ctx{}, s, values, want)
			case tensor.Int64:
				sumTerms[int64, int64](&Ctx{}, s, values, want)
			}
			x, _ := tensor.Float64s(got)
			y, _ := tensor.Float64s(want)
			if !slices.Equal(x, y) {
				t.Errorf("%s of %v%v and %v: other sums than by the definition", c.equation, d, c.a, c.b)
			}
		}
	}
}
