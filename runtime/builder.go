package runtime

import (
	"errors"
	"slices"

	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A builder makes the blocks of a program out of a copy of its model, which
// lowering rewrites.
type builder struct {
	p      *Program
	model  *graph.Model
	facts  *op.Facts
	ops    map[*graph.Node]op.Op           // of nodes that lowering has made
	labels map[*graph.Node]string          // what those of them are called that stand for others
	consts map[*graph.Value]*tensor.Tensor // what folding found out
	budget int
	folds  bool
}

// newBuilder copies m; the inputs that replaced marks lose their defaults.
func newBuilder(p *Program, m *graph.Model, replaced []bool) *builder {
	c := m.Clone()
	for i, r := range replaced {
		if r {
			c.Graph.Inputs[i].SetConst(nil)
		}
	}
	return &builder{p: p, model: c, ops: map[*graph.Node]op.Op{}, labels: map[*graph.Node]string{}, consts: map[*graph.Value]*tensor.Tensor{}, budget: foldBudget}
}

// build makes the main graph's block.
func (b *builder) build(lowered bool) (*block, error) {
	b.folds = lowered
	if err := b.infer(); err != nil {
		return nil, err
	}
	if lowered {
		if err := b.lower(); err != nil {
			return nil, err
		}
	}
	k, err := b.block(b.model.Graph, b.model.Graph.Outputs)
	if err != nil {
		return nil, err
	}
	b.mapped(k, k)
	return k, b.checkFiles()
}

// mapped notes for k the mapped files, by one constant each, that steps of the
// block of and its bodies read in every run.
func (b *builder) mapped(k, of *block) {
	for _, c := range of.consts {
		if t := c.fact.Const; t != nil && file.IsMapped(t.Bytes()) && !slices.ContainsFunc(k.mapped, func(m []byte) bool { return file.SameMapping(m, t.Bytes()) }) {
			k.mapped = append(k.mapped, t.Bytes())
		}
	}
	for i := range of.steps {
		for _, body := range of.steps[i].bodies {
			b.mapped(k, body.block)
		}
	}
}

// checkFiles fails where a file behind a constant has become shorter: what was
// folded may be wrong.
func (b *builder) checkFiles() error {
	var last []byte
	for _, v := range b.model.Graph.Consts() {
		t := v.Init()
		if !file.IsMapped(t.Bytes()) || last != nil && file.SameMapping(last, t.Bytes()) {
			continue
		}
		last = t.Bytes()
		if err := file.Check(last); err != nil {
			return err
		}
	}
	return nil
}

// op is the parsed op of a node; nil where it cannot be run.
func (b *builder) op(n *graph.Node) op.Op {
	if o := b.ops[n]; o != nil {
		return o
	}
	return b.facts.Op(n)
}

// infer parses the nodes and checks their types as far as the model declares
// them. Only nodes that the wanted outputs need count.
func (b *builder) infer() error {
	err := guard(func() (err error) {
		if b.folds {
			b.facts, err = op.InferNamed(b.model)
		} else {
			b.facts, err = op.Infer(b.model, nil)
		}
		return err
	})
	if err != nil {
		return invalid(err)
	}
	if len(b.facts.Problems) == 0 {
		return nil
	}
	needed := map[*graph.Node]bool{}
	markNeeded(needed, b.model.Graph, b.model.Graph.Outputs)
	var missing UnsupportedError
	var wrong []error
	for _, q := range b.facts.Problems {
		if !needed[q.Node] {
			continue
		}
		var u *op.Unsupported
		if errors.As(q.Err, &u) {
			missing.Nodes = append(missing.Nodes, q)
		} else {
			wrong = append(wrong, q.Err)
		}
	}
	switch {
	case len(wrong) > 0:
		return invalid(errors.Join(wrong...))
	case len(missing.Nodes) > 0:
		return &missing
	}
	return nil
}
