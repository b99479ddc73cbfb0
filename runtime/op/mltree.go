package op

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// trees is what the operators of trees share.
type trees struct {
	name      string
	spec      forestSpec
	double    bool // thresholds or weights are float64
	how       aggregate
	base      []float64
	transform transform
	narrow    *forest[float32]
	wide      func() *forest[float64] // made when it is first wanted
}

// finish checks the trees and makes what walks them.
func (o *trees) finish(a *attrs) {
	if a.err != nil {
		return
	}
	if err := o.spec.check(); err != nil {
		a.fail(err)
		return
	}
	o.wide = sync.OnceValue(func() *forest[float64] { return newForest[float64](&o.spec) })
	if o.double {
		o.wide()
	} else {
		o.narrow = newForest[float32](&o.spec)
	}
}

// infer checks the input and gives the batch.
func (o *trees) infer(in []graph.Fact) (graph.Dim, error) {
	if err := arity(in, 1, 1); err != nil {
		return graph.Unknown, err
	}
	n, features, err := rowsOf(o.name, in[0])
	if c, ok := features.Const(); err == nil && ok && c < o.spec.features {
		err = fmt.Errorf("input is %v, but a node asks for feature %d", in[0].Type, o.spec.features-1)
	}
	return n, err
}

// isWide reports whether x is walked with in float64.
func (o *trees) isWide(x *tensor.Tensor) bool { return o.double || x.DType() == tensor.Float64 }

// doubles is a list attribute of floats, or the tensor that may stand for it from
// opset 3 on.
func (o *trees) doubles(a *attrs, name string) []float64 {
	v := converted[float64](a.floats(name))
	if a.opset < 3 {
		return v
	}
	t := a.tensor(name + "_as_tensor")
	if t == nil {
		return v
	}
	if len(v) > 0 {
		a.fail(fmt.Errorf("both attributes %s and %s_as_tensor are there", name, name))
		return v
	}
	return o.numbers(a, name+"_as_tensor", t)
}

// numbers is the elements of a tensor of floats.
func (o *trees) numbers(a *attrs, name string, t *tensor.Tensor) []float64 {
	switch t.DType() {
	case tensor.Float64:
		o.double = o.double || t.Len() > 0
	case tensor.Float32, tensor.Float16:
	default:
		a.fail(fmt.Errorf("attribute %s is %v, wanted floats", name, t))
		return nil
	}
	v, err := tensor.Float64s(t)
	if err != nil {
		a.fail(fmt.Errorf("attribute %s: %w", name, err))
	}
	return v
}

// counted is a list attribute and its length.
type counted struct {
	name string
	n    int
}

// wantCounts fails for the first list that has not n elements, as the one of that name has.
func wantCounts(a *attrs, of string, n int, lists ...counted) {
	for _, l := range lists {
		if l.n != n {
			a.fail(fmt.Errorf("found %d %s and %d %s, wanted as many", n, of, l.n, l.name))
		}
	}
}

// orAll is n, or for a list that may be left out as many as are wanted.
func orAll(n, all int) int {
	if n == 0 {
		return all
	}
	return n
}

// modeNames is the values of nodes_modes, those of nodes that ask before LEAF.
var modeNames = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"}

// read3 reads the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor:
// nodes that name their tree and their number in it, and votes that name a leaf.
// The first node of a tree is its root.
func (o *trees) read3(a *attrs, prefix string) {
	tree, id := a.int64s("nodes_treeids"), a.int64s("nodes_nodeids")
	feature, yes, no := a.int64s("nodes_featureids"), a.int64s("nodes_truenodeids"), a.int64s("nodes_falsenodeids")
	modes, missing := a.strings("nodes_modes"), a.int64s("nodes_missing_value_tracks_true")
	split := o.doubles(a, "nodes_values")
	var rates trees // how often a node was passed
	rates.doubles(a, "nodes_hitrates")
	n := len(id)
	wantCounts(a, "nodes_nodeids", n, counted{"nodes_treeids", len(tree)}, counted{"nodes_featureids", len(feature)},
		counted{"nodes_truenodeids", len(yes)}, counted{"nodes_falsenodeids", len(no)}, counted{"nodes_modes", len(modes)},
		counted{"nodes_values", len(split)}, counted{"nodes_missing_value_tracks_true", orAll(len(missing), n)})
	if a.err != nil {
		return
	}
	type key struct{ tree, node int64 }
	at := make(map[key]int, n) // a node, or ^leaf
	seen := map[int64]bool{}
	for i := range n {
		mode := slices.Index(modeNames, modes[i])
		where := len(o.spec.nodes)
		switch {
		case mode < 0:
			a.fail(fmt.Errorf("nodes_modes[%d] is %q, wanted one of %q", i, modes[i], modeNames))
			return
		case mode == len(modeNames)-1:
			where = ^len(o.spec.leaves)
			o.spec.leaves = append(o.spec.leaves, nil)
		default:
			o.spec.nodes = append(o.spec.nodes, treeNode{mode: treeMode(mode), feature: int(feature[i]), split: split[i],
				missing: len(missing) > 0 && missing[i] != 0})
		}
		k := key{tree[i], id[i]}
		if _, twice := at[k]; twice {
			a.fail(fmt.Errorf("tree %d has two nodes %d", k.tree, k.node))
			return
		}
		at[k] = where
		if !seen[k.tree] {
			seen[k.tree] = true
			o.spec.roots = append(o.spec.roots, where)
		}
	}
	for i, where := 0, 0; i < n; i++ {
		if modes[i] == "LEAF" {
			continue
		}
		node := &o.spec.nodes[where]
		where++
		for _, c := range []struct {
			to *int
			id int64
		}{{&node.yes, yes[i]}, {&node.no, no[i]}} {
			k, ok := at[key{tree[i], c.id}]
			if !ok {
				a.fail(fmt.Errorf("tree %d: node %d leads to node %d, which is not there", tree[i], id[i], c.id))
				return
			}
			*c.to = k
		}
	}
	inTree, atNode, target := a.int64s(prefix+"_treeids"), a.int64s(prefix+"_nodeids"), a.int64s(prefix+"_ids")
	weight := o.doubles(a, prefix+"_weights")
	if len(inTree) != len(weight) || len(atNode) != len(weight) || len(target) != len(weight) {
		a.fail(fmt.Errorf("found %d %s_treeids, %d %s_nodeids, %d %s_ids and %d %s_weights, wanted as many",
			len(inTree), prefix, len(atNode), prefix, len(target), prefix, len(weight), prefix))
		return
	}
	for i, w := range weight {
		k, ok := at[key{inTree[i], atNode[i]}]
		switch {
		case !ok:
			a.fail(fmt.Errorf("%s_weights[%d] is of node %d in tree %d, which is not there", prefix, i, atNode[i], inTree[i]))
			return
		case target[i] < 0 || target[i] >= int64(o.spec.targets):
			a.fail(fmt.Errorf("%s_ids[%d] is %d, wanted one of %d", prefix, i, target[i], o.spec.targets))
			return
		case k < 0: // what a node that asks is given means nothing
			o.spec.leaves[^k] = append(o.spec.leaves[^k], treeVote{int(target[i]), w})
		}
	}
}

// read5 reads the attributes of TreeEnsemble: nodes that lead to nodes or, as
// flags say, leaves by their numbers in the lists.
func (o *trees) read5(a *attrs) {
	feature, yes, no := a.int64s("nodes_featureids"), a.int64s("nodes_truenodeids"), a.int64s("nodes_falsenodeids")
	yesLeaf, noLeaf, missing := a.int64s("nodes_trueleafs"), a.int64s("nodes_falseleafs"), a.int64s("nodes_missing_value_tracks_true")
	roots, target := a.int64s("tree_roots"), a.int64s("leaf_targetids")
	list := func(name string) []float64 {
		if t := a.tensor(name); t != nil {
			return o.numbers(a, name, t)
		}
		return nil
	}
	split, weight, members := list("nodes_splits"), list("leaf_weights"), list("membership_values")
	a.tensor("nodes_hitrates") // how often a node was passed
	var modes []uint8
	if t := a.tensor("nodes_modes"); t == nil || t.DType() != tensor.Uint8 {
		a.fail(fmt.Errorf("attribute nodes_modes is %v, wanted uint8", t))
	} else {
		modes = tensor.Data[uint8](t)
	}
	n := len(modes)
	wantCounts(a, "nodes_modes", n, counted{"nodes_featureids", len(feature)}, counted{"nodes_truenodeids", len(yes)},
		counted{"nodes_falsenodeids", len(no)}, counted{"nodes_trueleafs", len(yesLeaf)}, counted{"nodes_falseleafs", len(noLeaf)},
		counted{"nodes_splits", len(split)}, counted{"nodes_missing_value_tracks_true", orAll(len(missing), n)})
	if len(target) != len(weight) {
		a.fail(fmt.Errorf("found %d leaf_targetids and %d leaf_weights, wanted as many", len(target), len(weight)))
	}
	if a.err != nil {
		return
	}
	for i, w := range weight {
		if target[i] < 0 || target[i] >= int64(o.spec.targets) {
			a.fail(fmt.Errorf("leaf_targetids[%d] is %d, wanted one of %d", i, target[i], o.spec.targets))
			return
		}
		o.spec.leaves = append(o.spec.leaves, []treeVote{{int(target[i]), w}})
	}
	where := func(at int64, leaf bool) int {
		most := n
		if leaf {
			most = len(weight)
		}
		switch {
		case at < 0 || at >= int64(most):
			a.fail(fmt.Errorf("a node leads to number %d of %d", at, most))
			return 0
		case leaf:
			return ^int(at)
		}
		return int(at)
	}
	for i := range n {
		if modes[i] > uint8(branchMember) {
			a.fail(fmt.Errorf("nodes_modes[%d] is %d, wanted 0 to %d", i, modes[i], branchMember))
			return
		}
		node := treeNode{mode: treeMode(modes[i]), feature: int(feature[i]), split: split[i],
			yes: where(yes[i], yesLeaf[i] != 0), no: where(no[i], noLeaf[i] != 0), missing: len(missing) > 0 && missing[i] != 0}
		if node.mode == branchMember {
			end := slices.IndexFunc(members, math.IsNaN)
			if end < 0 {
				end = len(members)
			}
			node.members, members = members[:end], members[min(end+1, len(members)):]
		}
		o.spec.nodes = append(o.spec.nodes, node)
	}
	for _, r := range roots {
		o.spec.roots = append(o.spec.roots, where(r, false))
	}
}
