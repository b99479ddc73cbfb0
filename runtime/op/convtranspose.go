package op

import (
	"fmt"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// convTranspose is the transpose of a convolution as a linear map: X[N C …]
// with W[C M/group …] plus B[M]. Along each axis the output has
//
//	stride·(in − 1) + outputPadding + extent − pads
//
// elements, or what outputShape says, which then settles the pads.
type convTranspose struct {
	window
	group         int
	outputPadding []int
	outputShape   []int
}

func parseConvTranspose(a *attrs) Op {
	o := &convTranspose{window: parseWindow(a), group: int(a.int("group", 1)),
		outputPadding: a.ints("output_padding"), outputShape: a.ints("output_shape")}
	o.dilations = a.ints("dilations")
	if o.group < 1 {
		a.fail(fmt.Errorf("attribute group is %d", o.group))
	}
	return o
}

// across is the slide of the convolution whose transpose this is: in is the
// output's size here, out the input's.
func (o *convTranspose) across(i, n, k int) (slide, error) {
	s := slide{out: n, kernel: k, stride: at(o.strides, i, 1), dilation: at(o.dilations, i, 1)}
	full := s.stride*(n-1) + at(o.outputPadding, i, 0) + s.extent()
	switch {
	case o.outputShape != nil:
		s.in = o.outputShape[i]
	case o.auto == "SAME_UPPER" || o.auto == "SAME_LOWER":
		s.in = n * s.stride
	default:
		if o.pads != nil {
			s.before, s.after = o.pads[i], o.pads[len(o.pads)/2+i]
		}
		s.in = full - s.before - s.after
		if n == 0 || s.in < 0 {
			return s, fmt.Errorf("axis %d: pads %v leave nothing of %d elements", i+2, o.pads, full)
		}
		return s, nil
	}
	total := max(0, full-s.in)
	s.before = total - total/2
	if o.auto == "SAME_UPPER" {
		s.before = total / 2
	}
	s.after = total - s.before
	return s, nil
}

func (o *convTranspose) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 3); err != nil {
		return nil, err
	}
	d, err := sameDType(in)
	if err != nil {
		return nil, err
	}
	x, w := in[0], in[1]
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
	for _, l := range [][]int{o.outputPadding, o.outputShape} {
		bad := l != nil && len(l) != axes
		for _, n := range l {
			bad = bad || n < 0 || n > maxWindow
		}
		if bad {
			return nil, fmt.Errorf("output_padding or output_shape %v for %d axes", l, axes)
		}
	}
	shape := unknownDims(2 + axes)
	if x.Ranked {
		shape[0] = x.Shape[0]
	}
	kernel := unknownDims(axes)
	if w.Ranked {
		shape[1] = w.Shape[1].Mul(graph.Size(o.group))
		copy(kernel, w.Shape[2:])
		if c, ok := w.Shape[0].Const(); ok && c%o.group != 0 || x.Ranked && differ(x.Shape[1], w.Shape[0]) {
			return nil, fmt.Errorf("W[%v …] in %d groups for %s", w.Shape[0], o.group, x.Type)
		}
		if given(in, 2) && in[2].Ranked && (len(in[2].Shape) != 1 || differ(in[2].Shape[0], shape[1])) {
			return nil, fmt.Errorf("B%s for %v output channels", graph.FormatShape(in[2].Shape, true), shape[1])
		}
	}
	for i := range axes {
		if o.kernel != nil {
			if differ(kernel[i], graph.Size(o.kernel[i])) {
				return nil, fmt.Errorf("kernel_shape %v for W%s", o.kernel, graph.FormatShape(w.Shape, true))
			}
			kernel[i] = graph.Size(o.kernel[i])
		}
		if o.outputShape != nil {
			shape[2+i] = graph.Size(o.outputShape[i])
		}
		k, ok := kernel[i].Const()
		if !ok || !x.Ranked {
			continue
		}
		if k < 1 {
			return nil, fmt.Errorf("the kernel is %s", graph.FormatShape(kernel, true))
		}
		if n, ok := x.Shape[2+i].Const(); ok {
			s, err := o.across(i, n, k)
			if err != nil {
				return nil, err
			}
			shape[2+i] = graph.Size(s.in)
		}
	}
	return tensorFact(d, shape...), nil
}

func (o *convTranspose) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, w, y := in[0].Tensor, in[1].Tensor, out[0].Tensor
	switch y.DType() {
	case tensor.Float32:
		return spread(ctx, o, x, w, optional(in, 2), y, kernel.Gemm32)
	case tensor.Float64:
		return spread(ctx, o, x, w, optional(in, 2), y, kernel.Gemm64)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType("ConvTranspose", y.DType())
}

// spread computes, for each image and group, Wᵀ[M/g·K C/g]·X[C/g positions]
// and adds the columns up where their taps lie.
func spread[T float32 | float64](ctx *Ctx, o *convTranspose, x, w, bias, y *tensor.Tensor, gemm gemmFunc[T]) error {
	s, err := o.slides(x, w)
	if err != nil {
		return err
	}
	images, c, m := x.Shape()[0], x.Shape()[1]/o.group, w.Shape()[1]
	taps, places, plane := product(w.Shape()[2:]), product(x.Shape()[2:]), product(y.Shape()[2:])
	src, weights, dst := tensor.Data[T](x), tensor.Data[T](w), tensor.Data[T](y)
	if apart(&s) && taps > 1 {
		if y32, ok := any(dst).([]float32); ok {
			spreadApart(ctx, o, &s, any(src).([]float32), any(weights).([]float32), optionalFloats(bias), y32, images, c, m)
			return nil
		}
	}
	rows, parts := m*taps, images*o.group
	if s[0].in == 1 && s[0].out == 1 && s[1].in > 1 && places > 0 {
		spreadLines(ctx, o, &s, src, weights, bias, dst, parts, c, m, gemm)
		return nil
	}
	part := func(p *kernel.Pool, i int, cols []T) {
		g := i % o.group
		gemm(p, rows, places, c, weights[g*c*rows:], 1, rows, src[i*c*places:], places, 1, cols, places, false)
		p.For(m, max(1, gemmGrain/16/max(1, taps*places)), func(lo, hi int) {
			for k := lo; k < hi; k++ {
				image, v := dst[(i*m+k)*plane:(i*m+k+1)*plane], T(0)
				if bias != nil {
					v = tensor.Data[T](bias)[g*m+k]
				}
				for j := range image {
					image[j] = v
				}
				unfoldBack(s, cols[k*taps*places:(k+1)*taps*places], image)
			}
		})
	}
	if parts >= 4 { // enough to share out whole
		ctx.Pool.For(parts, max(1, gemmGrain/16/max(1, c*rows*places)), func(lo, hi int) {
			cols, done := floatsFor[T](rows * places)
			for i := lo; i < hi; i++ {
				part(nil, i, cols)
			}
			done()
		})
		return nil
	}
	cols, done := floatsFor[T](rows * places)
	for i := range parts {
		part(ctx.Pool, i, cols)
	}
	done()
	return nil
}

// foldCells is how many products spreadLines computes at a time: they stay in the L2 cache. Of foldRows rows the lines
// of X are worth reading.
const foldCells, foldRows = 128 << 10, 64

// spreadLines is spread over two axes: a block of the output's lines at a time, with the lines of X that reach into
// it.
func spreadLines[T float32 | float64](ctx *Ctx, o *convTranspose, s *[maxSpatial]slide, x, w []T, bias *tensor.Tensor, y []T, parts, c, m int, gemm gemmFunc[T]) {
	down, across := s[1], s[2]
	taps, width := down.kernel*across.kernel, across.out
	rows, places, plane := m*taps, down.out*width, down.in*across.in
	span := down.extent() // neighbouring blocks look at so many lines both
	cut := max(foldCells/(rows*width+1)*down.stride-span, 2*span, 4*down.stride)
	cut = max(min(cut, (down.in+7)/8), 2*span)
	blocks, some := (down.in+cut-1)/cut, max((m+3)/4, min(m, (foldRows+taps-1)/taps))
	splits := (m + some - 1) / some // of the channels
	_, single := any(y).([]float32)
	single = single && c == 1
	downs, phases, ones := phasesOf(down), phasesOf(across), make([]T, taps)
	setAll(ones, 1)
	tasks := blocks * splits
	ctx.Pool.For(parts*tasks, max(1, gemmGrain/16*tasks/(c*rows*places+1)), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			i, top, m0 := t/tasks, t/splits%blocks*cut, t%splits*some
			m1, bottom, g := min(m, m0+some), min(down.in, top+cut), i%o.group
			first, end := down.reaching(top, bottom)
			n := (end - first) * width
			part, step := x[i*c*places+first*width:], 0 // of one channel: its lines are what taps multiply
			factors, done := w[(g*m+m0)*taps:], func() {}
			if !single {
				part, done = floatsFor[T]((m1 - m0) * taps * n)
				gemm(nil, (m1-m0)*taps, n, c, w[g*c*rows+m0*taps:], 1, rows, x[i*c*places+first*width:], places, 1, part, n, false)
				step, factors = n, ones
			}
			for k := m0; k < m1; k++ {
				v := T(0)
				if bias != nil {
					v = tensor.Data[T](bias)[g*m+k]
				}
				image := y[(i*m+k)*plane+top*across.in : (i*m+k)*plane+bottom*across.in]
				switch image32, ok := any(image).([]float32); {
				case ok:
					foldPhases(across, downs, phases, any(part).([]float32), step, any(factors).([]float32)[:taps], first, end, image32, top)
					if v != 0 {
						kernel.Zip32(nil, kernel.Plus, 1, len(image), image32, 0, image32, 0, 1, []float32{float32(v)}, 0, 0)
					}
				default:
					setAll(image, v)
					foldLines(down, across, part[:taps*n], first, end, image, top)
				}
				if single {
					factors = factors[taps:]
				} else {
					part = part[taps*n:]
				}
			}
			done()
		}
	})
}

// reaching is the range of outputs whose windows see inputs from lo to before hi.
func (s slide) reaching(lo, hi int) (first, end int) {
	first = min(max(0, (lo+s.before-s.extent()+s.stride)/s.stride), s.out)
	end = min(s.out, (hi-1+s.before)/s.stride+1)
	return first, max(first, end)
}

// foldLines is unfoldBack for lines of an image from top on, of columns [taps (end-first)·width] for the lines first to
// before end of the positions.
func foldLines[T float32 | float64](y, w slide, cols []T, first, end int, image []T, top int) {
	n, lines := (end-first)*w.out, len(image)/w.in
	for tap := range y.kernel * w.kernel {
		ty, tx := tap/w.kernel, tap%w.kernel
		for oy := first; oy < end; oy++ {
			line := oy*y.stride + ty*y.dilation - y.before - top
			if line < 0 || line >= lines {
				continue
			}
			addSpaced(image[line*w.in:(line+1)*w.in], cols[tap*n+(oy-first)*w.out:][:w.out], tx*w.dilation-w.before, w.stride)
		}
	}
}

// addSpaced adds from[j] to to[at + j·step], where there is such an element.
func addSpaced[T float32 | float64](to, from []T, at, step int) {
	j0 := max(0, (step-1-at)/step)
	j1 := min(len(from), (len(to)-at+step-1)/step)
	if j0 >= j1 {
		return
	}
	from, to = from[j0:j1], to[at+j0*step:]
	switch step {
	case 1:
		to = to[:len(from)]
		for j, v := range from {
			to[j] += v
		}
	case 2:
		to = to[:2*len(from)-1]
		for j, v := range from {
			to[2*j] += v
		}
	default:
		for j, v := range from {
			to[j*step] += v
		}
	}
}

// floatsFor is memory for one step; for float32, what was kept of an earlier one.
func floatsFor[T float32 | float64](n int) (v []T, done func()) {
	var zero T
	if _, ok := any(zero).(float32); !ok {
		return make([]T, n), func() {}
	}
	kept := floatScratches.get(n)
	return any(*kept).([]T), func() { floatScratches.Put(kept) }
}

// apart reports whether the windows of neighbours touch without overlapping,
// over at most two axes: every output has one tap.
func apart(s *[maxSpatial]slide) bool {
	for i, a := range s {
		if a.kernel != a.stride || a.dilation != 1 || a.before != 0 || a.in != a.out*a.stride || i == 0 && a.out > 1 {
			return false
		}
	}
	return true
}

func optionalFloats(t *tensor.Tensor) []float32 {
	if t == nil {
		return nil
	}
	return tensor.Data[float32](t)
}

// spreadApart is spread where every output has one tap: the products are the
// outputs, in another order.
func spreadApart(ctx *Ctx, o *convTranspose, s *[maxSpatial]slide, x, w, bias, y []float32, images, c, m int) {
	ky, kx := s[1].kernel, s[2].kernel
	taps, lines, width := ky*kx, s[1].out, s[2].out
	places, plane, rows := lines*width, s[1].in*s[2].in, m*taps
	cut := max(1, min(foldCells/(rows*width+1), (lines+7)/8))
	blocks := (lines + cut - 1) / cut
	ctx.Pool.For(images*o.group*blocks, max(1, gemmGrain/16*blocks/(c*rows*places+1)), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			i, first := t/blocks, t%blocks*cut
			g, end := i%o.group, min(lines, first+cut)
			n := (end - first) * width
			scratch := floatScratches.get(rows * n)
			cols := *scratch
			for k := range rows {
				v := float32(0)
				if bias != nil {
					v = bias[g*m+k/taps]
				}
				kernel.Fill32(1, n, cols[k*n:], []float32{v})
			}
			kernel.GemmEpilogue32(nil, rows, n, c, w[g*c*rows:], 1, rows, x[i*c*places+first*width:], places, 1, cols, n,
				kernel.Epilogue32{Add: cols, AddStride: n})
			for r := range m * (end - first) {
				k, l := r/(end-first), r%(end-first)
				for ty := range ky {
					to := y[(i*m+k)*plane+((first+l)*ky+ty)*kx*width:][:kx*width]
					from := cols[(k*taps+ty*kx)*n+l*width:]
					if kx == 2 {
						kernel.Interleave32(to, from[:width], from[n:])
						continue
					}
					for tx := range kx {
						for j, v := range from[tx*n:][:width] {
							to[j*kx+tx] = v
						}
					}
				}
			}
			floatScratches.Put(scratch)
		}
	})
}

// slides is how the kernel goes over the output, in convolution's terms.
func (o *convTranspose) slides(x, w *tensor.Tensor) (s [maxSpatial]slide, err error) {
	axes := x.Rank() - 2
	for i := range s {
		s[i] = slide{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}
		if k := i - maxSpatial + axes; k >= 0 {
			if s[i], err = o.across(k, x.Shape()[2+k], w.Shape()[2+k]); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// unfoldBack adds one channel's columns [taps positions] to the image: the
// transpose of unfold.
func unfoldBack[T float32 | float64](s [maxSpatial]slide, cols, image []T) {
	z, y, w := s[0], s[1], s[2]
	places := z.out * y.out * w.out
	for tap := range z.kernel * y.kernel * w.kernel {
		tz, ty, tx := tap/(y.kernel*w.kernel), tap/w.kernel%y.kernel, tap%w.kernel
		row := cols[tap*places : (tap+1)*places]
		for oz := range z.out {
			for oy := range y.out {
				iz, iy := oz*z.stride+tz*z.dilation-z.before, oy*y.stride+ty*y.dilation-y.before
				if iz < 0 || iz >= z.in || iy < 0 || iy >= y.in {
					continue
				}
				addSpaced(image[(iz*y.in+iy)*w.in:(iz*y.in+iy+1)*w.in], row[(oz*y.out+oy)*w.out:(oz*y.out+oy+1)*w.out],
					tx*w.dilation-w.before, w.stride)
			}
		}
	}
}
