package ortest

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

func TestCompare(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	want := tensor.Of([]float32{100, 0, inf, nan}, 4)
	for _, c := range []struct {
		got  *tensor.Tensor
		fits bool
	}{
		{tensor.Of([]float32{100, 0.0009, inf, nan}, 4), true}, // 1e-5 of the largest
		{tensor.Of([]float32{100, 0.0011, inf, nan}, 4), false},
		{tensor.Of([]float32{100, 0, -inf, nan}, 4), false},
		{tensor.Of([]float32{100, 0, 1e30, nan}, 4), false},
		{tensor.Of([]float32{100, 0, nan, nan}, 4), false},
		{tensor.Of([]float32{100, 0, inf, 0}, 4), false},
		{tensor.Of([]float32{100, 0, inf, nan}, 2, 2), false},
		{tensor.Of([]float64{100, 0, 0, 0}, 4), false},
	} {
		if err := Compare(c.got, want, Tolerance); (err == nil) != c.fits {
			t.Errorf("%v %v: error is %v", c.got, tensor.Data[float32](want), err)
		}
	}
	zero := tensor.Of([]float32{0}, 1)
	if err := Compare(tensor.Of([]float32{1e-30}, 1), zero, Tolerance); err == nil {
		t.Error("something is nothing")
	}
	if err := Compare(tensor.Of([]int64{1}, 1), tensor.Of([]int64{2}, 1), 1); err == nil {
		t.Error("integers are not compared exactly")
	}
}

// What ONNX Runtime refuses is an error of its own, after which the session
// goes on.
func TestRefused(t *testing.T) {
	s := Start(t)
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("no model"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Run(bad, nil)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), "ONNX Runtime: ") {
			t.Errorf("error is %v", err)
		}
	}
}
