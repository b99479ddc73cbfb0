package kernel

import "sync"

// BilinearStep32 is a layer Y = Σ_r A_r·X·B_rᵀ in the form that files have it in with B first, as
// training runs it: with factors that change from step to step, and back.
//
//	T[n1·terms, m2] = X[n1 n2]·B[n2, terms·m2], read as rows (i, r)
//	Y[m1 m2] = A[m1, n1·terms]·T + Bias[m1 m2], with Relu what is above 0 of that
//
// for each sample of a batch.
type BilinearStep32 struct {
	N1, N2, M1, M2, Terms int
	A, B                  []float32
	Bias                  []float32 // nil: none
	Relu                  bool
	Whole                 bool // all samples are one task
}

// StepGradients32 is where the way back through a [BilinearStep32] goes. Those that are nil are not
// wanted; what Fresh names, in this order, is overwritten, the others are added to.
type StepGradients32 struct {
	X, A, B, Bias []float32
	Fresh         [4]bool
}

// stepBytes is the part of T that is at work at a time: it stays in the second-level cache.
const stepBytes = 128 << 10

// stepTasks is the number of tasks of a way back, each with sums of its own.
const stepTasks = 8

func (b *BilinearStep32) mustHold(samples int, x, t, y []float32) {
	k := b.N1 * b.Terms
	mustHold("A", len(b.A), b.M1, k, k, 1)
	mustHold("B", len(b.B), b.N2, b.Terms*b.M2, b.Terms*b.M2, 1)
	mustHold("X", len(x), samples, b.N1*b.N2, b.N1*b.N2, 1)
	mustHold("T", len(t), samples, k*b.M2, k*b.M2, 1)
	mustHold("Y", len(y), samples, b.M1*b.M2, b.M1*b.M2, 1)
	if b.Bias != nil {
		mustHold("Bias", len(b.Bias), 1, b.M1*b.M2, 0, 1)
	}
}

// Forward computes T and Y of so many samples, block by block.
func (b BilinearStep32) Forward(p *Pool, samples int, x, t, y []float32) {
	if samples <= 0 {
		return
	}
	b.mustHold(samples, x, t, y)
	j := newStepJob(b, samples)
	j.x, j.t, j.y = x, t, y
	each := j.block
	if w := b.work(); !b.Whole && samples*w >= minSplit/2 {
		each = min(each, max(1, samples/stepTasks))
	} else {
		p = nil
	}
	p.For(samples, each, j.forwardFn)
	j.done()
}

// work is the multiplications of a sample.
func (b *BilinearStep32) work() int { return b.N1 * b.Terms * b.M2 * (b.N2 + b.M1) }

// Backward computes the gradients of what dy is the gradient by Y of; t is Forward's, and so is y, which
// is read with Relu alone. The order of sums depends on the sizes alone.
func (b BilinearStep32) Backward(p *Pool, samples int, x, t, y, dy []float32, d StepGradients32) {
	for i, g := range [][]float32{d.X, d.A, d.B, d.Bias} {
		if samples <= 0 && d.Fresh[i] {
			clear(g)
		}
	}
	if samples <= 0 {
		return
	}
	b.mustHold(samples, x, t, dy)
	if b.Relu {
		mustHold("Y", len(y), samples, b.M1*b.M2, b.M1*b.M2, 1)
	}
	j := newStepJob(b, samples)
	j.x, j.t, j.y, j.dy, j.d = x, t, y, dy, d
	nr := j.im.nr
	k := b.N1 * b.Terms
	j.lda = (b.M1 + nr - 1) / nr * nr
	j.each = samples
	if !b.Whole && 2*samples*b.work() >= minSplit/2 {
		j.each = (samples + stepTasks - 1) / stepTasks
	}
	tasks := (samples + j.each - 1) / j.each
	j.size = k*j.lda + b.N2*b.Terms*b.M2
	bias := j.size
	if d.Bias != nil {
		j.size += b.M1 * b.M2
	}
	j.sums = grown(j.sums, tasks*j.size)
	if d.X != nil { // Bᵀ in panels
		j.turned = grown(j.turned, (b.N2+nr-1)/nr*nr*b.Terms*b.M2)
		for col := 0; col < b.N2; col += nr {
			j.im.packPanel(j.turned[col*b.Terms*b.M2:], b.B[col*b.Terms*b.M2:], 1, b.Terms*b.M2, b.Terms*b.M2, min(nr, b.N2-col))
		}
	}
	p.For(samples, j.each, j.backwardFn)
	total := j.sums[:j.size]
	for i := 1; i < tasks; i++ {
		Axpy32(nil, total, 1, j.sums[i*j.size:(i+1)*j.size])
	}
	if d.A != nil {
		j.turnInto(d.A, total, d.Fresh[1])
	}
	put := func(to, sum []float32, fresh bool) {
		switch {
		case to == nil:
		case fresh:
			copy(to, sum)
		default:
			Axpy32(nil, to[:len(sum)], 1, sum)
		}
	}
	put(d.B, total[k*j.lda:bias], d.Fresh[2])
	put(d.Bias, total[bias:], d.Fresh[3])
	j.done()
}

// turnInto adds the transpose of dAᵀ to dA, or overwrites it.
func (j *stepJob) turnInto(to, sum []float32, fresh bool) {
	k, l := j.N1*j.Terms, 0
	if side := j.im.side; fresh && j.im.turn != nil && j.M1%side == 0 {
		for ; l+side <= k; l += side {
			j.im.turn(j.M1, to[l:], k, sum[l*j.lda:], j.lda)
		}
	}
	for ; l < k; l++ {
		for i, v := range sum[l*j.lda : l*j.lda+j.M1] {
			if !fresh {
				v += to[i*k+l]
			}
			to[i*k+l] = v
		}
	}
}

// grown is s with room for n elements.
func grown(s []float32, n int) []float32 {
	if len(s) < n {
		return aligned[float32](n)
	}
	return s
}

// A stepJob is one pass in progress, kept for the next one.
type stepJob struct {
	BilinearStep32
	im                    *impl[float32]
	x, t, y, dy           []float32
	d                     StepGradients32
	block                 int // samples whose T is at work at a time
	each                  int // samples of a task of a way back
	lda, size             int // of a task's sums: dAᵀ[n1·terms lda], dB, dBias
	sums, turned          []float32
	forwardFn, backwardFn func(lo, hi int)
}

var stepJobs sync.Pool // of *stepJob

func newStepJob(b BilinearStep32, samples int) *stepJob {
	j, _ := stepJobs.Get().(*stepJob)
	if j == nil {
		j = &stepJob{}
		j.forwardFn, j.backwardFn = j.forward, j.backward
	}
	j.BilinearStep32, j.im = b, active.Load().f32
	j.block = min(samples, max(1, stepBytes/4/(b.N1*b.Terms*b.M2)))
	return j
}

func (j *stepJob) done() {
	j.A, j.B, j.Bias, j.x, j.t, j.y, j.dy, j.d = nil, nil, nil, nil, nil, nil, nil, StepGradients32{}
	stepJobs.Put(j)
}

// panels multiplies A[m k] by a B that lies in rows, panel by panel. from lies as C does.
func (j *stepJob) panels(m, k int, a []float32, ars, aks int, b []float32, bks, n int, c []float32, ldc int, from []float32, relu bool) {
	for col := 0; col < n; col += j.im.nr {
		product(j.im, m, k, a, ars, aks, b[col:], bks, c[col:], ldc, min(j.im.nr, n-col), after(from, col), ldc, relu)
	}
}

// forward does the samples lo … hi-1.
func (j *stepJob) forward(lo, hi int) {
	k, wide := j.N1*j.Terms, j.Terms*j.M2
	for s0 := lo; s0 < hi; s0 += j.block {
		s1 := min(hi, s0+j.block)
		j.panels((s1-s0)*j.N1, j.N2, j.x[s0*j.N1*j.N2:], j.N2, 1, j.B, wide, wide, j.t[s0*k*j.M2:], wide, nil, false)
		for s := s0; s < s1; s++ {
			j.panels(j.M1, k, j.A, k, 1, j.t[s*k*j.M2:], j.M2, j.M2, j.y[s*j.M1*j.M2:], j.M2, j.Bias, j.Relu)
		}
	}
}

// backward does the samples lo … hi-1.
func (j *stepJob) backward(lo, hi int) {
	k, wide, nr := j.N1*j.Terms, j.Terms*j.M2, j.im.nr
	scratch, _ := scratches.Get().(*[]float32)
	if scratch == nil {
		scratch = new([]float32)
	}
	m := j.M1 * j.M2
	*scratch = grown(*scratch, j.M2*j.lda+m+j.block*k*j.M2)
	gt, gated, dt := (*scratch)[:j.M2*j.lda], (*scratch)[j.M2*j.lda:j.M2*j.lda+m], (*scratch)[j.M2*j.lda+m:]
	da := j.sums[lo/j.each*j.size : (lo/j.each+1)*j.size]
	db := da[k*j.lda:]
	dbias := db[j.N2*wide:]
	clear(dbias)
	var fromA, fromB []float32
	for s0 := lo; s0 < hi; s0 += j.block {
		s1 := min(hi, s0+j.block)
		for s := s0; s < s1; s++ {
			g := j.dy[s*m : (s+1)*m]
			if j.Relu {
				y := j.y[s*m : (s+1)*m]
				if j.d.Bias != nil {
					biasRow(biasGateSum, gated, g, y, dbias)
				} else {
					biasRow(biasGate, gated, g, y, nil)
				}
				g = gated
			} else if j.d.Bias != nil {
				biasRow(biasSum, dbias, g, nil, nil)
			}
			if j.d.A != nil { // dAᵀ += T·Gᵀ
				for col := 0; col < j.M1; col += nr {
					cols := min(nr, j.M1-col)
					j.im.packPanel(gt[col*j.M2:], g[col*j.M2:], 1, j.M2, j.M2, cols)
					product(j.im, k, j.M2, j.t[s*k*j.M2:], j.M2, 1, gt[col*j.M2:], nr, da[col:], j.lda, cols, after(fromA, col), j.lda, false)
				}
				fromA = da
			}
			j.panels(k, j.M1, j.A, 1, k, g, j.M2, j.M2, dt[(s-s0)*k*j.M2:], j.M2, nil, false) // dT = Aᵀ·G
		}
		rows := (s1 - s0) * j.N1
		x := j.x[s0*j.N1*j.N2:]
		if j.d.B != nil { // dB += Xᵀ·dT
			j.panels(j.N2, rows, x, 1, j.N2, dt, wide, wide, db, wide, fromB, false)
			fromB = db
		}
		for col := 0; col < j.N2 && j.d.X != nil; col += nr { // dX (+)= dT·Bᵀ
			c := j.d.X[s0*j.N1*j.N2+col:]
			var from []float32
			if !j.d.Fresh[0] {
				from = c
			}
			product(j.im, rows, wide, dt, wide, 1, j.turned[col*wide:], nr, c, j.N2, min(nr, j.N2-col), from, j.N2, false)
		}
	}
	scratches.Put(scratch)
}
