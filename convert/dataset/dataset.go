// Package dataset reads samples for a model from npz, npy and IDX files and
// from ONNX's test_data_set folders, makes random ones for models without
// data, and hands them out as batches of the model's inputs. It knows nothing
// of what is done with them.
package dataset

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"bilinc/runtime/tensor"
)

// DefaultLabels is the name that targets have where Options says no other.
const DefaultLabels = "labels"

// Options says how data is read and fitted to a model.
type Options struct {
	Labels  string         // the array that holds the targets; "" is DefaultLabels
	Samples int            // at most so many rows; 0: all
	Scale   float64        // multiplies what goes into floating-point inputs; 0: 1/255 for uint8, else 1
	Dims    map[string]int // sizes of the model's symbolic dimensions
}

// labels is the key of the targets.
func (o *Options) labels() string {
	if o.Labels == "" {
		return DefaultLabels
	}
	return o.Labels
}

// cut is the number of rows to take of those there are.
func (o *Options) cut(rows int) int {
	if o.Samples > 0 {
		return min(rows, o.Samples)
	}
	return rows
}

// A Set is named arrays whose first axis counts samples. Files stay open
// until Close, and are read as batches are asked for where their format
// allows it.
type Set struct {
	opts   Options
	groups []group
	files  []io.Closer
}

// A group is arrays that belong together, row by row: all that one file has,
// or one test_data_set folder.
type group struct {
	name   string // for errors
	arrays []array
	onnx   bool // a test_data_set: fed as it is
}

// An array is a name and rows.
type array struct {
	name  string
	rank  int // of a test_data_set's file: its number among the inputs or outputs
	kind  role
	where string // the file, for errors
	src   source
}

// role tells apart the files of a test_data_set.
type role uint8

const (
	named role = iota // any other array: its name says what it is
	input
	output
)

// A source is an array whose rows can be read apart. Its shape has the rows
// first; one of rank 0 has none and is read by rows(0, 0).
type source interface {
	dtype() tensor.DType
	shape() []int
	rows(lo, hi int) (*tensor.Tensor, error)
}

var idxName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`-idx[0-9]+-ubyte(\.gz)?$`) })

// Open opens the data that specs name. One spec is
//
//	file.npz                                  arrays by name
//	name=file.npy                             one array; may be repeated
//	images=…-idx3-ubyte[.gz][,labels=…]       an IDX pair, or images alone
//	folder                                    that holds test_data_set_N folders
//
// and several are allowed of the second form only.
func Open(specs []string, o Options) (*Set, error) {
	if o.Samples < 0 {
		return nil, fmt.Errorf("%d samples are wanted, the number must not be negative", o.Samples)
	}
	s := &Set{opts: o}
	if err := s.open(specs); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) open(specs []string) error {
	if len(specs) == 0 {
		return errors.New("no data is named")
	}
	if len(specs) > 1 {
		for _, spec := range specs {
			if !strings.HasSuffix(spec, ".npy") {
				return fmt.Errorf("%q: only name=file.npy may be given more than once", spec)
			}
		}
	}
	for _, spec := range specs {
		if err := s.openOne(spec); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) openOne(spec string) error {
	name, path, isPair := strings.Cut(spec, "=")
	switch {
	case strings.HasSuffix(spec, ".npz"):
		return s.openNPZ(spec)
	case strings.HasSuffix(spec, ".npy"):
		if !isPair {
			name, path = strings.TrimSuffix(filepath.Base(spec), ".npy"), spec
		}
		if len(s.groups) == 0 {
			s.groups = []group{{name: "the .npy files"}}
		}
		g := &s.groups[0]
		for _, a := range g.arrays {
			if a.name == name {
				return fmt.Errorf("%q: %s already gives the array %q", spec, a.where, name)
			}
		}
		src, err := s.openNPY(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		g.arrays = append(g.arrays, array{name: name, where: path, src: src})
		return nil
	case idxName().MatchString(spec):
		return s.openIDX(spec)
	case isFolder(spec):
		return s.openTestData(spec)
	}
	if err := mustExist(spec); err != nil {
		return err
	}
	return fmt.Errorf("%q is no data that can be read: wanted file.npz, name=file.npy, "+
		"images=…-idx3-ubyte[.gz][,labels=…-idx1-ubyte[.gz]] or a folder with test_data_set_0", spec)
}

// Close closes the files behind s, which were only read.
func (s *Set) Close() {
	for _, f := range s.files {
		_ = f.Close()
	}
	s.files = nil
}
