package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"bilinc/convert"
	"bilinc/finetune"
)

// The page is well-formed whatever names a model has, holds every number of the
// report, and asks for nothing of a network.
func TestPage(t *testing.T) {
	half, macs := 0.5, int64(1234567)
	awkward := `</td><script>"é & 层'`
	p := page{
		args: []string{"convert", "my model.onnx", "-o", "small.onnx", "--layers", "it's <*>"}, model: "my model.onnx", out: "small.onnx",
		sumOf: [2]string{"aaaa1", "bbbb2"},
		report: &convert.Report{ParamsBefore: 7654321, ParamsAfter: 54321, BytesBefore: 30617284, BytesAfter: 217284, MACsBefore: &macs,
			Layers: []convert.LayerReport{
				{Name: awkward, Action: convert.ActBilinear, Shape: &convert.Shape{A: [2]int{4, 8}, B: [2]int{16, 32}}, Terms: 3, Error: 0.125},
				{Name: "kept", Action: convert.ActSkipped, Reason: awkward},
			},
			Outputs:      map[string]*convert.OutputReport{awkward: {RelError: &half}, "noise": {}},
			MetricBefore: &half, MetricAfter: &half, Seconds: 1.5},
		tradeoff: []convert.Tradeoff{{Ratio: 2, Params: 1, Error: 0.1, Feasible: true}, {Ratio: 4, Params: 1, Error: 0.2, Feasible: true}, {Ratio: 8, Params: 1}},
		history: &finetune.History{StartMetric: &half, Metric: "accuracy", Loss: "ce<", BestEpoch: 2, Holdout: 7,
			Epochs: []finetune.Epoch{{Epoch: 1, TrainLoss: 2.25}, {Epoch: 2, TrainLoss: math.NaN()}, {Epoch: 3, TrainLoss: 1.75}}},
		allWarnings: []string{awkward},
	}
	var b bytes.Buffer
	if err := p.write(&b); err != nil {
		t.Fatal(err)
	}
	var text []string
	elements := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is not well-formed: %v\n%s", err, b.String())
		}
		switch x := tok.(type) {
		case xml.StartElement:
			elements[x.Name.Local]++
		case xml.CharData:
			text = append(text, string(x))
		}
	}
	all := "\n" + strings.Join(text, "\n") + "\n"
	for _, want := range []string{`bilinc convert 'my model.onnx' -o small.onnx --layers 'it'\''s <*>'`, "my model.onnx → small.onnx", "7,654,321", "54,321",
		"30,617,284", "217,284", "1,234,567", "unknown", "aaaa1", "bbbb2", "4×8 ⊗ 16×32", "0.125", "not verified", "0.5000", "2.25", "accuracy"} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if n := strings.Count(all, "\n"+awkward+"\n"); n != 4 { // a layer, a reason, an output, a warning
		t.Errorf("the awkward name stands there %d times, wanted 4", n)
	}
	if elements["svg"] != 2 || elements["script"]+elements["link"]+elements["img"] > 0 || strings.Contains(b.String(), "://") {
		t.Errorf("elements %v", elements)
	}
}

func TestShellWords(t *testing.T) {
	for want, args := range map[string][]string{
		"a -b c=1,d":    {"a", "-b", "c=1,d"},
		"'' 'a b' '$x'": {"", "a b", "$x"},
		`'a'\''b' 'é'`:  {"a'b", "é"},
	} {
		if got := shellWords(args); got != want {
			t.Errorf("%q: %s, wanted %s", args, got, want)
		}
	}
}
