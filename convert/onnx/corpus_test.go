package onnx

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"bilinc/convert/onnx/onnxpb"
	"bilinc/convert/onnx/wire"
)

// corpus is every .onnx file under the folder that an environment variable
// names, or under a default one; the test is skipped where there is none.
func corpus(t *testing.T, env, fallback string) []string {
	t.Helper()
	dir := os.Getenv(env)
	if dir == "" {
		dir = fallback
	}
	if dir == "" {
		t.Skipf("%s names no folder of models", env)
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".onnx") {
			files = append(files, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here (set %s)", dir, env)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no .onnx file in %s", dir)
	}
	return files
}

// plain is the file as package proto alone decodes it.
func plain(t *testing.T, data []byte) *onnxpb.ModelProto {
	t.Helper()
	pb := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, pb); err != nil {
		t.Fatal(err)
	}
	return pb
}

// roundTrip reads a file and writes it again; the message is equal to the one
// read, and so are the bytes where same is true.
func roundTrip(t *testing.T, path string) (same bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Read(path)
	if err != nil {
		t.Errorf("%v", err)
		return false
	}
	for range 2 { // what the first writing takes from the origins is still there
		out, err := Encode(m)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return false
		}
		same = bytes.Equal(out, data)
		if !same && !proto.Equal(plain(t, data), plain(t, out)) {
			t.Errorf("%s: the message written is not the one read", path)
		}
		m = m.Clone()
	}
	return same
}

// notCanonical is the files of libonnx-testdata that come out with other bytes
// (and the same content), and why.
var notCanonical = map[string]string{}

func TestRoundTripTestdata(t *testing.T) {
	files := corpus(t, "BILINC_ONNX_TESTDATA", "/usr/share/libonnx-testdata/data")
	for _, path := range files {
		name := filepath.ToSlash(path)
		_, reasoned := notCanonical[name[strings.LastIndex(filepath.Dir(name), "/")+1:]]
		if same := roundTrip(t, path); same == reasoned {
			t.Errorf("%s: byte-identical: %v, wanted %v", path, same, !same)
		}
	}
	t.Logf("%d files, %d not byte-identical", len(files), len(notCanonical))
}

func TestRoundTripModels(t *testing.T) {
	for _, path := range corpus(t, "BILINC_TEST_MODELS", "") {
		if !roundTrip(t, path) {
			t.Errorf("%s: other bytes", path)
		}
	}
}

// What is read of a file is what package proto reads of it.
func TestWireAgreesWithProto(t *testing.T) {
	for _, path := range corpus(t, "BILINC_ONNX_TESTDATA", "/usr/share/libonnx-testdata/data") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := plain(t, data)
		for _, own := range []bool{false, true} {
			got := &wire.Model{}
			if err := wire.Unmarshal(slices.Clone(data), got, wire.Options{Own: own}); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if !proto.Equal(plain(t, wire.Marshal(got)), want) {
				t.Errorf("%s: own %v: messages differ", path, own)
			}
		}
	}
}
