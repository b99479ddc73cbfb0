package onnx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// WriteOptions says how a model is written.
type WriteOptions struct {
	// Force replaces an existing file; without it that is an fs.ErrExist.
	Force bool
	// ExternalData puts the constants into a file beside the model even where
	// the model would be small enough without.
	ExternalData bool
}

// Encode is the bytes of m as one message, equal for equal models. It fails for a
// model over 2 GB, which only Write can store.
func Encode(m *graph.Model) ([]byte, error) {
	p, err := modelToWire(m)
	if err != nil {
		return nil, err
	}
	if n := wire.Size(p); n > maxMessage {
		return nil, fmt.Errorf("the model takes %d bytes, one message holds %d: it needs external data", n, maxMessage)
	}
	return wire.Marshal(p), nil
}

// Write writes m to path, all of it or nothing. A model over 2 GB, or any with
// ExternalData, keeps its larger initializers in one file beside it, written
// first and named by its content: model-<hash>.data for model.onnx.
func Write(m *graph.Model, path string, o WriteOptions) error {
	return WriteContext(context.Background(), m, path, o)
}

// WriteContext is Write, and stops when ctx is done, leaving nothing behind.
func WriteContext(ctx context.Context, m *graph.Model, path string, o WriteOptions) error {
	if _, _, err := file.CheckOutput(path, o.Force); err != nil {
		return err
	}
	p, err := modelToWire(m)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	remove := func() {}
	if o.ExternalData || wire.Size(p) > maxMessage {
		if remove, err = writeExternal(ctx, p.Graph, path); err != nil {
			return err
		}
	}
	if n := wire.Size(p); n > maxMessage {
		err = fmt.Errorf("write %s: %d bytes remain beside the external data, one message holds %d", path, n, maxMessage)
	} else {
		err = writeMessage(ctx, p, path, o.Force)
	}
	if err != nil {
		remove()
	}
	return err
}

func writeMessage(ctx context.Context, p *wire.Model, path string, force bool) error {
	return file.WriteAtomic(path, force, func(w io.Writer) error { return wire.Write(file.Writer(ctx, w), p) })
}

const (
	// externalFrom is the bytes from which on a tensor goes to the data file:
	// scalars and shapes stay where tools look for them.
	externalFrom = 1024
	// Offsets are multiples of a cache line, those of tensors worth mapping of a
	// page.
	externalAlign = 64
	pageFrom      = 64 << 10
	pageSize      = 4096
)

// A dataFile is the layout of a file of external data.
type dataFile struct {
	parts []dataPart
	at    map[*byte]int // parts by their memory: tied tensors are stored once
	size  int64
}

type dataPart struct {
	offset int64
	bytes  []byte
}

// add gives bytes a place in the file and returns its offset.
func (d *dataFile) add(b []byte) int64 {
	key := unsafe.SliceData(b)
	if i, ok := d.at[key]; ok && len(d.parts[i].bytes) == len(b) {
		return d.parts[i].offset
	}
	align := int64(externalAlign)
	if len(b) >= pageFrom {
		align = pageSize
	}
	offset := (d.size + align - 1) / align * align
	d.at[key] = len(d.parts)
	d.parts = append(d.parts, dataPart{offset, b})
	d.size = offset + int64(len(b))
	return offset
}

// writeTo writes the file's content, gaps filled with zeros.
func (d *dataFile) writeTo(w io.Writer) error {
	at := int64(0)
	for _, p := range d.parts {
		if _, err := w.Write(make([]byte, p.offset-at)); err != nil {
			return err
		}
		if _, err := w.Write(p.bytes); err != nil {
			return err
		}
		at = p.offset + int64(len(p.bytes))
	}
	return nil
}

// writeExternal moves the larger initializers of g and its subgraphs to a file
// beside path. remove takes away what was written.
func writeExternal(ctx context.Context, g *wire.Graph, path string) (remove func(), err error) {
	d := &dataFile{at: map[*byte]int{}}
	var moved []*wire.Tensor
	if moved, err = moveOut(g, d, moved); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	remove = func() {}
	if len(moved) == 0 {
		return remove, nil
	}
	h := sha256.New()
	if err := d.writeTo(file.Writer(ctx, h)); err != nil {
		return nil, err
	}
	sum := h.Sum(nil)
	name := strings.TrimSuffix(filepath.Base(path), ".onnx") + "-" + hex.EncodeToString(sum[:8]) + ".data"
	for _, t := range moved {
		t.ExternalData[0].Value = &name
	}
	beside := filepath.Join(filepath.Dir(path), name)
	err = file.WriteAtomic(beside, false, func(w io.Writer) error { return d.writeTo(file.Writer(ctx, w)) })
	if errors.Is(err, os.ErrExist) {
		// A file of that name has that content, unless someone has changed it.
		if _, have, derr := Digest([]string{beside}); derr == nil && have == hex.EncodeToString(sum) {
			return remove, nil
		}
		return nil, fmt.Errorf("%w, with another content than its name says", err)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(beside) }, nil
}

// moveOut replaces the larger initializers in g's lists by messages without
// elements; location, the first entry of their external data, is yet to be set.
func moveOut(g *wire.Graph, d *dataFile, moved []*wire.Tensor) ([]*wire.Tensor, error) {
	for i, t := range g.Initializer {
		raw := t.RawData
		if raw == nil && wire.Size(t) >= externalFrom && len(t.StringData) == 0 {
			v, err := tensorFromWire(t)
			if err != nil {
				return nil, &FormatError{Reason: tensorLabel(t, "the graph"), Err: err}
			}
			raw = v.Bytes()
		}
		if len(raw) < externalFrom {
			continue
		}
		t = shallow(t)
		t.RawData, t.FloatData, t.Int32Data, t.Int64Data, t.DoubleData, t.Uint64Data = nil, nil, nil, nil, nil, nil
		t.DataLocation = new(wire.External)
		t.ExternalData = []*wire.StringStringEntry{
			{Key: new("location")},
			{Key: new("offset"), Value: new(strconv.FormatInt(d.add(raw), 10))},
			{Key: new("length"), Value: new(strconv.Itoa(len(raw)))},
		}
		g.Initializer[i] = t
		moved = append(moved, t)
	}
	var err error
	for _, n := range g.Node {
		for _, a := range n.Attribute {
			// Only the graphs of these types were made for this writing.
			var inner []*wire.Graph
			switch get(a.Type) {
			case int32(graph.AttrGraph):
				inner = []*wire.Graph{a.G}
			case int32(graph.AttrGraphs):
				inner = a.Graphs
			}
			for _, s := range inner {
				if moved, err = moveOut(s, d, moved); err != nil {
					return nil, err
				}
			}
		}
	}
	return moved, nil
}
