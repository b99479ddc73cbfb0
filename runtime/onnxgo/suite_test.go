package onnxgo_test

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx" // registers the cases
	gorgonia "gorgonia.org/tensor"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/onnxgo"
	"bilinc/runtime/tensor"
)

func TestProbe(t *testing.T) {
	cases := suite()
	fmt.Println(len(cases))
	n := 0
	for _, c := range cases {
		if err := throughFile(c); err != nil {
			fmt.Println("FILE", c.Title, err)
			n++
		}
	}
	fmt.Println(n)
	h := 0
	for _, c := range cases {
		g := onnxgo.NewGraph()
		t.Run(c.Title, c.RunTest(g, false))
		if c.Skipped {
			fmt.Println("SKIP", c.Title)
		}
	}
	_ = h
}

func suite() []*testbackend.TestCase {
	var out []*testbackend.TestCase
	for _, f := range testbackend.GetAllRegisteredTests() {
		out = append(out, f())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Title < out[j].Title })
	return out
}

// throughFile reads the case's model as bilinc does and compares what it
// computes, within the tolerances of ONNX's own tests.
func throughFile(c *testbackend.TestCase) error {
	m, err := onnx.Decode(c.ModelB, "")
	if err != nil {
		return err
	}
	p, err := runtime.Compile(m, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	in := make([]tensor.Value, len(p.Inputs()))
	for i := range in {
		if i >= len(c.Input) {
			break
		}
		t, err := convert(c.Input[i])
		if err != nil {
			return err
		}
		in[i] = tensor.ValueOf(t)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		return err
	}
	for i, v := range out {
		want, err := convert(c.ExpectedOutput[i])
		if err != nil {
			return err
		}
		if err := same(v.Tensor, want); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

func convert(t gorgonia.Tensor) (*tensor.Tensor, error) {
	switch v := t.Data().(type) {
	case []float32:
		return tensor.Of(v, t.Shape()...), nil
	case []float64:
		return tensor.Of(v, t.Shape()...), nil
	case []int64:
		return tensor.Of(v, t.Shape()...), nil
	case []int32:
		return tensor.Of(v, t.Shape()...), nil
	case []bool:
		return tensor.Of(v, t.Shape()...), nil
	case float32:
		return tensor.Scalar(v), nil
	}
	return nil, fmt.Errorf("%T", t.Data())
}

func same(got, want *tensor.Tensor) error {
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("found %v, wanted %v", got, want)
	}
	a, err := tensor.Float64s(got)
	if err != nil {
		return err
	}
	b, err := tensor.Float64s(want)
	if err != nil {
		return err
	}
	for i := range a {
		if a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i]) {
			continue
		}
		if d := math.Abs(a[i] - b[i]); !(d <= 1e-5+1e-3*math.Abs(b[i])) {
			return fmt.Errorf("%v: element %d is %g, wanted %g", got, i, a[i], b[i])
		}
	}
	return nil
}

var _ = exec.Command
var _ = strings.Contains
