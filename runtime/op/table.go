package op

// A parser decodes the attributes of a node.
type parser func(a *attrs) Op

// An entry says that parse serves an operator from opset since on, until a
// later entry of the same operator takes over.
type entry struct {
	op    string
	since int64
	parse parser
}

// domains lists the operators of each domain: the one place where an operator
// is registered.
var domains = map[string][]entry{
	"": onnxOps,
}

// onnxOps is ONNX's own domain, by family.
var onnxOps = []entry{
	// arith.go
	{"Add", 7, parseArith("Add", addCode)},
	{"Sub", 7, parseArith("Sub", subCode)},
	{"Mul", 7, parseArith("Mul", mulCode)},
	{"Div", 7, parseArith("Div", divCode)},
	// matmul.go, gemm.go
	{"MatMul", 1, parseMatMul},
	{"Gemm", 7, parseGemm},
	// constant.go
	{"Constant", 1, parseConstant},
	{"ConstantOfShape", 9, parseConstantOfShape},
	// shape.go, reshape.go
	{"Shape", 1, parseShape},
	{"Size", 1, parseSize},
	{"Reshape", 5, parseReshape},
	{"Flatten", 1, parseFlatten},
	{"Squeeze", 1, parseSqueeze},
	{"Unsqueeze", 1, parseUnsqueeze},
	// transpose.go, concat.go, split.go, slice.go, expand.go
	{"Transpose", 1, parseTranspose},
	{"Concat", 4, parseConcat},
	{"Split", 2, parseSplit},
	{"Slice", 1, parseSlice},
	{"Expand", 8, parseExpand},
	{"Tile", 6, parseTile},
	// conv.go, convtranspose.go, pool.go
	{"Conv", 1, parseConv},
	{"ConvInteger", 10, parseConvInteger},
	{"ConvTranspose", 1, parseConvTranspose},
	{"MaxPool", 1, parsePool("MaxPool", 10, 10)},
	{"AveragePool", 7, parsePool("AveragePool", 19, 10)},
	{"LpPool", 2, parsePool("LpPool", 18, 18)},
	{"GlobalMaxPool", 1, parseGlobalPool("GlobalMaxPool")},
	{"GlobalAveragePool", 1, parseGlobalPool("GlobalAveragePool")},
	{"GlobalLpPool", 2, parseGlobalPool("GlobalLpPool")},
	// einsum.go, quantmatmul.go
	{"Einsum", 12, parseEinsum},
	{"MatMulInteger", 10, parseMatMulInteger},
	{"QLinearMatMul", 10, parseQLinearMatMul},
	// gather.go, scatter.go
	{"Gather", 1, parseGather},
	{"GatherElements", 11, parseGatherElements},
	{"GatherND", 11, parseGatherND},
	{"Scatter", 9, parseScatterElements},
	{"ScatterElements", 11, parseScatterElements},
	{"ScatterND", 11, parseScatterND},
	// pad.go, generate.go
	{"Pad", 2, parsePad},
	{"Range", 11, parseRange},
	{"EyeLike", 9, parseEyeLike},
	{"Trilu", 14, parseTrilu},
	{"OneHot", 9, parseOneHot},
	// selection.go
	{"NonZero", 9, parseNonZero},
	{"Compress", 9, parseCompress},
	{"TopK", 1, parseTopK},
	{"Unique", 11, parseUnique},
	// rearrange.go
	{"DepthToSpace", 1, parseDepthToSpace},
	{"SpaceToDepth", 1, parseSpaceToDepth},
	{"ReverseSequence", 10, parseReverseSequence},
}

// find is the parser of an operator at an opset; nil where there is none.
func find(domain, opType string, opset int64) parser {
	var best *entry
	for i := range domains[domain] {
		e := &domains[domain][i]
		if e.op == opType && e.since <= opset && (best == nil || e.since >= best.since) {
			best = e
		}
	}
	if best == nil {
		return nil
	}
	return best.parse
}
