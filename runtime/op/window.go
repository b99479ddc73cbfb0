package op

import (
	"fmt"
	"strings"

	"bilinc/runtime/graph"
)

// window is the attributes by which convolutions and pools slide over the
// axes after [N C]. Lists that are nil take their defaults.
type window struct {
	kernel, strides, dilations []int
	pads                       []int // before each axis, then after each
	auto                       string
	ceil                       bool // partial windows at the end count
}

func parseWindow(a *attrs) window {
	w := window{kernel: a.ints("kernel_shape"), strides: a.ints("strides"), pads: a.ints("pads"), auto: a.string("auto_pad", "NOTSET")}
	switch w.auto {
	case "NOTSET", "":
		w.auto = ""
	case "VALID", "SAME_UPPER", "SAME_LOWER":
		w.pads = nil
	default:
		a.fail(fmt.Errorf("attribute auto_pad is %q", w.auto))
	}
	return w
}

// maxWindow bounds the numbers in a window, far beyond any use and small
// enough that positions do not overflow.
const maxWindow = 1 << 28

// check verifies the lists for so many axes.
func (w *window) check(axes int) error {
	if axes < 1 || axes > maxSpatial {
		return &Unsupported{OpType: "window", Detail: fmt.Sprintf("over %d axes", axes)}
	}
	for _, l := range []struct {
		name        string
		list        []int
		want, least int
	}{{"kernel_shape", w.kernel, axes, 1}, {"strides", w.strides, axes, 1}, {"dilations", w.dilations, axes, 1}, {"pads", w.pads, 2 * axes, 0}} {
		if l.list != nil && len(l.list) != l.want {
			return fmt.Errorf("%s %v for %d axes", l.name, l.list, axes)
		}
		for _, n := range l.list {
			if n < l.least || n > maxWindow {
				return fmt.Errorf("%s %v has %d", l.name, l.list, n)
			}
		}
	}
	return nil
}

// at is the i-th of a list, def where the list is absent.
func at(list []int, i, def int) int {
	if list == nil {
		return def
	}
	return list[i]
}

// A slide is how a window moves along one axis: output o sees the positions
// o·stride + t·dilation − before for t below kernel.
type slide struct {
	in, out, kernel, stride, dilation, before, after int
}

// extent is how many positions the kernel spans.
func (s slide) extent() int { return (s.kernel-1)*s.dilation + 1 }

// taps is the range of t whose positions for output o lie inside the input.
func (s slide) taps(o int) (lo, hi int) {
	first := o*s.stride - s.before
	if first < 0 {
		lo = (-first + s.dilation - 1) / s.dilation
	}
	if first < s.in {
		hi = min(s.kernel, (s.in-1-first)/s.dilation+1)
	}
	return min(lo, hi), hi
}

// along is the slide over axis i of n elements with a kernel of k.
func (w *window) along(i, n, k int) (slide, error) {
	axes := len(w.pads) / 2
	s := slide{in: n, kernel: k, stride: at(w.strides, i, 1), dilation: at(w.dilations, i, 1)}
	if w.pads != nil {
		s.before, s.after = w.pads[i], w.pads[axes+i]
	}
	if w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" {
		s.out = (n + s.stride - 1) / s.stride
		total := max(0, (s.out-1)*s.stride+s.extent()-n)
		s.before = total / 2
		if w.auto == "SAME_LOWER" {
			s.before = total - total/2
		}
		s.after = total - s.before
		return s, nil
	}
	free := n + s.before + s.after - s.extent()
	if free < 0 {
		return s, fmt.Errorf("a window of %d does not fit into %d elements and %d of padding", s.extent(), n, s.before+s.after)
	}
	s.out = free/s.stride + 1
	// With ceil a last window counts that begins within the input.
	if w.ceil && free%s.stride != 0 && s.out*s.stride < n+s.before {
		s.out++
	}
	return s, nil
}

// dims is the output's dimensions for the axes of a shape after [N C]. A
// kernel dimension that is Unknown makes its axis unknown.
func (w *window) dims(in, kernel []graph.Dim) ([]graph.Dim, error) {
	out := make([]graph.Dim, len(in))
	for i, d := range in {
		n, ok := d.Const()
		k, ok2 := kernel[i].Const()
		switch {
		case !ok2:
			out[i] = graph.Unknown
		case k < 1:
			return nil, fmt.Errorf("the kernel is %s", graph.FormatShape(kernel, true))
		case ok:
			s, err := w.along(i, n, k)
			if err != nil {
				return nil, fmt.Errorf("axis %d: %w", i+2, err)
			}
			out[i] = graph.Size(s.out)
		default:
			out[i] = w.symbolic(i, d, k)
		}
	}
	return out, nil
}

// symbolic is the output along axis i of an unknown number of elements: as
// many where padding makes up for the kernel, else a symbol that stands for
// what this window makes of d.
func (w *window) symbolic(i int, d graph.Dim, k int) graph.Dim {
	stride, extent, before, after := at(w.strides, i, 1), (k-1)*at(w.dilations, i, 1)+1, 0, 0
	if w.pads != nil {
		before, after = w.pads[i], w.pads[len(w.pads)/2+i]
	}
	same := w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER"
	switch {
	case stride == 1 && (same || before+after == extent-1):
		return d
	case !d.IsKnown():
		return graph.Unknown
	case same:
		extent, before, after = 0, 0, 0 // they do not count
	}
	how := "floor"
	if w.ceil {
		how = fmt.Sprintf("ceil%d", before) // where the last window begins depends on it
	}
	// A name is one symbol: it must not look like a product.
	return graph.Symbol(fmt.Sprintf("%s[(%s+%d-%d)/%d]", how, strings.ReplaceAll(d.String(), "*", "·"), before+after, extent, stride))
}

// maxSpatial is how many axes a window can slide over.
const maxSpatial = 3

// slides is the window over the last three axes, those that a shape does not
// have being of one element: [N C H W] as [N C 1 H W].
func (w *window) slides(in, kernel []int) (s [maxSpatial]slide, err error) {
	for i := range s {
		s[i] = slide{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}
		if k := i - maxSpatial + len(in); k >= 0 {
			if s[i], err = w.along(k, in[k], kernel[k]); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// spatial is the number of axes after [N C] of inputs whose ranks must agree:
// −1 where none is known.
func spatial(in ...graph.Fact) (int, error) {
	axes := -1
	for _, f := range in {
		if !f.Ranked {
			continue
		}
		if len(f.Shape) < 3 {
			return 0, fmt.Errorf("%s has rank %d, wanted 3 or more", f.Type, len(f.Shape))
		}
		if axes >= 0 && axes != len(f.Shape)-2 {
			return 0, fmt.Errorf("%s has rank %d, wanted %d", f.Type, len(f.Shape), axes+2)
		}
		axes = len(f.Shape) - 2
	}
	return axes, nil
}
