package op

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A grove draws random trees as attributes of a node. Splits and features are
// from a grid, so that rows often lie on a split.
type grove struct {
	r        *rand.Rand
	features int
	modes    []string
	single   bool // the votes of a leaf are for one target
	only     int  // the target of all votes; -1: any
	targets  int
	positive bool
	full     bool // all leaves lie as deep

	next                                int64 // number of a node in its tree
	tree, id, feature, yes, no, missing []int64
	split                               []float32
	mode                                []string
	inTree, atNode, target              []int64
	weight                              []float32
}

// node draws a node of tree t and what is below it, and is its number.
func (g *grove) node(t int64, depth int) int64 {
	if len(g.tree) == 0 || g.tree[len(g.tree)-1] != t {
		g.next = 0
	}
	id, at := g.next, len(g.id)
	g.next++
	g.tree, g.id = append(g.tree, t), append(g.id, id)
	g.feature, g.missing = append(g.feature, int64(g.r.IntN(g.features))), append(g.missing, int64(g.r.IntN(2)))
	g.split, g.yes, g.no = append(g.split, float32(g.r.IntN(9)-4)/2), append(g.yes, 0), append(g.no, 0)
	if depth == 0 || !g.full && g.r.IntN(6) == 0 {
		g.mode = append(g.mode, "LEAF")
		for k := range g.targets {
			if g.only >= 0 {
				k = g.only
			} else if g.single {
				k = g.r.IntN(g.targets)
			}
			w := float32(g.r.NormFloat64())
			if g.positive {
				w = g.r.Float32() / 4
			}
			g.inTree, g.atNode, g.target, g.weight = append(g.inTree, t), append(g.atNode, id), append(g.target, int64(k)), append(g.weight, w)
			if g.only >= 0 || g.single {
				break
			}
		}
		return id
	}
	g.mode = append(g.mode, g.modes[g.r.IntN(len(g.modes))])
	yes := g.node(t, depth-1)
	no := g.node(t, depth-1)
	g.yes[at], g.no[at] = yes, no
	return id
}

// attrs is the attributes of opsets 1 to 3 with so many trees.
func (g *grove) attrs(trees int, prefix string, missing bool) []*graph.Attr {
	for t := range trees {
		g.node(int64(t), 1+t%8)
	}
	out := []*graph.Attr{attrInts("nodes_treeids", g.tree...), attrInts("nodes_nodeids", g.id...), attrInts("nodes_featureids", g.feature...),
		attrInts("nodes_truenodeids", g.yes...), attrInts("nodes_falsenodeids", g.no...), attrFloats("nodes_values", g.split...), attrStrings("nodes_modes", g.mode...),
		attrInts(prefix+"_treeids", g.inTree...), attrInts(prefix+"_nodeids", g.atNode...), attrInts(prefix+"_ids", g.target...), attrFloats(prefix+"_weights", g.weight...)}
	if missing {
		out = append(out, attrInts("nodes_missing_value_tracks_true", g.missing...))
	}
	return out
}

// doubled has tensors of float64 in place of the lists of floats.
func doubled(attrs []*graph.Attr) []*graph.Attr {
	out := slices.Clone(attrs)
	for i, a := range out {
		if a.Type == graph.AttrFloats {
			out[i] = attrTensor(a.Name+"_as_tensor", tensor.Of(converted[float64](a.Floats), len(a.Floats)))
		}
	}
	return out
}

// gridRows is rows on and between the splits of a grove; some elements are NaN
// where hole says so.
func gridRows(seed uint64, rows, features int, hole bool) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 3))
	x := tensor.New(tensor.Float32, rows, features)
	for i, v := 0, tensor.Data[float32](x); i < len(v); i++ {
		if v[i] = float32(r.IntN(19)-9) / 4; hole && r.IntN(7) == 0 {
			v[i] = nan32
		}
	}
	return x
}

var allModes = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// TestTreesAgainstONNXRuntime compares random trees of each mode and of all
// together, with every transform and aggregate, of one target and several.
func TestTreesAgainstONNXRuntime(t *testing.T) {
	var tests []opTest
	sets := [][]string{allModes}
	for _, m := range allModes {
		sets = append(sets, []string{m})
	}
	seed := uint64(0)
	for _, modes := range sets {
		for k, post := range postTransforms {
			for _, aggregate := range aggregateNames {
				for _, targets := range []int{1, 3} {
					seed++
					missing := seed%3 != 0
					g := &grove{r: rand.New(rand.NewPCG(seed, 9)), features: 4, modes: modes, single: seed%2 == 0, only: -1, targets: targets, positive: post == "PROBIT"}
					a := append(g.attrs(7, "target", missing), attrString("post_transform", post), attrString("aggregate_function", aggregate), attrInt("n_targets", int64(targets)))
					if seed%5 > 1 {
						a = append(a, attrFloats("base_values", []float32{0.125, 0.5, 0.25}[:targets]...))
					}
					name := fmt.Sprint(modes[0], len(modes), post, aggregate, targets, seed)
					x := gridRows(seed, 40, 4, true)
					tests = append(tests, opTest{name: name, op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 1, in: []*tensor.Tensor{x}, attrs: a})
					if k == 0 {
						tests = append(tests, opTest{name: name + "double", op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 3, in: kinds(x)[1:2], attrs: doubled(a)})
					}
				}
			}
		}
	}
	// One row and many trees, as many rows as several blocks have.
	for i, rows := range []int{1, 2, 63, 300} {
		g := &grove{r: rand.New(rand.NewPCG(1, 9)), features: 6, modes: []string{"BRANCH_LEQ"}, only: -1, targets: 1 + i%2, positive: true}
		tests = append(tests, opTest{name: fmt.Sprint("rows", rows), op: "ai.onnx.ml.TreeEnsembleRegressor", opset: 3, in: []*tensor.Tensor{gridRows(3, rows, 6, i%2 == 0)},
			attrs: append(g.attrs(400, "target", false), attrInt("n_targets", int64(1+i%2)))})
	}
	compareWithORT(t, tests)
}

// TestTreeClassesAgainstONNXRuntime compares classifiers: of two classes with votes
// for one or both, of more, with and without base values.
func TestTreeClassesAgainstONNXRuntime(t *testing.T) {
	var tests []opTest
	seed := uint64(100)
	for _, post := range postTransforms {
		for _, classes := range []int{2, 3, 5} {
			for only := -1; only < 2; only++ {
				for _, positive := range []bool{false, true} {
					for base := 0; base <= classes; base++ {
						if classes > 2 && (only >= 0 || base%classes != 0) {
							continue
						}
						seed++
						g := &grove{r: rand.New(rand.NewPCG(seed, 9)), features: 4, modes: allModes[:1+seed%6], single: seed%2 == 0 && classes > 2, only: only, targets: classes, positive: positive}
						if post == "PROBIT" && classes == 2 && base < 2 && only != 1 {
							continue // ONNX Runtime leaves the second score to chance
						}
						a := append(g.attrs(5, "class", seed%3 == 0), attrString("post_transform", post))
						if words := seed%2 == 1; words || classes == 2 && only < 0 {
							// With numbers ONNX Runtime says 1 and 0 where both of two classes have votes.
							if words {
								a = append(a, attrStrings("classlabels_strings", []string{"e", "d", "c", "b", "a"}[:classes]...))
							} else {
								a = append(a, attrInts("classlabels_int64s", 0, 1))
							}
						} else {
							a = append(a, attrInts("classlabels_int64s", []int64{5, 3, 9, 1, 2}[:classes]...))
						}
						if base > 0 {
							a = append(a, attrFloats("base_values", []float32{0.125, 0.25, 0.5, 0, 0.0625}[:base]...))
						}
						name := fmt.Sprint(post, classes, "only", only, positive, base)
						x := gridRows(seed, 40, 4, seed%4 == 0)
						tests = append(tests, opTest{name: name, op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 1, outs: 2, in: []*tensor.Tensor{x}, attrs: a},
							opTest{name: name + "double", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 3, outs: 2, in: kinds(x)[1:2], attrs: doubled(a)},
							opTest{name: name + "int32", op: "ai.onnx.ml.TreeEnsembleClassifier", opset: 3, outs: 2, in: kinds(x)[3:], attrs: a})
					}
				}
			}
		}
	}
	compareWithORT(t, tests)
}

// attrs5 is the attributes of TreeEnsemble, of element type d, of as many trees.
// Nodes that ask for one value ask for several in their place, if sets says so.
func (g *grove) attrs5(trees int, d tensor.DType, missing, sets bool) []*graph.Attr {
	for t := range trees {
		g.node(int64(t), 2+t%5)
	}
	type key struct{ tree, node int64 }
	place := map[key]int64{}
	var nodes, leaves int64
	for i, m := range g.mode {
		k := key{g.tree[i], g.id[i]}
		if m == "LEAF" {
			place[k] = leaves
			leaves++
		} else {
			place[k] = nodes
			nodes++
		}
	}
	leaf := map[key]bool{}
	for i, m := range g.mode {
		leaf[key{g.tree[i], g.id[i]}] = m == "LEAF"
	}
	var feature, yes, no, yesLeaf, noLeaf, miss, roots []int64
	var modes []uint8
	var split, members []float64
	for i, m := range g.mode {
		if m == "LEAF" {
			continue
		}
		if g.id[i] == 0 {
			roots = append(roots, place[key{g.tree[i], 0}])
		}
		mode := uint8(slices.Index(modeNames, m))
		if sets && mode == 4 {
			mode = 6
			for k := range 1 + g.r.IntN(4) {
				members = append(members, float64(k)+float64(g.r.IntN(3))/2)
			}
			members = append(members, float64(nan32))
		}
		modes, feature, split, miss = append(modes, mode), append(feature, g.feature[i]), append(split, float64(g.split[i])), append(miss, g.missing[i])
		flag := func(id int64) int64 { return int64(class(leaf[key{g.tree[i], id}])) }
		yes, no = append(yes, place[key{g.tree[i], g.yes[i]}]), append(no, place[key{g.tree[i], g.no[i]}])
		yesLeaf, noLeaf = append(yesLeaf, flag(g.yes[i])), append(noLeaf, flag(g.no[i]))
	}
	floats := func(name string, v []float64) *graph.Attr {
		t, err := tensor.FromFloat64s(d, v, len(v))
		if err != nil {
			panic(err)
		}
		return attrTensor(name, t)
	}
	out := []*graph.Attr{attrInts("nodes_featureids", feature...), attrInts("nodes_truenodeids", yes...), attrInts("nodes_falsenodeids", no...),
		attrInts("nodes_trueleafs", yesLeaf...), attrInts("nodes_falseleafs", noLeaf...), attrTensor("nodes_modes", tensor.Of(modes, len(modes))),
		attrInts("tree_roots", roots...), attrInts("leaf_targetids", g.target...), floats("leaf_weights", converted[float64](g.weight)), floats("nodes_splits", split)}
	if missing {
		out = append(out, attrInts("nodes_missing_value_tracks_true", miss...))
	}
	if members != nil {
		out = append(out, floats("membership_values", members))
	}
	return out
}

// TestTreeEnsembleAgainstONNXRuntime compares the operator of opset 5.
func TestTreeEnsembleAgainstONNXRuntime(t *testing.T) {
	var tests []opTest
	for k := range len(transformNames) {
		for how := range len(aggregateNames) {
			for _, targets := range []int{1, 4} {
				for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
					seed := uint64(1000*k + 100*how + 10*targets + int(d))
					g := &grove{r: rand.New(rand.NewPCG(seed, 9)), features: 4, modes: allModes[:2+seed%5], single: true, only: -1, targets: targets, positive: k == int(transformProbit)}
					if targets > 1 && (k == int(transformSoftmax) || k == int(transformLogistic)) {
						continue // ONNX Runtime takes the numbers of the two for each other's
					}
					tests = append(tests, opTest{name: fmt.Sprint(transformNames[k], aggregateNames[how], targets, d), op: "ai.onnx.ml.TreeEnsemble", opset: 5,
						in:    []*tensor.Tensor{as(d, gridRows(seed, 50, 4, seed%2 == 0))},
						attrs: append(g.attrs5(6, d, seed%3 == 0, true), attrInt("n_targets", int64(targets)), attrInt("aggregate_function", int64(how)), attrInt("post_transform", int64(k)))})
				}
			}
		}
	}
	compareWithORT(t, tests)
}
