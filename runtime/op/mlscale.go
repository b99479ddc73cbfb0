package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// perFeature fails unless a list has one element, or as many as X[… F] has
// features.
func perFeature(name string, n int, x graph.Fact) error {
	if n == 1 || !x.Ranked {
		return nil
	}
	if len(x.Shape) == 0 || differ(x.Shape[len(x.Shape)-1], graph.Size(n)) {
		return fmt.Errorf("attribute %s has %d elements for an input of %v, wanted 1 or one for each feature", name, n, x.Type)
	}
	return nil
}

// scaler is Y = (X − offset)·scale in float32, by feature or for all.
type scaler struct{ offset, scale []float32 }

func parseScaler(a *attrs) Op {
	o := &scaler{offset: a.floats("offset"), scale: a.floats("scale")}
	if len(o.offset) == 0 {
		o.offset = []float32{0}
	}
	if len(o.scale) == 0 {
		o.scale = []float32{1}
	}
	return o
}

func (o *scaler) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := numbersTo("Scaler", tensor.Float32, in)
	if err == nil {
		err = perFeature("offset", len(o.offset), in[0])
	}
	if err == nil {
		err = perFeature("scale", len(o.scale), in[0])
	}
	return out, err
}

// numbersTo is the fact of an output of type d and the shape of the single input
// of numbers.
func numbersTo(name string, d tensor.DType, in []graph.Fact) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	switch in[0].DType {
	case tensor.Undefined, tensor.Float32, tensor.Float64, tensor.Int64, tensor.Int32:
	default:
		return nil, unsupportedML(name, "for %v", in[0].DType)
	}
	t := in[0].Type
	t.DType = d
	return []graph.Fact{{Type: t}}, nil
}

// last is the size of the last axis, by which features count; 1 of a scalar.
func last(t *tensor.Tensor) int {
	if t.Rank() == 0 {
		return 1
	}
	return t.Shape()[t.Rank()-1]
}

func (o *scaler) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, tensor.Data[float32](out[0].Tensor)
	if x.DType() == tensor.Float64 {
		scale(ctx, o, last(x), y, tensor.Data[float64](x))
		return nil
	}
	scale(ctx, o, last(x), y, floats32(x))
	return nil
}

func scale[T float](ctx *Ctx, o *scaler, features int, y []float32, x []T) {
	if len(x) == 0 {
		return
	}
	ctx.Pool.For(len(x)/features, max(1, elementGrain/features), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			for k := range features {
				offset, factor := o.offset[0], o.scale[0]
				if len(o.offset) > 1 {
					offset = o.offset[k]
				}
				if len(o.scale) > 1 {
					factor = o.scale[k]
				}
				i := row*features + k
				y[i] = float32((x[i] - T(offset)) * T(factor))
			}
		}
	})
}

// binarizer is 1 where an element is greater than a threshold, else 0.
type binarizer struct{ threshold float64 }

func parseBinarizer(a *attrs) Op { return &binarizer{float64(a.float("threshold", 0))} }

func (o *binarizer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	return numbersTo("Binarizer", in[0].DType, in)
}

func (o *binarizer) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch x.DType() {
	case tensor.Float32:
		apply(x, y, binary[float32](o.threshold))
	case tensor.Float64:
		apply(x, y, binary[float64](o.threshold))
	case tensor.Int64:
		apply(x, y, binary[int64](o.threshold))
	default:
		apply(x, y, binary[int32](o.threshold))
	}
	return nil
}

func binary[T number](threshold float64) func(T) T {
	return func(x T) T {
		if float64(x) > threshold {
			return 1
		}
		return 0
	}
}

// imputer replaces elements that equal one value (NaN equals NaN) by another,
// one for all features or one for each.
type imputer struct {
	floats  []float32
	ints    []int64
	missing float32
	absent  int64
}

func parseImputer(a *attrs) Op {
	o := &imputer{floats: a.floats("imputed_value_floats"), ints: a.int64s("imputed_value_int64s"),
		missing: a.float("replaced_value_float", 0), absent: a.int("replaced_value_int64", 0)}
	if (len(o.floats) == 0) == (len(o.ints) == 0) {
		a.fail(fmt.Errorf("found %d imputed_value_floats and %d imputed_value_int64s, wanted one of the two", len(o.floats), len(o.ints)))
	}
	return o
}

func (o *imputer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	d := in[0].DType
	if d != tensor.Undefined && d.IsFloat() != (len(o.floats) > 0) {
		return nil, fmt.Errorf("the imputed values are not of %v", d)
	}
	if d == tensor.Int32 {
		for _, v := range append([]int64{o.absent}, o.ints...) {
			if v != int64(int32(v)) {
				return nil, fmt.Errorf("the value %d is outside int32", v)
			}
		}
	}
	if err := perFeature("imputed_value", len(o.floats)+len(o.ints), in[0]); err != nil {
		return nil, err
	}
	return numbersTo("Imputer", d, in)
}

func (o *imputer) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch x.DType() {
	case tensor.Float32:
		impute(x, y, o.missing, o.floats)
	case tensor.Float64:
		impute(x, y, float64(o.missing), converted[float64](o.floats))
	case tensor.Int64:
		impute(x, y, o.absent, o.ints)
	default:
		impute(x, y, int32(o.absent), converted[int32](o.ints))
	}
	return nil
}

func impute[T number](x, y *tensor.Tensor, missing T, by []T) {
	src, dst, n := tensor.Data[T](x), tensor.Data[T](y), last(x)
	for i, v := range src {
		if v == missing || v != v && missing != missing {
			if v = by[0]; len(by) > 1 {
				v = by[i%n]
			}
		}
		dst[i] = v
	}
}

// normalizer divides each row of X[N F] or X[F] by its largest element, the sum
// of its magnitudes or its length, unless that is 0.
type normalizer struct{ norm int }

const (
	normMax = iota
	normL1
	normL2
)

func parseNormalizer(a *attrs) Op { return &normalizer{a.oneOf("norm", "MAX", "L1", "L2")} }

func (o *normalizer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := numbersTo("Normalizer", tensor.Float32, in)
	if err == nil && in[0].Ranked && (len(in[0].Shape) == 0 || len(in[0].Shape) > 2) {
		err = fmt.Errorf("input is %v, wanted [N F] or [F]", in[0].Type)
	}
	return out, err
}

func (o *normalizer) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := floats32(in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	n := last(in[0].Tensor)
	if n == 0 {
		return nil
	}
	ctx.Pool.For(len(x)/n, max(1, elementGrain/n), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			o.row(y[row*n:(row+1)*n], x[row*n:(row+1)*n])
		}
	})
	return nil
}

func (o *normalizer) row(y, x []float32) {
	by := 0.0
	switch o.norm {
	case normMax:
		by = -math.MaxFloat32
		for _, v := range x {
			if float64(v) > by {
				by = float64(v)
			}
		}
	case normL1:
		for _, v := range x {
			by += math.Abs(float64(v))
		}
	case normL2:
		for _, v := range x {
			by += float64(v) * float64(v)
		}
		by = math.Sqrt(by)
	}
	if by == 0 {
		by = 1
	}
	for i, v := range x {
		y[i] = float32(float64(v) / by)
	}
}

// featureVectorizer joins inputs [N C_i] (or [C_i], as [1 C_i]; further axes
// count as one with the second) along the features, in float32. An input of other
// features than it is said to have is cut or filled up with zeros.
type featureVectorizer struct{ sizes []int }

func parseFeatureVectorizer(a *attrs) Op {
	o := &featureVectorizer{a.ints("inputdimensions")}
	total := 0
	for _, n := range o.sizes {
		if n < 0 || n > maxWindow || total > maxWindow {
			a.fail(fmt.Errorf("attribute inputdimensions is %v", o.sizes))
			break
		}
		total += n
	}
	return o
}

func (o *featureVectorizer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, max(1, len(in)), -1); err != nil {
		return nil, err
	}
	if o.sizes != nil && len(o.sizes) != len(in) {
		return nil, fmt.Errorf("found %d inputs, attribute inputdimensions is for %d", len(in), len(o.sizes))
	}
	if _, err := sameDType(in); err != nil {
		return nil, err
	}
	batch, total := graph.Unknown, 0
	known := true
	for i, f := range in {
		if _, err := numbersTo("FeatureVectorizer", tensor.Float32, in[i:i+1]); err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
		if !f.Ranked {
			known = known && o.sizes != nil
		} else {
			n, features := graph.Size(1), f.Shape
			if len(f.Shape) == 0 {
				return nil, fmt.Errorf("input %d is a scalar", i)
			}
			if len(f.Shape) > 1 {
				n, features = f.Shape[0], f.Shape[1:]
			}
			if differ(batch, n) {
				return nil, fmt.Errorf("input %d is %v, others have %v rows", i, f.Type, batch)
			}
			batch = meet(batch, n)
			c, ok := graph.Product(features).Const()
			total += c
			known = known && (ok || o.sizes != nil)
		}
	}
	if o.sizes != nil {
		total = 0
		for _, n := range o.sizes {
			total += n
		}
	}
	if !known {
		return tensorFact(tensor.Float32, batch, graph.Unknown), nil
	}
	return tensorFact(tensor.Float32, batch, graph.Size(total)), nil
}

func (o *featureVectorizer) Forward(_ *Ctx, in, out []tensor.Value) error {
	y := tensor.Data[float32](out[0].Tensor)
	rows, width := out[0].Tensor.Shape()[0], out[0].Tensor.Shape()[1]
	clear(y)
	at := 0
	for i, v := range in {
		x := floats32(v.Tensor)
		have := len(x) / max(1, rows)
		n := have
		if o.sizes != nil {
			n = o.sizes[i]
		}
		for row := range rows {
			copy(y[row*width+at:row*width+at+n], x[row*have:(row+1)*have])
		}
		at += n
	}
	return nil
}
