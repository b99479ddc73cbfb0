package kernel

import (
	"math"
	"sync"
)

// A Fold is how a row of numbers becomes one.
type Fold uint8

// The folds. NaN makes all of them NaN; of -0 and 0 the latter is the larger.
const (
	FoldSum    Fold = iota // Σ x
	FoldAbs                // Σ |x|
	FoldSquare             // Σ x²
	FoldProd               // Π x
	FoldMax                // the largest
	FoldMin                // the smallest
	folds
)

// Neutral is what a fold of nothing is.
func (f Fold) Neutral() float64 {
	switch f {
	case FoldProd:
		return 1
	case FoldMax:
		return math.Inf(-1)
	case FoldMin:
		return math.Inf(1)
	}
	return 0
}

// fold is a loop over m rows of n elements, m and n at least 1.
type fold func(m, n int, y []float64, x []float32, xs int)

// power is a fold that adds up eˣ⁻ˢ. An s is for a row or for a column, as an element of y is.
type power func(m, n int, y []float64, x []float32, xs int, shift []float64)

// foldKernels are the folds of a path. All paths give the same bits.
type foldKernels struct {
	rows, columns           [folds]fold
	powerRows, powerColumns power

	// Of a multiple of 16 elements; nil: none.
	quotients func(n int, y []float32, x []float64, by float64)
	roots     func(n int, y []float32, x []float64)
}

var foldsGeneric = func() (k foldKernels) {
	for f := range folds {
		k.rows[f] = func(m, n int, y []float64, x []float32, xs int) { foldRowsGeneric(f, m, n, y, x, xs) }
		k.columns[f] = func(m, n int, y []float64, x []float32, xs int) { foldColumnsGeneric(f, m, n, y, x, xs) }
	}
	k.powerRows, k.powerColumns = foldExpRowsGeneric, foldExpColumnsGeneric
	return k
}()

// FoldRows32 folds each of m rows of n elements into an element of y:
//
//	y[i] = y[i] ⊕ x[i·xs] ⊕ … ⊕ x[i·xs+n-1]
//
// in float64, in an order of its own: the j-th elements of a row with the same j mod 16 first, one after the other,
// then those sixteen by halves. A row of more than 131072 elements is as many folds. Like all folds it runs on the
// caller.
func FoldRows32(f Fold, m, n int, y []float64, x []float32, xs int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("y", len(y), m, 1, 1, 0)
	mustHold("X", len(x), m, n, xs, 1)
	kernel := active.Load().folds.rows[f]
	for n > rowMost {
		for i := range m {
			kernel(1, rowMost, y[i:], x[i*xs:], 0)
		}
		n -= rowMost
		x = x[rowMost:]
	}
	for some := max(1, rowMost/n); m > 0; m -= some {
		kernel(min(m, some), n, y, x, xs)
		if m > some {
			y, x = y[some:], x[some*xs:]
		}
	}
}

// FoldColumns32 folds each of n columns of m elements into an element of y:
//
//	y[j] = y[j] ⊕ x[j] ⊕ x[xs+j] ⊕ … ⊕ x[(m-1)·xs+j]
//
// in float64 and in this order; but of at most 16 columns whose rows adjoin, sixteen rows are one, and what comes out
// for its columns is folded then.
func FoldColumns32(f Fold, m, n int, y []float64, x []float32, xs int) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("y", len(y), 1, n, 0, 1)
	mustHold("X", len(x), m, n, xs, 1)
	if many := m / 16; xs == n && n <= 16 && many > 1 {
		room := foldRooms.Get().(*[256]float64)
		sums := room[:16*n]
		for j := range sums {
			sums[j] = f.Neutral()
		}
		foldColumns(f, many, 16*n, sums, x, 16*n)
		for ; len(sums) > 0; sums = sums[n:] {
			for j, v := range sums[:n] {
				y[j] = f.join(y[j], v)
			}
		}
		foldRooms.Put(room)
		x, m = x[16*many*n:], m%16
	}
	if m > 0 {
		foldColumns(f, m, n, y, x, xs)
	}
}

var foldRooms = sync.Pool{New: func() any { return new([256]float64) }}

// foldColumns takes some rows at a time, so that it goes along rows, and yet touches y less often.
func foldColumns(f Fold, m, n int, y []float64, x []float32, xs int) {
	kernel, some := active.Load().folds.columns[f], rowMost/64
	if n > 256 {
		some = 8
	}
	for ; m > 0; m -= some {
		rows := min(m, some)
		for from := 0; from < n; from += rowMost / 8 {
			kernel(rows, min(n-from, rowMost/8), y[from:], x[from:], xs)
		}
		if m > some {
			x = x[some*xs:]
		}
	}
}

// FoldExpRows32 adds powers up:
//
//	y[i] += Σ_j e^(x[i·xs+j] − shift[i])
//
// to 5e-11 of each, in the order of [FoldRows32]. Differences must not be above 700; where one is below -700, or NaN,
// nothing is added.
func FoldExpRows32(m, n int, y []float64, x []float32, xs int, shift []float64) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("y", len(y), m, 1, 1, 0)
	mustHold("shift", len(shift), m, 1, 1, 0)
	mustHold("X", len(x), m, n, xs, 1)
	kernel := active.Load().folds.powerRows
	const most = rowMost / 8
	for n > most {
		for i := range m {
			kernel(1, most, y[i:], x[i*xs:], 0, shift[i:])
		}
		n -= most
		x = x[most:]
	}
	for some := max(1, most/n); m > 0; m -= some {
		kernel(min(m, some), n, y, x, xs, shift)
		if m > some {
			y, x, shift = y[some:], x[some*xs:], shift[some:]
		}
	}
}

// FoldExpColumns32 likewise, in the order of the rows:
//
//	y[j] += Σ_i e^(x[i·xs+j] − shift[j])
func FoldExpColumns32(m, n int, y []float64, x []float32, xs int, shift []float64) {
	if m <= 0 || n <= 0 {
		return
	}
	mustHold("y", len(y), 1, n, 0, 1)
	mustHold("shift", len(shift), 1, n, 0, 1)
	mustHold("X", len(x), m, n, xs, 1)
	kernel := active.Load().folds.powerColumns
	const most = 1 << 10
	for from := 0; from < n; from += most {
		wide := min(n-from, most)
		for i := 0; i < m; i += 16 {
			kernel(min(16, m-i), wide, y[from:], x[i*xs+from:], xs, shift[from:])
		}
	}
}

// Quotients32 computes y[i] = x[i]/by, rounded first to float64, then to float32.
func Quotients32(y []float32, x []float64, by float64) {
	x, done := x[:len(y)], 0
	if f := active.Load().folds.quotients; f != nil && len(y) >= 16 {
		done = len(y) &^ 15
		f(done, y, x, by)
	}
	narrowQuotientsGeneric(y[done:], x[done:], by)
}

// Roots32 computes y[i] = √x[i] likewise.
func Roots32(y []float32, x []float64) {
	x, done := x[:len(y)], 0
	if f := active.Load().folds.roots; f != nil && len(y) >= 16 {
		done = len(y) &^ 15
		f(done, y, x)
	}
	narrowRootsGeneric(y[done:], x[done:])
}

// join is one step of a fold of what is folded already.
func (f Fold) join(a, b float64) float64 {
	switch f {
	case FoldProd:
		return a * b
	case FoldMax:
		return max(a, b)
	case FoldMin:
		return min(a, b)
	}
	return a + b
}

// onto folds each element of x into the one of y.
func (f Fold) onto(y []float64, x []float32) {
	x = x[:len(y)]
	switch f {
	case FoldSum:
		for j, v := range x {
			y[j] += float64(v)
		}
	case FoldAbs:
		for j, v := range x {
			y[j] += math.Abs(float64(v))
		}
	case FoldSquare:
		for j, v := range x {
			y[j] += float64(v) * float64(v) // exact, fused or not
		}
	case FoldProd:
		for j, v := range x {
			y[j] *= float64(v)
		}
	case FoldMax:
		for j, v := range x {
			y[j] = max(y[j], float64(v))
		}
	case FoldMin:
		for j, v := range x {
			y[j] = min(y[j], float64(v))
		}
	}
}

// foldRowsGeneric is [FoldRows32]: a row is folded as the columns of rows of sixteen.
func foldRowsGeneric(f Fold, m, n int, y []float64, x []float32, xs int) {
	for i := range m {
		var lanes [16]float64
		for l := range lanes {
			lanes[l] = f.Neutral()
		}
		row := x[i*xs : i*xs+n]
		for ; len(row) > 16; row = row[16:] {
			f.onto(lanes[:], row[:16])
		}
		f.onto(lanes[:len(row)], row)
		y[i] = f.join(y[i], byHalves(&lanes, f.join))
	}
}

// byHalves is sixteen numbers by halves.
func byHalves(lanes *[16]float64, join func(a, b float64) float64) float64 {
	for h := 8; h > 0; h /= 2 {
		for l := range h {
			lanes[l] = join(lanes[l], lanes[l+h])
		}
	}
	return lanes[0]
}

// foldColumnsGeneric is [FoldColumns32], row by row.
func foldColumnsGeneric(f Fold, m, n int, y []float64, x []float32, xs int) {
	for i := range m {
		f.onto(y[:n], x[i*xs:i*xs+n])
	}
}

// foldExpRowsGeneric is [FoldExpRows32].
func foldExpRowsGeneric(m, n int, y []float64, x []float32, xs int, shift []float64) {
	for i := range m {
		var lanes [16]float64
		for j, v := range x[i*xs : i*xs+n] {
			lanes[j&15] += powerOf(float64(v) - shift[i])
		}
		y[i] += byHalves(&lanes, FoldSum.join)
	}
}

// foldExpColumnsGeneric is [FoldExpColumns32].
func foldExpColumnsGeneric(m, n int, y []float64, x []float32, xs int, shift []float64) {
	y, shift = y[:n], shift[:n]
	for i := range m {
		for j, v := range x[i*xs : i*xs+n] {
			y[j] += powerOf(float64(v) - shift[j])
		}
	}
}

// powerOf is eᵈ, to 5e-11 of it: 2ⁿ·eʳ, |r| ≤ ½·ln 2, by a minimax series of (eʳ−1)/r. Its steps are those of the
// assembly, to the bit: hence FMA.
func powerOf(d float64) float64 {
	if !(d >= -700) {
		return 0
	}
	const magic = 3 << 51 // adding it rounds to an integer, in the low bits
	t := math.FMA(d, math.Log2E, magic)
	r := math.FMA(t-magic, -math.Ln2, d)
	p := 0.00019767598042533079
	p = math.FMA(p, r, 0.0013945954632509326)
	p = math.FMA(p, r, 0.008333569370058372)
	p = math.FMA(p, r, 0.04166627176599379)
	p = math.FMA(p, r, 0.1666666515928424)
	p = math.FMA(p, r, 0.5000000077376663)
	p = math.FMA(p, r, 1.0000000002094311)
	p = math.FMA(p, r, 1)
	return math.Float64frombits(math.Float64bits(p) + math.Float64bits(t)<<52)
}

// narrowQuotientsGeneric is [Quotients32].
func narrowQuotientsGeneric(y []float32, x []float64, by float64) {
	for i, v := range x {
		y[i] = float32(v / by)
	}
}

// narrowRootsGeneric is [Roots32].
func narrowRootsGeneric(y []float32, x []float64) {
	for i, v := range x {
		y[i] = float32(math.Sqrt(v))
	}
}
