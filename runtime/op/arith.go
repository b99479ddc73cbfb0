package op

import (
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// arith is an element-wise operator of two inputs of one type: Add, Sub, Mul,
// Div. From opset 7 on inputs broadcast as in numpy.
type arith struct {
	name string
	code arithCode
}

type arithCode uint8

const (
	addCode arithCode = iota
	subCode
	mulCode
	divCode
)

func parseArith(name string, code arithCode) parser {
	return func(*attrs) Op { return &arith{name, code} }
}

func (o *arith) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err != nil {
		return nil, err
	}
	if a, b := in[0].Ints, in[1].Ints; a != nil && b != nil && (len(a) == len(b) || len(a) == 1 || len(b) == 1) {
		out.Ints = o.dims(a, b)
	}
	return []graph.Fact{out}, nil
}

// dims is the operator on the contents of shapes, as far as they stay
// products; Unknown where they do not.
func (o *arith) dims(a, b []graph.Dim) []graph.Dim {
	out := make([]graph.Dim, max(len(a), len(b)))
	for i := range out {
		x, y := a[i%len(a)], b[i%len(b)]
		m, mConst := x.Const()
		n, nConst := y.Const()
		out[i] = graph.Unknown
		switch {
		case o.code == mulCode:
			out[i] = x.Mul(y)
		case o.code == divCode:
			out[i] = x.Div(y)
		case o.code == addCode && mConst && nConst:
			out[i] = graph.Size(m + n)
		case o.code == subCode && mConst && nConst && m >= n:
			out[i] = graph.Size(m - n)
		case o.code == addCode && mConst && m == 0:
			out[i] = y
		case nConst && n == 0: // x + 0, x - 0
			out[i] = x
		}
	}
	return out
}

// inferBroadcast is the rule of operators whose inputs share one element type
// and broadcast to the output's shape.
func inferBroadcast(in []graph.Fact, least, most int) (graph.Fact, error) {
	if err := arity(in, least, most); err != nil {
		return graph.Fact{}, err
	}
	d, err := sameDType(in)
	if err != nil {
		return graph.Fact{}, err
	}
	types := make([]graph.Type, len(in))
	for i := range in {
		types[i] = in[i].Type
	}
	shape, ranked, err := broadcastShapes(types...)
	if err != nil {
		return graph.Fact{}, err
	}
	return graph.Fact{Type: graph.Type{Kind: tensor.KindTensor, DType: d, Shape: shape, Ranked: ranked}}, nil
}

func (o *arith) Forward(ctx *Ctx, in, out []tensor.Value) error {
	a, b, c := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch c.DType() {
	case tensor.Float32:
		zip32(ctx.Pool, arithOperations[o.code], a, b, c)
	case tensor.Float64:
		arithFloat[float64](o.code, a, b, c)
	case tensor.Int64:
		return arithInt[int64](ctx, o.code, a, b, c)
	case tensor.Int32:
		return arithInt[int32](ctx, o.code, a, b, c)
	case tensor.Int16:
		return arithInt[int16](ctx, o.code, a, b, c)
	case tensor.Int8:
		return arithInt[int8](ctx, o.code, a, b, c)
	case tensor.Uint64:
		return arithInt[uint64](ctx, o.code, a, b, c)
	case tensor.Uint32:
		return arithInt[uint32](ctx, o.code, a, b, c)
	case tensor.Uint16:
		return arithInt[uint16](ctx, o.code, a, b, c)
	case tensor.Uint8:
		return arithInt[uint8](ctx, o.code, a, b, c)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, c.DType())
	}
	return nil
}

// zip32 computes c = a op b on float32, a and b broadcast to c's shape.
func zip32(p *kernel.Pool, op kernel.Operation, a, b, c *tensor.Tensor) {
	x, y, z := tensor.Data[float32](a), tensor.Data[float32](b), tensor.Data[float32](c)
	m, n, column, ok := arithMatrix(a, b, c)
	if !ok {
		newWalk(c.Shape(), a.Shape(), b.Shape()).planes(p, func(p *kernel.Pool, at, m, n int, offs, rows, steps []int) {
			kernel.Zip32(p, op, m, n, z[at:], n, x[offs[0]:], rows[0], steps[0], y[offs[1]:], rows[1], steps[1])
		})
		return
	}
	strides := func(t *tensor.Tensor) (rs, es int) {
		switch {
		case t.Len() == m*n:
			return n, 1
		case t.Len() == 1:
			return 0, 0
		case column:
			return 1, 0
		}
		return 0, 1
	}
	xs, xe := strides(a)
	ys, ye := strides(b)
	kernel.Zip32(p, op, m, n, z, n, x, xs, xe, y, ys, ye)
}

var arithOperations = [...]kernel.Operation{addCode: kernel.Plus, subCode: kernel.Minus, mulCode: kernel.Times, divCode: kernel.Over}

// arithMatrix sees c as a matrix of m rows: one, if both operands are whole or
// single; else the one that is not is a row of it, or a column.
func arithMatrix(a, b, c *tensor.Tensor) (m, n int, column, ok bool) {
	total := c.Len()
	whole := func(t *tensor.Tensor) bool { return t.Len() == total || t.Len() == 1 }
	part := a
	switch {
	case total == 0:
		return 0, 0, false, false
	case whole(a) && whole(b):
		return 1, total, false, true
	case whole(a):
		part = b
	case !whole(b):
		return 0, 0, false, false
	}
	shape, full := part.Shape(), c.Shape()
	for shape[0] == 1 {
		shape = shape[1:]
	}
	if slices.Equal(shape, full[len(full)-len(shape):]) {
		return total / part.Len(), part.Len(), false, true
	}
	shape = part.Shape()
	for shape[len(shape)-1] == 1 {
		shape = shape[:len(shape)-1]
	}
	if len(part.Shape()) == len(full) && slices.Equal(shape, full[:len(shape)]) {
		return part.Len(), total / part.Len(), true, true
	}
	return 0, 0, false, false
}

// arithFloat is zip without a call for each element: every run of the
// innermost axis has a step of 1 or 0 on either side.
func arithFloat[T float](code arithCode, a, b, c *tensor.Tensor) {
	x, y, z := tensor.Data[T](a), tensor.Data[T](b), tensor.Data[T](c)
	newWalk(c.Shape(), a.Shape(), b.Shape()).rows(func(at, n int, offs, steps []int) {
		z, i, j := z[at:at+n], offs[0], offs[1]
		switch {
		case steps[0] == 1 && steps[1] == 1:
			arithRows(code, z, x[i:i+n], y[j:j+n])
		case steps[0] == 1:
			arithRight(code, z, x[i:i+n], y[j])
		case steps[1] == 1:
			arithLeft(code, z, x[i], y[j:j+n])
		default: // a single element
			arithRows(code, z, x[i:i+1], y[j:j+1])
		}
	})
}

func arithRows[T float](code arithCode, z, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	switch code {
	case addCode:
		for k := range z {
			z[k] = x[k] + y[k]
		}
	case subCode:
		for k := range z {
			z[k] = x[k] - y[k]
		}
	case mulCode:
		for k := range z {
			z[k] = x[k] * y[k]
		}
	case divCode:
		for k := range z {
			z[k] = x[k] / y[k]
		}
	}
}

func arithRight[T float](code arithCode, z, x []T, y T) {
	x = x[:len(z)]
	switch code {
	case addCode:
		for k := range z {
			z[k] = x[k] + y
		}
	case subCode:
		for k := range z {
			z[k] = x[k] - y
		}
	case mulCode:
		for k := range z {
			z[k] = x[k] * y
		}
	case divCode:
		for k := range z {
			z[k] = x[k] / y
		}
	}
}

func arithLeft[T float](code arithCode, z []T, x T, y []T) {
	y = y[:len(z)]
	switch code {
	case addCode:
		for k := range z {
			z[k] = x + y[k]
		}
	case subCode:
		for k := range z {
			z[k] = x - y[k]
		}
	case mulCode:
		for k := range z {
			z[k] = x * y[k]
		}
	case divCode:
		for k := range z {
			z[k] = x / y[k]
		}
	}
}

func (o *arith) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

func (o *arith) IsInPlace() {}

func (o *arith) BackwardInto(_ *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) {
		clearFresh(din, fresh)
		return nil
	}
	// What is fresh and of the output's shape is a forward pass over dout; the
	// first one comes last, since dout may be its memory. The rest is added.
	rest := [2]tensor.Value{}
	for i := range min(2, len(din)) {
		rest[i] = din[i]
	}
	whole := func(i int) bool {
		if !isFresh(din, fresh, i) {
			return false
		}
		if slices.Equal(din[i].Tensor.Shape(), dout[0].Tensor.Shape()) && (i == 0 || o.code == mulCode || o.code == addCode) {
			rest[i] = tensor.Value{}
			return true
		}
		clear(din[i].Tensor.Bytes())
		return false
	}
	first, second := whole(0), whole(1)
	return byFloat(o.name, out[0].Tensor.DType(),
		func() {
			arithBack[float32](o.code, in, out, dout, rest[:])
			arithBackInto[float32](o.code, first, second, in, dout, din)
		},
		func() {
			arithBack[float64](o.code, in, out, dout, rest[:])
			arithBackInto[float64](o.code, first, second, in, dout, din)
		})
}

// arithBackInto overwrites the gradients of operands of the output's shape: the
// second only of a sum or a product.
func arithBackInto[T float](code arithCode, first, second bool, in, dout, din []tensor.Value) {
	dz := dout[0].Tensor
	if second {
		if code == mulCode {
			arithFloat[T](code, dz, in[0].Tensor, din[1].Tensor)
		} else {
			copy(tensor.Data[T](din[1].Tensor), tensor.Data[T](dz))
		}
	}
	if first {
		if code == mulCode || code == divCode {
			arithFloat[T](code, dz, in[1].Tensor, din[0].Tensor)
		} else {
			copy(tensor.Data[T](din[0].Tensor), tensor.Data[T](dz))
		}
	}
}

func arithBack[T float](code arithCode, in, out, dout, din []tensor.Value) {
	a, b, shape := in[0].Tensor, in[1].Tensor, out[0].Tensor.Shape()
	x, y, dz := tensor.Data[T](a), tensor.Data[T](b), gradient[T](dout, 0)
	dx, dy := gradient[T](din, 0), gradient[T](din, 1)
	switch code {
	case addCode, subCode:
		if dx != nil {
			addReduced(dx, a.Shape(), 1, dz, shape)
		}
		sign := T(1)
		if code == subCode {
			sign = -1
		}
		if dy != nil {
			addReduced(dy, b.Shape(), sign, dz, shape)
		}
	case mulCode:
		if dx != nil {
			mulBack(dx, a.Shape(), y, b.Shape(), dz, shape)
		}
		if dy != nil {
			mulBack(dy, b.Shape(), x, a.Shape(), dz, shape)
		}
	case divCode:
		if dx != nil {
			divBack(dx, a.Shape(), y, b.Shape(), dz, shape)
		}
		if dy != nil {
			zipBack(dy, y, b.Shape(), x, a.Shape(), dz, shape, func(y, x, g T) T { return -g * (x / y) / y })
		}
	}
}

// divBack adds dz/y, broadcast as in mulBack, to dx.
func divBack[T float](dx []T, xs []int, y []T, ys []int, dz []T, zs []int) {
	newWalk(zs, xs, ys).rows(func(at, n int, offs, steps []int) {
		g, i, j := dz[at:at+n], offs[0], offs[1]
		switch {
		case steps[0] == 1 && steps[1] == 1:
			y, dx := y[j:j+n], dx[i:i+n]
			for k := range g {
				dx[k] += g[k] / y[k]
			}
		case steps[0] == 1:
			addScaled(dx[i:i+n], 1/y[j], g)
		case steps[1] == 1:
			for k, v := range y[j : j+n] {
				dx[i] += g[k] / v
			}
		default:
			dx[i] += sumOf(g) / y[j]
		}
	})
}

// mulBack adds y·dz, y broadcast to dz, to dx, which is broadcast too.
func mulBack[T float](dx []T, xs []int, y []T, ys []int, dz []T, zs []int) {
	newWalk(zs, xs, ys).rows(func(at, n int, offs, steps []int) {
		g, i, j := dz[at:at+n], offs[0], offs[1]
		switch {
		case steps[0] == 1 && steps[1] == 1:
			addProduct(dx[i:i+n], y[j:], g)
		case steps[0] == 1:
			addScaled(dx[i:i+n], y[j], g)
		case steps[1] == 1:
			dx[i] += dot(y[j:j+n], g)
		default:
			dx[i] += y[j] * sumOf(g)
		}
	})
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func arithInt[T integer](ctx *Ctx, code arithCode, a, b, c *tensor.Tensor) error {
	if code == divCode {
		for _, y := range tensor.Data[T](b) {
			if y == 0 && a.Len() > 0 {
				return errDivByZero
			}
		}
	}
	zipNumbers[T](ctx.Pool, arithOperations[code], a, b, c)
	return nil
}
