// Package ortest runs models through ONNX Runtime, so that tests can compare
// its results with ours. It serves tests alone.
//
// It needs node and the npm package onnxruntime-node, in whose folder (the one
// that has node_modules) the environment variable BILINC_ORT points.
package ortest

import (
	"bufio"
	_ "embed" // of run.js
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"bilinc/runtime/tensor"
)

//go:embed run.js
var script string

// A Session is a process that runs one model after the other. It is not safe
// for concurrent use.
type Session struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

// Start starts a session that ends with the test. It skips the test where
// BILINC_ORT is not set.
func Start(t testing.TB) *Session {
	t.Helper()
	folder := os.Getenv("BILINC_ORT")
	if folder == "" {
		t.Skip("no ONNX Runtime: set BILINC_ORT to the folder with node_modules/onnxruntime-node")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-e", script, filepath.Join(folder, "node_modules", "onnxruntime-node"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v", err)
	}
	s := &Session{in: in, out: bufio.NewReaderSize(out, 1<<20), cmd: cmd}
	t.Cleanup(func() {
		if err := errors.Join(s.in.Close(), s.cmd.Wait()); err != nil {
			t.Errorf("ONNX Runtime: %v", err)
		}
	})
	return s
}

// A Named is a tensor under the name of an input or output.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// A message is a tensor as the process reads and writes it.
type message struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Dims    []int    `json:"dims"`
	Data    []byte   `json:"data,omitempty"`
	Strings []string `json:"strings,omitempty"`
}

// A RefusedError is ONNX Runtime's own: it does not load or run the model.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string { return "ONNX Runtime: " + e.Message }

// Run runs the model of a file and returns its outputs in order. It passes on
// tensors of the element types that JavaScript has arrays for, and float16 by
// its bits. The error is a *RefusedError where ONNX Runtime gives one.
func (s *Session) Run(model string, inputs []Named) ([]Named, error) {
	path, err := filepath.Abs(model)
	if err != nil {
		return nil, err
	}
	request := struct {
		Model  string    `json:"model"`
		Inputs []message `json:"inputs"`
	}{Model: path}
	for _, in := range inputs {
		m := message{Name: in.Name, Type: in.Tensor.DType().String(), Dims: in.Tensor.Shape(), Data: in.Tensor.Bytes()}
		if m.Dims == nil {
			m.Dims = []int{}
		}
		if in.Tensor.DType() == tensor.String {
			m.Strings = tensor.Data[string](in.Tensor)
		}
		request.Inputs = append(request.Inputs, m)
	}
	if err := json.NewEncoder(s.in).Encode(request); err != nil {
		return nil, fmt.Errorf("ONNX Runtime's process: %w", err)
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime's process: %w", err)
	}
	var reply struct {
		Error   string    `json:"error"`
		Outputs []message `json:"outputs"`
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return nil, fmt.Errorf("ONNX Runtime's process: %w", err)
	}
	if reply.Error != "" {
		return nil, &RefusedError{reply.Error}
	}
	outputs := make([]Named, len(reply.Outputs))
	for i, m := range reply.Outputs {
		t, err := m.tensor()
		if err != nil {
			return nil, fmt.Errorf("output %q of ONNX Runtime: %w", m.Name, err)
		}
		outputs[i] = Named{m.Name, t}
	}
	return outputs, nil
}

func (m *message) tensor() (*tensor.Tensor, error) {
	if m.Type == "string" {
		if n, err := tensor.Elements(m.Dims); err != nil || n != len(m.Strings) {
			return nil, fmt.Errorf("%d strings for shape %v", len(m.Strings), m.Dims)
		}
		return tensor.Of(m.Strings, m.Dims...), nil
	}
	for d := tensor.Float32; d.Valid(); d++ {
		if d.String() == m.Type {
			return tensor.FromBytes(d, m.Dims, m.Data)
		}
	}
	return nil, fmt.Errorf("unknown element type %q", m.Type)
}

// Tolerance is how far outputs may lie from ONNX Runtime's, relative to the
// largest magnitude in the output.
const Tolerance = 1e-5

// Compare fails unless got has want's type and shape and, where they are
// floats, max|got−want| ≤ tol·max|want|; other elements must be equal. NaN
// matches NaN and infinities their like.
func Compare(got, want *tensor.Tensor, tol float64) error {
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("found %v, wanted %v", got, want)
	}
	if !want.DType().IsFloat() {
		if !tensor.Equal(got, want) {
			return fmt.Errorf("%v has other elements than wanted", got)
		}
		return nil
	}
	a, err := tensor.Float64s(got)
	if err != nil {
		return err
	}
	b, err := tensor.Float64s(want)
	if err != nil {
		return err
	}
	worst, at, most := 0.0, 0, 0.0
	for i := range a {
		if m := math.Abs(b[i]); m > most && !math.IsInf(m, 0) { // false for NaN
			most = m
		}
		if a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i]) {
			continue
		}
		d := math.Abs(a[i] - b[i])
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if worst > tol*most {
		return fmt.Errorf("%v: element %d is %g, wanted %g: off by %.3g of the largest magnitude %g", got, at, a[at], b[at], worst/most, most)
	}
	return nil
}
