package convert

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/factorize"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// checkScript runs onnx.checker, with shape inference that fails on types and
// shapes that contradict each other, over the models named on stdin.
const checkScript = `
import sys, onnx
for path in sys.stdin.read().split("\n"):
    if not path: continue
    try:
        onnx.checker.check_model(onnx.load(path), full_check=True)
    except Exception as e:
        print(path + ": " + " ".join(str(e).split()))
`

// python is an interpreter with the onnx package, or skips the test.
func python(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(path, "-c", "import onnx").Run() == nil {
			return path
		}
	}
	t.Skip("no python3 with the onnx package: the written models are not checked by it")
	return ""
}

// The written models satisfy ONNX's own checker in every operator set that it
// knows.
func TestWrittenModelsPassTheChecker(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	var paths []string
	eachSpelling(t, func(t *testing.T, s spelling, m *graph.Model) {
		// onnx 1.12 knows operator sets up to 17, its inference refuses
		// bfloat16 in some, and it wants the shapes of inputs declared.
		if m.Opset("") > 17 || s.dtype == tensor.BFloat16 || s.fed != nil {
			return
		}
		shapes := factorize.Shapes(s.out, s.in)
		for i, shape := range []factorize.Shape{shapes[0], factorize.Balanced(s.out, s.in), shapes[len(shapes)-1]} {
			for _, terms := range []int{1, 2} {
				out, _, err := Apply(context.Background(), m, planFor(t, m, shape, terms), ApplyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, fmt.Sprintf("%s-%d-%d-%d.onnx", strings.ReplaceAll(s.name, " ", "_"), m.Opset(""), i, terms))
				if err := onnx.Write(out, path, onnx.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
				paths = append(paths, path)
			}
		}
	})
	checkFiles(t, py, dir, paths)
	t.Logf("%d models checked", len(paths))
}

// checkFiles reports what ONNX's checker has against the files of dir.
func checkFiles(t *testing.T, py, dir string, paths []string) {
	t.Helper()
	cmd := exec.Command(py, "-c", checkScript)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		t.Error(strings.TrimSpace(strings.TrimPrefix(line, dir+"/")))
	}
}
