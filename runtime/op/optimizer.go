package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// optimizer is a step of training as ai.onnx.preview.training has it: Adagrad,
// Adam or Momentum. Its inputs are the learning rate, how many steps were made
// before, then for n tensors all values X, all gradients G and all states; its
// outputs the new values and states.
type optimizer struct {
	name   string
	states int // tensors of state for each value
	step   func(rate, count, x, g float64, s []float64) float64
}

func parseAdagrad(a *attrs) Op {
	decay, epsilon, norm := float64(a.float("decay_factor", 0)), float64(a.float("epsilon", 0)), float64(a.float("norm_coefficient", 0))
	return &optimizer{"Adagrad", 1, func(rate, count, x, g float64, s []float64) float64 {
		g += norm * x
		s[0] += g * g
		return x - rate/(1+count*decay)*g/(math.Sqrt(s[0])+epsilon)
	}}
}

func parseAdam(a *attrs) Op {
	alpha, beta, epsilon := float64(a.float("alpha", 0.9)), float64(a.float("beta", 0.999)), float64(a.float("epsilon", 0))
	norm, post := float64(a.float("norm_coefficient", 0)), float64(a.float("norm_coefficient_post", 0))
	return &optimizer{"Adam", 2, func(rate, count, x, g float64, s []float64) float64 {
		g += norm * x
		s[0] = alpha*s[0] + (1-alpha)*g
		s[1] = beta*s[1] + (1-beta)*g*g
		if count > 0 {
			rate *= math.Sqrt(1-math.Pow(beta, count)) / (1 - math.Pow(alpha, count))
		}
		return (1 - post) * (x - rate*s[0]/(math.Sqrt(s[1])+epsilon))
	}}
}

func parseMomentum(a *attrs) Op {
	alpha, beta, norm := float64(a.float("alpha", 0)), float64(a.float("beta", 0)), float64(a.float("norm_coefficient", 0))
	mode := a.string("mode", "")
	if mode != "standard" && mode != "nesterov" {
		a.fail(fmt.Errorf("attribute mode is %q, wanted standard or nesterov", mode))
	}
	return &optimizer{"Momentum", 1, func(rate, count, x, g float64, s []float64) float64 {
		g += norm * x
		damped := g
		if count > 0 {
			damped *= beta
		}
		s[0] = alpha*s[0] + damped
		if mode == "nesterov" {
			return x - rate*(g+alpha*s[0])
		}
		return x - rate*s[0]
	}}
}

func (o *optimizer) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	each := 2 + o.states
	if len(in) < 2+each || (len(in)-2)%each != 0 {
		return nil, fmt.Errorf("found %d inputs, wanted 2 and %d for each tensor", len(in), each)
	}
	n := (len(in) - 2) / each
	if nOut > n*(1+o.states) {
		return nil, fmt.Errorf("found %d outputs, wanted %d", nOut, n*(1+o.states))
	}
	for i := range 2 {
		if size, ok := graph.Product(in[i].Shape).Const(); in[i].Ranked && ok && size != 1 {
			return nil, fmt.Errorf("input %d is %v, wanted one number", i, in[i].Type)
		}
	}
	var out []graph.Fact
	for k := range 1 + o.states {
		for i := range n {
			x := in[2+i]
			for j := 1; j < each; j++ {
				if y := in[2+j*n+i]; x.Ranked && y.Ranked && !loose(x.Shape, y.Shape) {
					return nil, fmt.Errorf("inputs %d and %d differ: %v and %v", 2+i, 2+j*n+i, x.Type, y.Type)
				}
			}
			if k > 0 {
				x = in[2+(1+k)*n+i]
			}
			out = append(out, graph.Fact{Type: x.Type})
		}
	}
	return out[:nOut], nil
}

// loose reports whether two shapes may be the same.
func loose(a, b []graph.Dim) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if differ(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (o *optimizer) Forward(_ *Ctx, in, out []tensor.Value) error {
	wide := make([][]float64, len(in))
	for i, v := range in {
		var err error
		if wide[i], err = tensor.Float64s(v.Tensor); err != nil {
			return unsupportedType(o.name, v.Tensor.DType())
		}
	}
	n := (len(in) - 2) / (2 + o.states)
	rate, count := wide[0][0], wide[1][0]
	s := make([]float64, o.states)
	for i := range n {
		x, g := wide[2+i], wide[2+n+i]
		for j := range x {
			for k := range s {
				s[k] = wide[2+(2+k)*n+i][j]
			}
			x[j] = o.step(rate, count, x[j], g[j], s)
			for k := range s {
				wide[2+(2+k)*n+i][j] = s[k]
			}
		}
	}
	for k := range out {
		from := wide[2+k]
		if k >= n {
			from = wide[2+n+k] // past the gradients
		}
		if present(out, k) {
			if err := storeFloats(from, out[k].Tensor); err != nil {
				return err
			}
		}
	}
	return nil
}
