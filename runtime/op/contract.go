package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A contraction is an einsum of two operands A and B as a batch of products of matrices
// C[rows cols] = A[rows sums]·B[sums cols], each of the four made of axes of more than one element.
type contraction struct{ batch, rows, cols, sums []contracted }

// A contracted axis and the distance of neighbours along it in A, B and C; 0 in which it is not.
type contracted struct {
	size  int
	steps [3]int
}

// contraction is what the summation is as products, if it is such, and they have terms enough to pay.
func (s *summation) contraction() (*contraction, bool) {
	if len(s.outerStrides) != 2 {
		return nil, false
	}
	p := &contraction{}
	own := tensor.Strides(s.outer)
	for i, d := range s.outer {
		a, b := s.outerStrides[0][i], s.outerStrides[1][i]
		x := contracted{d, [3]int{a, b, own[i]}}
		switch {
		case d == 1:
		case d == 0:
			return nil, false
		case a != 0 && b != 0:
			p.batch = append(p.batch, x)
		case a != 0:
			p.rows = append(p.rows, x)
		default:
			p.cols = append(p.cols, x)
		}
	}
	for i, d := range s.inner {
		a, b := s.innerStrides[0][i], s.innerStrides[1][i]
		switch {
		case d == 1:
		case d == 0 || a == 0 || b == 0: // one operand's own sums
			return nil, false
		default:
			p.sums = append(p.sums, contracted{d, [3]int{a, b, 0}})
		}
	}
	return p, volume(p.rows)*volume(p.cols)*volume(p.sums) >= 16
}

func volume(axes []contracted) int {
	n := 1
	for _, x := range axes {
		n *= x.size
	}
	return n
}

// oneStep is the step of axes of an operand that are one, from the last element to the next.
func oneStep(axes []contracted, operand int) (step int, ok bool) {
	if len(axes) == 0 {
		return 1, true
	}
	for i := range len(axes) - 1 {
		if axes[i].steps[operand] != axes[i+1].steps[operand]*axes[i+1].size {
			return 0, false
		}
	}
	return axes[len(axes)-1].steps[operand], true
}

// A lattice is where matrices lie in an operand: from one to the next, row to row, column to column.
type lattice struct{ step, row, col int }

// placed is the lattice of an operand whose matrices lie in one.
func placed(operand int, batch, rows, cols []contracted) (l lattice, ok bool) {
	step, ok1 := oneStep(batch, operand)
	row, ok2 := oneStep(rows, operand)
	col, ok3 := oneStep(cols, operand)
	return lattice{step, row, col}, ok1 && ok2 && ok3
}

// packing is what copies an operand into matrices in a row; the other way round, out of them.
func packing(operand int, batch, rows, cols []contracted) box {
	var b box
	for _, axes := range [][]contracted{batch, rows, cols} {
		for _, x := range axes {
			b.shape, b.srcStrides = append(b.shape, x.size), append(b.srcStrides, x.steps[operand])
		}
	}
	b.dstStrides = tensor.Strides(b.shape)
	return b
}

// operand is the matrices of one and where they lie: in the tensor itself, or in a copy, in scratch for float32.
func (p *contraction) operand(ctx *Ctx, x *tensor.Tensor, which int, rows, cols []contracted, scratch *[]float32) (*tensor.Tensor, lattice, error) {
	if l, ok := placed(which, p.batch, rows, cols); ok {
		return x, l, nil
	}
	m, n := volume(rows), volume(cols)
	c := room(x.DType(), scratch, volume(p.batch), m, n)
	return c, lattice{m * n, n, 1}, copyBox(ctx.Pool, "Einsum", c, x, packing(which, p.batch, rows, cols))
}

// room is a tensor to be written over, in scratch where that is of its type.
func room(d tensor.DType, scratch *[]float32, shape ...int) *tensor.Tensor {
	n := product(shape)
	if d != tensor.Float32 {
		return tensor.New(d, shape...)
	}
	if cap(*scratch) < n {
		*scratch = make([]float32, n)
	}
	return tensor.Of((*scratch)[:n], shape...)
}

// contract computes a contraction with the product of matrices for T.
func contract[T float | int32 | int64](ctx *Ctx, p *contraction, in []tensor.Value, y *tensor.Tensor, gemm gemmFunc[T]) error {
	if inPlace(ctx, p, in, y, gemm) {
		return nil
	}
	var scratch [3]*[]float32
	for i := range scratch {
		scratch[i] = floatScratches.get(0)
		defer floatScratches.Put(scratch[i])
	}
	a, la, err := p.operand(ctx, in[0].Tensor, 0, p.rows, p.sums, scratch[0])
	if err != nil {
		return err
	}
	b, lb, err := p.operand(ctx, in[1].Tensor, 1, p.sums, p.cols, scratch[1])
	if err != nil {
		return err
	}
	count, m, n, k := volume(p.batch), volume(p.rows), volume(p.cols), volume(p.sums)
	lc, ok := placed(2, p.batch, p.rows, p.cols)
	switch {
	case ok && lc.col == 1:
		products(ctx, count, m, n, k, tensor.Data[T](a), la, tensor.Data[T](b), lb, tensor.Data[T](y), lc, gemm)
		return nil
	case ok && lc.row == 1: // the transposes' product
		products(ctx, count, n, m, k, tensor.Data[T](b), lb.turned(), tensor.Data[T](a), la.turned(), tensor.Data[T](y), lc.turned(), gemm)
		return nil
	}
	c := room(y.DType(), scratch[2], count, m, n)
	products(ctx, count, m, n, k, tensor.Data[T](a), la, tensor.Data[T](b), lb, tensor.Data[T](c), lattice{m * n, n, 1}, gemm)
	out := packing(2, p.batch, p.rows, p.cols)
	out.dstStrides, out.srcStrides = out.srcStrides, out.dstStrides
	return copyBox(ctx.Pool, "Einsum", y, c, out)
}

// inPlace computes a contraction whose operands and result are lattices along all but the first axes of the batch, as
// those of attention are, without a copy: one batch of products after the other. It tells whether that is so, and
// they are large enough to be worth it.
func inPlace[T float | int32 | int64](ctx *Ctx, p *contraction, in []tensor.Value, y *tensor.Tensor, gemm gemmFunc[T]) bool {
	last := len(p.batch) - 1
	if last < 1 {
		return false
	}
	inner := p.batch[last:]
	m, n, k := volume(p.rows), volume(p.cols), volume(p.sums)
	la, okA := placed(0, inner, p.rows, p.sums)
	lb, okB := placed(1, inner, p.sums, p.cols)
	lc, okC := placed(2, inner, p.rows, p.cols)
	if !okA || !okB || !okC || lc.col != 1 && lc.row != 1 || volume(inner)*m*n*k < gemmGrain/8 {
		return false
	}
	a, b, c := tensor.Data[T](in[0].Tensor), tensor.Data[T](in[1].Tensor), tensor.Data[T](y)
	some := func(ctx *Ctx, axes []contracted, i, count int) { // count products from the i-th place of some axes on
		var at [3]int
		for axis := len(axes) - 1; axis >= 0; axis-- {
			for operand, step := range axes[axis].steps {
				at[operand] += i % axes[axis].size * step
			}
			i /= axes[axis].size
		}
		if a, b, c := a[at[0]:], b[at[1]:], c[at[2]:]; lc.col == 1 {
			products(ctx, count, m, n, k, a, la, b, lb, c, lc, gemm)
		} else { // the transposes' product
			products(ctx, count, n, m, k, b, lb.turned(), a, la.turned(), c, lc.turned(), gemm)
		}
	}
	if m*n*k > 2*gemmGrain { // worth sharing out themselves
		for i := range volume(p.batch[:last]) {
			some(ctx, p.batch[:last], i, volume(inner))
		}
		return true
	}
	alone := *ctx
	alone.Pool = nil
	ctx.Pool.For(volume(p.batch), gemmGrain/(m*n*k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			some(&alone, p.batch, i, 1)
		}
	})
	return true
}

func (l lattice) turned() lattice { return lattice{l.step, l.col, l.row} }

// products computes a batch of products, of float32 all in one call.
func products[T float | int32 | int64](ctx *Ctx, count, m, n, k int, a []T, la lattice, b []T, lb lattice, c []T, lc lattice, gemm gemmFunc[T]) {
	if z, ok := any(c).([]float32); ok {
		kernel.GemmBatch32(ctx.Pool, count, m, n, k, kernel.Matrices32{Data: any(a).([]float32), Step: la.step, Row: la.row, Col: la.col},
			kernel.Matrices32{Data: any(b).([]float32), Step: lb.step, Row: lb.row, Col: lb.col}, z, lc.step, lc.row, false)
		return
	}
	ctx.Pool.For(count, gemmGrain/max(1, m*n*k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			gemm(ctx.Pool, m, n, k, a[i*la.step:], la.row, la.col, b[i*lb.step:], lb.row, lb.col, c[i*lc.step:], lc.row, false)
		}
	})
}
