package op

import (
	"fmt"
	"slices"
	"strconv"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// mapType is the type of maps from keys to values of the given types.
func mapType(key, value tensor.DType) graph.Type {
	elem := graph.Type{Kind: tensor.KindTensor, DType: value}
	return graph.Type{Kind: tensor.KindMap, Key: key, Elem: &elem}
}

// zipMap makes a sequence of maps of X[N C] or X[C], one a row, whose keys are
// labels.
type zipMap struct {
	noForward
	labels classLabels
	keys   *tensor.Tensor // in ascending order
	from   []int          // the column of each key
}

func parseZipMap(a *attrs) Op {
	o := &zipMap{labels: a.labels("classlabels_int64s", "classlabels_strings")}
	if len(o.labels.words) > 0 {
		o.keys, o.from = ascending(o.labels.words)
	} else {
		o.keys, o.from = ascending(o.labels.ints)
	}
	return o
}

// ascending is the keys of a map in order, and where in v each is; of a key that
// is there twice the last place.
func ascending[T int64 | string](v []T) (*tensor.Tensor, []int) {
	at := make(map[T]int, len(v))
	for i, k := range v {
		at[k] = i
	}
	keys := make([]T, 0, len(at))
	for k := range at {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	from := make([]int, len(keys))
	for i, k := range keys {
		from[i] = at[k]
	}
	return tensor.Of(keys, len(keys)), from
}

func (o *zipMap) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	x := in[0]
	if x.DType != tensor.Undefined && x.DType != tensor.Float32 {
		return nil, fmt.Errorf("input is %v, wanted float32", x.Type)
	}
	if x.Ranked {
		if len(x.Shape) < 1 || len(x.Shape) > 2 || differ(x.Shape[len(x.Shape)-1], graph.Size(o.labels.len())) {
			return nil, fmt.Errorf("input is %v, wanted [N %d] for %d labels", x.Type, o.labels.len(), o.labels.len())
		}
	}
	return []graph.Fact{sequenceFact(mapType(o.labels.dtype(), tensor.Float32))}, nil
}

// Run makes maps that share one tensor of keys, and one of values.
func (o *zipMap) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	x := tensor.Data[float32](in[0].Tensor)
	n, columns := matrixOf(in[0].Tensor)
	values := make([]float32, n*len(o.from))
	maps := make([]tensor.Value, n)
	for row := range maps {
		to := values[row*len(o.from) : (row+1)*len(o.from)]
		for i, k := range o.from {
			to[i] = x[row*columns+k]
		}
		maps[row] = tensor.Value{Kind: tensor.KindMap, Keys: o.keys, Tensor: tensor.Of(to, len(to))}
	}
	return sequenceOf(maps), nil
}

// wantMap fails where a fact is surely no map of such keys.
func wantMap(in []graph.Fact, keys tensor.DType) error {
	if err := arity(in, 1, 1); err != nil {
		return err
	}
	if err := wantKind(in[0], 0, tensor.KindMap); err != nil {
		return err
	}
	if k := in[0].Key; k != tensor.Undefined && k != keys {
		return fmt.Errorf("input is %v, wanted keys of %v", in[0].Type, keys)
	}
	return nil
}

// mapIn is a map's keys and values.
func mapIn(v tensor.Value, keys tensor.DType) (k, values *tensor.Tensor, err error) {
	if v.Keys == nil || v.Tensor == nil || v.Keys.Len() != v.Tensor.Len() || v.Keys.DType() != keys {
		return nil, nil, fmt.Errorf("the map is of keys %v and values %v, wanted keys of %v", v.Keys, v.Tensor, keys)
	}
	return v.Keys, v.Tensor, nil
}

// castMap makes Y[1 n] of a map's values in the order of its int64 keys: all of
// them, or sparse, each at the place that its key says.
type castMap struct {
	noForward
	to     tensor.DType
	sparse bool
	length int
}

func parseCastMap(a *attrs) Op {
	o := &castMap{to: []tensor.DType{tensor.Float32, tensor.String, tensor.Int64}[a.oneOf("cast_to", "TO_FLOAT", "TO_STRING", "TO_INT64")],
		sparse: a.oneOf("map_form", "DENSE", "SPARSE") == 1}
	n := a.int("max_map", 1)
	if n < 0 || n > maxWindow {
		a.fail(fmt.Errorf("attribute max_map is %d", n))
	}
	o.length = int(n)
	return o
}

func (o *castMap) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := wantMap(in, tensor.Int64); err != nil {
		return nil, err
	}
	if o.sparse {
		return tensorFact(o.to, graph.Size(1), graph.Size(o.length)), nil
	}
	return tensorFact(o.to, graph.Size(1), graph.Unknown), nil
}

func (o *castMap) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	keys, values, err := mapIn(in[0], tensor.Int64)
	if err != nil {
		return nil, err
	}
	n := keys.Len()
	if o.sparse {
		n = o.length
	}
	y := tensor.New(o.to, 1, n)
	if o.sparse && o.to == tensor.String {
		for i, s := 0, tensor.Data[string](y); i < n; i++ {
			s[i] = "0.f" // as ONNX Runtime fills up
		}
	}
	for i, k := range tensor.Data[int64](keys) {
		at := i
		if o.sparse {
			if k < 0 || k >= int64(n) {
				return nil, fmt.Errorf("key %d is outside the %d of max_map", k, n)
			}
			at = int(k)
		}
		if err := o.cast(y, at, values, i); err != nil {
			return nil, fmt.Errorf("key %d: %w", k, err)
		}
	}
	return []tensor.Value{tensor.ValueOf(y)}, nil
}

// cast sets y[at] to values[i].
func (o *castMap) cast(y *tensor.Tensor, at int, values *tensor.Tensor, i int) (err error) {
	switch values.DType() {
	case tensor.String:
		s := tensor.Data[string](values)[i]
		switch o.to {
		case tensor.String:
			tensor.Data[string](y)[at] = s
		case tensor.Float32:
			var v float64
			v, err = strconv.ParseFloat(s, 32)
			tensor.Data[float32](y)[at] = float32(v)
		default:
			tensor.Data[int64](y)[at], err = strconv.ParseInt(s, 10, 64)
		}
	case tensor.Float32:
		v := tensor.Data[float32](values)[i]
		switch o.to {
		case tensor.String:
			tensor.Data[string](y)[at] = strconv.FormatFloat(float64(v), 'f', 6, 32)
		case tensor.Float32:
			tensor.Data[float32](y)[at] = v
		default:
			tensor.Data[int64](y)[at] = int64(v)
		}
	default:
		err = unsupportedML("CastMap", "for values of %v", values.DType())
	}
	return err
}

// dictVectorizer makes Y[1 n] of a map's values by a vocabulary of n keys: 0, or
// an empty string, where the map does not have the key.
type dictVectorizer struct {
	noForward
	vocabulary classLabels
}

func parseDictVectorizer(a *attrs) Op {
	return &dictVectorizer{vocabulary: a.labels("int64_vocabulary", "string_vocabulary")}
}

func (o *dictVectorizer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := wantMap(in, o.vocabulary.dtype()); err != nil {
		return nil, err
	}
	return tensorFact(elemType(in[0]).DType, graph.Size(1), graph.Size(o.vocabulary.len())), nil
}

func (o *dictVectorizer) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	keys, values, err := mapIn(in[0], o.vocabulary.dtype())
	if err != nil {
		return nil, err
	}
	y := tensor.New(values.DType(), 1, o.vocabulary.len())
	var found func(i int) (int, bool) // the place of a word of the vocabulary among the keys
	if len(o.vocabulary.words) > 0 {
		found = finder(tensor.Data[string](keys), o.vocabulary.words)
	} else {
		found = finder(tensor.Data[int64](keys), o.vocabulary.ints)
	}
	for i := range o.vocabulary.len() {
		k, ok := found(i)
		if !ok {
			continue
		}
		switch values.DType() {
		case tensor.String:
			tensor.Data[string](y)[i] = tensor.Data[string](values)[k]
		case tensor.Float32:
			tensor.Data[float32](y)[i] = tensor.Data[float32](values)[k]
		case tensor.Float64, tensor.Int64:
			tensor.Data[int64](y)[i] = tensor.Data[int64](values)[k]
		default:
			return nil, unsupportedML("DictVectorizer", "for values of %v", values.DType())
		}
	}
	return []tensor.Value{tensor.ValueOf(y)}, nil
}

func finder[T int64 | string](keys, words []T) func(i int) (int, bool) {
	at := make(map[T]int, len(keys))
	for i, k := range keys {
		at[k] = i
	}
	return func(i int) (int, bool) { k, ok := at[words[i]]; return k, ok }
}

// Numbers is the value whose numbers v gives out: the matrix that a ZipMap makes
// maps of, v itself otherwise. Who measures or trains a model looks at it.
func Numbers(v *graph.Value) *graph.Value {
	if n := v.Producer(); n != nil && n.Domain == mlDomain && n.OpType == "ZipMap" && n.Input(0) != nil {
		return n.Input(0)
	}
	return v
}
