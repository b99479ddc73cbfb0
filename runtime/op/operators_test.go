package op

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// shapeTests are operators at shapes that models have: ResNet's and YOLO's pools, attention's softmax, and so on.
func shapeTests() []opTest {
	type attrs = []*graph.Attr
	type tensors = []*tensor.Tensor
	pool := func(kernel, stride, pad int64) attrs {
		return attrs{attrInts("kernel_shape", kernel, kernel), attrInts("strides", stride, stride), attrInts("pads", pad, pad, pad, pad)}
	}
	with := func(a attrs, more ...*graph.Attr) attrs { return append(a, more...) }
	picture, features := random(1, 1, 64, 112, 112), random(2, 1, 256, 20, 20)
	face, style := random(3, 1, 64, 56, 56), random(4, 1, 64, 128, 128)
	alex := random(5, 1, 96, 55, 55)
	c := func(n int) *tensor.Tensor { return positive(random(6, n)) }
	up := list[float32](1, 1, 2, 2)
	return []opTest{
		{name: "ResNet", op: "MaxPool", opset: 12, attrs: pool(3, 2, 1), in: tensors{picture}},
		{name: "VGG", op: "MaxPool", opset: 12, attrs: pool(2, 2, 0), in: tensors{picture}},
		{name: "SqueezeNet", op: "MaxPool", opset: 12, attrs: with(pool(3, 2, 0), attrInt("ceil_mode", 1)), in: tensors{random(7, 1, 96, 109, 109)}},
		{name: "YOLO", op: "MaxPool", opset: 12, attrs: pool(5, 1, 2), in: tensors{features}},
		{name: "Inception", op: "AveragePool", opset: 11, attrs: with(pool(3, 1, 1), attrInt("count_include_pad", 1)), in: tensors{random(8, 1, 192, 35, 35)}},
		{name: "DenseNet", op: "AveragePool", opset: 11, attrs: pool(2, 2, 0), in: tensors{random(9, 1, 128, 56, 56)}},
		{name: "audio", op: "AveragePool", opset: 11, attrs: attrs{attrInts("kernel_shape", 4), attrInts("strides", 4)}, in: tensors{random(10, 1, 128, 4000)}},
		{name: "ResNet", op: "GlobalAveragePool", opset: 1, in: tensors{random(11, 1, 2048, 7, 7)}},
		{name: "ResNet", op: "GlobalMaxPool", opset: 1, in: tensors{random(11, 1, 2048, 7, 7)}},
		{name: "attention", op: "Softmax", opset: 13, in: tensors{random(12, 12, 128, 128)}},
		{name: "classes", op: "Softmax", opset: 13, in: tensors{random(13, 8, 1000)}},
		{name: "YOLO", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "nearest"), attrString("coordinate_transformation_mode", "asymmetric"), attrString("nearest_mode", "floor")},
			in: tensors{random(14, 1, 128, 40, 40), nil, up}},
		{name: "segmentation", op: "Resize", opset: 13, attrs: attrs{attrString("mode", "linear")}, in: tensors{random(15, 1, 21, 65, 65), nil, list[float32](1, 1, 8, 8)}},
		{name: "AlexNet", op: "LRN", opset: 13, attrs: attrs{attrInt("size", 5)}, in: tensors{alex}},
		{name: "face recognition", op: "PRelu", opset: 16, in: tensors{face, random(16, 64, 1, 1)}},
		{name: "style", op: "InstanceNormalization", opset: 6, in: tensors{style, c(64), c(64)}},
		{name: "diffusion", op: "GroupNormalization", opset: 21, attrs: attrs{attrInt("num_groups", 32)}, in: tensors{random(17, 1, 320, 32, 32), c(320), c(320)}},
		{name: "embedding", op: "LpNormalization", opset: 1, in: tensors{random(18, 64, 512)}},
		{name: "channels", op: "LpNormalization", opset: 1, attrs: attrs{attrInt("axis", 1)}, in: tensors{face}},
		{name: "BERT", op: "LayerNormalization", opset: 17, in: tensors{random(19, 1, 128, 768), c(768), c(768)}},
		{name: "ResNet", op: "BatchNormalization", opset: 15, in: tensors{face, c(64), c(64), c(64), c(64)}},
		{name: "MobileNet", op: "HardSwish", opset: 14, in: tensors{picture}},
		{name: "MobileNet", op: "HardSigmoid", opset: 14, in: tensors{picture}},
		{name: "U-Net", op: "ConvTranspose", opset: 11, attrs: attrs{attrInts("strides", 2, 2)}, in: tensors{random(20, 1, 128, 32, 32), random(21, 128, 64, 2, 2)}},
		{name: "registration", op: "GridSample", opset: 16, in: tensors{random(22, 1, 3, 256, 256), random(23, 1, 256, 256, 2)}},
		{name: "ResNet", op: "Add", opset: 14, in: tensors{face, face}},
		{name: "ResNet", op: "Relu", opset: 14, in: tensors{picture}},
		{name: "BERT", op: "Gelu", opset: 20, in: tensors{random(24, 1, 128, 3072)}},
	}
}

// twoInputs are operators whose inputs after the first come from other nodes too; those of the rest are parameters.
var twoInputs = regexp.MustCompile(`^(Where|Max|Min|Add|Mul|Einsum|Gather.*|Scatter.*|GridSample|MatMulInteger|QLinearMatMul)$`)

// TestWriteOperators writes models of single operators, and inputs for them, to the folder BILINC_BENCH_MODELS, those
// whose "operator case" the regular expression BILINC_BENCH matches. TestPeerOperators of package runtime times them.
func TestWriteOperators(t *testing.T) {
	folder := os.Getenv("BILINC_BENCH_MODELS")
	if folder == "" {
		t.Skip("BILINC_BENCH_MODELS is not set")
	}
	wanted, err := regexp.Compile(os.Getenv("BILINC_BENCH"))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range append(largeTests(), shapeTests()...) {
		name := strings.TrimSpace(c.op + " " + c.name)
		if !wanted.MatchString(name) {
			continue
		}
		path := filepath.Join(folder, fmt.Sprintf("%03d %s.onnx", i, name))
		in := writeNodeOf(t, path, c, max(1, c.outs), func(i int) bool { return i > 0 && !twoInputs.MatchString(c.op) })
		for _, x := range in {
			if err := os.WriteFile(path+"."+x.Name, x.Tensor.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
