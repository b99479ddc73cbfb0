package op

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// recurrent is RNN, GRU and LSTM: a cell that runs over the steps of
// X[S N I] (layout 1: [N S I]) forwards, backwards or both, with the weights
// W[D G·H I], R[D G·H H] and B[D 2·G·H], where D is the number of directions
// and G the number of gates: 1, 3 (z r h) or 4 (i o f c). The equations are
// those of ONNX.
type recurrent struct {
	name         string
	gates        int
	hidden       int // 0: as R says
	directions   int
	reverse      bool // the only direction is backwards
	batchFirst   bool
	activations  []func(float64) float64 // per direction, per use
	slopes       []derivative            // theirs
	clip         float64
	linearBefore bool // GRU: R·h + b is formed before the reset gate
	inputForget  bool // LSTM: f = 1 − i
}

// maxInputs is X W R B sequence_lens initial_h, and for LSTM initial_c and P.
func (o *recurrent) maxInputs() int {
	if o.name == "LSTM" {
		return 8
	}
	return 6
}

func parseRecurrent(name string, gates int, defaults ...string) parser {
	return func(a *attrs) Op {
		o := &recurrent{name: name, gates: gates, directions: 1, clip: float64(a.float("clip", 0)), hidden: int(a.int("hidden_size", 0))}
		switch d := a.string("direction", "forward"); d {
		case "forward":
		case "reverse":
			o.reverse = true
		case "bidirectional":
			o.directions = 2
		default:
			a.fail(fmt.Errorf("attribute direction is %q", d))
		}
		if a.opset >= 14 {
			o.batchFirst = a.bool("layout", false)
		}
		switch name {
		case "GRU":
			o.linearBefore = a.bool("linear_before_reset", false)
		case "LSTM":
			o.inputForget = a.bool("input_forget", false)
		}
		names := a.strings("activations")
		if names == nil {
			for range o.directions {
				names = append(names, defaults...)
			}
		}
		if len(names) != o.directions*len(defaults) {
			a.fail(fmt.Errorf("%d activations, wanted %d", len(names), o.directions*len(defaults)))
		}
		alphas, betas := a.floats("activation_alpha"), a.floats("activation_beta")
		for _, n := range names {
			f, slope, err := activation(n, &alphas, &betas)
			if err != nil {
				a.fail(err)
			}
			o.activations, o.slopes = append(o.activations, f), append(o.slopes, slope)
		}
		return o
	}
}

// activation is a function by its name, and its derivative. One that has
// parameters takes them from the front of the lists; defaults stand where these
// are at their end.
func activation(name string, alphas, betas *[]float32) (func(float64) float64, derivative, error) {
	param := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	switch name {
	case "Relu":
		return func(x float64) float64 { return max(x, 0) }, func(x, _ float64) float64 { return stepped(x > 0, 1, 0) }, nil
	case "Tanh":
		return math.Tanh, derivatives["Tanh"], nil
	case "Sigmoid":
		return sigmoid, derivatives["Sigmoid"], nil
	case "Affine":
		alpha, beta := param(alphas, 1), param(betas, 0)
		return func(x float64) float64 { return alpha*x + beta }, func(_, _ float64) float64 { return alpha }, nil
	case "LeakyRelu":
		alpha := param(alphas, 0.01)
		return func(x float64) float64 {
			if x < 0 {
				return alpha * x
			}
			return x
		}, func(x, _ float64) float64 { return stepped(x > 0, 1, alpha) }, nil
	case "ThresholdedRelu":
		alpha := param(alphas, 1)
		return func(x float64) float64 {
			if x > alpha {
				return x
			}
			return 0
		}, func(x, _ float64) float64 { return stepped(x > alpha, 1, 0) }, nil
	case "ScaledTanh":
		alpha, beta := param(alphas, 1), param(betas, 1)
		return func(x float64) float64 { return alpha * math.Tanh(beta*x) }, func(x, _ float64) float64 {
			t := math.Tanh(beta * x)
			return alpha * beta * (1 - t*t)
		}, nil
	case "HardSigmoid":
		alpha, beta := param(alphas, 0.2), param(betas, 0.5)
		return func(x float64) float64 { return min(max(alpha*x+beta, 0), 1) },
			func(_, y float64) float64 { return stepped(y > 0 && y < 1, alpha, 0) }, nil
	case "Elu":
		alpha := param(alphas, 1)
		return func(x float64) float64 {
			if x < 0 {
				return alpha * math.Expm1(x)
			}
			return x
		}, func(x, y float64) float64 { return stepped(x > 0, 1, y+alpha) }, nil
	case "Softsign":
		return softsign, derivatives["Softsign"], nil
	case "Softplus":
		return softplus, derivatives["Softplus"], nil
	}
	return nil, nil, fmt.Errorf("activation %q is not known", name)
}

func (o *recurrent) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 3, o.maxInputs()); err != nil {
		return nil, err
	}
	floats := slices.Clone(in)
	if given(in, 4) {
		if l := in[4].DType; l != tensor.Undefined && l != tensor.Int32 {
			return nil, fmt.Errorf("sequence_lens is %s, wanted int32", in[4].Type)
		}
		floats = slices.Delete(floats, 4, 5)
	}
	d, err := sameDType(floats)
	if err != nil {
		return nil, err
	}
	steps, batch, width := graph.Unknown, graph.Unknown, graph.Unknown
	if in[0].Ranked {
		if err := withRank(in[0], "X", 3); err != nil {
			return nil, err
		}
		steps, batch, width = in[0].Shape[0], in[0].Shape[1], in[0].Shape[2]
		if o.batchFirst {
			steps, batch = batch, steps
		}
	}
	hidden := graph.Unknown
	if o.hidden > 0 {
		hidden = graph.Size(o.hidden)
	}
	if in[2].Ranked && len(in[2].Shape) == 3 {
		hidden = meet(hidden, in[2].Shape[2])
	}
	directions, gates := graph.Size(o.directions), graph.Size(o.gates)
	state := []graph.Dim{directions, batch, hidden}
	if o.batchFirst {
		state = []graph.Dim{batch, directions, hidden}
	}
	for i, want := range [][]graph.Dim{nil,
		{directions, gates.Mul(hidden), width},
		{directions, gates.Mul(hidden), hidden},
		{directions, graph.Size(2 * o.gates).Mul(hidden)},
		{batch}, state, state, {directions, graph.Size(3).Mul(hidden)}} {
		if i > 0 && given(in, i) && in[i].Ranked && unlike(in[i].Shape, want) {
			return nil, fmt.Errorf("input %d is %s, wanted %s", i, in[i].Type, graph.FormatShape(want, true))
		}
	}
	y := []graph.Dim{steps, directions, batch, hidden}
	if o.batchFirst {
		y = []graph.Dim{batch, steps, directions, hidden}
	}
	out := append(tensorFact(d, y...), tensorFact(d, state...)...)
	if o.name == "LSTM" {
		out = append(out, tensorFact(d, state...)...)
	}
	if nOut > len(out) {
		return nil, fmt.Errorf("found %d outputs, wanted at most %d", nOut, len(out))
	}
	return out[:nOut], nil
}

func (o *recurrent) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch in[0].Tensor.DType() {
	case tensor.Float32:
		return runRecurrent(ctx, o, in, out, kernel.Gemm32)
	case tensor.Float64:
		return runRecurrent(ctx, o, in, out, kernel.Gemm64)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType(o.name, in[0].Tensor.DType())
}

// A pass is one direction of a recurrent layer over one batch.
type pass[T float32 | float64] struct {
	o                    *recurrent
	steps, batch, hidden int
	act                  []func(float64) float64
	wb, rb, peep         []T // biases and peepholes; nil where left out
	xw, hr               []T // X·Wᵀ of a step and h·Rᵀ: [batch G·hidden]
	h, c                 []T // the state [batch hidden]
	reset                []T // GRU: r∘h
}

func runRecurrent[T float32 | float64](ctx *Ctx, o *recurrent, in, out []tensor.Value, gemm gemmFunc[T]) error {
	data := func(i int) []T {
		if t := optional(in, i); t != nil {
			return tensor.Data[T](t)
		}
		return nil
	}
	result := func(i int) []T {
		if t := optional(out, i); t != nil {
			return tensor.Data[T](t)
		}
		return nil
	}
	shape := in[0].Tensor.Shape()
	steps, batch, width := shape[0], shape[1], shape[2]
	if o.batchFirst {
		steps, batch = batch, steps
	}
	hidden := in[2].Tensor.Shape()[2]
	lens := make([]int, batch)
	for n := range lens {
		lens[n] = steps
	}
	if t := optional(in, 4); t != nil {
		lens, _ = intsIn(t)
		for _, n := range lens {
			if n < 0 || n > steps {
				return fmt.Errorf("a sequence of length %d in %d steps", n, steps)
			}
		}
	}
	x, w, r := data(0), data(1), data(2)
	y, yh, yc := result(0), result(1), result(2)
	rows := o.gates * hidden
	// Where a step of a sequence lies in X, and in Y.
	at := func(t, n int) int {
		if o.batchFirst {
			return n*steps + t
		}
		return t*batch + n
	}
	state := func(d, n int) int {
		if o.batchFirst {
			return (n*o.directions + d) * hidden
		}
		return (d*batch + n) * hidden
	}
	clear(y) // what lies past the end of a sequence is zero
	if batch == 0 {
		return nil
	}
	uses := len(o.activations) / o.directions
	for d := range o.directions {
		p := &pass[T]{o: o, steps: steps, batch: batch, hidden: hidden, act: o.activations[d*uses : (d+1)*uses],
			xw: make([]T, batch*rows), hr: make([]T, batch*rows), h: make([]T, batch*hidden), c: make([]T, batch*hidden), reset: make([]T, batch*hidden)}
		if b := data(3); b != nil {
			p.wb, p.rb = b[d*2*rows:d*2*rows+rows], b[d*2*rows+rows:(d+1)*2*rows]
		}
		if b := data(7); b != nil {
			p.peep = b[d*3*hidden : (d+1)*3*hidden]
		}
		for i, s := range [][]T{p.h, p.c} {
			if first := data(5 + i); first != nil {
				for n := range batch {
					copy(s[n*hidden:(n+1)*hidden], first[state(d, n):])
				}
			}
		}
		wd, rd := w[d*rows*width:(d+1)*rows*width], r[d*rows*hidden:(d+1)*rows*hidden]
		xt := make([]T, batch*width)
		for t := range steps {
			for n := range batch {
				if t < lens[n] {
					k := at(o.step(t, d, lens[n]), n)
					copy(xt[n*width:(n+1)*width], x[k*width:(k+1)*width])
				}
			}
			gemm(ctx.Pool, batch, rows, width, xt, width, 1, wd, 1, width, p.xw, rows, false)
			gemm(ctx.Pool, batch, rows, hidden, p.h, hidden, 1, rd, 1, hidden, p.hr, rows, false)
			if o.name == "GRU" && !o.linearBefore {
				// The last gate sees the state only through the reset gate.
				p.resetState(lens, t)
				gemm(ctx.Pool, batch, hidden, hidden, p.reset, hidden, 1, rd[2*hidden*hidden:], 1, hidden, p.hr[2*hidden:], rows, false)
			}
			for n := range batch {
				if t >= lens[n] {
					continue
				}
				p.cell(n)
				if y != nil {
					k := o.step(t, d, lens[n])
					to := ((k*o.directions+d)*batch + n) * hidden
					if o.batchFirst {
						to = ((n*steps+k)*o.directions + d) * hidden
					}
					copy(y[to:to+hidden], p.h[n*hidden:])
				}
			}
		}
		for n := range batch {
			if yh != nil {
				copy(yh[state(d, n):state(d, n)+hidden], p.h[n*hidden:])
			}
			if yc != nil {
				copy(yc[state(d, n):state(d, n)+hidden], p.c[n*hidden:])
			}
		}
	}
	return nil
}

// step is where the t-th step of a direction lies in a sequence.
func (o *recurrent) step(t, direction, length int) int {
	if o.reverse || direction == 1 {
		return length - 1 - t
	}
	return t
}

// gate is the clipped sum that goes into the k-th of all gates' elements,
// more (a peephole's part) included.
func (p *pass[T]) gate(n, k int, more float64) float64 {
	i := n*p.o.gates*p.hidden + k
	sum := float64(p.xw[i]) + float64(p.hr[i]) + more
	if p.wb != nil {
		sum += float64(p.wb[k]) + float64(p.rb[k])
	}
	return p.clipped(sum)
}

func (p *pass[T]) clipped(v float64) float64 {
	if p.o.clip > 0 {
		return min(max(v, -p.o.clip), p.o.clip)
	}
	return v
}

// resetState forms r∘h for the sequences that are not over.
func (p *pass[T]) resetState(lens []int, t int) {
	for n := range p.batch {
		for k := 0; k < p.hidden && t < lens[n]; k++ {
			p.reset[n*p.hidden+k] = T(p.act[0](p.gate(n, p.hidden+k, 0)) * float64(p.h[n*p.hidden+k]))
		}
	}
}

// cell computes the next state of sequence n.
func (p *pass[T]) cell(n int) {
	for k := range p.hidden {
		h := &p.h[n*p.hidden+k]
		switch p.o.name {
		case "RNN":
			*h = T(p.act[0](p.gate(n, k, 0)))
		case "GRU":
			z := p.act[0](p.gate(n, k, 0))
			candidate := p.gate(n, 2*p.hidden+k, 0)
			if p.o.linearBefore {
				i := n*3*p.hidden + 2*p.hidden + k
				inner, outer := float64(p.hr[i]), float64(p.xw[i])
				if p.wb != nil {
					inner += float64(p.rb[2*p.hidden+k])
					outer += float64(p.wb[2*p.hidden+k])
				}
				candidate = p.clipped(outer + p.act[0](p.gate(n, p.hidden+k, 0))*inner)
			}
			*h = T((1-z)*p.act[1](candidate) + z*float64(*h))
		case "LSTM":
			c := &p.c[n*p.hidden+k]
			peep := func(gate int, c T) float64 {
				if p.peep == nil {
					return 0
				}
				return float64(p.peep[gate*p.hidden+k]) * float64(c)
			}
			i := p.act[0](p.gate(n, k, peep(0, *c)))
			f := 1 - i
			if !p.o.inputForget {
				f = p.act[0](p.gate(n, 2*p.hidden+k, peep(2, *c)))
			}
			next := f*float64(*c) + i*p.act[1](p.gate(n, 3*p.hidden+k, 0))
			*c = T(next)
			o := p.act[0](p.gate(n, p.hidden+k, peep(1, *c)))
			*h = T(o * p.act[2](next))
		}
	}
}
