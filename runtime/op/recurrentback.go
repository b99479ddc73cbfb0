package op

import (
	"fmt"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// saves: the outputs are computed anew, with all that lies between.
func (*recurrent) saves(want []bool) ([]bool, bool) { return inputs(want, true), false }

// Backward is backpropagation through time, in float64.
func (o *recurrent) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	b := &recurrentBack{o: o, ctx: ctx}
	for i := range min(len(in), len(b.in)) {
		if i != 4 && present(in, i) {
			v, err := tensor.Float64s(in[i].Tensor)
			if err != nil {
				return err
			}
			b.in[i] = v
			if present(din, i) {
				b.din[i] = make([]float64, len(v))
			}
		}
	}
	for i := range min(len(dout), len(b.dout)) {
		if present(dout, i) {
			v, err := tensor.Float64s(dout[i].Tensor)
			if err != nil {
				return err
			}
			b.dout[i] = v
		}
	}
	shape := in[0].Tensor.Shape()
	b.steps, b.batch, b.width, b.hidden = shape[0], shape[1], shape[2], in[2].Tensor.Shape()[2]
	if o.batchFirst {
		b.steps, b.batch = b.batch, b.steps
	}
	b.lens = make([]int, b.batch)
	for n := range b.lens {
		b.lens[n] = b.steps
	}
	if t := optional(in, 4); t != nil {
		b.lens, _ = intsIn(t)
		for _, n := range b.lens {
			if n < 0 || n > b.steps {
				return fmt.Errorf("a sequence of length %d in %d steps", n, b.steps)
			}
		}
	}
	for d := range o.directions {
		b.direction(d)
	}
	for i, g := range b.din {
		if g != nil {
			if err := addWide(o.name, din[i], g); err != nil {
				return err
			}
		}
	}
	return nil
}

// recurrentBack is a recurrent layer's inputs and gradients, each nil where it
// is left out or not wanted: X W R B – initial_h initial_c P.
type recurrentBack struct {
	o       *recurrent
	ctx     *Ctx
	in, din [8][]float64
	dout    [3][]float64

	steps, batch, width, hidden int
	lens                        []int
}

// A moment is what one step of a direction computed: rows of the batch.
type moment struct {
	x, h, c []float64 // what it read: X[batch width], the state [batch hidden]
	xw, hr  []float64 // the two sums of each gate with their biases [batch G·hidden]
	gate    []float64 // functions of the gates
	clipped []bool    // the gate's sum was
	sum     []float64 // what the gate's function saw
	next    []float64 // LSTM: the next c
	resetH  []float64 // GRU: r∘h
}

// position is where the element of step t of sequence n lies in X, in rows.
func (b *recurrentBack) position(t, d, n int) int {
	k := b.o.step(t, d, b.lens[n])
	if b.o.batchFirst {
		return n*b.steps + k
	}
	return k*b.batch + n
}

// output is where it lies in Y.
func (b *recurrentBack) output(t, d, n int) int {
	k := b.o.step(t, d, b.lens[n])
	if b.o.batchFirst {
		return ((n*b.steps+k)*b.o.directions + d) * b.hidden
	}
	return ((k*b.o.directions+d)*b.batch + n) * b.hidden
}

// state is where the state of sequence n lies in an initial or last state.
func (b *recurrentBack) state(d, n int) int {
	if b.o.batchFirst {
		return (n*b.o.directions + d) * b.hidden
	}
	return (d*b.batch + n) * b.hidden
}

// slope is the derivative of the use-th function of direction d.
func (b *recurrentBack) slope(d, use int, sum, y float64, clipped bool) float64 {
	if clipped {
		return 0
	}
	return b.o.activations[d*len(b.o.activations)/b.o.directions+use].slope(sum, y)
}

func (b *recurrentBack) f(d, use int, x float64) float64 {
	return b.o.activations[d*len(b.o.activations)/b.o.directions+use].f(x)
}

// forward runs direction d and keeps what every step computed.
func (b *recurrentBack) forward(d int) []moment {
	o, hidden, rows := b.o, b.hidden, b.o.gates*b.hidden
	w, r := b.in[1][d*rows*b.width:(d+1)*rows*b.width], b.in[2][d*rows*hidden:(d+1)*rows*hidden]
	h, c := make([]float64, b.batch*hidden), make([]float64, b.batch*hidden)
	for i, s := range [][]float64{h, c} {
		for n := 0; n < b.batch && b.in[5+i] != nil; n++ {
			copy(s[n*hidden:(n+1)*hidden], b.in[5+i][b.state(d, n):])
		}
	}
	moments := make([]moment, b.steps)
	for t := range moments {
		m := moment{x: make([]float64, b.batch*b.width), h: h, c: c, xw: make([]float64, b.batch*rows), hr: make([]float64, b.batch*rows),
			gate: make([]float64, b.batch*rows), sum: make([]float64, b.batch*rows), clipped: make([]bool, b.batch*rows), next: make([]float64, b.batch*hidden)}
		h, c = append([]float64{}, h...), append([]float64{}, c...)
		for n := range b.batch {
			if t < b.lens[n] {
				copy(m.x[n*b.width:(n+1)*b.width], b.in[0][b.position(t, d, n)*b.width:])
			}
		}
		kernel.Gemm64(b.ctx.Pool, b.batch, rows, b.width, m.x, b.width, 1, w, 1, b.width, m.xw, rows, false)
		kernel.Gemm64(b.ctx.Pool, b.batch, rows, hidden, m.h, hidden, 1, r, 1, hidden, m.hr, rows, false)
		if bias := b.in[3]; bias != nil {
			for i := range m.xw {
				m.xw[i] += bias[d*2*rows+i%rows]
				m.hr[i] += bias[(d*2+1)*rows+i%rows]
			}
		}
		apply := func(n, gate, k, use int, sum float64) float64 {
			i := n*rows + gate*hidden + k
			v := sum
			if o.clip > 0 {
				v = min(max(sum, -o.clip), o.clip)
			}
			m.sum[i], m.clipped[i], m.gate[i] = v, v != sum, b.f(d, use, v)
			return m.gate[i]
		}
		if o.name == "GRU" {
			m.resetH = make([]float64, b.batch*hidden)
			for i := range m.resetH {
				n, k := i/hidden, i%hidden
				m.resetH[i] = apply(n, 1, k, 0, m.xw[n*rows+hidden+k]+m.hr[n*rows+hidden+k]) * m.h[i]
			}
			if !o.linearBefore {
				kernel.Gemm64(b.ctx.Pool, b.batch, hidden, hidden, m.resetH, hidden, 1, r[2*hidden*hidden:], 1, hidden, m.hr[2*hidden:], rows, false)
				for i := 0; i < b.batch*hidden && b.in[3] != nil; i++ {
					m.hr[i/hidden*rows+2*hidden+i%hidden] += b.in[3][(d*2+1)*rows+2*hidden+i%hidden]
				}
			}
		}
		for i := range b.batch * hidden {
			n, k := i/hidden, i%hidden
			if t >= b.lens[n] {
				continue
			}
			at := func(gate int) float64 { return m.xw[n*rows+gate*hidden+k] + m.hr[n*rows+gate*hidden+k] }
			switch o.name {
			case "RNN":
				h[i] = apply(n, 0, k, 0, at(0))
			case "GRU":
				z, sum := apply(n, 0, k, 0, at(0)), at(2)
				if o.linearBefore {
					sum = m.xw[n*rows+2*hidden+k] + m.gate[n*rows+hidden+k]*m.hr[n*rows+2*hidden+k]
				}
				h[i] = (1-z)*apply(n, 2, k, 1, sum) + z*m.h[i]
			case "LSTM":
				in := apply(n, 0, k, 0, at(0)+b.peep(d, 0, k)*m.c[i])
				forget := 1 - in
				if !o.inputForget {
					forget = apply(n, 2, k, 0, at(2)+b.peep(d, 2, k)*m.c[i])
				}
				c[i] = forget*m.c[i] + in*apply(n, 3, k, 1, at(3))
				m.next[i] = c[i]
				h[i] = apply(n, 1, k, 0, at(1)+b.peep(d, 1, k)*c[i]) * b.f(d, 2, c[i])
			}
		}
		moments[t] = m
	}
	return moments
}

// peep is a peephole's weight, 0 where there is none.
func (b *recurrentBack) peep(d, gate, k int) float64 {
	if b.in[7] == nil {
		return 0
	}
	return b.in[7][(d*3+gate)*b.hidden+k]
}

// direction adds the gradients of direction d.
func (b *recurrentBack) direction(d int) {
	hidden, rows := b.hidden, b.o.gates*b.hidden
	moments := b.forward(d)
	// Of the state behind the step at hand.
	dh, dc := make([]float64, b.batch*hidden), make([]float64, b.batch*hidden)
	for i, s := range [][]float64{dh, dc} {
		for n := 0; n < b.batch && b.dout[1+i] != nil; n++ {
			copy(s[n*hidden:(n+1)*hidden], b.dout[1+i][b.state(d, n):])
		}
	}
	part := func(v []float64, size int) []float64 {
		if v == nil {
			return nil
		}
		return v[d*size : (d+1)*size]
	}
	w, r := part(b.in[1], rows*b.width), part(b.in[2], rows*hidden)
	dw, dr, db := part(b.din[1], rows*b.width), part(b.din[2], rows*hidden), part(b.din[3], 2*rows)
	dxw, dhr, dx := make([]float64, b.batch*rows), make([]float64, b.batch*rows), make([]float64, b.batch*b.width)
	for t := b.steps - 1; t >= 0; t-- {
		m := &moments[t]
		clear(dxw)
		clear(dhr)
		for i := range b.batch * hidden {
			if n := i / hidden; t < b.lens[n] {
				if b.dout[0] != nil {
					dh[i] += b.dout[0][b.output(t, d, n)+i%hidden]
				}
				b.cell(d, m, i, dh, dc, dxw, dhr)
			}
		}
		gated := b.o.name == "GRU" && !b.o.linearBefore
		direct := rows // gates that see h itself
		if gated {
			direct = 2 * hidden
			through := make([]float64, b.batch*hidden) // by r∘h
			kernel.Gemm64(b.ctx.Pool, b.batch, hidden, hidden, dhr[2*hidden:], rows, 1, r[2*hidden*hidden:], hidden, 1, through, hidden, false)
			for i, g := range through {
				n, at := i/hidden, i/hidden*rows+hidden+i%hidden
				if t < b.lens[n] {
					s := g * m.h[i] * b.slope(d, 0, m.sum[at], m.gate[at], m.clipped[at])
					dxw[at], dhr[at] = s, s
					dh[i] += g * m.gate[at]
				}
			}
			if dr != nil {
				kernel.Gemm64(b.ctx.Pool, hidden, hidden, b.batch, dhr[2*hidden:], 1, rows, m.resetH, hidden, 1, dr[2*hidden*hidden:], hidden, true)
			}
		}
		kernel.Gemm64(b.ctx.Pool, b.batch, hidden, direct, dhr, rows, 1, r, hidden, 1, dh, hidden, true)
		if dr != nil {
			kernel.Gemm64(b.ctx.Pool, direct, hidden, b.batch, dhr, 1, rows, m.h, hidden, 1, dr, hidden, true)
		}
		if dw != nil {
			kernel.Gemm64(b.ctx.Pool, rows, b.width, b.batch, dxw, 1, rows, m.x, b.width, 1, dw, b.width, true)
		}
		for i := 0; i < b.batch*rows && db != nil; i++ {
			db[i%rows] += dxw[i]
			db[rows+i%rows] += dhr[i]
		}
		if b.din[0] != nil {
			kernel.Gemm64(b.ctx.Pool, b.batch, b.width, rows, dxw, rows, 1, w, b.width, 1, dx, b.width, false)
			for n := range b.batch {
				if t < b.lens[n] {
					at := b.position(t, d, n) * b.width
					addTo(b.din[0][at:at+b.width], dx[n*b.width:])
				}
			}
		}
	}
	for i, s := range [][]float64{dh, dc} {
		for n := 0; n < b.batch && b.din[5+i] != nil; n++ {
			addTo(b.din[5+i][b.state(d, n):b.state(d, n)+hidden], s[n*hidden:])
		}
	}
}

// cell takes the gradients of element i of the next state to those of the
// gates' sums; dh and dc become what reaches the state before by itself.
func (b *recurrentBack) cell(d int, m *moment, i int, dh, dc, dxw, dhr []float64) {
	o, hidden, rows := b.o, b.hidden, b.o.gates*b.hidden
	n, k := i/hidden, i%hidden
	// both is the gradient by a gate's sum, of which that of its function is dy.
	both := func(gate, use int, dy float64) float64 {
		at := n*rows + gate*hidden + k
		g := dy * b.slope(d, use, m.sum[at], m.gate[at], m.clipped[at])
		dxw[at], dhr[at] = g, g
		return g
	}
	gate := func(g int) float64 { return m.gate[n*rows+g*hidden+k] }
	switch o.name {
	case "RNN":
		both(0, 0, dh[i])
		dh[i] = 0
	case "GRU":
		z, candidate := gate(0), gate(2)
		both(0, 0, dh[i]*(m.h[i]-candidate))
		g := both(2, 1, dh[i]*(1-z))
		if o.linearBefore {
			at := n*rows + 2*hidden + k
			both(1, 0, g*m.hr[at])
			dhr[at] = g * gate(1)
		}
		dh[i] *= z
	case "LSTM":
		next := m.next[i]
		y := b.f(d, 2, next)
		by := both(1, 0, dh[i]*y)
		g := dc[i] + dh[i]*gate(1)*b.slope(d, 2, next, y, false) + by*b.peep(d, 1, k)
		in, forget := gate(0), gate(2)
		din := g * gate(3)
		var byForget float64
		if o.inputForget {
			forget = 1 - in
			din -= g * m.c[i]
		} else {
			byForget = both(2, 0, g*m.c[i])
		}
		byIn := both(0, 0, din)
		both(3, 1, g*in)
		dh[i], dc[i] = 0, g*forget+byIn*b.peep(d, 0, k)+byForget*b.peep(d, 2, k)
		if p := b.din[7]; p != nil {
			for gate, v := range [3]float64{byIn * m.c[i], by * next, byForget * m.c[i]} {
				p[(d*3+gate)*hidden+k] += v
			}
		}
	}
}
