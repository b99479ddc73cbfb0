package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// lrn is local response normalisation across channels.
type lrn struct {
	size              int
	alpha, beta, bias float64
}

func parseLRN(a *attrs) Op {
	a.require("size")
	o := &lrn{int(a.int("size", 1)), float64(a.float("alpha", 1e-4)), float64(a.float("beta", 0.75)), float64(a.float("bias", 1))}
	if o.size < 1 {
		a.fail(fmt.Errorf("attribute size is %d, wanted at least 1", o.size))
	}
	return o
}

func (o *lrn) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame("LRN", in)
	if err == nil && in[0].Ranked && len(in[0].Shape) < 2 {
		err = fmt.Errorf("input %v has no channel axis", in[0].Type)
	}
	return out, err
}

func (o *lrn) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		lrnAs[float32](ctx, o, in[0].Tensor, out[0].Tensor)
	case tensor.Float64:
		lrnAs[float64](ctx, o, in[0].Tensor, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("LRN", d)
	}
	return nil
}

// lrnBlock is how many neighbours of a channel are computed together: their sums stay in the nearest cache.
const lrnBlock = 256

// lrnAs goes over blocks of each channel and over the channels near it, which are read in the order in which
// they lie.
func lrnAs[T float](ctx *Ctx, o *lrn, x, y *tensor.Tensor) {
	v, to := tensor.Data[T](x), tensor.Data[T](y)
	n, c, inner := around(x.Shape(), 1)
	if inner == 0 {
		return
	}
	blocks := (inner + lrnBlock - 1) / lrnBlock
	each := min(inner, lrnBlock) * (min(c, o.size) + 8) // 8: the power
	ctx.Pool.For(n*c*blocks, max(1, elementGrain/2/each), func(first, end int) {
		var sums [lrnBlock]float64
		for t := first; t < end; t++ {
			channel, from := t/blocks, t%blocks*lrnBlock
			image, k := channel/c*c, channel%c
			sums := sums[:min(lrnBlock, inner-from)]
			clear(sums)
			for q := max(0, k-(o.size-1)/2); q <= min(c-1, k+o.size/2); q++ {
				for j, w := range v[(image+q)*inner+from:][:len(sums)] {
					sums[j] += float64(float64(w) * float64(w))
				}
			}
			at := channel*inner + from
			row := to[at : at+len(sums)]
			_, narrow := any(row).([]float32)
			o.normalise(sums, narrow)
			for j, w := range v[at : at+len(sums)] {
				row[j] = T(float64(w) / sums[j])
			}
		}
	})
}

// normalise makes sums of squares what the elements are divided by; to 1e-10 if the results are narrow.
func (o *lrn) normalise(sums []float64, narrow bool) {
	alpha := o.alpha / float64(o.size)
	for j, s := range sums {
		sums[j] = o.bias + float64(alpha*s)
	}
	switch {
	case o.beta == 0.75: // the default; two roots are many times as fast as a power
		for j, b := range sums {
			r := math.Sqrt(b)
			sums[j] = r * math.Sqrt(r)
		}
	case narrow:
		for j, b := range sums {
			sums[j] = kernel.Exp64(o.beta * math.Log(b))
		}
	default:
		for j, b := range sums {
			sums[j] = math.Pow(b, o.beta)
		}
	}
}
