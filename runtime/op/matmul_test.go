package op

import (
	"fmt"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// naiveGemm is alpha·A'·B' + beta·C by the definition, in float64.
func naiveGemm(a, b, c *tensor.Tensor, alpha, beta float64, transA, transB bool) *tensor.Tensor {
	at := func(t *tensor.Tensor, i, j int, trans bool) float64 {
		if trans {
			i, j = j, i
		}
		return float64(tensor.Data[float32](t)[i*t.Shape()[1]+j])
	}
	m, k, n := a.Shape()[0], a.Shape()[1], b.Shape()[1]
	if transA {
		m, k = k, m
	}
	if transB {
		n = b.Shape()[0]
	}
	y := tensor.New(tensor.Float32, m, n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += at(a, i, l, transA) * at(b, l, j, transB)
			}
			sum *= alpha
			if c != nil {
				rows, cols := c.Len()/c.Shape()[c.Rank()-1], c.Shape()[c.Rank()-1]
				sum += beta * float64(tensor.Data[float32](c)[min(i, rows-1)*cols+min(j, cols-1)])
			}
			tensor.Data[float32](y)[i*n+j] = float32(sum)
		}
	}
	return y
}

func TestGemm(t *testing.T) {
	var tests []opTest
	for _, transA := range []bool{false, true} {
		for _, transB := range []bool{false, true} {
			a, b := random(1, 5, 37), random(2, 37, 18)
			flags := []*graph.Attr{attrFloat("alpha", 0.5), attrFloat("beta", 2)}
			if transA {
				a = random(1, 37, 5)
				flags = append(flags, attrInt("transA", 1))
			}
			if transB {
				b = random(2, 18, 37)
				flags = append(flags, attrInt("transB", 1))
			}
			for _, shape := range [][]int{{5, 18}, {18}, {5, 1}, {1, 18}, {1}} {
				c := random(3, shape...)
				tests = append(tests, opTest{name: fmt.Sprint(transA, transB, shape), op: "Gemm", opset: 13, attrs: flags, tol: approximate,
					in: []*tensor.Tensor{a, b, c}, want: []*tensor.Tensor{naiveGemm(a, b, c, 0.5, 2, transA, transB)}})
			}
		}
	}
	a, b := random(1, 3, 4), random(2, 4, 2)
	plain := []*tensor.Tensor{naiveGemm(a, b, nil, 1, 0, false, false)}
	tests = append(tests,
		opTest{name: "without C", op: "Gemm", opset: 11, in: []*tensor.Tensor{a, b}, want: plain, tol: closeTo},
		opTest{name: "C left out", op: "Gemm", opset: 13, in: []*tensor.Tensor{a, b, nil}, want: plain, tol: closeTo},
		opTest{name: "C is required", op: "Gemm", opset: 9, in: []*tensor.Tensor{a, b}, err: "found 2 inputs, wanted 3"},
		opTest{name: "integers", op: "Gemm", opset: 13, want: []*tensor.Tensor{tensor.Of([]int32{12, 15}, 1, 2)},
			in: []*tensor.Tensor{tensor.Of([]int32{1, 2}, 1, 2), tensor.Of([]int32{1, 2, 3, 4}, 2, 2), list[int32](5, 5)}},
		opTest{name: "float16", op: "Gemm", opset: 13, tol: half, want: []*tensor.Tensor{as(tensor.Float16, plain[0])},
			in: []*tensor.Tensor{as(tensor.Float16, a), as(tensor.Float16, b)}},
		opTest{name: "empty sum", op: "Gemm", opset: 13, in: []*tensor.Tensor{counting(2, 0), counting(0, 2), list[float32](1, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{1, 2, 1, 2}, 2, 2)}},
		opTest{name: "unlike", op: "Gemm", opset: 13, in: []*tensor.Tensor{counting(32, 120), counting(84, 100)},
			err: "A[32 120] and B[84 100] do not multiply"},
		opTest{name: "unlike transposed", op: "Gemm", opset: 13, attrs: []*graph.Attr{attrInt("transB", 1)},
			in: []*tensor.Tensor{counting(32, 120), counting(84, 100)}, err: "do not multiply (B transposed)"},
		opTest{name: "rank", op: "Gemm", opset: 13, in: []*tensor.Tensor{counting(2, 3, 4), counting(4, 5)}, err: "A[2 3 4] has rank 3, wanted 2"},
		opTest{name: "C does not fit", op: "Gemm", opset: 13, in: []*tensor.Tensor{a, b, counting(3)}, err: "C[3] does not broadcast to [3 2]"},
	)
	runOpTests(t, tests)
}

func TestMatMul(t *testing.T) {
	// A batch of [2 1] over matrices [3 4], and one of [3] over [4 5].
	a, b := random(1, 2, 1, 3, 4), random(2, 3, 4, 5)
	want := tensor.New(tensor.Float32, 2, 3, 3, 5)
	for i := range 2 {
		for j := range 3 {
			am := tensor.Of(tensor.Data[float32](a)[i*12:i*12+12], 3, 4)
			bm := tensor.Of(tensor.Data[float32](b)[j*20:j*20+20], 4, 5)
			copy(tensor.Data[float32](want)[(i*3+j)*15:], tensor.Data[float32](naiveGemm(am, bm, nil, 1, 0, false, false)))
		}
	}
	m, v, w := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3), list[float32](1, 0, -1), list[float32](1, 10)
	runOpTests(t, []opTest{
		{name: "batches broadcast", op: "MatMul", opset: 13, in: []*tensor.Tensor{a, b}, want: []*tensor.Tensor{want}, tol: closeTo},
		{name: "float64", op: "MatMul", opset: 9, in: []*tensor.Tensor{as(tensor.Float64, a), as(tensor.Float64, b)},
			want: []*tensor.Tensor{as(tensor.Float64, want)}, tol: closeTo},
		{name: "stack times matrix", op: "MatMul", opset: 13, in: []*tensor.Tensor{counting(2, 2, 2), tensor.Of([]float32{0, 1, 1, 0}, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{1, 0, 3, 2, 5, 4, 7, 6}, 2, 2, 2)}},
		{name: "matrix times stack", op: "MatMul", opset: 13, in: []*tensor.Tensor{tensor.Of([]float32{0, 1, 1, 0}, 2, 2), counting(2, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{2, 3, 0, 1, 6, 7, 4, 5}, 2, 2, 2)}},
		{name: "column", op: "MatMul", opset: 13, in: []*tensor.Tensor{m, v}, want: []*tensor.Tensor{list[float32](-2, -2)}},
		{name: "row", op: "MatMul", opset: 13, in: []*tensor.Tensor{w, m}, want: []*tensor.Tensor{list[float32](41, 52, 63)}},
		{name: "inner", op: "MatMul", opset: 13, in: []*tensor.Tensor{v, v}, want: []*tensor.Tensor{tensor.Scalar[float32](2)}},
		{name: "row times stack", op: "MatMul", opset: 13, in: []*tensor.Tensor{list[float32](1, 1), counting(2, 2, 2)},
			want: []*tensor.Tensor{tensor.Of([]float32{2, 4, 10, 12}, 2, 2)}},
		{name: "integers wrap", op: "MatMul", opset: 13, in: []*tensor.Tensor{list[uint32](1 << 31), tensor.Of([]uint32{3}, 1, 1)},
			want: []*tensor.Tensor{list[uint32](1 << 31)}},
		{name: "empty batch", op: "MatMul", opset: 13, in: []*tensor.Tensor{counting(0, 2, 3), counting(3, 4)}, want: []*tensor.Tensor{counting(0, 2, 4)}},
		{name: "empty sum", op: "MatMul", opset: 13, in: []*tensor.Tensor{counting(2, 1, 0), counting(2, 0, 2)},
			want: []*tensor.Tensor{tensor.New(tensor.Float32, 2, 1, 2)}},
		{name: "unlike", op: "MatMul", opset: 13, in: []*tensor.Tensor{m, w}, err: "A[2 3] and B[2] do not multiply"},
		{name: "unlike batches", op: "MatMul", opset: 13, in: []*tensor.Tensor{counting(2, 1, 3), counting(3, 3, 1)}, err: "[2] and [3] do not broadcast"},
		{name: "scalar", op: "MatMul", opset: 13, in: []*tensor.Tensor{m, tensor.Scalar[float32](1)}, err: "a scalar does not multiply"},
	})
}

// TestMatMulThreads: a product shared out among threads has the same bits.
func TestMatMulThreads(t *testing.T) {
	c := opTest{op: "MatMul", opset: 13, in: []*tensor.Tensor{random(1, 64, 48, 96), random(2, 64, 96, 80)}}
	o, err := parseOp(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	in := []tensor.Value{tensor.ValueOf(c.in[0]), tensor.ValueOf(c.in[1])}
	one, err := Eval(&Ctx{}, o, in, 1)
	if err != nil {
		t.Fatal(err)
	}
	four, err := Eval(&Ctx{Pool: kernel.NewPool(4)}, o, in, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(one[0].Tensor, four[0].Tensor) {
		t.Error("four threads give other bits than one")
	}
}
