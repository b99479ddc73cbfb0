package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// names is an attribute that lists strings.
func attrStrings(name string, v ...string) *graph.Attr {
	a := &graph.Attr{Name: name, Type: graph.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

// TestSamplersAgainstONNXRuntime is for operators that read between elements,
// regions, windows and spectra.
func TestSamplersAgainstONNXRuntime(t *testing.T) {
	x := random(1, 2, 3, 5, 4)
	grid := tensor.New(tensor.Float32, 2, 3, 2, 2)
	for i, v := range tensor.Data[float32](random(2, 24)) {
		tensor.Data[float32](grid)[i] = v // some of it far outside
	}
	var tests []opTest
	for _, padding := range []string{"zeros", "border", "reflection"} {
		for align := range int64(2) {
			for _, modes := range [][2]string{{"bilinear", "linear"}, {"nearest", "nearest"}, {"bicubic", "cubic"}} {
				for k, opset := range []int64{16, 20} {
					attrs := []*graph.Attr{attrString("mode", modes[k]), attrString("padding_mode", padding), attrInt("align_corners", align)}
					tests = append(tests, opTest{name: modes[k] + padding, op: "GridSample", opset: opset, attrs: attrs, in: []*tensor.Tensor{x, grid}})
				}
			}
			attrs := []*graph.Attr{attrString("mode", "linear"), attrString("padding_mode", padding), attrInt("align_corners", align)}
			tests = append(tests, opTest{name: "volume" + padding, op: "GridSample", opset: 20, attrs: attrs, in: []*tensor.Tensor{random(3, 1, 2, 3, 4, 2), random(4, 1, 2, 2, 3, 3)}})
		}
	}
	for align := range int64(2) {
		tests = append(tests,
			opTest{op: "AffineGrid", opset: 20, attrs: []*graph.Attr{attrInt("align_corners", align)}, in: []*tensor.Tensor{random(1, 2, 2, 3), list[int64](2, 3, 4, 5)}},
			opTest{name: "volume", op: "AffineGrid", opset: 20, attrs: []*graph.Attr{attrInt("align_corners", align)}, in: []*tensor.Tensor{random(1, 1, 3, 4), list[int64](1, 3, 4, 5, 2)}})
	}
	rois := tensor.Of([]float32{0, 0, 3, 4, 0.5, 1, 2.5, 2, -1, -2, 6, 7, 2, 1, 2, 1}, 4, 4)
	images := list[int64](0, 1, 1, 0)
	for _, mode := range []string{"avg", "max"} {
		size := []*graph.Attr{attrInt("output_height", 2), attrInt("output_width", 3), attrString("mode", mode), attrFloat("spatial_scale", 0.75)}
		tests = append(tests,
			opTest{op: "RoiAlign", opset: 10, attrs: size, in: []*tensor.Tensor{x, rois, images}},
			opTest{op: "RoiAlign", opset: 16, attrs: append(size[:4:4], attrInt("sampling_ratio", 2)), in: []*tensor.Tensor{x, rois, images}},
			opTest{op: "RoiAlign", opset: 16, attrs: append(size[:4:4], attrString("coordinate_transformation_mode", "output_half_pixel")), in: []*tensor.Tensor{x, rois, images}})
	}
	regions := tensor.Of([]float32{0, 0, 0, 3, 4, 1, 1, 1, 2, 2, 1, 0, 2, 9, 9}, 3, 5)
	signal := random(5, 2, 20, 1)
	windows := []*graph.Attr{attrInts("kernel_shape", 2, 2), attrInts("strides", 2, 2)}
	tests = append(tests,
		opTest{op: "MaxRoiPool", opset: 1, attrs: []*graph.Attr{attrInts("pooled_shape", 2, 2)}, in: []*tensor.Tensor{x, regions}},
		opTest{op: "MaxUnpool", opset: 11, attrs: windows, in: []*tensor.Tensor{tensor.Of([]float32{1, 2, 3, 4}, 1, 1, 2, 2), tensor.Of([]int64{1, 7, 8, 15}, 1, 1, 2, 2)}},
		opTest{op: "Col2Im", opset: 18, attrs: []*graph.Attr{attrInts("strides", 2, 1), attrInts("dilations", 1, 2), attrInts("pads", 1, 0, 0, 1)}, in: []*tensor.Tensor{random(1, 2, 12, 8), list[int64](4, 5), list[int64](2, 2)}},
		opTest{op: "CenterCropPad", opset: 18, attrs: []*graph.Attr{attrInts("axes", 1, -1)}, in: []*tensor.Tensor{x, list[int64](6, 1)}},
		opTest{op: "DFT", opset: 17, attrs: []*graph.Attr{attrInt("axis", 1)}, in: []*tensor.Tensor{signal}},
		opTest{name: "onesided", op: "DFT", opset: 17, attrs: []*graph.Attr{attrInt("axis", 1), attrInt("onesided", 1)}, in: []*tensor.Tensor{signal}},
		opTest{name: "length", op: "DFT", opset: 17, attrs: []*graph.Attr{attrInt("axis", 1)}, in: []*tensor.Tensor{random(5, 2, 6, 2), tensor.Scalar[int64](9)}},
		opTest{name: "inverse", op: "DFT", opset: 20, attrs: []*graph.Attr{attrInt("inverse", 1)}, in: []*tensor.Tensor{random(5, 2, 6, 3, 2), nil, tensor.Scalar[int64](-3)}},
		opTest{op: "STFT", opset: 17, in: []*tensor.Tensor{signal, tensor.Scalar[int64](3), positive(random(2, 8))}},
		opTest{name: "two sides", op: "STFT", opset: 17, attrs: []*graph.Attr{attrInt("onesided", 0)}, in: []*tensor.Tensor{signal, tensor.Scalar[int64](4), nil, tensor.Scalar[int64](7)}},
		opTest{op: "MelWeightMatrix", opset: 17, in: []*tensor.Tensor{tensor.Scalar[int64](7), tensor.Scalar[int64](32), tensor.Scalar[int64](16000), tensor.Scalar[float32](100), tensor.Scalar[float32](7000)}},
		opTest{op: "DeformConv", opset: 19, attrs: []*graph.Attr{attrInts("pads", 1, 0, 1, 0), attrInts("strides", 2, 1), attrInt("offset_group", 2)},
			in: []*tensor.Tensor{random(1, 2, 4, 5, 4), random(2, 3, 4, 2, 2), random(3, 2, 16, 3, 3), random(4, 3), positive(random(5, 2, 8, 3, 3))}},
		opTest{name: "groups", op: "DeformConv", opset: 22, attrs: []*graph.Attr{attrInt("group", 2)},
			in: []*tensor.Tensor{random(1, 1, 4, 3, 4), random(2, 2, 2, 2, 2), random(3, 1, 8, 2, 3)}},
	)
	for _, name := range []string{"BlackmanWindow", "HammingWindow", "HannWindow"} {
		for periodic := range int64(2) {
			tests = append(tests, opTest{op: name, opset: 17, attrs: []*graph.Attr{attrInt("periodic", periodic)}, in: []*tensor.Tensor{tensor.Scalar[int64](9)}},
				opTest{name: "float64", op: name, opset: 17, attrs: []*graph.Attr{attrInt("periodic", periodic), attrInt("output_datatype", 11)}, in: []*tensor.Tensor{tensor.Scalar[int32](6)}})
		}
	}
	compareWithORT(t, tests)
}

func TestQuantisedConvAgainstONNXRuntime(t *testing.T) {
	bytes := func(seed uint64, shape ...int) *tensor.Tensor {
		y := tensor.New(tensor.Uint8, shape...)
		for i, v := range tensor.Data[float32](random(seed, shape...)) {
			tensor.Data[uint8](y)[i] = uint8(int(v*40) + 128)
		}
		return y
	}
	f, u := tensor.Scalar[float32], tensor.Scalar[uint8]
	pads := []*graph.Attr{attrInts("pads", 1, 1, 0, 0)}
	compareWithORT(t, []opTest{
		{op: "QLinearConv", opset: 10, attrs: pads, in: []*tensor.Tensor{bytes(1, 1, 2, 4, 4), f(0.02), u(120), bytes(2, 3, 2, 3, 3), f(0.03), u(131), f(0.5), u(100), list[int32](0, 500, -900)}},
		{name: "groups", op: "QLinearConv", opset: 10, attrs: []*graph.Attr{attrInt("group", 2), attrInts("strides", 2, 1)}, in: []*tensor.Tensor{bytes(1, 2, 2, 4, 4), f(0.02), u(120), bytes(2, 4, 1, 2, 2), f(0.03), u(131), f(0.25), u(100)}},
	})
}

func TestTextAgainstONNXRuntime(t *testing.T) {
	words := list("Monday", "tuesday", "", "MONDAY", "Straße")
	grams := func(mode string, least, most, skip int64) []*graph.Attr {
		return []*graph.Attr{attrString("mode", mode), attrInt("min_gram_length", least), attrInt("max_gram_length", most), attrInt("max_skip_count", skip),
			attrInts("ngram_counts", 0, 4), attrInts("ngram_indexes", 0, 1, 2, 3, 4, 5, 6), attrInts("pool_int64s", 2, 3, 5, 4, 5, 6, 7, 8, 6, 7),
			attrFloats("weights", 2, 3, 4, 5, 6, 7, 8)}
	}
	x := tensor.Of([]int32{1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8}, 2, 6)
	compareWithORT(t, []opTest{
		{op: "StringConcat", opset: 20, in: []*tensor.Tensor{tensor.Of([]string{"a", "b"}, 2, 1), list("x", "", "z")}},
		{op: "RegexFullMatch", opset: 20, attrs: []*graph.Attr{attrString("pattern", "[a-z]+|MON.*")}, in: []*tensor.Tensor{words}},
		{op: "TfIdfVectorizer", opset: 9, attrs: grams("TF", 1, 2, 0), in: []*tensor.Tensor{x}},
		{op: "TfIdfVectorizer", opset: 9, attrs: grams("IDF", 2, 2, 5), in: []*tensor.Tensor{x}},
		{op: "TfIdfVectorizer", opset: 9, attrs: grams("TFIDF", 1, 2, 1), in: []*tensor.Tensor{list[int64](3, 5, 7, 8, 3)}},
	})
}

// TestText is for what ONNX Runtime needs a locale, or a second output, for.
func TestText(t *testing.T) {
	words := list("Monday", "tuesday", "", "MONDAY", "Straße")
	split := tensor.Of([]string{"a  b c", " x y ", "", "one"}, 2, 2)
	runOpTests(t, []opTest{
		{op: "StringNormalizer", opset: 10, attrs: []*graph.Attr{attrStrings("stopwords", "monday")}, in: []*tensor.Tensor{words}, want: []*tensor.Tensor{list("tuesday", "", "Straße")}},
		{name: "sensitive", op: "StringNormalizer", opset: 10, attrs: []*graph.Attr{attrStrings("stopwords", "Monday"), attrInt("is_case_sensitive", 1), attrString("case_change_action", "UPPER")}, in: []*tensor.Tensor{words},
			want: []*tensor.Tensor{list("TUESDAY", "", "MONDAY", "STRAßE")}},
		{name: "nothing", op: "StringNormalizer", opset: 10, attrs: []*graph.Attr{attrStrings("stopwords", "A")}, in: []*tensor.Tensor{tensor.Of([]string{"a", "A"}, 1, 2)}, want: []*tensor.Tensor{tensor.Of([]string{""}, 1, 1)}},
		{op: "StringSplit", opset: 20, in: []*tensor.Tensor{split},
			want: []*tensor.Tensor{tensor.Of([]string{"a", "b", "c", "x", "y", "", "", "", "", "one", "", ""}, 2, 2, 3), tensor.Of([]int64{3, 2, 0, 1}, 2, 2)}},
		{name: "delimiter", op: "StringSplit", opset: 20, attrs: []*graph.Attr{attrString("delimiter", " "), attrInt("maxsplit", 1)}, in: []*tensor.Tensor{split},
			want: []*tensor.Tensor{tensor.Of([]string{"a", " b c", "", "x y ", "", "", "one", ""}, 2, 2, 2), tensor.Of([]int64{2, 2, 0, 1}, 2, 2)}},
		{name: "limit", op: "StringSplit", opset: 20, attrs: []*graph.Attr{attrInt("maxsplit", 1)}, in: []*tensor.Tensor{split},
			want: []*tensor.Tensor{tensor.Of([]string{"a", "b c", "x", "y", "", "", "one", ""}, 2, 2, 2), tensor.Of([]int64{2, 2, 0, 1}, 2, 2)}},
	})
}

func TestSamplerErrors(t *testing.T) {
	x := random(1, 1, 1, 2, 2)
	kernel := []*graph.Attr{attrInts("kernel_shape", 2, 2)}
	runOpTests(t, []opTest{
		{op: "GridSample", opset: 16, attrs: []*graph.Attr{attrString("mode", "linear")}, in: []*tensor.Tensor{x, x}, err: `mode is "linear"`},
		{name: "axes", op: "GridSample", opset: 16, in: []*tensor.Tensor{x, random(1, 1, 2, 2, 3)}, err: "for 2 axes"},
		{name: "images", op: "GridSample", opset: 16, in: []*tensor.Tensor{x, random(1, 2, 2, 2, 2)}, err: "grid float32[2 2 2 2] for float32[1 1 2 2]"},
		{op: "AffineGrid", opset: 20, in: []*tensor.Tensor{random(1, 1, 2, 3), list[int64](1, 1, 2)}, err: "a size of 3 axes"},
		{op: "RoiAlign", opset: 16, in: []*tensor.Tensor{x, random(1, 1, 4), list[int64](1)}, err: "region 0 is of image 1, wanted 0 to 0"},
		{op: "MaxRoiPool", opset: 1, attrs: []*graph.Attr{attrInts("pooled_shape", 0, 2)}, in: []*tensor.Tensor{x, random(1, 1, 5)}, err: "an output of 0×2"},
		{op: "MaxUnpool", opset: 11, attrs: kernel, in: []*tensor.Tensor{x, tensor.Of([]int64{0, 1, 2, 9}, 1, 1, 2, 2)}, err: "index 9 is outside shape [1 1 3 3]"},
		{name: "shape", op: "MaxUnpool", opset: 11, attrs: kernel, in: []*tensor.Tensor{x, tensor.Of([]int64{0, 1, 2, 8}, 1, 1, 2, 2), list[int64](1, 1, 2, 2)}, err: "outside shape [1 1 2 2]"},
		{op: "Col2Im", opset: 18, in: []*tensor.Tensor{random(1, 1, 3, 4), list[int64](3, 3), list[int64](2, 2)}, err: "3 rows for blocks of [2 2]"},
		{name: "positions", op: "Col2Im", opset: 18, in: []*tensor.Tensor{random(1, 1, 4, 3), list[int64](3, 3), list[int64](2, 2)}, err: "for 4 positions"},
		{op: "CenterCropPad", opset: 18, in: []*tensor.Tensor{x, list[int64](1, 2)}, err: "2 sizes for 4 axes"},
		{op: "DeformConv", opset: 19, in: []*tensor.Tensor{x, random(1, 1, 1, 1, 1), random(1, 1, 3, 2, 2)}, err: "offset float32[1 3 2 2], wanted [1 2 2 2]"},
		{op: "DFT", opset: 17, attrs: []*graph.Attr{attrInt("axis", 2)}, in: []*tensor.Tensor{random(1, 2, 3, 1)}, err: "holds the parts"},
		{name: "parts", op: "DFT", opset: 17, in: []*tensor.Tensor{random(1, 2, 3, 3)}, err: "wanted a last axis of 1 or 2"},
		{op: "STFT", opset: 17, in: []*tensor.Tensor{random(1, 1, 3, 1), tensor.Scalar[int64](1)}, err: "neither a window nor a frame length"},
		{name: "short", op: "STFT", opset: 17, in: []*tensor.Tensor{random(1, 1, 3, 1), tensor.Scalar[int64](1), nil, tensor.Scalar[int64](4)}, err: "frames of 4 in a signal of 3"},
		{op: "HannWindow", opset: 17, in: []*tensor.Tensor{tensor.Scalar[int64](-1)}, err: "a window of -1"},
		{name: "one", op: "HannWindow", opset: 17, attrs: []*graph.Attr{attrInt("periodic", 0)}, in: []*tensor.Tensor{tensor.Scalar[int64](1)}, want: []*tensor.Tensor{list[float32](1)}},
		{op: "MelWeightMatrix", opset: 17, in: []*tensor.Tensor{tensor.Scalar[int64](0), tensor.Scalar[int64](32), tensor.Scalar[int64](16000), tensor.Scalar[float32](100), tensor.Scalar[float32](7000)}, err: "input 0 is 0"},
		{op: "StringNormalizer", opset: 10, in: []*tensor.Tensor{tensor.Of([]string{"a", "b"}, 2, 1)}, err: "wanted [C] or [1 C]"},
		{op: "RegexFullMatch", opset: 20, attrs: []*graph.Attr{attrString("pattern", "(")}, in: []*tensor.Tensor{list("a")}, err: "attribute pattern"},
		{op: "StringConcat", opset: 20, in: []*tensor.Tensor{counting(2), counting(2)}, err: "wanted strings"},
		{op: "TfIdfVectorizer", opset: 9, attrs: []*graph.Attr{attrString("mode", "TF"), attrInt("min_gram_length", 1), attrInt("max_gram_length", 1), attrInt("max_skip_count", 0), attrInts("ngram_counts", 0), attrInts("ngram_indexes", 0), attrInts("pool_int64s", 1, 2)}, in: []*tensor.Tensor{list[int64](1)}, err: "for a pool of 2"},
	})
}

func TestAffineGridOfOne(t *testing.T) {
	theta := tensor.Of([]float32{1, 0, 0.5, 0, 1, 0.25}, 1, 2, 3)
	runOpTests(t, []opTest{{op: "AffineGrid", opset: 20, attrs: []*graph.Attr{attrInt("align_corners", 1)}, in: []*tensor.Tensor{theta, list[int64](1, 1, 1, 2)},
		want: []*tensor.Tensor{tensor.Of([]float32{-0.5, 0.25, 1.5, 0.25}, 1, 1, 2, 2)}}})
}
