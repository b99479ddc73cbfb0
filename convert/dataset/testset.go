package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"bilinc/convert/onnx"
)

var (
	testSetName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^test_data_set_([0-9]+)$`) })
	testFile    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(input|output)_([0-9]+)\.pb$`) })
)

// openTestData opens a folder that holds test_data_set_N folders, or is one:
// input_I.pb belongs to the model's I-th input, output_I.pb to its I-th output.
func (s *Set) openTestData(dir string) error {
	if testSetName().MatchString(filepath.Base(dir)) {
		return s.openTestSet(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, bare(err))
	}
	var sets []int
	for _, e := range entries {
		if m := testSetName().FindStringSubmatch(e.Name()); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				sets = append(sets, n)
			}
		}
	}
	if len(sets) == 0 {
		return fmt.Errorf("read %s: the folder holds no test_data_set_0", dir)
	}
	slices.Sort(sets)
	for _, n := range sets {
		if err := s.openTestSet(filepath.Join(dir, fmt.Sprintf("test_data_set_%d", n))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) openTestSet(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, bare(err))
	}
	g := group{name: dir, onnx: true}
	for _, e := range entries {
		m := testFile().FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		path := filepath.Join(dir, e.Name())
		name, t, err := onnx.ReadTensor(path)
		if err != nil {
			return err
		}
		a := array{name: name, where: path, src: memory{t}, kind: input}
		if m[1] == "output" {
			a.kind = output
		}
		if a.rank, err = strconv.Atoi(m[2]); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if a.name == "" {
			a.name = m[1] + "_" + m[2]
		}
		g.arrays = append(g.arrays, a)
	}
	if len(g.arrays) == 0 {
		return fmt.Errorf("read %s: the folder holds no input_0.pb", dir)
	}
	s.groups = append(s.groups, g)
	return nil
}
