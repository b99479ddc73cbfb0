package op

import (
	"fmt"
	"os"
	"regexp"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// largeTests are operators with enough to do that two cores pay, one case for each way that they compute.
func largeTests() []opTest {
	type attrs = []*graph.Attr
	type tensors = []*tensor.Tensor
	x := random(1, 1, 64, 64, 64)
	rows, weights := random(2, 512, 512), random(3, 512)
	bytes, signed := tensor.New(tensor.Uint8, 512, 512), tensor.New(tensor.Int8, 512, 512)
	for i := range tensor.Data[uint8](bytes) {
		tensor.Data[uint8](bytes)[i], tensor.Data[int8](signed)[i] = uint8(i*7), int8(i*5)
	}
	indices := tensor.New(tensor.Int64, 1000)
	for i := range tensor.Data[int64](indices) {
		tensor.Data[int64](indices)[i] = int64(i * 37 % 512)
	}
	numbers := tensor.New(tensor.Int64, 100000)
	for i := range tensor.Data[int64](numbers) {
		tensor.Data[int64](numbers)[i] = int64(i * 37 % 512)
	}
	positions := tensor.New(tensor.Int64, 512, 512)
	for i := range tensor.Data[int64](positions) {
		tensor.Data[int64](positions)[i] = int64(i*211%1024 - 512)
	}
	ints := func(v ...int64) *tensor.Tensor { return list(v...) }
	scale, zero := tensor.Scalar[float32](0.02), tensor.Scalar[uint8](128)
	kernel3 := attrs{attrInts("kernel_shape", 3, 3), attrInts("pads", 1, 1, 1, 1), attrInts("strides", 2, 2)}
	up := list[float32](1, 1, 2, 2)
	c := tensor.New(tensor.Float32, 64)
	setAll(tensor.Data[float32](c), 0.5)
	channels := tensors{x, c, c, c, c}
	sequence := random(4, 50, 16, 64)
	return []opTest{
		{name: "nearest", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "nearest")}, in: tensors{x, nil, up}},
		{name: "linear", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "linear")}, in: tensors{x, nil, up}},
		{name: "linear, channels last", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "linear")}, in: tensors{x, nil, list[float32](1, 2, 2, 1)}},
		{name: "cubic", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "cubic")}, in: tensors{x, nil, up}},
		{name: "linear, smaller", op: "Resize", opset: 18, attrs: attrs{attrString("mode", "linear"), attrInt("antialias", 1)}, in: tensors{random(5, 1, 16, 256, 256), nil, list[float32](1, 1, .4, .4)}},
		{name: "crop", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "linear"), attrString("coordinate_transformation_mode", "tf_crop_and_resize")}, in: tensors{x, list[float32](0, 0, .1, .1, 1, 1, .8, 1.2), up}},
		{name: "3x3", op: "ConvTranspose", opset: 11, attrs: kernel3, in: tensors{x, random(6, 64, 32, 3, 3)}},
		{name: "2x2 apart", op: "ConvTranspose", opset: 11, attrs: attrs{attrInts("strides", 2, 2)}, in: tensors{x, random(7, 64, 32, 2, 2)}},
		{name: "by channel", op: "ConvTranspose", opset: 11, attrs: append(attrs{attrInt("group", 64)}, kernel3...), in: tensors{x, random(8, 64, 1, 3, 3)}},
		{op: "MaxPool", opset: 12, attrs: kernel3, in: tensors{x}},
		{op: "AveragePool", opset: 11, attrs: kernel3, in: tensors{x}},
		{op: "GlobalAveragePool", opset: 1, in: tensors{x}},
		{op: "GlobalMaxPool", opset: 1, in: tensors{x}},
		{name: "rows", op: "Gather", opset: 13, in: tensors{rows, indices}},
		{name: "columns", op: "Gather", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{rows, indices}},
		{name: "elements", op: "GatherElements", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{rows, positions}},
		{name: "elements down", op: "GatherElements", opset: 13, in: tensors{rows, positions}},
		{name: "points", op: "GatherND", opset: 13, in: tensors{rows, reshaped(positions, 256, 512, 2)}},
		{name: "runs", op: "GatherND", opset: 13, in: tensors{rows, reshaped(indices, 1000, 1)}},
		{op: "ScatterElements", opset: 18, attrs: attrs{attrInt("axis", 1)}, in: tensors{rows, positions, reshaped(x, 512, 512)}},
		{name: "down", op: "ScatterElements", opset: 18, attrs: attrs{attrString("reduction", "add")}, in: tensors{rows, positions, reshaped(x, 512, 512)}},
		{name: "points", op: "ScatterND", opset: 18, attrs: attrs{attrString("reduction", "max")}, in: tensors{rows, reshaped(positions, 256, 512, 2), random(22, 256, 512)}},
		{name: "runs", op: "ScatterND", opset: 18, attrs: attrs{attrString("reduction", "add")}, in: tensors{rows, reshaped(indices, 1000, 1), random(23, 1000, 512)}},
		{name: "edge", op: "Pad", opset: 13, attrs: attrs{attrString("mode", "edge")}, in: tensors{x, ints(0, 1, 2, 0, 0, 3, -1, 0)}},
		{name: "constant", op: "Pad", opset: 13, in: tensors{x, ints(0, 0, 1, 1, 0, 0, 1, 1)}},
		{name: "reflect", op: "Pad", opset: 13, attrs: attrs{attrString("mode", "reflect")}, in: tensors{x, ints(0, 0, 1, 1, 0, 0, 1, 1)}},
		{name: "channels", op: "Concat", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{x, x}},
		{name: "last axis", op: "Concat", opset: 13, attrs: attrs{attrInt("axis", 3)}, in: tensors{x, x}},
		{name: "matrix", op: "Transpose", opset: 13, in: tensors{rows}},
		{name: "heads", op: "Transpose", opset: 13, attrs: attrs{attrInts("perm", 0, 2, 1, 3)}, in: tensors{x}},
		{name: "channels last", op: "Transpose", opset: 13, attrs: attrs{attrInts("perm", 0, 2, 3, 1)}, in: tensors{x}},
		{name: "last axis", op: "Slice", opset: 13, in: tensors{x, ints(1), ints(60), ints(3)}},
		{name: "steps", op: "Slice", opset: 13, in: tensors{x, ints(0), ints(64), ints(3), ints(2)}},
		{name: "halves", op: "Split", opset: 11, attrs: attrs{attrInt("axis", 3), attrInts("split", 32, 32)}, in: tensors{x}, outs: 2},
		{op: "Expand", opset: 13, in: tensors{weights, ints(512, 512)}},
		{op: "Tile", opset: 13, in: tensors{rows, ints(2, 1)}},
		{op: "Where", opset: 9, in: tensors{as2bool(x), x, c0()}},
		{name: "last axis", op: "ReduceMean", opset: 13, attrs: attrs{attrInts("axes", 3)}, in: tensors{x}},
		{name: "first axis", op: "ReduceSum", opset: 11, attrs: attrs{attrInts("axes", 0)}, in: tensors{rows}},
		{name: "middle", op: "ReduceMax", opset: 13, attrs: attrs{attrInts("axes", 1)}, in: tensors{x}},
		{name: "all", op: "ReduceSum", opset: 11, in: tensors{x}},
		{name: "all", op: "ReduceLogSumExp", opset: 13, in: tensors{x}},
		{name: "planes", op: "ReduceMean", opset: 13, attrs: attrs{attrInts("axes", 2, 3)}, in: tensors{x}},
		{name: "last axis", op: "ReduceLogSumExp", opset: 13, attrs: attrs{attrInts("axes", 3)}, in: tensors{x}},
		{name: "a few of many", op: "ReduceProd", opset: 13, attrs: attrs{attrInts("axes", 0)}, in: tensors{reshaped(x, 1<<17, 2)}},
		{op: "ReduceL2", opset: 13, attrs: attrs{attrInts("axes", 3)}, in: tensors{x}},
		{op: "ArgMax", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{rows}},
		{name: "channels", op: "ArgMin", opset: 13, attrs: attrs{attrInt("axis", 1), attrInt("select_last_index", 1)}, in: tensors{x}},
		{name: "long", op: "ArgMax", opset: 13, in: tensors{reshaped(x, 1<<18)}},
		{name: "down", op: "CumSum", opset: 14, in: tensors{rows, tensor.Scalar[int64](0)}},
		{op: "CumSum", opset: 14, in: tensors{rows, tensor.Scalar[int64](1)}},
		{op: "TopK", opset: 11, in: tensors{rows, ints(5)}, outs: 2},
		{name: "first axis", op: "TopK", opset: 11, attrs: attrs{attrInt("axis", 0), attrInt("largest", 0)}, in: tensors{rows, ints(100)}, outs: 2},
		{name: "long", op: "TopK", opset: 11, in: tensors{random(19, 1, 200000), ints(100)}, outs: 2},
		{op: "LSTM", opset: 14, attrs: attrs{attrInt("hidden_size", 64)}, in: tensors{sequence, fainter(9, 1, 256, 64), fainter(10, 1, 256, 64)}},
		{op: "GRU", opset: 14, attrs: attrs{attrInt("hidden_size", 64)}, in: tensors{sequence, fainter(11, 1, 192, 64), fainter(12, 1, 192, 64)}},
		{op: "LayerNormalization", opset: 17, in: tensors{rows, weights, weights}},
		{op: "InstanceNormalization", opset: 6, in: tensors{x, c, c}},
		{op: "BatchNormalization", opset: 15, in: channels},
		{op: "LRN", opset: 13, attrs: attrs{attrInt("size", 5)}, in: tensors{x}},
		{name: "to a power", op: "LRN", opset: 13, attrs: attrs{attrInt("size", 5), attrFloat("beta", 0.6)}, in: tensors{x}},
		{op: "LpNormalization", opset: 1, in: tensors{rows}},
		{op: "QuantizeLinear", opset: 13, in: tensors{x, scale, zero}},
		{op: "DequantizeLinear", opset: 13, in: tensors{bytes, scale, zero}},
		{name: "by channel", op: "QuantizeLinear", opset: 13, in: tensors{x, c, tensor.New(tensor.Int8, 64)}},
		{name: "by column", op: "QuantizeLinear", opset: 13, in: tensors{rows, weights, tensor.New(tensor.Int8, 512)}},
		{name: "by column", op: "DequantizeLinear", opset: 13, in: tensors{signed, weights, tensor.New(tensor.Int8, 512)}},
		{name: "by row", op: "DequantizeLinear", opset: 13, attrs: attrs{attrInt("axis", 0)}, in: tensors{signed, weights, tensor.New(tensor.Int8, 512)}},
		{op: "DynamicQuantizeLinear", opset: 11, in: tensors{x}, outs: 3},
		{op: "MatMulInteger", opset: 10, in: tensors{bytes, signed, zero}},
		{op: "QLinearMatMul", opset: 10, in: tensors{bytes, scale, zero, signed, scale, tensor.Scalar[int8](0), scale, zero}},
		{op: "QLinearConv", opset: 10, attrs: attrs{attrInts("pads", 1, 1, 1, 1)}, in: tensors{tensor.New(tensor.Uint8, 1, 32, 32, 32), scale, zero, tensor.New(tensor.Int8, 32, 32, 3, 3), scale, tensor.Scalar[int8](0), scale, zero}},
		{name: "to float16", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Float16))}, in: tensors{x}},
		{name: "from float16", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Float32))}, in: tensors{as(tensor.Float16, x)}},
		{name: "to bfloat16", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.BFloat16))}, in: tensors{x}},
		{name: "bytes to float32", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Float32))}, in: tensors{bytes}},
		{name: "bytes to int64", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Int64))}, in: tensors{bytes}},
		{name: "to bool", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Bool))}, in: tensors{x}},
		{name: "to int64", op: "Cast", opset: 13, attrs: attrs{attrInt("to", int64(tensor.Int64))}, in: tensors{x}},
		{name: "channels", op: "Softmax", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{x}},
		{op: "LogSoftmax", opset: 13, attrs: attrs{attrInt("axis", 1)}, in: tensors{rows}},
		{name: "broadcast", op: "Mul", opset: 14, in: tensors{x, random(13, 1, 64, 1, 1)}},
		{name: "integers", op: "Add", opset: 14, in: tensors{bytes, bytes}},
		{name: "float16", op: "Mul", opset: 14, in: tensors{as(tensor.Float16, x), as(tensor.Float16, x)}},
		{op: "Pow", opset: 13, in: tensors{x, tensor.Scalar[float32](2)}},
		{op: "Clip", opset: 13, in: tensors{x, tensor.Scalar[float32](0), tensor.Scalar[float32](6)}},
		{name: "integers", op: "Clip", opset: 13, in: tensors{numbers, tensor.Scalar[int64](40), tensor.Scalar[int64](400)}},
		{op: "PRelu", opset: 16, in: tensors{x, random(14, 64, 1, 1)}},
		{op: "Max", opset: 13, in: tensors{x, x}},
		{op: "Greater", opset: 13, in: tensors{x, tensor.Scalar[float32](0)}},
		{op: "Erf", opset: 13, in: tensors{x}},
		{op: "HardSwish", opset: 14, in: tensors{x}},
		{op: "DepthToSpace", opset: 13, attrs: attrs{attrInt("blocksize", 2)}, in: tensors{x}},
		{op: "SpaceToDepth", opset: 13, attrs: attrs{attrInt("blocksize", 2)}, in: tensors{x}},
		{op: "Einsum", opset: 12, attrs: attrs{attrString("equation", "bij,bkj->bik")}, in: tensors{random(15, 8, 128, 64), random(16, 8, 128, 64)}},
		{name: "heads", op: "Einsum", opset: 12, attrs: attrs{attrString("equation", "bihd,bjhd->bhij")}, in: tensors{random(20, 2, 128, 8, 64), random(21, 2, 128, 8, 64)}},
		{name: "float64", op: "Einsum", opset: 12, attrs: attrs{attrString("equation", "bij,bkj->bik")}, in: tensors{as(tensor.Float64, random(15, 8, 64, 64)), as(tensor.Float64, random(16, 8, 64, 64))}},
		{name: "by definition", op: "Einsum", opset: 12, attrs: attrs{attrString("equation", "ij,ij,j->i")}, in: tensors{rows, rows, weights}},
		{op: "OneHot", opset: 11, in: tensors{indices, tensor.Scalar[int64](512), list[float32](0, 1)}},
		{op: "GridSample", opset: 16, in: tensors{x, random(17, 1, 64, 64, 2)}},
	}
}

// fainter is random numbers of an eighth: as weights of 64 inputs they leave sums of the inputs' size.
func fainter(seed uint64, shape ...int) *tensor.Tensor {
	t := random(seed, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] /= 8
	}
	return t
}

func as2bool(x *tensor.Tensor) *tensor.Tensor {
	t := tensor.New(tensor.Bool, x.Shape()...)
	for i, v := range tensor.Data[float32](x) {
		tensor.Data[bool](t)[i] = v > 0
	}
	return t
}

func reshaped(t *tensor.Tensor, shape ...int) *tensor.Tensor {
	r, err := t.Reshaped(shape...)
	if err != nil {
		panic(err)
	}
	return r
}

func c0() *tensor.Tensor { return tensor.Scalar[float32](0) }

// eval runs a test's node.
func (c *opTest) eval(t *testing.T, p *kernel.Pool) []tensor.Value {
	t.Helper()
	o, err := parseOp(*c, max(1, c.outs))
	if err != nil {
		t.Fatal(c.op, c.name, err)
	}
	in := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		if x != nil {
			in[i] = tensor.ValueOf(x)
		}
	}
	out, err := Eval(&Ctx{Pool: p}, o, in, max(1, c.outs))
	if err != nil {
		t.Fatal(c.op, c.name, err)
	}
	return out
}

// The number of threads is no part of a result.
func TestSameBitsForAnyThreads(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	pools := []*kernel.Pool{kernel.NewPool(2), kernel.NewPool(3)}
	for _, c := range largeTests() {
		want := c.eval(t, nil)
		for _, p := range pools {
			for i, got := range c.eval(t, p) {
				if !slices.Equal(got.Tensor.Bytes(), want[i].Tensor.Bytes()) {
					t.Errorf("%s %s: output %d on %d threads has other bits than on one", c.op, c.name, i, p.Threads())
				}
			}
		}
	}
}

// TestTwoCoresOperators times operators on one thread and on two, in turns. It is a measurement, not a check, and
// takes long, so BILINC_BENCH=1 must ask for it, or a regular expression of the operators.
func TestTwoCoresOperators(t *testing.T) {
	which := os.Getenv("BILINC_BENCH")
	if which == "" {
		t.Skip("BILINC_BENCH is not set")
	}
	if which == "1" {
		which = "."
	}
	wanted, err := regexp.Compile(which)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("| operator | one thread, µs | two | ratio |\n|---|---|---|---|\n")
	pools := [2]*kernel.Pool{nil, kernel.NewPool(2)}
	for _, c := range largeTests() {
		if name := c.op + " " + c.name; !wanted.MatchString(name) {
			continue
		}
		o, err := parseOp(c, max(1, c.outs))
		if err != nil {
			t.Fatal(err)
		}
		in := make([]tensor.Value, len(c.in))
		for i, x := range c.in {
			if x != nil {
				in[i] = tensor.ValueOf(x)
			}
		}
		out := c.eval(t, nil)
		var times [2][]float64
		var ratios []float64
		for range 7 {
			for i, p := range pools {
				times[i] = append(times[i], timeOf(t, o, &Ctx{Pool: p}, in, out))
			}
			k := len(times[0]) - 1
			ratios = append(ratios, times[0][k]/times[1][k])
		}
		for _, s := range [][]float64{times[0], times[1], ratios} {
			slices.Sort(s)
		}
		fmt.Printf("| %s %s | %.0f | %.0f | %.2f |\n", c.op, c.name, times[0][3], times[1][3], ratios[3])
	}
}

// timeOf is microseconds of an operator, the median of as many runs as fit into 15 milliseconds: a timer's interrupt
// may take as long as a short run.
func timeOf(t *testing.T, o Op, c *Ctx, in, out []tensor.Value) float64 {
	var times []float64
	for start := time.Now(); time.Since(start) < 15*time.Millisecond; {
		began := time.Now()
		if err := o.Forward(c, in, out); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began).Seconds()*1e6)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// A shared walk comes to each element once, with the operands that rows has there.
func TestWalkShares(t *testing.T) {
	before := goruntime.GOMAXPROCS(max(4, goruntime.GOMAXPROCS(0)))
	defer goruntime.GOMAXPROCS(before)
	p := kernel.NewPool(3)
	for _, c := range [][3][]int{
		{{70000}, {70000}, {1}},
		{{3, 40001}, {3, 1}, {40001}},
		{{40, 7, 200}, {7, 1}, {40, 1, 200}},
		{{20000, 3}, {3}, {20000, 1}},
		{{2, 3}, {3}, {2, 1}},
		{{0, 3}, {3}, {1, 1}},
		{{}, {}, {}},
	} {
		w := newWalk(c[0], c[1], c[2])
		want, got := make([][2]int, product(c[0])), make([][2]int, product(c[0]))
		visit := func(to [][2]int) func(at, n int, offs, steps []int) {
			return func(at, n int, offs, steps []int) {
				for k := range n {
					to[at+k][0] += 1 + offs[0] + k*steps[0]
					to[at+k][1] += 1 + offs[1] + k*steps[1]
				}
			}
		}
		w.rows(visit(want))
		w.share(p, visit(got))
		if !slices.Equal(got, want) {
			t.Errorf("%v: a shared walk sees other operands", c)
		}
	}
}
