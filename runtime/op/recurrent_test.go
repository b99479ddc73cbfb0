package op

import (
	"fmt"
	"math"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// naiveRecurrent runs one sequence x[S I] forwards through a cell with weights
// w[G·H I], r[G·H H] and biases b[2·G·H] from state zero, by ONNX's equations:
// the state after each step [S H].
func naiveRecurrent(name string, x, w, r, b *tensor.Tensor, hidden int, linearBefore bool) *tensor.Tensor {
	v := func(t *tensor.Tensor, i int) float64 { return float64(tensor.Data[float32](t)[i]) }
	steps, width, rows := x.Shape()[0], x.Shape()[1], w.Len()/x.Shape()[1]
	h, c := make([]float64, hidden), make([]float64, hidden)
	in := func(t, row int) float64 { // the input's part of a gate
		sum := v(b, row)
		for i := range width {
			sum += v(w, row*width+i) * v(x, t*width+i)
		}
		return sum
	}
	rec := func(row int, h []float64) float64 { // the state's part
		sum := v(b, rows+row)
		for i := range hidden {
			sum += v(r, row*hidden+i) * h[i]
		}
		return sum
	}
	y := tensor.New(tensor.Float32, steps, hidden)
	for t := range steps {
		next, reset, rh := make([]float64, hidden), make([]float64, hidden), make([]float64, hidden)
		for k := range hidden {
			if name == "GRU" {
				reset[k] = sigmoid(in(t, hidden+k) + rec(hidden+k, h))
				rh[k] = reset[k] * h[k]
			}
		}
		for k := range hidden {
			g := in(t, k) + rec(k, h)
			switch name {
			case "RNN":
				next[k] = math.Tanh(g)
			case "GRU":
				z, candidate := sigmoid(g), in(t, 2*hidden+k)
				if linearBefore {
					candidate += reset[k] * rec(2*hidden+k, h)
				} else {
					candidate += rec(2*hidden+k, rh)
				}
				next[k] = (1-z)*math.Tanh(candidate) + z*h[k]
			case "LSTM":
				gate := func(n int) float64 { return in(t, n*hidden+k) + rec(n*hidden+k, h) }
				c[k] = sigmoid(gate(2))*c[k] + sigmoid(g)*math.Tanh(gate(3))
				next[k] = sigmoid(gate(1)) * math.Tanh(c[k])
			}
		}
		h = next
		for k, n := range h {
			tensor.Data[float32](y)[t*hidden+k] = float32(n)
		}
	}
	return y
}

// steps is rows of a matrix in the given order.
func steps(x *tensor.Tensor, order ...int) *tensor.Tensor {
	y, err := takeAlong(nil, "steps", x, 0, order)
	if err != nil {
		panic(err)
	}
	return y
}

func TestRecurrent(t *testing.T) {
	const hidden, width = 3, 2
	x0, x1 := random(1, 4, width), random(2, 4, width) // two sequences
	x := tensor.New(tensor.Float32, 4, 2, width)       // as a batch
	for s := range 4 {
		for i := range width {
			d := tensor.Data[float32](x)
			d[(s*2)*width+i], d[(s*2+1)*width+i] = tensor.Data[float32](x0)[s*width+i], tensor.Data[float32](x1)[s*width+i]
		}
	}
	hiddenSize := attrInt("hidden_size", hidden)
	for _, c := range []struct {
		name         string
		gates        int
		linearBefore bool
	}{{"RNN", 1, false}, {"GRU", 3, false}, {"GRU", 3, true}, {"LSTM", 4, false}} {
		rows := c.gates * hidden
		w, r, b := random(3, 2, rows, width), random(4, 2, rows, hidden), random(5, 2, 2*rows)
		part := func(t *tensor.Tensor, d int) *tensor.Tensor {
			p, err := sliceAt(t, 0, d)
			if err != nil {
				panic(err)
			}
			return p
		}
		want := func(x *tensor.Tensor, d int) *tensor.Tensor {
			return naiveRecurrent(c.name, x, part(w, d), part(r, d), part(b, d), hidden, c.linearBefore)
		}
		attrs := []*graph.Attr{hiddenSize, attrString("direction", "bidirectional")}
		if c.linearBefore {
			attrs = append(attrs, attrInt("linear_before_reset", 1))
		}
		// The second sequence has 3 of 4 steps. Both directions, put together
		// by hand: Y[S D N H] and the last states.
		y, last := tensor.New(tensor.Float32, 4, 2, 2, hidden), tensor.New(tensor.Float32, 2, 2, hidden)
		for n, seq := range []*tensor.Tensor{x0, steps(x1, 0, 1, 2)} {
			length := seq.Shape()[0]
			back := upTo(length)
			for i := range back {
				back[i] = length - 1 - i
			}
			for d, states := range []*tensor.Tensor{want(seq, 0), want(steps(seq, back...), 1)} {
				for s := range length {
					from := tensor.Data[float32](states)[s*hidden : (s+1)*hidden]
					at := s
					if d == 1 {
						at = back[s]
					}
					copy(tensor.Data[float32](y)[((at*2+d)*2+n)*hidden:], from)
					if s == length-1 {
						copy(tensor.Data[float32](last)[(d*2+n)*hidden:], from)
					}
				}
			}
		}
		lens := list[int32](4, 3)
		batchFirst := opTest{op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 1, 0, 2)}, in: []*tensor.Tensor{x}}
		runOpTests(t, []opTest{
			{name: fmt.Sprint("both directions ", c.linearBefore), op: c.name, opset: 14, attrs: attrs, tol: approximate,
				in: []*tensor.Tensor{x, w, r, b, lens}, want: []*tensor.Tensor{y, last}},
			{name: "layout", op: c.name, opset: 14, attrs: append(attrs, attrInt("layout", 1)), tol: approximate,
				in:   []*tensor.Tensor{evalOne(t, batchFirst), w, r, b, lens},
				want: []*tensor.Tensor{evalOne(t, opTest{op: "Transpose", opset: 13, attrs: []*graph.Attr{attrInts("perm", 2, 0, 1, 3)}, in: []*tensor.Tensor{y}})}},
			{name: "weights", op: c.name, opset: 14, attrs: attrs, in: []*tensor.Tensor{x, w, random(4, 2, rows, hidden+1), b}, err: "input 2 is"},
			{name: "type of lengths", op: c.name, opset: 14, attrs: attrs, in: []*tensor.Tensor{x, w, r, b, list[int64](4, 3)}, err: "wanted int32"},
			{name: "lengths", op: c.name, opset: 14, attrs: attrs, in: []*tensor.Tensor{x, w, r, b, list[int32](5, 3)}, err: "a sequence of length 5 in 4 steps"},
		})
	}
}

// TestRecurrentOptions uses one unit, so that each option shows as a number.
func TestRecurrentOptions(t *testing.T) {
	one := func(v ...float32) *tensor.Tensor { return tensor.Of(v, 1, len(v), 1) }
	x := tensor.Of([]float32{2}, 1, 1, 1)
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	cell := tensor.Of([]float32{3}, 1, 1, 1)
	affine := func(names ...string) *graph.Attr {
		a := &graph.Attr{Name: "activations", Type: graph.AttrStrings}
		for _, n := range names {
			a.Strings = append(a.Strings, []byte(n))
		}
		return a
	}
	y := func(v float32) *tensor.Tensor { return tensor.Of([]float32{v}, 1, 1, 1, 1) }
	state := func(v float32) *tensor.Tensor { return tensor.Of([]float32{v}, 1, 1, 1) }
	identity := affine("Affine", "Affine", "Affine")
	runOpTests(t, []opTest{
		{name: "affine", op: "RNN", opset: 7, attrs: []*graph.Attr{affine("Affine"), attrFloats("activation_alpha", 3), attrFloats("activation_beta", 1)},
			in: in(x, one(5), one(0)), want: in(y(31), state(31))},
		{name: "clip", op: "RNN", opset: 7, attrs: []*graph.Attr{affine("Relu"), attrFloat("clip", 4)}, in: in(x, one(5), one(0)), want: in(y(4), state(4))},
		{name: "initial state", op: "RNN", opset: 7, attrs: []*graph.Attr{affine("Relu")}, in: in(x, one(5), one(2), nil, nil, cell), want: in(y(16), state(16))},
		// i = 2·1 + 3·1 = 5, f = 2·1 + 3·2 = 8, c = 8·3 + 5·2 = 34,
		// o = 2·1 + 34·0.5 = 19, h = 19·34.
		{name: "peepholes", op: "LSTM", opset: 7, attrs: []*graph.Attr{identity},
			in:   in(x, one(1, 1, 1, 1), one(0, 0, 0, 0), nil, nil, nil, cell, tensor.Of([]float32{1, 0.5, 2}, 1, 3)),
			want: in(y(646), state(646), state(34))},
		// f = 1 − i = −1, c = −1·3 + 2·2 = 1, h = 2·1.
		{name: "input forget", op: "LSTM", opset: 7, attrs: []*graph.Attr{identity, attrInt("input_forget", 1)},
			in: in(x, one(1, 1, 1, 1), one(0, 0, 0, 0), nil, nil, nil, cell), want: in(y(2), state(2), state(1))},
		{name: "function", op: "RNN", opset: 7, attrs: []*graph.Attr{affine("Sine")}, in: in(x, one(5), one(0)), err: `activation "Sine" is not known`},
		{name: "functions", op: "GRU", opset: 7, attrs: []*graph.Attr{affine("Relu")}, in: in(x, one(5), one(0)), err: "1 activations, wanted 2"},
	})
}

// evalOne is the first output of a node.
func evalOne(t *testing.T, c opTest) *tensor.Tensor {
	t.Helper()
	o, err := parseOp(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]tensor.Value, len(c.in))
	for i, x := range c.in {
		values[i] = tensor.ValueOf(x)
	}
	out, err := Eval(&Ctx{}, o, values, 1)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Tensor
}

// ONNX Runtime takes the same steps: directions, lengths, first states, peepholes, both resets of a GRU, and sizes on
// either side of a block of units.
func TestRecurrentAgainstONNXRuntime(t *testing.T) {
	var tests []opTest
	for _, hidden := range []int{5, 32, 75} {
		for _, direction := range []string{"forward", "reverse", "bidirectional"} {
			directions := 1
			if direction == "bidirectional" {
				directions = 2
			}
			for _, c := range []struct {
				op    string
				gates int
				more  []*graph.Attr
			}{{"RNN", 1, nil}, {"GRU", 3, nil}, {"GRU", 3, []*graph.Attr{attrInt("linear_before_reset", 1)}}, {"LSTM", 4, nil}} {
				const steps, batch, width = 6, 3, 7
				weights := func(seed uint64, shape ...int) *tensor.Tensor {
					x := random(seed, shape...)
					for i := range tensor.Data[float32](x) {
						tensor.Data[float32](x)[i] /= 4
					}
					return x
				}
				in := []*tensor.Tensor{random(1, steps, batch, width), weights(2, directions, c.gates*hidden, width), weights(3, directions, c.gates*hidden, hidden),
					weights(4, directions, 2*c.gates*hidden), list[int32](6, 2, 5), random(5, directions, batch, hidden)}
				outs := 2
				if c.op == "LSTM" {
					in, outs = append(in, random(6, directions, batch, hidden), weights(7, directions, 3*hidden)), 3
				}
				attrs := append([]*graph.Attr{attrInt("hidden_size", int64(hidden)), attrString("direction", direction)}, c.more...)
				name := fmt.Sprint(direction, hidden, len(c.more))
				tests = append(tests,
					opTest{name: name, op: c.op, opset: 14, attrs: attrs, in: in[:4], outs: outs, tol: approximate},
					opTest{name: name + " with all", op: c.op, opset: 14, attrs: attrs, in: in, outs: outs, tol: approximate})
			}
		}
	}
	compareWithORT(t, tests)
}
