package op

import (
	"fmt"
	"sync"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// recurrentMath is what a recurrent layer takes from its element type.
type recurrentMath[T float] struct {
	unit   int                                             // how many units' gates lie together; 0: all
	matrix func(k int, w []T, order []int) weightMatrix[T] // of W[n k], its rows in that order
	row    func(g gateFunction, v []T)
	cells  *cellFunctions[T] // where the kernels have them
	rooms  *scratchPool[T]
	runs   *sync.Pool // of *recurrentRun[T]
}

var recurrent32 = recurrentMath[float32]{
	unit: kernel.PanelColumns, matrix: packRows, row: gateFunction.row32, rooms: &floatScratches, runs: new(sync.Pool),
	cells: &cellFunctions[float32]{kernel.LSTMCell32, kernel.GRUCell32, kernel.GRULateCell32, kernel.Gated32, kernel.UnaryRows32},
}

var recurrent64 = recurrentMath[float64]{matrix: plainRows, row: gateFunction.row64, rooms: &wideScratches, runs: new(sync.Pool)}

// A recurrentRun is a recurrent layer at work on its inputs. It is kept for the next run.
type recurrentRun[T float] struct {
	recurrentMath[T]
	o                           *recurrent
	steps, batch, width, hidden int
	lens                        []int
	even                        bool // all sequences have all steps
	x, first, firstC            []T  // the first states: nil where left out
	y, last, lastC              []T  // nil where not wanted
	ways                        []recurrentWay[T]
	each                        int // sequences of a part
	shared                      int // units of what a core takes of a step, where cores share it
	cellPool                    sync.Pool
	partFn                      func(lo, hi int) // part, bound once
}

// runRecurrent runs a layer. Where kept is not nil the weights are the same in every run, and it keeps them.
func runRecurrent[T float](ctx *Ctx, o *recurrent, in, out []tensor.Value, how *recurrentMath[T], kept *recurrentWeights[T]) error {
	data := func(list []tensor.Value, i int) []T {
		if t := optional(list, i); t != nil {
			return tensor.Data[T](t)
		}
		return nil
	}
	r, _ := how.runs.Get().(*recurrentRun[T])
	if r == nil {
		r = &recurrentRun[T]{}
		r.partFn = r.part
	}
	shape := in[0].Tensor.Shape()
	r.recurrentMath, r.o = *how, o
	r.steps, r.batch, r.width, r.hidden = shape[0], shape[1], shape[2], in[2].Tensor.Shape()[2]
	r.x, r.first, r.firstC = data(in, 0), data(in, 5), data(in, 6)
	r.y, r.last, r.lastC = data(out, 0), data(out, 1), data(out, 2)
	if o.batchFirst {
		r.steps, r.batch = r.batch, r.steps
	}
	if r.unit == 0 {
		r.unit = max(1, r.hidden)
	}
	if err := r.lengths(optional(in, 4)); err != nil {
		return err
	}
	if r.batch == 0 {
		return nil
	}
	pool := ctx.Pool
	if work := r.batch * r.steps * o.gates * r.hidden * (r.width + r.hidden + gateWork); work < recurrentAlone {
		pool = nil
	}
	var err error
	if r.ways, err = kept.ways(pool, r, in); err != nil {
		return err
	}
	r.share(pool)
	r.o, r.ways, r.x, r.first, r.firstC, r.y, r.last, r.lastC = nil, nil, nil, nil, nil, nil, nil, nil
	how.runs.Put(r)
	return nil
}

// lengths sets those of the sequences from an input, which may be missing.
func (r *recurrentRun[T]) lengths(t *tensor.Tensor) error {
	r.lens, r.even = r.lens[:0], true
	for range r.batch {
		r.lens = append(r.lens, r.steps)
	}
	if t == nil {
		return nil
	}
	for i, n := range tensor.Data[int32](t) {
		if n < 0 || int(n) > r.steps {
			return fmt.Errorf("a sequence of length %d in %d steps", n, r.steps)
		}
		r.lens[i] = int(n)
		r.even = r.even && int(n) == r.steps
	}
	return nil
}

// gateWork is what the functions of a gate's element cost beside its products, and recurrentAlone what the layer that
// is not shared out costs, both in multiplications.
const gateWork, recurrentAlone = 64, 2 << 20

// share runs all parts: some sequences through a direction, which need no other part. No result depends on the cut, as
// each element is the same sum in any product.
func (r *recurrentRun[T]) share(pool *kernel.Pool) {
	directions, threads := r.o.directions, pool.Threads()
	cuts := 1 // of the sequences
	r.shared = max(1, r.hidden)
	switch {
	case threads <= directions:
	case r.steady():
		// The cores share out the units in every step: for the few sequences of each, all weights would take longer
		// to fetch than cores do to meet.
		r.shared = ((r.hidden-1)/(r.unit*threads) + 1) * r.unit
		for d := range directions {
			r.run(pool, d, 0, r.batch)
		}
		return
	default:
		cuts = max(min(r.batch, (threads-1)/directions+1), (r.batch-1)/partSequences+1)
	}
	r.each = (r.batch-1)/cuts + 1
	if parts := directions * ((r.batch-1)/r.each + 1); parts > 1 {
		pool.For(parts, 1, r.partFn)
		return
	}
	if r.width < wideInput*r.hidden {
		pool = nil // what another core has multiplied takes longer to fetch than it saved
	}
	r.run(pool, 0, 0, r.batch)
}

// partSequences is the most sequences of a part: what multiplies at full speed, while another core is as likely to take
// the next part.
const partSequences = 8

// wideInput is how many times as wide as its state an input is that cores share out for one sequence.
const wideInput = 4

// steady reports whether cores share out the units in every step, not the sequences.
func (r *recurrentRun[T]) steady() bool {
	weights := r.o.gates * r.hidden * r.hidden
	return r.unit < r.hidden && (r.batch == 1 && weights >= steadyAlone || r.batch <= steadyFew && weights >= steadyMany)
}

// steadyAlone is the weights from which on that pays for a sequence, which nothing else shares out, steadyMany those from
// which on it is better than to share out a few sequences.
const steadyAlone, steadyMany, steadyFew = 1 << 18, 3 << 18, 8

// part runs a part alone.
func (r *recurrentRun[T]) part(t, _ int) {
	blocks := (r.batch-1)/r.each + 1
	n := t % blocks * r.each
	r.run(nil, t/blocks, n, min(r.each, r.batch-n))
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

// run takes m sequences from n on through direction d. Backwards it begins at the last step of the longest sequence: a
// shorter one keeps its first state until its own end comes up.
func (r *recurrentRun[T]) run(p *kernel.Pool, d, n, m int) {
	w, width, rows := &r.ways[d], r.width, r.o.gates*r.hidden
	at := min(r.steps, max(1, inputRoom/max(1, m*rows))) // steps at once
	copied := 0
	if r.apart(m) {
		copied = at * m * width
	}
	room := r.rooms.get(copied + at*m*rows + 4*m*r.hidden)
	rest := *room
	cut := func(n int) (s []T) { s, rest = rest[:n:n], rest[n:]; return s }
	xs, gates := cut(copied), cut(at*m*rows)
	c := r.cell(w, m, cut(4*m*r.hidden))
	c.begin(d, n)
	backwards := r.o.reverse || d == 1
	for done := 0; done < r.steps; done += at {
		count := min(at, r.steps-done)
		first := done
		if backwards {
			first = r.steps - done - count
		}
		c.inputs(p, count*m, r.inputs(xs, first, count, n, m), gates)
		for k := range count {
			if backwards {
				k = count - 1 - k
			}
			c.look(first+k, n)
			c.step(p, gates[k*m*rows:(k+1)*m*rows])
			c.write(first+k, d, n)
		}
	}
	c.end(d, n)
	c.w, c.x = nil, nil
	r.cellPool.Put(c)
	r.rooms.Put(room)
}

// apart reports whether m sequences' rows of X do not lie together, one step after the other.
func (r *recurrentRun[T]) apart(m int) bool { return m < r.batch || r.o.batchFirst && m > 1 }

// inputs is the rows of m sequences from n on for count steps, copied to xs where they lie apart.
func (r *recurrentRun[T]) inputs(xs []T, first, count, n, m int) []T {
	width := r.width
	if !r.apart(m) {
		return r.x[r.inputAt(first, n)*width:]
	}
	for k := range count {
		to := xs[k*m*width : (k+1)*m*width]
		if !r.o.batchFirst {
			copy(to, r.x[r.inputAt(first+k, n)*width:])
			continue
		}
		for i := range m {
			copy(to[i*width:(i+1)*width], r.x[r.inputAt(first+k, n+i)*width:])
		}
	}
	return xs
}
