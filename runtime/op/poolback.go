package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// Backward gives the gradient of a maximum to the element that MaxPool took,
// and shares that of a sum among the elements that it sees.
func (o *pool) Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	s, err := o.slides(in[0].Tensor.Shape()[2:], o.kernel)
	if err != nil {
		return err
	}
	return byFloat(o.name, out[0].Tensor.DType(),
		func() { poolBack[float32](ctx, o, s, in, out, dout, din) },
		func() { poolBack[float64](ctx, o, s, in, out, dout, din) })
}

func poolBack[T float](ctx *Ctx, o *pool, s [maxSpatial]slide, in, out, dout, din []tensor.Value) {
	plane := s[0].in * s[1].in * s[2].in
	image, pooled := tensor.Data[T](in[0].Tensor), tensor.Data[T](out[0].Tensor)
	planes(ctx, s, gradient[T](din, 0), gradient[T](dout, 0), func(k int, dx, dy []T) {
		x := image[k*plane : (k+1)*plane]
		for i, g := range dy {
			oz, oy, ox := i/(s[1].out*s[2].out), i/s[2].out%s[1].out, i%s[2].out
			switch o.name {
			case "MaxPool":
				where := -1
				positions(&s, oz, oy, ox, func(p int) {
					if where < 0 || x[p] > x[where] || x[p] != x[p] && x[where] == x[where] {
						where = p
					}
				})
				if where >= 0 {
					dx[where] += g
				}
			case "AveragePool":
				count := 0
				positions(&s, oz, oy, ox, func(int) { count++ })
				if o.countPads {
					count = s[0].padded(oz) * s[1].padded(oy) * s[2].padded(ox)
				}
				share := g / T(max(1, count))
				positions(&s, oz, oy, ox, func(p int) { dx[p] += share })
			default:
				y := pooled[k*len(dy)+i]
				positions(&s, oz, oy, ox, func(p int) { dx[p] += g * normBack(x[p], y, o.p) })
			}
		}
	})
}

// normBack is the derivative of the p-norm y by one of its elements; 0 where
// the norm is.
func normBack[T float](x, y T, p int) T {
	switch {
	case y == 0:
		return 0
	case p == 2:
		return x / y
	}
	return T(sign(float64(x)) * math.Pow(math.Abs(float64(x)/float64(y)), float64(p-1)))
}

func (o *globalPool) Backward(_ *Ctx, in, out, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	return byFloat(o.name, out[0].Tensor.DType(),
		func() { globalPoolBack[float32](o, in, out, dout, din) },
		func() { globalPoolBack[float64](o, in, out, dout, din) })
}

func globalPoolBack[T float](o *globalPool, in, out, dout, din []tensor.Value) {
	image, y := tensor.Data[T](in[0].Tensor), tensor.Data[T](out[0].Tensor)
	all, dy := gradient[T](din, 0), gradient[T](dout, 0)
	n := product(in[0].Tensor.Shape()[2:])
	for i, g := range dy {
		x, dx := image[i*n:(i+1)*n], all[i*n:(i+1)*n]
		switch o.name {
		case "GlobalMaxPool":
			where := 0
			for k, v := range x {
				if v > x[where] || v != v && x[where] == x[where] {
					where = k
				}
			}
			dx[where] += g
		case "GlobalAveragePool":
			for k := range dx {
				dx[k] += g / T(n)
			}
		default:
			for k := range dx {
				dx[k] += g * normBack(x[k], y[i], o.p)
			}
		}
	}
}
