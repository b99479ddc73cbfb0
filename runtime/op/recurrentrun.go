package op

import (
	"fmt"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A weightProduct computes C[m n] = A[m k]·Wᵀ, or adds to C, with the rows of A and of C lda and ldc apart.
type weightProduct[T float] func(p *kernel.Pool, m int, a []T, lda int, c []T, ldc int, add bool)

// recurrentMath is what a recurrent layer takes from its element type.
type recurrentMath[T float] struct {
	weights func(n, k int, w []T) weightProduct[T] // of W[n k]
	row     func(g gateFunction, v []T)
	rooms   *scratchPool[T]
}

func productOf32(n, k int, w []float32) weightProduct[float32] {
	packed := kernel.Pack32(k, n, w, 1, k) // every step multiplies by it
	return func(p *kernel.Pool, m int, a []float32, lda int, c []float32, ldc int, add bool) {
		kernel.GemmPacked32(p, m, a, lda, 1, packed, c, ldc, add)
	}
}

func productOf64(n, k int, w []float64) weightProduct[float64] {
	return func(p *kernel.Pool, m int, a []float64, lda int, c []float64, ldc int, add bool) {
		kernel.Gemm64(p, m, n, k, a, lda, 1, w, 1, k, c, ldc, add)
	}
}

// A recurrentRun is a recurrent layer at work on its inputs.
type recurrentRun[T float] struct {
	recurrentMath[T]
	o                           *recurrent
	steps, batch, width, hidden int
	lens                        []int
	x, first, firstC            []T // the first states: nil where left out
	y, last, lastC              []T // nil where not wanted
	ways                        []recurrentWay[T]
}

// A recurrentWay is the weights of a direction.
type recurrentWay[T float] struct {
	act         []gateFunction
	input, back weightProduct[T] // W, and R or its first gates
	candidate   weightProduct[T] // GRU: R of the last gate
	bias        []T              // what X·Wᵀ begins with: nil, or one for each gate's element
	inner       []T              // GRU that resets late: the last gate's bias within the reset
	peep        []T              // nil where left out
}

func runRecurrent[T float](ctx *Ctx, o *recurrent, in, out []tensor.Value, how recurrentMath[T]) error {
	data := func(list []tensor.Value, i int) []T {
		if t := optional(list, i); t != nil {
			return tensor.Data[T](t)
		}
		return nil
	}
	shape := in[0].Tensor.Shape()
	r := &recurrentRun[T]{recurrentMath: how, o: o, steps: shape[0], batch: shape[1], width: shape[2], hidden: in[2].Tensor.Shape()[2],
		x: data(in, 0), first: data(in, 5), firstC: data(in, 6), y: data(out, 0), last: data(out, 1), lastC: data(out, 2)}
	if o.batchFirst {
		r.steps, r.batch = r.batch, r.steps
	}
	r.lens = make([]int, r.batch)
	setAll(r.lens, r.steps)
	if t := optional(in, 4); t != nil {
		r.lens, _ = intsIn(t)
		for _, n := range r.lens {
			if n < 0 || n > r.steps {
				return fmt.Errorf("a sequence of length %d in %d steps", n, r.steps)
			}
		}
	}
	clear(r.y) // what lies past the end of a sequence is zero
	if r.batch == 0 {
		return nil
	}
	pool := ctx.Pool
	if work := r.batch * r.steps * o.gates * r.hidden * (r.width + r.hidden + gateWork); work < recurrentAlone {
		pool = nil
	}
	r.ways = make([]recurrentWay[T], o.directions)
	var lay []func()
	for d := range r.ways {
		lay = append(lay, r.way(d, data(in, 1), data(in, 2), data(in, 3), data(in, 7))...)
	}
	pool.For(len(lay), 1, func(lo, _ int) { lay[lo]() })
	// Sequences go through their steps independently of each other, so cores share them out, not the steps. The cut
	// is by the shapes alone. Where it leaves one part, cores share its products.
	each := r.sequences()
	blocks := (r.batch-1)/each + 1
	parts, within := o.directions*blocks, pool
	if parts > 1 {
		within = nil
	}
	pool.For(parts, 1, func(t, _ int) {
		n := t % blocks * each
		r.run(within, t/blocks, n, min(each, r.batch-n))
	})
	return nil
}

// gateWork is what the functions of a gate's element cost beside its products, and recurrentAlone what the layer that
// is not shared out costs, both in multiplications.
const gateWork, recurrentAlone = 64, 2 << 20

// sequences is how many of them a part has: enough for products at full speed, if that leaves parts for two cores.
func (r *recurrentRun[T]) sequences() int {
	const good = 8
	if r.o.directions > 1 {
		return good
	}
	return min(good, (r.batch-1)/2+1)
}

// way makes the weights of direction d of w[D G·H I], u[D G·H H], b[D 2·G·H] and peep[D 3·H], and returns what lays
// them out, in any order.
func (r *recurrentRun[T]) way(d int, w, u, b, peep []T) (lay []func()) {
	o, hidden, rows := r.o, r.hidden, r.o.gates*r.hidden
	u = u[d*rows*hidden : (d+1)*rows*hidden]
	uses := len(o.activations) / o.directions
	way := &r.ways[d]
	way.act = o.activations[d*uses : (d+1)*uses]
	product := func(to *weightProduct[T], n, k int, w []T) {
		lay = append(lay, func() { *to = r.weights(n, k, w) })
	}
	product(&way.input, rows, r.width, w[d*rows*r.width:(d+1)*rows*r.width])
	if o.name == "GRU" {
		product(&way.back, 2*hidden, hidden, u[:2*hidden*hidden])
		product(&way.candidate, hidden, hidden, u[2*hidden*hidden:])
		way.inner = make([]T, hidden)
	} else {
		product(&way.back, rows, hidden, u)
	}
	if b != nil {
		wb, ub := b[d*2*rows:d*2*rows+rows], b[d*2*rows+rows:(d+1)*2*rows]
		way.bias = make([]T, rows)
		for i, v := range wb {
			way.bias[i] = v + ub[i]
		}
		if o.name == "GRU" && o.linearBefore {
			copy(way.bias[2*hidden:], wb[2*hidden:])
			copy(way.inner, ub[2*hidden:])
		}
	}
	if peep != nil {
		way.peep = peep[d*3*hidden : (d+1)*3*hidden]
	}
	return lay
}

// inputAt is where the step k of sequence n lies in X, in rows, outputAt where its state goes in Y, and stateAt where
// a first or last state lies.
func (r *recurrentRun[T]) inputAt(k, n int) int {
	if r.o.batchFirst {
		return n*r.steps + k
	}
	return k*r.batch + n
}

func (r *recurrentRun[T]) outputAt(k, d, n int) int {
	if r.o.batchFirst {
		return ((n*r.steps+k)*r.o.directions + d) * r.hidden
	}
	return ((k*r.o.directions+d)*r.batch + n) * r.hidden
}

func (r *recurrentRun[T]) stateAt(d, n int) int {
	if r.o.batchFirst {
		return (n*r.o.directions + d) * r.hidden
	}
	return (d*r.batch + n) * r.hidden
}

// inputRoom is how many elements of X·Wᵀ are formed at once, over some steps: as many as a near cache has room for.
const inputRoom = 1 << 16

// run takes m sequences from n on through direction d.
func (r *recurrentRun[T]) run(p *kernel.Pool, d, n, m int) {
	o, w, hidden, width, rows := r.o, &r.ways[d], r.hidden, r.width, r.o.gates*r.hidden
	at := min(r.steps, max(1, inputRoom/max(1, m*rows))) // steps at once
	room := r.rooms.get(at*m*(width+rows) + 3*m*hidden)
	defer r.rooms.Put(room)
	rest := *room
	cut := func(n int) (s []T) { s, rest = rest[:n:n], rest[n:]; return s }
	xs, gates := cut(at*m*width), cut(at*m*rows)
	c := &recurrentCell[T]{r: r, w: w, h: cut(m * hidden), c: cut(m * hidden), extra: cut(m * hidden), live: make([]bool, m)}
	clear(c.h)
	clear(c.c)
	clear(c.extra)
	for i := range m {
		if r.first != nil {
			copy(c.h[i*hidden:(i+1)*hidden], r.first[r.stateAt(d, n+i):])
		}
		if r.firstC != nil {
			copy(c.c[i*hidden:(i+1)*hidden], r.firstC[r.stateAt(d, n+i):])
		}
	}
	for from := 0; from < r.steps; from += at {
		count := min(at, r.steps-from)
		for k := range count * m {
			row, t, i := xs[k*width:(k+1)*width], from+k/m, n+k%m
			if t >= r.lens[i] {
				clear(row)
				continue
			}
			copy(row, r.x[r.inputAt(o.step(t, d, r.lens[i]), i)*width:])
		}
		for k := 0; k < count*m && w.bias != nil; k++ {
			copy(gates[k*rows:(k+1)*rows], w.bias)
		}
		w.input(p, count*m, xs, width, gates, rows, w.bias != nil)
		for k := range count {
			t := from + k
			for i := range c.live {
				c.live[i] = t < r.lens[n+i]
			}
			c.step(p, gates[k*m*rows:(k+1)*m*rows])
			for i, live := range c.live {
				if live && r.y != nil {
					copy(r.y[r.outputAt(o.step(t, d, r.lens[n+i]), d, n+i):], c.h[i*hidden:(i+1)*hidden])
				}
			}
		}
	}
	for i := range m {
		if r.last != nil {
			copy(r.last[r.stateAt(d, n+i):], c.h[i*hidden:(i+1)*hidden])
		}
		if r.lastC != nil {
			copy(r.lastC[r.stateAt(d, n+i):], c.c[i*hidden:(i+1)*hidden])
		}
	}
}
