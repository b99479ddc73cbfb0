package op

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// dft is the discrete Fourier transform along an axis of X, whose last axis
// holds real numbers (1) or complex ones (2). A second input is how many
// elements to transform, and from opset 20 on a third is the axis.
type dft struct {
	axis              int
	inverse, onesided bool
	axisInput         bool
}

func parseDFT(a *attrs) Op {
	o := &dft{inverse: a.bool("inverse", false), onesided: a.bool("onesided", false), axisInput: a.opset >= 20, axis: -2}
	if !o.axisInput {
		o.axis = int(a.int("axis", 1))
	}
	if o.inverse && o.onesided {
		a.fail(&Unsupported{OpType: "DFT", Detail: "inverse of one side"})
	}
	return o
}

func (o *dft) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	most := 2
	if o.axisInput {
		most = 3
	}
	if err := arity(in, 1, most); err != nil {
		return nil, err
	}
	x := in[0]
	if err := wantFloat("DFT", x.DType); err != nil {
		return nil, err
	}
	axis, axisKnown, err := scalarOf(in, 2, o.axis)
	if err != nil {
		return nil, err
	}
	n, nKnown, err := scalarOf(in, 1, -1)
	if err != nil || !x.Ranked {
		return unrankedFact(x.DType), err
	}
	rank := len(x.Shape)
	if rank < 2 {
		return nil, fmt.Errorf("input is %v, wanted an axis before the last one", x.Type)
	}
	if c, ok := x.Shape[rank-1].Const(); ok && c != 1 && c != 2 {
		return nil, fmt.Errorf("input is %v, wanted a last axis of 1 or 2", x.Type)
	}
	if !axisKnown {
		out := unknownDims(rank)
		out[rank-1] = graph.Size(2)
		return tensorFact(x.DType, out...), nil
	}
	if axis, err = normAxis(axis, rank); err != nil {
		return nil, err
	}
	if axis == rank-1 {
		return nil, fmt.Errorf("axis %d holds the parts of the numbers", axis)
	}
	shape := append([]graph.Dim{}, x.Shape...)
	shape[rank-1] = graph.Size(2)
	if !given(in, 1) {
		n, nKnown = x.Shape[axis].Const()
	} else if nKnown {
		shape[axis] = graph.Size(max(n, 0))
	} else {
		shape[axis] = graph.Unknown
	}
	if nKnown && (n < 1 || n > maxWindow) {
		return nil, fmt.Errorf("a transform of %d elements", n)
	}
	if o.onesided {
		if shape[axis] = graph.Unknown; nKnown {
			shape[axis] = graph.Size(n/2 + 1)
		}
	}
	return tensorFact(x.DType, shape...), nil
}

// scalarOf is an integer that an input gives, def where there is none.
func scalarOf(in []graph.Fact, i, def int) (n int, known bool, err error) {
	if !given(in, i) {
		return def, true, nil
	}
	if size, ok := graph.Product(in[i].Shape).Const(); in[i].Ranked && ok && size != 1 {
		return 0, false, fmt.Errorf("input %d is %v, wanted one number", i, in[i].Type)
	}
	if in[i].Const == nil {
		return 0, false, nil
	}
	v, ok := constInts(in[i])
	if !ok || len(v) != 1 {
		return 0, false, fmt.Errorf("input %d is %v, wanted one integer", i, in[i].Type)
	}
	return v[0], true, nil
}

// wantFloat is the error for an element type that is no floating-point one.
func wantFloat(name string, d tensor.DType) error {
	if d != tensor.Undefined && !d.IsFloat() {
		return unsupportedType(name, d)
	}
	return nil
}

func (o *dft) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("DFT", x.DType())
	}
	axis := o.axis
	if present(in, 2) {
		a, ok := intsIn(in[2].Tensor)
		if !ok {
			return unsupportedType("DFT", in[2].Tensor.DType())
		}
		axis = a[0]
	}
	if axis, err = normAxis(axis, x.Rank()); err != nil {
		return err
	}
	last := x.Rank() - 1
	parts := x.Shape()[last]
	outer, have, inner := around(x.Shape()[:last], axis)
	n := have
	if present(in, 1) {
		l, _ := intsIn(in[1].Tensor)
		n = l[0]
	}
	bins := y.Shape()[axis]
	line, result := make([]complex128, n), make([]float64, y.Len())
	fft := fourier.NewCmplxFFT(n)
	for i := range outer {
		for j := range inner {
			clear(line)
			for k := range min(n, have) {
				line[k] = complexAt(v[((i*have+k)*inner+j)*parts:], parts)
			}
			if o.inverse {
				fft.Sequence(line, line)
			} else {
				fft.Coefficients(line, line)
			}
			for k := range bins {
				c, at := line[k], ((i*bins+k)*inner+j)*2
				if o.inverse {
					c /= complex(float64(n), 0)
				}
				result[at], result[at+1] = real(c), imag(c)
			}
		}
	}
	return storeFloats(result, y)
}

// complexAt is the first number of v, of one part or two.
func complexAt(v []float64, parts int) complex128 {
	if parts == 2 {
		return complex(v[0], v[1])
	}
	return complex(v[0], 0)
}

// stft is the Fourier transforms of frames of X[N L 1 or 2] that begin a step
// apart, each times a window: Y[N frames bins 2].
type stft struct{ onesided bool }

func parseSTFT(a *attrs) Op { return &stft{a.bool("onesided", true)} }

func (o *stft) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 4); err != nil {
		return nil, err
	}
	x := in[0]
	if err := wantFloat("STFT", x.DType); err != nil {
		return nil, err
	}
	if err := withRank(x, "signal", 3); err != nil {
		return nil, err
	}
	step, stepKnown, err := scalarOf(in, 1, 0)
	if err != nil {
		return nil, err
	}
	length, known, err := scalarOf(in, 3, -1)
	if err != nil {
		return nil, err
	}
	if given(in, 2) {
		if err := withRank(in[2], "window", 1); err != nil {
			return nil, err
		}
		if in[2].Ranked {
			if n, ok := in[2].Shape[0].Const(); ok && given(in, 3) && known && n != length {
				return nil, fmt.Errorf("a window of %d for frames of %d", n, length)
			} else if ok {
				length, known = n, true
			}
		}
	}
	if !given(in, 3) && !given(in, 2) {
		return nil, fmt.Errorf("neither a window nor a frame length is there")
	}
	shape := []graph.Dim{graph.Unknown, graph.Unknown, graph.Unknown, graph.Size(2)}
	if known && length >= 0 {
		if length < 1 || length > maxWindow {
			return nil, fmt.Errorf("frames of %d", length)
		}
		bins := length
		if o.onesided {
			bins = length/2 + 1
		}
		shape[2] = graph.Size(bins)
	}
	if stepKnown && step < 1 {
		return nil, fmt.Errorf("frame_step is %d", step)
	}
	if x.Ranked {
		shape[0] = x.Shape[0]
		if n, ok := x.Shape[1].Const(); ok && stepKnown && known && length > 0 {
			if n < length {
				return nil, fmt.Errorf("frames of %d in a signal of %d", length, n)
			}
			shape[1] = graph.Size((n-length)/step + 1)
		}
		if c, ok := x.Shape[2].Const(); ok && c != 1 && c != 2 {
			return nil, fmt.Errorf("signal is %v, wanted a last axis of 1 or 2", x.Type)
		}
	}
	return tensorFact(x.DType, shape...), nil
}

func (o *stft) Forward(_ *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("STFT", x.DType())
	}
	steps, ok := intsIn(in[1].Tensor)
	if !ok {
		return unsupportedType("STFT", in[1].Tensor.DType())
	}
	var window []float64
	if present(in, 2) {
		if window, err = tensor.Float64s(in[2].Tensor); err != nil {
			return err
		}
	}
	n := len(window)
	if present(in, 3) {
		l, _ := intsIn(in[3].Tensor)
		n = l[0]
	}
	length, parts := x.Shape()[1], x.Shape()[2]
	frames, bins := y.Shape()[1], y.Shape()[2]
	line, result := make([]complex128, n), make([]float64, y.Len())
	fft := fourier.NewCmplxFFT(n)
	for f := range x.Shape()[0] * frames {
		from := f/frames*length + f%frames*steps[0]
		for k := range line {
			if line[k] = complexAt(v[(from+k)*parts:], parts); window != nil {
				line[k] *= complex(window[k], 0)
			}
		}
		fft.Coefficients(line, line)
		for k := range bins {
			result[(f*bins+k)*2], result[(f*bins+k)*2+1] = real(line[k]), imag(line[k])
		}
	}
	return storeFloats(result, y)
}

// cosines is a window: a sum of cosines whose coefficients it lists.
type cosines struct {
	name     string
	terms    []float64
	periodic bool
	to       tensor.DType
}

func parseCosines(name string, terms ...float64) parser {
	return func(a *attrs) Op {
		return &cosines{name, terms, a.bool("periodic", true), a.dtype("output_datatype", tensor.Float32)}
	}
}

func (o *cosines) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 1, 1); err != nil {
		return nil, err
	}
	n, known, err := scalarOf(in, 0, 0)
	if err != nil || !known {
		return rankFact(o.to, 1), err
	}
	if n < 0 || n > maxWindow {
		return nil, fmt.Errorf("a window of %d", n)
	}
	return tensorFact(o.to, graph.Size(n)), nil
}

func (o *cosines) Forward(_ *Ctx, _, out []tensor.Value) error {
	v := make([]float64, out[0].Tensor.Len())
	span := float64(len(v))
	if !o.periodic {
		span--
	}
	for i := range v {
		for k, c := range o.terms {
			if v[i] += c * math.Cos(2*math.Pi*float64(k*i)/span); span == 0 && k > 0 {
				v[i] = 1 // a symmetric window of one element
			}
		}
	}
	return storeFloats(v, out[0].Tensor)
}

// melWeights is the matrix [bins mel] that takes a spectrum to mel bands. Its
// inputs are the number of bands, the length of the transform, the sample rate
// and the edges of the bands in hertz.
type melWeights struct{ to tensor.DType }

func parseMelWeights(a *attrs) Op { return &melWeights{a.dtype("output_datatype", tensor.Float32)} }

func (o *melWeights) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 5, 5); err != nil {
		return nil, err
	}
	shape := unknownDims(2)
	for i := range 2 {
		n, known, err := scalarOf(in, i, 0)
		if err != nil {
			return nil, err
		}
		if known && (n < 1 || n > maxWindow) {
			return nil, fmt.Errorf("input %d is %d", i, n)
		}
		switch {
		case known && i == 0:
			shape[1] = graph.Size(n)
		case known:
			shape[0] = graph.Size(n/2 + 1)
		}
	}
	return tensorFact(o.to, shape...), nil
}

func (o *melWeights) Forward(_ *Ctx, in, out []tensor.Value) error {
	var v [5]float64
	for i := range v {
		f, err := tensor.Float64s(in[i].Tensor)
		if err != nil {
			return unsupportedType("MelWeightMatrix", in[i].Tensor.DType())
		}
		v[i] = f[0]
	}
	y := out[0].Tensor
	bins, bands := y.Shape()[0], y.Shape()[1]
	low, high := 2595*math.Log10(1+v[3]/700), 2595*math.Log10(1+v[4]/700)
	edges := make([]int, bands+2)
	for i := range edges {
		mel := low + float64(i)*(high-low)/float64(len(edges))
		edges[i] = int(math.Floor((v[1] + 1) * (700 * (math.Pow(10, mel/2595) - 1)) / v[2]))
	}
	w := make([]float64, bins*bands)
	for b := range bands {
		lo, mid, hi := edges[b], edges[b+1], edges[b+2]
		for k := max(lo, 0); k <= min(mid, bins-1); k++ {
			if w[k*bands+b] = 1; mid > lo {
				w[k*bands+b] = float64(k-lo) / float64(mid-lo)
			}
		}
		for k := max(mid, 0); k < min(hi, bins); k++ {
			w[k*bands+b] = float64(hi-k) / float64(hi-mid)
		}
	}
	return storeFloats(w, y)
}
