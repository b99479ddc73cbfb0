package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// gridSample reads X[N C D…] at the positions that grid[N P… axes] gives, the
// last axis of X first, −1 … 1 spanning each: Y[N C P…].
type gridSample struct {
	degree  int    // 0: the nearest element, 1: linear, 3: cubic
	padding string // what lies outside
	align   bool   // −1 and 1 are the centres of the corner elements, not their edges
}

func parseGridSample(a *attrs) Op {
	o := &gridSample{padding: a.string("padding_mode", "zeros"), align: a.bool("align_corners", false)}
	names := map[string]int{"bilinear": 1, "nearest": 0, "bicubic": 3}
	def := "bilinear"
	if a.opset >= 20 {
		names, def = map[string]int{"linear": 1, "nearest": 0, "cubic": 3}, "linear"
	}
	mode := a.string("mode", def)
	var ok bool
	if o.degree, ok = names[mode]; !ok {
		a.fail(fmt.Errorf("attribute mode is %q", mode))
	}
	switch o.padding {
	case "zeros", "border", "reflection":
	default:
		a.fail(fmt.Errorf("attribute padding_mode is %q", o.padding))
	}
	return o
}

func (o *gridSample) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x, grid := in[0], in[1]
	for i, f := range in {
		if f.DType != tensor.Undefined && !f.DType.IsFloat() {
			return nil, fmt.Errorf("input %d is %v, wanted floating point", i, f.Type)
		}
	}
	axes, err := spatial(x, grid)
	if err != nil {
		return nil, err
	}
	if axes > maxSpatial {
		return nil, &Unsupported{OpType: "GridSample", Detail: fmt.Sprintf("over %d axes", axes)}
	}
	if axes < 0 {
		return unrankedFact(x.DType), nil
	}
	shape := unknownDims(2 + axes)
	if grid.Ranked {
		if differ(grid.Shape[axes+1], graph.Size(axes)) {
			return nil, fmt.Errorf("grid %v for %d axes", grid.Type, axes)
		}
		copy(shape[2:], grid.Shape[1:])
		shape[0] = grid.Shape[0]
	}
	if x.Ranked {
		if grid.Ranked && differ(grid.Shape[0], x.Shape[0]) {
			return nil, fmt.Errorf("grid %v for %v", grid.Type, x.Type)
		}
		shape[0], shape[1] = x.Shape[0], x.Shape[1]
	}
	return tensorFact(x.DType, shape...), nil
}

func (o *gridSample) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	if o.fitsPlanes(x, in[1].Tensor) {
		gridPlanes(ctx, o, x, in[1].Tensor, y)
		return nil
	}
	grid, err := tensor.Float64s(in[1].Tensor)
	if err != nil {
		return unsupportedType("GridSample", in[1].Tensor.DType())
	}
	switch x.DType() {
	case tensor.Float32:
		sampleGrid[float32](ctx, o, x, grid, y)
	case tensor.Float64:
		sampleGrid[float64](ctx, o, x, grid, y)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("GridSample", x.DType())
	}
	return nil
}

// A gridTap is an element that a position reads, and what it counts.
type gridTap struct {
	at     int
	weight float64
}

func sampleGrid[T float](ctx *Ctx, o *gridSample, x *tensor.Tensor, grid []float64, y *tensor.Tensor) {
	n, c, size := x.Shape()[0], x.Shape()[1], x.Shape()[2:]
	plane, places := product(size), product(y.Shape()[2:])
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	ctx.Pool.For(n*places, max(1, elementGrain/16/max(1, c)), func(lo, hi int) {
		var taps, next []gridTap
		for p := lo; p < hi; p++ {
			taps = append(taps[:0], gridTap{0, 1})
			for i, length := range size {
				next = o.along(next[:0], taps, grid[(p+1)*len(size)-1-i], length)
				taps, next = next, taps
			}
			image, place := p/places*c, p%places
			for k := image; k < image+c; k++ {
				sum := 0.0
				for _, t := range taps {
					sum += t.weight * float64(src[k*plane+t.at])
				}
				dst[k*places+place] = T(sum)
			}
		}
	})
}

// along appends to next the elements that taps over the axes before come to
// with an axis more, of n elements.
func (o *gridSample) along(next, taps []gridTap, g float64, n int) []gridTap {
	var line gridLine
	o.line(&line, g, n)
	for _, t := range taps {
		for k := range line.count {
			if at := line.at[k]; at >= 0 {
				next = append(next, gridTap{t.at*n + at, t.weight * line.weight[k]})
			}
		}
	}
	return next
}

// A gridLine is the elements along one axis that a coordinate reads (below 0:
// none), their weights and the derivatives of these by the coordinate.
type gridLine struct {
	count         int
	at            [4]int
	weight, slope [4]float64
}

// line fills l for the coordinate g along an axis of n elements.
func (o *gridSample) line(l *gridLine, g float64, n int) {
	pos, lo, hi, by := ((g+1)*float64(n)-1)/2, -0.5, float64(n)-0.5, float64(n)/2
	if o.align {
		pos, lo, hi, by = (g+1)/2*float64(n-1), 0, float64(n-1), float64(n-1)/2
	}
	if o.degree == 0 {
		pos = math.RoundToEven(pos)
	}
	if o.degree < 3 && (pos < lo || pos > hi) {
		switch o.padding {
		case "border":
			pos, by = min(max(pos, 0), float64(n-1)), 0
		case "reflection":
			var sign float64
			pos, sign = reflect(pos, lo, hi)
			by *= sign
		}
	}
	first := math.Floor(pos)
	if l.count = 0; !(math.Abs(first) < maxWindow) {
		return // NaN, or farther out than any element
	}
	from := int(first)
	switch t := pos - first; o.degree {
	case 0:
		l.count, l.weight[0], l.slope[0] = 1, 1, 0
	case 1:
		l.count, l.weight, l.slope = 2, [4]float64{1 - t, t}, [4]float64{-by, by}
	case 3:
		const a = -0.75
		inner := func(d float64) (f, df float64) { return ((a+2)*d-(a+3))*d*d + 1, (3*(a+2)*d - 2*(a+3)) * d }
		outer := func(d float64) (f, df float64) { return ((a*d-5*a)*d+8*a)*d - 4*a, (3*a*d-10*a)*d + 8*a }
		l.count, from = 4, from-1
		l.weight[0], l.slope[0] = outer(t + 1)
		l.weight[1], l.slope[1] = inner(t)
		l.weight[2], l.slope[2] = inner(1 - t)
		l.weight[3], l.slope[3] = outer(2 - t)
		for k := range l.slope {
			l.slope[k] *= stepped(k < 2, by, -by)
		}
	}
	for k := range l.count {
		at := from + k
		if at < 0 || at >= n {
			switch o.padding {
			case "zeros":
				at = -1
			case "border":
				at = min(max(at, 0), n-1)
			case "reflection":
				back, _ := reflect(float64(at), lo, hi)
				at = min(max(int(back), 0), n-1)
			}
		}
		l.at[k] = at
	}
}

// reflect folds x back at lo and hi until it lies between them; sign is the
// derivative.
func reflect(x, lo, hi float64) (back, sign float64) {
	span := hi - lo
	if span <= 0 {
		return lo, 0
	}
	var d float64
	switch {
	case x < lo:
		d = lo - x
	case x > hi:
		d = x - hi
	default:
		return x, 1
	}
	turns := math.Floor(d / span)
	rest := d - turns*span
	even := math.Mod(turns, 2) == 0
	if (x < lo) == even {
		back = lo + rest
	} else {
		back = hi - rest
	}
	return back, stepped(even, -1, 1)
}

// affineGrid is the grid for gridSample of an affine map theta[N axes axes+1]
// over an output of size [N C D…].
type affineGrid struct{ align bool }

func parseAffineGrid(a *attrs) Op { return &affineGrid{a.bool("align_corners", false)} }

func (o *affineGrid) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	theta := in[0]
	if err := withRank(theta, "theta", 3); err != nil {
		return nil, err
	}
	size := intsOf(in[1])
	if size == nil {
		return unrankedFact(theta.DType), nil
	}
	axes := len(size) - 2
	if axes != 2 && axes != 3 {
		return nil, fmt.Errorf("a size of %d axes, wanted 4 or 5", len(size))
	}
	if theta.Ranked && (differ(theta.Shape[1], graph.Size(axes)) || differ(theta.Shape[2], graph.Size(axes+1)) || differ(theta.Shape[0], size[0])) {
		return nil, fmt.Errorf("theta %v for size %s", theta.Type, graph.FormatShape(size, true))
	}
	shape := append([]graph.Dim{size[0]}, size[2:]...)
	return tensorFact(theta.DType, append(shape, graph.Size(axes))...), nil
}

func (o *affineGrid) Forward(_ *Ctx, in, out []tensor.Value) error {
	theta, err := tensor.Float64s(in[0].Tensor)
	if err != nil {
		return unsupportedType("AffineGrid", in[0].Tensor.DType())
	}
	grid := make([]float64, out[0].Tensor.Len())
	o.each(out[0].Tensor.Shape(), func(i, k int, v float64) { grid[i] += theta[k] * v })
	return storeFloats(grid, out[0].Tensor)
}

// each calls f for every product of element k of theta with v that element i of
// the grid of that shape is a sum of.
func (o *affineGrid) each(shape []int, f func(i, k int, v float64)) {
	size := shape[1 : len(shape)-1]
	axes, places := len(size), product(size)
	at := make([]float64, axes+1) // the position, last axis first, then 1
	at[axes] = 1
	for i := range shape[0] * places {
		rest := i % places
		for k := axes - 1; k >= 0; k-- {
			n, p := float64(size[k]), float64(rest%size[k])
			rest /= size[k]
			switch {
			case !o.align:
				at[axes-1-k] = (2*p+1)/n - 1
			case n > 1:
				at[axes-1-k] = 2*p/(n-1) - 1
			default:
				at[axes-1-k] = 0 // as PyTorch, where ONNX says nothing
			}
		}
		for r := range axes {
			for k, v := range at {
				f(i*axes+r, (i/places*axes+r)*(axes+1)+k, v)
			}
		}
	}
}
