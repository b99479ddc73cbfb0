package kernel

import "fmt"

// PanelColumns is what the columns that [GemmPanels32] begins at are multiples of: whole panels on every path.
const PanelColumns = 32

// GemmPanels32 computes the columns from j0 to j1 of a product, for i < m and j0 ≤ j < j1,
//
//	C[i·ldc + j-j0] = From[i·ldf + j-j0] + Σ_l A[i·lda+l]·B[l j]
//
// on the calling goroutine, without any preparation: m may be one, and the columns few. From may be nil, for zeros, C
// itself, or a row that serves all with an ldf of 0. j0 is a multiple of [PanelColumns]. The bits are those of
// [GemmPacked32].
func GemmPanels32(m int, a []float32, lda int, b *Packed32, j0, j1 int, c []float32, ldc int, from []float32, ldf int) {
	im, n, k := b.path.f32, j1-j0, b.k
	if m <= 0 || n <= 0 {
		return
	}
	if j0%PanelColumns != 0 || j0 < 0 || j1 > b.n {
		panic(fmt.Sprintf("kernel: columns %d to %d of %d are no panels", j0, j1, b.n))
	}
	mustHold("C", len(c), m, n, ldc, 1)
	if from != nil {
		mustHold("From", len(from), m, n, ldf, 1)
	}
	if k == 0 {
		for i := range m {
			row := c[i*ldc : i*ldc+n]
			clear(row[copy(row, after(from, i*ldf)):])
		}
		return
	}
	mustHold("A", len(a), m, k, lda, 1)
	j, _ := im.jobs.Get().(*job[float32])
	if j == nil {
		j = im.newJob()
	}
	j.a, j.ars, j.acs = a, lda, 1
	j.c, j.ldc, j.ends, j.k = c, ldc, ends[float32]{from: from, ldf: ldf}, k
	j.i0, j.i1, j.j0, j.j1, j.k0, j.k1, j.base = 0, m, 0, n, 0, k, 0
	j.panels, j.step, j.bks = b.data[j0*k:], k*im.nr, im.nr
	j.rows, j.packedA = m, nil
	j.task(0, 0, (n+im.nr-1)/im.nr)
	j.a, j.c, j.panels, j.ends = nil, nil, nil, ends[float32]{}
	im.jobs.Put(j)
}
