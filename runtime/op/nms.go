package op

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// nonMaxSuppression selects, for each batch and class, boxes in order of
// falling score, skipping those that overlap one already selected by more
// than a threshold (intersection over union). boxes[N B 4], scores[N C B];
// the output lists [batch class box].
type nonMaxSuppression struct {
	noForward
	center bool // boxes are [x y width height], else [y1 x1 y2 x2]
}

func parseNonMaxSuppression(a *attrs) Op {
	return &nonMaxSuppression{center: a.bool("center_point_box", false)}
}

func (o *nonMaxSuppression) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := arity(in, 2, 5); err != nil {
		return nil, err
	}
	for i, f := range in[:2] {
		if f.DType != tensor.Undefined && f.DType != tensor.Float32 {
			return nil, fmt.Errorf("input %d is %s, wanted float32", i, f.Type)
		}
		if err := withRank(f, []string{"boxes", "scores"}[i], 3); err != nil {
			return nil, err
		}
	}
	b, s := in[0], in[1]
	if b.Ranked && differ(b.Shape[2], graph.Size(4)) ||
		b.Ranked && s.Ranked && (differ(b.Shape[0], s.Shape[0]) || differ(b.Shape[1], s.Shape[2])) {
		return nil, fmt.Errorf("boxes%s and scores%s", graph.FormatShape(b.Shape, b.Ranked), graph.FormatShape(s.Shape, s.Ranked))
	}
	for i := 2; i < len(in); i++ {
		if n, ok := graph.Product(in[i].Shape).Const(); in[i].Ranked && ok && n != 1 {
			return nil, fmt.Errorf("input %d is %s, wanted a scalar", i, in[i].Type)
		}
	}
	return tensorFact(tensor.Int64, graph.Unknown, graph.Size(3)), nil
}

func (o *nonMaxSuppression) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	most, overlap, least, hasLeast := int64(0), float32(0), float32(0), false
	if t := optional(in, 2); t != nil {
		v, err := tensor.Int64s(t)
		if err != nil {
			return nil, fmt.Errorf("max_output_boxes_per_class: %w", err)
		}
		most = v[0]
	}
	for i, p := range []*float32{&overlap, &least} {
		if t := optional(in, 3+i); t != nil {
			v, err := floatsIn(t)
			if err != nil {
				return nil, fmt.Errorf("input %d: %w", 3+i, err)
			}
			*p, hasLeast = v[0], i == 1
		}
	}
	boxes, scores := tensor.Data[float32](in[0].Tensor), tensor.Data[float32](in[1].Tensor)
	shape := in[1].Tensor.Shape()
	count := shape[2]
	var found []int64
	for group := range shape[0] * shape[1] {
		batch := group / shape[1]
		rects := boxes[batch*count*4 : (batch+1)*count*4]
		score := scores[group*count : (group+1)*count]
		var order, selected []int
		for i, v := range score {
			if !hasLeast || v > least {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(i, j int) int {
			switch {
			case score[i] > score[j]:
				return -1
			case score[i] < score[j]:
				return 1
			}
			return 0
		})
		for _, i := range order {
			if int64(len(selected)) >= most {
				break
			}
			overlaps := func(j int) bool { return o.overlap(rects[4*i:4*i+4], rects[4*j:4*j+4]) > overlap }
			if !slices.ContainsFunc(selected, overlaps) {
				selected = append(selected, i)
				found = append(found, int64(batch), int64(group%shape[1]), int64(i))
			}
		}
	}
	return []tensor.Value{tensor.ValueOf(tensor.Of(found, len(found)/3, 3))}, nil
}

// overlap is the intersection over the union of two boxes.
func (o *nonMaxSuppression) overlap(a, b []float32) float32 {
	a, b = o.corners(a), o.corners(b)
	h := min(a[2], b[2]) - max(a[0], b[0])
	w := min(a[3], b[3]) - max(a[1], b[1])
	if !(h > 0 && w > 0) {
		return 0
	}
	area := func(r []float32) float32 { return (r[2] - r[0]) * (r[3] - r[1]) }
	return h * w / (area(a) + area(b) - h*w)
}

// corners is a box as its lower and upper ends along both axes.
func (o *nonMaxSuppression) corners(r []float32) []float32 {
	if o.center {
		return []float32{r[0] - r[2]/2, r[1] - r[3]/2, r[0] + r[2]/2, r[1] + r[3]/2}
	}
	return []float32{min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]), max(r[1], r[3])}
}
