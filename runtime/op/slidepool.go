package op

import (
	"math"
	"sync"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// slidePool is MaxPool without indices and AveragePool in float32, a tap for a
// whole row of the output at a time: maxPool and sumPool in the order that
// memory likes. Sums are float64.
func slidePool(ctx *Ctx, o *pool, s [maxSpatial]slide, x, y []float32) {
	planes(ctx, s, x, y, func(_ int, x, y []float32) {
		if o.name == "MaxPool" {
			maxPlane(&s, x, y)
		} else {
			meanPlane(o, &s, x, y)
		}
	})
}

// rowTaps calls f for each row of the output, and each tap of the window that
// lies inside the input for some of its elements, with the part of the row and
// the first of the elements that it sees, which lie a stride apart.
func rowTaps(s *[maxSpatial]slide, f func(row, from, to, at int)) {
	z, y, w := &s[0], &s[1], &s[2]
	for oz := range z.out {
		zlo, zhi := z.taps(oz)
		for oy := range y.out {
			ylo, yhi := y.taps(oy)
			row := (oz*y.out + oy) * w.out
			for tz := zlo; tz < zhi; tz++ {
				for ty := ylo; ty < yhi; ty++ {
					line := ((oz*z.stride+tz*z.dilation-z.before)*y.in + oy*y.stride + ty*y.dilation - y.before) * w.in
					for tx := range w.kernel {
						first := tx*w.dilation - w.before // what output 0 sees
						from, to := 0, 0
						if first < 0 {
							from = (-first + w.stride - 1) / w.stride
						}
						if first < w.in {
							to = min(w.out, (w.in-1-first)/w.stride+1)
						}
						if from < to {
							f(row, from, to, line+first+from*w.stride)
						}
					}
				}
			}
		}
	}
}

func maxPlane(s *[maxSpatial]slide, x, y []float32) {
	for i := range y {
		y[i] = -math.MaxFloat32
	}
	stride := s[2].stride
	rowTaps(s, func(row, from, to, at int) {
		for i, best := range y[row+from : row+to] {
			// A NaN stays, as in numpy.
			if v := x[at+i*stride]; v > best || v != v {
				y[row+from+i] = v
			}
		}
	})
}

// wides is memory for float64 sums, kept for the next run.
var wides sync.Pool

func wideScratch(n int) *[]float64 {
	w, _ := wides.Get().(*[]float64)
	if w == nil {
		w = new([]float64)
	}
	if cap(*w) < n {
		*w = make([]float64, n)
	}
	*w = (*w)[:n]
	return w
}

func meanPlane(o *pool, s *[maxSpatial]slide, x, y []float32) {
	w := wideScratch(2 * len(y))
	sums, counts := (*w)[:len(y)], (*w)[len(y):]
	clear(*w)
	stride := s[2].stride
	rowTaps(s, func(row, from, to, at int) {
		count := counts[row+from : row+to]
		for i := range count {
			sums[row+from+i] += float64(x[at+i*stride])
			count[i]++
		}
	})
	for i := range y {
		n := counts[i]
		if o.countPads {
			n = float64(s[0].padded(i/(s[1].out*s[2].out)) * s[1].padded(i/s[2].out%s[1].out) * s[2].padded(i%s[2].out))
		}
		y[i] = float32(sums[i] / max(1, n))
	}
	wides.Put(w)
}

// globalMeans is GlobalAveragePool.
func globalMeans(ctx *Ctx, x *tensor.Tensor, y []float32) {
	n := product(x.Shape()[2:])
	w := wideScratch(len(y))
	kernel.Sum32(ctx.Pool, len(y), n, *w, tensor.Data[float32](x), n)
	for i, sum := range *w {
		y[i] = float32(sum / float64(n))
	}
	wides.Put(w)
}
