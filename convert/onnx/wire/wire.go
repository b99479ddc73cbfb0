// Package wire reads and writes the messages of the ONNX format (onnx.proto,
// in package onnxpb) without generated code or reflection, so that a process
// that runs a small model does not spend its time on building tables. A
// message lists its fields once, for reading, sizing and writing.
//
// What a message has no field for stays in its Unknown, and goes back out at
// its end. Messages that nothing looks into are kept as bytes.
package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// A Message is a struct of this package.
type Message interface {
	// fields shows c every field in the order of their numbers, then what is
	// unknown.
	fields(c *coder)
}

const (
	// maxDepth bounds how deep messages nest. A subgraph takes three levels, so
	// about sixty of them can stand inside each other.
	maxDepth = 200
	// largeField is the size in bytes from which on raw_data is shared with the
	// input: smaller ones are not worth it.
	largeField = 4096
)

// Errors of Unmarshal, which names the message and the field that they are in.
var (
	ErrCut   = errors.New("it is cut short")
	errTag   = errors.New("the tag is not valid")
	errLong  = errors.New("a number takes more than 64 bits")
	errGroup = errors.New("the end of a group does not match its beginning")
	errDeep  = errors.New("messages nest deeper than 200 levels")
)

// Options says how a message is read.
type Options struct {
	// Own says that the input may be changed: large raw_data is then moved down
	// to the next multiple of 8 bytes, over its own already decoded header, so
	// that tensors need no aligned copy.
	Own bool
}

// Unmarshal reads data into m, whose fields it sets, adds to or merges with as
// protobuf has it. Large raw_data shares data's memory.
func Unmarshal(data []byte, m Message, o Options) error {
	c := coder{own: o.Own}
	return c.read(data, m, 1)
}

// Size is the bytes that m takes.
func Size(m Message) int {
	c := coder{mode: sizing}
	return c.measure(m)
}

// Marshal is the bytes of m, equal for equal messages.
func Marshal(m Message) []byte {
	c := coder{mode: sizing}
	c.buf = make([]byte, 0, c.measure(m))
	c.mode = writing
	m.fields(&c)
	return c.buf
}

// Write writes the bytes of m to w, large raw_data without a copy of it.
func Write(w io.Writer, m Message) error {
	c := coder{mode: sizing}
	c.measure(m)
	c.mode, c.w = writing, w
	m.fields(&c)
	c.flush()
	return c.err
}

// Name is the name that the format has for m, such as GraphProto.
func Name(m Message) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", m), "*wire.") + "Proto"
}

// Kind is how a field's value is encoded.
type Kind uint8

// The kinds of the protobuf encoding.
const (
	Varint  Kind = 0
	Fixed64 Kind = 1
	Bytes   Kind = 2
	group   Kind = 3
	end     Kind = 4
	Fixed32 Kind = 5
)

// A Field is one field of an encoded message.
type Field struct {
	Number int
	Kind   Kind
	Bits   uint64 // of Varint, Fixed64 and Fixed32
	Body   []byte // of Bytes
	Size   int    // bytes of the field, its tag included
}

// Next splits the first field off data. With ErrCut, f has the number and the
// type as far as they are there, and f.Size is what the field takes in whole, 0
// where that is not known.
func Next(data []byte) (f Field, err error) { return next(data, maxDepth) }

func next(data []byte, depth int) (f Field, err error) {
	tag, at, err := varint(data)
	if err != nil {
		return f, err
	}
	f.Number, f.Kind = int(tag>>3), Kind(tag&7)
	if f.Number < 1 || tag>>3 > 1<<29-1 {
		return Field{}, errTag
	}
	var n int // bytes of the value
	switch f.Kind {
	case Varint:
		f.Bits, n, err = varint(data[at:])
	case Fixed64:
		if n = 8; len(data)-at < n {
			return f, ErrCut
		}
		f.Bits = uint64(fixed32(data[at:])) | uint64(fixed32(data[at+4:]))<<32
	case Fixed32:
		if n = 4; len(data)-at < n {
			return f, ErrCut
		}
		f.Bits = uint64(fixed32(data[at:]))
	case Bytes:
		var size uint64
		if size, n, err = varint(data[at:]); err != nil {
			return f, err
		}
		at += n
		n = int(size)
		if size > uint64(len(data)-at) {
			if size < math.MaxInt64>>1 {
				f.Size = at + n
			}
			return f, ErrCut
		}
		f.Body = data[at : at+n : at+n]
	case group:
		n, err = skipGroup(data[at:], f.Number, depth-1)
	default:
		return Field{}, errTag
	}
	if err != nil {
		return f, err
	}
	f.Size = at + n
	return f, nil
}

// skipGroup is the bytes of the rest of group number, which this format has
// none of, its end included.
func skipGroup(data []byte, number, depth int) (int, error) {
	if depth < 0 {
		return 0, errDeep
	}
	for at := 0; ; {
		tag, n, err := varint(data[at:])
		if err != nil {
			return 0, err
		}
		if Kind(tag&7) == end {
			if tag>>3 != uint64(number) {
				return 0, errGroup
			}
			return at + n, nil
		}
		f, err := next(data[at:], depth)
		if err != nil {
			return 0, err
		}
		at += f.Size
	}
}

// varint reads a number of up to 64 bits, seven of them in each byte.
func varint(data []byte) (v uint64, n int, err error) {
	for n < len(data) {
		b := data[n]
		v |= uint64(b&0x7f) << (7 * n)
		if n++; b < 0x80 {
			if n == 10 && b > 1 {
				return 0, 0, errLong
			}
			return v, n, nil
		}
		if n == 10 {
			return 0, 0, errLong
		}
	}
	return 0, 0, ErrCut
}

func fixed32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
