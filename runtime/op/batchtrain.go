package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// batchTrain is BatchNormalization in training mode, from opset 14 on: it
// normalises each channel of X[N C …] by the moments that it has over the
// batch, and gives out the running moments, momentum of which are kept.
type batchTrain struct{ epsilon, momentum float64 }

func (o *batchTrain) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if nOut > 3 {
		return nil, fmt.Errorf("found %d outputs, wanted at most 3", nOut)
	}
	out, err := (&channelNorm{name: "BatchNormalization", given: true}).Infer(in, 1)
	if err != nil {
		return nil, err
	}
	for k := 1; k < nOut; k++ {
		f := unrankedFact(in[2+k].DType)[0]
		if in[0].Ranked {
			f = tensorFact(in[2+k].DType, in[0].Shape[1])[0]
		}
		out = append(out, f)
	}
	return out, nil
}

func (o *batchTrain) Forward(_ *Ctx, in, out []tensor.Value) error {
	var v [5][]float64
	for i := range v {
		var err error
		if v[i], err = tensor.Float64s(in[i].Tensor); err != nil {
			return unsupportedType("BatchNormalization", in[i].Tensor.DType())
		}
	}
	shape := in[0].Tensor.Shape()
	n, c, inner := shape[0], shape[1], product(shape[2:])
	x := v[0]
	for ch := range c {
		each := func(f func(p *float64)) {
			for i := range n {
				at := (i*c + ch) * inner
				for j := range x[at : at+inner] {
					f(&x[at+j])
				}
			}
		}
		mean, variance := 0.0, 0.0
		each(func(p *float64) { mean += *p })
		mean /= float64(n * inner)
		each(func(p *float64) { variance += (*p - mean) * (*p - mean) })
		variance /= float64(n * inner)
		scale := v[1][ch] / math.Sqrt(variance+o.epsilon)
		each(func(p *float64) { *p = (*p-mean)*scale + v[2][ch] })
		v[3][ch] = v[3][ch]*o.momentum + mean*(1-o.momentum)
		v[4][ch] = v[4][ch]*o.momentum + variance*(1-o.momentum)
	}
	for k, from := range [][]float64{x, v[3], v[4]} {
		if present(out, k) {
			if err := storeFloats(from, out[k].Tensor); err != nil {
				return err
			}
		}
	}
	return nil
}
