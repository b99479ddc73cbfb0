package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Templates call methods by name: a program that executes any keeps all methods of all types, and takes longer to
// start. Names of functions stand in a program whether it is stripped or not.
func TestNoTemplatesAreLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	path := filepath.Join(t.TempDir(), "bilinc")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(program, []byte("main.(*app).root")) {
		t.Error("no function of the program itself is found")
	}
	if bytes.Contains(program, []byte("text/template.(*Template).Execute")) {
		t.Error("text/template.(*Template).Execute is linked")
	}
}
