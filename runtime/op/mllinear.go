package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// linear is Y[N E] = X[N F]·Wᵀ + b in float32, W[E F].
type linear struct {
	name   string
	w, b   []float32
	scores int // E
}

// infer checks the input and gives the batch.
func (o *linear) infer(in []graph.Fact) (graph.Dim, error) {
	if err := arity(in, 1, 1); err != nil {
		return graph.Unknown, err
	}
	n, features, err := rowsOf(o.name, in[0])
	if err == nil && differ(features, graph.Size(len(o.w)/o.scores)) {
		err = fmt.Errorf("input is %v, wanted %d features: %d coefficients for %d scores", in[0].Type, len(o.w)/o.scores, len(o.w), o.scores)
	}
	return n, err
}

// run computes all scores into y.
func (o *linear) run(ctx *Ctx, x *tensor.Tensor, y []float32) {
	n, features := matrixOf(x)
	kernel.Gemm32(ctx.Pool, n, o.scores, features, floats32(x), features, 1, o.w, 1, features, y, o.scores, false)
	if o.b == nil {
		return
	}
	for row := range n {
		for i, b := range o.b {
			y[row*o.scores+i] += b
		}
	}
}

// linearRegressor is LinearRegressor.
type linearRegressor struct {
	linear
	transform transform
}

func parseLinearRegressor(a *attrs) Op {
	o := &linearRegressor{linear{"LinearRegressor", a.floats("coefficients"), a.floats("intercepts"), 1}, a.transform()}
	if n := a.int("targets", 1); n >= 1 && n <= int64(len(o.w)) && int64(len(o.w))%n == 0 {
		o.scores = int(n)
	} else {
		a.fail(fmt.Errorf("found %d coefficients for %d targets", len(o.w), n))
	}
	if len(o.b) == 0 {
		o.b = nil
	} else if len(o.b) != o.scores {
		a.fail(fmt.Errorf("found %d intercepts for %d targets", len(o.b), o.scores))
	}
	return o
}

func (o *linearRegressor) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	n, err := o.infer(in)
	return tensorFact(tensor.Float32, n, graph.Size(o.scores)), err
}

func (o *linearRegressor) Forward(ctx *Ctx, in, out []tensor.Value) error {
	y := tensor.Data[float32](out[0].Tensor)
	o.run(ctx, in[0].Tensor, y)
	for i := 0; i < len(y); i += o.scores {
		o.transform.apply(y[i : i+o.scores])
	}
	return nil
}

// linearClassifier is LinearClassifier: a score for each class, or one for two,
// which is positive for the second.
type linearClassifier struct {
	linear
	transform transform
	labels    classLabels
}

func parseLinearClassifier(a *attrs) Op {
	a.require("coefficients")
	o := &linearClassifier{linear{"LinearClassifier", a.floats("coefficients"), a.floats("intercepts"), 1}, a.transform(),
		a.labels("classlabels_ints", "classlabels_strings")}
	a.int("multi_class", 0) // how it was trained
	if o.scores = len(o.b); o.scores == 0 {
		o.b, o.scores = nil, max(1, o.labels.len())
	}
	switch {
	case len(o.w) == 0 || len(o.w)%o.scores != 0:
		a.fail(fmt.Errorf("found %d coefficients for %d scores", len(o.w), o.scores))
		o.scores = 1
	case o.scores != o.labels.len() && !o.two():
		a.fail(fmt.Errorf("found %d labels for %d scores", o.labels.len(), o.scores))
	case o.two() && o.transform == transformProbit:
		a.fail(unsupportedML("LinearClassifier", "with PROBIT of one score for two classes"))
	}
	return o
}

// two reports whether one score becomes two.
func (o *linearClassifier) two() bool { return o.scores == 1 && o.labels.len() == 2 }

func (o *linearClassifier) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	n, err := o.infer(in)
	if err != nil {
		return nil, err
	}
	scores := o.scores
	if o.two() {
		scores = 2
	}
	return classFacts(&o.labels, n, scores, nOut)
}

func (o *linearClassifier) Forward(ctx *Ctx, in, out []tensor.Value) error {
	n, _ := matrixOf(in[0].Tensor)
	to := o.labels.writer(out)
	if o.two() {
		s := make([]float32, n)
		o.run(ctx, in[0].Tensor, s)
		y := scoresOf(out, 2*n)
		for row, x := range s {
			to.set(row, class(x > 0))
			if y[2*row], y[2*row+1] = 1-x, x; o.transform == transformLogistic {
				y[2*row], y[2*row+1] = logistic(-x), logistic(x)
			}
		}
		return nil
	}
	y := scoresOf(out, n*o.scores)
	o.run(ctx, in[0].Tensor, y)
	for row := range n {
		s := y[row*o.scores : (row+1)*o.scores]
		to.set(row, largest(s))
		o.transform.apply(s)
	}
	return nil
}

// class is the second class where positive, else the first.
func class(positive bool) int {
	if positive {
		return 1
	}
	return 0
}

// largest is the first place of the largest element.
func largest(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}
