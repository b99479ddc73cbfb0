package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bilinc/convert/onnx"
)

// testSet is N of test_data_set_N.
func testSet(name string) (n string, ok bool) {
	n, ok = strings.CutPrefix(name, "test_data_set_")
	return n, ok && isNumber(n)
}

// testFile is the parts of input_N.pb and output_N.pb.
func testFile(name string) (kind, n string, ok bool) {
	name, ok = strings.CutSuffix(name, ".pb")
	kind, n, _ = strings.Cut(name, "_")
	return kind, n, ok && (kind == "input" || kind == "output") && isNumber(n)
}

// openTestData opens a folder that holds test_data_set_N folders, or is one:
// input_I.pb belongs to the model's I-th input, output_I.pb to its I-th output.
func (s *Set) openTestData(dir string) error {
	if _, ok := testSet(filepath.Base(dir)); ok {
		return s.openTestSet(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, bare(err))
	}
	var sets []int
	for _, e := range entries {
		if number, ok := testSet(e.Name()); ok {
			if n, err := strconv.Atoi(number); err == nil {
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
		kind, number, ok := testFile(e.Name())
		if !ok {
			continue
		}
		path := filepath.Join(dir, e.Name())
		name, t, err := onnx.ReadTensor(path)
		if err != nil {
			return err
		}
		a := array{name: name, where: path, src: memory{t}, kind: input}
		if kind == "output" {
			a.kind = output
		}
		if a.rank, err = strconv.Atoi(number); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if a.name == "" {
			a.name = kind + "_" + number
		}
		g.arrays = append(g.arrays, a)
	}
	if len(g.arrays) == 0 {
		return fmt.Errorf("read %s: the folder holds no input_0.pb", dir)
	}
	s.groups = append(s.groups, g)
	return nil
}
