package op

import (
	"sort"

	"bilinc/runtime/graph"
)

// An Entry is an operator that is implemented, from an opset on.
type Entry struct {
	Domain, Op string
	Since      int64
	// Gradient says whether it carries gradients, for some attributes at least.
	Gradient bool
}

// Entries lists the operators by domain and name, each from the first opset in
// which it is implemented: what a table of them is made from.
func Entries() []Entry {
	first := map[[2]string]Entry{}
	for domain, list := range domains {
		for _, e := range list {
			key := [2]string{domain, e.op}
			at, ok := first[key]
			if !ok || e.since < at.Since {
				at.Domain, at.Op, at.Since = domain, e.op, e.since
			}
			at.Gradient = at.Gradient || e.hasGradient(domain)
			first[key] = at
		}
	}
	out := make([]Entry, 0, len(first))
	for _, e := range first {
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		return a.Domain < b.Domain || a.Domain == b.Domain && a.Op < b.Op
	})
	return out
}

// hasGradient parses a node without attributes, which says what the operator is
// though it may lack one that it requires.
func (e *entry) hasGradient(domain string) bool {
	n, err := graph.New("", nil).NewNode(domain, e.op, "", nil, nil)
	if err != nil {
		return false
	}
	return AsDifferentiable(e.parse(&attrs{node: n, opset: e.since})) != nil
}
