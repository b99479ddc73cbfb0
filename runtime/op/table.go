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
	// gather.go
	{"Gather", 1, parseGather},
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
