package wire

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"unsafe"
)

// A coder goes through the fields of a message: to read one of them, which is
// compared with each field that the message has, to add up their sizes, or to
// write them.
type coder struct {
	mode mode

	// Reading: the field at hand, the message around it, and whether the message
	// has taken the field.
	f     Field
	at    int    // where f begins in from
	from  []byte // the whole message
	depth int
	taken bool
	own   bool

	// Sizing and writing: the sizes of the messages inside, in the order in which
	// they are come by.
	n     int
	sizes []int
	buf   []byte
	w     io.Writer // nil: everything stays in buf

	err error
}

type mode uint8

const (
	reading mode = iota
	sizing
	writing
)

// read reads data into m, as a message depth levels inside.
func (c *coder) read(data []byte, m Message, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	for at := 0; at < len(data); {
		f, err := next(data[at:], maxDepth-depth)
		if err == nil {
			c.f, c.at, c.from, c.depth, c.taken, c.err = f, at, data, depth, false, nil
			m.fields(c)
			err = c.err
		}
		if err != nil {
			if f.Number == 0 {
				return fmt.Errorf("%s: %w", Name(m), err)
			}
			return fmt.Errorf("%s: field %d: %w", Name(m), f.Number, err)
		}
		at += f.Size
	}
	return nil
}

// measure is the size of m.
func (c *coder) measure(m Message) int {
	before := c.n
	c.n = 0
	m.fields(c)
	n := c.n
	c.n = before
	return n
}

// takes reports whether the field at hand is the one that is asked for.
func (c *coder) takes(number int, k Kind) bool {
	if c.f.Number != number || c.f.Kind != k {
		return false
	}
	c.taken = true
	return true
}

// varintSize is the bytes that v takes.
func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func (c *coder) varint(v uint64) {
	for ; v >= 0x80; v >>= 7 {
		c.buf = append(c.buf, byte(v)|0x80)
	}
	c.buf = append(c.buf, byte(v))
}

func (c *coder) tag(number int, k Kind) { c.varint(uint64(number)<<3 | uint64(k)) }

func tagSize(number int) int { return varintSize(uint64(number) << 3) }

// flush hands what is in the buffer to the writer.
func (c *coder) flush() {
	if c.w != nil && c.err == nil && len(c.buf) > 0 {
		_, c.err = c.w.Write(c.buf)
	}
	if c.w != nil {
		c.buf = c.buf[:0]
	}
}

// blob sizes or writes a field of bytes.
func (c *coder) blob(number int, b []byte) {
	if c.mode == sizing {
		c.n += tagSize(number) + varintSize(uint64(len(b))) + len(b)
		return
	}
	c.tag(number, Bytes)
	c.varint(uint64(len(b)))
	if c.w == nil || len(c.buf)+len(b) < largeField {
		c.buf = append(c.buf, b...)
		return
	}
	c.flush()
	if c.err == nil && len(b) > 0 {
		_, c.err = c.w.Write(b)
	}
}

// unknown shows what the message's fields have not taken.
func (c *coder) unknown(rest *[]byte) {
	switch c.mode {
	case reading:
		if !c.taken {
			*rest = append(*rest, c.from[c.at:c.at+c.f.Size]...)
		}
	case sizing:
		c.n += len(*rest)
	case writing:
		c.buf = append(c.buf, *rest...)
	}
}

// text shows an optional string.
func (c *coder) text(number int, p **string) {
	switch {
	case c.mode == reading:
		if c.takes(number, Bytes) {
			*p = new(string(c.f.Body))
		}
	case *p != nil:
		c.blob(number, unsafe.Slice(unsafe.StringData(**p), len(**p)))
	}
}

// bytes shows optional bytes; they are there where they are not nil.
func (c *coder) bytes(number int, p *[]byte) {
	switch {
	case c.mode == reading:
		if c.takes(number, Bytes) {
			*p = append(make([]byte, 0, len(c.f.Body)), c.f.Body...)
		}
	case *p != nil:
		c.blob(number, *p)
	}
}

// large shows optional bytes that share the input's memory where they are long
// enough.
func (c *coder) large(number int, p *[]byte) {
	if c.mode != reading || c.f.Number != number || len(c.f.Body) < largeField {
		c.bytes(number, p)
		return
	}
	c.taken = true
	*p = c.f.Body
	if c.own {
		*p = alignDown(c.from, c.f.Body)
	}
}

// alignDown moves body, a part of data, to begin at a multiple of 8 bytes.
// The up to 7 bytes before it are overwritten; where data has fewer there, body
// stays.
func alignDown(data, body []byte) []byte {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(body)))
	start := int(first - uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	shift := int(first % 8)
	if shift == 0 || shift > start {
		return body
	}
	moved := data[start-shift : start-shift+len(body) : start-shift+len(body)]
	copy(moved, body)
	return moved
}

// integer is the elements that are written as varints, negative ones as their
// 64 bits.
type integer interface{ ~int32 | ~int64 | ~uint64 }

// number shows an optional integer.
func number[T integer](c *coder, field int, p **T) {
	switch {
	case c.mode == reading:
		if c.takes(field, Varint) {
			*p = new(T(c.f.Bits))
		}
	case *p != nil:
		v := uint64(**p)
		if c.mode == sizing {
			c.n += tagSize(field) + varintSize(v)
			return
		}
		c.tag(field, Varint)
		c.varint(v)
	}
}

// float shows an optional float.
func (c *coder) float(field int, p **float32) {
	switch {
	case c.mode == reading:
		if c.takes(field, Fixed32) {
			*p = new(math.Float32frombits(uint32(c.f.Bits)))
		}
	case *p == nil:
	case c.mode == sizing:
		c.n += tagSize(field) + 4
	default:
		c.tag(field, Fixed32)
		c.buf = appendBits(c.buf, uint64(math.Float32bits(**p)), 4)
	}
}

func appendBits(b []byte, v uint64, size int) []byte {
	for range size {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

// texts shows repeated strings.
func (c *coder) texts(number int, p *[]string) {
	if c.mode == reading {
		if c.takes(number, Bytes) {
			*p = append(*p, string(c.f.Body))
		}
		return
	}
	for _, s := range *p {
		c.blob(number, unsafe.Slice(unsafe.StringData(s), len(s)))
	}
}

// blobs shows repeated bytes, or messages that nothing looks into.
func (c *coder) blobs(number int, p *[][]byte) {
	if c.mode == reading {
		if c.takes(number, Bytes) {
			*p = append(*p, append(make([]byte, 0, len(c.f.Body)), c.f.Body...))
		}
		return
	}
	for _, b := range *p {
		c.blob(number, b)
	}
}

// integers shows repeated integers, which are read in both of their forms and
// written packed, or one by one.
func integers[T integer](c *coder, field int, packed bool, p *[]T) {
	switch c.mode {
	case reading:
		if c.takes(field, Varint) {
			*p = append(*p, T(c.f.Bits))
		} else if c.takes(field, Bytes) {
			*p, c.err = unpack(*p, c.f.Body)
		}
	case sizing:
		n := 0
		for _, v := range *p {
			n += varintSize(uint64(v))
		}
		c.list(field, packed, len(*p), n)
	case writing:
		if packed {
			n := 0
			for _, v := range *p {
				n += varintSize(uint64(v))
			}
			c.head(field, n)
		}
		for _, v := range *p {
			if !packed {
				c.tag(field, Varint)
			}
			c.varint(uint64(v))
			c.full()
		}
	}
}

func unpack[T integer](list []T, body []byte) ([]T, error) {
	n := 0
	for _, b := range body {
		if b < 0x80 {
			n++
		}
	}
	if list == nil {
		list = make([]T, 0, n)
	}
	for len(body) > 0 {
		v, n, err := varint(body)
		if err != nil {
			return list, err
		}
		list, body = append(list, T(v)), body[n:]
	}
	return list, nil
}

// list adds up the size of repeated numbers: count of them, of n bytes together.
func (c *coder) list(field int, packed bool, count, n int) {
	switch {
	case count == 0:
	case packed:
		c.n += tagSize(field) + varintSize(uint64(n)) + n
	default:
		c.n += count*tagSize(field) + n
	}
}

// head begins a packed field of n bytes, if there are any.
func (c *coder) head(field, n int) {
	if n > 0 {
		c.tag(field, Bytes)
		c.varint(uint64(n))
	}
}

// full flushes a buffer that has grown.
func (c *coder) full() {
	if c.w != nil && len(c.buf) >= largeField {
		c.flush()
	}
}

// fixed shows repeated numbers of four or eight bytes, as integers does.
func fixed[T float32 | float64](c *coder, field int, packed bool, p *[]T) {
	size, typ := int(unsafe.Sizeof(T(0))), Fixed32
	if size == 8 {
		typ = Fixed64
	}
	switch c.mode {
	case reading:
		if c.takes(field, typ) {
			*p = append(*p, fromBits[T](c.f.Bits))
		} else if c.takes(field, Bytes) {
			body := c.f.Body
			if len(body)%size != 0 {
				c.err = ErrCut
				return
			}
			if *p == nil {
				*p = make([]T, 0, len(body)/size)
			}
			for ; len(body) > 0; body = body[size:] {
				v := uint64(fixed32(body))
				if size == 8 {
					v |= uint64(fixed32(body[4:])) << 32
				}
				*p = append(*p, fromBits[T](v))
			}
		}
	case sizing:
		c.list(field, packed, len(*p), size*len(*p))
	case writing:
		if packed {
			c.head(field, size*len(*p))
		}
		for _, v := range *p {
			if !packed {
				c.tag(field, typ)
			}
			c.buf = appendBits(c.buf, toBits(v), size)
			c.full()
		}
	}
}

func fromBits[T float32 | float64](v uint64) T {
	if unsafe.Sizeof(T(0)) == 4 {
		x := math.Float32frombits(uint32(v))
		return *(*T)(unsafe.Pointer(&x))
	}
	x := math.Float64frombits(v)
	return *(*T)(unsafe.Pointer(&x))
}

func toBits[T float32 | float64](v T) uint64 {
	if unsafe.Sizeof(v) == 4 {
		return uint64(*(*uint32)(unsafe.Pointer(&v)))
	}
	return *(*uint64)(unsafe.Pointer(&v))
}

// ptr is a message's pointer type.
type ptr[T any] interface {
	*T
	Message
}

// one shows an optional message; further ones of its number are merged with
// the first.
func one[T any, P ptr[T]](c *coder, number int, p **T) {
	switch {
	case c.mode == reading:
		if c.takes(number, Bytes) {
			if *p == nil {
				*p = new(T)
			}
			c.inside(P(*p))
		}
	case *p != nil:
		c.message(number, P(*p))
	}
}

// many shows repeated messages.
func many[T any, P ptr[T]](c *coder, number int, p *[]*T) {
	if c.mode == reading {
		if c.takes(number, Bytes) {
			m := new(T)
			*p = append(*p, m)
			c.inside(P(m))
		}
		return
	}
	for _, m := range *p {
		c.message(number, P(m))
	}
}

// inside reads the field at hand into m.
func (c *coder) inside(m Message) {
	outer := *c
	outer.taken, outer.err = true, c.read(c.f.Body, m, c.depth+1)
	*c = outer
}

// message sizes or writes a field that is a message.
func (c *coder) message(number int, m Message) {
	if c.mode == sizing {
		at := len(c.sizes)
		c.sizes = append(c.sizes, 0)
		n := c.measure(m)
		c.sizes[at] = n
		c.n += tagSize(number) + varintSize(uint64(n)) + n
		return
	}
	n := c.sizes[0]
	c.sizes = c.sizes[1:]
	c.tag(number, Bytes)
	c.varint(uint64(n))
	m.fields(c)
}
