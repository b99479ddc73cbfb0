package op

import (
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// softmax is Softmax, LogSoftmax or Hardmax. Before opset 13 the input is
// seen as a matrix whose rows begin at axis; from there on, the sum runs along
// axis alone.
type softmax struct {
	name   string
	kind   softmaxKind
	axis   int
	matrix bool
}

type softmaxKind uint8

const (
	softmaxPlain softmaxKind = iota
	softmaxLog
	softmaxHard
)

func parseSoftmax1(name string, kind softmaxKind) parser {
	return func(a *attrs) Op { return &softmax{name, kind, int(a.int("axis", 1)), true} }
}

func parseSoftmax13(name string, kind softmaxKind) parser {
	return func(a *attrs) Op { return &softmax{name, kind, int(a.int("axis", -1)), false} }
}

func (o *softmax) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame(o.name, in)
	if err != nil || !in[0].Ranked {
		return out, err
	}
	if _, err := o.rows(len(in[0].Shape)); err != nil {
		return nil, err
	}
	return out, nil
}

// rows is the axis at which a row begins; a matrix may begin after the last.
func (o *softmax) rows(rank int) (int, error) {
	if o.matrix && o.axis == rank {
		return rank, nil
	}
	if rank == 0 && (o.axis == 0 || o.axis == -1) {
		return 0, nil
	}
	return normAxis(o.axis, rank)
}

// layout is how many groups there are, the elements of each and the step
// between them.
func (o *softmax) layout(shape []int) (outer, n, inner int, err error) {
	axis, err := o.rows(len(shape))
	if err != nil {
		return 0, 0, 0, err
	}
	if o.matrix || len(shape) == 0 {
		return product(shape[:axis]), product(shape[axis:]), 1, nil
	}
	outer, n, inner = around(shape, axis)
	return outer, n, inner, nil
}

func (o *softmax) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	outer, n, inner, err := o.layout(x.Shape())
	if err != nil {
		return err
	}
	switch y.DType() {
	case tensor.Float32:
		from, to := tensor.Data[float32](x), tensor.Data[float32](y)
		switch o.kind {
		case softmaxPlain:
			kernel.SoftmaxColumns32(ctx.Pool, outer, n, inner, to, from)
		case softmaxLog:
			kernel.LogSoftmaxColumns32(ctx.Pool, outer, n, inner, to, from)
		default:
			softmaxLines(ctx, o.kind, from, to, outer, n, inner, nil)
		}
	case tensor.Float64:
		softmaxLines(ctx, o.kind, tensor.Data[float64](x), tensor.Data[float64](y), outer, n, inner, math.Exp)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType(o.name, y.DType())
	}
	return nil
}

func softmaxLines[T float](ctx *Ctx, kind softmaxKind, x, y []T, outer, n, inner int, exp func(float64) float64) {
	if n == 0 {
		return
	}
	ctx.Pool.For(outer*inner, max(1, elementGrain/n), func(lo, hi int) {
		for line := lo; line < hi; line++ {
			base := line/inner*n*inner + line%inner
			softmaxLine(kind, x[base:], y[base:], n, inner, exp)
		}
	})
}

// softmaxLine is the operator on n elements that lie step apart. The largest
// is taken out first, so that no power overflows.
func softmaxLine[T float](kind softmaxKind, x, y []T, n, step int, exp func(float64) float64) {
	best, most := 0, x[0]
	for k := 1; k < n; k++ {
		if v := x[k*step]; v > most {
			best, most = k, v
		}
	}
	if kind == softmaxHard {
		for k := range n {
			y[k*step] = 0
		}
		y[best*step] = 1
		return
	}
	var wide [128]float64 // see each32
	total, top := 0.0, float64(most)
	for from := 0; from < n; from += len(wide) {
		block := wide[:min(n-from, len(wide))]
		for i := range block {
			block[i] = float64(x[(from+i)*step]) - top
		}
		for i, v := range block {
			e := exp(v)
			total += e
			if kind == softmaxPlain {
				y[(from+i)*step] = T(e)
			}
		}
	}
	if kind == softmaxLog {
		total = math.Log(total)
		for k := range n {
			y[k*step] = T(float64(x[k*step]) - top - total)
		}
		return
	}
	scale := T(1 / total)
	for k := range n {
		y[k*step] *= scale
	}
}

func (o *softmax) hasGradient() bool { return o.kind != softmaxHard }

// Backward adds.
func (o *softmax) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	return o.BackwardInto(ctx, in, out, dout, din, nil)
}

// BackwardInto is dx (+)= y·(dy − Σ y·dy), and dx (+)= dy − e^y·Σ dy for the logarithm.
func (o *softmax) BackwardInto(ctx *Ctx, _, out, dout, din []tensor.Value, fresh []bool) error {
	if !present(dout, 0) || !present(din, 0) {
		clearFresh(din, fresh)
		return nil
	}
	y := out[0].Tensor
	outer, n, inner, err := o.layout(y.Shape())
	if err != nil {
		return err
	}
	if y.DType() == tensor.Float32 && o.kind == softmaxPlain && inner == 1 && n > 0 {
		softmaxBack32(ctx, outer, n, tensor.Data[float32](y), gradient[float32](dout, 0), gradient[float32](din, 0), isFresh(din, fresh, 0))
		return nil
	}
	clearFresh(din, fresh)
	return byFloat(o.name, y.DType(),
		func() {
			softmaxBack(ctx, o.kind, tensor.Data[float32](y), gradient[float32](dout, 0), gradient[float32](din, 0), outer, n, inner)
		},
		func() {
			softmaxBack(ctx, o.kind, tensor.Data[float64](y), gradient[float64](dout, 0), gradient[float64](din, 0), outer, n, inner)
		})
}

func softmaxBack[T float](ctx *Ctx, kind softmaxKind, y, dy, dx []T, outer, n, inner int) {
	ctx.Pool.For(outer, max(1, elementGrain/max(1, n*inner)), func(lo, hi int) {
		for base := lo * n * inner; base < hi*n*inner; base += n * inner {
			for j := base; j < base+inner; j++ {
				total := 0.0
				for k := j; k < base+n*inner; k += inner {
					if kind == softmaxLog {
						total += float64(dy[k])
					} else {
						total += float64(y[k] * dy[k])
					}
				}
				s := T(total)
				for k := j; k < base+n*inner; k += inner {
					if kind == softmaxLog {
						dx[k] += dy[k] - T(math.Exp(float64(y[k])))*s
					} else {
						dx[k] += y[k] * (dy[k] - s)
					}
				}
			}
		}
	})
}
