package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// deformConv is a convolution over two axes whose taps are moved by offset[N
// 2·groups·taps oH oW], y before x, and may be weighted by mask[N groups·taps
// oH oW]. A group is of input channels that share offsets.
type deformConv struct {
	conv
	groups int
}

func parseDeformConv(a *attrs) Op {
	o := &deformConv{groups: int(a.int("offset_group", 1))}
	o.kernel, o.strides, o.pads, o.dilations = a.ints("kernel_shape"), a.ints("strides"), a.ints("pads"), a.ints("dilations")
	if o.group = int(a.int("group", 1)); o.group < 1 || o.groups < 1 {
		a.fail(fmt.Errorf("attributes group and offset_group are %d and %d", o.group, o.groups))
	}
	return o
}

func (o *deformConv) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 3, 5); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	for i, f := range in[:3] {
		if err := withRank(f, fmt.Sprintf("input %d ", i), 4); err != nil {
			return nil, err
		}
	}
	bias := graph.Fact{}
	if given(in, 3) {
		bias = in[3]
	}
	out, err := o.infer(d, in[0], in[1], bias)
	if err != nil || !in[0].Ranked || !in[1].Ranked {
		return out, err
	}
	if c, ok := in[0].Shape[1].Const(); ok && c%o.groups != 0 {
		return nil, fmt.Errorf("%d channels in %d groups of offsets", c, o.groups)
	}
	rows := in[1].Shape[2].Mul(in[1].Shape[3]).Mul(graph.Size(o.groups))
	wants := []graph.Dim{in[0].Shape[0], rows.Mul(graph.Size(2)), out[0].Shape[2], out[0].Shape[3]}
	if in[2].Ranked && !loose(in[2].Shape, wants) {
		return nil, fmt.Errorf("offset %v, wanted %s", in[2].Type, graph.FormatShape(wants, true))
	}
	if wants[1] = rows; given(in, 4) && in[4].Ranked && !loose(in[4].Shape, wants) {
		return nil, fmt.Errorf("mask %v, wanted %s", in[4].Type, graph.FormatShape(wants, true))
	}
	return out, nil
}

func (o *deformConv) Forward(ctx *Ctx, in, out []tensor.Value) error {
	switch d := out[0].Tensor.DType(); d {
	case tensor.Float32:
		return deform(ctx, o, in, out[0].Tensor, kernel.Gemm32)
	case tensor.Float64:
		return deform(ctx, o, in, out[0].Tensor, kernel.Gemm64)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	default:
		return unsupportedType("DeformConv", d)
	}
}

// deform multiplies the weights with what each tap sees, sampled between
// elements.
func deform[T float](ctx *Ctx, o *deformConv, in []tensor.Value, y *tensor.Tensor, gemm gemmFunc[T]) error {
	x, w := in[0].Tensor, in[1].Tensor
	s, err := o.slides(x.Shape()[2:], w.Shape()[2:])
	if err != nil {
		return err
	}
	n, channels, h, wide := x.Shape()[0], x.Shape()[1], x.Shape()[2], x.Shape()[3]
	m, c, taps := w.Shape()[0]/o.group, w.Shape()[1], s[1].kernel*s[2].kernel
	places, plane := s[1].out*s[2].out, h*wide
	src, weights, dst := tensor.Data[T](x), tensor.Data[T](w), tensor.Data[T](y)
	offset := tensor.Data[T](in[2].Tensor)
	var mask []T
	if present(in, 4) {
		mask = tensor.Data[T](in[4].Tensor)
	}
	cols := make([]T, channels*taps*places)
	for i := range n {
		ctx.Pool.For(channels*taps, max(1, gemmGrain/256/max(1, places)), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				ch, tap := r/taps, r%taps
				g := (i*o.groups+ch/(channels/o.groups))*taps + tap
				image := src[(i*channels+ch)*plane : (i*channels+ch+1)*plane]
				for p := range places {
					py := float64(p/s[2].out*s[1].stride-s[1].before+tap/s[2].kernel*s[1].dilation) + float64(offset[2*g*places+p])
					px := float64(p%s[2].out*s[2].stride-s[2].before+tap%s[2].kernel*s[2].dilation) + float64(offset[(2*g+1)*places+p])
					v := T(between(image, h, wide, py, px))
					if mask != nil {
						v *= mask[g*places+p]
					}
					cols[r*places+p] = v
				}
			}
		})
		for g := range o.group {
			k := c * taps
			gemm(ctx.Pool, m, places, k, weights[g*m*k:], k, 1, cols[g*k*places:], places, 1, dst[(i*o.group+g)*m*places:], places, false)
		}
	}
	if present(in, 3) {
		for i, b := 0, tensor.Data[T](in[3].Tensor); i*places < len(dst); i++ {
			row := dst[i*places : (i+1)*places]
			for j := range row {
				row[j] += b[i%len(b)]
			}
		}
	}
	return nil
}

// between is the value at a position between elements, zeros around them.
func between[T float](x []T, h, w int, py, px float64) float64 {
	if !(py > -1 && py < float64(h) && px > -1 && px < float64(w)) {
		return 0
	}
	y0, x0 := int(py+1)-1, int(px+1)-1 // floor
	ty, tx := py-float64(y0), px-float64(x0)
	sum := 0.0
	for k, weight := range [4]float64{(1 - ty) * (1 - tx), (1 - ty) * tx, ty * (1 - tx), ty * tx} {
		if yy, xx := y0+k/2, x0+k%2; yy >= 0 && yy < h && xx >= 0 && xx < w {
			sum += weight * float64(x[yy*w+xx])
		}
	}
	return sum
}

// hasGradient hides conv's Backward, which knows nothing of offsets.
func (o *deformConv) hasGradient() bool { return false }
