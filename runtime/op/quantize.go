package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A granularity says which elements of a tensor share a scale and a zero
// point: all of them, those of one position along an axis, or blocks of
// neighbours along that axis.
type granularity struct {
	axis  int
	block int // elements of a block; 0: no blocks
}

func parseGranularity(a *attrs) granularity {
	g := granularity{axis: 1}
	if a.opset >= 13 {
		g.axis = int(a.int("axis", 1))
	}
	if a.opset >= 21 {
		g.block = int(a.int("block_size", 0))
	}
	if g.block < 0 {
		a.fail(fmt.Errorf("attribute block_size is %d, wanted none or a positive one", g.block))
	}
	return g
}

// check fails where a scale of one shape does not fit x.
func (g granularity) check(x, scale graph.Fact) error {
	if !x.Ranked || !scale.Ranked {
		return nil
	}
	wrong := fmt.Errorf("scale%s does not fit x%s along axis %d in blocks of %d",
		graph.FormatShape(scale.Shape, true), graph.FormatShape(x.Shape, true), g.axis, g.block)
	if g.block == 0 {
		if len(scale.Shape) == 0 || len(scale.Shape) == 1 && scale.Shape[0].Is(1) {
			return nil
		}
		if len(scale.Shape) > 1 {
			return wrong
		}
		if _, ok := scale.Shape[0].Const(); !ok {
			return nil // one for all, perhaps
		}
		axis, err := normAxis(g.axis, len(x.Shape))
		if err != nil {
			return err
		}
		if differ(scale.Shape[0], x.Shape[axis]) {
			return wrong
		}
		return nil
	}
	axis, err := normAxis(g.axis, len(x.Shape))
	if err != nil {
		return err
	}
	if len(scale.Shape) != len(x.Shape) {
		return wrong
	}
	for i, d := range x.Shape {
		if n, ok := d.Const(); ok && i == axis {
			d = graph.Size((n + g.block - 1) / g.block)
		} else if i == axis {
			continue
		}
		if differ(d, scale.Shape[i]) {
			return wrong
		}
	}
	return nil
}

// share calls f, over all cores, for runs of elements [lo, hi) that make up a tensor; the k-th of a run has
// the scale at + k·step.
func (g granularity) share(p *kernel.Pool, shape, scale []int, f func(lo, hi, at, step int)) {
	total := product(shape)
	if product(scale) == 1 {
		p.For(total, elementGrain, func(lo, hi int) { f(lo, hi, 0, 0) })
		return
	}
	axis, _ := normAxis(g.axis, len(shape))
	_, n, inner := around(shape, axis)
	p.For(total, elementGrain, func(lo, hi int) {
		for lo < hi {
			var first, length, at, step int
			if g.block == 0 && inner == 1 { // a run is a row of scales
				first, length, step = lo/n*n, n, 1
			} else {
				line := lo / inner
				first, length = line*inner, inner
				if g.block == 0 {
					at = line % n
				} else {
					at, step = (line/n*scale[axis]+line%n/g.block)*inner, 1
				}
			}
			end := min(hi, first+length)
			f(lo, end, at+(lo-first)*step, step)
			lo = end
		}
	})
}

// quantInts is the elements of an integer tensor, 4-bit ones included.
func quantInts(t *tensor.Tensor) ([]int64, error) {
	d := t.DType()
	if d != tensor.Int4 && d != tensor.Uint4 {
		return tensor.Int64s(t)
	}
	out := make([]int64, t.Len())
	for i := range out {
		q := t.Bytes()[i/2] >> (i % 2 * 4) & 15
		out[i] = int64(q)
		if d == tensor.Int4 {
			out[i] = int64(int8(q<<4) >> 4)
		}
	}
	return out, nil
}

// zeroPoints is the elements of the optional input 2, one zero where it is
// left out; zeros step as the scales do.
func zeroPoints(in []tensor.Value, scales int) ([]int64, error) {
	if present(in, 2) {
		return quantInts(in[2].Tensor)
	}
	return make([]int64, scales), nil
}

// sameShape fails where the optional zero point is not shaped like the scale.
func sameShape(in []graph.Fact) error {
	if !given(in, 2) || !in[1].Ranked || !in[2].Ranked {
		return nil
	}
	n, okN := graph.Product(in[1].Shape).Const()
	m, okM := graph.Product(in[2].Shape).Const()
	if okN && okM && n != m {
		return fmt.Errorf("scale is %v, but zero point is %v", in[1].Type, in[2].Type)
	}
	return nil
}

// dequantize is DequantizeLinear: y = (x − zero)·scale, in float32, rounded
// once to the type of the scale.
type dequantize struct {
	granularity
	dtype tensor.DType // Undefined: the scale's
}

func parseDequantize(a *attrs) Op {
	o := &dequantize{granularity: parseGranularity(a)}
	if a.opset >= 23 {
		o.dtype = a.dtype("output_dtype", tensor.Undefined)
	}
	return o
}

func (o *dequantize) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	if d := in[0].DType; d != tensor.Undefined && !d.IsInteger() {
		return nil, unsupportedType("DequantizeLinear", d)
	}
	if d := in[1].DType; d != tensor.Undefined && !d.IsFloat() {
		return nil, fmt.Errorf("scale is %v, wanted floating point", in[1].Type)
	}
	if given(in, 2) {
		if _, err := sameDType([]graph.Fact{in[0], in[2]}); err != nil {
			return nil, fmt.Errorf("x and zero point: %w", err)
		}
	}
	if err := sameShape(in); err != nil {
		return nil, err
	}
	if err := o.check(in[0], in[1]); err != nil {
		return nil, err
	}
	f := graph.Fact{Type: in[0].Type}
	if f.DType = o.dtype; f.DType == tensor.Undefined {
		f.DType = in[1].DType
	}
	return []graph.Fact{f}, nil
}

func (o *dequantize) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, s, y := in[0].Tensor, in[1].Tensor, out[0].Tensor
	scale, err := float32s(s)
	if err != nil {
		return unsupportedType("DequantizeLinear", s.DType())
	}
	zero, err := zeroPoints(in, len(scale))
	if err != nil {
		return unsupportedType("DequantizeLinear", in[2].Tensor.DType())
	}
	wide := y
	if y.DType() != tensor.Float32 {
		wide = tensor.New(tensor.Float32, y.Shape()...)
	}
	to := tensor.Data[float32](wide)
	switch x.DType() {
	case tensor.Uint8:
		dequantizeBytes(ctx, o, x.Shape(), s.Shape(), tensor.Data[uint8](x), zero, scale, to)
	case tensor.Int8:
		dequantizeBytes(ctx, o, x.Shape(), s.Shape(), tensor.Data[int8](x), zero, scale, to)
	case tensor.Int32:
		dequantizeAs(ctx, o, x.Shape(), s.Shape(), tensor.Data[int32](x), zero, scale, to)
	default:
		v, err := quantInts(x)
		if err != nil {
			return unsupportedType("DequantizeLinear", x.DType())
		}
		dequantizeAs(ctx, o, x.Shape(), s.Shape(), v, zero, scale, to)
	}
	if wide == y {
		return nil
	}
	if err := castTo(ctx.Pool, wide, y); err != nil {
		return unsupportedType("DequantizeLinear", y.DType())
	}
	return nil
}

func dequantizeAs[T integer](ctx *Ctx, o *dequantize, shape, scaleShape []int, x []T, zero []int64, scale, y []float32) {
	o.share(ctx.Pool, shape, scaleShape, func(lo, hi, at, step int) {
		x, y := x[lo:hi], y[lo:hi]
		if step == 0 {
			zero, scale := zero[at], scale[at]
			for i, v := range x {
				y[i] = float32(int64(v)-zero) * scale
			}
			return
		}
		for i, v := range x {
			y[i] = float32(int64(v)-zero[at+i*step]) * scale[at+i*step]
		}
	})
}

// dequantizeBytes is dequantizeAs for bytes.
func dequantizeBytes[T kernel.Byte](ctx *Ctx, o *dequantize, shape, scaleShape []int, x []T, zero []int64, scale, y []float32) {
	wide := zeros32(zero)
	o.share(ctx.Pool, shape, scaleShape, func(lo, hi, at, step int) {
		end := at + max(1, (hi-lo)*step)
		kernel.Dequantize8(y[lo:hi], x[lo:hi], scale[at:end], wide[at:end])
	})
}

// zeros32 is zero points in float32.
func zeros32(zero []int64) []float32 {
	wide := make([]float32, len(zero))
	convert(zero, wide)
	return wide
}

// float32s is the elements of a floating-point tensor in float32.
func float32s(t *tensor.Tensor) ([]float32, error) {
	if t.DType() == tensor.Float32 {
		return tensor.Data[float32](t), nil
	}
	wide := tensor.New(tensor.Float32, t.Shape()...)
	err := castTo(nil, t, wide)
	return tensor.Data[float32](wide), err
}

// quantize is QuantizeLinear: y = x/scale rounded half to even, plus zero,
// kept within the output's range. NaN, of which ONNX says nothing, becomes zero.
type quantize struct {
	granularity
	dtype tensor.DType // Undefined: the zero point's, or uint8
}

func parseQuantize(a *attrs) Op {
	o := &quantize{granularity: parseGranularity(a)}
	if a.opset >= 19 {
		a.bool("saturate", true) // concerns 8-bit floats alone
	}
	if a.opset >= 21 {
		o.dtype = a.dtype("output_dtype", tensor.Undefined)
	}
	return o
}

func (o *quantize) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	f := graph.Fact{Type: in[0].Type}
	switch f.DType = o.dtype; {
	case given(in, 2) && o.dtype != tensor.Undefined && in[2].DType != tensor.Undefined && in[2].DType != o.dtype:
		return nil, fmt.Errorf("attribute output_dtype is %v, but the zero point is %v", o.dtype, in[2].DType)
	case given(in, 2):
		f.DType = in[2].DType
	case o.dtype == tensor.Undefined:
		f.DType = tensor.Uint8
	}
	if f.DType != tensor.Undefined {
		if _, _, ok := quantRange(f.DType); !ok {
			return nil, unsupportedType("QuantizeLinear", f.DType)
		}
	}
	if d := in[1].DType; d != tensor.Undefined && !d.IsFloat() {
		return nil, fmt.Errorf("scale is %v, wanted floating point", in[1].Type)
	}
	if err := sameShape(in); err != nil {
		return nil, err
	}
	return []graph.Fact{f}, o.check(in[0], in[1])
}

// quantRange is the least and largest number of a type to quantise to.
func quantRange(d tensor.DType) (lo, hi int64, ok bool) {
	switch d {
	case tensor.Uint8:
		return 0, math.MaxUint8, true
	case tensor.Int8:
		return math.MinInt8, math.MaxInt8, true
	case tensor.Uint16:
		return 0, math.MaxUint16, true
	case tensor.Int16:
		return math.MinInt16, math.MaxInt16, true
	case tensor.Uint4:
		return 0, 15, true
	case tensor.Int4:
		return -8, 7, true
	}
	return 0, 0, false
}

func (o *quantize) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, s, y := in[0].Tensor, in[1].Tensor, out[0].Tensor
	if x.DType() != tensor.Float32 {
		wide := tensor.New(tensor.Float32, x.Shape()...)
		if err := castTo(ctx.Pool, x, wide); err != nil {
			return unsupportedType("QuantizeLinear", x.DType())
		}
		x = wide
	}
	scale, err := float32s(s)
	if err != nil {
		return unsupportedType("QuantizeLinear", s.DType())
	}
	zero, err := zeroPoints(in, len(scale))
	if err != nil {
		return unsupportedType("QuantizeLinear", in[2].Tensor.DType())
	}
	switch v := tensor.Data[float32](x); y.DType() {
	case tensor.Uint8:
		quantizeBytes(ctx, o, x.Shape(), s.Shape(), v, zero, scale, tensor.Data[uint8](y))
	case tensor.Int8:
		quantizeBytes(ctx, o, x.Shape(), s.Shape(), v, zero, scale, tensor.Data[int8](y))
	case tensor.Uint16:
		quantizeAs(ctx, o, x.Shape(), s.Shape(), v, zero, scale, y.DType(), tensor.Data[uint16](y))
	case tensor.Int16:
		quantizeAs(ctx, o, x.Shape(), s.Shape(), v, zero, scale, y.DType(), tensor.Data[int16](y))
	default:
		q := make([]int8, len(v))
		quantizeAs(ctx, o, x.Shape(), s.Shape(), v, zero, scale, y.DType(), q)
		for i, n := range q { // two to a byte, the first in the low bits
			b, shift := &y.Bytes()[i/2], i%2*4
			*b = *b&^(15<<shift) | byte(n&15)<<shift
		}
	}
	return nil
}

func quantizeAs[T integer](ctx *Ctx, o *quantize, shape, scaleShape []int, x []float32, zero []int64, scale []float32, d tensor.DType, y []T) {
	least, most, _ := quantRange(d)
	o.share(ctx.Pool, shape, scaleShape, func(lo, hi, at, step int) {
		if step == 0 {
			quantizeRun(x[lo:hi], y[lo:hi], scale[at], zero[at], least, most)
			return
		}
		y := y[lo:hi]
		for i, v := range x[lo:hi] {
			y[i] = T(saturated(v/scale[at+i*step], zero[at+i*step], least, most))
		}
	})
}

// quantizeBytes is quantizeAs for bytes.
func quantizeBytes[T kernel.Byte](ctx *Ctx, o *quantize, shape, scaleShape []int, x []float32, zero []int64, scale []float32, y []T) {
	wide := zeros32(zero)
	o.share(ctx.Pool, shape, scaleShape, func(lo, hi, at, step int) {
		end := at + max(1, (hi-lo)*step)
		kernel.Quantize8(y[lo:hi], x[lo:hi], scale[at:end], wide[at:end])
	})
}

// quantizeRun is saturated(v/scale, …) of a run of numbers.
func quantizeRun[T integer](x []float32, y []T, scale float32, zero, least, most int64) {
	y = y[:len(x)]
	add, lo, hi := float64(zero), float64(least), float64(most)
	for i, v := range x {
		switch q := math.RoundToEven(float64(v/scale)) + add; {
		case q >= hi:
			y[i] = T(most)
		case q > lo:
			y[i] = T(int32(q))
		case q <= lo:
			y[i] = T(least)
		default:
			y[i] = T(zero) // NaN
		}
	}
}

// saturated rounds half to even, adds zero and keeps within [least, most].
func saturated(v float32, zero, least, most int64) int64 {
	q := math.RoundToEven(float64(v)) + float64(zero)
	if math.IsNaN(q) {
		return zero
	}
	return int64(min(max(q, float64(least)), float64(most)))
}

// dynamicQuantize is DynamicQuantizeLinear: to uint8, with the scale and zero
// point that make the range of x and 0 fill it.
type dynamicQuantize struct{}

func parseDynamicQuantize(*attrs) Op { return dynamicQuantize{} }

func (dynamicQuantize) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if d := in[0].DType; d != tensor.Float32 && d != tensor.Undefined {
		return nil, unsupportedType("DynamicQuantizeLinear", d)
	}
	if nOut > 3 {
		return nil, fmt.Errorf("found %d outputs, wanted at most 3", nOut)
	}
	y := graph.Fact{Type: in[0].Type}
	y.DType = tensor.Uint8
	out := []graph.Fact{y, tensorFact(tensor.Float32)[0], tensorFact(tensor.Uint8)[0]}
	return out[:max(1, nOut)], nil
}

func (dynamicQuantize) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := tensor.Data[float32](in[0].Tensor)
	lo, hi := extent(ctx.Pool, x)
	scale := (hi - lo) / 255
	if scale == 0 {
		scale = 1 // all of x is 0
	}
	zero := saturated(-lo/scale, 0, 0, math.MaxUint8)
	if present(out, 0) {
		y, scales, zeros := tensor.Data[uint8](out[0].Tensor), []float32{scale}, []float32{float32(zero)}
		ctx.Pool.For(len(x), elementGrain, func(lo, hi int) {
			kernel.Quantize8(y[lo:hi], x[lo:hi], scales, zeros)
		})
	}
	if present(out, 1) {
		tensor.Data[float32](out[1].Tensor)[0] = scale
	}
	if present(out, 2) {
		tensor.Data[uint8](out[2].Tensor)[0] = uint8(zero)
	}
	return nil
}

// extent is the least and the largest of numbers and 0, NaN if one of them is.
func extent(p *kernel.Pool, x []float32) (lo, hi float32) {
	if len(x) <= elementGrain {
		return extentOf(x)
	}
	found := make([][2]float32, (len(x)+elementGrain-1)/elementGrain)
	p.For(len(x), elementGrain, func(from, to int) {
		lo, hi := extentOf(x[from:to])
		found[from/elementGrain] = [2]float32{lo, hi}
	})
	for _, f := range found {
		lo, hi = min(lo, f[0]), max(hi, f[1])
	}
	return lo, hi
}

func extentOf(x []float32) (lo, hi float32) {
	var least, most [1]float64
	kernel.FoldRows32(kernel.FoldMin, 1, len(x), least[:], x, len(x))
	kernel.FoldRows32(kernel.FoldMax, 1, len(x), most[:], x, len(x))
	return float32(least[0]), float32(most[0])
}
