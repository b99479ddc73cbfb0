package convert

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/ortest"
	"bilinc/runtime/tensor"
)

const (
	// leastSameClasses is the part of the positions of unseen lines at which a
	// recogniser of half the parameters, fitted to few lines, has to give the class
	// that the original gives, and mostLineError its output error there.
	leastSameClasses, mostLineError = 0.8, 0.5
	// tolProbability is how far probabilities may lie from ONNX Runtime's, as part
	// of the largest.
	tolProbability = 1e-3
)

// linesOf renders lines of text as PaddleOCR's recogniser takes them.
func linesOf(t testing.TB, count, seed int) (*dataset.Set, string) {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import PIL, numpy").Run(); err != nil {
		t.Skip("no lines of text: Debian's python3-pil and python3-numpy are not there")
	}
	out := filepath.Join(t.TempDir(), "lines.npz")
	cmd := exec.Command("../testdata/make-lines.py", "../LICENSE", fmt.Sprint(count), fmt.Sprint(seed), out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make-lines.py: %v: %s", err, text)
	}
	s, err := dataset.Open([]string{out}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, out
}

// PaddleOCR's recogniser at half its parameters, its 1×1 convolutions among what
// is replaced, gives the classes of the original on most positions of lines that
// it was not fitted to, and what it gives is what ONNX Runtime gives.
func TestRealModelsRecogniserAtHalfONNXRuntime(t *testing.T) {
	path := ocrModel(t, "ch_PP-OCRv4_rec_infer.onnx")
	if testing.Short() {
		t.Skip("a whole model")
	}
	ort := ortest.Start(t)
	ctx := context.Background()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	bound := func(count, seed int) *dataset.Bound {
		s, _ := linesOf(t, count, seed)
		b, err := s.Bind(m.Graph)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pool := kernel.NewPool(2)
	c, err := NewCalibration(ctx, m, bound(30, 1), pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(ctx, m, Options{Ratio: 2, Structure: LowRank, Calibration: c, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	small, r, err := Apply(ctx, m, p, ApplyOptions{Calibration: c, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	convolutions := 0
	for _, l := range r.Layers {
		if l.Action == ActLowRank && strings.HasPrefix(l.Name, "p2o.Conv") {
			convolutions++
		}
	}
	if 2*r.ParamsAfter > r.ParamsBefore || convolutions < 3 || r.MACsBefore == nil || *r.MACsAfter >= *r.MACsBefore {
		t.Errorf("%d → %d parameters, %d convolutions replaced, %v → %v multiplications", r.ParamsBefore, r.ParamsAfter, convolutions, r.MACsBefore, r.MACsAfter)
	}
	unseen := bound(20, 2)
	outs, _, err := Verify(ctx, m, small, unseen, VerifyOptions{Batch: 10, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	name := m.Graph.Outputs[0].Name()
	if e := outs[name].RelError; e == nil || !(*e < mostLineError) {
		t.Errorf("output error on unseen lines %v, wanted less than %g", e, mostLineError)
	} else {
		t.Logf("%.2f×, %d convolutions replaced, output error on unseen lines %.3f", float64(r.ParamsBefore)/float64(r.ParamsAfter), convolutions, *e)
	}
	checkLines(t, ort, m, small, unseen)
	checkInterface(t, m, small)
}

// checkLines compares what the two models read, and what the small one gives
// with ONNX Runtime.
func checkLines(t *testing.T, ort *ortest.Session, m, small *graph.Model, lines *dataset.Bound) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "half.onnx")
	if err := onnx.Write(small, file, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	same, all := 0, 0
	for b, err := range lines.Batches(10) {
		if err != nil {
			t.Fatal(err)
		}
		want, got := runModel(t, m, b.Inputs...)[0], runModel(t, small, b.Inputs...)[0]
		p, q, n := tensor.Data[float32](want), tensor.Data[float32](got), want.Shape()[2]
		for i := 0; i < len(p); i += n {
			if all++; argmax(p[i:i+n]) == argmax(q[i:i+n]) {
				same++
			}
		}
		there, err := ort.Run(file, named(small, b.Inputs))
		if err != nil {
			t.Fatal(err)
		}
		if err := ortest.Compare(got, there[0].Tensor, tolProbability); err != nil {
			t.Errorf("in ONNX Runtime: %v", err)
		}
	}
	t.Logf("%.1f %% of %d positions have the same class", 100*float64(same)/float64(all), all)
	if float64(same) < leastSameClasses*float64(all) {
		t.Errorf("%d of %d positions have the same class, wanted %g of them", same, all, leastSameClasses)
	}
}
