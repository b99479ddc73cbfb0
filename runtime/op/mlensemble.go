package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// treeRegressor is TreeEnsembleRegressor, and TreeEnsemble, whose output is of the
// input's type: Y[N targets].
type treeRegressor struct {
	trees
	like bool
}

func parseTreeRegressor(a *attrs) Op {
	o := &treeRegressor{trees: trees{name: "TreeEnsembleRegressor", transform: a.transform(), how: aggregateSum}}
	if a.has("aggregate_function") {
		o.how = aggregate(a.oneOf("aggregate_function", aggregateNames...))
	}
	o.targets(a)
	o.read3(a, "target")
	if o.base = o.doubles(a, "base_values"); len(o.base) != 0 && len(o.base) != o.spec.targets {
		a.fail(fmt.Errorf("found %d base_values for %d targets", len(o.base), o.spec.targets))
	}
	o.finish(a)
	return o
}

func parseTreeEnsemble(a *attrs) Op {
	o := &treeRegressor{trees: trees{name: "TreeEnsemble"}, like: true}
	how, t := a.int("aggregate_function", int64(aggregateSum)), a.int("post_transform", 0)
	if how < 0 || how >= int64(len(aggregateNames)) || t < 0 || t >= int64(len(transformNames)) {
		a.fail(fmt.Errorf("attributes aggregate_function and post_transform are %d and %d", how, t))
		how, t = 0, 0
	}
	o.how, o.transform = aggregate(how), transform(t)
	o.targets(a)
	o.read5(a)
	o.finish(a)
	return o
}

// targets reads n_targets, which is bounded since every row of the output is as
// wide.
func (o *treeRegressor) targets(a *attrs) {
	n := a.int("n_targets", 1)
	if n < 1 || n > maxWindow {
		a.fail(fmt.Errorf("attribute n_targets is %d", n))
		n = 1
	}
	o.spec.targets = int(n)
}

func (o *treeRegressor) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if !o.like {
		n, err := o.infer(in)
		return tensorFact(tensor.Float32, n, graph.Size(o.spec.targets)), err
	}
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	d := in[0].DType
	if d != tensor.Undefined && !d.IsFloat() || d == tensor.BFloat16 {
		return nil, unsupportedML(o.name, "for %v", d)
	}
	numbers := in[0]
	if d == tensor.Float16 {
		numbers.DType = tensor.Float32
	}
	n, err := o.infer([]graph.Fact{numbers})
	return tensorFact(d, n, graph.Size(o.spec.targets)), err
}

func (o *treeRegressor) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	if x.DType() == tensor.Float16 {
		return viaFloat32(ctx, o, in, out)
	}
	n, features := matrixOf(x)
	switch {
	case !o.isWide(x):
		regress(ctx, o, o.narrow, floats32(x), n, features, tensor.Data[float32](y))
	case y.DType() == tensor.Float64:
		regress(ctx, o, o.wide(), floats64(x), n, features, tensor.Data[float64](y))
	default:
		regress(ctx, o, o.wide(), floats64(x), n, features, tensor.Data[float32](y))
	}
	return nil
}

// regress writes scores, base values and transforms applied.
func regress[T, U float](ctx *Ctx, o *treeRegressor, f *forest[T], x []T, n, features int, y []U) {
	f.run(ctx, x, n, features, o.how, func(row int, t *tally[T]) {
		to := y[row*f.targets : (row+1)*f.targets]
		for i, v := range t.score {
			if o.how == aggregateAverage {
				v /= T(max(1, len(f.roots)))
			}
			if len(o.base) > 0 && (t.has[i] || f.targets == 1) { // without votes 0, as in ONNX Runtime
				v += T(o.base[i])
			}
			to[i] = U(v)
		}
		transformInto(o.transform, to)
	})
}

// transformInto applies a transform, in float32 as ONNX Runtime does.
func transformInto[T float](t transform, row []T) {
	if t == transformNone {
		return
	}
	narrow := converted[float32](row)
	t.apply(narrow)
	for i, v := range narrow {
		row[i] = T(v)
	}
}

// treeClassifier is TreeEnsembleClassifier: labels [N] and scores [N classes].
type treeClassifier struct {
	trees
	labels   classLabels
	oneClass bool // all votes name the same of two classes
	positive bool // no vote is negative
}

func parseTreeClassifier(a *attrs) Op {
	o := &treeClassifier{trees: trees{name: "TreeEnsembleClassifier", transform: a.transform(), how: aggregateSum},
		labels: a.labels("classlabels_int64s", "classlabels_strings"), positive: true}
	classes := o.labels.len()
	o.spec.targets = classes
	o.read3(a, "class")
	o.base = o.doubles(a, "base_values")
	if n := len(o.base); n != 0 && n != classes && (classes != 2 || n != 1) {
		a.fail(fmt.Errorf("found %d base_values for %d classes", n, classes))
	}
	named := map[int]bool{}
	for _, leaf := range o.spec.leaves {
		for _, v := range leaf {
			named[v.target] = true
			o.positive = o.positive && v.weight >= 0
		}
	}
	o.oneClass = classes == 2 && len(named) == 1
	o.finish(a)
	return o
}

func (o *treeClassifier) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	n, err := o.infer(in)
	if err != nil {
		return nil, err
	}
	return classFacts(&o.labels, n, o.labels.len(), nOut)
}

func (o *treeClassifier) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	n, features := matrixOf(x)
	if o.isWide(x) {
		classifyRows(ctx, o, o.wide(), floats64(x), n, features, out)
	} else {
		classifyRows(ctx, o, o.narrow, floats32(x), n, features, out)
	}
	return nil
}

func classifyRows[T float](ctx *Ctx, o *treeClassifier, f *forest[T], x []T, n, features int, out []tensor.Value) {
	classes := f.targets
	y, to := scoresOf(out, n*classes), o.labels.writer(out)
	f.run(ctx, x, n, features, o.how, func(row int, t *tally[T]) {
		s := y[row*classes : (row+1)*classes]
		if classes == 2 {
			to.set(row, two(o, t, s))
			return
		}
		to.set(row, many(o, t))
		for i, v := range t.score {
			s[i] = float32(v)
		}
		o.transform.apply(s)
	})
}

// many adds the base values and is the class of the largest score, out of those
// that got votes or have a base value.
func many[T float](o *treeClassifier, t *tally[T]) int {
	best := -1
	for i := range t.score {
		if len(o.base) > 0 {
			t.score[i] += T(o.base[i])
			t.has[i] = true
		}
		if t.has[i] && (best < 0 || t.score[i] > t.score[best]) {
			best = i
		}
	}
	return max(best, 0)
}

// two writes the scores s of two classes and is the class, as ONNX Runtime has it.
//
// Where all votes name one class, as exporters write them, their sum is the score
// of the second class whichever they name: a probability, if no vote is negative,
// the rest of which is the first's, or else a number whose opposite is. Where both
// classes have votes each has its own score, but it is the second's alone that
// decides, by its sign. Two base values count as the second's with votes for it.
func two[T float](o *treeClassifier, t *tally[T], s []float32) int {
	a, b := &t.score[0], &t.score[1]
	single := false
	switch len(o.base) {
	case 2:
		if t.has[1] {
			*b = T(o.base[1]) + *a
			*a = -*b
		} else {
			*b += T(o.base[1])
			*a += T(o.base[0])
		}
	case 1:
		*a += T(o.base[0])
		single = !t.has[1]
	default:
		single = !t.has[1]
	}
	if !t.has[0] {
		*a = 0
	}
	decides := *b
	if !t.has[1] {
		*b, decides = 0, *a
	}
	k := class(decides > 0)
	if o.oneClass && o.positive {
		k = class(decides > 0.5)
	}
	x := float32(*a)
	switch {
	case !single:
		s[0], s[1] = x, float32(*b)
		o.transform.apply(s)
	case o.transform == transformProbit:
		s[0], s[1] = probit(x), 0
	case !o.oneClass && len(o.base) == 1:
		s[0], s[1] = x, 0
	case o.transform == transformLogistic:
		s[0], s[1] = logistic(-x), logistic(x)
	case o.oneClass && o.positive:
		s[0], s[1] = 1-x, x
	default:
		s[0], s[1] = -x, x
	}
	return k
}
