package runtime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/runtime/kernel"
)

// TestPeerOperators times the models of single operators that TestWriteOperators of package op has written to the
// folder BILINC_BENCH_MODELS, as TestPeerTimes does, and prints a table. testdata/bench/operators runs both.
func TestPeerOperators(t *testing.T) {
	folder := os.Getenv("BILINC_BENCH_MODELS")
	if folder == "" {
		t.Skip("BILINC_BENCH_MODELS is not set")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	harness, lib := ortHarness(t)
	begun := false
	for _, path := range paths {
		_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".onnx"), " ")
		t.Run(name, func(t *testing.T) {
			c := peerCell{name: name, path: path, data: map[string][]byte{}}
			files, err := filepath.Glob(path + ".*")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				if c.data[strings.TrimPrefix(file, path+".")], err = os.ReadFile(file); err != nil {
					t.Fatal(err)
				}
			}
			row := "| " + name
			for threads := 1; threads <= 2; threads++ {
				free := func() {}
				if threads == 1 {
					free = onOneCore(t)
				}
				ours, theirs, ratio, v := c.measure(t, harness, lib, threads)
				free()
				if v == "" {
					t.Skip("ONNX Runtime does not take it")
				}
				if !begun {
					begun = true
					fmt.Printf("ONNX Runtime %s beside bilinc (%s), µs a run, medians of %d turns; ratio: theirs/ours\n\n", v, kernel.Path(), peerTurns)
					fmt.Printf("| operator | one thread | ONNX Runtime | ratio | two threads | ONNX Runtime | ratio |\n|---|---|---|---|---|---|---|\n")
				}
				row += fmt.Sprintf(" | %s | %s | %.2f", micros(ours), micros(theirs), ratio)
			}
			fmt.Println(row + " |")
		})
	}
}
