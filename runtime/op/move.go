package op

import (
	"slices"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A box is a rectangular part of a tensor to be copied to one of another:
// how many elements along each axis, where the first lies on either side, and
// the distance to the next. A source stride of 0 repeats, a negative one
// turns around.
type box struct {
	shape      []int
	dstAt, src int
	dstStrides []int
	srcStrides []int
}

// copyBox copies a part of src into dst, of the same element type, over all cores of the pool.
func copyBox(p *kernel.Pool, name string, dst, src *tensor.Tensor, b box) error {
	if product(b.shape) == 0 {
		return nil
	}
	b = b.merged()
	if dst.DType() == tensor.String {
		moveBox[string](p, dst, src, b)
		return nil
	}
	switch dst.DType().Bits() {
	case 8:
		moveBox[uint8](p, dst, src, b)
	case 16:
		moveBox[uint16](p, dst, src, b)
	case 32:
		moveBox[uint32](p, dst, src, b)
	case 64:
		moveBox[uint64](p, dst, src, b)
	case 128:
		moveBox[complex128](p, dst, src, b)
	default:
		return unsupportedType(name, dst.DType())
	}
	return nil
}

// merged drops axes of one element and joins neighbours that both sides step
// through as one.
func (b box) merged() box {
	m := box{dstAt: b.dstAt, src: b.src}
	for i, d := range b.shape {
		if d == 1 {
			continue
		}
		if n := len(m.shape) - 1; n >= 0 && m.dstStrides[n] == b.dstStrides[i]*d && m.srcStrides[n] == b.srcStrides[i]*d {
			m.shape[n] *= d
			m.dstStrides[n], m.srcStrides[n] = b.dstStrides[i], b.srcStrides[i]
			continue
		}
		m.shape = append(m.shape, d)
		m.dstStrides = append(m.dstStrides, b.dstStrides[i])
		m.srcStrides = append(m.srcStrides, b.srcStrides[i])
	}
	if len(m.shape) == 0 {
		m.shape, m.dstStrides, m.srcStrides = []int{1}, []int{1}, []int{1}
	}
	return m
}

// moveBox copies a merged box, whose axes it may put into another order.
func moveBox[T tensor.Elem](p *kernel.Pool, dst, src *tensor.Tensor, b box) {
	to, from := tensor.Data[T](dst), tensor.Data[T](src)
	if b.arrange() {
		moveTiles(p, to, from, b)
		return
	}
	last := len(b.shape) - 1
	ds, ss := b.dstStrides[last], b.srcStrides[last]
	copyRows := rowCopier[T](dst, src)
	b.share(p, func(at, src, n, runs, nextAt, nextSrc int) {
		if ds == 1 && ss == 1 {
			copyRows(runs, n, at, nextAt, src, nextSrc)
			return
		}
		for range runs {
			if ds == 1 && ss == 0 {
				repeat(to[at:at+n], from[src])
			} else {
				d, s := at, src
				for range n {
					to[d] = from[s]
					d += ds
					s += ss
				}
			}
			at, src = at+nextAt, src+nextSrc
		}
	})
}

// rowCopier is what copies rows of n elements, ds and ss apart, from position src of x on to position at of y on.
func rowCopier[T tensor.Elem](y, x *tensor.Tensor) func(rows, n, at, ds, src, ss int) {
	to, from := tensor.Data[T](y), tensor.Data[T](x)
	size := y.DType().Bits() / 8
	return func(rows, n, at, ds, src, ss int) {
		if y.DType() != tensor.String && ss >= 0 {
			kernel.CopyRows(rows, n*size, y.Bytes()[at*size:], ds*size, x.Bytes()[src*size:], ss*size)
			return
		}
		for i := range rows {
			copy(to[at+i*ds:][:n], from[src+i*ss:])
		}
	}
}

// repeat fills a run with v.
func repeat[T tensor.Elem](run []T, v T) {
	head := run[:min(len(run), 256)]
	for i := range head {
		head[i] = v
	}
	for done := len(head); done < len(run); {
		done += copy(run[done:], head) // memory is filled faster by blocks
	}
}

// shortRun is how long a run must be for a loop of its own, tileEdge how many neighbours on either side make a
// tile worth while.
const shortRun, tileEdge = 4, 8

// arrange puts the axis last that the innermost loop is to go along: runs that lie together on both sides, else
// the axis of the shortest steps. Where the two sides disagree, so that one of them would touch a cache line for
// each element, it puts the axis along which the source lies together before the one along which the
// destination does, and reports that the two are to be copied in tiles.
func (b box) arrange() (tiled bool) {
	a := slices.Index(b.dstStrides, 1)
	if a >= 0 {
		step := distance(b.srcStrides[a])
		if b.shape[a] >= shortRun && step <= 1 && b.srcStrides[a] >= 0 {
			b.toEnd(a)
			return false
		}
		if b.shape[a] >= tileEdge && step >= tileEdge {
			best := -1
			for i, d := range b.shape {
				if s := distance(b.srcStrides[i]); i != a && d >= tileEdge && s < step {
					best, step = i, s
				}
			}
			if best >= 0 {
				b.toEnd(best)
				if best < a {
					a--
				}
				b.toEnd(a)
				return true
			}
		}
	}
	best := len(b.shape) - 1
	for i := best - 1; i >= 0; i-- {
		if b.shape[best] < tileEdge && b.shape[i] > b.shape[best] ||
			b.shape[i] >= tileEdge && b.stepping(i) < b.stepping(best) {
			best = i
		}
	}
	b.toEnd(best)
	return false
}

// stepping is how far apart neighbours along an axis lie, on both sides.
func (b box) stepping(axis int) int {
	return distance(b.dstStrides[axis]) + distance(b.srcStrides[axis])
}

func distance(step int) int { return max(step, -step) }

// toEnd makes an axis the last one.
func (b box) toEnd(axis int) {
	for _, list := range [][]int{b.shape, b.dstStrides, b.srcStrides} {
		v := list[axis]
		copy(list[axis:], list[axis+1:])
		list[len(list)-1] = v
	}
}

// moveTiles copies a box whose last two axes are tiles, over all cores: along the last one the destination lies
// together.
func moveTiles[T tensor.Elem](p *kernel.Pool, to, from []T, b box) {
	t := b.tiling()
	p.For(t.count, t.grain, func(lo, hi int) { moveTilesIn(to, from, b, t, lo, hi) })
}

// A tiling is the pieces of a box's last two axes, high·wide elements each, as tasks.
type tiling struct{ high, wide, across, down, count, grain int }

func (b box) tiling() (t tiling) {
	last := len(b.shape) - 1
	m, n := b.shape[last-1], b.shape[last]
	t.wide = min(n, 1024) // a piece of the last two axes that is worth a task
	t.high = min(m, max(16, elementGrain/t.wide&^15))
	t.across, t.down = (n-1)/t.wide+1, (m-1)/t.high+1
	t.count, t.grain = product(b.shape[:last-1])*t.across*t.down, max(1, elementGrain/(t.wide*t.high))
	return t
}

// moveTilesIn copies the pieces lo … hi−1.
func moveTilesIn[T tensor.Elem](to, from []T, b box, by tiling, lo, hi int) {
	last := len(b.shape) - 1
	m, n := b.shape[last-1], b.shape[last]
	ds, ss, step := b.dstStrides[last-1], b.srcStrides[last-1], b.srcStrides[last]
	for t := lo; t < hi; t++ {
		i, j := t/by.across%by.down*by.high, t%by.across*by.wide
		at, src := b.position(t/(by.across*by.down), last-1)
		moveTile(to, from, at+i*ds+j, src+i*ss+j*step, min(by.high, m-i), min(by.wide, n-j), ds, ss, step)
	}
}

// moveTile copies m rows of n elements, which lie together in to, and step apart in from; ds and ss lead to the
// next row. Eight columns go down the rows together: as many streams as a cache has room for at any distance.
func moveTile[T tensor.Elem](to, from []T, at, src, m, n, ds, ss, step int) {
	j := 0
	for ; j+8 <= n; j += 8 {
		d, s := at+j, src+j*step
		for range m {
			row := to[d : d+8 : d+8]
			row[0], row[1], row[2], row[3] = from[s], from[s+step], from[s+2*step], from[s+3*step]
			row[4], row[5], row[6], row[7] = from[s+4*step], from[s+5*step], from[s+6*step], from[s+7*step]
			d += ds
			s += ss
		}
	}
	for ; j < n; j++ {
		d, s := at+j, src+j*step
		for range m {
			to[d] = from[s]
			d += ds
			s += ss
		}
	}
}

// rows calls f for each run of the innermost axis with the positions of its
// first element on either side and its length. No axis is empty.
func (b box) rows(f func(at, src, n int)) { b.rowsIn(0, product(b.shape[:len(b.shape)-1]), f) }

// rowsIn is rows from the lo-th to before the hi-th.
func (b box) rowsIn(lo, hi int, f func(at, src, n int)) {
	n := b.shape[len(b.shape)-1]
	b.groupsIn(lo, hi, func(at, src, runs, ds, ss int) {
		for range runs {
			f(at, src, n)
			at += ds
			src += ss
		}
	})
}

// groupsIn is rowsIn with one call for runs that are ds and ss apart.
func (b box) groupsIn(lo, hi int, f func(at, src, runs, ds, ss int)) {
	last := len(b.shape) - 1
	if last == 0 {
		f(b.dstAt, b.src, 1, 0, 0)
		return
	}
	count, ds, ss := b.shape[last-1], b.dstStrides[last-1], b.srcStrides[last-1]
	var room [8]int
	idx := room[:]
	if last-1 > len(room) {
		idx = make([]int, last-1)
	}
	for i, rest := last-2, lo/count; i >= 0; i-- {
		idx[i] = rest % b.shape[i]
		rest /= b.shape[i]
	}
	first := lo % count // of the runs along the axis before the innermost
	at, src := b.position(lo-first, last)
	for {
		runs := min(count-first, hi-lo)
		f(at+first*ds, src+first*ss, runs, ds, ss)
		if lo += runs; lo >= hi {
			return
		}
		first = 0
		for i := last - 2; i >= 0; i-- {
			idx[i]++
			at += b.dstStrides[i]
			src += b.srcStrides[i]
			if idx[i] < b.shape[i] {
				break
			}
			at -= b.dstStrides[i] * b.shape[i]
			src -= b.srcStrides[i] * b.shape[i]
			idx[i] = 0
		}
	}
}

// position is where the k-th entry of the first axes begins on either side.
func (b box) position(k, axes int) (at, src int) {
	at, src = b.dstAt, b.src
	for i := axes - 1; i >= 0; i-- {
		at += k % b.shape[i] * b.dstStrides[i]
		src += k % b.shape[i] * b.srcStrides[i]
		k /= b.shape[i]
	}
	return at, src
}

// share calls f, over all cores, for each run of the innermost axis, of n elements, or for several that are nextAt and
// nextSrc apart, in no order.
func (b box) share(p *kernel.Pool, f func(at, src, n, runs, nextAt, nextSrc int)) {
	last := len(b.shape) - 1
	n, rows := b.shape[last], product(b.shape[:last])
	group := func(at, src, runs, ds, ss int) { f(at, src, n, runs, ds, ss) }
	if p.Threads() == 1 || rows*n <= elementGrain {
		b.groupsIn(0, rows, group)
		return
	}
	pieces := (n-1)/elementGrain + 1
	p.For(rows*pieces, max(1, elementGrain/n), func(lo, hi int) {
		if pieces == 1 {
			b.groupsIn(lo, hi, group)
			return
		}
		for t := lo; t < hi; t++ {
			at, src := b.position(t/pieces, last)
			k := t % pieces * elementGrain
			f(at+k*b.dstStrides[last], src+k*b.srcStrides[last], min(elementGrain, n-k), 1, 0, 0)
		}
	})
}

// cells is the elements of a tensor as something that can be copied without
// knowing their type.
type cells struct {
	size  int
	bytes []byte
	strs  []string
}

// cellsOf fails for element types that share bytes.
func cellsOf(name string, t *tensor.Tensor) (cells, error) {
	if t.DType() == tensor.String {
		return cells{strs: tensor.Data[string](t)}, nil
	}
	if t.DType().Bits() < 8 {
		return cells{}, unsupportedType(name, t.DType())
	}
	return cells{size: t.DType().Bits() / 8, bytes: t.Bytes()}, nil
}

// copy copies n elements from position from of src to position at.
func (c cells) copy(at int, src cells, from, n int) {
	if c.strs != nil || src.strs != nil {
		copy(c.strs[at:at+n], src.strs[from:from+n])
		return
	}
	copy(c.bytes[at*c.size:(at+n)*c.size], src.bytes[from*c.size:(from+n)*c.size])
}

// copyRows copies rows of n elements, ds and ss apart.
func (c cells) copyRows(rows, n, at, ds int, src cells, from, ss int) {
	if c.strs == nil && src.strs == nil {
		k := c.size
		kernel.CopyRows(rows, n*k, c.bytes[at*k:], ds*k, src.bytes[from*k:], ss*k)
		return
	}
	for i := range rows {
		c.copy(at+i*ds, src, from+i*ss, n)
	}
}

// repeat copies the first element of src to n positions from position at on.
func (c cells) repeat(at int, src cells, n int) {
	const near = 1 << 11 // of these the next ones are copied
	c.copy(at, src, 0, min(n, 1))
	for done := 1; done < n; {
		k := min(done, n-done, near)
		c.copy(at+done, c, at, k)
		done += k
	}
}

// cellsPair is cellsOf an output and an input of one element type.
func cellsPair(name string, dst, src *tensor.Tensor) (to, from cells, err error) {
	if to, err = cellsOf(name, dst); err == nil {
		from, err = cellsOf(name, src)
	}
	return to, from, err
}
