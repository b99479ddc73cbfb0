package onnx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"unicode/utf8"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// maxMessage is the most bytes that a protobuf message can have. Larger models
// keep their weights in external data.
const maxMessage = math.MaxInt32

// Read reads the model at path, with external data from path's folder, and
// checks it. Large files are mapped into memory where the system can: constants
// then are the file's own pages, read when they are used, and must not be
// changed in place. A program compiled of the model gives an error where
// another process cuts the file short meanwhile; whoever reads the constants
// in another way does that inside file.Guard, or takes ReadCopy. The mapping
// lasts as long as the process, unless Unmap ends it.
func Read(path string) (*graph.Model, error) {
	var m *graph.Model
	err := file.Guard(func() (err error) {
		m, err = read(path, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// ReadCopy is Read into memory of the process's own, about the size of the
// files. Constants share it, so a tensor must not be changed in place.
func ReadCopy(path string) (*graph.Model, error) { return read(path, false) }

// Unmap releases the files that m's constants are mapped from. Afterwards
// neither m nor its clones nor a program compiled of them may be used.
func Unmap(m *graph.Model) error {
	o, ok := m.Origin.(*modelOrigin)
	if !ok {
		return nil
	}
	var errs []error
	for _, data := range o.mapped {
		errs = append(errs, file.Unmap(data))
	}
	return errors.Join(errs...)
}

func read(path string, mapped bool) (*graph.Model, error) {
	from := source{dir: filepath.Dir(path), own: !mapped, mapped: mapped}
	take := file.Read
	if mapped {
		take = file.Map
	}
	data, err := take(path, maxMessage)
	if err != nil {
		var large *file.TooLargeError
		if errors.As(err, &large) {
			return nil, invalidf("read %s: the file has %d bytes, a model ends at %d (larger ones keep their weights in external data)",
				path, large.Size, large.Limit)
		}
		return nil, err
	}
	if !file.IsMapped(data) {
		from.own = true
	}
	m, external, err := decode(data, from)
	maps := append(external.maps(), data)
	if err == nil {
		for _, data := range maps {
			if err = file.Check(data); err != nil {
				break
			}
		}
	}
	if err != nil {
		for _, data := range maps {
			err = errors.Join(err, file.Unmap(data))
		}
		return nil, &FormatError{Reason: "read " + path, Err: err}
	}
	o := m.Origin.(*modelOrigin)
	o.files, o.mapped = append([]string{path}, external.order...), maps
	return m, nil
}

// A source is where a model is read from.
type source struct {
	dir    string // of its external data; "": it may have none
	own    bool   // the bytes may be changed
	mapped bool   // external data may be mapped
}

// Decode decodes and checks a model. dir is the folder of its external data;
// with "" a model that has such is refused. The constants share data, which
// must not be changed afterwards.
func Decode(data []byte, dir string) (*graph.Model, error) {
	m, _, err := decode(data, source{dir: dir})
	return m, err
}

// decode also gives the files beside the model, closed.
func decode(data []byte, from source) (*graph.Model, *externalLoader, error) {
	l := &externalLoader{dir: from.dir, mapped: from.mapped}
	defer l.close()
	if err := checkFrame(data); err != nil {
		return nil, l, err
	}
	pb := &wire.Model{}
	if err := wire.Unmarshal(data, pb, wire.Options{Own: from.own}); err != nil {
		return nil, l, &FormatError{Reason: "damaged", Err: err}
	}
	if pb.Graph == nil {
		return nil, l, invalidf("the file has no graph: it is no ONNX model, or only a part of one")
	}
	// Without versions no operator has a meaning; files before IR version 3
	// meant the first one.
	if ir := get(pb.IrVersion); len(pb.OpsetImport) == 0 && (ir < 1 || ir > 2) {
		return nil, l, invalidf("the model imports no operator set (opset_import): its end may be missing")
	}
	if err := eachTensor(pb, l.load); err != nil {
		return nil, l, err
	}
	m, err := new(decoder).model(pb)
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		return nil, l, &FormatError{Err: err}
	}
	return m, l, nil
}

// checkFrame walks over the outermost fields of a model, and tells files that
// are something else, or less than a whole model, from damaged ones.
func checkFrame(data []byte) error {
	if len(data) == 0 {
		return invalidf("the file is empty")
	}
	for at := 0; at < len(data); {
		f, err := wire.Next(data[at:])
		if f.Number == 0 {
			return notModel(data)
		}
		name := ""
		if f.Number < len(modelFields) {
			name = modelFields[f.Number]
		}
		if name != "" && (f.Kind == wire.Varint) != (f.Number == 1 || f.Number == 5) {
			return notModel(data)
		}
		switch {
		case err == nil:
		case name == "" || looksLike(data) != "" || !errors.Is(err, wire.ErrCut):
			return notModel(data)
		case f.Size > 0:
			return invalidf("the file is cut short: its %s ends at byte %d of %d", name, uint64(at)+uint64(f.Size), len(data))
		default:
			return invalidf("the file is cut short inside %s, after %d bytes", name, len(data))
		}
		at += f.Size
	}
	return nil
}

// modelFields are the fields of a model by their numbers. Those of version
// numbers are varints, the others have a length.
var modelFields = [...]string{1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version",
	6: "doc_string", 7: "graph", 8: "opset_import", 14: "metadata_props", 20: "training_info", 25: "functions", 26: "configuration"}

func notModel(data []byte) error {
	if what := looksLike(data); what != "" {
		return invalidf("the file is no ONNX model: it looks like %s", what)
	}
	return invalidf("the file is no ONNX model: its bytes are no protobuf message of that kind")
}

// looksLike guesses what a file is that is no model; "" for no idea.
func looksLike(data []byte) string {
	head := data[:min(len(data), 512)]
	switch {
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "a Git LFS pointer (git lfs pull fetches the model)"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return "a zip archive (PyTorch and Keras write such)"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return "a gzip file (gunzip it first)"
	}
	if len(head) < len(data) { // the cut may go through a character
		for i := 0; i < utf8.UTFMax && !utf8.Valid(head); i++ {
			head = head[:len(head)-1]
		}
	}
	if !utf8.Valid(head) {
		return ""
	}
	for _, b := range head {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' {
			return ""
		}
	}
	return "text"
}

// Files is the files that m was read from: the model, then those of its
// external data in the order of first use. It is nil for a model that was not
// read from a file; a clone's files are its original's.
func Files(m *graph.Model) []string {
	if o, ok := m.Origin.(*modelOrigin); ok {
		return o.files
	}
	return nil
}

// Digest is the bytes of the files together and the SHA-256, in hexadecimal, of
// their contents one after the other (as `cat files | sha256sum` gives it).
func Digest(files []string) (size int64, sum string, err error) {
	h := sha256.New()
	for _, path := range files {
		n, err := copyFile(h, path)
		if err != nil {
			return 0, "", err
		}
		size += n
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

func copyFile(w io.Writer, path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return io.Copy(w, f)
}

// message reads a small protobuf file of another kind than a model.
func message(path string, p wire.Message) error {
	data, err := file.Read(path, maxMessage)
	if err != nil {
		return err
	}
	if err := wire.Unmarshal(data, p, wire.Options{Own: true}); err != nil {
		return &FormatError{Reason: fmt.Sprintf("read %s: it is no %s", path, wire.Name(p)), Err: err}
	}
	return nil
}
