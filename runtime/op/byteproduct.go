package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Products of bytes are products of float32, in which integers up to 2²⁴ are exact: as many terms at a time as do
// not get beyond that, whatever they are.

// A centredMatrix is the elements of an 8-bit tensor less its zero points, in float32.
type centredMatrix struct {
	data []float32
	most int // none is larger in magnitude
	kept *[]float32
}

// done gives the memory back.
func (c *centredMatrix) done() { floatScratches.Put(c.kept) }

// centred takes zero points from the elements of a matrix (or stack): there is one for every line (row, or column),
// or one for all.
func centred(ctx *Ctx, x, zero *tensor.Tensor, columns bool) (centredMatrix, error) {
	z := []int{0}
	if zero != nil {
		var ok bool
		if z, ok = intsIn(zero); !ok {
			return centredMatrix{}, unsupportedType("MatMulInteger", zero.DType())
		}
	}
	width := 1
	if x.Rank() > 0 {
		width = x.Shape()[x.Rank()-1]
	}
	switch x.DType() {
	case tensor.Uint8:
		return lessZeros(ctx, tensor.Data[uint8](x), z, width, columns), nil
	case tensor.Int8:
		return lessZeros(ctx, tensor.Data[int8](x), z, width, columns), nil
	}
	return centredMatrix{}, unsupportedType("MatMulInteger", x.DType())
}

// lessZeros takes zero points from rows of width elements.
func lessZeros[T kernel.Byte](ctx *Ctx, v []T, zeros []int, width int, columns bool) centredMatrix {
	kept := floatScratches.get(len(v))
	out := centredMatrix{data: *kept, kept: kept}
	least, largest := 0, 255
	if none := T(0); none-1 < none {
		least, largest = -128, 127
	}
	wide := make([]float32, len(zeros))
	for i, z := range zeros {
		wide[i] = float32(z)
		out.most = max(out.most, largest-z, z-least)
	}
	switch {
	case len(zeros) == 1:
		ctx.Pool.For(len(v), elementGrain, func(lo, hi int) {
			kernel.Dequantize8(out.data[lo:hi], v[lo:hi], one32, wide)
		})
	case width == 0:
	case columns:
		ones, zero := make([]float32, width), make([]float32, width)
		setAll(ones, 1)
		for i := range zero {
			zero[i] = wide[i%len(wide)]
		}
		sharedRows(ctx, len(v)/width, width, func(r int) {
			kernel.Dequantize8(out.data[r*width:(r+1)*width], v[r*width:(r+1)*width], ones, zero)
		})
	default:
		sharedRows(ctx, len(v)/width, width, func(r int) {
			at := r % len(wide)
			kernel.Dequantize8(out.data[r*width:(r+1)*width], v[r*width:(r+1)*width], one32, wide[at:at+1])
		})
	}
	return out
}

// sharedRows calls f for each row of so many elements, over all cores.
func sharedRows(ctx *Ctx, rows, width int, f func(r int)) {
	ctx.Pool.For(rows, max(1, elementGrain/max(1, width)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			f(r)
		}
	})
}

// exactTerms is how many products of elements of two matrices float32 adds up without rounding, in any order.
func exactTerms(a, b centredMatrix) int { return 1 << 24 / max(1, a.most*b.most) }

// byteProduct is numpy.matmul of two 8-bit tensors less their zero points.
func byteProduct(ctx *Ctx, a, b, aZero, bZero *tensor.Tensor, c []int32) error {
	x, err := centred(ctx, a, aZero, false)
	if err != nil {
		return err
	}
	defer x.done()
	y, err := centred(ctx, b, bZero, b.Rank() > 1)
	if err != nil {
		return err
	}
	defer y.done()
	p := newBatch(a.Shape(), b.Shape())
	size, terms := p.m*p.n, exactTerms(x, y)
	ctx.Pool.For(p.count, gemmGrain/max(1, size*p.k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ai, bi := p.operands(i)
			gemmExact(ctx.Pool, p.m, p.n, p.k, terms, x.data[ai:], y.data[bi:], c[i*size:(i+1)*size])
		}
	})
	return nil
}

// gemmExact is C[m n] = A[m k]·B[k n] for matrices of integers of whose products so many terms add up exactly.
func gemmExact(p *kernel.Pool, m, n, k, terms int, a, b []float32, c []int32) {
	if k == 0 {
		clear(c)
	}
	scratch := floatScratches.get(m * n)
	defer floatScratches.Put(scratch)
	z := *scratch
	for k0 := 0; k0 < k; k0 += terms {
		kernel.Gemm32(p, m, n, min(terms, k-k0), a[k0:], k, 1, b[k0*n:], n, 1, z, n, false)
		truncate(p, c, z, k0 > 0)
	}
}

// truncate is kernel.Truncate32 over all cores.
func truncate(p *kernel.Pool, y []int32, x []float32, add bool) {
	p.For(len(y), elementGrain, func(lo, hi int) { kernel.Truncate32(y[lo:hi], x[lo:hi], add) })
}

// convolveBytes is the convolution of X and W less their zero points, W's one for each output channel or for
// all, into int32.
func convolveBytes(ctx *Ctx, o *conv, x, w, xZero, wZero, bias, y *tensor.Tensor) error {
	u, err := centred(ctx, x, xZero, false)
	if err != nil {
		return err
	}
	defer u.done()
	rows, err := w.Reshaped(w.Shape()[0], product(w.Shape()[1:])) // one for each output channel
	if err != nil {
		return err
	}
	v, err := centred(ctx, rows, wZero, false)
	if err != nil {
		return err
	}
	defer v.done()
	acc := tensor.Data[int32](y)
	if terms := exactTerms(u, v); x.Rank() <= 4 && product(w.Shape()[2:]) <= terms {
		err = convolveExact(ctx, o, x.Shape(), w.Shape(), terms, u.data, v.data, y.Shape(), acc)
	} else {
		err = convolveWide(ctx, o, tensor.Of(u.data, x.Shape()...), tensor.Of(v.data, w.Shape()...), y.Shape(), acc)
	}
	if err != nil || bias == nil {
		return err
	}
	b, places := tensor.Data[int32](bias), product(y.Shape()[2:])
	sharedRows(ctx, y.Shape()[0]*y.Shape()[1], places, func(r int) {
		row, v := acc[r*places:(r+1)*places], b[r%len(b)]
		for j := range row {
			row[j] += v
		}
	})
	return nil
}

// convolveExact convolves integers of whose products so many terms add up exactly, which are those of a channel at
// least: the channels of as many at a time.
func convolveExact(ctx *Ctx, o *conv, xs, ws []int, terms int, x, w []float32, ys []int, acc []int32) error {
	s, err := o.layout(xs, ws)
	if err != nil {
		return err
	}
	taps, plane, places := s.KH*s.KW, s.H*s.W, s.OH*s.OW
	scratch := floatScratches.get(product(ys))
	defer floatScratches.Put(scratch)
	z := *scratch
	if s.C*taps <= terms {
		kernel.Conv32(ctx.Pool, s, z, x, w, nil, kernel.Identity, 0, 0)
		truncate(ctx.Pool, acc, z, false)
		return nil
	}
	images, groups, c := s.Images, s.Groups, s.C
	some := floatScratches.get(s.M * c * taps)
	defer floatScratches.Put(some)
	s.Images, s.Groups = 1, 1
	for g := range groups {
		for c0, step := 0, terms/taps; c0 < c; c0 += step {
			s.C = min(step, c-c0)
			weights := (*some)[:s.M*s.C*taps]
			for m := range s.M {
				copy(weights[m*s.C*taps:(m+1)*s.C*taps], w[((g*s.M+m)*c+c0)*taps:])
			}
			for i := range images {
				part := z[:s.M*places]
				kernel.Conv32(ctx.Pool, s, part, x[((i*groups+g)*c+c0)*plane:], weights, nil, kernel.Identity, 0, 0)
				truncate(ctx.Pool, acc[(i*groups+g)*s.M*places:][:len(part)], part, c0 > 0)
			}
		}
	}
	return nil
}

// convolveWide convolves them in float64, which takes any number of terms, over any number of axes.
func convolveWide(ctx *Ctx, o *conv, x, w *tensor.Tensor, ys []int, acc []int32) error {
	var wide [2]*tensor.Tensor
	for i, t := range []*tensor.Tensor{x, w} {
		wide[i] = tensor.New(tensor.Float64, t.Shape()...)
		if err := castTo(ctx.Pool, t, wide[i]); err != nil {
			return err
		}
	}
	sums := tensor.New(tensor.Float64, ys...)
	if err := convolve(ctx, o, wide[0], wide[1], nil, sums, kernel.Gemm64); err != nil {
		return err
	}
	for i, v := range tensor.Data[float64](sums) {
		acc[i] = int32(int64(v)) // wraps around, as int32 does
	}
	return nil
}
