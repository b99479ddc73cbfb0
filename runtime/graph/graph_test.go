package graph

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

// build makes nodes by name: each string is "out1,out2=Op(in1,in2)", where _
// leaves a value out.
func build(t *testing.T, g *Graph, lines ...string) {
	t.Helper()
	for _, line := range lines {
		left, right, _ := strings.Cut(line, "=")
		op, args, _ := strings.Cut(strings.TrimSuffix(right, ")"), "(")
		n := newNode(t, g, op, split(args), split(left))
		g.Append(n)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func newNode(t *testing.T, g *Graph, op string, in, out []string, attrs ...*Attr) *Node {
	t.Helper()
	var ins, outs []*Value
	for _, name := range in {
		var v *Value
		if name != "_" {
			if v = g.Lookup(name); v == nil {
				t.Fatalf("no value %q", name)
			}
		}
		ins = append(ins, v)
	}
	for _, name := range out {
		var v *Value
		if name != "_" {
			var err error
			if v = g.Value(name); v == nil {
				if v, err = g.NewValue(name, Type{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		outs = append(outs, v)
	}
	n, err := g.NewNode("", op, out[0], ins, outs, attrs...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func input(t *testing.T, g *Graph, name string) *Value {
	t.Helper()
	v, err := g.AddInput(name, TensorType(tensor.Float32, Symbol("N")))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// model is x → a → (b, c) → d → output, with a constant w.
func model(t *testing.T) (*Model, *Graph) {
	g := New("main", nil)
	input(t, g, "x")
	g.NewConst("w", tensor.Of([]float32{1, 2}, 2))
	build(t, g, "a=Mul(x,w)", "b,c=Split(a)", "d=Add(b,c)")
	g.AddOutput(g.Value("d"))
	return &Model{Graph: g, IRVersion: 8, Opsets: []Opset{{"", 17}}, Metadata: []KeyValue{{"k", "v"}}}, g
}

func mustCheck(t *testing.T, m *Model) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
}

// wantErr fails unless err says what.
func wantErr(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("error is %v, wanted %s", err, what)
	}
}

// trueUses compares the uses that values keep with those that the nodes say.
func trueUses(t *testing.T, g *Graph) {
	t.Helper()
	want := map[*Value][]Use{}
	outputs := map[*Value]int{}
	count := func(h *Graph) {
		for _, v := range h.Outputs {
			outputs[v]++
		}
	}
	count(g)
	g.Walk(func(n *Node) {
		for i, v := range n.Inputs() {
			if v != nil {
				want[v] = append(want[v], Use{n, i})
			}
		}
		for _, s := range n.Subgraphs() {
			count(s)
		}
	})
	check := func(h *Graph) {
		for _, v := range h.names {
			got := slices.Clone(v.Uses())
			if len(got) != len(want[v]) {
				t.Fatalf("value %q has %d uses, the nodes say %d", v.Name(), len(got), len(want[v]))
			}
			for _, u := range want[v] {
				if !slices.Contains(got, u) {
					t.Fatalf("value %q does not know of input %d of %v", v.Name(), u.Input, u.Node)
				}
			}
			if v.IsOutput() != (outputs[v] > 0) {
				t.Fatalf("value %q: IsOutput is %v", v.Name(), v.IsOutput())
			}
		}
	}
	check(g)
	g.Walk(func(n *Node) {
		for _, s := range n.Subgraphs() {
			check(s)
		}
	})
}

// Uses stay true through any row of edits, of which some are refused.
func TestUsesStayTrue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		g := New("g", nil)
		m := &Model{Graph: g}
		var pool []*Value
		for i := range 3 {
			pool = append(pool, input(t, g, fmt.Sprint("in", i)))
		}
		for step := range 200 {
			pick := func() *Value { return pool[rng.IntN(len(pool))] }
			switch rng.IntN(8) {
			case 0, 1, 2:
				v, err := g.NewValue(g.FreshName("v"), Type{})
				if err != nil {
					t.Fatal(err)
				}
				n, err := g.NewNode("", "Op", "", []*Value{pick(), nil, pick()}, []*Value{v})
				if err != nil {
					t.Fatal(err)
				}
				g.Append(n)
				pool = append(pool, v)
			case 3:
				// A new input of a node: an earlier value, so that no cycle comes.
				if nodes := g.Nodes(); len(nodes) > 0 {
					nodes[rng.IntN(len(nodes))].SetInput(rng.IntN(3), pool[rng.IntN(3)])
				}
			case 4:
				if nodes := g.Nodes(); len(nodes) > 0 {
					n := nodes[rng.IntN(len(nodes))]
					v := n.Outputs()[0]
					wanted := len(v.Uses()) > 0 || v.IsOutput()
					if err := g.Remove(n); (err != nil) != wanted {
						t.Fatalf("removing %v: %v", n, err)
					} else if err == nil {
						pool = slices.DeleteFunc(pool, func(p *Value) bool { return p == v })
					}
				}
			case 5:
				g.AddOutput(pick())
			case 6:
				if len(g.Outputs) > 0 {
					g.SetOutput(rng.IntN(len(g.Outputs)), pick())
				}
			case 7:
				v := pick()
				if err := g.ReplaceUses(v, pool[rng.IntN(3)]); (err != nil) != v.IsOutput() {
					t.Fatalf("replacing the uses of %q: %v", v.Name(), err)
				}
			}
			trueUses(t, g)
			if err := m.Check(); err != nil {
				t.Fatalf("after step %d: %v", step, err)
			}
		}
	}
}

func TestRemoveIsRefused(t *testing.T) {
	m, g := model(t)
	a, d := g.Value("a").Producer(), g.Value("d").Producer()
	wantErr(t, g.Remove(a), `node "a" (Mul) cannot go: its output "a" is still wanted`)
	wantErr(t, g.Remove(d), `node "d" (Add) cannot go: its output "d" is still wanted`)
	wantErr(t, g.RemoveValue(g.Value("w")), `value "w" is still read by node "a" (Mul)`)
	wantErr(t, g.RemoveValue(g.Value("d")), `value "d" is a graph output`)
	wantErr(t, g.ReplaceUses(g.Value("d"), g.Value("a")), "its name must stay")
	mustCheck(t, m)
	other := New("other", nil)
	wantErr(t, other.Remove(a), `node "a" (Mul) is not in graph "other"`)
	wantErr(t, other.RemoveValue(g.Value("w")), `value "w" is not of graph "other"`)

	g.SetOutput(0, g.Value("x"))
	for _, n := range []*Node{d, g.Value("b").Producer(), a} {
		if err := g.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	if g.Value("a") != nil || len(g.Nodes()) != 0 {
		t.Error("removed nodes leave values behind")
	}
	if err := g.RemoveValue(g.Value("w")); err != nil {
		t.Fatal(err)
	}
	if len(g.Consts()) != 0 || g.Value("w") != nil {
		t.Error("a removed constant is still there")
	}
	mustCheck(t, m)
}

func TestNewNodeRefusesSecondDefinitions(t *testing.T) {
	_, g := model(t)
	sub := New("sub", g)
	v, err := sub.NewValue("v", Type{})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := g.NewValue("fresh", Type{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		out  []*Value
		want string
	}{
		{[]*Value{g.Value("a")}, `value "a" is defined twice`},
		{[]*Value{g.Value("w")}, `value "w" is defined twice`},
		{[]*Value{g.Value("x")}, `value "x" is defined twice`},
		{[]*Value{fresh, fresh}, `value "fresh" is defined twice`},
		{[]*Value{v}, `output "v" is of another graph`},
	} {
		_, err := g.NewNode("", "Op", "n", []*Value{g.Value("x")}, c.out)
		wantErr(t, err, c.want)
	}
	if n := len(g.Value("x").Uses()); n != 1 || fresh.Producer() != nil {
		t.Error("a refused node left traces")
	}
	_, err = g.NewValue("a", Type{})
	wantErr(t, err, `value "a" is defined twice`)
	_, err = g.NewValue("", Type{})
	wantErr(t, err, "must have a name")
	if name := sub.FreshName("a"); name == "a" || sub.Lookup(name) != nil {
		t.Errorf("fresh name %q hides a value of the graph around", name)
	}
}

func TestTakeOutput(t *testing.T) {
	m, g := model(t)
	split := g.Value("b").Producer()
	n := newNode(t, g, "Other", []string{"a"}, []string{"_"})
	g.InsertBefore(split, n)
	if err := n.TakeOutput(0, split, 1); err != nil {
		t.Fatal(err)
	}
	if c := g.Value("c"); c.Producer() != n || len(c.Uses()) != 1 || split.Outputs()[1] != nil {
		t.Error("value c has not moved")
	}
	mustCheck(t, m)
	wantErr(t, n.TakeOutput(0, split, 0), "cannot take over output 0")
	wantErr(t, n.TakeOutput(0, split, 1), "cannot take over output 1")
}

func TestSorted(t *testing.T) {
	g := New("g", nil)
	input(t, g, "x")
	for _, name := range []string{"a", "b", "c"} {
		if _, err := g.NewValue(name, Type{}); err != nil {
			t.Fatal(err)
		}
	}
	// In the file c comes first, but reads b, which reads a.
	build(t, g, "c=Op(b)", "b=Op(a)", "a=Op(x)")
	order, err := g.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range order {
		names = append(names, n.Name)
	}
	if got := strings.Join(names, " "); got != "a b c" {
		t.Errorf("order is %s", got)
	}
	g.Value("a").Producer().SetInput(0, g.Value("c"))
	_, err = g.Sorted()
	wantErr(t, err, `the graph has a cycle through node "c" (Op), node "b" (Op), node "a" (Op)`)
	wantErr(t, (&Model{Graph: g}).Check(), "cycle")
}

// A long chain takes no deep recursion.
func TestSortedLongChain(t *testing.T) {
	g := New("g", nil)
	v := input(t, g, "x")
	const n = 200_000
	for i := range n {
		w, err := g.NewValue(fmt.Sprint(i), Type{})
		if err != nil {
			t.Fatal(err)
		}
		k, err := g.NewNode("", "Op", "", []*Value{v}, []*Value{w})
		if err != nil {
			t.Fatal(err)
		}
		g.Append(k)
		v = w
	}
	slices.Reverse(g.nodes)
	order, err := g.Sorted()
	if err != nil || len(order) != n || order[0].Outputs()[0].Name() != "0" {
		t.Errorf("%d nodes in order, %v", len(order), err)
	}
}

// withBody adds to m's graph an If whose branches read a, the input x, and,
// from an inner If, b.
func withBody(t *testing.T, g *Graph) *Node {
	outer := New("then", g)
	build(t, outer, "p=Op(a,x)")
	inner := New("inner", outer)
	build(t, inner, "q=Op(b,p,a)")
	inner.AddOutput(inner.Value("q"))
	outer.Append(newNode(t, outer, "If", []string{"p"}, []string{"r"}, &Attr{Name: "g", Type: AttrGraph, G: inner}))
	outer.AddOutput(outer.Value("r"))
	direct := New("else", g)
	direct.AddOutput(g.Value("c"))
	n := newNode(t, g, "If", []string{"x"}, []string{"y"}, &Attr{Name: "branches", Type: AttrGraphs, Graphs: []*Graph{outer, direct}})
	g.Append(n)
	return n
}

func TestCaptures(t *testing.T) {
	m, g := model(t)
	n := withBody(t, g)
	mustCheck(t, m)
	trueUses(t, g)
	var names []string
	for _, v := range n.Captures() {
		names = append(names, v.Name())
	}
	if got := strings.Join(names, " "); got != "a x b c" {
		t.Errorf("captures are %s, wanted a x b c", got)
	}
	// The bodies keep what they read alive, and let it go with the node.
	b := g.Value("b").Producer()
	g.SetOutput(0, g.Value("y"))
	if err := g.Remove(g.Value("d").Producer()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, g.Remove(b), "still wanted")
	if !g.Value("c").IsOutput() {
		t.Error("c is given out by a branch")
	}
	g.SetOutput(0, g.Value("a"))
	if err := g.Remove(n); err != nil {
		t.Fatal(err)
	}
	trueUses(t, g)
	if err := g.Remove(b); err != nil {
		t.Error(err)
	}
	mustCheck(t, m)
}

// A node comes after what its bodies read.
func TestSortedSeesCaptures(t *testing.T) {
	_, g := model(t)
	n := withBody(t, g)
	slices.Reverse(g.nodes)
	order, err := g.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Index(order, n) < slices.Index(order, g.Value("b").Producer()) {
		t.Error("the If comes before the Split whose outputs its branches read")
	}
}

func TestCheckFindsDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(m *Model, g *Graph)
		want   string
	}{
		{"no graph", func(m *Model, _ *Graph) { m.Graph = nil }, "the model has no graph"},
		{"twice", func(_ *Model, g *Graph) { g.nodes = append(g.nodes, g.nodes[0]) }, `node "a" (Mul) is listed twice`},
		{"no use", func(_ *Model, g *Graph) { g.Value("w").uses = nil }, `node "a" (Mul): input 1: value "w" does not know of this use`},
		{"undefined", func(_ *Model, g *Graph) { g.Value("w").SetConst(nil) }, `node "a" (Mul): input 1: value "w" is defined nowhere`},
		{"foreign", func(_ *Model, g *Graph) {
			v := New("other", nil).NewConst("v", tensor.Scalar(float32(1)))
			g.nodes[0].SetInput(1, v)
		}, `value "v" is of a graph that cannot be seen from here`},
		{"not its own", func(_ *Model, g *Graph) { g.Value("b").producer = g.nodes[0] }, `output 0: value "b" is not its own`},
		{"output", func(_ *Model, g *Graph) {
			v, _ := g.NewValue("open", Type{})
			g.AddOutput(v)
		}, `graph output: value "open" is defined nowhere`},
		{"subgraph", func(_ *Model, g *Graph) {
			g.nodes[0].Attrs = []*Attr{{Name: "g", Type: AttrGraph, G: New("sub", nil)}}
		}, `subgraph "sub" hangs in another graph`},
		{"function", func(m *Model, _ *Graph) {
			f := New("f", nil)
			v, _ := f.NewValue("open", Type{})
			f.AddOutput(v)
			m.Functions = []*Function{{Domain: "own", Name: "F", Graph: f}}
		}, `function own.F: graph output: value "open" is defined nowhere`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, g := model(t)
			c.damage(m, g)
			wantErr(t, m.Check(), c.want)
		})
	}
}

func text(t *testing.T, m *Model) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteText(t *testing.T) {
	m, _ := model(t)
	want := `model ir 8, opset "" 17
metadata "k" = "v"
graph "main"
  input x float32[N]
  const w float32[2]
  a = Mul(x, w)
  b, c = Split(a)
  d = Add(b, c)
  output d unknown
`
	if got := text(t, m); got != want {
		t.Errorf("text is\n%swanted\n%s", got, want)
	}
}

// A clone is equal, and no edit of it is seen in the original.
func TestClone(t *testing.T) {
	m, g := model(t)
	withBody(t, g)
	f := New("f", nil)
	input(t, f, "x")
	build(t, f, "y=Op(x)")
	f.AddOutput(f.Value("y"))
	m.Functions = []*Function{{Domain: "own", Name: "F", Graph: f, Defaults: []*Attr{{Name: "k", Type: AttrInt, I: 1}}}}
	before := text(t, m)
	c := m.Clone()
	mustCheck(t, c)
	trueUses(t, c.Graph)
	if got := text(t, c); got != before {
		t.Errorf("the clone is\n%swanted\n%s", got, before)
	}
	c.Graph.Walk(func(n *Node) {
		n.OpType = "Changed"
		n.Attrs = nil
	})
	c.SetMetadata("k", "other")
	c.SetMetadata("new", "entry")
	c.Opsets[0].Version = 1
	c.Graph.Value("w").SetConst(tensor.Of([]float32{9}, 1))
	c.Graph.Value("a").Producer().SetInput(0, nil)
	c.Functions[0].Graph.Nodes()[0].OpType = "Changed"
	c.Functions[0].Defaults[0].I = 2
	if got := text(t, m); got != before {
		t.Errorf("the original became\n%s", got)
	}
	if m.Functions[0].Defaults[0].I != 1 {
		t.Error("the clone shares the defaults of functions")
	}
	mustCheck(t, m)
	trueUses(t, g)
	if v, ok := c.Meta("new"); !ok || v != "entry" {
		t.Errorf("metadata of the clone is %v", c.Metadata)
	}
}

func TestConst(t *testing.T) {
	g := New("g", nil)
	one := tensor.Scalar(int64(1))
	w := g.NewConst("w", one)
	if w.Const() != one || !slices.Contains(g.Consts(), w) {
		t.Error("an initializer is no constant")
	}
	for _, a := range []*Attr{
		{Name: "value", Type: AttrTensor, T: one},
		{Name: "value_int", Type: AttrInt, I: 1},
	} {
		n := newNode(t, g, "Constant", nil, []string{a.Name}, a)
		g.Append(n)
		if c := g.Value(a.Name).Const(); c == nil || !tensor.Equal(c, one) {
			t.Errorf("%s: constant is %v", a.Name, c)
		}
	}
	for _, a := range []*Attr{
		{Name: "value_float", Type: AttrFloat, F: 1},
		{Name: "value_floats", Type: AttrFloats, Floats: []float32{1}},
		{Name: "value_ints", Type: AttrInts, Ints: []int64{1}},
		{Name: "value_string", Type: AttrString, S: []byte("s")},
		{Name: "value_strings", Type: AttrStrings, Strings: [][]byte{[]byte("s")}},
	} {
		n := newNode(t, g, "Constant", nil, []string{a.Name}, a)
		if c := n.Outputs()[0].Const(); c == nil || c.Len() != 1 {
			t.Errorf("%s: constant is %v", a.Name, c)
		}
	}
	n := newNode(t, g, "Constant", nil, []string{"ref"}, &Attr{Name: "value_int", Type: AttrInt, Ref: "k"})
	if n.Outputs()[0].Const() != nil {
		t.Error("a reference to an attribute of a function is no constant")
	}
	if v := g.NewConst("w", one); v.Name() == "w" || g.Value(v.Name()) != v {
		t.Errorf("second constant of a name is %v", v)
	}
}

func TestOpset(t *testing.T) {
	m := &Model{Opsets: []Opset{{"ai.onnx", 13}, {"own", 2}}}
	for domain, want := range map[string]int64{"": 13, "ai.onnx": 13, "own": 2, "other": 0} {
		if got := m.Opset(domain); got != want {
			t.Errorf("opset of %q is %d, wanted %d", domain, got, want)
		}
	}
}
