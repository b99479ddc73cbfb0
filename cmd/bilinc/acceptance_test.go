package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// realModels is the shipped models and those of the folder in
// BILINC_TEST_MODELS, each name once.
func realModels(t *testing.T) []string {
	t.Helper()
	var paths []string
	seen := map[string]bool{}
	for _, folder := range []string{"../../testdata/models", os.Getenv("BILINC_TEST_MODELS")} {
		found, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found {
			if abs, err := filepath.Abs(p); err != nil {
				t.Fatal(err)
			} else if !seen[filepath.Base(p)] && folder != "" {
				seen[filepath.Base(p)] = true
				paths = append(paths, abs)
			}
		}
	}
	if len(paths) < 2 {
		t.Fatalf("found only %q", paths)
	}
	return paths
}

// bilinc runs a command in this process.
func bilinc(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs}
	code = a.main(context.Background(), args)
	return code, out.String(), errs.String()
}

// TestRealModels takes every real model through inspect, plan, convert at 2, 4
// and 16, and run. A ratio that cannot be met ends with status 4 and the table
// of those that can.
func TestRealModels(t *testing.T) {
	for _, path := range realModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			dir := t.TempDir()
			var inspected struct{ Params int }
			mustJSON(t, &inspected, "inspect", path, "--json")
			for _, ratio := range []int{2, 4, 16} {
				out := filepath.Join(dir, fmt.Sprintf("%d.onnx", ratio))
				converts(t, path, out, ratio, inspected.Params)
			}
			same := filepath.Join(dir, "same.onnx")
			var one struct{ Ratio float64 }
			mustJSON(t, &one, "convert", path, "-o", same, "--ratio", "1", "--json")
			if a, b := readFile(t, path), readFile(t, same); !bytes.Equal(a, b) {
				t.Error("--ratio 1 does not give the file's own bytes")
			}
		})
	}
}

// converts runs convert and checks what the command says of it against the file.
func converts(t *testing.T, path, out string, ratio, params int) {
	t.Helper()
	budget := fmt.Sprint(ratio)
	planFile := out + ".plan.json"
	if code, stdout, stderr := bilinc(t, "plan", path, "-o", planFile, "--ratio", budget, "--json"); code != 0 && code != exitBudget {
		t.Fatalf("plan at %d: status %d: %s%s", ratio, code, stdout, stderr)
	}
	code, stdout, stderr := bilinc(t, "convert", path, "-o", out, "--ratio", budget, "--json")
	var report struct {
		ParamsBefore int `json:"params_before"`
		ParamsAfter  int `json:"params_after"`
		Layers       []struct {
			Before int `json:"params_before"`
			After  int `json:"params_after"`
		}
		Tradeoff []struct {
			Ratio    float64
			Feasible bool
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("convert at %d: status %d: %v: %s%s", ratio, code, err, stdout, stderr)
	}
	if code == exitBudget {
		if len(report.Tradeoff) == 0 {
			t.Errorf("ratio %d cannot be met, but no table says what can: %s", ratio, stdout)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("ratio %d cannot be met, but there is an output", ratio)
		}
		return
	}
	if code != 0 {
		t.Fatalf("convert at %d: status %d: %s", ratio, code, stderr)
	}
	if report.ParamsBefore != params || report.ParamsAfter*ratio > params {
		t.Errorf("ratio %d: %d parameters became %d", ratio, report.ParamsBefore, report.ParamsAfter)
	}
	for i, l := range report.Layers {
		if l.After > l.Before {
			t.Errorf("ratio %d: layer %d grew from %d to %d parameters", ratio, i, l.Before, l.After)
		}
	}
	var after struct{ Params int }
	mustJSON(t, &after, "inspect", out, "--json")
	if after.Params != report.ParamsAfter {
		t.Errorf("ratio %d: the report says %d parameters, the file has %d", ratio, report.ParamsAfter, after.Params)
	}
	again := out + ".again.onnx"
	if code, _, stderr := bilinc(t, "convert", path, "-o", again, "--plan", planFile, "--threads", "1", "--json"); code != 0 {
		t.Fatalf("convert --plan: status %d: %s", code, stderr)
	}
	if !bytes.Equal(readFile(t, out), readFile(t, again)) {
		t.Errorf("ratio %d: the plan on one thread gives other bytes than the command on all", ratio)
	}
}

// TestConvertedAgainstONNXRuntime runs every real model, and what it is
// converted to, in our runtime and in ONNX Runtime.
func TestConvertedAgainstONNXRuntime(t *testing.T) {
	s := ortest.Start(t)
	for _, path := range realModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			agrees(t, s, path)
			for _, structure := range []string{"auto", "lowrank", "terms", "bilinear"} {
				out := filepath.Join(t.TempDir(), "small.onnx")
				if code, _, stderr := bilinc(t, "convert", path, "-o", out, "--ratio", "4", "--structure", structure, "--json"); code != 0 {
					t.Fatalf("--structure %s: status %d: %s", structure, code, stderr)
				}
				agrees(t, s, out)
			}
		})
	}
}

// agrees fails where an output that no random operator feeds differs by more
// than ortest.Tolerance of its largest magnitude.
func agrees(t *testing.T, s *ortest.Session, path string) {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bound, err := dataset.Random(m, 5, 5, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for batch, err := range bound.Batches(5) {
		if err != nil {
			t.Fatal(err)
		}
		in := make([]tensor.Value, len(p.Inputs()))
		var named []ortest.Named
		for k, name := range bound.Inputs {
			i := slices.IndexFunc(p.Inputs(), func(port runtime.Port) bool { return port.Name == name })
			in[i] = tensor.ValueOf(batch.Inputs[k])
			named = append(named, ortest.Named{Name: name, Tensor: batch.Inputs[k]})
		}
		got, err := p.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.Run(path, named)
		if err != nil {
			t.Fatal(err)
		}
		for i, port := range p.Outputs() {
			if port.Random {
				continue
			}
			k := slices.IndexFunc(want, func(n ortest.Named) bool { return n.Name == port.Name })
			if k < 0 {
				t.Fatalf("ONNX Runtime gives no output %q", port.Name)
			}
			if err := ortest.Compare(got[i].Tensor, want[k].Tensor, ortest.Tolerance); err != nil {
				t.Errorf("output %q: %v", port.Name, err)
			}
			compared++
		}
	}
	if compared == 0 {
		t.Error("no output was compared")
	}
}

// mustJSON runs a command that must succeed and decodes its one JSON object.
func mustJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	code, stdout, stderr := bilinc(t, args...)
	if code != 0 {
		t.Fatalf("bilinc %s: status %d: %s", strings.Join(args, " "), code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		t.Fatalf("bilinc %s: %v", strings.Join(args, " "), err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
