package op

import (
	"bilinc/runtime/tensor"
)

// AsDifferentiable is o where it has a gradient, nil where it has none.
func AsDifferentiable(o Op) Differentiable {
	d, ok := o.(Differentiable)
	if !ok {
		return nil
	}
	if p, ok := o.(partly); ok && !p.hasGradient() {
		return nil
	}
	return d
}

// A partly differentiable op has a gradient only for some of the operators,
// or attributes, that its type stands for.
type partly interface{ hasGradient() bool }

// float is an element type that gradients are computed in.
type float interface{ float32 | float64 }

// byFloat calls the one of two functions that is for element type d.
func byFloat(name string, d tensor.DType, f32, f64 func()) error {
	switch d {
	case tensor.Float32:
		f32()
	case tensor.Float64:
		f64()
	default:
		return &Unsupported{OpType: name, Detail: "backward for " + d.String()}
	}
	return nil
}

// gradient is the elements of the i-th gradient, nil where there is none: a
// gradient that is zero, or not wanted.
func gradient[T float](vs []tensor.Value, i int) []T {
	if i >= len(vs) || vs[i].Kind != tensor.KindTensor {
		return nil
	}
	return tensor.Data[T](vs[i].Tensor)
}

// addBack is the backward of an op that gives out the elements of its first
// input as they are: din += dout.
func addBack(name string, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) {
		return nil
	}
	return byFloat(name, din[0].Tensor.DType(),
		func() { addTo(gradient[float32](din, 0), gradient[float32](dout, 0)) },
		func() { addTo(gradient[float64](din, 0), gradient[float64](dout, 0)) })
}

// addWide adds a gradient that was computed in float64.
func addWide(name string, din tensor.Value, g []float64) error {
	return byFloat(name, din.Tensor.DType(),
		func() {
			for i, d := 0, tensor.Data[float32](din.Tensor); i < len(d); i++ {
				d[i] += float32(g[i])
			}
		},
		func() { addTo(tensor.Data[float64](din.Tensor), g) })
}

// boxBack is the backward of an op that fills its first output by copying b:
// each element of the gradient goes back to where it came from, to the sum of
// those that came from the same place.
func boxBack(name string, b box, dout, din []tensor.Value) error {
	if !present(dout, 0) || !present(din, 0) || product(b.shape) == 0 {
		return nil
	}
	back := box{shape: b.shape, dstAt: b.src, src: b.dstAt, dstStrides: b.srcStrides, srcStrides: b.dstStrides}.merged()
	return byFloat(name, din[0].Tensor.DType(),
		func() { addBox(gradient[float32](din, 0), gradient[float32](dout, 0), back) },
		func() { addBox(gradient[float64](din, 0), gradient[float64](dout, 0), back) })
}

// addBox adds a part of from to one of to.
func addBox[T float](to, from []T, b box) {
	last := len(b.shape) - 1
	ds, ss := b.dstStrides[last], b.srcStrides[last]
	b.rows(func(at, src, n int) {
		switch {
		case ds == 1 && ss == 1:
			addTo(to[at:at+n], from[src:src+n])
		case ds == 0 && ss == 1:
			to[at] += sumOf(from[src : src+n])
		default:
			for range n {
				to[at] += from[src]
				at += ds
				src += ss
			}
		}
	})
}

// addTo is y += x.
func addTo[T float](y, x []T) {
	x = x[:len(y)]
	for i := range y {
		y[i] += x[i]
	}
}

// addScaled is y += a·x.
func addScaled[T float](y []T, a T, x []T) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}

// addProduct is z += x·y, element by element.
func addProduct[T float](z, x, y []T) {
	x, y = x[:len(z)], y[:len(z)]
	for i := range z {
		z[i] += x[i] * y[i]
	}
}

// sumOf adds up x in four chains.
func sumOf[T float](x []T) T {
	var s [4]T
	for len(x) >= 4 {
		s[0] += x[0]
		s[1] += x[1]
		s[2] += x[2]
		s[3] += x[3]
		x = x[4:]
	}
	for _, v := range x {
		s[0] += v
	}
	return s[0] + s[1] + (s[2] + s[3])
}

// dot is Σ x·y in four chains.
func dot[T float](x, y []T) T {
	var s [4]T
	for len(x) >= 4 && len(y) >= 4 {
		s[0] += x[0] * y[0]
		s[1] += x[1] * y[1]
		s[2] += x[2] * y[2]
		s[3] += x[3] * y[3]
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s[0] += v * y[i]
	}
	return s[0] + s[1] + (s[2] + s[3])
}

// addReduced adds a·dy, summed over the axes along which dx's shape is
// broadcast to dy's, to dx.
func addReduced[T float](dx []T, shape []int, a T, dy []T, outShape []int) {
	newWalk(outShape, shape).rows(func(at, n int, offs, steps []int) {
		row, i := dy[at:at+n], offs[0]
		// The innermost axis is dx's own or broadcast: its step is 1 or 0.
		switch {
		case steps[0] == 0:
			dx[i] += a * sumOf(row)
		case a == 1:
			addTo(dx[i:i+n], row)
		default:
			addScaled(dx[i:i+n], a, row)
		}
	})
}

// zipBack adds f(x, y, dz) to dx, where z was made by zip from x and y of the
// shapes xs and ys: the partial derivative by x times dz.
func zipBack[T float](dx, x []T, xs []int, y []T, ys []int, dz []T, zs []int, f func(x, y, dz T) T) {
	newWalk(zs, xs, ys).rows(func(at, n int, offs, steps []int) {
		row := dz[at : at+n]
		i, j := offs[0], offs[1]
		if steps[0] == 0 {
			var s T
			for _, g := range row {
				s += f(x[i], y[j], g)
				j += steps[1]
			}
			dx[i] += s
			return
		}
		for _, g := range row {
			dx[i] += f(x[i], y[j], g)
			i += steps[0]
			j += steps[1]
		}
	})
}

// scatterBack adds the k-th size elements of dy to those of dx from pos[k] on:
// the backward of taking them. Either may be nil.
func scatterBack[T float](dx, dy []T, pos []int, size int) {
	if dx == nil || dy == nil {
		return
	}
	for k, p := range pos {
		addTo(dx[p:p+size], dy[k*size:])
	}
}
