package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// conv is a convolution (ONNX's: without turning the kernel around) of
// X[N C …] with W[M C/group …] plus B[M] over one to three axes.
type conv struct {
	window
	group int
}

func parseConv(a *attrs) Op { return newConv(a) }

func newConv(a *attrs) *conv {
	o := &conv{window: parseWindow(a), group: int(a.int("group", 1))}
	o.dilations = a.ints("dilations")
	if o.group < 1 {
		a.fail(fmt.Errorf("attribute group is %d", o.group))
	}
	return o
}

func (o *conv) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	bias := graph.Fact{}
	if given(in, 2) {
		bias = in[2]
	}
	return o.infer(d, in[0], in[1], bias)
}

// infer is the shape rule; bias is the zero Fact where there is none.
func (o *conv) infer(d tensor.DType, x, w, bias graph.Fact) ([]graph.Fact, error) {
	axes, err := spatial(x, w)
	if err != nil {
		return nil, err
	}
	if axes < 0 {
		return unrankedFact(d), nil
	}
	if err := o.check(axes); err != nil {
		return nil, err
	}
	shape := unknownDims(2 + axes)
	if x.Ranked {
		shape[0] = x.Shape[0]
	}
	kernel := unknownDims(axes)
	if w.Ranked {
		shape[1] = w.Shape[0]
		kernel = append([]graph.Dim{}, w.Shape[2:]...)
		if x.Ranked && differ(x.Shape[1], w.Shape[1].Mul(graph.Size(o.group))) {
			return nil, fmt.Errorf("W[M %v …] in %d groups for %s", w.Shape[1], o.group, x.Type)
		}
		if m, ok := w.Shape[0].Const(); ok && m%o.group != 0 {
			return nil, fmt.Errorf("%d output channels in %d groups", m, o.group)
		}
		if bias.Ranked && (len(bias.Shape) != 1 || differ(bias.Shape[0], w.Shape[0])) {
			return nil, fmt.Errorf("B%s for W%s", graph.FormatShape(bias.Shape, true), graph.FormatShape(w.Shape, true))
		}
	}
	for i := range kernel {
		if o.kernel == nil {
			break
		}
		if differ(kernel[i], graph.Size(o.kernel[i])) {
			return nil, fmt.Errorf("kernel_shape %v for W%s", o.kernel, graph.FormatShape(w.Shape, true))
		}
		kernel[i] = graph.Size(o.kernel[i])
	}
	if x.Ranked {
		out, err := o.dims(x.Shape[2:], kernel)
		if err != nil {
			return nil, err
		}
		copy(shape[2:], out)
	}
	return tensorFact(d, shape...), nil
}

func (o *conv) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, w, y := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Float32:
		if done, err := o.fast(ctx, x, w, optional(in, 2), y, kernel.Identity, 0, 0); done || err != nil {
			return err
		}
		return convolve(ctx, o, x, w, optional(in, 2), y, kernel.Gemm32)
	case tensor.Float64:
		return convolve(ctx, o, x, w, optional(in, 2), y, kernel.Gemm64)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType("Conv", y.DType())
}

// fast computes float32 over one or two axes, with a function of each sum at
// the end; false where there are three.
func (o *conv) fast(ctx *Ctx, x, w, bias, y *tensor.Tensor, f kernel.Function, alpha, beta float32) (bool, error) {
	if x.Rank() > 4 {
		return false, nil
	}
	s, err := o.layout(x.Shape(), w.Shape())
	if err != nil {
		return false, err
	}
	var b []float32
	if bias != nil {
		b = tensor.Data[float32](bias)
	}
	kernel.Conv32(ctx.Pool, s, tensor.Data[float32](y), tensor.Data[float32](x), tensor.Data[float32](w), b, f, alpha, beta)
	return true, nil
}

// layout is a convolution over one or two axes in package kernel's terms.
func (o *conv) layout(x, w []int) (kernel.Conv, error) {
	s, err := o.slides(x[2:], w[2:])
	if err != nil {
		return kernel.Conv{}, err
	}
	rows, cols := &s[1], &s[2]
	return kernel.Conv{
		Images: x[0], Groups: o.group, C: w[1], M: w[0] / o.group,
		H: rows.in, W: cols.in, OH: rows.out, OW: cols.out, KH: rows.kernel, KW: cols.kernel,
		SY: rows.stride, SX: cols.stride, DY: rows.dilation, DX: cols.dilation, Top: rows.before, Left: cols.before,
	}, nil
}

// convolve computes each image and group as the product of W[M/g C/g·K] with
// the unfolded image [C/g·K positions].
func convolve[T float32 | float64](ctx *Ctx, o *conv, x, w, bias, y *tensor.Tensor, gemm gemmFunc[T]) error {
	s, err := o.slides(x.Shape()[2:], w.Shape()[2:])
	if err != nil {
		return err
	}
	images, m, c := x.Shape()[0], w.Shape()[0]/o.group, w.Shape()[1]
	taps, places, plane := product(w.Shape()[2:]), product(y.Shape()[2:]), product(x.Shape()[2:])
	src, weights, dst := tensor.Data[T](x), tensor.Data[T](w), tensor.Data[T](y)
	k := c * taps
	pointwise := taps == 1 && places == plane && s[0].stride*s[1].stride*s[2].stride == 1
	var cols []T
	if !pointwise {
		var done func()
		cols, done = floatsFor[T](k * places)
		defer done()
	}
	for i := range images * o.group {
		g := i % o.group
		part := src[i*c*plane : (i+1)*c*plane]
		if pointwise {
			cols = part
		} else {
			unfold(ctx, s, part, c, cols)
		}
		gemm(ctx.Pool, m, places, k, weights[g*m*k:], k, 1, cols, places, 1, dst[i*m*places:], places, false)
	}
	if bias != nil {
		b := tensor.Data[T](bias)
		ctx.Pool.For(images*m*o.group, max(1, elementGrain/max(1, places)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				v := b[i%len(b)]
				row := dst[i*places : (i+1)*places]
				for j := range row {
					row[j] += v
				}
			}
		})
	}
	return nil
}

// unfold copies, for each of c channels and each tap of the window, the
// element that every output position sees there, 0 outside the input:
// cols[c·taps positions].
func unfold[T float32 | float64](ctx *Ctx, s [maxSpatial]slide, x []T, c int, cols []T) {
	z, y, w := s[0], s[1], s[2]
	taps := z.kernel * y.kernel * w.kernel
	places, plane := z.out*y.out*w.out, z.in*y.in*w.in
	ctx.Pool.For(c*taps, max(1, elementGrain/max(1, places)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			tap := r % taps
			tz, ty, tx := tap/(y.kernel*w.kernel), tap/w.kernel%y.kernel, tap%w.kernel
			row := cols[r*places : (r+1)*places]
			image := x[r/taps*plane : (r/taps+1)*plane]
			for oz := range z.out {
				for oy := range y.out {
					line := row[(oz*y.out+oy)*w.out : (oz*y.out+oy+1)*w.out]
					iz, iy := oz*z.stride+tz*z.dilation-z.before, oy*y.stride+ty*y.dilation-y.before
					if iz < 0 || iz >= z.in || iy < 0 || iy >= y.in {
						clear(line)
						continue
					}
					from := image[(iz*y.in+iy)*w.in : (iz*y.in+iy+1)*w.in]
					at := tx*w.dilation - w.before
					for ox := range line {
						if at >= 0 && at < w.in {
							line[ox] = from[at]
						} else {
							line[ox] = 0
						}
						at += w.stride
					}
				}
			}
		}
	})
}

// convInteger is conv of 8-bit integers from which zero points are taken,
// into int32. W's zero point is one, or one for each output channel.
type convInteger struct{ conv }

func parseConvInteger(a *attrs) Op { return &convInteger{*newConv(a)} }

func (o *convInteger) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 4); err != nil {
		return nil, err
	}
	for i := range 2 {
		if !given(in, 2+i) {
			continue
		}
		if _, err := sameDType([]graph.Fact{in[i], in[2+i]}); err != nil {
			return nil, fmt.Errorf("operand %d and its zero point: %w", i, err)
		}
		n, ok := graph.Product(in[2+i].Shape).Const()
		if !in[2+i].Ranked || !ok || n == 1 {
			continue
		}
		if i == 0 || in[1].Ranked && len(in[1].Shape) > 0 && differ(in[1].Shape[0], graph.Size(n)) {
			return nil, fmt.Errorf("%d zero points for operand %d (%s)", n, i, in[i].Type)
		}
	}
	return o.infer(tensor.Int32, in[0], in[1], graph.Fact{})
}

func (o *convInteger) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return convolveBytes(ctx, &o.conv, in[0].Tensor, in[1].Tensor, optional(in, 2), optional(in, 3), nil, out[0].Tensor)
}
