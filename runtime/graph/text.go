package graph

import (
	"fmt"
	"io"
	"strings"
)

// WriteText prints the model in a form to read and to compare, one node a
// line; the contents of tensors are left out.
func (m *Model) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "model ir %d", m.IRVersion)
	for _, o := range m.Opsets {
		fmt.Fprintf(&b, ", opset %q %d", o.Domain, o.Version)
	}
	b.WriteByte('\n')
	for _, kv := range m.Metadata {
		fmt.Fprintf(&b, "metadata %q = %q\n", kv.Key, kv.Value)
	}
	m.Graph.writeText(&b, "")
	for _, f := range m.Functions {
		fmt.Fprintf(&b, "function %s.%s\n", f.Domain, f.Name)
		f.Graph.writeText(&b, "  ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (g *Graph) writeText(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%sgraph %q\n", indent, g.Name)
	for _, v := range g.Inputs {
		fmt.Fprintf(b, "%s  input %v\n", indent, v)
	}
	for _, v := range g.consts {
		fmt.Fprintf(b, "%s  const %s %v\n", indent, v.name, v.init)
	}
	for _, n := range g.nodes {
		fmt.Fprintf(b, "%s  %s = %s(%s)", indent, names(n.outputs), n.OpType, names(n.inputs))
		for _, a := range n.Attrs {
			b.WriteString(" " + a.Name + "=" + a.text())
		}
		b.WriteByte('\n')
		for _, s := range n.Subgraphs() {
			s.writeText(b, indent+"    ")
		}
	}
	for _, v := range g.Outputs {
		fmt.Fprintf(b, "%s  output %v\n", indent, v)
	}
}

func names(vs []*Value) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		if v == nil {
			parts[i] = "_"
		} else {
			parts[i] = v.name
		}
	}
	return strings.Join(parts, ", ")
}

func (a *Attr) text() string {
	switch a.Type {
	case AttrFloat:
		return fmt.Sprint(a.F)
	case AttrInt:
		return fmt.Sprint(a.I)
	case AttrString:
		return fmt.Sprintf("%q", a.S)
	case AttrTensor:
		return a.T.String()
	case AttrFloats:
		return fmt.Sprint(a.Floats)
	case AttrInts:
		return fmt.Sprint(a.Ints)
	}
	return "<" + a.Type.String() + ">"
}
