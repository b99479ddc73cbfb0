package kernel

import (
	"fmt"
	"sync"
)

// Conv is a convolution (that of neural networks: the window is not turned around) of
// X[Images Groups·C H W] with W[Groups·M C KH KW] to Y[Images Groups·M OH OW]:
//
//	y[i, g·M+m, oy, ox] = Σ x[i, g·C+c, oy·SY + ty·DY - Top, ox·SX + tx·DX - Left] · w[g·M+m, c, ty, tx]
//
// over c, ty and tx, where what lies outside of X is 0.
type Conv struct {
	Images, Groups int
	C, M           int // channels of X and of Y in a group
	H, W, OH, OW   int
	KH, KW         int
	SY, SX, DY, DX int // steps of the window and between its elements, at least 1
	Top, Left      int // the padding before the first row and column, at least 0
}

// The sizes of tasks, in elements of float32.
const (
	convChunk  = 64 << 10 // of X and Y that a product at a time works on: they stay in the L2 cache
	convStrip  = 96 << 10 // of X's rows that are laid out at a time
	convGrain  = 1 << 19  // multiplications that are worth a task
	convSlack  = 64       // what kernels may read after the end of a row
	depthBlock = 4        // rows that depth computes at a time
	convTasks  = 16       // what cores need to finish together
	convRows   = 32       // channels of Y that are worth reading X for
)

// Conv32 computes y = f(conv(x, w) + bias) with one bias for each channel of Y, or none where bias is
// nil. f, α and β are those of [Unary32]. y must not overlap x, w or bias. Slices too short panic.
func Conv32(p *Pool, s Conv, y, x, w, bias []float32, f Function, alpha, beta float32) {
	s.check(len(y), len(x), len(w), len(bias), bias == nil)
	if s.Images*s.Groups*s.M*s.OH*s.OW == 0 {
		return
	}
	j, _ := convJobs.Get().(*convJob)
	if j == nil {
		j = &convJob{}
		j.pointsFn, j.planesFn, j.stripsFn, j.flatsFn = j.points, j.planes, j.strips, j.flats
	}
	in := active.Load()
	j.Conv, j.path, j.y, j.x, j.w, j.bias = s, in, y, x, w, bias
	j.f, j.alpha, j.beta, j.act = f, alpha, beta, in.unary[f]
	work := s.M * s.OH * s.OW * s.C * s.KH * s.KW // of an image and group
	all := work * s.Images * s.Groups
	if s.C*s.M == 1 {
		all *= 8 // a sum of few terms waits for memory
	}
	if !p.worth(all) {
		p = nil
	}
	switch {
	case s.C == 0:
		j.empty()
	case s.KH*s.KW == 1 && s.SY*s.SX == 1 && s.Top+s.Left == 0 && s.OH == s.H && s.OW == s.W:
		places := s.OH * s.OW
		j.cut = max(64, convChunk/(s.M+s.C)/32*32)
		j.cuts = (places + j.cut - 1) / j.cut
		j.split = max(1, min(convTasks/(s.Images*s.Groups*j.cuts), work/j.cuts/convGrain, s.M/convRows))
		p.For(s.Images*s.Groups*j.cuts*j.split, max(1, convGrain/(work/j.cuts/j.split+1)), j.pointsFn)
	case s.C == 1 && s.M == 1 && s.KH == s.KW && (s.KH == 3 || s.KH == 5) && s.DY*s.DX == 1 && s.SY <= 2 && s.SX <= 2:
		if j.depth = depthKernel(in, s.KH, s.SX, s.SY); j.depth == nil {
			j.depth = depthGenerics[s.KH/2-1][s.SX-1][s.SY-1]
		}
		j.layOut((s.OH + depthBlock - 1) / depthBlock * depthBlock)
		p.For(s.Images*s.Groups, max(1, convGrain/8/(work+1)), j.planesFn)
	case j.isFlat():
		tasks := j.flatTasks(work)
		p.For(tasks, max(1, convGrain/(work/(j.cuts*j.split)+1)), j.flatsFn)
	default:
		j.arrange()
		j.cut = max(1, min(s.OH, convStrip/(s.C*j.pitch)/s.SY-s.KH*s.DY/s.SY))
		j.cut = min(j.cut, max(2*s.KH, s.OH*s.Images*s.Groups/convTasks))
		j.cuts = (s.OH + j.cut - 1) / j.cut
		j.rows = (j.cut-1)*s.SY + (s.KH-1)*s.DY + 1
		p.For(s.Images*s.Groups*j.cuts, max(1, convGrain/(work/j.cuts+1)), j.stripsFn)
	}
	*j = convJob{pointsFn: j.pointsFn, planesFn: j.planesFn, stripsFn: j.stripsFn, flatsFn: j.flatsFn, weights: j.weights}
	convJobs.Put(j)
}

// check panics where a slice is too short, or where a size is none.
func (s *Conv) check(y, x, w, bias int, noBias bool) {
	bad := min(s.Images, s.Groups, s.C, s.M, s.H, s.W, s.OH, s.OW, s.Top, s.Left) < 0 || min(s.KH, s.KW, s.SY, s.SX, s.DY, s.DX) < 1
	if bad || x < s.Images*s.Groups*s.C*s.H*s.W || y < s.Images*s.Groups*s.M*s.OH*s.OW ||
		w < s.Groups*s.M*s.C*s.KH*s.KW || !noBias && bias < s.Groups*s.M {
		panic(fmt.Sprintf("kernel: convolution %+v of %d elements with %d weights and %d biases into %d", *s, x, w, bias, y))
	}
}

// convJob is one Conv32 in progress, kept for the next one.
type convJob struct {
	Conv
	path          *path
	y, x, w, bias []float32
	f             Function
	alpha, beta   float32
	act           unary[float32]

	cut, cuts int // columns or rows of a task, and the tasks of a group of an image
	split     int // of the channels of Y, for tasks of their own

	// Rows of X as the kernels read them: so many rows of a strip, of pitch elements: SX parts of
	// phase elements each, for the columns that lie SX apart.
	rows, pitch, phase int
	depth              depth
	weights            []float32 // W in another order, see arrange

	pointsFn, planesFn, stripsFn, flatsFn func(lo, hi int)
}

var convJobs sync.Pool

// convScratch is the memory of one task, kept for the next one.
type convScratch struct{ buf []float32 }

var convScratches sync.Pool

func scratch(n int) *convScratch {
	c, _ := convScratches.Get().(*convScratch)
	if c == nil {
		c = &convScratch{}
	}
	if len(c.buf) < n {
		c.buf = aligned[float32](n)
	}
	return c
}

// empty is a convolution of no channels: only the bias is left.
func (j *convJob) empty() {
	places := j.OH * j.OW
	for k := range j.Images * j.Groups * j.M {
		row := j.y[k*places : (k+1)*places]
		fillWith(row, after32(j.bias, k%(j.Groups*j.M)))
		if j.act != nil {
			j.act(1, places, row, places, row, places, j.alpha, j.beta)
		}
	}
}

// after32 is bias[i], 0 where there is none.
func after32(bias []float32, i int) float32 {
	if bias == nil {
		return 0
	}
	return bias[i]
}

// fillWith sets all elements of row to v.
func fillWith(row []float32, v float32) {
	if len(row) == 0 {
		return
	}
	n := min(len(row), 16)
	for i := range row[:n] {
		row[i] = v
	}
	for ; n < len(row); n *= 2 {
		copy(row[n:], row[:n])
	}
}

// points does chunks of convolutions with a window of one element: a product of W[M C] with X[C places].
func (j *convJob) points(lo, hi int) {
	places := j.OH * j.OW
	for t := lo; t < hi; t++ {
		part, p := t/j.split/j.cuts, t/j.split%j.cuts*j.cut
		n, g := min(j.cut, places-p), part%j.Groups
		m0, m1 := j.M*(t%j.split)/j.split, j.M*(t%j.split+1)/j.split
		y := j.y[(part*j.M+m0)*places+p:]
		e := Epilogue32{F: j.f, Alpha: j.alpha, Beta: j.beta}
		if j.bias != nil {
			for m := range m1 - m0 {
				fillWith(y[m*places:m*places+n], j.bias[g*j.M+m0+m])
			}
			e.Add, e.AddStride = y, places
		}
		var ends ends[float32]
		e.ends(&ends, j.path, m1-m0, n)
		gemm(j.path.f32, nil, m1-m0, n, j.C, j.w[(g*j.M+m0)*j.C:], j.C, 1, j.x[part*j.C*places+p:], places, 1, nil, y, places, ends)
	}
}

// layOut sets pitch and rows for so many rows of the output.
func (j *convJob) layOut(rows int) {
	width := max((j.OW-1)*j.SX+(j.KW-1)*j.DX+1, j.Left+j.W)
	j.phase = (width + j.SX - 1) / j.SX
	j.pitch = j.phase * j.SX
	j.rows = (rows-1)*j.SY + (j.KH-1)*j.DY + 1
}

// padRow lays out row iy of a plane of X, one of zeros where it has none.
func (j *convJob) padRow(dst, plane []float32, iy int) {
	dst = dst[:j.pitch]
	if iy < 0 || iy >= j.H {
		clear(dst)
		return
	}
	src := plane[iy*j.W : (iy+1)*j.W]
	switch j.SX {
	case 1:
		clear(dst[:j.Left])
		clear(dst[j.Left+copy(dst[j.Left:], src):])
	case 2:
		a := dst[j.Left&1*j.phase : (j.Left&1+1)*j.phase]     // of the elements at even places
		b := dst[(1-j.Left&1)*j.phase : (2-j.Left&1)*j.phase] // at odd ones
		la, lb := j.Left/2, (j.Left+1)/2
		clear(a[:la])
		clear(b[:lb])
		k := halves(a[la:], b[lb:], src)
		for ; 2*k+1 < len(src); k++ {
			a[la+k], b[lb+k] = src[2*k], src[2*k+1]
		}
		na, nb := la+k, lb+k
		if len(src)%2 == 1 {
			a[na] = src[len(src)-1]
			na++
		}
		clear(a[na:])
		clear(b[nb:])
	default:
		clear(dst)
		for i, v := range src {
			q := i + j.Left
			dst[q%j.SX*j.phase+q/j.SX] = v
		}
	}
}

// planes does depthwise convolutions, a channel at a time.
func (j *convJob) planes(lo, hi int) {
	taps, places := j.KH*j.KW, j.OH*j.OW
	c := scratch(j.rows*j.pitch + convSlack + taps + 1)
	w := c.buf[j.rows*j.pitch+convSlack:]
	for k := lo; k < hi; k++ {
		plane := j.x[k*j.H*j.W : (k+1)*j.H*j.W]
		for r := range j.rows {
			j.padRow(c.buf[r*j.pitch:], plane, r-j.Top)
		}
		g := k % j.Groups
		copy(w[:taps], j.w[g*taps:(g+1)*taps])
		w[taps] = after32(j.bias, g)
		y := j.y[k*places : (k+1)*places]
		j.depth(j.OH, j.OW, c.buf, j.pitch, j.phase, w[:taps+1], y, j.OW)
		if j.act != nil {
			j.act(1, places, y, places, y, places, j.alpha, j.beta)
		}
	}
	convScratches.Put(c)
}

// depth computes, for i < rows and j < cols, with a window of K×K elements in steps of SX and SY,
//
//	y[i·ys+j] = w[K·K] + Σ_ty Σ_tx w[ty·K+tx] · x[(i·SY+ty)·xs + tx%SX·phase + tx/SX + j]
//
// in this order. It may read x for rows up to a multiple of depthBlock, and convSlack elements further.
type depth func(rows, cols int, x []float32, xs, phase int, w, y []float32, ys int)

// depthGenerics is depthGeneric by window and steps, see depthKernel.
var depthGenerics = func() (out [2][2][2]depth) {
	for k := range 2 {
		for sx := range 2 {
			for sy := range 2 {
				out[k][sx][sy] = func(rows, cols int, x []float32, xs, phase int, w, y []float32, ys int) {
					depthGeneric(2*k+3, sx+1, sy+1, rows, cols, x, xs, phase, w, y, ys)
				}
			}
		}
	}
	return out
}()

func depthGeneric(k, sx, sy, rows, cols int, x []float32, xs, phase int, w, y []float32, ys int) {
	for i := range rows {
		row := y[i*ys : i*ys+cols]
		fillWith(row, w[k*k])
		for ty := range k {
			for tx := range k {
				a := w[ty*k+tx]
				for q, v := range x[(i*sy+ty)*xs+tx%sx*phase+tx/sx:][:cols] {
					row[q] += a * v
				}
			}
		}
	}
}

// arrange lays out rows of all channels after each other. A convolution is a product over the channels
// for each element of the window then, or, where the channels are few, one for each column of it, over
// its rows too. The weights of each product are laid out together: where they stand in W they would fill
// a cache line each, and all of W would go through the cache for each element of the window.
func (j *convJob) arrange() {
	j.layOut(1)
	rows, taps := j.joined(), j.KH*j.KW
	n := j.Groups * j.M * j.C * taps
	if cap(j.weights) < n {
		j.weights = make([]float32, n)
	}
	j.weights = j.weights[:n]
	k, products := rows*j.C, taps/rows
	for g := range j.Groups {
		for m := range j.M {
			w := j.w[(g*j.M+m)*j.C*taps : (g*j.M+m+1)*j.C*taps]
			for t := range taps {
				q, row := t, 0
				if rows > 1 {
					q, row = t%j.KW, t/j.KW
				}
				to := j.weights[((g*products+q)*j.M+m)*k+row*j.C:][:j.C]
				for c, i := 0, t; c < len(to); c, i = c+1, i+taps {
					to[c] = w[i]
				}
			}
		}
	}
}

// joined is how many rows of the window go into one product.
func (j *convJob) joined() int {
	if j.DY == 1 && j.C < fewChannels {
		return j.KH
	}
	return 1
}

// fewChannels is the number from which on a product over the channels alone is long enough.
const fewChannels = 32

// strips does convolutions with any window, some rows of the output at a time.
func (j *convJob) strips(lo, hi int) {
	places, im := j.OH*j.OW, j.path.f32
	c := scratch(j.rows*j.C*j.pitch + im.nr*j.M)
	starts := c.buf[j.rows*j.C*j.pitch:] // the biases, in as many columns as a panel has
	joined := j.joined()
	k, products := joined*j.C, j.KH/joined*j.KW
	for t := lo; t < hi; t++ {
		part, oy := t/j.cuts, t%j.cuts*j.cut
		n, g := min(j.cut, j.OH-oy), part%j.Groups
		for r := range (n-1)*j.SY + (j.KH-1)*j.DY + 1 {
			for ch := range j.C {
				plane := j.x[(part*j.C+ch)*j.H*j.W : (part*j.C+ch+1)*j.H*j.W]
				j.padRow(c.buf[(r*j.C+ch)*j.pitch:], plane, oy*j.SY-j.Top+r)
			}
		}
		for m := range j.M {
			fillWith(starts[m*im.nr:(m+1)*im.nr], after32(j.bias, g*j.M+m))
		}
		for i := range n {
			for ox := 0; ox < j.OW; ox += im.nr {
				cols := min(im.nr, j.OW-ox)
				y := j.y[part*j.M*places+(oy+i)*j.OW+ox:]
				from, ldf := starts, im.nr
				for q := range products {
					ty, tx := q/j.KW, q%j.KW*j.DX
					w := j.weights[(g*products+q)*j.M*k:]
					x := c.buf[(i*j.SY+ty*j.DY)*j.C*j.pitch+tx%j.SX*j.phase+tx/j.SX+ox:]
					for k0 := 0; k0 < k; k0 += blockK {
						last := q == products-1 && k0+blockK >= k
						im.tile(j.M, min(blockK, k-k0), w[k0:], k, 1, x[k0*j.pitch:], j.pitch, y, places, cols, from, ldf, last && j.f == Relu)
						from, ldf = y, places
					}
				}
				if j.act != nil && j.f != Relu {
					j.act(j.M, cols, y, places, y, places, j.alpha, j.beta)
				}
			}
		}
	}
	convScratches.Put(c)
}

// Interleave32 computes dst[2i] = even[i] and dst[2i+1] = odd[i] for all of even and odd, which are of
// one length.
func Interleave32(dst, even, odd []float32) {
	dst, odd = dst[:2*len(even)], odd[:len(even)]
	for i := joined(dst, even, odd); i < len(even); i++ {
		dst[2*i], dst[2*i+1] = even[i], odd[i]
	}
}

// Fill32 sets rows of n elements to one value each: y[i·n+j] = v[i], 0 where v is nil.
func Fill32(m, n int, y, v []float32) {
	for i := range m {
		fillWith(y[i*n:(i+1)*n], after32(v, i))
	}
}
