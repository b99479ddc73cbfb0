package kernel

import "unsafe"

// Packed32 is a matrix B[k n] laid out for [GemmPacked32]: panels of NR columns, [n/NR][k][NR], the
// last one filled up with zeros. NR is that of the path in use when it was packed, which multiplies
// it ever after. It is never changed: share it freely.
type Packed32 struct {
	path *path
	k, n int
	data []float32
}

// Pack32 packs B[l·brs+j·bcs], l < k, j < n.
func Pack32(k, n int, b []float32, brs, bcs int) *Packed32 {
	p, _ := PackColumns32(k, n, n, func(int, int) ([]float32, int, int, error) { return b, brs, bcs, nil })
	return p
}

// PackColumns32 is [Pack32] of a matrix that need not be in memory as a whole: columns is asked for
// columns j0 ≤ j < j1, in turn and each once, and returns them as B[l·brs+(j-j0)·bcs], for as long as
// it is not called again. They are about as many as width, which is rounded to panels. The first error
// ends it.
func PackColumns32(k, n, width int, columns func(j0, j1 int) (b []float32, brs, bcs int, err error)) (*Packed32, error) {
	in := active.Load()
	im := in.f32
	p := &Packed32{path: in, k: max(k, 0), n: max(n, 0)}
	if k <= 0 || n <= 0 {
		return p, nil
	}
	p.data = aligned[float32]((n + im.nr - 1) / im.nr * im.nr * k)
	width = max(1, (width+im.nr-1)/im.nr) * im.nr
	for j0 := 0; j0 < n; j0 += width {
		j1 := min(n, j0+width)
		b, brs, bcs, err := columns(j0, j1)
		if err != nil {
			return nil, err
		}
		mustHold("B", len(b), k, j1-j0, brs, bcs)
		for j := j0; j < j1; j += im.nr {
			im.packPanel(p.data[j*k:], b[(j-j0)*bcs:], brs, bcs, k, min(im.nr, n-j))
		}
	}
	return p, nil
}

// Dims returns the matrix's rows and columns.
func (p *Packed32) Dims() (k, n int) { return p.k, p.n }

// packPanel copies cols ≤ nr columns of B[l·brs+j·bcs], l < k, to dst[l·nr+j] and fills the rest of
// each row with zeros.
func (im *impl[T]) packPanel(dst, b []T, brs, bcs, k, cols int) {
	nr := im.nr
	dst = dst[:k*nr]
	if bcs == 1 {
		if cols == nr && copyRows(dst, b, k, nr, brs) {
			return
		}
		for l := range k {
			row := dst[l*nr : (l+1)*nr]
			clear(row[copy(row, b[l*brs:l*brs+cols]):])
		}
		return
	}
	if cols < nr {
		clear(dst)
	}
	// Blocks of terms keep the lines of dst that are being filled in the first-level cache.
	const block = 64
	for l0 := 0; l0 < k; l0 += block {
		l1 := min(k, l0+block)
		j := 0
		if brs == 1 && im.turn != nil {
			turned := (l1 - l0) / im.side * im.side
			for ; turned > 0 && j+im.side <= cols; j += im.side {
				im.turn(turned, dst[l0*nr+j:], nr, b[j*bcs+l0:], bcs)
				im.scatter(dst, b, brs, bcs, l0+turned, l1, j, j+im.side)
			}
		}
		im.scatter(dst, b, brs, bcs, l0, l1, j, cols)
	}
}

// copyRows copies k rows of width elements that lie step apart, and reports whether it has a loop for
// that width: one that copies without calling.
func copyRows[T float](dst, src []T, k, width, step int) bool {
	switch width {
	case 8:
		for l := range k {
			*(*[8]T)(dst[l*8:]) = *(*[8]T)(src[l*step:])
		}
	case 16:
		for l := range k {
			*(*[16]T)(dst[l*16:]) = *(*[16]T)(src[l*step:])
		}
	case 32:
		for l := range k {
			*(*[32]T)(dst[l*32:]) = *(*[32]T)(src[l*step:])
		}
	default:
		return false
	}
	return true
}

// scatter is packPanel for the terms l0 … l1-1 and the columns j0 … j1-1, element by element.
func (im *impl[T]) scatter(dst, b []T, brs, bcs, l0, l1, j0, j1 int) {
	for j := j0; j < j1; j++ {
		for l := l0; l < l1; l++ {
			dst[l*im.nr+j] = b[l*brs+j*bcs]
		}
	}
}

// hugePage is the size of a large page of memory in bytes, as most systems have it.
const hugePage = 2 << 20

// aligned returns n zeros that start on a cache line: vector loads across two lines cost double. Large
// slices start on a large page, and are made of such where the system has them.
func aligned[T float](n int) []T {
	size, line := sizeOf[T](), 64
	large := n*size >= 2*hugePage
	if large {
		line = hugePage
	}
	s := make([]T, n+line/size)
	past := int(uintptr(unsafe.Pointer(&s[0])) % uintptr(line))
	off := (line - past) % line / size
	s = s[off : off+n : off+n]
	if large {
		hugePages(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), n*size))
	}
	return s
}

// sizeOf is the number of bytes of an element.
func sizeOf[T float]() int {
	var z T
	return int(unsafe.Sizeof(z))
}
