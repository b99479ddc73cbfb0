package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// layerNorm normalises over the axes from axis on, then scales and shifts:
// y = (x − mean)/√(var + ε)·scale + bias.
type layerNorm struct {
	axis    int
	epsilon float64
}

func parseLayerNorm(a *attrs) Op {
	a.int("stash_type", 1)
	return &layerNorm{int(a.int("axis", -1)), float64(a.float("epsilon", 1e-5))}
}

func (o *layerNorm) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	if _, err := sameDType(in); err != nil {
		return nil, err
	}
	if nOut > 3 {
		return nil, fmt.Errorf("found %d outputs, wanted at most 3", nOut)
	}
	x := in[0]
	out := []graph.Fact{{Type: x.Type}}
	stats := unrankedFact(tensor.Float32)[0]
	if x.Ranked {
		axis, err := normAxis(o.axis, len(x.Shape))
		if err != nil {
			return nil, err
		}
		for _, f := range in[1:] {
			if f.Kind != tensor.KindTensor || !f.Ranked {
				continue
			}
			shape, _, err := broadcastShapes(x.Type, f.Type)
			if err != nil {
				return nil, err
			}
			grows := len(shape) != len(x.Shape)
			for i := 0; i < len(shape) && !grows; i++ {
				n, known := shape[i].Const()
				m, exact := x.Shape[i].Const()
				grows = known && exact && n != m
			}
			if grows {
				return nil, fmt.Errorf("scale or bias %v does not broadcast into the input %v", f.Type, x.Type)
			}
		}
		dims := make([]graph.Dim, len(x.Shape))
		for i, d := range x.Shape {
			if dims[i] = d; i >= axis {
				dims[i] = graph.Size(1)
			}
		}
		stats = tensorFact(tensor.Float32, dims...)[0]
	}
	for len(out) < nOut {
		out = append(out, stats)
	}
	return out, nil
}

func (o *layerNorm) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := in[0].Tensor.DType(); d {
	case tensor.Float32:
		if !present(out, 1) && !present(out, 2) {
			return o.forward32(ctx, in, out)
		}
		return normalise[float32](ctx, o, in, out)
	case tensor.Float64:
		return normalise[float64](ctx, o, in, out)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("LayerNormalization", d)
	}
}

// forward32 is normalise of float32, whose statistics nobody asks for.
func (o *layerNorm) forward32(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	rows, n := product(x.Shape()[:axis]), product(x.Shape()[axis:])
	scale, err := broadcastRow[float32](in[1].Tensor, x.Shape(), axis)
	if err != nil {
		return err
	}
	var bias []float32
	if present(in, 2) {
		if bias, err = broadcastRow[float32](in[2].Tensor, x.Shape(), axis); err != nil {
			return err
		}
	}
	kernel.LayerNorm32(ctx.Pool, rows, n, tensor.Data[float32](out[0].Tensor), n, tensor.Data[float32](x), n, scale, bias, o.epsilon, nil)
	return nil
}

func normalise[T float](ctx *Ctx, o *layerNorm, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	axis, err := normAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	rows, n := product(x.Shape()[:axis]), product(x.Shape()[axis:])
	scale, err := broadcastRow[T](in[1].Tensor, x.Shape(), axis)
	if err != nil {
		return err
	}
	var bias []T
	if present(in, 2) {
		if bias, err = broadcastRow[T](in[2].Tensor, x.Shape(), axis); err != nil {
			return err
		}
	}
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	ctx.Pool.For(rows, max(1, elementGrain/max(1, n)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			mean, deviation := normaliseRow(dst[i*n:(i+1)*n], src[i*n:(i+1)*n], scale, bias, o.epsilon)
			for k, stat := range [2]float64{mean, 1 / deviation} {
				if present(out, k+1) {
					tensor.Data[float32](out[k+1].Tensor)[i] = float32(stat)
				}
			}
		}
	})
	return nil
}

// normaliseRow is the operator on one row; bias may be nil.
func normaliseRow[T float](y, x, scale, bias []T, epsilon float64) (mean, deviation float64) {
	mean, deviation = moments(x, epsilon)
	inverse := 1 / deviation
	y, scale = y[:len(x)], scale[:len(x)]
	if bias == nil {
		for j, v := range x {
			y[j] = T((float64(v) - mean) * inverse * float64(scale[j]))
		}
		return mean, deviation
	}
	bias = bias[:len(x)]
	for j, v := range x {
		y[j] = T((float64(v)-mean)*inverse*float64(scale[j]) + float64(bias[j]))
	}
	return mean, deviation
}

// moments is the mean and √(variance + ε) of a row, in two passes.
func moments[T float32 | float64](row []T, epsilon float64) (mean, deviation float64) {
	for _, v := range row {
		mean += float64(v)
	}
	mean /= float64(len(row))
	variance := 0.0
	for _, v := range row {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, math.Sqrt(variance/float64(len(row)) + epsilon)
}

// broadcastRow is t spread over the axes of shape from axis on; t must not
// differ along the axes before.
func broadcastRow[T float32 | float64](t *tensor.Tensor, shape []int, axis int) ([]T, error) {
	own := t.Shape()
	for len(own) > len(shape)-axis && own[0] == 1 {
		own = own[1:]
	}
	row := shape[axis:]
	if len(own) > len(row) {
		return nil, &Unsupported{OpType: "LayerNormalization", Detail: fmt.Sprintf("for a scale of shape %v over %v", t.Shape(), shape)}
	}
	v := tensor.Data[T](t)
	if len(v) == product(row) {
		return v, nil
	}
	out := make([]T, product(row))
	newWalk(row, own).rows(func(at, n int, offs, steps []int) {
		for k := range n {
			out[at+k] = v[offs[0]+k*steps[0]]
		}
	})
	return out, nil
}

// channelNorm is a normalisation per channel (axis 1): BatchNormalization by
// given means and variances, InstanceNormalization and GroupNormalization by
// those of the input.
type channelNorm struct {
	name    string
	epsilon float64
	groups  int  // of channels that share a mean; 0: one each
	given   bool // means and variances are inputs
	// perGroup: scale and bias of GroupNormalization before opset 21 have an
	// element per group.
	perGroup bool
}

func parseBatchNorm(a *attrs) Op {
	momentum, epsilon := a.float("momentum", 0.9), float64(a.float("epsilon", 1e-5))
	if a.opset < 9 {
		if a.int("spatial", 1) != 1 {
			a.fail(&Unsupported{OpType: "BatchNormalization", Detail: "with moments for each position (spatial = 0)"})
		}
	}
	if a.opset < 7 {
		a.ints("consumed_inputs")
		if !a.bool("is_test", false) {
			a.fail(&Unsupported{OpType: "BatchNormalization", Detail: "in training mode (is_test = 0)"})
		}
	}
	if a.opset >= 14 && a.bool("training_mode", false) || a.opset >= 7 && a.opset < 14 && runs(a.node) {
		return &batchTrain{epsilon, float64(momentum)}
	}
	return &channelNorm{name: "BatchNormalization", epsilon: epsilon, given: true}
}

// runs reports whether a BatchNormalization gives out running statistics, by
// which those of opset 7 to 13 are told to be in training mode.
func runs(n *graph.Node) bool {
	out := n.Outputs()
	return len(out) > 1 && out[1] != nil || len(out) > 2 && out[2] != nil
}

func parseInstanceNorm(a *attrs) Op {
	return &channelNorm{name: "InstanceNormalization", epsilon: float64(a.float("epsilon", 1e-5))}
}

func parseGroupNorm(a *attrs) Op {
	a.require("num_groups")
	if a.opset >= 21 {
		a.int("stash_type", 1)
	}
	o := &channelNorm{name: "GroupNormalization", epsilon: float64(a.float("epsilon", 1e-5)),
		groups: int(a.int("num_groups", 1)), perGroup: a.opset < 21}
	if o.groups < 1 {
		a.fail(fmt.Errorf("attribute num_groups is %d, wanted at least 1", o.groups))
	}
	return o
}

func (o *channelNorm) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	n := 3
	if o.given {
		n = 5
	}
	if err := arity(in, n, n); err != nil {
		return nil, err
	}
	if nOut > 1 {
		return nil, &Unsupported{OpType: o.name, Detail: "in training mode"}
	}
	x := in[0]
	for i := 1; i < n; i++ {
		// 16-bit inputs are widened to float32, beside which float32 may stand.
		d := in[i].DType
		if d != x.DType && d != tensor.Undefined && x.DType != tensor.Undefined && (x.DType.Bits() != 16 || d.Bits() > 32 || !d.IsFloat()) {
			return nil, fmt.Errorf("input %d is %v, but input 0 is %v", i, d, x.DType)
		}
	}
	if x.Ranked && len(x.Shape) < 2 {
		return nil, fmt.Errorf("input %v has no channel axis", x.Type)
	}
	if x.Ranked {
		if c, ok := x.Shape[1].Const(); ok {
			if o.groups > 0 && c%o.groups != 0 {
				return nil, fmt.Errorf("%d channels do not fall into %d groups", c, o.groups)
			}
			want := c
			if o.perGroup {
				want = o.groups
			}
			for i := 1; i < n; i++ {
				if in[i].Ranked && (len(in[i].Shape) != 1 || differ(in[i].Shape[0], graph.Size(want))) {
					return nil, fmt.Errorf("input %d is %v, wanted [%d]", i, in[i].Type, want)
				}
			}
		}
	}
	return []graph.Fact{{Type: x.Type}}, nil
}

func (o *channelNorm) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	switch d := x.DType(); d {
	case tensor.Float32:
		if o.given {
			scaleChannels(ctx, o.epsilon, in, tensor.Data[float32](x), tensor.Data[float32](out[0].Tensor), x.Shape())
			return nil
		}
		normGroups(ctx, o, in, tensor.Data[float32](x), tensor.Data[float32](out[0].Tensor), x.Shape())
	case tensor.Float64:
		normChannels[float64](ctx, o, in, x, out[0].Tensor)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, d)
	}
	return nil
}

// scaleChannels is BatchNormalization by given moments: a factor and an addend
// for each channel.
func scaleChannels(ctx *Ctx, epsilon float64, in []tensor.Value, x, y []float32, shape []int) {
	var v [4][]float32 // scale, bias, mean, variance
	for k := range v {
		v[k] = tensor.Data[float32](in[1+k].Tensor)
	}
	c, inner := shape[1], product(shape[2:])
	s := floatScratches.get(4 * c)
	if inner == 1 { // a row of the channels is what is long
		factors, addends := (*s)[:c], (*s)[c:2*c]
		for k := range c {
			f := float64(v[0][k]) / math.Sqrt(float64(v[3][k])+epsilon)
			factors[k], addends[k] = float32(f), float32(float64(v[1][k])-float64(v[2][k])*f)
		}
		kernel.Zip32(ctx.Pool, kernel.Times, shape[0], c, y, c, x, c, 1, factors, 0, 1)
		kernel.Zip32(ctx.Pool, kernel.Plus, shape[0], c, y, c, y, c, 1, addends, 0, 1)
	} else {
		for k := range c {
			f := float64(v[0][k]) / math.Sqrt(float64(v[3][k])+epsilon)
			copy((*s)[4*k:], []float32{v[2][k], 0, float32(f), v[1][k]})
		}
		kernel.AffineRows32(ctx.Pool, shape[0]*c, inner, y, x, *s)
	}
	floatScratches.Put(s)
}

// normGroups is InstanceNormalization and GroupNormalization in float32.
func normGroups(ctx *Ctx, o *channelNorm, in []tensor.Value, x, y []float32, shape []int) {
	n, c, inner := shape[0], shape[1], product(shape[2:])
	scale, bias := tensor.Data[float32](in[1].Tensor), tensor.Data[float32](in[2].Tensor)
	per := 1 // channels to a group
	if o.groups > 0 {
		per = c / o.groups
	}
	if per == 0 {
		return
	}
	if o.perGroup && per > 1 {
		s := floatScratches.get(2 * c)
		defer floatScratches.Put(s)
		for k := range c {
			(*s)[k], (*s)[c+k] = scale[k/per], bias[k/per]
		}
		scale, bias = (*s)[:c], (*s)[c:]
	}
	kernel.NormaliseGroups32(ctx.Pool, n*c/per, per, inner, y, x, scale, bias, o.epsilon)
}

func normChannels[T float32 | float64](ctx *Ctx, o *channelNorm, in []tensor.Value, x, y *tensor.Tensor) {
	n, c, inner := x.Shape()[0], x.Shape()[1], product(x.Shape()[2:])
	if c*inner == 0 {
		return
	}
	scale, bias := tensor.Data[T](in[1].Tensor), tensor.Data[T](in[2].Tensor)
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	per := 1 // channels to a group
	if o.groups > 0 {
		per = c / o.groups
	}
	group := func(i int) {
		var mean, deviation float64
		if o.given {
			mean = float64(tensor.Data[T](in[3].Tensor)[i%c])
			deviation = math.Sqrt(float64(tensor.Data[T](in[4].Tensor)[i%c]) + o.epsilon)
		} else {
			mean, deviation = moments(src[i*inner:(i+per)*inner], o.epsilon)
		}
		for k := i; k < i+per; k++ {
			at := k % c
			if o.perGroup {
				at /= per
			}
			s := float64(scale[at]) / deviation
			shift := float64(bias[at]) - mean*s
			for j := k * inner; j < (k+1)*inner; j++ {
				dst[j] = T(float64(src[j])*s + shift)
			}
		}
	}
	ctx.Pool.For(n*c/per, max(1, elementGrain/(per*inner)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			group(i * per)
		}
	})
}

// meanVariance subtracts the mean over axes and divides by the standard
// deviation.
type meanVariance struct{ axes []int }

func parseMeanVariance(a *attrs) Op {
	o := &meanVariance{a.ints("axes")}
	if o.axes == nil {
		o.axes = []int{0, 2, 3}
	}
	return o
}

func (o *meanVariance) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame("MeanVarianceNormalization", in)
	if err == nil && in[0].Ranked {
		_, err = normAxes(o.axes, len(in[0].Shape))
	}
	return out, err
}

func (o *meanVariance) Forward(_ *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("MeanVarianceNormalization", x.DType())
	}
	axes, err := normAxes(o.axes, x.Rank())
	if err != nil {
		return err
	}
	mask, groups := make([]bool, x.Rank()), x.Len()
	for _, a := range axes {
		mask[a] = true
		groups /= max(1, x.Shape()[a])
	}
	n := float64(len(v)) / math.Max(1, float64(groups))
	mean, squares := make([]float64, groups), make([]float64, groups)
	eachReduced(x.Shape(), mask, func(i, j int) { mean[j] += v[i] / n })
	eachReduced(x.Shape(), mask, func(i, j int) { squares[j] += (v[i] - mean[j]) * (v[i] - mean[j]) / n })
	eachReduced(x.Shape(), mask, func(i, j int) { v[i] = (v[i] - mean[j]) / (math.Sqrt(squares[j]) + 1e-9) })
	return storeFloats(v, out[0].Tensor)
}
