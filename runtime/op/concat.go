package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// concat joins its inputs along an axis.
type concat struct{ axis int }

func parseConcat(a *attrs) Op {
	a.require("axis")
	return &concat{int(a.int("axis", 0))}
}

func (o *concat) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, -1); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	var shape []graph.Dim // of those joined so far
	allRanked, axis := true, 0
	sum := dimSum{}
	for i, f := range in {
		if f.Kind == tensor.KindNone {
			return nil, fmt.Errorf("input %d is left out", i)
		}
		if !f.Ranked {
			allRanked = false
			continue
		}
		if shape == nil {
			if axis, err = normAxis(o.axis, len(f.Shape)); err != nil {
				return nil, err
			}
			shape = append([]graph.Dim{}, f.Shape...)
		}
		if len(f.Shape) != len(shape) {
			return nil, concatError(in, axis)
		}
		for k, e := range f.Shape {
			if k == axis {
				sum.add(e)
			} else if differ(shape[k], e) {
				return nil, concatError(in, axis)
			} else {
				shape[k] = meet(shape[k], e)
			}
		}
	}
	switch {
	case shape == nil:
		return unrankedFact(d), nil
	case !allRanked:
		shape[axis] = graph.Unknown
		return tensorFact(d, shape...), nil
	}
	shape[axis] = sum.dim()
	if len(shape) == 1 && (d == tensor.Int64 || d == tensor.Int32) {
		if ints := joined(in); ints != nil {
			return []graph.Fact{contents(d, ints, shape...)}, nil
		}
	}
	return tensorFact(d, shape...), nil
}

func concatError(in []graph.Fact, axis int) error {
	types := make([]graph.Type, len(in))
	for i, f := range in {
		types[i] = f.Type
	}
	return fmt.Errorf("shapes %s do not join along axis %d", formatShapes(types), axis)
}

// joined is the contents of lists one after the other; nil where the length
// of one is not known.
func joined(in []graph.Fact) []graph.Dim {
	all := []graph.Dim{}
	for _, f := range in {
		ints := intsOf(f)
		if ints == nil {
			return nil
		}
		all = append(all, ints...)
	}
	if len(all) > maxContents {
		return nil
	}
	return all
}

// dimSum adds dimensions: numbers to numbers, and equal symbols to multiples.
type dimSum struct {
	number int
	symbol graph.Dim // what is not a number
	count  int       // how many of symbol there are
	open   bool
}

func (s *dimSum) add(d graph.Dim) {
	n, ok := d.Const()
	switch {
	case ok:
		s.number += n
	case !d.IsKnown() || s.count > 0 && !d.Same(s.symbol):
		s.open = true
	default:
		s.symbol = d
		s.count++
	}
}

// dim is the sum, Unknown where it is no product.
func (s *dimSum) dim() graph.Dim {
	switch {
	case s.open || s.count > 0 && s.number > 0:
		return graph.Unknown
	case s.count > 0:
		return s.symbol.Mul(graph.Size(s.count))
	}
	return graph.Size(s.number)
}

func (o *concat) Forward(ctx *Ctx, in, out []tensor.Value) error {
	y := out[0].Tensor
	axis, err := normAxis(o.axis, y.Rank())
	if err != nil {
		return err
	}
	return copyParts(ctx.Pool, "Concat", y, axis, in, nil, true)
}

// copyParts copies between a tensor and those that it is made of along an axis, over all cores: from the parts
// where join says so, else to them. A part that is no tensor is left out; sizes are the parts' along the axis,
// nil for their own.
func copyParts(p *kernel.Pool, name string, whole *tensor.Tensor, axis int, parts []tensor.Value, sizes []int, join bool) error {
	all, err := cellsOf(name, whole)
	for _, v := range parts {
		if v.Kind == tensor.KindTensor && err == nil {
			_, err = cellsOf(name, v.Tensor)
		}
	}
	if err != nil {
		return err
	}
	grain := max(elementGrain, 512*len(parts))
	if p.Threads() == 1 {
		grain = whole.Len()
	}
	width, inner := product(whole.Shape()[axis:]), product(whole.Shape()[axis+1:])
	if width > 0 && width <= grain {
		grain = grain / width * width // whole rows
	}
	p.For(whole.Len(), grain, func(lo, hi int) {
		at := 0 // where the part begins in each row of the whole
		for k, v := range parts {
			n := inner
			if sizes != nil {
				n *= sizes[k]
			} else {
				n *= v.Tensor.Shape()[axis]
			}
			if v.Kind == tensor.KindTensor && n > 0 {
				part, _ := cellsOf(name, v.Tensor)
				if i := lo / width; lo%width == 0 && hi%width == 0 && join {
					all.copyRows(hi/width-i, n, lo+at, width, part, i*n, n)
				} else if lo%width == 0 && hi%width == 0 {
					part.copyRows(hi/width-i, n, i*n, n, all, lo+at, width)
				} else {
					for ; i*width+at < hi; i++ {
						begin := i*width + at
						from, to := max(lo, begin), min(hi, begin+n)
						switch {
						case from >= to:
						case join:
							all.copy(from, part, from-begin+i*n, to-from)
						default:
							part.copy(from-begin+i*n, all, from, to-from)
						}
					}
				}
			}
			at += n
		}
	})
	return nil
}

func (o *concat) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	y := out[0].Tensor
	axis, err := normAxis(o.axis, y.Rank())
	if err != nil || !present(dout, 0) {
		return err
	}
	return byFloat("Concat", y.DType(),
		func() { concatBack[float32](y.Shape(), axis, in, dout, din) },
		func() { concatBack[float64](y.Shape(), axis, in, dout, din) })
}

func concatBack[T float](shape []int, axis int, in, dout, din []tensor.Value) {
	dy := gradient[T](dout, 0)
	outer, width := product(shape[:axis]), product(shape[axis:])
	at := 0
	for k, v := range in {
		n := product(v.Tensor.Shape()[axis:])
		if dx := gradient[T](din, k); dx != nil {
			for i := range outer {
				addTo(dx[i*n:(i+1)*n], dy[i*width+at:])
			}
		}
		at += n
	}
}
