package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"bilinc/convert/onnx/onnxpb"
)

// messages are the messages that are read, beside those that package proto has.
var messages = []struct {
	own  func() Message
	want proto.Message
}{
	{func() Message { return &Model{} }, &onnxpb.ModelProto{}},
	{func() Message { return &OperatorSetID{} }, &onnxpb.OperatorSetIdProto{}},
	{func() Message { return &StringStringEntry{} }, &onnxpb.StringStringEntryProto{}},
	{func() Message { return &TrainingInfo{} }, &onnxpb.TrainingInfoProto{}},
	{func() Message { return &Graph{} }, &onnxpb.GraphProto{}},
	{func() Message { return &Node{} }, &onnxpb.NodeProto{}},
	{func() Message { return &Attribute{} }, &onnxpb.AttributeProto{}},
	{func() Message { return &Function{} }, &onnxpb.FunctionProto{}},
	{func() Message { return &TensorAnnotation{} }, &onnxpb.TensorAnnotation{}},
	{func() Message { return &Tensor{} }, &onnxpb.TensorProto{}},
	{func() Message { return &SparseTensor{} }, &onnxpb.SparseTensorProto{}},
	{func() Message { return &Sequence{} }, &onnxpb.SequenceProto{}},
	{func() Message { return &Optional{} }, &onnxpb.OptionalProto{}},
	{func() Message { return &ValueInfo{} }, &onnxpb.ValueInfoProto{}},
	{func() Message { return &Type{} }, &onnxpb.TypeProto{}},
	{func() Message { return &TensorType{} }, &onnxpb.TypeProto_Tensor{}},
	{func() Message { return &ElementType{} }, &onnxpb.TypeProto_Sequence{}},
	{func() Message { return &ElementType{} }, &onnxpb.TypeProto_Optional{}},
	{func() Message { return &TensorShape{} }, &onnxpb.TensorShapeProto{}},
	{func() Message { return &Dimension{} }, &onnxpb.TensorShapeProto_Dimension{}},
}

// filled is a message of m's type with one field set to something, twice where
// it repeats, in messages that are filled likewise down to depth.
func filled(m protoreflect.Message, fd protoreflect.FieldDescriptor, depth int) protoreflect.Message {
	m = m.New()
	value := func(k int) protoreflect.Value {
		switch fd.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(strings.Repeat("é", k))
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes(bytes.Repeat([]byte{0xff}, 5000*k)) // none, and enough to be shared
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(-1.5 * float32(k))
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(math.Inf(-k))
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(-int32(k))
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(k))
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(math.MinInt64 * int64(k))
		case protoreflect.Uint64Kind:
			return protoreflect.ValueOfUint64(uint64(300 * k))
		}
		inner := m.NewField(fd)
		if fd.IsList() {
			inner = inner.List().NewElement()
		}
		all := inner.Message()
		fields := all.Descriptor().Fields()
		for i := 0; i < fields.Len() && depth > 0; i++ {
			one := filled(all, fields.Get(i), depth-1)
			proto.Merge(all.Interface(), one.Interface())
		}
		return inner
	}
	if !fd.IsList() {
		m.Set(fd, value(1))
		return m
	}
	for k := range 2 {
		m.Mutable(fd).List().Append(value(k))
	}
	return m
}

// Each field by itself, and all of them, are read as package proto reads them
// and come out with the same content, in ascending order; a message without its
// fields says nothing.
func TestFieldsAgreeWithProto(t *testing.T) {
	for _, c := range messages {
		m := c.want.ProtoReflect()
		all := m.New()
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			one := filled(m, fields.Get(i), 2)
			proto.Merge(all.Interface(), one.Interface())
			agrees(t, string(fields.Get(i).FullName()), c.own(), one)
		}
		agrees(t, string(m.Descriptor().FullName()), c.own(), all)
		if got := Marshal(c.own()); len(got) != 0 {
			t.Errorf("%v: an empty one is %x", m.Descriptor().FullName(), got)
		}
	}
}

func agrees(t *testing.T, what string, own Message, want protoreflect.Message) {
	t.Helper()
	data, err := proto.Marshal(want.Interface())
	if err != nil {
		t.Fatal(err)
	}
	if err := Unmarshal(data, own, Options{}); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if unknown := reflect.ValueOf(own).Elem().FieldByName("Unknown"); unknown.Len() > 0 {
		t.Errorf("%s: no field has taken %x", what, unknown.Bytes()[:min(20, unknown.Len())])
	}
	out := Marshal(own)
	got := want.New().Interface()
	if err := proto.Unmarshal(out, got); err != nil || !proto.Equal(got, want.Interface()) {
		t.Errorf("%s: %v\ncame back as\n%v (%v)", what, want, got, err)
	}
	if Size(own) != len(out) {
		t.Errorf("%s: %d bytes, said to be %d", what, len(out), Size(own))
	}
	var w bytes.Buffer
	if err := Write(&w, own); err != nil || !bytes.Equal(w.Bytes(), out) {
		t.Errorf("%s: written to a writer it is another (%v)", what, err)
	}
	for last := 0; len(out) > 0; {
		f, err := Next(out)
		if err != nil || f.Number < last {
			t.Fatalf("%s: field %d after %d (%v)", what, f.Number, last, err)
		}
		last, out = f.Number, out[f.Size:]
	}
}

// Numbers that repeat are read packed and one by one, whatever the format says.
func TestBothFormsOfLists(t *testing.T) {
	var data []byte
	for _, v := range []uint64{1, 300} {
		data = protowire.AppendVarint(protowire.AppendTag(data, 7, protowire.VarintType), v)
	}
	data = protowire.AppendBytes(protowire.AppendTag(data, 1, protowire.BytesType), []byte{5, 0xac, 2})
	data = protowire.AppendFixed32(protowire.AppendTag(data, 4, protowire.Fixed32Type), math.Float32bits(2.5))
	data = protowire.AppendFixed64(protowire.AppendTag(data, 10, protowire.Fixed64Type), math.Float64bits(-0.5))
	m := &Tensor{}
	if err := Unmarshal(data, m, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m.Int64Data, m.Dims, m.FloatData, m.DoubleData); got != "[1 300] [5 300] [2.5] [-0.5]" {
		t.Error(got)
	}
}

// Parts of a message that come one after the other are merged, of a oneof the
// last counts, and a field of another kind than the format says is unknown.
func TestMerging(t *testing.T) {
	p := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tensor := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1)}}}
	shape := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{Shape: &onnxpb.TensorShapeProto{}}}}
	seq := &onnxpb.TypeProto{Denotation: proto.String("D"), Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{}}}
	value := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 3}}
	param := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "N"}}
	for _, c := range []struct {
		own  Message
		want proto.Message
		from [][]byte
	}{
		{&Type{}, &onnxpb.TypeProto{}, [][]byte{p(tensor), p(shape)}},
		{&Type{}, &onnxpb.TypeProto{}, [][]byte{p(seq), p(tensor)}},
		{&Type{}, &onnxpb.TypeProto{}, [][]byte{p(tensor), p(seq), p(shape)}},
		{&Dimension{}, &onnxpb.TensorShapeProto_Dimension{}, [][]byte{p(value), p(param)}},
		{&Dimension{}, &onnxpb.TensorShapeProto_Dimension{}, [][]byte{p(param), p(value)}},
		{&Model{}, &onnxpb.ModelProto{}, [][]byte{
			p(&onnxpb.ModelProto{IrVersion: proto.Int64(3), Graph: &onnxpb.GraphProto{Name: proto.String("a"), Node: []*onnxpb.NodeProto{{}}}}),
			p(&onnxpb.ModelProto{IrVersion: proto.Int64(4), Graph: &onnxpb.GraphProto{Name: proto.String("b"), Node: []*onnxpb.NodeProto{{}}}}),
		}},
		{&Tensor{}, &onnxpb.TensorProto{}, [][]byte{
			protowire.AppendVarint(protowire.AppendTag(nil, 8, protowire.VarintType), 5),                            // name
			protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), 5),                          // data_type
			protowire.AppendGroup(protowire.AppendTag(nil, 9, protowire.StartGroupType), 9, []byte{0x08, 0x05}),     // raw_data
			protowire.AppendVarint(protowire.AppendTag(nil, 14, protowire.VarintType), 1), {0x0d, 0x00, 0, 0, 0x80}, // data_location, dims
		}},
	} {
		data := bytes.Join(c.from, nil)
		if err := proto.Unmarshal(data, c.want); err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(data, c.own, Options{}); err != nil {
			t.Errorf("%v: %v", c.want, err)
			continue
		}
		got := c.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(Marshal(c.own), got); err != nil || !proto.Equal(got, c.want) {
			t.Errorf("%v, wanted %v (%v)", got, c.want, err)
		}
	}
}

// What package proto refuses is refused, and no cut of a message is read as a
// whole one.
func TestDamage(t *testing.T) {
	if !strings.Contains(errDeep.Error(), fmt.Sprint(" ", maxDepth, " ")) {
		t.Errorf("%v, it is %d", errDeep, maxDepth)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"a tag without a number", []byte{0x00, 0x01}, errTag},
		{"a large number", protowire.AppendVarint(nil, 1<<32), errTag},
		{"an unknown kind", []byte{0x0e, 0x01}, errTag},
		{"a long varint", append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 10)...), errLong},
		{"an endless varint", append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 20)...), errLong},
		{"an end without a group", []byte{0x0c}, errTag},
		{"another group's end", []byte{0x0b, 0x14}, errGroup},
		{"an open group", []byte{0x0b, 0x08, 0x01}, ErrCut},
		{"groups in groups", bytes.Repeat([]byte{0x0b}, 1000), errDeep},
		{"odd floats", []byte{0x22, 0x03, 1, 2, 3}, ErrCut},
		{"a cut number in a list", []byte{0x2a, 0x01, 0x80}, ErrCut},
		{"a length beyond all memory", []byte{0x4a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, ErrCut},
	} {
		err := Unmarshal(c.data, &Tensor{}, Options{})
		if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "TensorProto: ") {
			t.Errorf("%s: %v, wanted %v", c.name, err, c.want)
		}
		if proto.Unmarshal(c.data, &onnxpb.TensorProto{}) == nil {
			t.Errorf("%s: package proto takes it", c.name)
		}
	}
	whole, err := proto.Marshal(filled((&onnxpb.GraphProto{}).ProtoReflect(), (&onnxpb.GraphProto{}).ProtoReflect().Descriptor().Fields().ByName("node"), 1).Interface())
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		own, want := Unmarshal(whole[:n], &Graph{}, Options{}), proto.Unmarshal(whole[:n], &onnxpb.GraphProto{})
		if (own == nil) != (want == nil) {
			t.Errorf("the first %d of %d bytes: %v, package proto says %v", n, len(whole), own, want)
		}
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		data   string
		number int
		size   int
		err    error
	}{
		{"\x0a\x02ab\x08\x01", 1, 4, nil},
		{"\x08\xac\x02", 1, 3, nil},
		{"\x3a\x05ab", 7, 7, ErrCut},
		{"\x3a\x80", 7, 0, ErrCut},
		{"\x3d\x80", 7, 0, ErrCut},
		{"\x80", 0, 0, ErrCut},
		{"", 0, 0, ErrCut},
	} {
		f, err := Next([]byte(c.data))
		if f.Number != c.number || f.Size != c.size || !errors.Is(err, c.err) {
			t.Errorf("%x: field %d of %d bytes, %v; wanted %d, %d, %v", c.data, f.Number, f.Size, err, c.number, c.size, c.err)
		}
	}
}

// Long raw_data shares the input; moved down where that may be changed. Short
// raw_data is a copy.
func TestRawDataIsShared(t *testing.T) {
	for _, n := range []int{0, largeField - 1, largeField, 3 * largeField} {
		for shift := range 8 {
			raw := bytes.Repeat([]byte{1, 2, 3}, n)[:n]
			data := Marshal(&Graph{Initializer: []*Tensor{{Name: new(strings.Repeat("n", shift)), RawData: raw}}})
			for _, own := range []bool{false, true} {
				in, g := bytes.Clone(data), &Graph{}
				if err := Unmarshal(in, g, Options{Own: own}); err != nil {
					t.Fatal(err)
				}
				got := g.Initializer[0].RawData
				if !bytes.Equal(got, raw) || got == nil {
					t.Errorf("%d bytes: they are others", n)
				}
				if !own && !bytes.Equal(in, data) {
					t.Error("the input was changed")
				}
				start, at := uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(unsafe.Pointer(unsafe.SliceData(got)))
				if shared := at >= start && at < start+uintptr(len(in)); shared != (n >= largeField) {
					t.Errorf("%d bytes: shared %v", n, shared)
				}
				if own && n >= largeField && at%8 != 0 {
					t.Errorf("%d bytes are not aligned", n)
				}
			}
		}
	}
}

// failing is a writer that fails after a number of bytes.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("the disk is full")
	}
	return len(p), nil
}

func TestWriteStopsAtAnError(t *testing.T) {
	m := &Graph{Initializer: []*Tensor{{RawData: make([]byte, 9000)}, {FloatData: make([]float32, 9000), Int64Data: make([]int64, 9000)}}}
	for left := 0; left < Size(m); left += 1000 {
		if err := Write(&failing{left}, m); err == nil || err.Error() != "the disk is full" {
			t.Errorf("after %d bytes: %v", left, err)
		}
	}
	if err := Write(&failing{Size(m)}, m); err != nil {
		t.Error(err)
	}
}

// FuzzUnmarshal looks for input that is read otherwise than package proto
// reads it. Enumerations are numbers here, and messages that nothing looks into
// may be anything.
func FuzzUnmarshal(f *testing.F) {
	for _, c := range messages {
		m := c.want.ProtoReflect()
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			data, err := proto.Marshal(filled(m, fields.Get(i), 1).Interface())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data[:min(len(data), 200)])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range messages {
			own := c.own()
			if err := Unmarshal(data, own, Options{}); err != nil {
				continue
			}
			out := Marshal(own)
			again := c.own()
			if err := Unmarshal(out, again, Options{}); err != nil || !bytes.Equal(Marshal(again), out) || Size(own) != len(out) {
				t.Fatalf("%s: written as %x, read back as %x (%v)", Name(own), out, Marshal(again), err)
			}
			want, got := c.want.ProtoReflect().New().Interface(), c.want.ProtoReflect().New().Interface()
			if proto.Unmarshal(data, want) != nil { // inside a message that nothing looks into
				continue
			}
			if err := proto.Unmarshal(out, got); err != nil || !proto.Equal(got, want) {
				t.Fatalf("%s: %v, wanted %v (%v)", Name(own), got, want, err)
			}
		}
	})
}
