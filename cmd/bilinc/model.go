package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// load reads a model.
func load(path string) (*graph.Model, error) { return loadWith(onnx.ReadCopy, path) }

// loadToRun is load for a model that is only compiled and run: its weights stay
// in the file until they are used.
func loadToRun(path string) (*graph.Model, error) { return loadWith(onnx.Read, path) }

// checkFile refuses a model that is no regular file, for commands that read it
// more than once: a pipe would be empty the second time.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if regular := err != nil || info.Mode().IsRegular() || info.IsDir(); regular { // or reading it says what is wrong
		return nil
	}
	return &exitError{exitInvalid, fmt.Errorf("read %s: it is no regular file, and is to be read more than once", path), "write the model to a file first"}
}

func loadWith(read func(string) (*graph.Model, error), path string) (*graph.Model, error) {
	m, err := read(path)
	if err != nil {
		hint := ""
		if errors.Is(err, onnx.ErrInvalid) {
			hint = "bilinc reads ONNX models; is the file one, and complete?"
		}
		return nil, &exitError{exitInvalid, err, hint}
	}
	return m, nil
}

// compile makes a program of m that runs on the command's threads.
func (a *app) compile(path string, m *graph.Model) (*runtime.Program, error) {
	p, err := runtime.Compile(m, runtime.Options{Pool: a.pool, Seed: a.seed})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// checkOutput refuses an output that exists, unless force is set, and always
// one that is the same file as an input.
func checkOutput(path string, force bool, inputs ...string) error {
	for _, in := range inputs {
		if file.SameFile(path, in) {
			return usage(fmt.Errorf("write %s: it is the same file as the input %s", path, in), "choose another output")
		}
	}
	_, _, err := file.CheckOutput(path, force)
	if errors.Is(err, fs.ErrExist) {
		return usage(err, "--force replaces it")
	}
	return err
}

// fileSize is the bytes of files together.
func fileSize(files []string) (int64, error) {
	var n int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
}

// dimFlag collects --dim name=N.
type dimFlag map[string]int

func (d dimFlag) Type() string { return "name=N" }

func (d dimFlag) String() string { return "" }

func (d dimFlag) Set(s string) error {
	name, size, ok := strings.Cut(s, "=")
	var n int
	if _, err := fmt.Sscanf(size, "%d", &n); !ok || name == "" || err != nil || n < 0 || fmt.Sprint(n) != size {
		return fmt.Errorf("wanted name=N with a number N")
	}
	d[name] = n
	return nil
}
