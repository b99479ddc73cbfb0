package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bilinc/convert/onnx"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// copyModel writes the bytes of m's own files again: the model to out, its
// external data beside it under the names that the model says. It gives the
// bytes of them all.
func copyModel(ctx context.Context, m *graph.Model, out string, force bool) (n int64, err error) {
	files := onnx.Files(m)
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				_ = os.Remove(path) // the error at hand is the one to report
			}
		}
	}()
	for _, from := range files[1:] {
		rel, err := filepath.Rel(filepath.Dir(files[0]), from)
		if err != nil {
			return 0, err
		}
		to := filepath.Join(filepath.Dir(out), rel)
		if file.SameFile(from, to) {
			continue
		}
		if err := checkOutput(to, force, files...); err != nil {
			return 0, fmt.Errorf("the external data of the model: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return 0, err
		}
		_, statErr := os.Stat(to)
		if err := copyFile(ctx, from, to, force); err != nil {
			return 0, err
		}
		if statErr != nil {
			made = append(made, to)
		}
	}
	if err := copyFile(ctx, files[0], out, force); err != nil {
		return 0, err
	}
	return fileSize(files)
}

func copyFile(ctx context.Context, from, to string, force bool) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return file.WriteAtomic(to, force, func(w io.Writer) error {
		_, err := io.Copy(file.Writer(ctx, w), r)
		return err
	})
}
