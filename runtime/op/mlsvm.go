package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// svmKernel is K(x, v) of a support vector machine: x·v, (γ·x·v + c)^d,
// exp(−γ·‖x−v‖²) or tanh(γ·x·v + c).
type svmKernel struct {
	kind                int
	gamma, coef, degree float32
}

const (
	svmLinear = iota
	svmPoly
	svmRBF
	svmSigmoid
)

func (a *attrs) svmKernel() svmKernel {
	k := svmKernel{kind: a.oneOf("kernel_type", "LINEAR", "POLY", "RBF", "SIGMOID")}
	p := a.floats("kernel_params")
	switch {
	case len(p) >= 3:
		k.gamma, k.coef, k.degree = p[0], p[1], p[2]
	case len(p) > 0:
		a.fail(fmt.Errorf("found %d kernel_params, wanted gamma, coef0 and degree", len(p)))
	}
	return k
}

// values is K of each row of x[n f] with each row of v[m f]: y[n m].
func (k svmKernel) values(ctx *Ctx, y, x, v []float32, n, m, f int) {
	if k.kind == svmRBF {
		ctx.Pool.For(n, max(1, elementGrain/max(1, m*f)), func(lo, hi int) {
			for row := lo; row < hi; row++ {
				for j := range m {
					sum := float32(0)
					a, b := x[row*f:(row+1)*f], v[j*f:(j+1)*f]
					for i, p := range a {
						d := p - b[i]
						sum += d * d
					}
					y[row*m+j] = float32(math.Exp(float64(-k.gamma * sum)))
				}
			}
		})
		return
	}
	kernel.Gemm32(ctx.Pool, n, m, f, x, f, 1, v, 1, f, y, m, false)
	switch k.kind {
	case svmPoly:
		for i, s := range y {
			s = k.gamma*s + k.coef
			switch k.degree {
			case 2:
				y[i] = s * s
			case 3:
				y[i] = s * s * s
			default:
				y[i] = float32(math.Pow(float64(s), float64(k.degree)))
			}
		}
	case svmSigmoid:
		for i, s := range y {
			y[i] = float32(math.Tanh(float64(k.gamma*s + k.coef)))
		}
	}
}

// svmRegressor is SVMRegressor: y = Σ coefficient·K(x, support vector) + ρ, or
// without support vectors a linear function; of one class, whether it is positive.
type svmRegressor struct {
	kernel   svmKernel
	vectors  []float32 // [m F]
	coef     []float32 // [m], or without vectors [F]
	rho      float32
	m, f     int
	oneClass bool
}

func parseSVMRegressor(a *attrs) Op {
	o := &svmRegressor{kernel: a.svmKernel(), vectors: a.floats("support_vectors"), coef: a.floats("coefficients"), oneClass: a.bool("one_class", false)}
	a.transform() // ONNX Runtime applies none
	rho := a.floats("rho")
	m := a.int("n_supports", 0)
	switch {
	case len(rho) == 0:
		a.fail(fmt.Errorf("attribute rho is empty"))
		return o
	case len(o.coef) == 0:
		a.fail(fmt.Errorf("attribute coefficients is empty"))
		return o
	case m < 0 || m > int64(len(o.coef)) || m > 0 && (len(o.vectors) == 0 || int64(len(o.vectors))%m != 0):
		a.fail(fmt.Errorf("found %d support_vectors and %d coefficients for n_supports %d", len(o.vectors), len(o.coef), m))
		return o
	}
	o.rho, o.m, o.f = rho[0], int(m), len(o.coef)
	if m > 0 {
		o.f = len(o.vectors) / o.m
	}
	return o
}

// inferSVM checks the input and gives the batch.
func inferSVM(name string, in []graph.Fact, f int) (graph.Dim, error) {
	if err := arity(in, 1, 1); err != nil {
		return graph.Unknown, err
	}
	n, features, err := rowsOf(name, in[0])
	if err == nil && differ(features, graph.Size(f)) {
		err = fmt.Errorf("input is %v, wanted %d features", in[0].Type, f)
	}
	return n, err
}

func (o *svmRegressor) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	n, err := inferSVM("SVMRegressor", in, o.f)
	return tensorFact(tensor.Float32, n, graph.Size(1)), err
}

func (o *svmRegressor) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := floats32(in[0].Tensor), tensor.Data[float32](out[0].Tensor)
	n := len(y)
	if o.m == 0 {
		svmKernel{}.values(ctx, y, x, o.coef, n, 1, o.f)
	} else {
		k := make([]float32, n*o.m)
		o.kernel.values(ctx, k, x, o.vectors, n, o.m, o.f)
		kernel.Gemm32(ctx.Pool, n, 1, o.m, k, o.m, 1, o.coef, 1, 1, y, 1, false)
	}
	for i := range y {
		y[i] += o.rho
		if o.oneClass {
			y[i] = float32(2*class(y[i] > 0) - 1)
		}
	}
	return nil
}

// svmClassifier is SVMClassifier. With support vectors every two classes have a
// score, each positive one is a vote for the first of the two, and the most votes
// decide; prob_a and prob_b make probabilities of the classes out of the scores.
// Without, each class has a linear score.
type svmClassifier struct {
	kernel       svmKernel
	vectors      []float32 // [m F], by class
	coef         []float32 // [classes−1 m], or without vectors [classes F]
	rho          []float32
	probA, probB []float32
	first        []int // of each class's vectors; its end, the number of all
	f            int
	labels       classLabels
	transform    transform
	positive     bool // no coefficient is negative
}

func parseSVMClassifier(a *attrs) Op {
	o := &svmClassifier{kernel: a.svmKernel(), vectors: a.floats("support_vectors"), coef: a.floats("coefficients"), rho: a.floats("rho"),
		probA: a.floats("prob_a"), probB: a.floats("prob_b"), first: []int{0}, transform: a.transform(),
		labels: a.labels("classlabels_ints", "classlabels_strings"), positive: true}
	for _, c := range o.coef {
		o.positive = o.positive && c >= 0
	}
	m := 0
	per := a.ints("vectors_per_class")
	for _, n := range per {
		if n < 0 || n > len(o.vectors)-m {
			a.fail(fmt.Errorf("vectors_per_class %v do not fit %d support_vectors", per, len(o.vectors)))
			return o
		}
		m += n
		o.first = append(o.first, m)
	}
	classes := o.labels.len()
	pairs := classes * (classes - 1) / 2
	switch {
	case classes == 0: // which is reported
	case m == 0 && (len(o.coef) == 0 || len(o.coef)%classes != 0 || len(o.rho) == 0):
		a.fail(fmt.Errorf("found %d coefficients and %d of rho for %d classes", len(o.coef), len(o.rho), classes))
	case m == 0:
		o.first = nil
		o.f = len(o.coef) / classes
	case classes < 2 || classes != len(per) || len(o.vectors)%m != 0:
		a.fail(fmt.Errorf("found %d support_vectors, vectors_per_class %v and %d labels", len(o.vectors), per, classes))
	case len(o.coef) < (classes-1)*m || len(o.rho) < pairs:
		a.fail(fmt.Errorf("found %d coefficients and %d of rho, wanted %d and %d", len(o.coef), len(o.rho), (classes-1)*m, pairs))
	case len(o.probA) != len(o.probB) || len(o.probA) > 0 && len(o.probA) < pairs:
		a.fail(fmt.Errorf("found %d of prob_a and %d of prob_b, wanted none or %d", len(o.probA), len(o.probB), pairs))
	case classes == 2 && len(o.probA) == 0 && o.transform == transformProbit:
		a.fail(unsupportedML("SVMClassifier", "with PROBIT of one score for two classes"))
	default:
		o.f = len(o.vectors) / m
	}
	return o
}

// scores is how many a row has.
func (o *svmClassifier) scores() int {
	n := o.labels.len()
	if o.first == nil || len(o.probA) > 0 || n == 2 {
		return n
	}
	return n * (n - 1) / 2
}

func (o *svmClassifier) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	n, err := inferSVM("SVMClassifier", in, o.f)
	if err != nil {
		return nil, err
	}
	return classFacts(&o.labels, n, o.scores(), nOut)
}

func (o *svmClassifier) Forward(ctx *Ctx, in, out []tensor.Value) error {
	n, _ := matrixOf(in[0].Tensor)
	x, y, to := floats32(in[0].Tensor), scoresOf(out, n*o.scores()), o.labels.writer(out)
	classes := o.labels.len()
	if o.first == nil {
		svmKernel{}.values(ctx, y, x, o.coef, n, classes, o.f)
		for row := range n {
			s := y[row*classes : (row+1)*classes]
			for i := range s {
				s[i] += o.rho[0]
			}
			to.set(row, o.linearClass(s))
			o.transform.apply(s)
		}
		return nil
	}
	m := o.first[classes]
	k := make([]float32, n*m)
	o.kernel.values(ctx, k, x, o.vectors, n, m, o.f)
	width := o.scores()
	ctx.Pool.For(n, max(1, elementGrain/max(1, m*classes)), func(lo, hi int) {
		pairs, votes := make([]float32, classes*(classes-1)/2), make([]int, classes)
		for row := lo; row < hi; row++ {
			o.vote(pairs, votes, k[row*m:(row+1)*m])
			s := y[row*width : (row+1)*width]
			winner := 0
			for i, v := range votes {
				if v > votes[winner] {
					winner = i
				}
			}
			to.set(row, winner)
			switch {
			case len(o.probA) > 0:
				o.probabilities(s, pairs)
				o.transform.apply(s)
			case classes > 2:
				copy(s, pairs)
				o.transform.apply(s)
			case o.transform == transformNone:
				s[0], s[1] = -pairs[0], pairs[0]
			case o.transform == transformLogistic:
				s[0], s[1] = logistic(-pairs[0]), logistic(pairs[0])
			default: // as ONNX Runtime has it
				s[0], s[1] = 1-pairs[0], pairs[0]
			}
		}
	})
	return nil
}

// linearClass is the class of scores that are linear: that of the largest; of two
// classes the second where the largest is positive, or at least ½ where all
// coefficients are positive.
func (o *svmClassifier) linearClass(s []float32) int {
	best := largest(s)
	if len(s) == 2 && (o.positive && s[best] >= 0.5 || !o.positive && s[best] > 0) {
		return 1
	}
	return best
}

// vote computes the scores of the pairs of classes, (0,1), (0,2), …, (1,2), … and
// the votes, from the kernel's values with all support vectors.
func (o *svmClassifier) vote(pairs []float32, votes []int, k []float32) {
	clear(votes)
	at, m := 0, len(k)
	for i := range votes {
		for j := i + 1; j < len(votes); j++ {
			sum := float64(o.rho[at])
			for p := o.first[i]; p < o.first[i+1]; p++ {
				sum += float64(o.coef[(j-1)*m+p] * k[p])
			}
			for p := o.first[j]; p < o.first[j+1]; p++ {
				sum += float64(o.coef[i*m+p] * k[p])
			}
			if sum > 0 {
				votes[i]++
			} else {
				votes[j]++
			}
			pairs[at] = float32(sum)
			at++
		}
	}
}

// probabilities makes probabilities of classes from scores of pairs: T.-F. Wu,
// C.-J. Lin, R. C. Weng, "Probability estimates for multi-class classification by
// pairwise coupling" (2004), algorithm 2, as libsvm has it and, in float32,
// ONNX Runtime.
func (o *svmClassifier) probabilities(p, pairs []float32) {
	n := len(p)
	r := make([]float32, n*n) // r[i,j]: the probability of i out of i and j
	at := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			v := 1 - logistic(float32(pairs[at]*o.probA[at])+o.probB[at])
			v = min(max(v, 1e-7), 1-1e-7)
			r[i*n+j], r[j*n+i] = v, 1-v
			at++
		}
	}
	q, qp := make([]float32, n*n), make([]float32, n)
	for i := range n {
		p[i] = 1 / float32(n)
		for j := range n {
			if i != j {
				q[i*n+i] += r[j*n+i] * r[j*n+i]
				q[i*n+j] = -r[j*n+i] * r[i*n+j]
			}
		}
	}
	for range 100 {
		pqp, worst := float32(0), float32(0)
		for i := range n {
			qp[i] = 0
			for j := range n {
				qp[i] += q[i*n+j] * p[j]
			}
			pqp += p[i] * qp[i]
		}
		for i := range n {
			worst = max(worst, qp[i]-pqp, pqp-qp[i])
		}
		if worst < 0.005/float32(n) {
			break
		}
		for i := range n {
			d := (pqp - qp[i]) / q[i*n+i]
			p[i] += d
			pqp = (pqp + d*(d*q[i*n+i]+2*qp[i])) / (1 + d) / (1 + d)
			for j := range n {
				qp[j] = (qp[j] + d*q[i*n+j]) / (1 + d)
				p[j] /= 1 + d
			}
		}
	}
}
