package op

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// someIndices is indices of an axis of d, also negative ones, as int64 or as int32.
func someIndices(r *rand.Rand, d tensor.DType, axis int, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Int64, shape...)
	for i := range tensor.Data[int64](t) {
		tensor.Data[int64](t)[i] = int64(r.IntN(2*axis) - axis)
	}
	return recast(d, t)
}

// smallNumbers is whole numbers of a type, which have exact sums and products.
func smallNumbers(r *rand.Rand, d tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(r.IntN(5))
	}
	return recast(d, t)
}

// checkScatter compares an operator by places, on several numbers of threads, with the plain loops over a list of all
// positions, to the bit.
func checkScatter(t *testing.T, o opTest, plain func(rule scatterRule, y *tensor.Tensor) error) {
	t.Helper()
	x, at, updates := o.in[0], o.in[1], o.in[2]
	rule := scatterRule(o.name)
	want := tensor.New(x.DType(), x.Shape()...)
	if err := plain(rule, want); err != nil {
		t.Fatal(err)
	}
	o.attrs = append(o.attrs, attrString("reduction", o.name))
	for _, p := range poolsOfThree(t) {
		if got := o.eval(t, p)[0].Tensor; !tensor.Equal(got, want) {
			t.Errorf("%s %s of %v at %v by %v on %d threads differs from plain loops", o.op, o.name, x, at, updates, p.Threads())
		}
	}
}

var (
	scatterRules = []string{"none", "add", "mul", "min", "max"}
	scatterTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
		tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64}
)

func TestScatterElementsByPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for i, c := range []struct {
		shape, at []int
		axis      int
	}{
		{[]int{70000}, []int{90000}, 0}, {[]int{300, 200}, []int{300, 150}, 1}, {[]int{300, 200}, []int{250, 200}, 0},
		{[]int{3, 9000}, []int{3, 9000}, 1}, {[]int{3, 9000}, []int{2, 20000}, 1}, {[]int{40, 50, 30}, []int{40, 20, 30}, 1},
		{[]int{40, 50, 30}, []int{39, 60, 30}, 1}, {[]int{40, 50, 30}, []int{40, 50, 20}, 1}, {[]int{5, 7, 6, 9}, []int{4, 7, 5, 9}, 2},
		{[]int{2, 100, 500}, []int{2, 77, 500}, 1}, {[]int{9, 3000}, []int{1, 3000}, 0}, {[]int{9, 3000}, []int{0, 3000}, 0}, {[]int{4, 5}, []int{4, 5}, 0},
	} {
		for k, rule := range scatterRules {
			d := scatterTypes[(3*i+k)%len(scatterTypes)]
			for _, d := range []tensor.DType{tensor.Float32, d} {
				x, updates := smallNumbers(r, d, c.shape...), smallNumbers(r, d, c.at...)
				at := someIndices(r, []tensor.DType{tensor.Int64, tensor.Int32}[k%2], c.shape[c.axis], c.at...)
				o := opTest{name: rule, op: "ScatterElements", opset: 18, attrs: []*graph.Attr{attrInt("axis", int64(c.axis))}, in: []*tensor.Tensor{x, at, updates}}
				checkScatter(t, o, func(rule scatterRule, y *tensor.Tensor) error {
					pos, err := elementPositions(nil, x, at, c.axis)
					if err != nil {
						return err
					}
					return scatter(rule, x, updates, y, scattering{pos, 1})
				})
			}
		}
	}
}

func TestScatterNDByPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	for i, c := range []struct{ shape, at []int }{
		{[]int{70000}, []int{90000, 1}}, {[]int{300, 200}, []int{50000, 2}}, {[]int{40, 30, 20}, []int{300, 70, 3}}, {[]int{40, 30, 20}, []int{9000, 2}},
		{[]int{300, 200}, []int{500, 1}}, {[]int{3, 20000}, []int{5, 1}}, {[]int{5, 6}, []int{7, 2}}, {[]int{5, 6}, []int{0, 2}}, {[]int{5, 6}, []int{3, 0}},
	} {
		depth := c.at[len(c.at)-1]
		size := product(c.shape[depth:])
		for k, rule := range scatterRules {
			for _, d := range []tensor.DType{tensor.Float32, scatterTypes[(3*i+k)%len(scatterTypes)]} {
				columns := make([]*tensor.Tensor, depth)
				for a := range columns {
					columns[a] = someIndices(r, tensor.Int64, c.shape[a], product(c.at[:len(c.at)-1]))
				}
				at := tensor.New(tensor.Int64, c.at...)
				for j := range tensor.Data[int64](at) {
					tensor.Data[int64](at)[j] = tensor.Data[int64](columns[j%depth])[j/depth]
				}
				at = recast([]tensor.DType{tensor.Int64, tensor.Int32}[k%2], at)
				x, updates := smallNumbers(r, d, c.shape...), smallNumbers(r, d, slices.Concat(c.at[:len(c.at)-1], c.shape[depth:])...)
				o := opTest{name: rule, op: "ScatterND", opset: 18, in: []*tensor.Tensor{x, at, updates}}
				checkScatter(t, o, func(rule scatterRule, y *tensor.Tensor) error {
					pos, _, err := slicePositions(nil, x, at, 0)
					if err != nil {
						return err
					}
					return scatter(rule, x, updates, y, scattering{pos, size})
				})
			}
		}
	}
}

// An index that is outside of its axis is named, however many there are and on whatever core.
func TestScatterOutside(t *testing.T) {
	for _, c := range []struct {
		op     string
		at     []int
		axis   int
		update []int
		err    string
	}{
		{"ScatterElements", []int{300, 200}, 0, []int{300, 200}, "index 300 is outside an axis of 300"},
		{"ScatterElements", []int{300, 200}, 1, []int{300, 200}, "index 300 is outside an axis of 200"},
		{"ScatterND", []int{40000, 2}, 0, []int{40000}, "index 300 is outside axis 1 of"},
		{"ScatterND", []int{4000, 1}, 0, []int{4000, 200}, "index 300 is outside axis 0 of"},
	} {
		at := tensor.New(tensor.Int64, c.at...)
		tensor.Data[int64](at)[at.Len()-1] = 300
		o := opTest{op: c.op, opset: 18, in: []*tensor.Tensor{random(1, 300, 200), at, random(2, c.update...)}}
		if c.op == "ScatterElements" {
			o.attrs = []*graph.Attr{attrInt("axis", int64(c.axis))}
		}
		for _, p := range poolsOfThree(t) {
			got := "no error"
			if err := o.tryOn(t, p); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.err) {
				t.Errorf("%s on %d threads: %s, wanted %s", c.op, p.Threads(), got, c.err)
			}
		}
	}
	if s := fmt.Sprint(scattererOf("add", tensor.New(tensor.Bool, 1), tensor.New(tensor.Bool, 1), tensor.New(tensor.Bool, 1))); s != "<nil>" {
		t.Errorf("truth values are added up by %v", s)
	}
}

// tryOn is the error of a test's node.
func (c *opTest) tryOn(t *testing.T, p *kernel.Pool) error {
	t.Helper()
	o, err := parseOp(*c, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Eval(&Ctx{Pool: p}, o, []tensor.Value{tensor.ValueOf(c.in[0]), tensor.ValueOf(c.in[1]), tensor.ValueOf(c.in[2])}, 1)
	return err
}

// recast is a tensor as another type.
func recast(d tensor.DType, x *tensor.Tensor) *tensor.Tensor {
	y := tensor.New(d, x.Shape()...)
	if err := castTo(nil, x, y); err != nil {
		panic(err)
	}
	return y
}
