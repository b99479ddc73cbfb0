package finetune

import (
	"fmt"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A head is one output of the model that the loss looks at.
type head struct {
	name    string       // of the output
	student *graph.Value // the output, or the scores that its Softmax makes it of
	teacher *graph.Value // the same of the teacher; nil: none
	axis    int          // of the classes; −1: plain numbers
	labels  bool         // the labels are targets of this output
	onehot  bool         // they are rows of one 1
	shape   []int        // of one run

	ce, kl, mse float64 // the terms' factors
	scale       float64 // of squared differences: 1/variance of the targets

	target *tensor.Tensor // labels that are numbers, of the last run
}

// scores is the value that a loss by classes is computed from: v, or of maps the
// numbers in them, or where a Softmax or LogSoftmax makes these along its last
// axis, what that reads.
func scores(m *graph.Model, v *graph.Value) *graph.Value {
	v = op.Numbers(v)
	n := v.Producer()
	if n == nil || n.Domain != "" && n.Domain != "ai.onnx" || n.OpType != "Softmax" && n.OpType != "LogSoftmax" {
		return v
	}
	in := n.Input(0)
	if in == nil || !in.Type.Ranked && !v.Type.Ranked {
		return v
	}
	rank := len(v.Type.Shape)
	if !v.Type.Ranked {
		rank = len(in.Type.Shape)
	}
	axis := -1
	if m.Opset("") < 13 {
		axis = 1 // of everything from there on
	}
	if a := n.Attr("axis"); a != nil {
		axis = int(a.I)
	}
	if axis != -1 && axis != rank-1 {
		return v
	}
	return in
}

// guess is the axis of the classes of a head that no labels are of: what a
// Softmax was made of, or rows of several numbers, are scores. sure takes any
// last axis (the second of four) for that of classes.
func (h *head) guess(made, sure bool) int {
	r := len(h.shape)
	switch {
	case r == 2 && h.shape[1] > 1:
		return 1
	case r > 0 && made && h.shape[r-1] > 1:
		return r - 1
	case r == 4 && sure && h.shape[1] > 1:
		return 1
	case r > 1 && sure && h.shape[r-1] > 1:
		return r - 1
	}
	return -1
}

// labelled finds the output that labels are targets of, from the shapes of one
// run: the first with an axis of classes beside the axes of integer labels, or
// of the shape of floating-point ones. It fills axis, labels and onehot.
func labelled(heads []*head, out []*tensor.Tensor, labels *tensor.Tensor) error {
	shape := dataset.Squeezed(labels.Shape())
	var found []string
	for i, h := range heads {
		s := out[i].Shape()
		found = append(found, fmt.Sprintf("%q %v", h.name, out[i]))
		classes := labels.DType().IsInteger() || labels.DType() == tensor.Bool
		axis := dataset.ClassAxis(s, shape)
		switch {
		case classes && axis >= 0 && s[axis] > 1:
			h.axis = axis
		case slices.Equal(s, labels.Shape()) && len(s) > 0 && s[len(s)-1] > 1 && dataset.IsOneHot(labels):
			h.axis, h.onehot = len(s)-1, true
		case !classes && slices.Equal(dataset.Squeezed(s), shape):
			h.axis = -1
		default:
			continue
		}
		h.labels = true
		return nil
	}
	return fmt.Errorf("the labels are %v: no output fits them (found %v)", labels, found)
}

// classes writes the classes that v, the labels, name, one by position, into to.
func (h *head) classes(to []int32, v []float64, l layout, batch *dataset.Batch) error {
	each := 1
	if h.onehot {
		each = l.classes
	}
	if len(v) > len(to)*each || len(v)%each != 0 {
		return fmt.Errorf("labels: %d numbers for %d positions", len(v), len(to))
	}
	for p := range len(v) / each {
		k := -1
		if h.onehot {
			k = dataset.OneHot(v[p*each : (p+1)*each])
		} else if i := int(v[p]); float64(i) == v[p] && i >= 0 && i < l.classes {
			k = i
		}
		if k < 0 {
			return fmt.Errorf("labels: sample %d is no class of the %d that output %q has",
				batch.First+p/max(1, len(v)/each/max(1, batch.Rows)), l.classes, h.name)
		}
		to[p] = int32(k)
	}
	return nil
}
