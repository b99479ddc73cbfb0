package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// convolveBytes is the convolution of X and W less their zero points, W's one for each output channel or for
// all, into int32.
func convolveBytes(ctx *Ctx, o *conv, x, w, xZero, wZero, bias, y *tensor.Tensor) error {
	u, err := widened(x, xZero, product(x.Shape()[2:]), false)
	if err != nil {
		return err
	}
	v, err := widened(w, wZero, product(w.Shape()[1:]), false) // a row for each output channel
	if err != nil {
		return err
	}
	acc := tensor.Data[int32](y)
	var biases []int32
	if bias != nil {
		biases = tensor.Data[int32](bias)
	}
	if done, err := convolveTiles(ctx, o, x, w, u, v, biases, acc); done || err != nil {
		return err
	}
	images, weights := u.all(ctx, x.Len()), v.all(ctx, w.Len())
	defer floatScratches.Put(images)
	defer floatScratches.Put(weights)
	if terms := exactTerms(u, v); x.Rank() <= 4 && product(w.Shape()[2:]) <= terms {
		err = convolveExact(ctx, o, x.Shape(), w.Shape(), terms, *images, *weights, y.Shape(), acc)
	} else {
		err = convolveWide(ctx, o, tensor.Of(*images, x.Shape()...), tensor.Of(*weights, w.Shape()...), y.Shape(), acc)
	}
	if err != nil || bias == nil {
		return err
	}
	places := product(y.Shape()[2:])
	sharedRows(ctx, y.Shape()[0]*y.Shape()[1], places, func(r int) {
		row, v := acc[r*places:(r+1)*places], biases[r%len(biases)]
		for j := range row {
			row[j] += v
		}
	})
	return nil
}

// The places of Y that a product is of, the terms that are worth it, and the multiplications that are worth a task.
const byteConvCols, byteConvTerms, byteConvGrain = 256, 16, 1 << 20

// convolveTiles is the product of each group's weights with the patches of X, bytes all of them, a few of Y's places
// at a time. It tells whether it did anything: it is for sums of some terms, and where there is a kernel for them.
func convolveTiles(ctx *Ctx, o *conv, x, w *tensor.Tensor, u, v widening, bias []int32, acc []int32) (bool, error) {
	if x.Rank() > 4 || len(u.bytes.Zeros) != 1 || !kernel.HasGemmBytes() {
		return false, nil
	}
	s, err := o.layout(x.Shape(), w.Shape())
	if err != nil {
		return false, err
	}
	k, parts := s.C*s.KH*s.KW, s.Images*s.Groups
	if k < byteConvTerms || s.M < 4 {
		return false, nil
	}
	l := newByteLayout(&s)
	images := u.bytes
	if !l.asIs {
		kept := byteScratches.get(parts * s.C * l.channel)
		defer byteScratches.Put(kept)
		images.Data = *kept
		ctx.Pool.For(parts*s.C, max(1, elementGrain/(l.channel+1)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				l.channelOf(u.bytes.Data[i*s.H*s.W:(i+1)*s.H*s.W], images.Data[i*l.channel:(i+1)*l.channel], byte(u.bytes.Zeros[0]))
			}
		})
	}
	images.Rows = l.rows()
	places := s.OH * s.OW
	across := (s.OH-1)*l.pitch + s.OW // places of Y, with those between its rows that belong to none
	blocks := (across + byteConvCols - 1) / byteConvCols
	rows := s.M // of a task
	if split := 8 / max(1, parts*blocks); split > 1 {
		rows = max(byteConvTerms, (s.M+split-1)/split)
	}
	bands := (s.M + rows - 1) / rows
	ctx.Pool.For(parts*blocks*bands, max(1, byteConvGrain/(rows*min(across, byteConvCols)*k+1)), func(lo, hi int) {
		sums := intScratches.get(rows * byteConvCols)
		defer intScratches.Put(sums)
		for t := lo; t < hi; t++ {
			part, p0, m0 := t/(blocks*bands), t/bands%blocks*byteConvCols, t%bands*rows
			n, m := min(byteConvCols, across-p0), min(rows, s.M-m0)
			b, line := images, part%s.Groups*s.M+m0
			b.Data = images.Data[part*s.C*l.channel+p0 : (part+1)*s.C*l.channel]
			kernel.GemmBytes(m, n, k, v.part(line, 0, line), b, *sums, n)
			for i := range m {
				var start int32
				if bias != nil {
					start = bias[(line+i)%len(bias)]
				}
				l.collect(acc[(part*s.M+m0+i)*places:][:places], (*sums)[i*n:(i+1)*n], p0, start)
			}
		}
	})
	return true, nil
}

// A byteLayout is X as the windows see it: padded, and taken apart where windows lie several elements from each
// other. From each part a row of the product is as many elements one after the other as there are places, the ones
// between two rows of Y among them.
type byteLayout struct {
	*kernel.Conv
	asIs        bool // X itself is such
	lines       int  // of a part
	pitch       int  // elements of its lines
	channel     int  // elements of all parts of a channel
	parts, wide int  // SY·SX of them, but only those that a window sees; SX of these beside each other
}

func newByteLayout(s *kernel.Conv) *byteLayout {
	l := &byteLayout{Conv: s, lines: s.OH + (s.KH-1)*s.DY/s.SY, pitch: s.OW + (s.KW-1)*s.DX/s.SX}
	l.wide = min(s.SX, (s.KW-1)*s.DX+1)
	l.parts = l.wide * min(s.SY, (s.KH-1)*s.DY+1)
	l.channel = l.parts * l.lines * l.pitch
	l.asIs = s.KH*s.KW*s.SY*s.SX == 1 && s.Top+s.Left == 0 && s.OH == s.H && s.OW == s.W
	return l
}

// rows is where the row of each channel and element of the window begins.
func (l *byteLayout) rows() []int {
	var rows []int
	for c := range l.C {
		for ky := range l.KH {
			for kx := range l.KW {
				y, x := ky*l.DY, kx*l.DX
				part := y%l.SY*l.wide + x%l.SX
				rows = append(rows, c*l.channel+(part*l.lines+y/l.SY)*l.pitch+x/l.SX)
			}
		}
	}
	return rows
}

// channelOf lays out a channel. Outside of it there is zero.
func (l *byteLayout) channelOf(from, to []byte, zero byte) {
	for i := range l.parts * l.lines {
		part, r := i/l.lines, i%l.lines
		line := to[i*l.pitch : (i+1)*l.pitch]
		y, x := r*l.SY+part/l.wide-l.Top, part%l.wide-l.Left // of its first element
		if y < 0 || y >= l.H {
			setAll(line, zero)
			continue
		}
		// Elements from lo to before hi are inside of X.
		lo := min(len(line), max(0, (-x+l.SX-1)/l.SX))
		hi := max(lo, min(len(line), (l.W-x+l.SX-1)/l.SX))
		setAll(line[:lo], zero)
		setAll(line[hi:], zero)
		switch {
		case hi == lo:
		case l.SX == 1:
			copy(line[lo:hi], from[y*l.W+x+lo:])
		default:
			for j := lo; j < hi; j++ {
				line[j] = from[y*l.W+x+j*l.SX]
			}
		}
	}
}

// collect writes sums from place p0 on plus start, without those that belong to no row, to a channel of Y.
func (l *byteLayout) collect(y, sums []int32, p0 int, start int32) {
	for at := 0; at < len(sums); {
		row, col := (p0+at)/l.pitch, (p0+at)%l.pitch
		n := min(len(sums)-at, l.pitch-col)
		if wanted := min(n, l.OW-col); wanted > 0 {
			to, from := y[row*l.OW+col:][:wanted], sums[at:at+wanted]
			for i, v := range from {
				to[i] = v + start
			}
		}
		at += n
	}
}

// convolveExact convolves integers of whose products so many terms add up exactly, which are those of a channel at
// least: the channels of as many at a time.
func convolveExact(ctx *Ctx, o *conv, xs, ws []int, terms int, x, w []float32, ys []int, acc []int32) error {
	s, err := o.layout(xs, ws)
	if err != nil {
		return err
	}
	taps, plane, places := s.KH*s.KW, s.H*s.W, s.OH*s.OW
	scratch := floatScratches.get(product(ys))
	defer floatScratches.Put(scratch)
	z := *scratch
	if s.C*taps <= terms {
		kernel.Conv32(ctx.Pool, s, z, x, w, nil, kernel.Identity, 0, 0)
		truncate(ctx.Pool, acc, z, false)
		return nil
	}
	images, groups, c := s.Images, s.Groups, s.C
	some := floatScratches.get(s.M * c * taps)
	defer floatScratches.Put(some)
	s.Images, s.Groups = 1, 1
	for g := range groups {
		for c0, step := 0, terms/taps; c0 < c; c0 += step {
			s.C = min(step, c-c0)
			weights := (*some)[:s.M*s.C*taps]
			for m := range s.M {
				copy(weights[m*s.C*taps:(m+1)*s.C*taps], w[((g*s.M+m)*c+c0)*taps:])
			}
			for i := range images {
				part := z[:s.M*places]
				kernel.Conv32(ctx.Pool, s, part, x[((i*groups+g)*c+c0)*plane:], weights, nil, kernel.Identity, 0, 0)
				truncate(ctx.Pool, acc[(i*groups+g)*s.M*places:][:len(part)], part, c0 > 0)
			}
		}
	}
	return nil
}

// convolveWide convolves them in float64, which takes any number of terms, over any number of axes.
func convolveWide(ctx *Ctx, o *conv, x, w *tensor.Tensor, ys []int, acc []int32) error {
	var wide [2]*tensor.Tensor
	for i, t := range []*tensor.Tensor{x, w} {
		wide[i] = tensor.New(tensor.Float64, t.Shape()...)
		if err := castTo(ctx.Pool, t, wide[i]); err != nil {
			return err
		}
	}
	sums := tensor.New(tensor.Float64, ys...)
	if err := convolve(ctx, o, wide[0], wide[1], nil, sums, kernel.Gemm64); err != nil {
		return err
	}
	for i, v := range tensor.Data[float64](sums) {
		acc[i] = int32(int64(v)) // wraps around, as int32 does
	}
	return nil
}
