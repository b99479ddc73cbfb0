package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Products of bytes are kernel.GemmBytes, or where the CPU has no instructions for that products of float32, in which
// integers up to 2²⁴ are exact: as many terms at a time as do not get beyond that, whatever they are.

// A widening makes float32 of the elements of an 8-bit matrix less its zero points.
type widening struct {
	bytes kernel.Bytes
	most  int // no element is larger in magnitude
	width int
	// fill writes the columns c0 to before c1 of the rows r0 to before r1, one row after the other.
	fill func(to []float32, r0, r1, c0, c1 int)
}

// widened is the widening of a matrix (or stack) of so many columns. There is a zero point for every line (row, or
// column), or one for all.
func widened(x, zero *tensor.Tensor, width int, columns bool) (widening, error) {
	z := []int{0}
	if zero != nil {
		var ok bool
		if z, ok = intsIn(zero); !ok {
			return widening{}, unsupportedType("MatMulInteger", zero.DType())
		}
	}
	switch x.DType() {
	case tensor.Uint8:
		return lessZeros(tensor.Data[uint8](x), x.Bytes(), z, width, columns), nil
	case tensor.Int8:
		return lessZeros(tensor.Data[int8](x), x.Bytes(), z, width, columns), nil
	}
	return widening{}, unsupportedType("MatMulInteger", x.DType())
}

// lessZeros takes zero points from rows of width elements.
func lessZeros[T kernel.Byte](v []T, raw []byte, zeros []int, width int, columns bool) widening {
	out := widening{width: width, bytes: kernel.Bytes{Data: raw, Ld: width, Zeros: make([]int32, len(zeros))}}
	least, largest := 0, 255
	if none := T(0); none-1 < none {
		least, largest = -128, 127
		out.bytes.Signed = true
	}
	wide := make([]float32, len(zeros))
	for i, z := range zeros {
		out.bytes.Zeros[i] = int32(z)
		wide[i] = float32(z)
		out.most = max(out.most, largest-z, z-least)
	}
	var ones []float32 // for zero points of columns
	if columns && len(zeros) > 1 {
		ones, wide = make([]float32, width), make([]float32, width)
		for i := range ones {
			ones[i], wide[i] = 1, float32(zeros[i%len(zeros)])
		}
	}
	out.fill = func(to []float32, r0, r1, c0, c1 int) {
		n := c1 - c0
		for r := r0; r < r1; r++ {
			row, from := to[(r-r0)*n:(r-r0+1)*n], v[r*width+c0:r*width+c1]
			if ones != nil {
				kernel.Dequantize8(row, from, ones[c0:c1], wide[c0:c1])
				continue
			}
			at := r % len(wide)
			kernel.Dequantize8(row, from, one32, wide[at:at+1])
		}
	}
	return out
}

// part is the bytes from row r, column c on; their zero points are those from line on.
func (w *widening) part(r, c, line int) kernel.Bytes {
	b := w.bytes
	b.Data = b.Data[r*b.Ld+c:]
	b.First = line
	return b
}

// all is the whole matrix, in memory that floatScratches takes back.
func (w *widening) all(ctx *Ctx, elements int) *[]float32 {
	kept := floatScratches.get(elements)
	if w.width > 0 {
		sharedRows(ctx, elements/w.width, w.width, func(r int) { w.fill((*kept)[r*w.width:], r, r+1, 0, w.width) })
	}
	return kept
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
func exactTerms(a, b widening) int { return 1 << 24 / max(1, a.most*b.most) }

// The rows and columns of a product that are a task, and the terms that it widens at a time: a core makes what it
// reads, in its own cache, out of bytes, which take a quarter of the way from one core to the other.
const byteRows, byteCols, byteTerms = 256, 256, 512

// byteProduct is numpy.matmul of two 8-bit tensors less their zero points.
func byteProduct(ctx *Ctx, a, b, aZero, bZero *tensor.Tensor, c []int32) error {
	p := newBatch(a.Shape(), b.Shape())
	x, err := widened(a, aZero, p.k, false)
	if err != nil {
		return err
	}
	y, err := widened(b, bZero, p.n, b.Rank() > 1)
	if err != nil {
		return err
	}
	if len(c) == 0 || p.k == 0 {
		clear(c)
		return nil
	}
	mb, nb := min(p.m, byteRows), min(p.n, byteCols)
	if p.m <= byteRows/2 {
		nb = min(p.n, byteCols/2) // there are few rows, so few tasks
	}
	down, across, terms := (p.m+mb-1)/mb, (p.n+nb-1)/nb, exactTerms(x, y)
	ctx.Pool.For(p.count*down*across, max(1, gemmGrain/(mb*nb*p.k)), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			i, i0, j0 := t/(down*across), t/across%down*mb, t%across*nb
			ai, bi := p.operands(i)
			blockOfBytes(x, y, ai/p.k+i0, ai/p.k+min(p.m, i0+mb), bi/p.n, p.k, j0, min(p.n, j0+nb), terms, c[(i*p.m+i0)*p.n+j0:], p.n)
		}
	})
	return nil
}

// blockOfBytes computes columns j0 to before j1 of the product of rows i0 to before i1 of A and the k rows of B from l0
// on, of whose terms so many add up exactly.
func blockOfBytes(a, b widening, i0, i1, l0, k, j0, j1, terms int, c []int32, ldc int) {
	m, n, most := i1-i0, j1-j0, min(k, byteTerms, terms)
	if kernel.GemmBytes(m, n, k, a.part(i0, 0, i0), b.part(l0, j0, j0), c, ldc) {
		return
	}
	scratch := floatScratches.get((m+n)*most + m*n)
	defer floatScratches.Put(scratch)
	x, rest := (*scratch)[:m*most], (*scratch)[m*most:]
	y, z := rest[:most*n], rest[most*n:]
	summed, add := 0, false // the terms that are in z; whether there are any in C
	for k0 := 0; k0 < k; k0 += most {
		some := min(most, k-k0)
		a.fill(x, i0, i1, k0, k0+some)
		b.fill(y, l0+k0, l0+k0+some, j0, j1)
		kernel.Gemm32(nil, m, n, some, x, some, 1, y, n, 1, z, n, summed > 0)
		if summed += some; summed+most <= terms && k0+some < k {
			continue
		}
		for r := range m {
			kernel.Truncate32(c[r*ldc:r*ldc+n], z[r*n:(r+1)*n], add)
		}
		summed, add = 0, true
	}
}

// truncate is kernel.Truncate32 over all cores.
func truncate(p *kernel.Pool, y []int32, x []float32, add bool) {
	p.For(len(y), elementGrain, func(lo, hi int) { kernel.Truncate32(y[lo:hi], x[lo:hi], add) })
}
