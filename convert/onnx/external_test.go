package onnx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/convert/onnx/wire"
	"bilinc/runtime/tensor"
)

// outside is a tensor whose elements are in another file.
func outside(name string, dims []int64, kv ...string) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{Name: &name, Dims: dims, DataType: new(int32(tensor.Float32)),
		DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	for i := 0; i < len(kv); i += 2 {
		p.ExternalData = append(p.ExternalData, &onnxpb.StringStringEntryProto{Key: &kv[i], Value: &kv[i+1]})
	}
	return p
}

// folder holds sub/model.onnx with the tensors, sub/w.data of 16 floats 0…15,
// and secret beside sub.
func folder(t *testing.T, inits ...*onnxpb.TensorProto) (model string) {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "sub")
	var data []byte
	for i := range 16 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
	}
	if err := os.MkdirAll(filepath.Join(dir, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	model = filepath.Join(dir, "model.onnx")
	for path, b := range map[string][]byte{
		model: encoded(t, mlp(inits...)), filepath.Join(dir, "w.data"): data,
		filepath.Join(dir, "inner", "v.data"): data, filepath.Join(outer, "secret"): data,
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("..", "secret"), filepath.Join(dir, "link")); err != nil {
		t.Logf("no symbolic links here: %v", err)
	}
	return model
}

func TestExternalDataRead(t *testing.T) {
	path := folder(t,
		outside("all", []int64{4, 4}, "location", "w.data"),
		outside("part", []int64{2}, "location", "inner/v.data", "offset", "8", "length", "8", "checksum", "?"),
		outside("tied", []int64{16}, "location", "./w.data", "offset", "0"),
		outside("none", []int64{0}, "location", "w.data", "offset", "64"))
	m, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	for name, want := range map[string]string{"all": "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", "part": "2 3", "none": ""} {
		if got := strings.Trim(fmt.Sprint(tensor.Data[float32](g.Value(name).Init())), "[]"); got != want {
			t.Errorf("%s: %q, wanted %q", name, got, want)
		}
	}
	if &g.Value("all").Init().Bytes()[0] != &g.Value("tied").Init().Bytes()[0] {
		t.Error("two tensors over one range do not share memory")
	}
	dir := filepath.Dir(path)
	files := Files(m)
	if want := []string{path, filepath.Join(dir, "w.data"), filepath.Join(dir, "inner", "v.data")}; fmt.Sprint(files) != fmt.Sprint(want) {
		t.Errorf("files %q, wanted %q", files, want)
	}
	if size, sum, err := Digest(files); err != nil || size < 128 || len(sum) != 64 {
		t.Errorf("digest %d %q %v", size, sum, err)
	}
	// Written as one message it stands alone and is the same model.
	data, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := Decode(data, "")
	if err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(alone.Graph.Value("part").Init(), g.Value("part").Init()) {
		t.Error("external data changed on the way into the file")
	}
	if Files(alone) != nil {
		t.Error("a model from bytes has files")
	}
}

func TestExternalDataRefused(t *testing.T) {
	big := strconv.FormatInt(math.MaxInt64, 10)
	for _, c := range []struct {
		p    *onnxpb.TensorProto
		want string
	}{
		{outside("w2", []int64{2}, "location", "../secret"), `"../secret" contains ".."`},
		{outside("w2", []int64{2}, "location", "inner/../../secret"), `contains ".."`},
		{outside("w2", []int64{2}, "location", "/etc/hostname"), "absolute path"},
		{outside("w2", []int64{2}, "location", "link"), `"link": `},
		{outside("w2", []int64{2}, "location", "inner"), `"inner" is a folder`},
		{outside("w2", []int64{2}, "location", "missing.data"), `"missing.data": no such file`},
		{outside("w2", []int64{2}), "the path is empty"},
		{outside("w2", []int64{17}, "location", "w.data"), "bytes 0 to 68 are wanted, the file has 64"},
		{outside("w2", []int64{2}, "location", "w.data", "offset", "60"), "bytes 60 to 68 are wanted, the file has 64"},
		{outside("w2", []int64{2}, "location", "w.data", "offset", big), "the file has 64"},
		{outside("w2", []int64{2}, "location", "w.data", "offset", "-4"), `offset is "-4"`},
		{outside("w2", []int64{2}, "location", "w.data", "length", "x"), `length is "x"`},
		{outside("w2", []int64{2}, "location", "w.data", "length", "12"), "float32[2] takes 8 bytes, its external data has length 12"},
		{outside("w2", []int64{-2}, "location", "w.data"), "negative dimension -2"},
		{outside("w2", []int64{1 << 40, 1 << 40}, "location", "w.data"), "too many elements"},
		{outside("w2", []int64{1 << 40}, "location", "w.data"), "the file has 64"},
	} {
		_, err := Read(folder(t, c.p))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `tensor "w2": `) {
			t.Errorf("error %v\nwanted %q", err, c.want)
		}
	}
	inline := outside("w2", []int64{1}, "location", "w.data")
	inline.RawData = []byte("1234")
	text := outside("w2", []int64{1}, "location", "w.data")
	text.DataType = new(int32(tensor.String))
	for p, want := range map[*onnxpb.TensorProto]string{inline: "here and in another file", text: "strings cannot"} {
		if _, err := Read(folder(t, p)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwanted %q", err, want)
		}
	}
	if _, err := Decode(encoded(t, mlp(outside("w2", []int64{2}, "location", "w.data"))), ""); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "not read from a folder") {
		t.Errorf("without a folder: %v", err)
	}
}

// A few bytes of file cannot ask for many times their size by overlapping.
func TestExternalDataOverlap(t *testing.T) {
	var inits []*onnxpb.TensorProto
	for i := range 3 {
		inits = append(inits, outside(fmt.Sprint("w", i), []int64{8}, "location", "w.data", "offset", strconv.Itoa(4*i)))
	}
	if _, err := Read(folder(t, inits...)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), `tensor "w2": external data: ranges of "w.data" overlap`) {
		t.Errorf("error %v", err)
	}
}

// dirNames is what a folder holds.
func dirNames(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestExternalDataWritten(t *testing.T) {
	pb := rich()
	tied := pb.Graph.Initializer[1] // "big", 4,800 bytes
	page := zeros("page", 128, 128)
	typed := zeros("typed", 300)
	typed.RawData, typed.FloatData = nil, make([]float32, 300)
	typed.FloatData[7] = 7
	pb.Graph.Initializer = append(pb.Graph.Initializer, page, typed)
	m := decoded(t, pb)
	m.Graph.NewConst("twin", m.Graph.Value("big").Init())
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	if err := Write(m, path, WriteOptions{ExternalData: true}); err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(dirNames(t, dir))
	if len(names) != 2 || !strings.HasPrefix(names[0], "out-") || !strings.HasSuffix(names[0], ".data") {
		t.Fatalf("folder holds %q", names)
	}
	_, sum, err := Digest([]string{filepath.Join(dir, names[0])})
	if err != nil || names[0] != "out-"+sum[:16]+".data" {
		t.Errorf("%s has content %s", names[0], sum)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]int64{}
	note := func(p *wire.Tensor) error {
		if get(p.DataLocation) == wire.External {
			if *p.ExternalData[0].Value != names[0] {
				t.Errorf("%s is in %q", *p.Name, *p.ExternalData[0].Value)
			}
			where[*p.Name], _ = strconv.ParseInt(*p.ExternalData[1].Value, 10, 64)
			if p.RawData != nil || p.FloatData != nil {
				t.Errorf("%s has elements in the model too", *p.Name)
			}
		}
		return nil
	}
	written := &wire.Model{}
	if err := wire.Unmarshal(data, written, wire.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := eachTensor(written, note); err != nil {
		t.Fatal(err)
	}
	// The subgraphs' constants are out too, small ones are not, tied ones share.
	if len(where) != 6 || where["big"] != where["twin"] || where["page"]%pageSize != 0 || where["tc"]%externalAlign != 0 {
		t.Errorf("external tensors at %v", where)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	got.Graph.Value("typed").Origin = m.Graph.Value("typed").Origin // raw after the journey, typed before
	if a, b := reencoded(t, got), reencoded(t, m); !proto.Equal(a, b) {
		t.Errorf("read back\n%v\nwanted\n%v", first(a, b), first(b, a))
	}
	if !tensor.Equal(got.Graph.Value("typed").Init(), m.Graph.Value("typed").Init()) {
		t.Error("typed data changed")
	}
	// Writing left the model as it was, and a second time finds its data there.
	if reencoded(t, m).Graph.Initializer[1].GetDataLocation() != tied.GetDataLocation() {
		t.Error("writing changed the model")
	}
	if err := Write(m, path, WriteOptions{ExternalData: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without force: %v", err)
	}
	if err := Write(m, path, WriteOptions{ExternalData: true, Force: true}); err != nil {
		t.Error(err)
	}
	if now := dirNames(t, dir); now != strings.Join(names, " ") {
		t.Errorf("folder holds %q, wanted %q", now, names)
	}
	// Data of that name and of another content is not ours to replace.
	if err := os.WriteFile(filepath.Join(dir, names[0]), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(m, path, WriteOptions{ExternalData: true, Force: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("changed data file: %v", err)
	}
}

func TestWriteLeavesNothingBehind(t *testing.T) {
	m := decoded(t, mlp(zeros("big", 1000)))
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, external := range []bool{false, true} {
		err := WriteContext(ctx, m, filepath.Join(dir, "out.onnx"), WriteOptions{ExternalData: external})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	if got := dirNames(t, dir); got != "" {
		t.Errorf("folder holds %q", got)
	}
}
