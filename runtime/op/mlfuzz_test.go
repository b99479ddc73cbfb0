package op

import (
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// FuzzTrees looks for attributes of trees that make the parser panic, or that it
// takes and no row finds a way through. Each byte is one number of a list.
func FuzzTrees(f *testing.F) {
	f.Add([]byte{0, 0, 0}, []byte{0, 1, 2}, []byte{0, 1, 0}, []byte{1, 0, 0}, []byte{2, 0, 0}, []byte{0, 6, 6}, []byte{0, 0}, []byte{1, 2}, byte(2))
	f.Add([]byte{0, 0}, []byte{0, 1}, []byte{0, 0}, []byte{1, 0}, []byte{0, 1}, []byte{4, 6}, []byte{0}, []byte{1}, byte(1))
	f.Add([]byte{0, 1, 0, 1}, []byte{0, 0, 1, 1}, []byte{0, 0, 0, 0}, []byte{1, 1, 0, 0}, []byte{1, 1, 0, 0}, []byte{3, 5, 6, 6}, []byte{0, 1}, []byte{1, 1}, byte(3))
	f.Add([]byte{0, 0, 0, 0}, []byte{0, 1, 2, 3}, []byte{255, 0, 1, 2}, []byte{1, 2, 3, 0}, []byte{2, 3, 1, 1}, []byte{0, 1, 2, 3}, []byte{}, []byte{}, byte(0))
	f.Fuzz(func(t *testing.T, tree, id, feature, yes, no, mode, voteTree, voteNode []byte, targets byte) {
		ints := func(name string, v []byte) *graph.Attr {
			a := attrInts(name)
			for _, b := range v {
				a.Ints = append(a.Ints, int64(int8(b)))
			}
			return a
		}
		var modes []string
		values, weights := make([]float32, len(mode)), make([]float32, len(voteTree))
		for i, m := range mode {
			modes, values[i] = append(modes, modeNames[int(m)%len(modeNames)]), float32(m)
		}
		regressor := []*graph.Attr{ints("nodes_treeids", tree), ints("nodes_nodeids", id), ints("nodes_featureids", feature), ints("nodes_truenodeids", yes),
			ints("nodes_falsenodeids", no), attrStrings("nodes_modes", modes...), attrFloats("nodes_values", values...), attrInt("n_targets", int64(targets)),
			ints("target_treeids", voteTree), ints("target_nodeids", voteNode), ints("target_ids", make([]byte, len(voteTree))), attrFloats("target_weights", weights...)}
		ensemble := []*graph.Attr{ints("nodes_featureids", feature), ints("nodes_truenodeids", yes), ints("nodes_falsenodeids", no), ints("nodes_trueleafs", tree),
			ints("nodes_falseleafs", id), attrTensor("nodes_modes", tensor.Of(append([]byte{}, mode...), len(mode))), ints("tree_roots", voteTree), attrTensor("nodes_splits", tensor.Of(values, len(values))),
			ints("leaf_targetids", voteNode), attrTensor("leaf_weights", tensor.New(tensor.Float32, len(voteNode))), attrInt("n_targets", int64(targets))}
		x := tensor.ValueOf(tensor.Of([]float32{0, 1, nan32, 3, -1, 2, 0, 5, 9, 1, 4, 4, 2, 2, 6, 6}, 2, 8))
		for name, attrs := range map[string][]*graph.Attr{"ai.onnx.ml.TreeEnsembleRegressor": regressor, "ai.onnx.ml.TreeEnsemble": ensemble} {
			o, err := parseOp(opTest{op: name, opset: 5, attrs: attrs, in: []*tensor.Tensor{x.Tensor}}, 1)
			if err != nil {
				continue
			}
			// What asks for more features than there are is refused here.
			if _, err := Eval(&Ctx{}, o, []tensor.Value{x}, 1); err != nil && o.(*treeRegressor).spec.features <= 8 {
				t.Fatal(err)
			}
		}
	})
}
