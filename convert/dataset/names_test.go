package dataset

import (
	"testing"

	"bilinc/runtime/tensor"
)

func TestIDXNames(t *testing.T) {
	for name, want := range map[string]bool{
		"-idx3-ubyte": true, "a/b-idx12-ubyte": true, "images=x-idx3-ubyte.gz": true, "x-idx3-ubyte.gz.gz": false,
		"idx3-ubyte": false, "x-idx-ubyte": false, "x-idx3a-ubyte": false, "x-idx3-ubyte.": false, "x-idx3": false, "": false,
	} {
		if got := isIDXName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestTestSetNames(t *testing.T) {
	for name, want := range map[string]string{"test_data_set_0": "0", "test_data_set_012": "012", "test_data_set_": "", "test_data_set_1a": "",
		"test_data_set_-1": "", "a_test_data_set_1": "", "test_data_set_1 ": ""} {
		n, ok := testSet(name)
		if ok != (want != "") || ok && n != want {
			t.Errorf("%q: %q, %v", name, n, ok)
		}
	}
	for name, want := range map[string][2]string{"input_0.pb": {"input", "0"}, "output_17.pb": {"output", "17"}, "input_.pb": {}, "input_0": {},
		"inputs_0.pb": {}, "input_0.pb.pb": {}, "output_0_1.pb": {}, "output.pb": {}, "input_+1.pb": {}, ".pb": {}} {
		kind, n, ok := testFile(name)
		if ok != (want != [2]string{}) || ok && want != [2]string{kind, n} {
			t.Errorf("%q: %q, %q, %v", name, kind, n, ok)
		}
	}
}

func TestElementTypes(t *testing.T) {
	for _, of := range npyTypes {
		if got := npyType(of.kind); got != of.elem {
			t.Errorf("%s: %v, wanted %v", of.kind, got, of.elem)
		}
	}
	if got := npyType("f16"); got != tensor.Undefined {
		t.Errorf("f16: %v", got)
	}
	for code := range 256 {
		known := code >= 0x08 && code <= 0x0E && code != 0x0A
		if got := idxType(byte(code)); (got != tensor.Undefined) != known {
			t.Errorf("%#x: %v", code, got)
		}
	}
}
