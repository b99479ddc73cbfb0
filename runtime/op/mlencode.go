package op

import (
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// labelEncoder maps each element to another by a list of pairs, or to a default:
// LabelEncoder from its second version on, and CategoryMapper and the first
// version, which have a map for either direction.
type labelEncoder struct {
	name string
	maps []mapping // by the type of the input, each another
}

// A mapping is between tensors of rank 1 and as many elements.
type mapping struct {
	from, to tensor.DType
	apply    func(x, y *tensor.Tensor)
}

// newMapping maps keys to values. Of a key that is there twice the last counts,
// and NaN stands for any NaN; before LabelEncoder's version 4, of which this is
// said, the first does, and NaN for none.
func newMapping[K, V comparableElem](keys []K, values []V, def V, since4 bool) mapping {
	m := make(map[K]V, len(keys))
	forNaN := def
	for i, k := range keys {
		_, there := m[k]
		switch {
		case k != k:
			if since4 {
				forNaN = values[i]
			}
		case !there || since4:
			m[k] = values[i]
		}
	}
	return mapping{tensor.Of[K](nil, 0).DType(), tensor.Of[V](nil, 0).DType(), func(x, y *tensor.Tensor) {
		dst := tensor.Data[V](y)
		for i, k := range tensor.Data[K](x) {
			v, ok := m[k]
			switch {
			case ok:
			case k != k:
				v = forNaN
			default:
				v = def
			}
			dst[i] = v
		}
	}}
}

// comparableElem is the types of keys and values.
type comparableElem interface {
	string | int64 | int32 | int16 | float32 | float64
}

func parseLabelEncoder1(a *attrs) Op {
	words := a.strings("classes_strings")
	places := make([]int64, len(words))
	for i := range places {
		places[i] = int64(i)
	}
	return bothWays("LabelEncoder", a, words, places)
}

func parseCategoryMapper(a *attrs) Op {
	words, ints := a.strings("cats_strings"), a.int64s("cats_int64s")
	if len(words) != len(ints) {
		a.fail(fmt.Errorf("found %d cats_strings and %d cats_int64s, wanted as many", len(words), len(ints)))
		ints = make([]int64, len(words))
	}
	return bothWays("CategoryMapper", a, words, ints)
}

// bothWays maps strings to integers and integers to strings.
func bothWays(name string, a *attrs, words []string, ints []int64) Op {
	number, word := a.int("default_int64", -1), a.string("default_string", "_Unused")
	return &labelEncoder{name, []mapping{newMapping(words, ints, number, true), newMapping(ints, words, word, true)}}
}

// parseLabelEncoder is from opset 2 on, with tensors as lists from opset 4 on.
func parseLabelEncoder(a *attrs) Op {
	keys, values := a.list("keys"), a.list("values")
	o := &labelEncoder{name: "LabelEncoder"}
	if keys == nil || values == nil {
		a.fail(fmt.Errorf("attributes keys_* or values_* are missing"))
		return o
	}
	if keys.Len() != values.Len() {
		a.fail(fmt.Errorf("found %d keys and %d values, wanted as many", keys.Len(), values.Len()))
		return o
	}
	words, numbers, reals := a.string("default_string", "_Unused"), a.int("default_int64", -1), a.float("default_float", float32(math.Copysign(0, -1)))
	var def *tensor.Tensor
	if a.opset >= 4 {
		if def = a.tensor("default_tensor"); def != nil && (def.DType() != values.DType() || def.Len() != 1) {
			a.fail(fmt.Errorf("attribute default_tensor is %v, wanted one %v", def, values.DType()))
			return o
		}
	}
	switch values.DType() {
	case tensor.String:
		o.maps = withValues(a, keys, values, def, words)
	case tensor.Int64:
		o.maps = withValues(a, keys, values, def, numbers)
	case tensor.Int32:
		o.maps = withValues(a, keys, values, def, int32(-1))
	case tensor.Int16:
		o.maps = withValues(a, keys, values, def, int16(-1))
	case tensor.Float32:
		o.maps = withValues(a, keys, values, def, reals)
	case tensor.Float64:
		o.maps = withValues(a, keys, values, def, float64(reals))
	default:
		a.fail(unsupportedML("LabelEncoder", "with values of %v", values.DType()))
	}
	return o
}

func withValues[V comparableElem](a *attrs, keys, values, given *tensor.Tensor, def V) []mapping {
	if given != nil {
		def = tensor.Data[V](given)[0]
	}
	to := tensor.Data[V](values)
	switch keys.DType() {
	case tensor.String:
		return []mapping{newMapping(tensor.Data[string](keys), to, def, a.opset >= 4)}
	case tensor.Int64:
		return []mapping{newMapping(tensor.Data[int64](keys), to, def, a.opset >= 4)}
	case tensor.Int32:
		return []mapping{newMapping(tensor.Data[int32](keys), to, def, a.opset >= 4)}
	case tensor.Int16:
		return []mapping{newMapping(tensor.Data[int16](keys), to, def, a.opset >= 4)}
	case tensor.Float32:
		return []mapping{newMapping(tensor.Data[float32](keys), to, def, a.opset >= 4)}
	case tensor.Float64:
		return []mapping{newMapping(tensor.Data[float64](keys), to, def, a.opset >= 4)}
	}
	a.fail(unsupportedML("LabelEncoder", "with keys of %v", keys.DType()))
	return nil
}

// list is what one of the attributes name_strings, name_int64s, name_floats and,
// from opset 4 on, name_tensor holds; nil where none is there.
func (a *attrs) list(name string) *tensor.Tensor {
	var found []*tensor.Tensor
	if v := a.strings(name + "_strings"); len(v) > 0 {
		found = append(found, tensor.Of(v, len(v)))
	}
	if v := a.int64s(name + "_int64s"); len(v) > 0 {
		found = append(found, tensor.Of(v, len(v)))
	}
	if v := a.floats(name + "_floats"); len(v) > 0 {
		found = append(found, tensor.Of(v, len(v)))
	}
	if a.opset >= 4 {
		if t := a.tensor(name + "_tensor"); t != nil {
			found = append(found, t)
		}
	}
	if len(found) > 1 {
		a.fail(fmt.Errorf("found %d of the attributes %s_*, wanted one", len(found), name))
	}
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// to is the map for inputs of type d.
func (o *labelEncoder) to(d tensor.DType) *mapping {
	i := slices.IndexFunc(o.maps, func(m mapping) bool { return m.from == d })
	if i < 0 {
		return nil
	}
	return &o.maps[i]
}

func (o *labelEncoder) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	t := in[0].Type
	m := o.to(t.DType)
	switch {
	case m != nil:
		t.DType = m.to
	case t.DType != tensor.Undefined:
		return nil, fmt.Errorf("input is %v, wanted keys of %v", t, o.maps[0].from)
	case len(o.maps) == 1:
		t.DType = o.maps[0].to
	}
	return []graph.Fact{{Type: t}}, nil
}

func (o *labelEncoder) Forward(_ *Ctx, in, out []tensor.Value) error {
	o.to(in[0].Tensor.DType()).apply(in[0].Tensor, out[0].Tensor)
	return nil
}

// oneHotEncoder gives each element of X a row with a 1 at its category:
// Y[… C] in float32. Numbers are cut to integers. An element of no category has a
// row of zeros, or is an error.
type oneHotEncoder struct {
	labels classLabels
	ints   map[int64]int
	words  map[string]int
	zeros  bool
}

func parseOneHotEncoder(a *attrs) Op {
	o := &oneHotEncoder{labels: a.labels("cats_int64s", "cats_strings"), ints: map[int64]int{}, words: map[string]int{}, zeros: a.bool("zeros", true)}
	for i, v := range o.labels.ints {
		o.ints[v] = i
	}
	for i, v := range o.labels.words {
		o.words[v] = i
	}
	return o
}

func (o *oneHotEncoder) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	switch d := in[0].DType; {
	case d == tensor.Undefined:
	case (d == tensor.String) != (len(o.words) > 0):
		return nil, fmt.Errorf("the categories are not of %v", d)
	case d != tensor.String:
		if _, err := numbersTo("OneHotEncoder", d, in); err != nil {
			return nil, err
		}
	}
	if !in[0].Ranked {
		return unrankedFact(tensor.Float32), nil
	}
	return tensorFact(tensor.Float32, append(slices.Clone(in[0].Shape), graph.Size(o.labels.len()))...), nil
}

func (o *oneHotEncoder) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, tensor.Data[float32](out[0].Tensor)
	clear(y)
	switch x.DType() {
	case tensor.String:
		return oneHots(o, y, tensor.Data[string](x), func(v string) (int, bool) { c, ok := o.words[v]; return c, ok })
	case tensor.Int64:
		return oneHots(o, y, tensor.Data[int64](x), func(v int64) (int, bool) { c, ok := o.ints[v]; return c, ok })
	case tensor.Int32:
		return oneHots(o, y, tensor.Data[int32](x), func(v int32) (int, bool) { c, ok := o.ints[int64(v)]; return c, ok })
	}
	return oneHots(o, y, floats64(x), func(v float64) (int, bool) {
		if !(math.Abs(v) < 1<<63) {
			return 0, false
		}
		c, ok := o.ints[int64(v)]
		return c, ok
	})
}

func oneHots[T tensor.Elem](o *oneHotEncoder, y []float32, x []T, category func(T) (int, bool)) error {
	n := o.labels.len()
	for i, v := range x {
		c, ok := category(v)
		switch {
		case ok:
			y[i*n+c] = 1
		case !o.zeros:
			return fmt.Errorf("element %d is %v, which is no category", i, v)
		}
	}
	return nil
}

// arrayFeatureExtractor picks elements of X[… C] along the last axis by the
// indices in Y, of n elements: Z[… n]; Z[1 n] of X[C].
type arrayFeatureExtractor struct{}

func parseArrayFeatureExtractor(*attrs) Op { return arrayFeatureExtractor{} }

func (arrayFeatureExtractor) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 2); err != nil {
		return nil, err
	}
	x, y := in[0], in[1]
	switch x.DType {
	case tensor.Undefined, tensor.String:
	default:
		if _, err := numbersTo("ArrayFeatureExtractor", x.DType, in[:1]); err != nil {
			return nil, err
		}
	}
	if y.DType != tensor.Undefined && y.DType != tensor.Int64 {
		return nil, fmt.Errorf("input 1 is %v, wanted int64", y.Type)
	}
	if !x.Ranked {
		return unrankedFact(x.DType), nil
	}
	n := graph.Unknown
	if y.Ranked {
		n = graph.Product(y.Shape)
	}
	switch len(x.Shape) {
	case 0:
		return nil, fmt.Errorf("input 0 is a scalar")
	case 1:
		return tensorFact(x.DType, graph.Size(1), n), nil
	}
	shape := slices.Clone(x.Shape)
	shape[len(shape)-1] = n
	return tensorFact(x.DType, shape...), nil
}

func (arrayFeatureExtractor) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, at, y := in[0].Tensor, tensor.Data[int64](in[1].Tensor), out[0].Tensor
	n := last(x)
	for i, k := range at {
		if k < 0 || k >= int64(n) {
			return fmt.Errorf("index %d is %d, outside the %d elements of %v", i, k, n, x)
		}
	}
	switch x.DType() {
	case tensor.String:
		pick[string](x, y, at, n)
	case tensor.Float32:
		pick[float32](x, y, at, n)
	case tensor.Int32:
		pick[int32](x, y, at, n)
	default:
		pick[int64](x, y, at, n) // and float64, by its bits
	}
	return nil
}

func pick[T tensor.Elem](x, y *tensor.Tensor, at []int64, n int) {
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	for row := 0; row < len(dst); row += len(at) {
		for i, k := range at {
			dst[row+i] = src[int(k)]
		}
		src = src[n:]
	}
}
