package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// lpNorm divides by the L1 or L2 norm along an axis; a zero norm gives zeros.
type lpNorm struct{ axis, p int }

func parseLpNorm(a *attrs) Op {
	o := &lpNorm{int(a.int("axis", -1)), int(a.int("p", 2))}
	if o.p != 1 && o.p != 2 {
		a.fail(fmt.Errorf("attribute p is %d, wanted 1 or 2", o.p))
	}
	return o
}

func (o *lpNorm) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame("LpNormalization", in)
	if err == nil && in[0].Ranked {
		_, err = normAxis(o.axis, len(in[0].Shape))
	}
	return out, err
}

func (o *lpNorm) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	switch x.DType() {
	case tensor.Float32:
		lpNormalize32(ctx, o, tensor.Data[float32](x), tensor.Data[float32](y), x.Shape(), axis)
	case tensor.Float64:
		lpNormalize(ctx, o, tensor.Data[float64](x), tensor.Data[float64](y), x.Shape(), axis)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("LpNormalization", x.DType())
	}
	return nil
}

// lpNormalize32 is lpNormalize of float32, but that elements are multiplied by the inverse of their norm.
func lpNormalize32(ctx *Ctx, o *lpNorm, src, dst []float32, shape []int, axis int) {
	outer, n, inner := around(shape, axis)
	if len(src) == 0 {
		return
	}
	f := kernel.FoldSquare
	if o.p == 1 {
		f = kernel.FoldAbs
	}
	if inner == 1 {
		const together = 64
		ctx.Pool.For(outer, min(together, max(1, elementGrain/n)), func(lo, hi int) {
			var totals [together]float64
			var factors [4 * together]float32
			kernel.FoldRows32(f, hi-lo, n, totals[:hi-lo], src[lo*n:], n)
			for i := lo; i < hi; i++ {
				factor, ok := inverseNorm(totals[i-lo], o.p)
				if factors[4*(i-lo)+2] = factor; !ok {
					lpNormalize(&Ctx{}, o, src[lo*n:hi*n], dst[lo*n:hi*n], []int{hi - lo, n}, 1)
					return
				}
			}
			kernel.AffineRows32(nil, hi-lo, n, dst[lo*n:], src[lo*n:], factors[:4*(hi-lo)])
		})
		return
	}
	lanes(ctx.Pool, writtenLanes, outer, n, inner, func(i, from, width int) {
		at := i*n*inner + from
		var totals [writtenLanes]float64
		var factors [writtenLanes]float32
		kernel.FoldColumns32(f, n, width, totals[:width], src[at:], inner)
		for j := range width {
			var ok bool
			if factors[j], ok = inverseNorm(totals[j], o.p); !ok {
				lpDivide(o, src[at:], dst[at:], n, inner, totals[:width])
				return
			}
		}
		kernel.Zip32(nil, kernel.Times, n, width, dst[at:], inner, src[at:], inner, 1, factors[:], 0, 1)
	})
}

// inverseNorm is the inverse of the norm that a total is of. It is false where float32 does not hold that with all
// its bits.
func inverseNorm(total float64, p int) (float32, bool) {
	f := 1 / lpRoot(total, p)
	return float32(f), f >= 0x1p-126 && f <= math.MaxFloat32
}

// lpRoot is the norm that a total is of, but 1 of zeros.
func lpRoot(total float64, p int) float64 {
	if p == 2 {
		total = math.Sqrt(total)
	}
	if total == 0 {
		return 1
	}
	return total
}

// lpDivide divides n rows by the norms that totals are of.
func lpDivide[T float](o *lpNorm, src, dst []T, n, inner int, totals []float64) {
	for j, t := range totals {
		totals[j] = lpRoot(t, o.p)
	}
	for k := range n {
		row, to := src[k*inner:][:len(totals)], dst[k*inner:][:len(totals)]
		for j, v := range row {
			to[j] = T(float64(v) / totals[j])
		}
	}
}

// lpNormalize adds up in float64.
func lpNormalize[T float](ctx *Ctx, o *lpNorm, src, dst []T, shape []int, axis int) {
	if len(src) == 0 {
		return
	}
	f := foldSquare
	if o.p == 1 {
		f = foldAbs
	}
	outer, n, inner := around(shape, axis)
	lanes(ctx.Pool, writtenLanes, outer, n, inner, func(i, from, width int) {
		at := i*n*inner + from
		if inner == 1 {
			total := lpRoot(foldRow(f, 0.0, src[at:at+n]), o.p)
			for k, v := range src[at : at+n] {
				dst[at+k] = T(float64(v) / total)
			}
			return
		}
		var room [writtenLanes]float64
		totals := room[:width]
		for k := range n {
			foldColumns(f, totals, src[at+k*inner:][:width])
		}
		lpDivide(o, src[at:], dst[at:], n, inner, totals)
	})
}
