//go:build linux && !race

// The race detector keeps memory of its own beside all that is touched.

package runtime_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A model that is one weight gives its pages back while that is packed, in rows
// or in columns.
func TestPeakOfOneWeight(t *testing.T) {
	// Memory that is used again is cleared, and counts, before anything is packed into it: a process of its own has
	// none, as long as it keeps what it has.
	if os.Getenv("BILINC_TEST_ALONE") == "" {
		alone := exec.Command(os.Args[0], "-test.run=^TestPeakOfOneWeight$", "-test.v")
		alone.Env = append(os.Environ(), "BILINC_TEST_ALONE=1")
		out, err := alone.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		} else if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	var kept []any
	for _, transposed := range []bool{false, true} {
		b := newModel(t)
		const k, n = 3000, 5000
		w := tensor.New(tensor.Float32, k, n)
		attrs := []*graph.Attr{intAttr("transB", 0)}
		if transposed {
			w, attrs[0].I = tensor.New(tensor.Float32, n, k), 1
		}
		b.outputs(b.node("Gemm", "y", vals(b.input("x", tensor.Float32, "N", k), b.g.NewConst("w", w)), attrs...))
		path := filepath.Join(t.TempDir(), "one.onnx")
		if err := onnx.Write(b.Model, path, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		debug.FreeOSMemory()
		before := rss(t)
		p := compileModel(t, read(t, path), 1)
		kept = append(kept, b, p)
		resetPeak(t)
		for _, rows := range []int{1, 1, 20} { // as it lies, packed
			if _, err := p.Run(context.Background(), []tensor.Value{noise(1, rows, k)}); err != nil {
				t.Fatal(err)
			}
		}
		if share := float64(inStatus(t, "VmHWM")-before) / (4 * k * n); share > 1.3 || share < 0.9 {
			t.Errorf("transposed %v: the process has taken %.2f times the file, wanted about 1", transposed, share)
		}
	}
	goruntime.KeepAlive(kept)
}

// resetPeak makes the peak of memory what the process has now.
func resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		t.Skip(err)
	}
}
