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
