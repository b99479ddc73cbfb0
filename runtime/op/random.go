package op

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// draw is RandomNormal, RandomUniform and their Like forms: elements drawn
// from Ctx.Rand, or from the node's own seed where it has one.
type draw struct {
	name            string
	fill            func(r *rand.Rand, v []float64) // the next numbers, as many as v has
	dtype           tensor.DType                    // Undefined in a Like form: the input's
	shape           []int                           // nil in a Like form
	seed            *uint64
	like, bernoulli bool
}

// IsRandom marks the operator.
func (o *draw) IsRandom() {}

func parseNormal(a *attrs) Op {
	mean, scale := float64(a.float("mean", 0)), float64(a.float("scale", 1))
	return parseDraw(a, func(r *rand.Rand, v []float64) {
		for i := range v {
			v[i] = mean + scale*r.NormFloat64()
		}
	})
}

func parseUniform(a *attrs) Op {
	low, high := float64(a.float("low", 0)), float64(a.float("high", 1))
	return parseDraw(a, func(r *rand.Rand, v []float64) {
		fillUniform(r, v)
		for i, u := range v {
			v[i] = low + (high-low)*u
		}
	})
}

// fillUniform draws numbers from 0 to below 1.
func fillUniform(r *rand.Rand, v []float64) {
	for i := range v {
		v[i] = r.Float64()
	}
}

func parseDraw(a *attrs, fill func(r *rand.Rand, v []float64)) *draw {
	o := &draw{name: a.node.OpType, fill: fill, seed: parseSeed(a)}
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
		fill: fillUniform}
}

func parseSeed(a *attrs) *uint64 {
	if !a.has("seed") {
		return nil
	}
	s := uint64(math.Float32bits(a.float("seed", 0)))
	return &s
}

// source is the random numbers of a run. It must be given back.
type source struct {
	*rand.Rand
	own *ownSource
}

// ownSource is what a node with a seed draws from, kept for the next run.
type ownSource struct {
	pcg  rand.PCG
	rand *rand.Rand
}

var ownSources sync.Pool

func sourceOf(ctx *Ctx, seed *uint64) (source, error) {
	if seed == nil {
		if ctx.Rand == nil {
			return source{}, errors.New("no source of random numbers")
		}
		return source{Rand: ctx.Rand}, nil
	}
	own, _ := ownSources.Get().(*ownSource)
	if own == nil {
		own = &ownSource{}
		own.rand = rand.New(&own.pcg)
	}
	own.pcg.Seed(*seed, 0)
	return source{own.rand, own}, nil
}

func (s source) giveBack() {
	if s.own != nil {
		ownSources.Put(s.own)
	}
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
	r, err := sourceOf(ctx, o.seed)
	if err != nil {
		return err
	}
	defer r.giveBack()
	y := out[0].Tensor
	drawn := wideScratches.get(y.Len())
	defer wideScratches.Put(drawn)
	v := *drawn
	o.fill(r.Rand, v)
	if o.bernoulli {
		chances := wideScratches.get(y.Len())
		defer wideScratches.Put(chances)
		p, err := tensor.Float64sInto(*chances, in[0].Tensor)
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
	return storeFloats(v, y)
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
	r, err := sourceOf(ctx, o.seed)
	if err != nil {
		return err
	}
	defer r.giveBack()
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
