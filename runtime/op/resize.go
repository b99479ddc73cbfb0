package op

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// resize samples its input anew along each axis, by so many times (scales) or
// to so many elements (sizes). Upsample is its old name. The formulas are
// those of ONNX's Resize.
type resize struct {
	name       string
	inputs     resizeInputs
	scales     []float32 // Upsample's attribute
	mode       string    // nearest, linear or cubic
	transform  string
	nearest    string
	cubicA     float64
	exclude    bool // taps outside the input do not count
	outside    float64
	antialias  bool
	axes       []int
	aspect     string
	simpleDown bool // before opset 11: nearest rounds up where it shrinks
}

// resizeInputs is where an operator's inputs are; 0 where it has none.
type resizeInputs struct{ roi, scales, sizes, least, most int }

func parseUpsample(a *attrs) Op {
	o := &resize{name: "Upsample", mode: a.string("mode", "nearest"), transform: "asymmetric", nearest: "floor", simpleDown: true}
	if a.opset >= 9 {
		o.inputs = resizeInputs{scales: 1, least: 2, most: 2}
	} else {
		a.require("scales")
		o.scales = a.floats("scales")
		o.inputs = resizeInputs{least: 1, most: 1}
	}
	o.check(a)
	return o
}

func parseResize(a *attrs) Op {
	if a.opset < 11 {
		o := parseUpsample(a).(*resize)
		o.name = "Resize"
		return o
	}
	o := &resize{name: "Resize", inputs: resizeInputs{roi: 1, scales: 2, sizes: 3, least: 1, most: 4},
		mode: a.string("mode", "nearest"), transform: a.string("coordinate_transformation_mode", "half_pixel"),
		nearest: a.string("nearest_mode", "round_prefer_floor"), cubicA: float64(a.float("cubic_coeff_a", -0.75)),
		exclude: a.bool("exclude_outside", false), outside: float64(a.float("extrapolation_value", 0))}
	if a.opset >= 18 {
		o.antialias, o.axes = a.bool("antialias", false), a.ints("axes")
		o.aspect = a.string("keep_aspect_ratio_policy", "stretch")
	}
	o.check(a)
	return o
}

// check fails on names that ONNX does not know.
func (o *resize) check(a *attrs) {
	for _, c := range []struct {
		attr, value string
		known       []string
	}{
		{"mode", o.mode, []string{"nearest", "linear", "cubic"}},
		{"coordinate_transformation_mode", o.transform, []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
			"align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"}},
		{"nearest_mode", o.nearest, []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}},
		{"keep_aspect_ratio_policy", o.aspect, []string{"", "stretch", "not_larger", "not_smaller"}},
	} {
		if !slices.Contains(c.known, c.value) {
			a.fail(fmt.Errorf("attribute %s is %q", c.attr, c.value))
		}
	}
}

func (o *resize) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, o.inputs.least, o.inputs.most); err != nil {
		return nil, err
	}
	if !in[0].Ranked {
		return unrankedFact(in[0].DType), nil
	}
	x := in[0].Shape
	shape := unknownDims(len(x))
	axes, err := o.axesOf(len(x))
	if err != nil {
		return nil, err
	}
	for i, d := range x {
		if !slices.Contains(axes, i) {
			shape[i] = d
		}
	}
	scales, sizes := o.scales, []graph.Dim(nil)
	if o.listed(in, o.inputs.scales) && in[o.inputs.scales].Const != nil {
		if scales, err = floatsIn(in[o.inputs.scales].Const); err != nil {
			return nil, err
		}
	}
	if o.listed(in, o.inputs.sizes) {
		sizes = intsOf(in[o.inputs.sizes])
		if v, ok := constInts(in[o.inputs.sizes]); ok {
			if _, err := tensor.Elements(v); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case len(scales) > 0 && len(sizes) > 0:
		return nil, fmt.Errorf("both scales and sizes are given")
	case len(scales) > 0 && len(scales) != len(axes), len(sizes) > 0 && len(sizes) != len(axes):
		return nil, fmt.Errorf("%d scales or sizes for %d axes", max(len(scales), len(sizes)), len(axes))
	case len(scales) > 0:
		for i, a := range axes {
			if shape[a], err = scaled(x[a], scales[i]); err != nil {
				return nil, err
			}
		}
	case len(sizes) > 0:
		if shape, err = o.sized(x, shape, axes, sizes); err != nil {
			return nil, err
		}
	case o.name == "Resize" && !o.listed(in, o.inputs.scales) && !o.listed(in, o.inputs.sizes):
		return nil, fmt.Errorf("neither scales nor sizes are given")
	}
	for i, d := range shape {
		if n, ok := d.Const(); ok && n > 0 && x[i].Is(0) {
			return nil, fmt.Errorf("cannot sample %s", in[0].Type)
		}
	}
	return tensorFact(in[0].DType, shape...), nil
}

// listed reports whether a list is given: an empty one counts as left out.
func (o *resize) listed(in []graph.Fact, i int) bool {
	return i > 0 && given(in, i) && !(in[i].Ranked && len(in[i].Shape) == 1 && in[i].Shape[0].Is(0))
}

func (o *resize) axesOf(rank int) ([]int, error) {
	if o.axes == nil {
		return upTo(rank), nil
	}
	return normAxes(o.axes, rank)
}

func floatsIn(t *tensor.Tensor) ([]float32, error) {
	v, err := tensor.Float64s(t)
	out := make([]float32, len(v))
	for i, f := range v {
		out[i] = float32(f)
	}
	return out, err
}

// scaled is floor(d·scale), in float32 as ONNX Runtime computes it.
func scaled(d graph.Dim, scale float32) (graph.Dim, error) {
	if !(scale > 0 && scale < 1<<24) {
		return d, fmt.Errorf("scale %v is not positive", scale)
	}
	if n, ok := d.Const(); ok {
		v := math.Floor(float64(float32(n) * scale))
		if v > tensor.MaxElements {
			return d, fmt.Errorf("scale %v is too large", scale)
		}
		return graph.Size(int(v)), nil
	}
	if scale == float32(int(scale)) {
		return d.Mul(graph.Size(int(scale))), nil
	}
	return graph.Unknown, nil
}

// sized is the output's shape for sizes of some axes, which the policy may
// change so that all are scaled alike.
func (o *resize) sized(x, shape []graph.Dim, axes []int, sizes []graph.Dim) ([]graph.Dim, error) {
	for i, a := range axes {
		shape[a] = sizes[i]
	}
	if o.aspect == "" || o.aspect == "stretch" {
		return shape, nil
	}
	scale := math.Inf(1)
	if o.aspect == "not_smaller" {
		scale = 0
	}
	for i, a := range axes {
		n, ok := x[a].Const()
		m, ok2 := sizes[i].Const()
		if !ok || !ok2 {
			for _, a := range axes {
				shape[a] = graph.Unknown
			}
			return shape, nil
		}
		if n == 0 {
			return nil, fmt.Errorf("axis %d has no elements to keep the aspect of", a)
		}
		if s := float64(m) / float64(n); o.aspect == "not_smaller" {
			scale = max(scale, s)
		} else {
			scale = min(scale, s)
		}
	}
	for _, a := range axes {
		n, _ := x[a].Const()
		shape[a] = graph.Size(int(math.Floor(scale*float64(n) + 0.5)))
	}
	return shape, nil
}

// A sampling is how one axis is sampled: n elements become out.
type sampling struct {
	n, out     int
	scale      float64
	start, end float64 // of the region, for tf_crop_and_resize
}

// at is the position in the input that output i samples.
func (o *resize) at(s sampling, i int) float64 {
	x, n := float64(i), float64(s.n)
	wide := s.scale * n // the output's size before it is rounded down
	switch o.transform {
	case "asymmetric":
		return x / s.scale
	case "align_corners":
		if wide == 1 {
			return 0
		}
		return x * (n - 1) / (wide - 1)
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / s.scale
	case "tf_crop_and_resize":
		if wide == 1 {
			return (s.start + s.end) * (n - 1) / 2
		}
		return s.start*(n-1) + x*(s.end-s.start)*(n-1)/(wide-1)
	case "pytorch_half_pixel":
		if wide == 1 {
			return 0
		}
	case "half_pixel_symmetric":
		return n/2*(1-float64(s.out)/wide) + (x+0.5)/s.scale - 0.5
	}
	return (x+0.5)/s.scale - 0.5
}

// pick is the element that nearest takes for a position.
func (o *resize) pick(s sampling, x float64) int {
	switch {
	case o.simpleDown && s.scale < 1, o.nearest == "ceil":
		x = math.Ceil(x)
	case o.nearest == "floor":
		x = math.Floor(x)
	case o.nearest == "round_prefer_ceil":
		x = math.Floor(x + 0.5)
	default:
		x = math.Ceil(x - 0.5)
	}
	return int(min(max(x, 0), float64(s.n-1)))
}

// taps is the elements around a position and their weights, of which some may be 0, in memory that is given.
func (o *resize) taps(s sampling, x float64, at []int, weights []float64) ([]int, []float64) {
	if o.mode == "nearest" {
		return append(at[:0], o.pick(s, x)), append(weights[:0], 1)
	}
	at, weights = at[:0], weights[:0]
	base := math.Floor(x)
	reach, filter := 1.0, func(d float64) float64 { return max(0, 1-math.Abs(d)) }
	if o.mode == "cubic" {
		reach, filter = 2, o.cubic
	}
	shrink := 1.0 // antialias widens the filter where the axis shrinks
	if o.antialias && s.scale < 1 {
		shrink = s.scale
	}
	first := math.Floor(-reach/shrink) + 1
	sum := 0.0
	for k := first; k <= 1-first; k++ {
		p := base + k
		w := filter((p - x) * shrink)
		if o.exclude && (p < 0 || p >= float64(s.n)) {
			w = 0
		}
		at = append(at, int(min(max(p, 0), float64(s.n-1))))
		weights = append(weights, w)
		sum += w
	}
	if (o.exclude || shrink < 1) && sum != 0 {
		for i := range weights {
			weights[i] /= sum
		}
	}
	return at, weights
}

// cubic is the convolution kernel of Keys (1981) with a in place of −1/2.
func (o *resize) cubic(d float64) float64 {
	a := o.cubicA
	switch d = math.Abs(d); {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

func (o *resize) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	if y.Len() == 0 {
		return nil
	}
	plan, err := o.samplings(in, x, y)
	if err != nil {
		return err
	}
	crops := o.transform == "tf_crop_and_resize"
	if o.mode == "nearest" && !crops {
		return o.sampleNearest(ctx, plan, x, y)
	}
	if x.DType() == tensor.Float32 && y.DType() == tensor.Float32 {
		sampleAll(ctx, o, plan, x.Shape(), tensor.Data[float32](x), tensor.Data[float32](y))
		return nil
	}
	if !isNumber(x.DType()) {
		return unsupportedType(o.name, x.DType())
	}
	wide, sampled := x, tensor.New(tensor.Float64, y.Shape()...)
	if x.DType() != tensor.Float64 {
		wide = tensor.New(tensor.Float64, x.Shape()...)
		castNumbers(ctx.Pool, x, wide)
	}
	sampleAll(ctx, o, plan, x.Shape(), tensor.Data[float64](wide), tensor.Data[float64](sampled))
	return storeNumbers(ctx, o.name, sampled, y)
}

// samplings is the plan for every axis.
func (o *resize) samplings(in []tensor.Value, x, y *tensor.Tensor) ([]sampling, error) {
	axes, err := o.axesOf(x.Rank())
	if err != nil {
		return nil, err
	}
	scales, roi := o.scales, []float32(nil)
	if k := o.inputs.scales; k > 0 && present(in, k) {
		if scales, err = floatsIn(in[k].Tensor); err != nil {
			return nil, err
		}
	}
	if k := o.inputs.roi; k > 0 && present(in, k) {
		if roi, err = floatsIn(in[k].Tensor); err != nil {
			return nil, err
		}
	}
	if o.transform == "tf_crop_and_resize" && len(roi) != 2*len(axes) {
		return nil, fmt.Errorf("roi has %d numbers for %d axes", len(roi), len(axes))
	}
	for _, v := range roi {
		if v != v || math.Abs(float64(v)) > math.MaxFloat32 {
			return nil, fmt.Errorf("roi has %v", v)
		}
	}
	plan := make([]sampling, x.Rank())
	for a := range plan {
		n, m := x.Shape()[a], y.Shape()[a]
		plan[a] = sampling{n: n, out: m, scale: float64(m) / float64(n), end: 1}
	}
	for i, a := range axes {
		if len(scales) > 0 {
			plan[a].scale = float64(scales[i])
		}
		if len(roi) == 2*len(axes) {
			plan[a].start, plan[a].end = float64(roi[i]), float64(roi[len(axes)+i])
		}
	}
	return plan, nil
}

// sampleNearest moves elements, whatever their type.
func (o *resize) sampleNearest(ctx *Ctx, plan []sampling, x, y *tensor.Tensor) error {
	strides := tensor.Strides(x.Shape())
	tables := make([][]int, len(plan))
	for a, s := range plan {
		tables[a] = make([]int, s.out)
		for i := range tables[a] {
			tables[a][i] = o.pick(s, o.at(s, i)) * strides[a]
		}
	}
	if len(tables) == 0 {
		return y.CopyFrom(x)
	}
	if y.DType() == tensor.String {
		pickRows[string](ctx, tables, x, y)
		return nil
	}
	switch y.DType().Bits() {
	case 8:
		pickRows[uint8](ctx, tables, x, y)
	case 16:
		pickRows[uint16](ctx, tables, x, y)
	case 32:
		pickRows[uint32](ctx, tables, x, y)
	case 64:
		pickRows[uint64](ctx, tables, x, y)
	case 128:
		pickRows[complex128](ctx, tables, x, y)
	default:
		return unsupportedType(o.name, y.DType())
	}
	return nil
}

// pickRows copies the elements whose places along each axis the tables say, a row of the last axis at a time, or of as
// many of the last ones as stay as they are. Rows that are alike are made together.
func pickRows[T tensor.Elem](ctx *Ctx, tables [][]int, x, y *tensor.Tensor) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	n := 1
	for len(tables) > 0 && still(tables[len(tables)-1], x.Shape()[len(tables)-1], n) {
		n *= len(tables[len(tables)-1])
		tables = tables[:len(tables)-1]
	}
	picked := func(rows, copies int, y, x []T, xs int) {
		for k := range rows * copies {
			copy(y[k*n:(k+1)*n], x[k/copies*xs:])
		}
	}
	if n == 1 && len(tables) > 0 {
		picked, n = rowPicker[T](tables[len(tables)-1]), len(tables[len(tables)-1])
		tables = tables[:len(tables)-1]
	}
	if len(tables) == 0 {
		tables = [][]int{{0}}
	}
	outer, heights := tables[:len(tables)-1], tables[len(tables)-1]
	ctx.Pool.For(len(dst)/n, max(1, elementGrain/n), func(lo, hi int) {
		for r := lo; r < hi; {
			block, at := r/len(heights), 0
			for a := len(outer) - 1; a >= 0; a-- {
				at += outer[a][block%len(outer[a])]
				block /= len(outer[a])
			}
			for h := r % len(heights); h < len(heights) && r < hi; {
				rows, copies, xs := alike(heights[h:min(len(heights), h+hi-r)])
				picked(rows, copies, dst[r*n:(r+rows*copies)*n], src[at+heights[h]:], xs)
				h, r = h+rows*copies, r+rows*copies
			}
		}
	})
}

// alike is how many places of a table, each so many times in a row and so far from the one before, it begins with.
func alike(table []int) (places, times, step int) {
	same := func(k int) (n int) {
		for k+n < len(table) && table[k+n] == table[k] {
			n++
		}
		return n
	}
	places, times = 1, same(0)
	if times < len(table) {
		step = table[times] - table[0]
	}
	for k := times; step > 0 && k < len(table) && table[k]-table[k-1] == step && same(k) == times; k += times {
		places++
	}
	return places, times, step
}

// still tells whether the table of an axis leaves its n elements as they are, which lie so far apart.
func still(table []int, n, apart int) bool {
	for i, at := range table {
		if at != i*apart {
			return false
		}
	}
	return len(table) == n
}

// rowPicker is what makes rows of the elements at the given places, of rows that are xs apart, so many copies of each.
func rowPicker[T tensor.Elem](at []int) func(rows, copies int, y, x []T, xs int) {
	n := len(at)
	if _, ok := any([]T(nil)).([]uint32); ok {
		p := kernel.NewPicking32(at)
		return func(rows, copies int, y, x []T, xs int) {
			p.Run(rows, copies, any(y).([]uint32), n, any(x).([]uint32), xs)
		}
	}
	return func(rows, copies int, y, x []T, xs int) {
		for r := range rows {
			from, row := x[r*xs:], y[r*copies*n:][:n]
			for i, k := range at {
				row[i] = from[k]
			}
			for c := 1; c < copies; c++ {
				copy(y[(r*copies+c)*n:], row)
			}
		}
	}
}
