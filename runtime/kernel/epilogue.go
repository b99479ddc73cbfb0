package kernel

import "fmt"

// Epilogue32 is what happens to each element of a product before it leaves the cache:
//
//	y[i, j] = F(Σ + Add[i·AddStride+j] + Bias[j])
//
// The zero value does nothing.
type Epilogue32 struct {
	Bias      []float32 // one for each column; nil for none
	Add       []float32 // one for each element, such as a residual; nil for none. It may be C itself.
	AddStride int       // from one row of Add to the next

	F           Function
	Alpha, Beta float32 // the parameters of F
}

// ends sets s to the epilogue for a product of m rows and n columns.
func (e *Epilogue32) ends(s *ends[float32], p *path, m, n int) {
	s.from, s.ldf, s.bias, s.act, s.relu, s.alpha, s.beta = e.Bias, 0, nil, nil, false, e.Alpha, e.Beta
	if e.Bias != nil && len(e.Bias) < n {
		panic(fmt.Sprintf("kernel: a bias of %d elements for %d columns", len(e.Bias), n))
	}
	if e.Add != nil {
		mustHold("Add", len(e.Add), m, n, e.AddStride, 1)
		s.from, s.ldf, s.bias = e.Add, e.AddStride, e.Bias
	}
	if s.relu = e.F == Relu && s.bias == nil; !s.relu {
		s.act = p.unary[e.F]
	}
}

// GemmFused32 computes C = F(A·B + Add + Bias), with A[m k] as in [Gemm32], the end applied to each
// block of C while it is in the nearest cache. Bias and Add come before the sums' later parts, so
// that bits may differ from a product followed by an addition.
func GemmFused32(p *Pool, m int, a []float32, ars, acs int, b *Packed32, c []float32, ldc int, e Epilogue32) {
	if m <= 0 || b.n <= 0 {
		return
	}
	var s ends[float32]
	e.ends(&s, b.path, m, b.n)
	gemm(b.path.f32, p, m, b.n, b.k, a, ars, acs, nil, 0, 0, b.data, c, ldc, s)
}

// GemmEpilogue32 is [GemmFused32] with a B that is not packed: [Gemm32] with an end.
func GemmEpilogue32(p *Pool, m, n, k int, a []float32, ars, acs int, b []float32, brs, bcs int, c []float32, ldc int, e Epilogue32) {
	if m <= 0 || n <= 0 {
		return
	}
	in := active.Load()
	var s ends[float32]
	e.ends(&s, in, m, n)
	gemm(in.f32, p, m, n, k, a, ars, acs, b, brs, bcs, nil, c, ldc, s)
}
