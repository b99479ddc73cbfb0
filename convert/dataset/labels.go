package dataset

import (
	"slices"

	"bilinc/runtime/tensor"
)

// ClassAxis is the axis of scores that labels do not have: the last one, or
// as in [N C H W] the second; −1 where there is none.
func ClassAxis(scores, labels []int) int {
	for _, axis := range []int{len(scores) - 1, 1} {
		if axis >= 0 && axis < len(scores) {
			rest := slices.Delete(slices.Clone(scores), axis, axis+1)
			if slices.Equal(Squeezed(rest), labels) {
				return axis
			}
		}
	}
	return -1
}

// Squeezed is shape without dimensions of 1 after the first.
func Squeezed(shape []int) []int {
	out := slices.Clone(shape[:min(1, len(shape))])
	for _, d := range shape[len(out):] {
		if d != 1 {
			out = append(out, d)
		}
	}
	return out
}

// IsOneHot reports whether each row of the last axis is zeros and one 1.
func IsOneHot(t *tensor.Tensor) bool {
	v, err := tensor.Float64s(t)
	if err != nil {
		return false
	}
	c := t.Shape()[t.Rank()-1]
	for ; len(v) > 0; v = v[c:] {
		if OneHot(v[:c]) < 0 {
			return false
		}
	}
	return true
}

// OneHot is the place of the 1 in a row that is 0 elsewhere, else −1.
func OneHot(row []float64) int {
	at := -1
	for i, x := range row {
		switch {
		case x == 0:
		case x == 1 && at < 0:
			at = i
		default:
			return -1
		}
	}
	return at
}
