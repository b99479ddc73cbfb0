package convert

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// layerRows is an activation x as a matrix of one input of l per row, in the
// order of the samples.
func layerRows(l *match.Layer, x *tensor.Tensor) (*mat.Dense, error) {
	v, err := tensor.Float64s(x)
	if err != nil {
		return nil, fmt.Errorf("layer %q: input %v: %w", l.Name, x, err)
	}
	n := l.In
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
	rows           int
	shiftX, shiftY []float64
	sumX, sumY     []float64
	xy             *mat.Dense
}

// add takes the rows of x and y, which are as many.
func (p *products) add(pool *kernel.Pool, x, y *mat.Dense) {
	rows, nx := x.Dims()
	_, ny := y.Dims()
	if p.xy == nil {
		p.xy = mat.NewDense(nx, ny, nil)
		p.shiftX, p.shiftY = columnMeans(x), columnMeans(y)
		p.sumX, p.sumY = make([]float64, nx), make([]float64, ny)
	}
	sx := shifted(x, p.shiftX, p.sumX)
	sy := sx
	if x == y {
		copy(p.sumY, p.sumX)
	} else {
		sy = shifted(y, p.shiftY, p.sumY)
	}
	kernel.Gemm64(pool, nx, ny, rows, sx, 1, nx, sy, ny, 1, p.xy.RawMatrix().Data, ny, true)
	p.rows += rows
}

func columnMeans(x *mat.Dense) []float64 {
	rows, n := x.Dims()
	out := make([]float64, n)
	for r := range rows {
		for j, v := range x.RawRowView(r) {
			out[j] += v / float64(rows)
		}
	}
	return out
}

// shifted is x less shift in every row, added up into sum.
func shifted(x *mat.Dense, shift, sum []float64) []float64 {
	rows, n := x.Dims()
	out := make([]float64, rows*n)
	for r := range rows {
		to := out[r*n : (r+1)*n]
		for j, v := range x.RawRowView(r) {
			to[j] = v - shift[j]
			sum[j] += to[j]
		}
	}
	return out
}

// moments gives E[(x−a)(y−b)ᵀ] and the means a and b; where centred is not
// set, E[x yᵀ] with a and b of 0.
func (p *products) moments(centred bool) (xy *mat.Dense, a, b []float64) {
	nx, ny := p.xy.Dims()
	n := float64(p.rows)
	xy, a, b = mat.NewDense(nx, ny, nil), make([]float64, nx), make([]float64, ny)
	for i := range nx {
		row := xy.RawRowView(i)
		for j, v := range p.xy.RawRowView(i) {
			row[j] = v/n - p.sumX[i]/n*(p.sumY[j]/n)
			if !centred {
				row[j] += (p.shiftX[i] + p.sumX[i]/n) * (p.shiftY[j] + p.sumY[j]/n)
			}
		}
	}
	if centred {
		for i := range a {
			a[i] = p.shiftX[i] + p.sumX[i]/n
		}
		for j := range b {
			b[j] = p.shiftY[j] + p.sumY[j]/n
		}
	}
	return xy, a, b
}
