package op

import (
	"math"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// The gradients that a transformer's time goes to, in float32 by the loops of
// package kernel. The plain ones beside their operators say what they compute.

// slopeBlock is the elements that such a loop works on at a time: several runs of
// them stay in the nearest cache.
const slopeBlock = 1 << 11

// A slope is d[i] = f'(x[i]) where y = f(x), for at most slopeBlock elements. It
// reads those of x and y that the operator saves.
type slope func(d, x, y []float32)

// slopes is those of functions whose derivative takes time.
var slopes = map[string]slope{
	"Exp": func(d, _, y []float32) { copy(d, y) },
	"Erf": func(d, x, _ []float32) {
		for i, v := range x {
			d[i] = -v * v
		}
		kernel.Unary32(nil, kernel.Exp, d, d, 0, 0)
		for i := range d {
			d[i] *= 2 / math.SqrtPi
		}
	},
	"Tanh": func(d, _, y []float32) {
		for i, v := range y {
			d[i] = 1 - v*v
		}
	},
	"Sigmoid": func(d, _, y []float32) {
		for i, v := range y {
			d[i] = v * (1 - v)
		}
	},
	"Softplus": func(d, x, _ []float32) { kernel.Unary32(nil, kernel.Sigmoid, d, x, 0, 0) },
}

// geluSlope is that of x·Φ(x): Φ(x) + x·φ(x).
func geluSlope(d, x, _ []float32) {
	scratch := floatScratches.get(len(x))
	e := *scratch
	for i, v := range x {
		e[i], d[i] = v*(1/math.Sqrt2), -v*v/2
	}
	kernel.Unary32(nil, kernel.Erf, e, e, 0, 0)
	kernel.Unary32(nil, kernel.Exp, d, d, 0, 0)
	for i, v := range x {
		d[i] = 0.5*(1+e[i]) + v*d[i]*(1/(math.Sqrt2*math.SqrtPi))
	}
	floatScratches.Put(scratch)
}

// geluTanhSlope is that of its approximation.
func geluTanhSlope(d, x, _ []float32) {
	const c = math.Sqrt2 / math.SqrtPi // √(2/π)
	for i, v := range x {
		d[i] = c * (v + 0.044715*v*v*v)
	}
	kernel.Unary32(nil, kernel.Tanh, d, d, 0, 0)
	for i, v := range x {
		t := d[i]
		d[i] = 0.5*(1+t) + 0.5*v*(1-t*t)*c*(1+3*0.044715*v*v)
	}
}

// slopeBack is dx (+)= f'(x)·dy.
func slopeBack(ctx *Ctx, f slope, x, y, dy, dx []float32, into bool) {
	ctx.Pool.For(len(dx), elementGrain, func(lo, hi int) {
		scratch := floatScratches.get(slopeBlock)
		for ; lo < hi; lo += slopeBlock {
			n := min(slopeBlock, hi-lo)
			d, to := (*scratch)[:n], dx[lo:lo+n]
			f(d, x[lo:lo+n], y[lo:lo+n])
			if into {
				kernel.Zip32(nil, kernel.Times, 1, n, to, n, d, n, 1, dy[lo:], n, 1)
				continue
			}
			kernel.Zip32(nil, kernel.Times, 1, n, d, n, d, n, 1, dy[lo:], n, 1)
			kernel.Axpy32(nil, to, 1, d)
		}
		floatScratches.Put(scratch)
	})
}

// eachRows calls f for blocks of rows of n elements, from the i-th on, with
// scratch memory for so many blocks and, for each row, so many numbers.
func eachRows(ctx *Ctx, rows, n, blocks, numbers int, f func(i, m int, scratch []float32)) {
	most := max(1, slopeBlock/n)
	ctx.Pool.For(rows, max(1, elementGrain/n), func(lo, hi int) {
		scratch := floatScratches.get(most * (blocks*n + numbers))
		for ; lo < hi; lo += most {
			f(lo, min(most, hi-lo), *scratch)
		}
		floatScratches.Put(scratch)
	})
}

// softmaxBack32 is softmaxBack of the plain kind along the last axis, for rows
// of n elements: dx (+)= y·(dy − Σ y·dy).
func softmaxBack32(ctx *Ctx, rows, n int, y, dy, dx []float32, into bool) {
	eachRows(ctx, rows, n, 1, 1, func(i, m int, scratch []float32) {
		h, s := scratch[:m*n], scratch[len(scratch)-m:]
		y, dy, dx := y[i*n:(i+m)*n], dy[i*n:(i+m)*n], dx[i*n:(i+m)*n]
		kernel.Zip32(nil, kernel.Times, 1, m*n, h, m*n, y, m*n, 1, dy, m*n, 1)
		rowSums(s, h, n)
		kernel.Zip32(nil, kernel.Minus, m, n, h, n, dy, n, 1, s, 1, 0)
		to := h
		if into {
			to = dx
		}
		kernel.Zip32(nil, kernel.Times, 1, m*n, to, m*n, h, m*n, 1, y, m*n, 1)
		if !into {
			kernel.Axpy32(nil, dx, 1, h)
		}
	})
}

// rowSums is the sums of the rows of n elements of x, added up in float64.
func rowSums(s, x []float32, n int) {
	var sums [64]float64
	for len(s) > 0 {
		m := min(len(s), len(sums))
		kernel.Sum32(nil, m, n, sums[:m], x, n)
		for i, v := range sums[:m] {
			s[i] = float32(v)
		}
		s, x = s[m:], x[m*n:]
	}
}

// layerNormBack32 is layerNormBack for rows of n elements. sums, unless it is
// nil, takes for each task of normGrain rows Σ dy·x̂ and Σ dy over them.
func layerNormBack32(ctx *Ctx, rows, n int, epsilon float64, x, scale, dy, dx []float32, into bool, sums []float32) {
	ones := make([]float32, n)
	kernel.Fill32(1, n, ones, []float32{1})
	grain := normGrain(n)
	most := max(1, min(grain, slopeBlock/n))
	ctx.Pool.For(rows, grain, func(lo, hi int) {
		scratch := floatScratches.get(most * (3*n + 3))
		stats := make([]float64, 2*most)
		var dscale, dbias []float32
		if sums != nil {
			s := sums[lo/grain*2*n : (lo/grain+1)*2*n]
			dscale, dbias = s[:n], s[n:]
		}
		for i := lo; i < hi; i += most {
			m := min(most, hi-i)
			part := func(k int) []float32 { return (*scratch)[k*most*n : k*most*n+m*n] }
			number := func(k int) []float32 { return (*scratch)[3*most*n+k*most : 3*most*n+k*most+m] }
			hat, g, h := part(0), part(1), part(2)
			dy := dy[i*n : (i+m)*n]
			kernel.LayerNorm32(nil, m, n, hat, n, x[i*n:(i+m)*n], n, ones, nil, epsilon, stats)
			if sums != nil {
				kernel.Zip32(nil, kernel.Times, 1, m*n, h, m*n, dy, m*n, 1, hat, m*n, 1)
				kernel.SumRows32(nil, m, n, dscale, h)
				kernel.SumRows32(nil, m, n, dbias, dy)
			}
			if dx == nil {
				continue
			}
			a, b, inverse := number(0), number(1), number(2) // mean of g, of g·x̂; 1/√(var + ε)
			kernel.Zip32(nil, kernel.Times, m, n, g, n, dy, n, 1, scale, 0, 1)
			rowSums(a, g, n)
			kernel.Zip32(nil, kernel.Times, 1, m*n, h, m*n, g, m*n, 1, hat, m*n, 1)
			rowSums(b, h, n)
			for k := range m {
				a[k] /= float32(n)
				b[k] /= float32(n)
				inverse[k] = float32(stats[2*k+1])
			}
			kernel.Zip32(nil, kernel.Times, m, n, hat, n, hat, n, 1, b, 1, 0)
			kernel.Zip32(nil, kernel.Minus, 1, m*n, g, m*n, g, m*n, 1, hat, m*n, 1)
			kernel.Zip32(nil, kernel.Minus, m, n, g, n, g, n, 1, a, 1, 0)
			to := dx[i*n : (i+m)*n]
			if into {
				kernel.Zip32(nil, kernel.Times, m, n, to, n, g, n, 1, inverse, 1, 0)
				continue
			}
			kernel.Zip32(nil, kernel.Times, m, n, g, n, g, n, 1, inverse, 1, 0)
			kernel.Axpy32(nil, to, 1, g)
		}
		floatScratches.Put(scratch)
	})
}

// normGrain is the rows of a task of layerNormBack, of n elements each.
func normGrain(n int) int { return max(1, elementGrain/n) }

// BackwardInto is dx (+)= f'(x)·dy.
func (o *unary) BackwardInto(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) || !present(din, 0) {
		clearFresh(din, fresh)
		return nil
	}
	into := isFresh(din, fresh, 0)
	return byFloat(o.name, out[0].Tensor.DType(),
		func() {
			if o.slope != nil {
				slopeBack(ctx, o.slope, tensor.Data[float32](in[0].Tensor), tensor.Data[float32](out[0].Tensor), gradient[float32](dout, 0), gradient[float32](din, 0), into)
				return
			}
			unaryBack[float32](ctx, o.df, in, out, dout, din, into)
		},
		func() { unaryBack[float64](ctx, o.df, in, out, dout, din, into) })
}
