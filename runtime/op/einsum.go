package op

import (
	"fmt"
	"slices"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// einsum is Einstein's summation: each axis of an operand has a label, equal
// labels step together, and labels that are not in the output are summed
// over. "..." stands for any number of axes, which broadcast.
type einsum struct {
	terms  []string // of the operands, with '.' for "..."
	output string   // likewise
}

func parseEinsum(a *attrs) Op {
	a.require("equation")
	equation := strings.ReplaceAll(a.string("equation", ""), " ", "")
	left, right, explicit := strings.Cut(strings.ReplaceAll(equation, "...", "."), "->")
	o := &einsum{terms: strings.Split(left, ","), output: right}
	counts := map[rune]int{}
	for _, term := range append(slices.Clone(o.terms), o.output) {
		if strings.Count(term, ".") > 1 || strings.Trim(term, ".abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			a.fail(fmt.Errorf("equation %q is none", equation))
		}
	}
	for _, r := range left {
		counts[r]++
	}
	if !explicit {
		// The labels that appear once, in alphabetical order.
		var once []rune
		for r, n := range counts {
			if n == 1 && r != '.' && r != ',' {
				once = append(once, r)
			}
		}
		slices.Sort(once)
		o.output = string(once)
		if counts['.'] > 0 {
			o.output = "." + o.output
		}
	}
	for _, r := range o.output {
		if counts[r] == 0 || strings.Count(o.output, string(r)) > 1 {
			a.fail(fmt.Errorf("equation %q has a bad label %q in its output", equation, r))
		}
	}
	return o
}

// labels names the axes of an operand of the given rank; those of "..." are
// named by negative numbers, −1 for the last.
func labels(term string, rank int) ([]int, error) {
	free := rank - len(term)
	if strings.Contains(term, ".") {
		free++
	} else if free != 0 {
		free = -1
	}
	if free < 0 {
		return nil, fmt.Errorf("term %q for an operand of rank %d", strings.ReplaceAll(term, ".", "..."), rank)
	}
	out := []int{}
	for _, r := range term {
		if r != '.' {
			out = append(out, int(r))
			continue
		}
		for i := free; i > 0; i-- {
			out = append(out, -i)
		}
	}
	return out, nil
}

func (o *einsum) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, len(o.terms), len(o.terms)); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	sizes := map[int]graph.Dim{}
	ellipsis := 0
	for i, f := range in {
		if !f.Ranked {
			return unrankedFact(d), nil
		}
		names, err := labels(o.terms[i], len(f.Shape))
		if err != nil {
			return nil, err
		}
		for k, name := range names {
			ellipsis = max(ellipsis, -name)
			old, seen := sizes[name]
			e := f.Shape[k]
			switch {
			case !seen || old.Is(1):
				sizes[name] = e
			case e.Is(1):
			case differ(old, e):
				return nil, fmt.Errorf("label of axis %d of operand %d (%s) is %v elsewhere", k, i, f.Type, old)
			default:
				_, number := meet(old, e).Const()
				if old.Same(e) || number {
					sizes[name] = meet(old, e)
				} else {
					// One of the two symbols may turn out to be 1.
					sizes[name] = graph.Unknown
				}
			}
		}
	}
	shape := []graph.Dim{}
	for _, name := range o.outputLabels(ellipsis) {
		shape = append(shape, sizes[name])
	}
	return tensorFact(d, shape...), nil
}

// outputLabels names the output's axes where "..." stands for so many.
func (o *einsum) outputLabels(ellipsis int) []int {
	rank := len(o.output)
	if strings.Contains(o.output, ".") {
		rank += ellipsis - 1
	}
	names, _ := labels(o.output, rank)
	return names
}

func (o *einsum) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch out[0].Tensor.DType() {
	case tensor.Float32:
		return einsumAs[float32, float64](ctx, o, in, out[0].Tensor, kernel.Gemm32)
	case tensor.Float64:
		return einsumAs[float64, float64](ctx, o, in, out[0].Tensor, kernel.Gemm64)
	case tensor.Int32:
		return einsumAs[int32, int32](ctx, o, in, out[0].Tensor, gemmInt[int32])
	case tensor.Int64:
		return einsumAs[int64, int64](ctx, o, in, out[0].Tensor, gemmInt[int64])
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType("Einsum", out[0].Tensor.DType())
}

// A summation is the two nested loops of an einsum, over the output's labels
// and over the others, with the operands' strides along each.
type summation struct {
	outer, inner               []int   // sizes
	outerStrides, innerStrides [][]int // per operand
}

func (o *einsum) summation(in []tensor.Value) (*summation, error) {
	sizes, steps := map[int]int{}, make([]map[int]int, len(in))
	ellipsis := 0
	var summed []int // labels, in order of appearance
	for i, v := range in {
		x := v.Tensor
		steps[i] = map[int]int{}
		names, err := labels(o.terms[i], x.Rank())
		if err != nil {
			return nil, err
		}
		for k, s := range tensor.Strides(x.Shape()) {
			name, d := names[k], x.Shape()[k]
			ellipsis = max(ellipsis, -name)
			if d != 1 {
				steps[i][name] += s // a label given twice walks the diagonal
			}
			if old, seen := sizes[name]; !seen || old == 1 {
				sizes[name] = d
			}
			if !slices.Contains(summed, name) {
				summed = append(summed, name)
			}
		}
	}
	kept := o.outputLabels(ellipsis)
	summed = slices.DeleteFunc(summed, func(n int) bool { return slices.Contains(kept, n) })
	nest := func(names []int) (shape []int, strides [][]int) {
		strides = make([][]int, len(in))
		for _, n := range names {
			shape = append(shape, sizes[n])
			for i := range in {
				strides[i] = append(strides[i], steps[i][n])
			}
		}
		return shape, strides
	}
	s := &summation{}
	s.outer, s.outerStrides = nest(kept)
	s.inner, s.innerStrides = nest(summed)
	return s, nil
}

// each calls f for every term of the output's sums, those of the k-th one after the other, with the positions of its
// factors.
func (s *summation) each(f func(k int, at []int)) {
	at := make([]int, len(s.outerStrides))
	terms := product(s.inner)
	for k := range product(s.outer) {
		for term := range terms {
			clear(at)
			along(at, k, s.outer, s.outerStrides)
			along(at, term, s.inner, s.innerStrides)
			f(k, at)
		}
	}
}

// einsumAs goes through products of matrices where the equation is such, and by the definition otherwise.
func einsumAs[T float | int32 | int64, A float64 | int32 | int64](ctx *Ctx, o *einsum, in []tensor.Value, y *tensor.Tensor, gemm gemmFunc[T]) error {
	s, err := o.summation(in)
	if err != nil {
		return err
	}
	if p, ok := s.contraction(); ok {
		return contract(ctx, p, in, y, gemm)
	}
	sumTerms[T, A](ctx, s, in, y)
	return nil
}

// sumTerms sums products of T in A, by the definition, over all cores.
func sumTerms[T, A float | int32 | int64](ctx *Ctx, s *summation, in []tensor.Value, y *tensor.Tensor) {
	data := make([][]T, len(in))
	for i, v := range in {
		data[i] = tensor.Data[T](v.Tensor)
	}
	z := tensor.Data[T](y)
	last := len(s.inner) - 1
	n, lines, steps := 1, 1, make([]int, len(in)) // along the last axis of the sums, and the rest
	if last >= 0 {
		n, lines = s.inner[last], product(s.inner[:last])
		for i := range steps {
			steps[i] = s.innerStrides[i][last]
		}
	}
	ctx.Pool.For(len(z), elementGrain/16/max(1, n*lines), func(lo, hi int) {
		first, at := make([]int, len(in)), make([]int, len(in))
		for k := lo; k < hi; k++ {
			clear(first)
			along(first, k, s.outer, s.outerStrides)
			sum := A(0)
			for line := range lines {
				copy(at, first)
				if lines > 1 {
					along(at, line, s.inner[:last], s.innerStrides)
				}
				for range n {
					p := A(1)
					for i, x := range data {
						p *= A(x[at[i]])
						at[i] += steps[i]
					}
					sum += p
				}
			}
			z[k] = T(sum)
		}
	})
}

// along adds to positions those of the k-th place of a shape that operands step through.
func along(at []int, k int, shape []int, strides [][]int) {
	for axis := len(shape) - 1; axis >= 0; axis-- {
		for i := range at {
			at[i] += k % shape[axis] * strides[i][axis]
		}
		k /= shape[axis]
	}
}

func (o *einsum) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) {
		return nil
	}
	s, err := o.summation(in)
	if err != nil {
		return err
	}
	return byFloat("Einsum", out[0].Tensor.DType(),
		func() { einsumBack[float32](s, in, dout, din) },
		func() { einsumBack[float64](s, in, dout, din) })
}

// einsumBack adds, for each term, the product of the gradient and of the other
// factors to the gradient of a factor.
func einsumBack[T float](s *summation, in, dout, din []tensor.Value) {
	data, grads, dz := make([][]T, len(in)), make([][]float64, len(in)), gradient[T](dout, 0)
	for i, v := range in {
		data[i] = tensor.Data[T](v.Tensor)
		if present(din, i) {
			grads[i] = make([]float64, len(data[i]))
		}
	}
	s.each(func(k int, at []int) {
		for i, d := range grads {
			if d == nil {
				continue
			}
			p := float64(dz[k])
			for j, x := range data {
				if j != i {
					p *= float64(x[at[j]])
				}
			}
			d[at[i]] += p
		}
	})
	for i, d := range grads {
		dx := gradient[T](din, i)
		for k, v := range d {
			dx[k] += T(v)
		}
	}
}
