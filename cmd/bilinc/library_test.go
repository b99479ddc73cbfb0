package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/runtime/kernel"
)

// What plan and convert print with data is what the library calls return: the
// trade-off, the layers, their errors and those of the outputs.
func TestCommandsTellWhatTheLibraryReturns(t *testing.T) {
	dir := t.TempDir()
	model, data := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "x.npz")
	b, err := proto.Marshal(made["mlp"]())
	if err != nil {
		t.Fatal(err)
	}
	x, err := filled("float32", "ramp", []int{400, 16})
	if err != nil {
		t.Fatal(err)
	}
	var npz bytes.Buffer
	if err := dataset.WriteNPZ(&npz, []dataset.Array{{Name: "x", Tensor: x}}); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{model: b, data: npz.Bytes()} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	m, err := onnx.Read(model)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Open([]string{data}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bound, err := s.Bind(m.Graph)
	if err != nil {
		t.Fatal(err)
	}
	ctx, pool := context.Background(), kernel.NewPool(1)
	cal, err := convert.NewCalibration(ctx, m, bound, pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := convert.NewPlan(ctx, m, convert.Options{Ratio: 2, Structure: convert.Auto, Calibration: cal, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	_, report, err := convert.Apply(ctx, m, plan, convert.ApplyOptions{Calibration: cal, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}

	code, stdout, stderr := bilinc(t, "plan", model, "--ratio", "2", "--calib", data, "--json", "--threads", "1")
	if code != exitDone {
		t.Fatalf("plan: status %d: %s", code, stderr)
	}
	var printed planResult
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(printed.Tradeoff, plan.Tradeoff) || !reflect.DeepEqual(printed.Plan.Layers, plan.Layers) || printed.Plan.Error != plan.Error {
		t.Errorf("plan prints %s, the library returns %+v", stdout, plan)
	}
	// As a table it is the same curve: a row a ratio, the last of which cannot be met.
	code, stdout, stderr = bilinc(t, "plan", model, "--ratio", "2", "--calib", data, "--threads", "1")
	if code != exitDone {
		t.Fatalf("plan: status %d: %s", code, stderr)
	}
	_, table, ok := strings.Cut(stdout, "RATIO  PARAMS")
	if !ok {
		t.Fatalf("plan prints no trade-off: %s", stdout)
	}
	rows := strings.Split(strings.TrimSpace(table), "\n")[1:]
	if len(rows) != len(plan.Tradeoff) || len(rows) < 3 {
		t.Fatalf("%d rows of %d ratios:\n%s", len(rows), len(plan.Tradeoff), table)
	}
	last := -1.0
	for i, r := range plan.Tradeoff {
		yes := map[bool]string{true: "yes", false: "no"}[r.Feasible]
		if f := strings.Fields(rows[i]); f[0] != short(r.Ratio) || f[1] != count(r.Params) || f[3] != yes || r.Feasible && f[2] != short(r.Error) {
			t.Errorf("row %q of %+v", rows[i], r)
		}
		if r.Feasible != (i+1 < len(plan.Tradeoff)) || r.Feasible && r.Error < last {
			t.Errorf("ratio %g: %+v after an error of %g", r.Ratio, r, last)
		}
		last = r.Error
	}

	code, stdout, stderr = bilinc(t, "convert", model, "-o", filepath.Join(dir, "small.onnx"), "--ratio", "2", "--calib", data, "--json", "--threads", "1")
	if code != exitDone {
		t.Fatalf("convert: status %d: %s", code, stderr)
	}
	var told convert.Report
	if err := json.Unmarshal([]byte(stdout), &told); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(told.Layers, report.Layers) || !reflect.DeepEqual(told.Outputs, report.Outputs) || told.ParamsAfter != report.ParamsAfter {
		t.Errorf("convert prints %s, the library returns %+v", stdout, report)
	}
}
