package convert

import (
	"fmt"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// someRows is what l, of n inputs, sees in an activation x of batch b: of the
// rows that count every stride-th, from the one that seen rows before lead to;
// nil where that is none. It also gives how many rows there were to take.
func (c *Calibration) someRows(l *match.Layer, n int, x *tensor.Tensor, b *dataset.Batch, seen, stride int) (*mat.Dense, int, error) {
	if l.Conv == nil && c.mask == 0 && l.Index == 0 {
		return stridedRows(l, n, x, b, seen, stride)
	}
	most := 0
	if l.Conv != nil { // fewer places of every sample, in the place of fewer of all
		most, stride = max(1, c.rowCount(l, x)/max(1, x.Shape()[0])/stride), 1
	}
	all, err := c.rowsOf(l, n, x, b, most)
	if err != nil || all == nil {
		return nil, 0, err
	}
	rows, _ := all.Dims()
	if stride == 1 {
		return all, rows, nil
	}
	from := (stride - seen%stride) % stride
	if from >= rows {
		return nil, rows, nil
	}
	out := mat.NewDense((rows-from+stride-1)/stride, n, nil)
	for k := range out.RawMatrix().Rows {
		copy(out.RawRowView(k), all.RawRowView(from+k*stride))
	}
	return out, rows, nil
}

// stridedRows is someRows where all samples count, of an activation x as a
// matrix of one input of l per row, in the order of the samples.
func stridedRows(l *match.Layer, n int, x *tensor.Tensor, b *dataset.Batch, seen, stride int) (*mat.Dense, int, error) {
	if x.Len() == 0 || x.Len()%n != 0 || !x.DType().IsFloat() {
		return nil, 0, fmt.Errorf("layer %q: input %v, wanted rows of %d", l.Name, x, n)
	}
	rows := x.Len() / n
	if b.Rows < b.Padded && rows%b.Padded == 0 {
		rows = rows / b.Padded * b.Rows
	}
	from := (stride - seen%stride) % stride
	if from >= rows {
		return nil, rows, nil
	}
	out := mat.NewDense((rows-from+stride-1)/stride, n, nil)
	if l.Columns != l.TransposeX { // […, In, S]: every leading index holds a matrix of samples in columns
		v, err := tensor.Float64s(x)
		if err != nil {
			return nil, 0, fmt.Errorf("layer %q: input %v: %w", l.Name, x, err)
		}
		s := x.Shape()[x.Rank()-1]
		for k := range out.RawMatrix().Rows {
			r := from + k*stride
			lead, j := r/s, r%s
			for i, row := 0, out.RawRowView(k); i < n; i++ {
				row[i] = v[(lead*n+i)*s+j]
			}
		}
		return out, rows, nil
	}
	return out, rows, copyRows(out, x, from, stride)
}

// copyRows fills out with every stride-th row of x, which is as wide, from the
// given one on.
func copyRows(out *mat.Dense, x *tensor.Tensor, from, stride int) error {
	count, n := out.Dims()
	if x.DType() == tensor.Float32 { // the others take a copy of the whole
		v := tensor.Data[float32](x)
		for k := range count {
			at := v[(from+k*stride)*n:]
			for i, row := 0, out.RawRowView(k); i < n; i++ {
				row[i] = float64(at[i])
			}
		}
		return nil
	}
	v, err := tensor.Float64s(x)
	if err != nil {
		return err
	}
	for k := range count {
		copy(out.RawRowView(k), v[(from+k*stride)*n:])
	}
	return nil
}

// layerRows is an activation x as a matrix of one input of l per row, n numbers
// wide, in the order of the samples.
func layerRows(l *match.Layer, n int, x *tensor.Tensor) (*mat.Dense, error) {
	v, err := tensor.Float64s(x)
	if err != nil {
		return nil, fmt.Errorf("layer %q: input %v: %w", l.Name, x, err)
	}
	if len(v) == 0 || len(v)%n != 0 {
		return nil, fmt.Errorf("layer %q: input %v, wanted rows of %d", l.Name, x, n)
	}
	rows := len(v) / n
	if l.Columns == l.TransposeX { // samples are rows
		return mat.NewDense(rows, n, v), nil
	}
	// […, In, S]: every leading index holds a matrix of samples in columns.
	shape := x.Shape()
	s := shape[len(shape)-1]
	out := mat.NewDense(rows, n, nil)
	for r := range rows {
		lead, j := r/s, r%s
		row := out.RawRowView(r)
		for i := range row {
			row[i] = v[(lead*n+i)*s+j]
		}
	}
	return out, nil
}

// counted is the rows of a batch's activation that belong to samples which
// count; all where rows and samples have nothing to do with each other.
func counted(x *mat.Dense, b *dataset.Batch) *mat.Dense {
	rows, n := x.Dims()
	if b.Rows == b.Padded || rows%b.Padded != 0 {
		return x
	}
	return x.Slice(0, rows/b.Padded*b.Rows, 0, n).(*mat.Dense)
}

// products gathers sums over rows of two kinds of vectors, x and y: of x and y
// themselves and of x·yᵀ. All are taken from the mean of the first batch, so
// that the centred moments lose no digits.
type products struct {
	// single rounds what is multiplied, and sums of up to gatheredRows products,
	// to float32; what they add up to is float64 in any case.
	single bool

	rows           int
	shiftX, shiftY []float64
	sumX, sumY     []float64
	squares        float64 // Σ‖x−shiftX‖²
	xy             *mat.Dense
	same           bool // y is x: only what is not above the diagonal is gathered

	wide   gathered[float64]
	narrow gathered[float32]
	seen   int // rows that were there to be taken
}

// gathered is rows that are to be multiplied, shifted.
type gathered[T float32 | float64] struct{ x, y []T }

// symmetricBlock is the width of the columns in which a symmetric product is
// gathered: what is above the diagonal within one is done in vain.
const symmetricBlock = 128

// add takes the rows of x and y, which are as many. Where y is x, it is x in
// all calls.
func (p *products) add(pool *kernel.Pool, x, y *mat.Dense) {
	rows, nx := x.Dims()
	_, ny := y.Dims()
	if p.xy == nil {
		p.xy = mat.NewDense(nx, ny, nil)
		p.same = x == y
		p.shiftX, p.shiftY = columnMeans(x), columnMeans(y)
		p.sumX, p.sumY = make([]float64, nx), make([]float64, ny)
	}
	p.rows += rows
	if p.single {
		gather(p, &p.narrow, x, y)
	} else {
		gather(p, &p.wide, x, y)
	}
	if len(p.narrow.x)+len(p.wide.x) >= gatheredRows*nx {
		p.flush(pool)
	}
}

// gather shifts the rows of x and y and keeps them in g.
func gather[T float32 | float64](p *products, g *gathered[T], x, y *mat.Dense) {
	g.x, p.squares = shifted(g.x, x, p.shiftX, p.sumX, p.squares)
	if p.same {
		copy(p.sumY, p.sumX)
	} else {
		g.y, _ = shifted(g.y, y, p.shiftY, p.sumY, 0)
	}
}

// gatheredRows is how many rows are gathered before they are multiplied, so
// that the sums are not read and written for a few rows each time.
const gatheredRows = 512

// flush multiplies the rows that were gathered.
func (p *products) flush(pool *kernel.Pool) {
	nx, ny := p.xy.Dims()
	to := p.xy.RawMatrix().Data
	if !p.single {
		multiply(pool, kernel.Gemm64, p.same, p.wide.x, p.wide.y, nx, ny, to, true)
		p.wide.x, p.wide.y = p.wide.x[:0], p.wide.y[:0]
		return
	}
	sums := singles.get(nx * ny)
	multiply(pool, kernel.Gemm32, p.same, p.narrow.x, p.narrow.y, nx, ny, *sums, false)
	for i := range nx {
		end := ny
		if p.same {
			end = i + 1
		}
		row := to[i*ny : i*ny+end]
		for j, v := range (*sums)[i*ny : i*ny+end] {
			row[j] += float64(v)
		}
	}
	singles.Put(sums)
	p.narrow.x, p.narrow.y = p.narrow.x[:0], p.narrow.y[:0]
}

// singles is memory for sums in float32.
var singles floats

type floats struct{ sync.Pool }

func (f *floats) get(n int) *[]float32 {
	s, _ := f.Get().(*[]float32)
	if s == nil {
		s = new([]float32)
	}
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	*s = (*s)[:n]
	return s
}

// multiply computes Σ x·yᵀ over rows of nx and ny numbers into or onto out; of
// xxᵀ what is not above the diagonal, where same is set.
func multiply[T float32 | float64](pool *kernel.Pool, gemm func(p *kernel.Pool, m, n, k int, a []T, ars, acs int, b []T, brs, bcs int, c []T, ldc int, add bool),
	same bool, x, y []T, nx, ny int, out []T, add bool) {
	rows := len(x) / nx
	if !same {
		gemm(pool, nx, ny, rows, x, 1, nx, y, ny, 1, out, ny, add)
		return
	}
	for j := 0; j < nx; j += symmetricBlock {
		gemm(pool, nx-j, min(symmetricBlock, nx-j), rows, x[min(j, len(x)):], 1, nx, x[min(j, len(x)):], nx, 1, out[j*nx+j:], nx, add)
	}
}

func columnMeans(x *mat.Dense) []float64 {
	rows, n := x.Dims()
	out := make([]float64, n)
	for r := range rows {
		for j, v := range x.RawRowView(r) {
			out[j] += v
		}
	}
	for j := range out {
		out[j] /= float64(max(1, rows))
	}
	return out
}

// shifted appends x less shift in every row to buf, and adds it up into sum.
// The squares of its elements are added to squares.
func shifted[T float32 | float64](buf []T, x *mat.Dense, shift, sum []float64, squares float64) ([]T, float64) {
	rows, n := x.Dims()
	if cap(buf)-len(buf) < rows*n {
		buf = slices.Grow(buf, max(gatheredRows, 2*rows)*n)
	}
	for r := range rows {
		at := len(buf)
		buf = buf[:at+n]
		to, shift, sum := buf[at:], shift[:n], sum[:n]
		var even, odd float64 // two chains of sums take half the time
		row := x.RawRowView(r)
		for j := 0; j+1 < n; j += 2 {
			v, w := row[j]-shift[j], row[j+1]-shift[j+1]
			to[j], to[j+1] = T(v), T(w)
			sum[j] += v
			sum[j+1] += w
			even += v * v
			odd += w * w
		}
		if n%2 == 1 {
			v := row[n-1] - shift[n-1]
			to[n-1] = T(v)
			sum[n-1] += v
			even += v * v
		}
		squares += even + odd
	}
	return buf, squares
}

// averages is what products come to.
type averages struct {
	xy     *mat.Dense // E[(x−a)(y−b)ᵀ]
	a, b   []float64  // the means of x and y; 0 where they are not taken out
	energy float64    // E‖x−a‖²
	rows   int
}

// finish turns sums into averages, on the same memory; where centred is not
// set, the means stay in them.
func (p *products) finish(pool *kernel.Pool, centred bool) *averages {
	if len(p.wide.x)+len(p.narrow.x) > 0 {
		p.flush(pool)
	}
	nx, ny := p.xy.Dims()
	n := float64(p.rows)
	out := &averages{xy: p.xy, a: make([]float64, nx), b: make([]float64, ny), energy: p.squares / n, rows: p.rows}
	meanY := make([]float64, ny) // beyond the shift
	for j := range meanY {
		meanY[j] = p.sumY[j] / n
	}
	for i := range nx {
		row := p.xy.RawRowView(i)
		if p.same {
			row = row[:i+1] // the rest is the mirror's
		}
		mx, each := p.sumX[i]/n, 1/n
		for j, v := range row {
			row[j] = v*each - mx*meanY[j]
		}
		if !centred {
			for j := range row {
				row[j] += (p.shiftX[i] + mx) * (p.shiftY[j] + meanY[j])
			}
		}
		mean := p.shiftX[i] + p.sumX[i]/n
		out.energy -= p.sumX[i] / n * (p.sumX[i] / n)
		if !centred {
			out.energy += mean * mean
		}
		if centred {
			out.a[i] = mean
		}
	}
	if p.same {
		mirror(p.xy)
	}
	if centred {
		for j := range out.b {
			out.b[j] = p.shiftY[j] + p.sumY[j]/n
		}
	}
	out.energy = max(0, out.energy)
	p.wide, p.narrow = gathered[float64]{}, gathered[float32]{}
	return out
}

// mirror copies what is below the diagonal to above it, in blocks, so that
// both are near in memory.
func mirror(a *mat.Dense) {
	n, _ := a.Dims()
	d := a.RawMatrix().Data
	const block = 64
	for i0 := 0; i0 < n; i0 += block {
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < min(i0+block, n); i++ {
				for j := j0; j < min(j0+block, i); j++ {
					d[j*n+i] = d[i*n+j]
				}
			}
		}
	}
}
