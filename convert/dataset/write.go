package dataset

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"bilinc/runtime/tensor"
)

// An Array is a tensor with the name it has in an .npz file.
type Array struct {
	Name   string
	Tensor *tensor.Tensor
}

// WriteNPZ writes arrays as NumPy's np.savez does: stored, not deflated, with
// fixed dates, so that the same arrays give the same bytes.
func WriteNPZ(w io.Writer, arrays []Array) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		head := zip.FileHeader{Name: a.Name + ".npy", Method: zip.Store}
		head.Modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // the first date that zip knows
		f, err := z.CreateHeader(&head)
		if err != nil {
			return err
		}
		if err := WriteNPY(f, a.Tensor); err != nil {
			return fmt.Errorf("array %q: %w", a.Name, err)
		}
	}
	return z.Close()
}

// WriteNPY writes t in version 1 of the .npy format (3 for strings).
// bfloat16, which NumPy does not have, is widened to float32; the 8-bit and
// packed types are refused.
func WriteNPY(w io.Writer, t *tensor.Tensor) error {
	switch t.DType() {
	case tensor.String:
		return writeStrings(w, t)
	case tensor.BFloat16:
		wide := tensor.New(tensor.Float32, t.Shape()...)
		if err := tensor.Convert(wide, t); err != nil {
			return err
		}
		t = wide
	}
	for kind, d := range npyTypes {
		if d != t.DType() {
			continue
		}
		order := "<"
		if d.Bits() == 8 {
			order = "|"
		}
		if err := writeNPYHeader(w, 1, order+kind, t.Shape()); err != nil {
			return err
		}
		_, err := w.Write(t.Bytes())
		return err
	}
	return fmt.Errorf("NumPy has no element type %v", t.DType())
}

// writeNPYHeader pads so that the elements begin at a multiple of 64 bytes.
func writeNPYHeader(w io.Writer, version byte, descr string, shape []int) error {
	dims := strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", ")
	if len(shape) == 1 {
		dims += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims)
	head := append([]byte(npyMagic), version, 0)
	field := 2
	if version > 1 {
		field = 4
	}
	pad := 63 - (len(head)+field+len(text))%64
	text += strings.Repeat(" ", pad) + "\n"
	if field == 2 {
		head = binary.LittleEndian.AppendUint16(head, uint16(len(text)))
	} else {
		head = binary.LittleEndian.AppendUint32(head, uint32(len(text)))
	}
	_, err := w.Write(append(head, text...))
	return err
}

// writeStrings writes four bytes a character, as wide as the longest string.
func writeStrings(w io.Writer, t *tensor.Tensor) error {
	elems, width := tensor.Data[string](t), 1
	for _, s := range elems {
		width = max(width, utf8.RuneCountInString(s))
	}
	if err := writeNPYHeader(w, 3, fmt.Sprintf("<U%d", width), t.Shape()); err != nil {
		return err
	}
	var data []byte
	for _, s := range elems {
		n := 0
		for _, r := range s {
			data = binary.LittleEndian.AppendUint32(data, uint32(r))
			n++
		}
		data = append(data, make([]byte, 4*(width-n))...)
	}
	_, err := w.Write(data)
	return err
}
