package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// indices reads an index tensor whose entries select among d elements of an
// axis; negative ones count from the end.
func indices(t *tensor.Tensor, d int) ([]int, error) {
	v, ok := intsIn(t)
	if !ok {
		return nil, fmt.Errorf("indices are %v, wanted integers", t)
	}
	for i, n := range v {
		if n < -d || n >= d {
			return nil, fmt.Errorf("index %d is outside an axis of %d", n, d)
		}
		if n < 0 {
			v[i] = n + d
		}
	}
	return v, nil
}

// gather takes slices of its input along an axis: the axis is replaced by
// those of the indices.
type gather struct{ axis int }

func parseGather(a *attrs) Op { return &gather{int(a.int("axis", 0))} }

func (o *gather) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	d := in[0].DType
	if !in[0].Ranked {
		return unrankedFact(d), nil
	}
	axis, err := normAxis(o.axis, len(in[0].Shape))
	if err != nil {
		return nil, err
	}
	if !in[1].Ranked {
		return unrankedFact(d), nil
	}
	shape := append([]graph.Dim{}, in[0].Shape[:axis]...)
	shape = append(shape, in[1].Shape...)
	shape = append(shape, in[0].Shape[axis+1:]...)
	if in[0].Ints != nil && len(in[0].Shape) == 1 && len(shape) <= 1 && in[1].Const != nil {
		at, err := indices(in[1].Const, len(in[0].Ints))
		if err != nil {
			return nil, err
		}
		ints := make([]graph.Dim, len(at))
		for i, n := range at {
			ints[i] = in[0].Ints[n]
		}
		if len(ints) <= maxContents {
			return []graph.Fact{contents(d, ints, shape...)}, nil
		}
	}
	return tensorFact(d, shape...), nil
}

func (o *gather) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	d := x.Shape()[axis]
	at, err := indices(in[1].Tensor, d)
	if err != nil {
		return err
	}
	to, from, err := cellsPair("Gather", y, x)
	if err != nil {
		return err
	}
	inner := product(x.Shape()[axis+1:])
	for i := range product(x.Shape()[:axis]) {
		for k, n := range at {
			to.copy((i*len(at)+k)*inner, from, (i*d+n)*inner, inner)
		}
	}
	return nil
}

func (o *gather) Backward(_ *Ctx, in, _, dout, din []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	at, err := indices(in[1].Tensor, x.Shape()[axis])
	if err != nil || !present(dout, 0) || !present(din, 0) {
		return err
	}
	return byFloat("Gather", x.DType(),
		func() { gatherBack[float32](x.Shape(), axis, at, dout, din) },
		func() { gatherBack[float64](x.Shape(), axis, at, dout, din) })
}

// gatherBack adds each slice of the gradient to the slice it was taken from.
func gatherBack[T float](shape []int, axis int, at []int, dout, din []tensor.Value) {
	dx, dy := gradient[T](din, 0), gradient[T](dout, 0)
	d, inner := shape[axis], product(shape[axis+1:])
	for i := range product(shape[:axis]) {
		for k, n := range at {
			addTo(dx[(i*d+n)*inner:(i*d+n+1)*inner], dy[(i*len(at)+k)*inner:])
		}
	}
}
