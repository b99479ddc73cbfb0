package onnx

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/file"
	"bilinc/runtime/tensor"
)

// externalLoader moves the elements of tensors that stand in other files of
// the model's folder into the messages.
type externalLoader struct {
	dir    string // "": there is no folder
	mapped bool   // files are mapped rather than read in ranges
	files  map[string]*externalFile
	order  []string // paths in the order of first use
}

// externalFile is one opened file of the folder.
type externalFile struct {
	f      *os.File
	data   []byte // all of it, where it is mapped; f is the mapping's then
	size   int64
	taken  int64                    // bytes of all ranges read so far
	ranges map[externalRange][]byte // tensors that share a range share its memory
}

// externalRange is where in a file the elements of a tensor stand, in bytes.
type externalRange struct{ offset, length int64 }

// load makes p, if it is external, an ordinary tensor with raw_data. Location,
// element type, shape, offset and length are checked against each other and
// against the file before memory is taken.
func (l *externalLoader) load(p *wire.Tensor) error {
	if get(p.DataLocation) != wire.External {
		return nil
	}
	d, shape, n, err := tensorHead(p)
	if err != nil {
		return err
	}
	if d == tensor.String {
		return invalidf("strings cannot stand in another file")
	}
	if _, count, err := dataField(p, d, shape); err != nil {
		return err
	} else if count > 0 {
		return invalidf("%v%v has elements here and in another file", d, shape)
	}
	var location string
	r := externalRange{0, int64(d.ByteLen(n))}
	for _, kv := range p.ExternalData {
		switch get(kv.Key) {
		case "location":
			location = get(kv.Value)
		case "offset", "length":
			v, err := strconv.ParseInt(get(kv.Value), 10, 64)
			if err != nil || v < 0 {
				return invalidf("external data: %s is %q, wanted a number from 0 on", get(kv.Key), get(kv.Value))
			}
			if get(kv.Key) == "offset" {
				r.offset = v
			} else if v != r.length {
				return invalidf("%v%v takes %d bytes, its external data has length %d", d, shape, r.length, v)
			}
		}
	}
	if l.dir == "" {
		return invalidf("its elements are in the file %q, and this model was not read from a folder", location)
	}
	x, err := l.open(location)
	if err != nil {
		return &FormatError{Reason: "external data", Err: err}
	}
	raw, ok := x.ranges[r]
	if !ok {
		if x.taken += r.length; x.taken > x.size && r.length <= x.size {
			return invalidf("external data: ranges of %q overlap: %d bytes are wanted, it has %d", location, x.taken, x.size)
		}
		if raw, err = x.read(r); err != nil {
			return &FormatError{Reason: fmt.Sprintf("external data in %q", location), Err: err}
		}
		x.ranges[r] = raw
	}
	p.RawData, p.ExternalData, p.DataLocation = raw, nil, nil
	return nil
}

// open opens the file at location inside the folder, once for all tensors that
// name it.
func (l *externalLoader) open(location string) (*externalFile, error) {
	key := filepath.Clean(location)
	if x := l.files[key]; x != nil {
		return x, nil
	}
	f, err := file.OpenInside(l.dir, location)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	if l.files == nil {
		l.files = map[string]*externalFile{}
	}
	x := &externalFile{f: f, size: info.Size(), ranges: map[externalRange][]byte{}}
	path := filepath.Join(l.dir, location)
	if l.mapped && x.size >= aliasLeast {
		if x.data, err = file.MapFile(f, path, math.MaxInt64); err != nil {
			return nil, err
		}
	}
	l.files[key] = x
	l.order = append(l.order, path)
	return x, nil
}

// read is the bytes of a range, within the file.
func (x *externalFile) read(r externalRange) ([]byte, error) {
	if x.data == nil {
		return file.ReadRange(x.f, r.offset, r.length)
	}
	size := int64(len(x.data))
	if r.offset > size || r.length > size-r.offset {
		return nil, fmt.Errorf("bytes %d to %d are wanted, the file has %d", r.offset, uint64(r.offset)+uint64(r.length), size)
	}
	return x.data[r.offset : r.offset+r.length : r.offset+r.length], nil
}

// maps is the contents of the mapped files.
func (l *externalLoader) maps() [][]byte {
	var out [][]byte
	for _, x := range l.files {
		if x.data != nil {
			out = append(out, x.data)
		}
	}
	return out
}

// close closes the files; what was read from them stays valid.
func (l *externalLoader) close() {
	for _, x := range l.files {
		if x.data == nil {
			_ = x.f.Close() // only read from
		}
	}
}

// eachTensor calls f for every tensor message of a model: initializers,
// attributes, values and indices of sparse tensors, in subgraphs, functions and
// training graphs too. It stops at the first error, which it gives the tensor's
// name, or its place where it has none.
func eachTensor(m *wire.Model, f func(*wire.Tensor) error) error {
	w := tensorWalk{f}
	if err := w.graph(m.Graph); err != nil {
		return err
	}
	for _, t := range m.TrainingInfo {
		for _, g := range []*wire.Graph{t.Initialization, t.Algorithm} {
			if err := w.graph(g); err != nil {
				return err
			}
		}
	}
	for _, fn := range m.Functions {
		if err := w.nodes(fn.Node); err != nil {
			return err
		}
		if err := w.attributes("function "+get(fn.Name), fn.AttributeProto); err != nil {
			return err
		}
	}
	return nil
}

// tensorWalk goes down the messages of a model in the file's order.
type tensorWalk struct {
	f func(*wire.Tensor) error
}

func (w tensorWalk) tensors(where string, ts ...*wire.Tensor) error {
	for _, t := range ts {
		if t == nil {
			continue
		}
		if err := w.f(t); err != nil {
			return &FormatError{Reason: tensorLabel(t, where), Err: err}
		}
	}
	return nil
}

func (w tensorWalk) sparse(where string, ss ...*wire.SparseTensor) error {
	for _, s := range ss {
		if s == nil {
			continue
		}
		if err := w.tensors(where, s.Values, s.Indices); err != nil {
			return err
		}
	}
	return nil
}

func (w tensorWalk) graph(g *wire.Graph) error {
	if g == nil {
		return nil
	}
	if err := w.tensors("graph "+get(g.Name), g.Initializer...); err != nil {
		return err
	}
	if err := w.sparse("graph "+get(g.Name), g.SparseInitializer...); err != nil {
		return err
	}
	return w.nodes(g.Node)
}

func (w tensorWalk) nodes(ns []*wire.Node) error {
	for _, n := range ns {
		if err := w.attributes(nodeLabel(n), n.Attribute); err != nil {
			return err
		}
	}
	return nil
}

func (w tensorWalk) attributes(where string, as []*wire.Attribute) error {
	for _, a := range as {
		place := fmt.Sprintf("%s: attribute %q", where, get(a.Name))
		if err := w.tensors(place, append([]*wire.Tensor{a.T}, a.Tensors...)...); err != nil {
			return err
		}
		if err := w.sparse(place, append([]*wire.SparseTensor{a.SparseTensor}, a.SparseTensors...)...); err != nil {
			return err
		}
		for _, g := range append([]*wire.Graph{a.G}, a.Graphs...) {
			if err := w.graph(g); err != nil {
				return err
			}
		}
	}
	return nil
}
