package op

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// draw is RandomNormal, RandomUniform and their Like forms: elements drawn
// from Ctx.Rand, or from the node's own seed where it has one.
type draw struct {
	name            string
	next            func(r *rand.Rand) float64
	dtype           tensor.DType // Undefined in a Like form: the input's
	shape           []int        // nil in a Like form
	seed            *uint64
	like, bernoulli bool
}

// IsRandom marks the operator.
func (o *draw) IsRandom() {}

func parseNormal(a *attrs) Op {
	mean, scale := float64(a.float("mean", 0)), float64(a.float("scale", 1))
	return parseDraw(a, func(r *rand.Rand) float64 { return mean + scale*r.NormFloat64() })
}

func parseUniform(a *attrs) Op {
	low, high := float64(a.float("low", 0)), float64(a.float("high", 1))
	return parseDraw(a, func(r *rand.Rand) float64 { return low + (high-low)*r.Float64() })
}

func parseDraw(a *attrs, next func(r *rand.Rand) float64) *draw {
	o := &draw{name: a.node.OpType, next: next, seed: parseSeed(a)}
	if o.like = strings.HasSuffix(o.name, "Like"); o.like {
		o.dtype = a.dtype("dtype", tensor.Undefined)
		return o
	}
	a.require("shape")
	o.dtype = a.dtype("dtype", tensor.Float32)
	o.shape = append([]int{}, a.ints("shape")...)
	if _, err := tensor.Elements(o.shape); err != nil {
		a.fail(err)
	}
	return o
}

// parseBernoulli: 1 with the probability that the input gives, else 0.
func parseBernoulli(a *attrs) Op {
	return &draw{name: "Bernoulli", dtype: a.dtype("dtype", tensor.Undefined), seed: parseSeed(a), like: true, bernoulli: true,
		next: (*rand.Rand).Float64}
}

func parseSeed(a *attrs) *uint64 {
	if !a.has("seed") {
		return nil
	}
	s := uint64(math.Float32bits(a.float("seed", 0)))
	return &s
}

// source is the random numbers of a run.
func source(ctx *Ctx, seed *uint64) (*rand.Rand, error) {
	if seed != nil {
		return rand.New(rand.NewPCG(*seed, 0)), nil
	}
	if ctx.Rand == nil {
		return nil, errors.New("no source of random numbers")
	}
	return ctx.Rand, nil
}

func (o *draw) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	n := 0
	if o.like {
		n = 1
	}
	if err := arity(in, n, n); err != nil {
		return nil, err
	}
	if !o.like {
		return tensorFact(o.dtype, graph.Sizes(o.shape)...), nil
	}
	t := in[0].Type
	if o.dtype != tensor.Undefined {
		t.DType = o.dtype
	}
	return []graph.Fact{{Type: t}}, nil
}

func (o *draw) Forward(ctx *Ctx, in, out []tensor.Value) error {
	r, err := source(ctx, o.seed)
	if err != nil {
		return err
	}
	v := make([]float64, out[0].Tensor.Len())
	for i := range v {
		v[i] = o.next(r)
	}
	if o.bernoulli {
		p, err := tensor.Float64s(in[0].Tensor)
		if err != nil {
			return unsupportedType(o.name, in[0].Tensor.DType())
		}
		for i := range v {
			if v[i] < p[i] {
				v[i] = 1
			} else {
				v[i] = 0
			}
		}
	}
	return storeFloats(v, out[0].Tensor)
}

// multinomial draws class numbers from rows of unnormalised log-probabilities.
type multinomial struct {
	n     int
	dtype tensor.DType
	seed  *uint64
}

// IsRandom marks the operator.
func (o *multinomial) IsRandom() {}

func parseMultinomial(a *attrs) Op {
	o := &multinomial{int(a.int("sample_size", 1)), a.dtype("dtype", tensor.Int32), parseSeed(a)}
	if o.n < 1 {
		a.fail(fmt.Errorf("attribute sample_size is %d, wanted at least 1", o.n))
	}
	return o
}

func (o *multinomial) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	rows := graph.Unknown
	if in[0].Ranked {
		if len(in[0].Shape) != 2 {
			return nil, errors.New("wanted an input of rank 2, found " + in[0].Type.String())
		}
		rows = in[0].Shape[0]
	}
	return tensorFact(o.dtype, rows, graph.Size(o.n)), nil
}

func (o *multinomial) Forward(ctx *Ctx, in, out []tensor.Value) error {
	r, err := source(ctx, o.seed)
	if err != nil {
		return err
	}
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("Multinomial", x.DType())
	}
	classes := x.Shape()[1]
	if classes == 0 {
		return errors.New("no classes to draw from")
	}
	drawn := make([]int64, 0, out[0].Tensor.Len())
	for i := range x.Shape()[0] {
		row := v[i*classes : (i+1)*classes]
		top := row[0]
		for _, l := range row {
			top = math.Max(top, l)
		}
		total := 0.0
		for _, l := range row {
			total += math.Exp(l - top)
		}
		for range o.n {
			u, k := r.Float64()*total, 0
			for ; k < classes-1; k++ {
				if u -= math.Exp(row[k] - top); u < 0 {
					break
				}
			}
			drawn = append(drawn, int64(k))
		}
	}
	return storeInts(drawn, out[0].Tensor)
}
