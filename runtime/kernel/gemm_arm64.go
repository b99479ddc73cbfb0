//go:build !noasm

package kernel

import "unsafe"

// cpuPaths returns the path with NEON, which every arm64 CPU has. Its kernels give the bits of amd64's.
// The portable path fuses multiplications with additions here, where that of amd64 does not: results of
// the two may differ in the last bits.
func cpuPaths() []*path {
	return []*path{{
		name:  "neon",
		f32:   &impl[float32]{mr: 6, nr: 16, tile: tileNEONF32, row: rowNEONF32, pair: pairNEONF32, turn: turnNEONF32, side: 4},
		f64:   &impl[float64]{mr: 6, nr: 8, tile: tileNEONF64, row: rowNEONF64, turn: turnNEONF64, side: 2},
		unary: unaryNEON, zips: zipsNEON, rows: rowsNEON, windows: windowsGeneric, norms: normsGeneric, folds: foldsNEON,
	}}
}

// tileNEONF32 is impl.tile. Rows of b that are followed by enough of its elements are loaded whole, however
// narrow the panel: elements after cols take no part in the result.
func tileNEONF32(m, k int, a []float32, ars, aks int, b []float32, bks int, c []float32, ldc, cols int, from []float32, ldf int, relu bool) {
	whole, part := k, 0
	if cols < 16 {
		whole, part = readable(k, len(b), bks, 16), cols
	}
	rowsNEONF32(m, k, whole, &a[0], 4*ars, 4*aks, &b[0], 4*bks, &c[0], 4*ldc, part, unsafe.SliceData(from), 4*ldf, relu)
}

// rowsNEONF32 is tile6NEONF32 for m rows.
func rowsNEONF32(m, k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool) {
	for {
		tile, rows := tile1NEONF32, 1
		switch {
		case m >= 6:
			tile, rows = tile6NEONF32, 6
		case m >= 4:
			tile, rows = tile4NEONF32, 4
		case m >= 2:
			tile, rows = tile2NEONF32, 2
		}
		tile(k, whole, a, ars, aks, b, bks, c, ldc, part, from, ldf, relu)
		if m -= rows; m == 0 {
			return
		}
		a, c = bytesAfter(a, rows*ars), bytesAfter(c, rows*ldc)
		if from != nil {
			from = bytesAfter(from, rows*ldf)
		}
	}
}

// tileNEONF64 is impl.tile. Rows of b that are followed by enough of its elements are loaded whole, however
// narrow the panel: elements after cols take no part in the result.
func tileNEONF64(m, k int, a []float64, ars, aks int, b []float64, bks int, c []float64, ldc, cols int, from []float64, ldf int, relu bool) {
	whole, part := k, 0
	if cols < 8 {
		whole, part = readable(k, len(b), bks, 8), 2*cols
	}
	rowsNEONF64(m, k, whole, &a[0], 8*ars, 8*aks, &b[0], 8*bks, &c[0], 8*ldc, part, unsafe.SliceData(from), 8*ldf, relu)
}

func rowsNEONF64(m, k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool) {
	for {
		tile, rows := tile1NEONF64, 1
		switch {
		case m >= 6:
			tile, rows = tile6NEONF64, 6
		case m >= 4:
			tile, rows = tile4NEONF64, 4
		case m >= 2:
			tile, rows = tile2NEONF64, 2
		}
		tile(k, whole, a, ars, aks, b, bks, c, ldc, part, from, ldf, relu)
		if m -= rows; m == 0 {
			return
		}
		a, c = bytesAfter(a, rows*ars), bytesAfter(c, rows*ldc)
		if from != nil {
			from = bytesAfter(from, rows*ldf)
		}
	}
}

// pairNEONF32 is impl.pair.
func pairNEONF32(samples, panels int, x *float32, ldx, n1, n2 int, b *float32, step, terms int, t *float32, a *float32, m1 int, y *float32, ldy, m2 int, from *float32, ldf int, relu bool) {
	const width = 64 // of a panel, in bytes
	for s := range samples {
		for q := range panels {
			for r := range terms {
				rowsNEONF32(n1, n2, n2, bytesAfter(x, 4*s*ldx), 4*n2, 4, bytesAfter(b, 4*q*step+r*n2*width), width, bytesAfter(t, r*width), terms*width, 0, nil, 0, false)
			}
			start := from
			if from != nil {
				start = bytesAfter(from, 4*s*ldf+q*width)
			}
			rowsNEONF32(m1, n1*terms, n1*terms, a, 4*n1*terms, 4, t, width, bytesAfter(y, 4*s*ldy+q*width), 4*m2, 0, start, 4*m2, relu)
		}
	}
}

// bytesAfter is p and so many bytes further.
func bytesAfter[T float](p *T, n int) *T { return (*T)(unsafe.Add(unsafe.Pointer(p), n)) }

// readable is how many of k rows, step apart in a slice of n elements, have width elements there.
func readable(k, n, step, width int) int {
	switch {
	case n < width:
		return 0
	case step == 0:
		return k
	}
	return min(k, (n-width)/step+1)
}

// tile6NEONF32 is impl.tile for six rows, tile4NEONF32 for four and so on. Strides are in bytes. part is 0
// for a whole panel, else the 32-bit words of its rows, and only the first whole rows of b may be read
// beyond them.
//
//go:noescape
func tile6NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)

//go:noescape
func tile4NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)

//go:noescape
func tile2NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)

//go:noescape
func tile1NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)

//go:noescape
func tile6NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)

//go:noescape
func tile4NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)

//go:noescape
func tile2NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)

//go:noescape
func tile1NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)

//go:noescape
func rowNEONF32(k int, a []float32, aks int, b []float32, step, bks, ahead int, c, from []float32, relu bool)

//go:noescape
func rowNEONF64(k int, a []float64, aks int, b []float64, step, bks, ahead int, c, from []float64, relu bool)

// turnNEONF32 computes dst[l·ds+j] = src[j·ss+l], l < n, j < 4; n is a positive multiple of 4.
//
//go:noescape
func turnNEONF32(n int, dst []float32, ds int, src []float32, ss int)

// turnNEONF64 computes dst[l·ds+j] = src[j·ss+l], l < n, j < 2; n is a positive multiple of 2.
//
//go:noescape
func turnNEONF64(n int, dst []float64, ds int, src []float64, ss int)
