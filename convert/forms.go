package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/match"
	"bilinc/factorize"
)

// A form is a shape of factors and, of a convolution, which factor has each
// axis of the kernel: one letter per axis, a or b; "" where B has all. No axis
// is split between the two (M. Hameed et al., "Convolutional neural network
// compression through generalized Kronecker product decomposition", 2021).
//
// The columns that a shape divides into N1 and N2 are then, from the outermost:
// A's axes, the channels, B's axes. So A is M1×(ka·C1), B is M2×(C2·kb).
type form struct {
	factorize.Shape
	kernel string
}

// onlyB reports whether B has all axes of the kernel.
func onlyB(kernel string) bool { return !strings.Contains(kernel, "a") }

// isTable reports whether w is looked up.
func isTable(w *match.Weight) bool { return w.Layers[0].Index != 0 }

// lowRankForm is two layers: a convolution to so many channels as there are
// terms, then one of 1×1.
func lowRankForm(w *match.Weight) form { return form{Shape: factorize.LowRankShape(w.Rows, w.Cols)} }

// mostAxes is the axes of kernels of which A may have some: it takes a
// convolution over one axis more than the layer's, and three is what runtimes
// have.
const mostAxes = 2

// kernels is the ways to share the axes of a kernel out, that of B alone first.
// Axes of size 1 are B's.
func kernels(c *match.Convolution) []string {
	out := []string{""}
	if c == nil || len(c.Kernel) > mostAxes {
		return out
	}
	for bits := 1; bits < 1<<len(c.Kernel); bits++ {
		k := strings.Builder{}
		for i, n := range c.Kernel {
			switch {
			case bits>>i&1 == 0:
				k.WriteByte('b')
			case n > 1:
				k.WriteByte('a')
			}
		}
		if k.Len() == len(c.Kernel) {
			out = append(out, k.String())
		}
	}
	return out
}

// tapsOf is the places of the kernel that each factor has.
func tapsOf(c *match.Convolution, kernel string) (a, b int) {
	a, b = 1, 1
	for i, n := range c.Kernel {
		if kernel != "" && kernel[i] == 'a' {
			a *= n
		} else {
			b *= n
		}
	}
	return a, b
}

// forms is the forms worth trying for w, the low-rank one first.
func forms(w *match.Weight) []form {
	c := w.Layers[0].Conv
	var out []form
	if c == nil || c.Taps() == 1 {
		for _, s := range factorize.Shapes(w.Rows, w.Cols) {
			if checkForm(w, form{Shape: s}) == nil {
				out = append(out, form{Shape: s})
			}
		}
		return out
	}
	shapes := factorize.Shapes(w.Rows, c.Channels)
	for _, k := range kernels(c) {
		ka, kb := tapsOf(c, k)
		for _, s := range shapes {
			if !onlyB(k) && s.N1*s.N2 != c.Channels {
				continue // padded channels would lie between the places of the kernel
			}
			f := form{factorize.Shape{M1: s.M1, N1: ka * s.N1, M2: s.M2, N2: s.N2 * kb}, k}
			if f.IsLowRank() || f.Params(1) < w.Rows*w.Cols {
				out = append(out, f)
			}
		}
	}
	return out
}

// balancedSlack is how many more parameters than the least a balanced form of
// higher rank may have.
const balancedSlack = 1.1

// balancedForm is the form of one balanced pair: where not every shape is a
// form, that of about the least parameters whose products reach the highest rank.
func balancedForm(w *match.Weight) form {
	if c := w.Layers[0].Conv; c == nil || c.Taps() == 1 {
		f := form{Shape: factorize.Balanced(w.Rows, w.Cols)}
		if checkForm(w, f) == nil {
			return f
		}
	}
	all := forms(w)
	least := all[0].Params(1)
	for _, f := range all {
		least = min(least, f.Params(1))
	}
	rank := func(f form) int {
		if float64(f.Params(1)) > balancedSlack*float64(least) {
			return 0
		}
		return min(min(f.M1, f.N1)*min(f.M2, f.N2), w.Rows, w.Cols)
	}
	return slices.MinFunc(all, func(a, b form) int {
		return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(a.Params(1), b.Params(1)), cmp.Compare(a.kernel, b.kernel))
	})
}

// checkForm says why factors of a form are none of w.
func checkForm(w *match.Weight, f form) error {
	c := w.Layers[0].Conv
	if c == nil {
		if f.kernel != "" {
			return fmt.Errorf("kernel %q of a layer that is no convolution", f.kernel)
		}
		if isTable(w) && f.M1*f.M2 != w.Rows {
			return fmt.Errorf("shape %v pads the %d columns of a table", f.Shape, w.Rows)
		}
		return nil
	}
	if f.kernel != "" && (len(f.kernel) != len(c.Kernel) || strings.Trim(f.kernel, "ab") != "") {
		return fmt.Errorf("kernel %q, wanted a or b for each of %d axes", f.kernel, len(c.Kernel))
	}
	if !onlyB(f.kernel) && len(c.Kernel) > mostAxes {
		return fmt.Errorf("kernel %q: A may have axes where there are %d at most", f.kernel, mostAxes)
	}
	ka, kb := tapsOf(c, f.kernel)
	if f.N1%ka != 0 || f.N2%kb != 0 {
		return fmt.Errorf("shape %v splits the kernel %v: the columns of A are whole multiples of %d, those of B of %d", f.Shape, c.Kernel, ka, kb)
	}
	if !onlyB(f.kernel) && f.N1*f.N2 != w.Cols {
		return fmt.Errorf("shape %v pads the channels, which takes a kernel that is B's", f.Shape)
	}
	return nil
}

// columnOrder is where the columns of a form are in the weight: column j of
// the form is column order[j]. It is nil where they are in the same order.
func columnOrder(w *match.Weight, kernel string) []int {
	if onlyB(kernel) {
		return nil
	}
	c := w.Layers[0].Conv
	var shape, perm []int
	for i := range c.Kernel {
		if kernel[i] == 'a' {
			perm = append(perm, i+1)
		}
	}
	perm = append(perm, 0)
	for i := range c.Kernel {
		if kernel[i] != 'a' {
			perm = append(perm, i+1)
		}
	}
	shape = append([]int{c.Channels}, c.Kernel...)
	return axisOrder(shape, perm)
}

// axisOrder is the flat indices of an array of the given shape, in the order
// of the array whose axes are perm's.
func axisOrder(shape, perm []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	out := make([]int, 0, n)
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(perm) {
			out = append(out, at)
			return
		}
		for i := range shape[perm[axis]] {
			walk(axis+1, at+i*strides[perm[axis]])
		}
	}
	walk(0, 0)
	return out
}

// ordered is the columns of d in another order; d itself where that is nil.
func ordered(d *mat.Dense, order []int) *mat.Dense {
	if order == nil || d == nil {
		return d
	}
	rows, cols := d.Dims()
	out := mat.NewDense(rows, cols, nil)
	for r := range rows {
		from, to := d.RawRowView(r), out.RawRowView(r)
		for j, k := range order {
			to[j] = from[k]
		}
	}
	return out
}

// inOrder is moments of a layer whose inputs are in another order.
func inOrder(mo *factorize.Moments, order []int) *factorize.Moments {
	if order == nil || mo == nil {
		return mo
	}
	out := *mo
	out.C = transposed(ordered(transposed(ordered(mo.C, order)), order))
	out.G, out.W = ordered(mo.G, order), ordered(mo.W, order)
	out.Mean = make([]float64, len(order))
	for j, k := range order {
		out.Mean[j] = mo.Mean[k]
	}
	return &out
}

// denseOf is the sum that k stands for, with the columns of the weight.
func denseOf(w *match.Weight, k *factorize.Kronecker, kernel string) *mat.Dense {
	d := k.Dense()
	order := columnOrder(w, kernel)
	if order == nil {
		return d
	}
	back := make([]int, len(order))
	for j, at := range order {
		back[at] = j
	}
	return ordered(d, back)
}
