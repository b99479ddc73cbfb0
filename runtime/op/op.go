// Package op defines every operator once: its attributes decoded, its shape
// rule and its computation, for the runtime, the trainer and shape inference
// alike. A family of operators is one file; the table in table.go says which
// parser serves which domain, operator and opset.
package op

import (
	"fmt"
	"math/rand/v2"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// An Op is an operator with its attributes decoded, valid for any input.
type Op interface {
	// Infer is the shape rule and all validation: from what is known of the
	// inputs (the zero Fact for one left out) to what is known of nOut
	// outputs. Given exact input types, and the contents of those inputs that
	// say what shape the output has (Reshape's second, say), it gives exact
	// output types, or an error, unless the op is Dynamic. Given the contents
	// of all inputs it always does: see Eval.
	Infer(in []graph.Fact, nOut int) ([]graph.Fact, error)
	// Forward computes into out, tensors of the inferred types whose every
	// element it writes (a zero Value: an output not wanted). It neither
	// changes nor keeps its inputs.
	Forward(ctx *Ctx, in, out []tensor.Value) error
}

// A Dynamic op has outputs whose shape depends on data, or that are no
// tensors; it makes them itself. Its Forward is never called.
type Dynamic interface {
	Op
	Run(ctx *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error)
}

// A Random op draws from Ctx.Rand: its outputs differ from run to run. If it is
// Differentiable, whoever calls Backward sets Ctx.Rand back to where Forward
// found it.
type Random interface {
	Op
	IsRandom()
}

// A View op may give out, as its first output, the very elements of its first
// input, in another shape perhaps: whoever runs it may let the two share
// memory. IsView says whether it does so for inputs of which in is known.
type View interface {
	Op
	IsView(in []graph.Fact) bool
}

// A Differentiable op carries gradients from its outputs back to its inputs,
// in float32 and float64. AsDifferentiable says whether one is.
type Differentiable interface {
	Op
	// Backward adds to each din[i], a tensor of in[i]'s type, the gradient by
	// in[i] of Σ_j ⟨dout[j], out[j]⟩, where in and out are what Forward read
	// and wrote. A zero Value (or the end) in din stands for a gradient that is
	// not wanted, in dout for one that is zero. Two of din may be one tensor.
	Backward(ctx *Ctx, in, out, dout, din []tensor.Value) error
}

// An Overwriter is a Differentiable op that need not add: where a gradient has
// no other part, it saves a pass of zeros and one of reading.
type Overwriter interface {
	Differentiable
	// BackwardInto is Backward, except that din[i] is overwritten, whatever is in
	// it, where fresh[i] says so. No two of those that are fresh are one tensor.
	BackwardInto(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool) error
}

// A Piecewise op can give out the gradient of its second input in pieces, each of
// which is used while it is in a cache, and never make it a whole.
type Piecewise interface {
	Overwriter
	// InPieces reports whether that is the better way for values of these types.
	InPieces(in, dout []tensor.Value) bool
	// BackwardPieces is BackwardInto for the other inputs, whose gradients come first,
	// and calls use with the gradient of in[1]: its elements from the at-th on, which are
	// lost when use returns. No element of in[1] is read when its gradient has been given
	// out. use is called in any order, several at a time perhaps from as many goroutines.
	BackwardPieces(ctx *Ctx, in, out, dout, din []tensor.Value, fresh []bool, use func(at int, g []float32)) error
}

// An InPlace op computes an element of its first output from the element of
// its first input at the same place, and from no other of it, where the two are
// of one type: they may share memory. So may din[0], if it is fresh, and dout[0].
type InPlace interface {
	Overwriter
	IsInPlace()
}

// A Keeper op lays out inputs before it computes with them.
type Keeper interface {
	Op
	// Keeping is the op for runs in all of which those of its inputs are the same that same says: it lays out once
	// what it can. nil where that is nothing.
	Keeping(same []bool) Op
}

// isFresh reports whether din[i] is wanted and to be overwritten.
func isFresh(din []tensor.Value, fresh []bool, i int) bool {
	return i < len(fresh) && fresh[i] && present(din, i)
}

// clearFresh prepares what is to be overwritten for being added to.
func clearFresh(din []tensor.Value, fresh []bool) {
	for i := range fresh {
		if isFresh(din, fresh, i) {
			clear(din[i].Tensor.Bytes())
		}
	}
}

// Ctx is what a computation may use beside its inputs.
type Ctx struct {
	Pool *kernel.Pool // nil: the caller's goroutine alone
	Rand *rand.Rand   // for Random ops
	// Part: the run is on a part of a batch, beside others on the other parts. There is
	// nothing to be gained by cutting it further.
	Part bool
	// Call runs a subgraph of the node, with in as its inputs; the values it
	// captures from around it are bound by the caller of the op.
	Call func(g *graph.Graph, in []tensor.Value) ([]tensor.Value, error)
}

// Unsupported says that an operator is not implemented, or not for an element
// type, a version or an attribute's value: the model may be valid, but cannot
// be run here.
type Unsupported struct {
	Domain, OpType string
	Detail         string // "" where the whole operator is unknown
}

func (e *Unsupported) Error() string {
	name := e.OpType
	if e.Domain != "" {
		name = e.Domain + "." + name
	}
	if e.Detail == "" {
		return "operator " + name + " is not implemented"
	}
	return fmt.Sprintf("operator %s is not implemented %s", name, e.Detail)
}

// Parse decodes the node's attributes as the version of its operator set
// says. The error is an *Unsupported where there is no such operator.
func Parse(n *graph.Node, opset int64) (Op, error) {
	domain := n.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	parse := find(domain, n.OpType, opset)
	if parse == nil {
		detail := ""
		if find(domain, n.OpType, 1<<30) != nil {
			detail = fmt.Sprintf("in opset %d", opset)
		}
		return nil, fmt.Errorf("%v: %w", n, &Unsupported{domain, n.OpType, detail})
	}
	a := &attrs{node: n, opset: opset}
	o := parse(a)
	if err := a.finish(); err != nil {
		return nil, fmt.Errorf("%v: %w", n, err)
	}
	return o, nil
}

// unsupportedType is the error for an element type that op has no kernel for.
func unsupportedType(opType string, d tensor.DType) error {
	return &Unsupported{OpType: opType, Detail: "for " + d.String()}
}
