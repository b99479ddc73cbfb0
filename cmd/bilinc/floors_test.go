package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors is the floor of each package of the module: a package imports only
// packages of lower floors.
var floors = map[string]int{
	"bilinc/runtime/kernel":      0,
	"bilinc/runtime/tensor":      0,
	"bilinc/runtime/file":        0,
	"bilinc/convert/onnx/wire":   0,
	"bilinc/convert/onnx/onnxpb": 0, // serves tests alone
	"bilinc/runtime/graph":       1,
	"bilinc/runtime/ortest":      1, // serves tests alone
	"bilinc/factorize":           1,
	"bilinc/runtime/op":          2,
	"bilinc/convert/onnx":        2,
	"bilinc/runtime":             3,
	"bilinc/convert/match":       3,
	"bilinc/convert/dataset":     3,
	"bilinc/finetune/grad":       4,
	"bilinc/convert":             5,
	"bilinc/finetune":            5,
	"bilinc/cmd/bilinc":          6,
}

// testHelp serve tests alone and stand outside the floors.
var testHelp = map[string]bool{"bilinc/runtime/ortest": true, "bilinc/convert/onnx/onnxpb": true}

func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "bilinc/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath       string
			Imports, GoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 || testHelp[p.ImportPath] {
			continue
		}
		floor, ok := floors[p.ImportPath]
		if !ok {
			t.Errorf("%s has no floor: give it one here and in .golangci.yml", p.ImportPath)
		}
		for _, dep := range p.Imports {
			if !strings.HasPrefix(dep, "bilinc/") {
				continue
			}
			if testHelp[dep] {
				t.Errorf("%s imports %s, which serves tests alone", p.ImportPath, dep)
			} else if floors[dep] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, floor, dep, floors[dep])
			}
		}
	}
	if seen == 0 {
		t.Error("go list named no package")
	}
}
