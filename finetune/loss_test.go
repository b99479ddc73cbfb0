package finetune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

func normals(r *rand.Rand, scale float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float64, shape...)
	for i, v := 0, tensor.Data[float64](t); i < len(v); i++ {
		v[i] = scale * r.NormFloat64()
	}
	return t
}

func total(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

// checkGradient compares d with central differences of f by the elements of x.
func checkGradient(t *testing.T, x, d *tensor.Tensor, f func() float64) {
	t.Helper()
	const h = 1e-5
	v, g := tensor.Data[float64](x), tensor.Data[float64](d)
	for i, at := range v {
		v[i] = at + h
		up := f()
		v[i] = at - h
		down := f()
		v[i] = at
		if want := (up - down) / (2 * h); math.Abs(g[i]-want) > 1e-7*(1+math.Abs(want)) {
			t.Errorf("gradient %d is %g, by differences %g", i, g[i], want)
		}
	}
}

func TestEntropiesByDifferences(t *testing.T) {
	pool := kernel.NewPool(2)
	for _, c := range []struct {
		shape      []int
		axis       int
		ce, kl     float64
		smoothing  float64
		temp       float64
		masked     bool
		noGradient bool
	}{
		{shape: []int{5, 4}, axis: 1, ce: 1, temp: 1},
		{shape: []int{5, 4}, axis: 1, ce: 0.7, smoothing: 0.2, temp: 1},
		{shape: []int{5, 4}, axis: 1, kl: 1, temp: 1},
		{shape: []int{5, 4}, axis: 1, kl: 0.4, ce: 0.6, temp: 3, smoothing: 0.1},
		{shape: []int{2, 3, 4}, axis: 2, kl: 1, ce: 1, temp: 2, masked: true},
		{shape: []int{2, 3, 2, 2}, axis: 1, kl: 1, ce: 1, temp: 2, masked: true},
	} {
		t.Run(fmt.Sprintf("%v/%d/%g/%g", c.shape, c.axis, c.ce, c.kl), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			s, teacher := normals(r, 2, c.shape...), normals(r, 2, c.shape...)
			l := layoutOf(c.shape, c.axis)
			e := entropies{layout: l, ce: c.ce, kl: c.kl, smoothing: c.smoothing, temperature: c.temp, factor: 0.3, teacher: teacher,
				class: make([]int32, l.positions), loss: make([]float64, l.positions), right: make([]bool, l.positions)}
			for p := range e.class {
				e.class[p] = int32(r.IntN(l.classes))
			}
			if c.masked {
				e.weight = make([]float64, l.positions)
				for p := range e.weight {
					e.weight[p] = float64(p % 2)
				}
			}
			d := tensor.New(tensor.Float64, c.shape...)
			for i := range tensor.Data[float64](d) {
				tensor.Data[float64](d)[i] = math.NaN() // to be overwritten
			}
			e.run(pool, s, d)
			checkGradient(t, s, d, func() float64 { e.run(pool, s, nil); return 0.3 * total(e.loss) })
			for p, right := range e.right {
				best, at := 0, func(k int) float64 { return tensor.Data[float64](s)[l.first(p)+k*l.inner] }
				for k := range l.classes {
					if at(k) > at(best) {
						best = k
					}
				}
				if want := best == int(e.class[p]) && (!c.masked || p%2 == 1); right != want {
					t.Errorf("position %d: right is %v", p, right)
				}
			}
		})
	}
}

// The losses of one row, worked out by hand.
func TestEntropiesOfARow(t *testing.T) {
	s, teacher := tensor.Of([]float64{0, math.Log(3)}, 1, 2), tensor.Of([]float64{0, 0}, 1, 2)
	run := func(e entropies) float64 {
		e.layout, e.teacher, e.loss, e.right = layoutOf(s.Shape(), 1), teacher, make([]float64, 1), make([]bool, 1)
		e.run(nil, s, nil)
		return e.loss[0]
	}
	// p = (¼, ¾), the teacher's (½, ½).
	for _, c := range []struct {
		name string
		e    entropies
		want float64
	}{
		{"ce", entropies{ce: 1, class: []int32{0}, temperature: 1}, math.Log(4)},
		{"smoothed", entropies{ce: 1, class: []int32{0}, smoothing: 0.5, temperature: 1}, 0.75*math.Log(4) + 0.25*math.Log(4./3)},
		{"kl", entropies{kl: 1, temperature: 1}, 0.5*math.Log(2) + 0.5*math.Log(2./3)},
	} {
		if got := run(c.e); math.Abs(got-c.want) > 1e-14 {
			t.Errorf("%s: %g, wanted %g", c.name, got, c.want)
		}
	}
}

// A teacher that is sure gives no NaN, and neither do scores that are far apart.
func TestEntropiesAtTheEdge(t *testing.T) {
	s, teacher := tensor.Of([]float32{-1e4, 1e4, 0}, 1, 3), tensor.Of([]float32{1e4, -1e4, 0}, 1, 3)
	d := tensor.New(tensor.Float32, 1, 3)
	e := entropies{layout: layoutOf(s.Shape(), 1), ce: 1, kl: 1, temperature: 1, factor: 1, class: []int32{0}, teacher: teacher,
		loss: make([]float64, 1), right: make([]bool, 1)}
	e.run(nil, s, d)
	if e.loss[0] != 4e4 {
		t.Errorf("the loss is %g", e.loss[0])
	}
	for i, want := range []float32{-2, 2, 0} {
		if got := tensor.Data[float32](d)[i]; got != want {
			t.Errorf("gradient %d is %g, wanted %g", i, got, want)
		}
	}
}

func TestSquaresByDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s, y := normals(r, 1, 6, 3), normals(r, 1, 6, 3)
	for _, weight := range [][]float64{nil, {1, 0, 1, 1, 0, 1}} {
		d := tensor.New(tensor.Float64, 6, 3)
		q := squares{scale: 0.7, factor: 0.3, weight: weight, each: 3, loss: make([]float64, 6)}
		q.run(kernel.NewPool(2), s, y, d)
		sum := 0.0
		for i := range tensor.Data[float64](s) {
			if weight == nil || weight[i/3] != 0 {
				sum += 0.7 * math.Pow(tensor.Data[float64](s)[i]-tensor.Data[float64](y)[i], 2)
			}
		}
		if got := total(q.loss); math.Abs(got-sum) > 1e-12 {
			t.Errorf("%g, wanted %g", got, sum)
		}
		checkGradient(t, s, d, func() float64 { q.run(nil, s, y, nil); return 0.3 * total(q.loss) })
		once := tensor.Data[float64](d)[0]
		q.run(nil, s, y, d)
		if tensor.Data[float64](d)[0] != 2*once {
			t.Error("the gradient is not added")
		}
	}
}
