package op

import (
	"fmt"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

func TestSampleBackward(t *testing.T) {
	var tests []gradTest
	pad := func(s string) []*graph.Attr { return []*graph.Attr{attrString("padding_mode", s)} }
	// Positions inside and outside.
	grid := within(-0.15, 0.15, random(2, 2, 3, 2, 2))
	for i, v := 0, tensor.Data[float32](grid); i < len(v); i++ {
		v[i] += []float32{0.5, -1.6, 0.4, 1.7, -0.5, 2.3, -0.5, -2.4}[i%8]
	}
	for _, padding := range []string{"zeros", "border", "reflection"} {
		for align := range int64(2) {
			for mode, opset := range map[string]int64{"linear": 20, "cubic": 20, "bilinear": 16, "nearest": 16} {
				tests = append(tests, gradTest{name: fmt.Sprint(mode, " ", padding, " ", align), op: "GridSample", opset: opset,
					attrs: append(pad(padding), attrString("mode", mode), attrInt("align_corners", align)), in: tensors{random(1, 2, 3, 4, 3), grid}})
			}
		}
	}
	volume := within(-0.8, 0.8, random(3, 1, 2, 2, 3, 3))
	windows := []*graph.Attr{attrInts("kernel_shape", 2, 2), attrInts("strides", 2, 2)}
	tests = append(tests,
		gradTest{name: "volume", op: "GridSample", opset: 20, in: tensors{random(1, 1, 2, 3, 4, 2), volume}},
		gradTest{op: "AffineGrid", opset: 20, in: tensors{random(1, 2, 2, 3), list[int64](2, 3, 4, 5)}},
		gradTest{name: "aligned volume", op: "AffineGrid", opset: 20, attrs: []*graph.Attr{attrInt("align_corners", 1)}, in: tensors{random(1, 1, 3, 4), list[int64](1, 3, 4, 5, 2)}},
		gradTest{op: "MaxUnpool", opset: 11, attrs: windows, in: tensors{random(1, 1, 2, 2, 2), tensor.Of([]int64{1, 7, 8, 15, 16, 18, 27, 30}, 1, 2, 2, 2)}},
		gradTest{name: "one place twice", op: "MaxUnpool", opset: 11, attrs: windows, in: tensors{random(1, 1, 1, 2, 2), tensor.Of([]int64{5, 5, 8, 5}, 1, 1, 2, 2)}},
		gradTest{name: "larger output", op: "MaxUnpool", opset: 11, attrs: windows,
			in: tensors{random(1, 1, 1, 2, 2), tensor.Of([]int64{1, 7, 8, 15}, 1, 1, 2, 2), list[int64](1, 1, 5, 6)}},
		gradTest{op: "Col2Im", opset: 18, attrs: []*graph.Attr{attrInts("strides", 2, 1), attrInts("dilations", 1, 2), attrInts("pads", 1, 0, 0, 1)},
			in: tensors{random(1, 2, 12, 8), list[int64](4, 5), list[int64](2, 2)}},
		gradTest{name: "one axis", op: "Col2Im", opset: 18, in: tensors{random(1, 1, 6, 5), list[int64](7), list[int64](3)}},
		gradTest{op: "Mod", opset: 13, attrs: []*graph.Attr{attrInt("fmod", 1)}, in: tensors{within(2.1, 2.9, random(1, 2, 3)), within(0.95, 1.04, random(2, 3))}},
		gradTest{name: "signs", op: "Mod", opset: 13, attrs: []*graph.Attr{attrInt("fmod", 1)}, in: tensors{within(-5.4, -4.6, random(1, 2, 1)), within(1.9, 2.2, random(2, 1, 3))}},
	)
	runGradTests(t, tests)
}

func TestModWithoutGradient(t *testing.T) {
	o, err := parseOp(opTest{op: "Mod", opset: 13, in: tensors{list[int64](5), list[int64](3)}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if AsDifferentiable(o) != nil {
		t.Error("the integers' Mod has a gradient")
	}
}
