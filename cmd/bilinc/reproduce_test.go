package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The script that repeats the paper's experiment runs, on a few rows of one
// table, and prints a row for every net.
func TestReproduce(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command and trains")
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import onnx, numpy").Run(); err != nil {
		t.Skip("python3-onnx is not installed")
	}
	if err := exec.Command("Rscript", "-e", "library(mlbench)").Run(); err != nil {
		t.Skip("r-cran-mlbench is not installed")
	}
	script, err := filepath.Abs(filepath.Join("..", "..", "testdata", "reproduce.sh"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", script, t.TempDir())
	cmd.Env = append(os.Environ(), "SETS=satellite", "SEEDS=0 1", "EPOCHS=1", "WIDTH=16", "WIDENED=4", "ROWS=300", "RATIO=2")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rows := regexp.MustCompile(`(?m)^\| [a-z].* \| [\d,]+ \| 0\.\d{4} ± 0\.\d{4} \| \d+(?:\.\d)? \|$`).FindAllString(string(out), -1)
	if len(rows) != 4 {
		t.Errorf("%d rows of results, wanted 4:\n%s", len(rows), out)
	}
}
