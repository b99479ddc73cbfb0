//go:build !noasm

package kernel

import "unsafe"

// cpuPaths returns the path with NEON, which every arm64 CPU has. Its kernels give the bits of amd64's.
// The portable path fuses multiplications with additions here, where that of amd64 does not: results of
// the two may differ in the last bits.
func cpuPaths() []*path {
	return []*path{{
		name:  "neon",
		f32:   &impl[float32]{mr: 6, nr: 16, tile: tileNEONF32},
		f64:   &impl[float64]{mr: 6, nr: 8, tile: tileNEONF64},
		unary: unaryNEON, zips: zipsNEON, rows: rowsNEON,
	}}
}

// tile6NEONF32 is impl.tile for six rows of a whole panel; strides are in bytes.
//
//go:noescape
func tile6NEONF32(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, from *float32, ldf int, relu bool)

// tile1NEONF32 is the same for one row.
//
//go:noescape
func tile1NEONF32(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, from *float32, ldf int, relu bool)

// tile6NEONF64 is tile6NEONF32 in float64.
//
//go:noescape
func tile6NEONF64(k int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc int, from *float64, ldf int, relu bool)

// tile1NEONF64 is tile1NEONF32 in float64.
//
//go:noescape
func tile1NEONF64(k int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc int, from *float64, ldf int, relu bool)

func tileNEONF32(m, k int, a []float32, ars, aks int, b []float32, bks int, c []float32, ldc, cols int, from []float32, ldf int, relu bool) {
	if cols < 16 {
		tilePart(m, k, a, ars, aks, b, bks, c, ldc, cols, from, ldf, relu)
		return
	}
	for m > 0 {
		tile, rows := tile6NEONF32, 6
		if m < rows {
			tile, rows = tile1NEONF32, 1
		}
		tile(k, &a[0], 4*ars, 4*aks, &b[0], 4*bks, &c[0], 4*ldc, unsafe.SliceData(from), 4*ldf, relu)
		if m -= rows; m > 0 {
			a, c, from = a[rows*ars:], c[rows*ldc:], after(from, rows*ldf)
		}
	}
}

func tileNEONF64(m, k int, a []float64, ars, aks int, b []float64, bks int, c []float64, ldc, cols int, from []float64, ldf int, relu bool) {
	if cols < 8 {
		tilePart(m, k, a, ars, aks, b, bks, c, ldc, cols, from, ldf, relu)
		return
	}
	for m > 0 {
		tile, rows := tile6NEONF64, 6
		if m < rows {
			tile, rows = tile1NEONF64, 1
		}
		tile(k, &a[0], 8*ars, 8*aks, &b[0], 8*bks, &c[0], 8*ldc, unsafe.SliceData(from), 8*ldf, relu)
		if m -= rows; m > 0 {
			a, c, from = a[rows*ars:], c[rows*ldc:], after(from, rows*ldf)
		}
	}
}

// tilePart is the tile of less than a whole panel: the portable one, in pieces of its width.
func tilePart[T float](m, k int, a []T, ars, aks int, b []T, bks int, c []T, ldc, cols int, from []T, ldf int, relu bool) {
	for j := 0; j < cols; j += genericPanel {
		tileGeneric(m, k, a, ars, aks, b[j:], bks, c[j:], ldc, min(genericPanel, cols-j), after(from, j), ldf, relu)
	}
}
