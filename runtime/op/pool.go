package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// pool reduces a window that slides over each channel of X[N C …].
type pool struct {
	window
	name       string
	countPads  bool // AveragePool: padding counts as zeros
	p          int  // LpPool's norm
	colMajor   bool // MaxPool: order of Indices within a channel
	hasIndices bool
}

func parsePool(name string, dilationsSince, ceilSince int64) parser {
	return func(a *attrs) Op {
		o := &pool{name: name, window: parseWindow(a)}
		a.require("kernel_shape")
		if a.opset >= dilationsSince {
			o.dilations = a.ints("dilations")
		}
		if a.opset >= ceilSince {
			o.ceil = a.bool("ceil_mode", false)
		}
		switch name {
		case "AveragePool":
			if a.opset >= 7 {
				o.countPads = a.bool("count_include_pad", false)
			}
		case "LpPool":
			if o.p = int(a.int("p", 2)); o.p < 1 {
				a.fail(fmt.Errorf("attribute p is %d", o.p))
			}
		case "MaxPool":
			o.hasIndices = true
			if a.opset >= 8 {
				o.colMajor = a.bool("storage_order", false)
			}
		}
		return o
	}
}

func (o *pool) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if nOut > 2 || nOut == 2 && !o.hasIndices {
		return nil, fmt.Errorf("found %d outputs", nOut)
	}
	axes, err := spatial(in[0])
	if err != nil {
		return nil, err
	}
	if axes < 0 {
		axes = len(o.kernel)
	}
	if err := o.check(axes); err != nil {
		return nil, err
	}
	shape := unknownDims(2 + axes)
	if in[0].Ranked {
		copy(shape, in[0].Shape[:2])
		out, err := o.dims(in[0].Shape[2:], graph.Sizes(o.kernel))
		if err != nil {
			return nil, err
		}
		copy(shape[2:], out)
	}
	out := tensorFact(in[0].DType, shape...)
	if nOut == 2 {
		out = append(out, tensorFact(tensor.Int64, shape...)...)
	}
	return out, nil
}

func (o *pool) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	s, err := o.slides(x.Shape()[2:], o.kernel)
	if err != nil {
		return err
	}
	if o.name == "MaxPool" {
		var at []int64
		if present(out, 1) {
			at = tensor.Data[int64](out[1].Tensor)
		}
		switch y.DType() {
		case tensor.Float32:
			if at == nil {
				slidePool(ctx, o, s, tensor.Data[float32](x), tensor.Data[float32](y))
				return nil
			}
			maxPool(ctx, o, s, tensor.Data[float32](x), tensor.Data[float32](y), at, float32(-math.MaxFloat32))
		case tensor.Float64:
			maxPool(ctx, o, s, tensor.Data[float64](x), tensor.Data[float64](y), at, -math.MaxFloat64)
		case tensor.Int8:
			maxPool(ctx, o, s, tensor.Data[int8](x), tensor.Data[int8](y), at, math.MinInt8)
		case tensor.Uint8:
			maxPool(ctx, o, s, tensor.Data[uint8](x), tensor.Data[uint8](y), at, 0)
		case tensor.Float16, tensor.BFloat16:
			return viaFloat32(ctx, o, in, out)
		default:
			return unsupportedType(o.name, y.DType())
		}
		return nil
	}
	switch y.DType() {
	case tensor.Float32:
		if o.name == "AveragePool" {
			slidePool(ctx, o, s, tensor.Data[float32](x), tensor.Data[float32](y))
			return nil
		}
		sumPool(ctx, o, s, tensor.Data[float32](x), tensor.Data[float32](y))
	case tensor.Float64:
		sumPool(ctx, o, s, tensor.Data[float64](x), tensor.Data[float64](y))
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, y.DType())
	}
	return nil
}

// poolGrain is the number of output elements worth a task of their own.
const poolGrain = 1 << 14

// planes calls f for each channel of each image, x's part and y's.
func planes[T tensor.Elem](ctx *Ctx, s [maxSpatial]slide, x, y []T, f func(k int, x, y []T)) {
	in, out := s[0].in*s[1].in*s[2].in, s[0].out*s[1].out*s[2].out
	if out == 0 {
		return
	}
	ctx.Pool.For(len(y)/out, max(1, poolGrain/out), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			f(k, x[k*in:(k+1)*in], y[k*out:(k+1)*out])
		}
	})
}

// positions calls f for the o-th output along three axes with each element
// that it sees.
func positions(s *[maxSpatial]slide, oz, oy, ox int, f func(at int)) {
	z, y, x := &s[0], &s[1], &s[2]
	zlo, zhi := z.taps(oz)
	ylo, yhi := y.taps(oy)
	xlo, xhi := x.taps(ox)
	for tz := zlo; tz < zhi; tz++ {
		for ty := ylo; ty < yhi; ty++ {
			at := ((oz*z.stride+tz*z.dilation-z.before)*y.in+oy*y.stride+ty*y.dilation-y.before)*x.in + ox*x.stride - x.before
			for tx := xlo; tx < xhi; tx++ {
				f(at + tx*x.dilation)
			}
		}
	}
}

func maxPool[T float32 | float64 | int8 | uint8](ctx *Ctx, o *pool, s [maxSpatial]slide, x, y []T, at []int64, least T) {
	plane := s[0].in * s[1].in * s[2].in
	planes(ctx, s, x, y, func(k int, x, y []T) {
		for i := range y {
			best, where := least, -1
			positions(&s, i/(s[1].out*s[2].out), i/s[2].out%s[1].out, i%s[2].out, func(p int) {
				// A NaN stays, as in numpy.
				if v := x[p]; where < 0 || v > best || v != v && best == best {
					best, where = v, p
				}
			})
			y[i] = best
			if at == nil {
				continue
			}
			if where >= 0 && o.colMajor {
				iz, iy, ix := where/(s[1].in*s[2].in), where/s[2].in%s[1].in, where%s[2].in
				where = (ix*s[1].in+iy)*s[0].in + iz
			}
			at[k*len(y)+i] = int64(k*plane + max(where, 0))
		}
	})
}

// sumPool is AveragePool and LpPool, summed in float64.
func sumPool[T float32 | float64](ctx *Ctx, o *pool, s [maxSpatial]slide, x, y []T) {
	planes(ctx, s, x, y, func(_ int, x, y []T) {
		for i := range y {
			oz, oy, ox := i/(s[1].out*s[2].out), i/s[2].out%s[1].out, i%s[2].out
			sum, count := 0.0, 0
			positions(&s, oz, oy, ox, func(p int) {
				count++
				switch v := float64(x[p]); {
				case o.name == "AveragePool":
					sum += v
				case o.p == 1:
					sum += math.Abs(v)
				case o.p == 2:
					sum += v * v
				default:
					sum += math.Pow(math.Abs(v), float64(o.p))
				}
			})
			switch {
			case o.name == "LpPool":
				y[i] = T(norm(sum, o.p))
				continue
			case o.countPads:
				count = s[0].padded(oz) * s[1].padded(oy) * s[2].padded(ox)
			}
			y[i] = T(sum / float64(max(1, count)))
		}
	})
}

// padded is how many taps of output o lie within the padded input.
func (s slide) padded(o int) int {
	room := s.in + s.before + s.after - o*s.stride
	return min(s.kernel, (room+s.dilation-1)/s.dilation)
}

// norm is the p-th root of a sum of p-th powers.
func norm(sum float64, p int) float64 {
	switch p {
	case 1:
		return sum
	case 2:
		return math.Sqrt(sum)
	}
	return math.Pow(sum, 1/float64(p))
}

// globalPool reduces all that comes after [N C] to one element.
type globalPool struct {
	name string
	p    int
}

func parseGlobalPool(name string) parser {
	return func(a *attrs) Op {
		o := &globalPool{name: name}
		if name == "GlobalLpPool" {
			if o.p = int(a.int("p", 2)); o.p < 1 {
				a.fail(fmt.Errorf("attribute p is %d", o.p))
			}
		}
		return o
	}
}

func (o *globalPool) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if _, err := spatial(in[0]); err != nil || !in[0].Ranked {
		return unrankedFact(in[0].DType), err
	}
	shape := append([]graph.Dim{}, in[0].Shape[:2]...)
	for _, d := range in[0].Shape[2:] {
		if d.Is(0) && o.name != "GlobalLpPool" {
			return nil, fmt.Errorf("%s of nothing in %s", o.name, in[0].Type)
		}
		shape = append(shape, graph.Size(1))
	}
	return tensorFact(in[0].DType, shape...), nil
}

func (o *globalPool) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch out[0].Tensor.DType() {
	case tensor.Float32:
		x, y := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor)
		switch n := product(in[0].Tensor.Shape()[2:]); o.name {
		case "GlobalAveragePool":
			rowMeans(ctx, n, y, x)
			return nil
		case "GlobalMaxPool":
			kernel.Max32(ctx.Pool, len(y), n, y, x, n)
			return nil
		}
		globalPoolAs[float32](ctx, o, in[0].Tensor, out[0].Tensor)
	case tensor.Float64:
		globalPoolAs[float64](ctx, o, in[0].Tensor, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, out[0].Tensor.DType())
	}
	return nil
}

func globalPoolAs[T float32 | float64](ctx *Ctx, o *globalPool, x, y *tensor.Tensor) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	n := product(x.Shape()[2:])
	ctx.Pool.For(len(dst), max(1, elementGrain/max(1, n)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst[i] = globalOf(o, src[i*n:(i+1)*n])
		}
	})
}

// globalOf reduces one channel.
func globalOf[T float32 | float64](o *globalPool, row []T) T {
	if o.name == "GlobalMaxPool" {
		best := row[0]
		for _, v := range row {
			best = max(best, v)
		}
		return best
	}
	sum := 0.0
	for _, v := range row {
		if o.name == "GlobalAveragePool" {
			sum += float64(v)
		} else {
			sum += math.Pow(math.Abs(float64(v)), float64(o.p))
		}
	}
	if o.name == "GlobalAveragePool" {
		return T(sum / float64(len(row)))
	}
	return T(norm(sum, o.p))
}
