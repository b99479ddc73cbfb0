package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// nllLoss is NegativeLogLikelihoodLoss of X[N C …] for labels [N …], a class
// each, with a weight for every class or none: −w·x at the label's element.
// SoftmaxCrossEntropyLoss is that of the logarithm of X's softmax, which it
// can give out too.
type nllLoss struct {
	name      string
	softmax   bool
	reduction string
	ignore    int // labels that do not count
	ignores   bool
}

func parseNLLLoss(name string, softmax bool) parser {
	return func(a *attrs) Op {
		o := &nllLoss{name: name, softmax: softmax, reduction: a.string("reduction", "mean"), ignores: a.has("ignore_index"), ignore: int(a.int("ignore_index", 0))}
		switch o.reduction {
		case "none", "sum", "mean":
		default:
			a.fail(fmt.Errorf("attribute reduction is %q", o.reduction))
		}
		return o
	}
}

func (o *nllLoss) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	if nOut > 2 || nOut == 2 && !o.softmax {
		return nil, fmt.Errorf("found %d outputs", nOut)
	}
	x, labels := in[0], in[1]
	if d := labels.DType; d != tensor.Undefined && d != tensor.Int32 && d != tensor.Int64 {
		return nil, fmt.Errorf("labels are %v, wanted int32 or int64", d)
	}
	if x.Ranked && len(x.Shape) < 2 {
		return nil, fmt.Errorf("%v has no axis of classes", x.Type)
	}
	if x.Ranked && labels.Ranked {
		same := len(labels.Shape) == len(x.Shape)-1
		for i := 0; i < len(labels.Shape) && same; i++ {
			k := i
			if i > 0 {
				k = i + 1
			}
			same = !differ(labels.Shape[i], x.Shape[k])
		}
		if !same {
			return nil, fmt.Errorf("labels %v do not fit %v", labels.Type, x.Type)
		}
	}
	if given(in, 2) {
		if in[2].DType != x.DType && in[2].DType != tensor.Undefined && x.DType != tensor.Undefined {
			return nil, fmt.Errorf("weights are %v, but the input is %v", in[2].DType, x.DType)
		}
		if in[2].Ranked && (len(in[2].Shape) != 1 || x.Ranked && differ(in[2].Shape[0], x.Shape[1])) {
			return nil, fmt.Errorf("weights %v for %v", in[2].Type, x.Type)
		}
	}
	var out []graph.Fact
	switch {
	case o.reduction != "none":
		out = tensorFact(x.DType)
	case labels.Ranked:
		out = tensorFact(x.DType, labels.Shape...)
	default:
		out = unrankedFact(x.DType)
	}
	if nOut == 2 {
		out = append(out, graph.Fact{Type: x.Type})
	}
	return out, nil
}

// A lossTerms is what the inputs of a loss come to: for each label that counts
// its place among the labels, that of its class's element in X, its class and
// its weight.
type lossTerms struct {
	logp                  []float64
	n, c, inner           int
	at, elem, class       []int
	weight                []float64
	loss, total, weighted float64 // Σ −w·x, Σ w, the sum that was divided by
}

func (o *nllLoss) terms(ctx *Ctx, in []tensor.Value) (*lossTerms, error) {
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return nil, unsupportedType(o.name, x.DType())
	}
	l := &lossTerms{n: x.Shape()[0], c: x.Shape()[1], inner: product(x.Shape()[2:]), logp: v}
	if o.softmax {
		l.logp = make([]float64, len(v))
		softmaxLines(ctx, softmaxLog, v, l.logp, l.n, l.c, l.inner, math.Exp)
	}
	labels, ok := intsIn(in[1].Tensor)
	if !ok {
		return nil, unsupportedType(o.name, in[1].Tensor.DType())
	}
	var weights []float64
	if present(in, 2) {
		if weights, err = tensor.Float64s(in[2].Tensor); err != nil {
			return nil, unsupportedType(o.name, in[2].Tensor.DType())
		}
	}
	for at, class := range labels {
		if o.ignores && class == o.ignore {
			continue
		}
		if class < 0 || class >= l.c {
			return nil, fmt.Errorf("label %d is %d, wanted 0 to %d", at, class, l.c-1)
		}
		w := 1.0
		if weights != nil {
			w = weights[class]
		}
		elem := (at/l.inner*l.c+class)*l.inner + at%l.inner
		l.at, l.elem, l.class, l.weight = append(l.at, at), append(l.elem, elem), append(l.class, class), append(l.weight, w)
		l.loss -= w * l.logp[elem]
		l.total += w
	}
	l.weighted = 1
	if o.reduction == "mean" {
		l.weighted = l.total
	}
	return l, nil
}

func (o *nllLoss) Forward(ctx *Ctx, in, out []tensor.Value) error {
	l, err := o.terms(ctx, in)
	if err != nil {
		return err
	}
	if present(out, 1) {
		if err := storeFloats(l.logp, out[1].Tensor); err != nil {
			return err
		}
	}
	if o.reduction != "none" {
		return storeFloats([]float64{l.loss / l.weighted}, out[0].Tensor)
	}
	loss := make([]float64, out[0].Tensor.Len())
	for i, at := range l.at {
		loss[at] = -l.weight[i] * l.logp[l.elem[i]]
	}
	return storeFloats(loss, out[0].Tensor)
}

// Backward adds −w·dloss at the labels' elements, divided by Σ w for the mean,
// through the softmax where there is one; by a weight, −x of its labels, less
// the mean itself where it divides.
func (o *nllLoss) Backward(ctx *Ctx, in, _, dout, din []tensor.Value) error {
	l, err := o.terms(ctx, in)
	if err != nil {
		return err
	}
	dlogp := make([]float64, len(l.logp))
	dweight := make([]float64, l.c)
	if present(dout, 0) {
		dloss, err := tensor.Float64s(dout[0].Tensor)
		if err != nil {
			return err
		}
		for i, at := range l.at {
			g := dloss[0]
			if o.reduction == "none" {
				g = dloss[at]
			}
			dlogp[l.elem[i]] -= g * l.weight[i] / l.weighted
			dweight[l.class[i]] -= g * l.logp[l.elem[i]] / l.weighted
			if o.reduction == "mean" {
				dweight[l.class[i]] -= g * l.loss / (l.weighted * l.weighted)
			}
		}
	}
	if present(dout, 1) {
		g, err := tensor.Float64s(dout[1].Tensor)
		if err != nil {
			return err
		}
		addTo(dlogp, g)
	}
	if present(din, 2) {
		if err := addWide(o.name, din[2], dweight); err != nil {
			return err
		}
	}
	if !present(din, 0) {
		return nil
	}
	dx := dlogp
	if o.softmax {
		dx = make([]float64, len(dlogp))
		softmaxBack(ctx, softmaxLog, l.logp, dlogp, dx, l.n, l.c, l.inner)
	}
	return addWide(o.name, din[0], dx)
}
