package op

// RowFunc is the computation of an element-wise op of one float32 input, over
// a run of elements of any length (y may be x): the one that Forward does, so
// that whoever computes several ops in one pass gets the bits of one after the
// other. It is nil for other ops.
func RowFunc(o Op) func(y, x []float32) {
	var u *unary
	switch o := o.(type) {
	case *unary:
		u = o
	case *numeric:
		u = &o.unary
	case *reluOp:
		return rows["Relu"]
	default:
		return nil
	}
	if u.row != nil {
		return u.row
	}
	return func(y, x []float32) { each32(y, x, u.f) }
}
