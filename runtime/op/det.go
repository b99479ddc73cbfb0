package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// det is the determinant of each matrix of a stack.
type det struct{}

func parseDet(*attrs) Op { return det{} }

func (det) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferSame("Det", in)
	if err != nil || !in[0].Ranked {
		return out, err
	}
	shape := in[0].Shape
	n := len(shape) - 2
	if n < 0 || differ(shape[n], shape[n+1]) {
		return nil, fmt.Errorf("input %v is no stack of square matrices", in[0].Type)
	}
	return tensorFact(in[0].DType, shape[:n]...), nil
}

func (det) Forward(_ *Ctx, in, out []tensor.Value) error {
	x := in[0].Tensor
	v, err := tensor.Float64s(x)
	if err != nil {
		return unsupportedType("Det", x.DType())
	}
	n := x.Shape()[x.Rank()-1]
	dets := make([]float64, out[0].Tensor.Len())
	for i := range dets {
		dets[i] = determinant(v[i*n*n:(i+1)*n*n], n)
	}
	return storeFloats(dets, out[0].Tensor)
}

// determinant eliminates in place with row pivots; of no rows it is 1.
func determinant(a []float64, n int) float64 {
	d := 1.0
	for k := range n {
		p := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[p*n+k]) {
				p = i
			}
		}
		pivot := a[p*n+k]
		if pivot == 0 {
			return 0
		}
		if p != k {
			d = -d
			for j := range n {
				a[p*n+j], a[k*n+j] = a[k*n+j], a[p*n+j]
			}
		}
		d *= pivot
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / pivot
			for j := k + 1; j < n; j++ {
				a[i*n+j] -= f * a[k*n+j]
			}
		}
	}
	return d
}
