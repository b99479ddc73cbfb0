package convert

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A spelling is a small model with fully connected layers written in one way.
type spelling struct {
	name   string
	build  func(b *modeller)
	layers []string // names of the layers that are found
	in     int      // of the first
	out    int
	ir     int64        // 0: 8
	opsets []int64      // nil: several from 7 to 22
	dtype  tensor.DType // 0: float32
	// fed is for models whose inputs do not declare their shape.
	fed []int
}

var batch = map[string]int{"N": 3, "T": 2}

// spellings is every way of writing a fully connected layer that is compressed.
var spellings = []spelling{
	{name: "Gemm", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c", 6))))
	}},
	{name: "Gemm transB", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 6, 10), b.weight("c", 6)), attrInt("transB", 1)))
	}},
	{name: "Gemm transA", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", 10, "N"), b.weight("w", 10, 6), b.weight("c", 1, 6)), attrInt("transA", 1)))
	}},
	{name: "Gemm transA transB", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", 10, "N"), b.weight("w", 6, 10), b.weight("c", 1, 1)),
			attrInt("transA", 1), attrInt("transB", 1)))
	}},
	{name: "Gemm alpha beta", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c", 6)),
			attrFloat("alpha", 0.25), attrFloat("beta", -3)))
	}},
	{name: "Gemm beta, C used elsewhere", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		c := b.weight("c", 6)
		y := b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), c), attrFloat("beta", 2))
		b.output(b.op("Add", "z", list(y, c)))
	}},
	{name: "Gemm beta 0", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c", 6)), attrFloat("beta", 0)))
	}},
	{name: "Gemm without C", layers: []string{"n_y"}, in: 10, out: 6, opsets: []int64{11, 13, 22}, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6))))
	}},
	{name: "Gemm with C left out", layers: []string{"n_y"}, in: 10, out: 6, opsets: []int64{11, 13, 22}, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), nil)))
	}},
	{name: "Gemm with C computed", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.input("c", "N", 6)), attrFloat("beta", 0.5)))
	}},
	{name: "Gemm with C a scalar", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c")), attrFloat("beta", 0.5)))
	}},
	{name: "Gemm weight on the left", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.weight("w", 6, 10), b.input("x", 10, "N"), b.weight("c", 6, 1)), attrFloat("beta", 2)))
	}},
	{name: "Gemm weight on the left, both transposed", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.weight("w", 10, 6), b.input("x", 3, 10), b.weight("c", 6, 3)),
			attrInt("transA", 1), attrInt("transB", 1)))
	}},
	{name: "MatMul", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6))))
	}},
	{name: "MatMul Add", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "Add MatMul, bias first", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(b.weight("c", 1, 6), h)))
	}},
	{name: "MatMul Add of the wrong axis", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", 6, 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6, 1))))
	}},
	{name: "MatMul Add that raises the rank", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 1, 1, 6))))
	}},
	{name: "MatMul read twice", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))), b.op("Mul", "z", list(h, h)))
	}},
	{name: "MatMul of an output", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(h, b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "MatMul rank 3", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 4, 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "MatMul rank 3, two dynamic", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", "T", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(b.weight("c", 6), h)))
	}},
	{name: "MatMul rank 4", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 1, "T", 10), b.weight("w", 10, 6))))
	}},
	{name: "MatMul rank 1", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "MatMul rank 1 on the right", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.weight("w", 6, 10), b.input("x", 10))))
	}},
	{name: "MatMul unknown rank", layers: []string{"n_h"}, in: 10, out: 6, fed: []int{3, 2, 10}, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.unranked("x"), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "MatMul weight on the left", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.weight("w", 6, 10), b.input("x", 10, "N")))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6, 1))))
	}},
	{name: "MatMul weight on the left, rank 4", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.weight("w", 6, 10), b.input("x", "N", 2, 10, "T")))
		b.output(b.op("Add", "y", list(h, b.weight("c", 1, 6, 1))))
	}},
	{name: "MatMul weight on the left, static", layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.weight("w", 6, 10), b.input("x", "N", 10, 5)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 5))))
	}},
	{name: "MatMul weight with leading 1", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", "N", "T", 10), b.weight("w", 1, 10, 6))))
	}},
	{name: "a prime number of outputs", layers: []string{"n_y"}, in: 11, out: 7, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 11), b.weight("w", 7, 11), b.weight("c", 7)), attrInt("transB", 1)))
	}},
	{name: "primes at rank 3", layers: []string{"n_y"}, in: 11, out: 7, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", "N", "T", 11), b.weight("w", 11, 7))))
	}},
	{name: "primes at unknown rank", layers: []string{"n_y"}, in: 11, out: 7, fed: []int{2, 11}, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.unranked("x"), b.weight("w", 11, 7))))
	}},
	{name: "primes at rank 1", layers: []string{"n_y"}, in: 11, out: 7, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", 11), b.weight("w", 11, 7))))
	}},
	{name: "primes in columns", layers: []string{"n_y"}, in: 11, out: 7, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.weight("w", 7, 11), b.input("x", "N", 11, "T"))))
	}},
	{name: "Constant node", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), b.constant("w", b.random(10, 6)))))
	}},
	{name: "Transpose", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.op("Transpose", "wt", list(b.weight("w", 6, 10)))
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), w)))
	}},
	{name: "Identity Reshape and two Transposes", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.op("Identity", "w1", list(b.constant("w", b.random(2, 3, 10))))
		w = b.op("Reshape", "w2", list(w, b.ints("shape", -1, 10)))
		w = b.op("Transpose", "w3", list(w), attrInts("perm", 1, 0))
		w = b.op("Transpose", "w4", list(w), attrInts("perm", 1, 0))
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), w, b.weight("c", 6)), attrInt("transB", 1)))
	}},
	{name: "Transpose of three axes, Reshape that keeps", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.op("Transpose", "w1", list(b.weight("w", 2, 10, 3)), attrInts("perm", 1, 2, 0))
		w = b.op("Reshape", "w2", list(w, b.ints("shape", 0, -1)))
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), w)))
	}},
	{name: "an initializer that is an input", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		x, w := b.input("x", "N", 10), b.weight("w", 10, 6)
		b.g.Inputs = append(b.g.Inputs, w)
		b.output(b.op("MatMul", "y", list(x, w)))
	}},
	{name: "IR 3", ir: 3, opsets: []int64{7, 8}, layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "tied", layers: []string{"n_h", "n_y"}, in: 6, out: 6, build: func(b *modeller) {
		w := b.weight("w", 6, 6)
		h := b.op("MatMul", "h", list(b.input("x", "N", 6), w))
		b.output(b.op("Gemm", "y", list(h, w, b.weight("c", 6))))
	}},
	{name: "tied, transposed", layers: []string{"n_h", "n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.weight("w", 10, 6)
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), w))
		b.output(b.op("Gemm", "y", list(h, w, b.weight("c", 10)), attrInt("transB", 1)))
	}},
	{name: "tied, transposed by a node", layers: []string{"n_h", "n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.weight("w", 10, 6)
		h := b.op("MatMul", "h", list(b.input("x", "N", "T", 10), w))
		b.output(b.op("MatMul", "y", list(h, b.op("Transpose", "wt", list(w)))))
	}},
	{name: "tied, on both sides", layers: []string{"n_h", "n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.weight("w", 6, 10)
		h := b.op("MatMul", "h", list(w, b.input("x", 10, 10)))
		b.output(b.op("MatMul", "y", list(h, b.op("Transpose", "wt", list(w)))))
	}},
	{name: "tied, columns and transposed columns", layers: []string{"n_h", "n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.weight("w", 6, 10)
		h := b.op("MatMul", "h", list(w, b.input("x", "T", 10, "N")))
		b.output(b.op("MatMul", "y", list(b.op("Transpose", "wt", list(w)), h)))
	}},
	{name: "tied, equal by unlike steps", layers: []string{"n_h", "n_y"}, in: 6, out: 6, build: func(b *modeller) {
		w := b.weight("w", 36)
		w1 := b.op("Reshape", "w1", list(w, b.ints("s1", 6, 6)))
		w2 := b.op("Reshape", "w3", list(b.op("Reshape", "w2", list(w, b.ints("s2", 2, 3, 6))), b.ints("s3", 6, 6)))
		h := b.op("MatMul", "h", list(b.input("x", "N", 6), w1))
		b.output(b.op("MatMul", "y", list(h, w2)))
	}},
	{name: "float64", dtype: tensor.Float64, layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		b.output(b.op("Gemm", "y", list(b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c", 6)), attrFloat("alpha", 3)))
	}},
	{name: "float16", dtype: tensor.Float16, layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "bfloat16", dtype: tensor.BFloat16, opsets: []int64{14, 22}, layers: []string{"n_h"}, in: 10, out: 6, build: func(b *modeller) {
		h := b.op("MatMul", "h", list(b.input("x", "N", 10), b.weight("w", 10, 6)))
		b.output(b.op("Add", "y", list(h, b.weight("c", 6))))
	}},
	{name: "Cast from float16", layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w, err := tensor.FromFloat64s(tensor.Float16, numbersOf(b.random(10, 6)), 10, 6)
		b.must(err)
		cast := b.op("Cast", "wc", list(b.init("w", w)), attrInt("to", int64(tensor.Float32)))
		b.output(b.op("MatMul", "y", list(b.input("x", "N", 10), cast)))
	}},
	{name: "DequantizeLinear", opsets: []int64{10, 13, 21}, layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.init("w", quantised(10, 6))
		d := b.op("DequantizeLinear", "wd", list(w, b.init("scale", tensor.Scalar(float32(0.05))), b.init("zero", tensor.Scalar(int8(3)))))
		b.output(b.declare(b.op("MatMul", "y", list(b.input("x", "N", 10), d)), "N", 6))
	}},
	{name: "DequantizeLinear by channel", opsets: []int64{13, 21}, layers: []string{"n_y"}, in: 10, out: 6, build: func(b *modeller) {
		w := b.init("w", quantised(10, 6))
		d := b.op("DequantizeLinear", "wd", list(w, b.weight("scale", 6)), attrInt("axis", -1))
		b.output(b.declare(b.op("MatMul", "y", list(b.input("x", "N", 10), d)), "N", 6))
	}},
	{name: "If with the weight outside", layers: []string{"n_then", "n_else"}, in: 10, out: 6, build: func(b *modeller) {
		x, w, c := b.input("x", "N", 10), b.weight("w", 10, 6), b.weight("c", 6)
		yes := b.body("yes", func(b *modeller) { b.output(b.op("Gemm", "then", list(x, w, c))) })
		no := b.body("no", func(b *modeller) { b.output(b.op("MatMul", "else", list(x, w))) })
		cond := b.init("cond", tensor.Of([]bool{true}))
		b.output(b.declare(b.op("If", "y", list(cond), attrGraph("then_branch", yes), attrGraph("else_branch", no)), "N", 6))
	}},
	{name: "If with a Constant node inside", layers: []string{"n_then"}, in: 6, out: 6, build: func(b *modeller) {
		x := b.input("x", "N", 6)
		yes := b.body("yes", func(b *modeller) {
			w := b.constant("w", b.random(6, 6))
			b.output(b.op("MatMul", "then", list(x, w)))
		})
		no := b.body("no", func(b *modeller) { b.output(b.op("Add", "else", list(x, x))) })
		cond := b.init("cond", tensor.Of([]bool{true}))
		b.output(b.declare(b.op("If", "y", list(cond), attrGraph("then_branch", yes), attrGraph("else_branch", no)), "N", 6))
	}},
	{name: "Loop with the weight outside", opsets: []int64{9, 11, 13, 22}, layers: []string{"n_step"}, in: 6, out: 6, build: func(b *modeller) {
		x, w, c := b.input("x", "N", 6), b.weight("w", 6, 6), b.weight("c", 6)
		body := b.body("body", func(b *modeller) {
			for _, in := range []struct {
				name string
				d    tensor.DType
			}{{"i", tensor.Int64}, {"go", tensor.Bool}} {
				_, err := b.g.AddInput(in.name, graph.TensorType(in.d))
				b.must(err)
			}
			h := b.input("h", "N", 6)
			b.output(b.constant("on", tensor.Scalar(true)), b.op("Gemm", "step", list(h, w, c)))
		})
		trips, on := b.init("trips", tensor.Scalar(int64(3))), b.init("first", tensor.Scalar(true))
		b.output(b.declare(b.op("Loop", "y", list(trips, on, x), attrGraph("body", body)), "N", 6))
	}},
	{name: "If with a Constant node inside, IR 3", ir: 3, opsets: []int64{8}, layers: []string{"n_then"}, in: 6, out: 6, build: func(b *modeller) {
		x := b.input("x", "N", 6)
		yes := b.body("yes", func(b *modeller) {
			w := b.constant("w", b.random(6, 6))
			b.output(b.op("MatMul", "then", list(x, w)))
		})
		no := b.body("no", func(b *modeller) { b.output(b.op("Add", "else", list(x, x))) })
		cond := b.init("cond", tensor.Of([]bool{true}))
		b.output(b.declare(b.op("If", "y", list(cond), attrGraph("then_branch", yes), attrGraph("else_branch", no)), "N", 6))
	}},
}

func numbersOf(t *tensor.Tensor) []float64 {
	v, err := tensor.Float64s(t)
	if err != nil {
		panic(err)
	}
	return v
}

// quantised is a matrix of 8-bit numbers without pattern.
func quantised(rows, cols int) *tensor.Tensor {
	v := make([]int8, rows*cols)
	for i := range v {
		v[i] = int8(i * 37 % 251)
	}
	return tensor.Of(v, rows, cols)
}

// each runs f for every spelling and opset.
func eachSpelling(t *testing.T, f func(t *testing.T, s spelling, m *graph.Model)) {
	for _, s := range spellings {
		opsets := s.opsets
		if opsets == nil {
			opsets = []int64{7, 9, 10, 11, 13, 17, 22}
		}
		for _, opset := range opsets {
			t.Run(fmt.Sprintf("%s/%d", s.name, opset), func(t *testing.T) {
				ir := s.ir
				if ir == 0 {
					ir = 8
				}
				b := newModeller(t, ir, opset)
				if s.dtype != 0 {
					b.d = s.dtype
				}
				s.build(b)
				f(t, s, b.model())
			})
		}
	}
}

// inputsOf draws inputs for a spelling's model.
func inputsOf(t *testing.T, s spelling, m *graph.Model) []*tensor.Tensor {
	if s.fed == nil {
		return randomLike(t, m, batch)
	}
	b := newModeller(t, 8, 13)
	return []*tensor.Tensor{b.random(s.fed...)}
}

// planFor is a plan that replaces every layer by the given shape and terms.
func planFor(t *testing.T, m *graph.Model, shape factorize.Shape, terms int) *Plan {
	t.Helper()
	p, err := NewPlan(context.Background(), m, Options{Structure: LowRank, NumTerms: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Layers {
		e := &p.Layers[i]
		if e.Action == ActSkipped {
			continue
		}
		e.Action, e.Terms, e.Shape = ActBilinear, terms, shapeOf(shape)
		if shape.IsLowRank() {
			e.Action, e.Shape = ActLowRank, nil
		}
	}
	return p
}

// dequantised is a copy of m with the matrices that a DequantizeLinear makes as
// constants, by the definition of that operator.
func dequantised(t *testing.T, m *graph.Model) *graph.Model {
	t.Helper()
	c := m.Clone()
	for _, n := range slices.Clone(c.Graph.Nodes()) {
		if n.OpType != "DequantizeLinear" {
			continue
		}
		w, scale, zero := n.Input(0).Init(), numbersOf(n.Input(1).Init()), 0.0
		if n.Input(2) != nil {
			zero = numbersOf(n.Input(2).Init())[0]
		}
		v := numbersOf(w)
		for i := range v {
			v[i] = (v[i] - zero) * scale[i%len(scale)] // one scale, or one a column
		}
		dense, err := tensor.FromFloat64s(tensor.Float32, v, w.Shape()...)
		if err != nil {
			t.Fatal(err)
		}
		out := n.Outputs()[0]
		if err := c.Graph.ReplaceUses(out, c.Graph.NewConst("dense", dense)); err != nil {
			t.Fatal(err)
		}
		if err := c.Graph.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// At the full number of terms every shape is exact, so that the outputs tell
// whether the nodes that replace a layer compute what it did.
func TestEverySpellingAtFullRank(t *testing.T) {
	ran := map[bool]int{}
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		inputs := inputsOf(t, s, m)
		want := runModel(t, dequantised(t, m), inputs...)
		text := modelText(t, m)
		for _, shape := range factorize.Shapes(s.out, s.in) {
			// Balanced and low rank for every opset, all others for one.
			if shape != factorize.Balanced(s.out, s.in) && !shape.IsLowRank() && m.Opset("") != 13 && s.opsets == nil {
				continue
			}
			ran[aFirst(shape)]++
			out, r, err := Apply(context.Background(), m, planFor(t, m, shape, shape.MaxTerms()), ApplyOptions{})
			if err != nil {
				t.Fatalf("%v: %v", shape, err)
			}
			for i, got := range runModel(t, out, inputs...) {
				wantClose(t, shape.String(), got, want[i], tolerance(got.DType()))
			}
			for _, l := range r.Layers {
				if l.Action != ActSkipped && l.Error > 1e-12 {
					t.Errorf("%v: layer %s reports error %g at full rank", shape, l.Name, l.Error)
				}
			}
			checkInterface(t, m, out)
		}
		if modelText(t, m) != text {
			t.Error("Apply changed the model that it was given")
		}
	})
	if ran[false] == 0 || ran[true] == 0 {
		t.Errorf("orders of application that were tried: %v", ran)
	}
}

// Fits to data take every spelling: those inside a subgraph, which they do not
// see, stay, and the plan says so.
func TestEverySpellingFittedToData(t *testing.T) {
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		var data *dataset.Bound
		var err error
		if s.fed != nil {
			b := newModeller(t, 8, 13)
			data = bindTo(t, m, b.random(append([]int{60}, s.fed[1:]...)...))
		} else if data, err = dataset.Random(m, 60, 6, 1, nil); err != nil {
			t.Fatal(err)
		}
		c, err := NewCalibration(t.Context(), m, data, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(t.Context(), m, Options{Structure: LowRank, NumTerms: 2, Calibration: c})
		if err != nil {
			t.Fatal(err)
		}
		out, r, err := Apply(t.Context(), m, p, ApplyOptions{Calibration: c})
		if err != nil {
			t.Fatal(err)
		}
		checkInterface(t, m, out)
		for _, l := range r.Layers {
			inside := slices.Contains([]string{"n_then", "n_else", "n_step"}, l.Name)
			switch {
			case l.Action == ActSkipped:
			case inside && (l.Action != ActDense || !strings.Contains(l.Reason, "inside a subgraph")):
				t.Errorf("layer %s inside a subgraph: %s, %q", l.Name, l.Action, l.Reason)
			case !inside && (l.Action != ActLowRank || !(l.Error > 0 && l.Error < 2)):
				t.Errorf("layer %s: %s, error %g, %q", l.Name, l.Action, l.Error, l.Reason)
			}
		}
	})
}

// One term of an exact product takes the shorter form without the reshape in
// the middle.
func TestEverySpellingOfOnePair(t *testing.T) {
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		for _, shape := range factorize.Shapes(s.out, s.in) {
			out, _, err := Apply(context.Background(), m, planFor(t, m, shape, 1), ApplyOptions{})
			if err != nil {
				t.Fatalf("%v: %v", shape, err)
			}
			// The reference is the original with the dense product of the
			// same factors as weight.
			ref := m.Clone()
			f, err := find(ref)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range f.weights {
				replaceByDense(t, w, shape)
			}
			inputs := inputsOf(t, s, m)
			want := runModel(t, ref, inputs...)
			for i, got := range runModel(t, out, inputs...) {
				wantClose(t, shape.String(), got, want[i], tolerance(got.DType()))
			}
			if m.Opset("") != 13 {
				break
			}
		}
	})
}

// replaceByDense sets all products of a weight to read Ŵ of one term.
func replaceByDense(t *testing.T, w *match.Weight, shape factorize.Shape) {
	t.Helper()
	d, err := w.Dense()
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := factorize.NearestKronecker(context.Background(), d, shape, 1, factorize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range w.Layers {
		dense := k.Dense()
		v := dense.RawMatrix().Data
		for i := range v {
			v[i] /= layerAlpha(l)
		}
		side, flip := 1, true // MatMul reads Wᵀ
		for i := range 2 {
			if l.Product.Input(i) != l.X {
				side = i
			}
		}
		if side == 0 {
			flip = false
		}
		for i, name := range []string{"transA", "transB"} {
			if a := l.Product.Attr(name); a != nil && a.I != 0 && i == side {
				flip = !flip
			}
		}
		rows, cols := dense.Dims()
		at := func(i, j int) float64 { return dense.At(i, j) }
		if l.Transposed {
			rows, cols = cols, rows
			at = func(i, j int) float64 { return dense.At(j, i) }
		}
		if flip {
			rows, cols = cols, rows
			inner := at
			at = func(i, j int) float64 { return inner(j, i) }
		}
		flat := make([]float64, 0, rows*cols)
		for i := range rows {
			for j := range cols {
				flat = append(flat, at(i, j))
			}
		}
		tn, err := tensor.FromFloat64s(w.DType, flat, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		l.Product.SetInput(side, w.Root.Graph().NewConst("dense", tn))
	}
}

func layerAlpha(l *match.Layer) float64 {
	if a := l.Product.Attr("alpha"); a != nil {
		return float64(a.F)
	}
	return 1
}

// checkInterface fails unless what a user of the model sees is the same.
func checkInterface(t *testing.T, before, after *graph.Model) {
	t.Helper()
	if before.IRVersion != after.IRVersion || !slices.Equal(before.Opsets, after.Opsets) {
		t.Errorf("IR %d %v became IR %d %v", before.IRVersion, before.Opsets, after.IRVersion, after.Opsets)
	}
	for _, g := range []struct{ a, b []*graph.Value }{{free(before), free(after)}, {before.Graph.Outputs, after.Graph.Outputs}} {
		if len(g.a) != len(g.b) {
			t.Errorf("%d inputs or outputs became %d", len(g.a), len(g.b))
			continue
		}
		for i := range g.a {
			if g.a[i].Name() != g.b[i].Name() || g.a[i].Type.String() != g.b[i].Type.String() {
				t.Errorf("%v became %v", g.a[i], g.b[i])
			}
		}
	}
	for _, g := range after.Graph.Consts() {
		if len(g.Uses()) == 0 && !g.IsOutput() {
			t.Errorf("constant %q is not used", g.Name())
		}
	}
	if err := after.Check(); err != nil {
		t.Error(err)
	}
}

// free is the inputs that have to be given.
func free(m *graph.Model) []*graph.Value {
	var out []*graph.Value
	for _, v := range m.Graph.Inputs {
		if v.Init() == nil {
			out = append(out, v)
		}
	}
	return out
}

func modelText(t *testing.T, m *graph.Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLayersOfEverySpelling(t *testing.T) {
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		f, err := op.Infer(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		layers, skips := match.Layers(m, f)
		var names []string
		for _, l := range layers {
			names = append(names, l.Name)
		}
		if !slices.Equal(names, s.layers) || len(skips) > 0 {
			t.Fatalf("found layers %q and skips %v, want %q", names, skips, s.layers)
		}
		if l := layers[0]; l.In != s.in || l.Out != s.out {
			t.Errorf("found %d inputs and %d outputs, want %d and %d", l.In, l.Out, s.in, s.out)
		}
		w := layers[0].Weight
		for _, l := range layers {
			if len(s.layers) > 1 && l.Weight != w {
				t.Errorf("layer %s is not tied to %s", l.Name, layers[0].Name)
			}
		}
		if int64(w.Params()) > Params(m) || w.Params() == 0 {
			t.Errorf("the weight has %d parameters, the model %d", w.Params(), Params(m))
		}
	})
}

// What is written is the same for the same plan, and the counts of the plan
// are those of the model.
func TestEverySpellingIsDeterministic(t *testing.T) {
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		p := planFor(t, m, factorize.Balanced(s.out, s.in), 1)
		var first []byte
		for range 2 {
			out, r, err := Apply(context.Background(), m, p, ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			data, err := onnx.Encode(out)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = data
			} else if !bytes.Equal(first, data) {
				t.Error("the same plan gave other bytes")
			}
			if got := Params(out); got != r.ParamsAfter {
				t.Errorf("report says %d parameters, the model has %d", r.ParamsAfter, got)
			}
			done, err := ReadLayers(out)
			if err != nil || len(done) != len(s.layers) {
				t.Errorf("metadata lists %d layers (%v), want %d", len(done), err, len(s.layers))
			}
			again, err := NewPlan(context.Background(), out, Options{Ratio: 2, Structure: LowRank})
			var infeasible *InfeasibleError
			if err == nil && again.Changes() {
				t.Error("the factors themselves are compressed again")
			} else if err != nil && !asInfeasible(err, &infeasible) {
				t.Error(err)
			}
		}
	})
}
