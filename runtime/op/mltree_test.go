package op

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// walk is where a row ends, by the words of the document.
func (s *forestSpec) walk(root int, row []float64) int {
	for root >= 0 {
		n := &s.nodes[root]
		x := row[n.feature]
		yes := n.missing && math.IsNaN(x)
		switch n.mode {
		case branchLEQ:
			yes = yes || x <= n.split
		case branchLT:
			yes = yes || x < n.split
		case branchGTE:
			yes = yes || x >= n.split
		case branchGT:
			yes = yes || x > n.split
		case branchEQ:
			yes = yes || x == n.split
		case branchNEQ:
			yes = yes || x != n.split
		case branchMember:
			yes = yes || slices.Contains(n.members, x)
		}
		if root = n.no; yes {
			root = n.yes
		}
	}
	return ^root
}

// randomSpec is trees of nodes that share what is below them, some splits of which
// are infinite or NaN.
func randomSpec(r *rand.Rand, modes []treeMode) *forestSpec {
	s := &forestSpec{targets: 2, leaves: make([][]treeVote, 9)}
	odd := []float64{math.Inf(1), math.Inf(-1), math.NaN(), 0, math.Copysign(0, -1), math.MaxFloat32}
	for i := range 30 {
		below := func() int {
			if i < 5 || r.IntN(3) == 0 {
				return ^r.IntN(len(s.leaves))
			}
			return r.IntN(i)
		}
		n := treeNode{mode: modes[r.IntN(len(modes))], feature: r.IntN(4), split: float64(r.IntN(9)-4) / 2, yes: below(), no: below(), missing: r.IntN(2) == 0}
		if r.IntN(6) == 0 {
			n.split = odd[r.IntN(len(odd))]
		}
		for range r.IntN(4) {
			n.members = append(n.members, float64(r.IntN(9)-4)/2)
		}
		s.nodes = append(s.nodes, n)
	}
	s.roots = []int{29, 28, 7, ^3, 29}
	return s
}

// Trees made for walking lead every row to the leaf that the document says.
func TestForestWalks(t *testing.T) {
	odd := []float64{math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		modes := []treeMode{branchLEQ, branchLT, branchGTE, branchGT, branchEQ, branchNEQ, branchMember}
		if seed%2 == 0 {
			modes = modes[:4]
		}
		s := randomSpec(r, modes)
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		const rows = 50
		x := make([]float64, rows*4)
		for i := range x {
			if x[i] = float64(r.IntN(19)-9) / 4; r.IntN(8) == 0 {
				x[i] = odd[r.IntN(len(odd))]
			}
		}
		compareWalk(t, s, newForest[float64](s), x)
		compareWalk(t, s, newForest[float32](s), x)
	}
}

func compareWalk[T float](t *testing.T, s *forestSpec, f *forest[T], x []float64) {
	t.Helper()
	rows := len(x) / 4
	typed := converted[T](x)
	h := f.herd(typed, rows, 4)
	to := make([]int32, rows)
	for i, root := range s.roots {
		f.leaves(to, f.roots[i], &h)
		for r := range rows {
			row := converted[float64](typed[r*4 : r*4+4])
			want := s.walk(root, row)
			if int(to[r]) != want || int(f.leaf(f.roots[i], typed[r*4:r*4+4])) != want {
				t.Fatalf("%T: tree %d leads %v to leaf %d, by the plain way to %d, wanted %d", typed, i, row, to[r], f.leaf(f.roots[i], typed[r*4:r*4+4]), want)
			}
		}
	}
}

// The bits do not depend on the number of threads, nor on how many rows there are.
func TestForestThreads(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	g := &grove{r: r, features: 5, modes: allModes[:4], only: -1, targets: 3}
	o, err := parseOp(opTest{op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 3, attrs: append(g.attrs(400, "target", true), attrInt("n_targets", 3)), in: []*tensor.Tensor{list[float32](0)}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := gridRows(1, 200, 5, true)
	run := func(threads, from, to int) []float32 {
		rows := tensor.Of(tensor.Data[float32](x)[from*5:to*5], to-from, 5)
		out, err := Eval(&Ctx{Pool: kernel.NewPool(threads)}, o, []tensor.Value{tensor.ValueOf(rows)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return tensor.Data[float32](out[0].Tensor)
	}
	whole := run(1, 0, 200)
	if !slices.Equal(whole, run(2, 0, 200)) {
		t.Error("two threads give other bits than one")
	}
	for _, k := range []int{1, 3, 7, 8, 65} {
		if !slices.Equal(whole[:k*3], run(2, 0, k)) {
			t.Errorf("%d rows give other bits than 200", k)
		}
	}
}

func TestTreeEnsembles(t *testing.T) {
	// Tree 0: x₀ ≤ ½ ? leaf 1 : (x₁ > 2 ? leaf 3 : leaf 4). Tree 4: a leaf alone.
	nodes := []*graph.Attr{attrInts("nodes_treeids", 0, 0, 0, 0, 0, 4), attrInts("nodes_nodeids", 0, 1, 2, 3, 4, 0), attrInts("nodes_featureids", 0, 0, 1, 0, 0, 0),
		attrInts("nodes_truenodeids", 1, 0, 3, 0, 0, 0), attrInts("nodes_falsenodeids", 2, 0, 4, 0, 0, 0), attrFloats("nodes_values", 0.5, 0, 2, 0, 0, 0),
		attrStrings("nodes_modes", "BRANCH_LEQ", "LEAF", "BRANCH_GT", "LEAF", "LEAF", "LEAF")}
	votes := func(prefix string, ids ...int64) []*graph.Attr {
		return []*graph.Attr{attrInts(prefix+"_treeids", 0, 0, 0, 4), attrInts(prefix+"_nodeids", 1, 3, 4, 0), attrInts(prefix+"_ids", ids...), attrFloats(prefix+"_weights", 1, 10, 100, 0.25)}
	}
	x := tensor.Of([]float32{0, 9, 0.5, 0, 1, 3, 1, 2, nan32, nan32}, 5, 2)
	with := func(lists ...[]*graph.Attr) []*graph.Attr { return slices.Concat(lists...) }
	// edited is the attributes with one in place of that of its name.
	edited := func(list []*graph.Attr, by *graph.Attr) []*graph.Attr {
		out := slices.Clone(list)
		for i, a := range out {
			if a.Name == by.Name {
				out[i] = by
			}
		}
		return out
	}
	single := with(nodes, votes("target", 0, 0, 0, 0))
	column := func(v ...float32) []*tensor.Tensor { return []*tensor.Tensor{tensor.Of(v, len(v), 1)} }
	regress := func(name string, want []*tensor.Tensor, err string, a ...*graph.Attr) opTest {
		return opTest{name: name, op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 3, attrs: a, in: []*tensor.Tensor{x}, want: want, err: err}
	}
	labels := attrStrings("classlabels_strings", "no", "yes")
	runOpTests(t, []opTest{
		regress("sum", column(1.25, 1.25, 10.25, 100.25, 100.25), "", single...),
		regress("average", column(0.625, 0.625, 5.125, 50.125, 50.125), "", append(slices.Clone(single), attrString("aggregate_function", "AVERAGE"))...),
		regress("least", column(0.25, 0.25, 0.25, 0.25, 0.25), "", append(slices.Clone(single), attrString("aggregate_function", "MIN"))...),
		regress("most", column(3, 3, 12, 102, 102), "", append(slices.Clone(single), attrString("aggregate_function", "MAX"), attrFloats("base_values", 2))...),
		regress("missing", column(1.25, 1.25, 10.25, 100.25, 1.25), "", append(slices.Clone(single), attrInts("nodes_missing_value_tracks_true", 1, 0, 0, 0, 0, 0))...),
		regress("missing below", column(1.25, 1.25, 10.25, 100.25, 10.25), "", append(slices.Clone(single), attrInts("nodes_missing_value_tracks_true", 0, 0, 1, 0, 0, 0))...),
		regress("double", column(1.25, 1.25, 10.25, 100.25, 100.25), "", doubled(single)...),
		regress("targets", []*tensor.Tensor{tensor.Of([]float32{0, 1.25, 0, 1.25, 10, 0.25, 100, 0.25, 100, 0.25}, 5, 2)}, "", append(with(nodes, votes("target", 1, 0, 0, 1)), attrInt("n_targets", 2))...),
		{name: "int64", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, attrs: single, in: []*tensor.Tensor{tensor.Of([]int64{0, 9, 1, 3}, 2, 2)}, want: column(1.25, 10.25)},
		{name: "one row", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, attrs: single, in: []*tensor.Tensor{list(1., 3)}, want: column(10.25)},
		{name: "no row", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, attrs: single, in: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 2)}, want: []*tensor.Tensor{tensor.New(tensor.Float32, 0, 1)}},
		{name: "features", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, attrs: single, in: []*tensor.Tensor{list(1.)}, err: "input is float64[1], but a node asks for feature 1"},
		regress("lengths", nil, "found 6 nodes_nodeids and 1 nodes_featureids", edited(single, attrInts("nodes_featureids", 0))...),
		regress("modes", nil, `nodes_modes[1] is "LEAVES"`, edited(single, attrStrings("nodes_modes", "BRANCH_LEQ", "LEAVES", "BRANCH_GT", "LEAF", "LEAF", "LEAF"))...),
		regress("circle", nil, "leads back to node 0", edited(single, attrInts("nodes_truenodeids", 1, 0, 0, 0, 0, 0))...),
		regress("itself", nil, "leads back to node 0", edited(single, attrInts("nodes_falsenodeids", 0, 0, 4, 0, 0, 0))...),
		regress("no such node", nil, "tree 0: node 2 leads to node 9, which is not there", edited(single, attrInts("nodes_falsenodeids", 2, 0, 9, 0, 0, 0))...),
		regress("twice", nil, "tree 0 has two nodes 1", edited(single, attrInts("nodes_nodeids", 0, 1, 1, 3, 4, 0))...),
		regress("feature", nil, "asks for feature -1", edited(single, attrInts("nodes_featureids", 0, 0, -1, 0, 0, 0))...),
		regress("huge feature", nil, "asks for feature", edited(single, attrInts("nodes_featureids", 0, 0, math.MaxInt64, 0, 0, 0))...),
		regress("target", nil, "target_ids[2] is 1, wanted one of 1", edited(single, attrInts("target_ids", 0, 0, 1, 0))...),
		regress("vote", nil, "target_weights[0] is of node 7 in tree 0", edited(single, attrInts("target_nodeids", 7, 3, 4, 0))...),
		regress("votes", nil, "found 3 target_treeids", edited(single, attrInts("target_treeids", 0, 0, 0))...),
		regress("many targets", nil, "attribute n_targets is", append(slices.Clone(single), attrInt("n_targets", math.MaxInt64))...),
		regress("base", nil, "found 2 base_values for 1 targets", append(slices.Clone(single), attrFloats("base_values", 1, 2))...),
		regress("both", nil, "both attributes nodes_values and nodes_values_as_tensor", append(slices.Clone(single), attrTensor("nodes_values_as_tensor", list(1.)))...),
		{name: "tensor too early", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, attrs: doubled(single), in: []*tensor.Tensor{x}, err: "found 6 nodes_nodeids and 0 nodes_values"},

		{name: "chance", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: append(edited(with(nodes, votes("class", 0, 0, 0, 0)), attrFloats("class_weights", 0.125, 0.5, 0.75, 0.25)), labels), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list("no", "no", "yes", "yes", "yes"), tensor.Of([]float32{0.625, 0.375, 0.625, 0.375, 0.25, 0.75, 0, 1, 0, 1}, 5, 2)}},
		{name: "margin", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: append(edited(with(nodes, votes("class", 0, 0, 0, 0)), attrFloats("class_weights", -1, 0.5, 2, 0.25)), labels), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list("no", "no", "yes", "yes", "yes"), tensor.Of([]float32{0.75, -0.75, 0.75, -0.75, -0.75, 0.75, -2.25, 2.25, -2.25, 2.25}, 5, 2)}},
		{name: "three", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: append(with(nodes, votes("class", 0, 1, 2, 2)), attrInts("classlabels_int64s", 7, 8, 9)), in: []*tensor.Tensor{x},
			want: []*tensor.Tensor{list[int64](7, 7, 8, 9, 9), tensor.Of([]float32{1, 0, 0.25, 1, 0, 0.25, 0, 10, 0.25, 0, 0, 100.25, 0, 0, 100.25}, 5, 3)}},
		{name: "labels", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: with(nodes, votes("class", 0, 1, 2, 2)), in: []*tensor.Tensor{x}, err: "found 0 classlabels_int64s"},
		{name: "class", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: append(with(nodes, votes("class", 0, 1, 2, 2)), labels), in: []*tensor.Tensor{x}, err: "class_ids[2] is 2, wanted one of 2"},
		{name: "base", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, attrs: append(with(nodes, votes("class", 0, 1, 1, 1)), labels, attrFloats("base_values", 1, 2, 3)), in: []*tensor.Tensor{x}, err: "found 3 base_values for 2 classes"},
	})
}

func TestTreeEnsemble5(t *testing.T) {
	// x₀ ≤ ½ ? leaf 0 : (x₁ in {2, 3} ? leaf 1 : leaf 2); and a tree that is leaf 2.
	attrs := []*graph.Attr{attrInts("nodes_featureids", 0, 1, 0), attrInts("nodes_truenodeids", 0, 1, 2), attrInts("nodes_falsenodeids", 1, 2, 2),
		attrInts("nodes_trueleafs", 1, 1, 1), attrInts("nodes_falseleafs", 0, 1, 1), attrTensor("nodes_modes", list[uint8](0, 6, 0)), attrInts("tree_roots", 0, 2),
		attrTensor("nodes_splits", list[float32](0.5, 0, 0)), attrTensor("membership_values", list(2, 3, nan32)), attrInts("leaf_targetids", 0, 1, 0), attrTensor("leaf_weights", list[float32](1, 10, 100)), attrInt("n_targets", 2)}
	x := tensor.Of([]float32{0, 9, 1, 3, 1, 4}, 3, 2)
	want := tensor.Of([]float32{101, 0, 100, 10, 200, 0}, 3, 2)
	edit := func(name string, by *graph.Attr, err string) opTest {
		out := slices.Clone(attrs)
		for i, a := range out {
			if a.Name == by.Name {
				out[i] = by
			}
		}
		return opTest{name: name, op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: out, in: []*tensor.Tensor{x}, err: err}
	}
	runOpTests(t, []opTest{
		{op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: attrs, in: []*tensor.Tensor{x}, want: []*tensor.Tensor{want}},
		{name: "half", op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: attrs, in: []*tensor.Tensor{as(tensor.Float16, x)}, want: []*tensor.Tensor{as(tensor.Float16, want)}},
		{name: "double", op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: attrs, in: []*tensor.Tensor{as(tensor.Float64, x)}, want: []*tensor.Tensor{as(tensor.Float64, want)}},
		// By its number 1 is SOFTMAX, 2 LOGISTIC.
		{name: "softmax", op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: append(slices.Clone(attrs), attrInt("post_transform", 1)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{1, 0, 1, 0, 1, 0}, 3, 2)}, tol: closeTo},
		{name: "logistic", op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: append(slices.Clone(attrs), attrInt("post_transform", 2)), in: []*tensor.Tensor{x}, want: []*tensor.Tensor{tensor.Of([]float32{1, 0.5, 1, 0.9999546, 1, 0.5}, 3, 2)}, tol: closeTo},
		{name: "integers", op: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: attrs, in: []*tensor.Tensor{list[int64](1, 2)}, err: "not implemented for int64"},
		{name: "too early", op: "ai.onnx.ml.TreeEnsemble", opset: 4, attrs: attrs, in: []*tensor.Tensor{x}, err: "not implemented in opset 4"},
		edit("modes", attrTensor("nodes_modes", list[uint8](0, 7, 0)), "nodes_modes[1] is 7"),
		edit("modes' type", attrTensor("nodes_modes", list[int64](0, 0, 0)), "attribute nodes_modes is int64[3], wanted uint8"),
		edit("lengths", attrInts("nodes_trueleafs", 1), "found 3 nodes_modes and 1 nodes_trueleafs"),
		edit("circle", attrInts("nodes_falseleafs", 0, 1, 0), "leads back to node 2"),
		edit("no such leaf", attrInts("nodes_truenodeids", 3, 1, 2), "leads to number 3 of 3"),
		edit("no such root", attrInts("tree_roots", 0, -1), "leads to number -1 of 3"),
		edit("no such target", attrInts("leaf_targetids", 0, 2, 0), "leaf_targetids[1] is 2, wanted one of 2"),
		edit("leaves", attrInts("leaf_targetids", 0, 1), "found 2 leaf_targetids and 3 leaf_weights"),
		edit("splits", attrTensor("nodes_splits", list[int64](0, 0, 0)), "attribute nodes_splits is int64[3], wanted floats"),
		edit("transform", attrInt("n_targets", 0), "attribute n_targets is 0"),
	})
}

func BenchmarkForest(b *testing.B) {
	for _, rows := range []int{1, 64, 4096} {
		b.Run(fmt.Sprint("rows=", rows), func(b *testing.B) {
			g := &grove{r: rand.New(rand.NewPCG(1, 9)), features: 20, modes: allModes[:1], only: 0, targets: 1, full: true}
			o, err := parseOp(opTest{op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 3, attrs: g.attrs(100, "target", false), in: []*tensor.Tensor{list[float32](0)}}, 1)
			if err != nil {
				b.Fatal(err)
			}
			in := []tensor.Value{tensor.ValueOf(random(1, rows, 20))}
			out := []tensor.Value{tensor.ValueOf(tensor.New(tensor.Float32, rows, 1))}
			for b.Loop() {
				if err := o.Forward(&Ctx{}, in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
