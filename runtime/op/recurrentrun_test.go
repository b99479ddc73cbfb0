package op

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// plainStates is the states of a recurrent layer after each of its steps, by the equations in float64, as the way back
// computes them anew: those in Y's order, and where LSTM has one the last c.
func plainStates(t *testing.T, o *recurrent, in []tensor.Value) (y, lastC []float64) {
	t.Helper()
	shape := in[0].Tensor.Shape()
	b := &recurrentBack{o: o, ctx: &Ctx{}, steps: shape[0], batch: shape[1], width: shape[2], hidden: in[2].Tensor.Shape()[2]}
	if o.batchFirst {
		b.steps, b.batch = b.batch, b.steps
	}
	for i := range in {
		if i == 4 || !present(in, i) {
			continue
		}
		v, err := tensor.Float64s(in[i].Tensor)
		if err != nil {
			t.Fatal(err)
		}
		b.in[i] = v
	}
	b.lens = make([]int, b.batch)
	setAll(b.lens, b.steps)
	if present(in, 4) {
		b.lens, _ = intsIn(in[4].Tensor)
	}
	y, lastC = make([]float64, b.steps*o.directions*b.batch*b.hidden), make([]float64, o.directions*b.batch*b.hidden)
	for d := range o.directions {
		moments := b.forward(d)
		for n := range b.batch {
			for s := range b.lens[n] {
				at := b.output(s, d, n)
				if s+1 < len(moments) { // what the next step reads
					copy(y[at:at+b.hidden], moments[s+1].h[n*b.hidden:])
					continue
				}
				for k := range b.hidden {
					y[at+k] = b.lastState(d, moments[s], n, k)
				}
			}
			if n, s := n, b.lens[n]; s > 0 {
				copy(lastC[b.state(d, n):b.state(d, n)+b.hidden], moments[s-1].next[n*b.hidden:])
			}
		}
	}
	return y, lastC
}

// lastState is element k of sequence n's state after the last step.
func (b *recurrentBack) lastState(d int, m moment, n, k int) float64 {
	g := func(gate int) float64 { return m.gate[n*b.o.gates*b.hidden+gate*b.hidden+k] }
	switch b.o.name {
	case "GRU":
		return (1-g(0))*g(2) + g(0)*m.h[n*b.hidden+k]
	case "LSTM":
		return g(1) * b.f(d, 2, m.next[n*b.hidden+k])
	}
	return g(0)
}

// Parts of a batch, steps by the piece, vectors and every option give what the equations do, and the same bits on any
// number of threads.
func TestRecurrentAgainstEquations(t *testing.T) {
	pools := poolsOfThree(t)
	type attrs = []*graph.Attr
	names := func(v ...string) *graph.Attr {
		a := &graph.Attr{Name: "activations", Type: graph.AttrStrings}
		for _, n := range v {
			a.Strings = append(a.Strings, []byte(n))
		}
		return a
	}
	both := attrString("direction", "bidirectional")
	layout := attrInt("layout", 1)
	for i, c := range []struct {
		op                          string
		gates                       int
		steps, batch, width, hidden int
		attrs                       attrs
		lens, bias, states, peep    bool
	}{
		{op: "LSTM", gates: 4, steps: 7, batch: 1, width: 5, hidden: 9, bias: true},
		{op: "LSTM", gates: 4, steps: 70, batch: 21, width: 24, hidden: 40, bias: true, states: true},
		{op: "LSTM", gates: 4, steps: 9, batch: 5, width: 3, hidden: 17, attrs: attrs{both, layout}, lens: true, bias: true, peep: true, states: true},
		{op: "LSTM", gates: 4, steps: 4, batch: 17, width: 3, hidden: 20, attrs: attrs{attrInt("input_forget", 1), attrFloat("clip", 0.4)}, lens: true, peep: true},
		{op: "LSTM", gates: 4, steps: 5, batch: 3, width: 6, hidden: 7, attrs: attrs{names("HardSigmoid", "Softsign", "Elu"), attrString("direction", "reverse")}},
		{op: "GRU", gates: 3, steps: 80, batch: 19, width: 30, hidden: 50, bias: true, states: true},
		{op: "GRU", gates: 3, steps: 6, batch: 9, width: 30, hidden: 33, attrs: attrs{both, attrInt("linear_before_reset", 1)}, lens: true, bias: true},
		{op: "GRU", gates: 3, steps: 6, batch: 2, width: 4, hidden: 16, attrs: attrs{layout, attrInt("linear_before_reset", 1), attrFloat("clip", 0.3)}, states: true},
		{op: "GRU", gates: 3, steps: 6, batch: 40, width: 4, hidden: 64, attrs: attrs{both, names("Sigmoid", "LeakyRelu", "Sigmoid", "Relu")}, lens: true},
		{op: "RNN", gates: 1, steps: 30, batch: 33, width: 70, hidden: 90, attrs: attrs{both, names("Tanh", "Affine")}, lens: true, bias: true},
		{op: "RNN", gates: 1, steps: 300, batch: 1, width: 200, hidden: 300, bias: true},
		{op: "RNN", gates: 1, steps: 9, batch: 4, width: 50, hidden: 70, attrs: attrs{names("LeakyRelu"), attrFloats("activation_alpha", 0.3)}},
		// Cores share the units of a step.
		{op: "LSTM", gates: 4, steps: 3, batch: 1, width: 9, hidden: 450, bias: true},
		{op: "LSTM", gates: 4, steps: 4, batch: 3, width: 5, hidden: 450, attrs: attrs{both}, lens: true, states: true, peep: true},
		{op: "GRU", gates: 3, steps: 4, batch: 5, width: 9, hidden: 520, bias: true, states: true},
		{op: "GRU", gates: 3, steps: 3, batch: 2, width: 9, hidden: 515, attrs: attrs{attrInt("linear_before_reset", 1), attrString("direction", "reverse")}, lens: true},
	} {
		directions := 1
		if slices.Contains(c.attrs, both) {
			directions = 2
		}
		seed := uint64(10 * i)
		small := func(k int, shape ...int) *tensor.Tensor { // weights that keep states between their limits
			x := random(seed+uint64(k), shape...)
			for i := range tensor.Data[float32](x) {
				tensor.Data[float32](x)[i] *= 1 / float32(math.Sqrt(float64(c.hidden)))
			}
			return x
		}
		x, state := []int{c.steps, c.batch, c.width}, []int{directions, c.batch, c.hidden}
		y := []int{c.steps, directions, c.batch, c.hidden}
		if slices.Contains(c.attrs, layout) {
			x, state, y = []int{c.batch, c.steps, c.width}, []int{c.batch, directions, c.hidden}, []int{c.batch, c.steps, directions, c.hidden}
		}
		in := make([]*tensor.Tensor, 6, 8)
		in[0], in[1], in[2] = random(seed, x...), small(1, directions, c.gates*c.hidden, c.width), small(2, directions, c.gates*c.hidden, c.hidden)
		if c.bias {
			in[3] = small(3, directions, 2*c.gates*c.hidden)
		}
		if c.lens {
			in[4] = tensor.New(tensor.Int32, c.batch)
			for n := range c.batch {
				tensor.Data[int32](in[4])[n] = int32((n*5 + 3) % (c.steps + 1))
			}
		}
		if c.states {
			in[5] = small(4, state...)
		}
		if c.op == "LSTM" {
			in = append(in, nil, nil)
			if c.states {
				in[6] = small(5, state...)
			}
			if c.peep {
				in[7] = small(6, directions, 3*c.hidden)
			}
		}
		name := fmt.Sprintf("case %d, %s", i, c.op)
		outs := 2
		if c.op == "LSTM" {
			outs = 3
		}
		parsed, err := parseOp(opTest{op: c.op, opset: 14, attrs: c.attrs, in: in}, outs)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
			values := make([]tensor.Value, len(in))
			for k, x := range in {
				switch {
				case x == nil:
				case x.DType() == tensor.Float32:
					values[k] = tensor.ValueOf(as(d, x))
				default:
					values[k] = tensor.ValueOf(x)
				}
			}
			want, wantC := plainStates(t, parsed.(*recurrent), values)
			within := 2e-5
			if d == tensor.Float64 {
				within = 1e-12
			}
			var first [][]byte
			run := func(o Op, p *kernel.Pool) []tensor.Value {
				out := make([]tensor.Value, outs)
				for k, shape := range [][]int{y, state, state}[:outs] {
					out[k] = tensor.ValueOf(tensor.New(d, shape...))
					for i := range out[k].Tensor.Bytes() {
						out[k].Tensor.Bytes()[i] = 0x7f // nothing may be left of what was there
					}
				}
				if err := o.Forward(&Ctx{Pool: p}, values, out); err != nil {
					t.Fatal(name, err)
				}
				return out
			}
			kept := parsed.(Keeper).Keeping(slices.Repeat([]bool{true}, len(in)))
			for _, p := range pools {
				out := run(parsed, p)
				got, err := tensor.Float64s(out[0].Tensor)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range got {
					if !(math.Abs(v-want[k]) < within*(1+math.Abs(want[k]))) {
						t.Fatalf("%s of %v: element %d of Y is %v, wanted %v", name, d, k, v, want[k])
					}
				}
				if !c.lens && c.op == "LSTM" {
					got, err := tensor.Float64s(out[2].Tensor)
					if err != nil {
						t.Fatal(err)
					}
					for k, v := range got {
						if !(math.Abs(v-wantC[k]) < within*(1+math.Abs(wantC[k]))) {
							t.Fatalf("%s of %v: element %d of the last c is %v, wanted %v", name, d, k, v, wantC[k])
						}
					}
				}
				for k := range out {
					if b := out[k].Tensor.Bytes(); p == nil {
						first = append(first, slices.Clone(b))
					} else if !slices.Equal(b, first[k]) {
						t.Errorf("%s of %v: output %d on %d threads has other bits than on one", name, d, k, p.Threads())
					}
				}
				for range 2 {
					for k, v := range run(kept, p) {
						if !slices.Equal(v.Tensor.Bytes(), first[k]) {
							t.Errorf("%s of %v: output %d has other bits with weights that were kept", name, d, k)
						}
					}
				}
			}
		}
	}
}

// Weights are kept only where all of them are the same in every run.
func TestRecurrentKeeping(t *testing.T) {
	in := []*tensor.Tensor{random(1, 3, 2, 4), random(2, 1, 20, 4), random(3, 1, 20, 5), random(4, 1, 40), nil, nil, nil, random(5, 1, 15)}
	parsed, err := parseOp(opTest{op: "LSTM", opset: 14, in: in}, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := parsed.(Keeper)
	for i, want := range []bool{true, false, false, false, true, true, true, false} {
		same := slices.Repeat([]bool{true}, len(in))
		same[i] = false
		if got := o.Keeping(same) != nil; got != want {
			t.Errorf("input %d differs: kept is %v, want %v", i, got, want)
		}
	}
	// In float16 they are kept too, though not as they came.
	values := make([]tensor.Value, len(in))
	for i, x := range in {
		if x != nil {
			values[i] = tensor.ValueOf(as(tensor.Float16, x))
		}
	}
	want, err := Eval(&Ctx{}, parsed, values, 1)
	if err != nil {
		t.Fatal(err)
	}
	kept := o.Keeping(slices.Repeat([]bool{true}, len(in)))
	for range 3 {
		got, err := Eval(&Ctx{}, kept, values, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[0].Tensor.Bytes(), want[0].Tensor.Bytes()) {
			t.Error("weights of float16 that were kept give other bits")
		}
		s := floatScratches.get(1000) // what the weights were converted to is used for something else
		setAll(*s, 9)
		floatScratches.Put(s)
	}
}
