package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkedElsewhere are commands of the documents that are not bilinc's; the
// file says who runs them.
var checkedElsewhere = map[string]string{
	"go test ./...":                            "../../.ci/run",
	"testdata/make-data.sh":                    "../../.ci/run",
	"go generate ./runtime/kernel":             "../../.ci/run",
	"golangci-lint run ./...":                  "../../.ci/run",
	"go test -tags noasm -short ./runtime/...": "../../.ci/run",
}

// TestDocs runs every command of the documents: each line of a block marked
// sh, in order, in a folder that has a copy of testdata. A block marked
// console is an excerpt of what a command prints and is not run.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob("../../*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no documents: %v", err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range files {
		text := string(readFile(t, file))
		for _, run := range elsewhere(t, text) {
			t.Errorf("%s: nothing runs %q", file, run)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(filepath.Join(root, "testdata"), filepath.Join(dir, "testdata")); err != nil {
				t.Skip(err) // a system without symbolic links
			}
			t.Chdir(dir)
			for _, args := range commands(text) {
				ran++
				if code, stdout, stderr := bilinc(t, args...); code != 0 {
					t.Errorf("bilinc %s: status %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
				}
			}
		})
	}
	if ran < 5 {
		t.Errorf("only %d commands were found", ran)
	}
}

// lines is the commands in a document's sh blocks, continued lines joined.
func lines(text string) []string {
	var out []string
	inside := false
	for _, line := range strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && line != "" && !strings.HasPrefix(line, "#"):
			out = append(out, line)
		}
	}
	return out
}

// commands is the arguments of those that are bilinc's.
func commands(text string) [][]string {
	var out [][]string
	for _, line := range lines(text) {
		for _, name := range []string{"go run ./cmd/bilinc ", "bilinc "} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				out = append(out, strings.Fields(rest))
				break
			}
		}
	}
	return out
}

// elsewhere is those of the other commands that nothing runs.
func elsewhere(t *testing.T, text string) []string {
	var out []string
	for _, line := range lines(text) {
		if strings.HasPrefix(line, "go run ./cmd/bilinc ") || strings.HasPrefix(line, "bilinc ") {
			continue
		}
		if by, ok := checkedElsewhere[line]; !ok || !strings.Contains(string(readFile(t, by)), line) {
			out = append(out, line)
		}
	}
	return out
}
