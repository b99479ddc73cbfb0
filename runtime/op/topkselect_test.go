package op

import (
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// What is selected is what sorting the whole gives, of every type, with equal elements, NaN and both zeros.
func TestTopKSelects(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	p := kernel.NewPool(3)
	r := rand.New(rand.NewPCG(1, 2))
	types := []tensor.DType{
		tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Bool, tensor.Int8, tensor.Int16,
		tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
	}
	for _, c := range []struct {
		shape   []int
		axis, k int
	}{
		{[]int{1}, 0, 1}, {[]int{7}, 0, 0}, {[]int{7}, 0, 7}, {[]int{40, 33}, 1, 5}, {[]int{33, 40}, 0, 33}, {[]int{3, 50, 4}, 1, 9},
		{[]int{0, 4}, 1, 2}, {[]int{3, 0}, 1, 0}, {[]int{2, 3*elementGrain + 3}, 1, 6}, {[]int{2*elementGrain + 1, 2}, 0, 1000},
	} {
		for _, d := range types {
			x := tensor.New(d, c.shape...)
			for i := range x.Bytes() { // few values, so that many are equal
				x.Bytes()[i] = byte(r.Uint32())
				if d == tensor.Bool {
					x.Bytes()[i] &= 1
				}
			}
			if d == tensor.Float32 {
				few := []float32{0, float32(math.Copysign(0, -1)), nan32, -nan32, inf32, -inf32, 1, -1, 1e-40, -1e-40}
				for i := range tensor.Data[float32](x) {
					tensor.Data[float32](x)[i] = few[r.IntN(len(few))]
				}
			}
			for _, largest := range []bool{true, false} {
				o := &topK{axis: c.axis, k: c.k, largest: largest}
				shape := append([]int{}, c.shape...)
				shape[c.axis] = c.k
				var got, want []tensor.Value
				for range 2 {
					got = append(got, tensor.ValueOf(tensor.New(d, shape...)))
					want = append(want, tensor.ValueOf(tensor.New(d, shape...)))
				}
				got[1], want[1] = tensor.ValueOf(tensor.New(tensor.Int64, shape...)), tensor.ValueOf(tensor.New(tensor.Int64, shape...))
				if err := o.plain(x, c.axis, want); err != nil {
					t.Fatal(err)
				}
				if err := o.Forward(&Ctx{Pool: p}, []tensor.Value{tensor.ValueOf(x)}, got); err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if string(got[i].Tensor.Bytes()) != string(want[i].Tensor.Bytes()) {
						t.Fatalf("the %d of axis %d of %v, largest %v: output %d is not that of sorting", c.k, c.axis, x, largest, i)
					}
				}
			}
		}
	}
}
