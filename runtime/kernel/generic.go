package kernel

// newGeneric returns the portable implementation, of narrow panels: what a scalar register file holds.
func newGeneric[T float]() *impl[T] {
	return &impl[T]{mr: 2, nr: genericPanel, tile: tileGeneric[T]}
}

// genericPanel is the width of the portable tile.
const genericPanel = 4

// tileGeneric is the portable tile, see [impl]. Two rows go together, so that a loaded element of B
// serves twice.
func tileGeneric[T float](m, k int, a []T, ars, aks int, b []T, bks int, c []T, ldc, cols int, from []T, ldf int, relu bool) {
	i := 0
	for ; i+2 <= m; i += 2 {
		rows2(k, a[i*ars:], a[(i+1)*ars:], aks, b, bks, c[i*ldc:], c[(i+1)*ldc:], cols, after(from, i*ldf), after(from, (i+1)*ldf), relu)
	}
	if i < m {
		rows1(k, a[i*ars:], aks, b, bks, c[i*ldc:], cols, after(from, i*ldf), relu)
	}
}

// after is s from its n-th element on; a missing s stays missing.
func after[T any](s []T, n int) []T {
	if s == nil {
		return nil
	}
	return s[n:]
}

// rows2 computes c0[j] = from0[j] + Σ_k a0[k·aks]·b[k·bks+j] and the same for c1, a1 and from1,
// j < cols ≤ 4.
func rows2[T float](k int, a0, a1 []T, aks int, b []T, bks int, c0, c1 []T, cols int, from0, from1 []T, relu bool) {
	if cols < 4 {
		rows1(k, a0, aks, b, bks, c0, cols, from0, relu)
		rows1(k, a1, aks, b, bks, c1, cols, from1, relu)
		return
	}
	var s00, s01, s02, s03, s10, s11, s12, s13 T
	for l := range k {
		x0, x1 := a0[l*aks], a1[l*aks]
		r := b[l*bks : l*bks+4 : l*bks+4]
		s00 += x0 * r[0]
		s01 += x0 * r[1]
		s02 += x0 * r[2]
		s03 += x0 * r[3]
		s10 += x1 * r[0]
		s11 += x1 * r[1]
		s12 += x1 * r[2]
		s13 += x1 * r[3]
	}
	put(c0, &[4]T{s00, s01, s02, s03}, 4, from0, relu)
	put(c1, &[4]T{s10, s11, s12, s13}, 4, from1, relu)
}

// rows1 computes c[j] = from[j] + Σ_k a[k·aks]·b[k·bks+j], j < cols ≤ 4.
func rows1[T float](k int, a []T, aks int, b []T, bks int, c []T, cols int, from []T, relu bool) {
	var s [4]T
	for l := range k {
		x := a[l*aks]
		for j, y := range b[l*bks : l*bks+cols] {
			s[j] += x * y
		}
	}
	put(c, &s, cols, from, relu)
}

// put computes c[j] = s[j] + from[j], or the larger of that and 0, j < cols.
func put[T float](c []T, s *[4]T, cols int, from []T, relu bool) {
	for j, v := range s[:cols] {
		if from != nil {
			v += from[j]
		}
		if relu {
			v = max(v, 0)
		}
		c[j] = v
	}
}
