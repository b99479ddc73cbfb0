package op

import (
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// shapeOf is the dimensions of its input from start to end (exclusive), both
// of which may count from the end and are clamped.
type shapeOf struct {
	start, end int
	hasEnd     bool
}

func parseShape(a *attrs) Op {
	o := &shapeOf{}
	if a.opset >= 15 {
		o.start = int(a.int("start", 0))
		o.hasEnd = a.has("end")
		o.end = int(a.int("end", 0))
	}
	return o
}

// bounds is the part of a shape of the given rank that is wanted.
func (o *shapeOf) bounds(rank int) (lo, hi int) {
	clamp := func(v int) int {
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	lo, hi = clamp(o.start), rank
	if o.hasEnd {
		hi = clamp(o.end)
	}
	return lo, max(lo, hi)
}

func (o *shapeOf) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return rankFact(tensor.Int64, 1), nil
	}
	lo, hi := o.bounds(len(in[0].Shape))
	return []graph.Fact{contents(tensor.Int64, in[0].Shape[lo:hi], graph.Size(hi-lo))}, nil
}

func (o *shapeOf) Forward(_ *Ctx, in, out []tensor.Value) error {
	shape := in[0].Tensor.Shape()
	lo, hi := o.bounds(len(shape))
	y := tensor.Data[int64](out[0].Tensor)
	for i, d := range shape[lo:hi] {
		y[i] = int64(d)
	}
	return nil
}

// sizeOf is the number of elements of its input.
type sizeOf struct{}

func parseSize(*attrs) Op { return sizeOf{} }

func (sizeOf) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return tensorFact(tensor.Int64), nil
	}
	return []graph.Fact{contents(tensor.Int64, []graph.Dim{graph.Product(in[0].Shape)})}, nil
}

func (sizeOf) Forward(_ *Ctx, in, out []tensor.Value) error {
	tensor.Data[int64](out[0].Tensor)[0] = int64(in[0].Tensor.Len())
	return nil
}

// OfType reports whether o's outputs follow from the type of its first input,
// whatever its elements are.
func OfType(o Op) bool {
	switch o.(type) {
	case *shapeOf, sizeOf:
		return true
	}
	return false
}
