package kernel

import "sync"

// Operation is what [Zip32] does to two elements.
type Operation uint8

// The operations. Minimum and Maximum are NaN where an operand is.
const (
	Plus Operation = iota
	Minus
	Times
	Over
	Minimum
	Maximum
	Slope // x where x ≥ 0, else x·y
	operations
)

// commutes tells whether the operands may change places.
func (op Operation) commutes() bool {
	return op == Plus || op == Times || op == Minimum || op == Maximum
}

// zip computes z[i·zs+j] = x[i·xs+j] op y[i·ys+j], i < m, j < n. z may be x or y.
type zip func(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)

// zips are the kinds of one operation: both operands elements of rows, then the right one y[i·ys]
// alone, then the left one x[i·xs].
type zips struct{ rows, right, left zip }

// Zip32 computes, for i < m and j < n,
//
//	z[i·zs+j] = x[i·xs + j·xe] op y[i·ys + j·ye]
//
// xe and ye are 1 or, for an element that serves a whole row, 0; so may be xs and ys, for a row that
// serves all. z may be x or y where it has the same strides, else must not overlap them.
func Zip32(p *Pool, op Operation, m, n int, z []float32, zs int, x []float32, xs, xe int, y []float32, ys, ye int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("Z", len(z), m, n, zs, 1)
	mustHold("X", len(x), m, n, xs, xe)
	mustHold("Y", len(y), m, n, ys, ye)
	j, _ := zipJobs.Get().(*zipJob)
	if j == nil {
		j = &zipJob{}
		j.runFn = j.run
	}
	kinds := &active.Load().zips[op]
	*j = zipJob{runFn: j.runFn, n: n, z: z, zs: zs, x: x, xs: xs, xe: xe, y: y, ys: ys, ye: ye}
	if j.f = kinds.rows; ye == 0 {
		j.f = kinds.right
	}
	if xe == 0 {
		switch {
		case ye == 0:
			j.n, j.xe, j.ye = 1, 1, 1 // one element a row, then copied
			j.f, j.fill = kinds.rows, n
		case op.commutes():
			j.f = kinds.right
			j.x, j.xs, j.xe, j.y, j.ys, j.ye = y, ys, ye, x, xs, xe
		default:
			j.f = kinds.left
		}
	}
	if m*n <= 2*zipGrain {
		p = nil
	}
	// One task is some rows, or a piece of a long one.
	j.cut = min(n, zipGrain)
	if j.fill > 0 {
		j.cut = n
	}
	j.cuts = (n + j.cut - 1) / j.cut
	p.For(m*j.cuts, max(1, zipGrain/n), j.runFn)
	*j = zipJob{runFn: j.runFn}
	zipJobs.Put(j)
}

// zipGrain is the number of elements of a task of Zip32.
const zipGrain = 1 << 15

// zipJob is one Zip32 in progress, kept for the next one.
type zipJob struct {
	f         zip
	n, fill   int
	z, x, y   []float32
	zs        int
	xs, xe    int
	ys, ye    int
	cut, cuts int
	runFn     func(lo, hi int)
}

var zipJobs sync.Pool

func (j *zipJob) run(lo, hi int) {
	if j.cuts > 1 {
		for t := lo; t < hi; t++ {
			i, from := t/j.cuts, t%j.cuts*j.cut
			j.f(1, min(j.cut, j.n-from), j.z[i*j.zs+from:], 0, j.x[i*j.xs+from*j.xe:], 0, j.y[i*j.ys+from*j.ye:], 0)
		}
		return
	}
	j.f(hi-lo, j.n, j.z[lo*j.zs:], j.zs, j.x[lo*j.xs:], j.xs, j.y[lo*j.ys:], j.ys)
	for i := lo; i < hi && j.fill > 1; i++ {
		row := j.z[i*j.zs : i*j.zs+j.fill]
		for l := range row {
			row[l] = row[0]
		}
	}
}

var zipsGeneric = [operations]zips{
	Plus:  newZips(func(x, y float32) float32 { return x + y }),
	Minus: newZips(func(x, y float32) float32 { return x - y }),
	Times: newZips(func(x, y float32) float32 { return x * y }),
	Over:  newZips(func(x, y float32) float32 { return x / y }),

	Minimum: newZips(func(x, y float32) float32 { return min(x, y) }),
	Maximum: newZips(func(x, y float32) float32 { return max(x, y) }),
	Slope: newZips(func(x, y float32) float32 {
		if x < 0 {
			return x * y
		}
		return x
	}),
}

func newZips(f func(x, y float32) float32) zips {
	kind := func(xe, ye int) zip {
		return func(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int) {
			for i := range m {
				to := z[i*zs : i*zs+n]
				// Where an operand is one element, z may be the other but not this one.
				a, b := x[i*xs:], y[i*ys:]
				for j := range to {
					to[j] = f(a[j*xe], b[j*ye])
				}
			}
		}
	}
	return zips{rows: kind(1, 1), right: kind(1, 0), left: kind(0, 1)}
}
