package op

import (
	"fmt"
	"strconv"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// tfIdf counts the n-grams of a pool in X[C] or X[N C], whose elements are
// integers or strings: Y[N outputs]. An n-gram may leave out up to skip
// elements between its own.
type tfIdf struct {
	least, most, skip int
	mode              string
	at                map[string]int // which output counts an n-gram, by its key
	weight            map[string]float32
	width             int
	strings           bool
}

func parseTfIdf(a *attrs) Op {
	for _, name := range []string{"min_gram_length", "max_gram_length", "max_skip_count", "mode", "ngram_counts", "ngram_indexes"} {
		a.require(name)
	}
	o := &tfIdf{least: int(a.int("min_gram_length", 1)), most: int(a.int("max_gram_length", 1)), skip: int(a.int("max_skip_count", 0)),
		mode: a.string("mode", ""), at: map[string]int{}, weight: map[string]float32{}}
	switch o.mode {
	case "TF", "IDF", "TFIDF":
	default:
		a.fail(fmt.Errorf("attribute mode is %q", o.mode))
	}
	if o.least < 1 || o.most < o.least || o.skip < 0 {
		a.fail(fmt.Errorf("n-grams of %d to %d elements that skip %d", o.least, o.most, o.skip))
	}
	pool := a.strings("pool_strings")
	o.strings = pool != nil
	if ints := a.ints("pool_int64s"); !o.strings {
		for _, n := range ints {
			pool = append(pool, strconv.Itoa(n))
		}
	} else if ints != nil {
		a.fail(fmt.Errorf("both pool_strings and pool_int64s are there"))
	}
	if err := o.fill(pool, a.ints("ngram_counts"), a.ints("ngram_indexes"), a.floats("weights")); err != nil {
		a.fail(err)
	}
	return o
}

// fill splits the pool: counts[k] is where the n-grams of k+1 elements begin.
func (o *tfIdf) fill(pool []string, counts, indexes []int, weights []float32) error {
	total := 0
	for k, from := range counts {
		to := len(pool)
		if k+1 < len(counts) {
			to = counts[k+1]
		}
		if from < 0 || from > to || to > len(pool) || (to-from)%(k+1) != 0 {
			return fmt.Errorf("ngram_counts %v do not split a pool of %d", counts, len(pool))
		}
		for p := from; p < to; p += k + 1 {
			if total >= len(indexes) || indexes[total] < 0 || indexes[total] > maxWindow || weights != nil && total >= len(weights) {
				return fmt.Errorf("ngram_indexes %v and %d weights for a pool of %d", indexes, len(weights), len(pool))
			}
			o.width = max(o.width, indexes[total]+1)
			key := gramKey(pool[p : p+k+1])
			o.at[key], o.weight[key] = indexes[total], 1
			if weights != nil {
				o.weight[key] = weights[total]
			}
			total++
		}
	}
	return nil
}

// gramKey tells n-grams apart whatever their strings hold.
func gramKey(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Itoa(len(p)))
		b.WriteByte(':')
		b.WriteString(p)
	}
	return b.String()
}

func (o *tfIdf) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	x := in[0]
	if d := x.DType; d != tensor.Undefined && (d == tensor.String) != o.strings {
		return nil, fmt.Errorf("the pool is not of %v", d)
	}
	switch {
	case !x.Ranked:
		return unrankedFact(tensor.Float32), nil
	case len(x.Shape) == 1:
		return tensorFact(tensor.Float32, graph.Size(o.width)), nil
	case len(x.Shape) == 2:
		return tensorFact(tensor.Float32, x.Shape[0], graph.Size(o.width)), nil
	}
	return nil, fmt.Errorf("input is %v, wanted [C] or [N C]", x.Type)
}

func (o *tfIdf) Forward(_ *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	var words []string
	if x.DType() == tensor.String {
		words = tensor.Data[string](x)
	} else {
		v, ok := intsIn(x)
		if !ok {
			return unsupportedType("TfIdfVectorizer", x.DType())
		}
		for _, n := range v {
			words = append(words, strconv.Itoa(n))
		}
	}
	y := tensor.Data[float32](out[0].Tensor)
	clear(y)
	n := x.Shape()[x.Rank()-1]
	for row := 0; row*o.width < len(y); row++ {
		o.count(words[row*n:(row+1)*n], y[row*o.width:(row+1)*o.width])
	}
	return nil
}

// count adds up one row.
func (o *tfIdf) count(words []string, y []float32) {
	gram := make([]string, o.most)
	for step := 1; step <= o.skip+1; step++ {
		for size := o.least; size <= o.most; size++ {
			if size == 1 && step > 1 {
				continue // a single element skips nothing
			}
			for from := 0; from+(size-1)*step < len(words); from++ {
				for k := range size {
					gram[k] = words[from+k*step]
				}
				key := gramKey(gram[:size])
				at, ok := o.at[key]
				if !ok {
					continue
				}
				switch w := o.weight[key]; o.mode {
				case "TF":
					y[at]++
				case "IDF":
					y[at] = w
				case "TFIDF":
					y[at] += w
				}
			}
		}
	}
}
