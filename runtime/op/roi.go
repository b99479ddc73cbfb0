package op

import (
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// roiPool makes a small image of each region of X[N C H W]: RoiAlign of
// rois[R 4] with the image of each in a third input, MaxRoiPool of rois[R 5]
// that begin with it. A region is x1 y1 x2 y2.
type roiPool struct {
	name          string
	height, width int
	scale         float64
	align         bool    // RoiAlign, by bilinear samples
	samples       int     // of each side of a bin; 0: one for each element of X
	offset        float64 // half_pixel
	max           bool    // of the samples, where else it is their mean
}

func parseRoiAlign(a *attrs) Op {
	o := &roiPool{name: "RoiAlign", align: true, height: int(a.int("output_height", 1)), width: int(a.int("output_width", 1)),
		samples: int(a.int("sampling_ratio", 0)), scale: float64(a.float("spatial_scale", 1))}
	mode := a.string("mode", "avg")
	o.max = mode == "max"
	if mode != "max" && mode != "avg" {
		a.fail(fmt.Errorf("attribute mode is %q", mode))
	}
	if a.opset >= 16 {
		switch how := a.string("coordinate_transformation_mode", "half_pixel"); how {
		case "half_pixel":
			o.offset = 0.5
		case "output_half_pixel":
		default:
			a.fail(fmt.Errorf("attribute coordinate_transformation_mode is %q", how))
		}
	}
	o.validate(a)
	return o
}

func parseMaxRoiPool(a *attrs) Op {
	a.require("pooled_shape")
	o := &roiPool{name: "MaxRoiPool", scale: float64(a.float("spatial_scale", 1))}
	shape := a.ints("pooled_shape")
	if len(shape) != 2 {
		a.fail(fmt.Errorf("attribute pooled_shape is %v", shape))
		return o
	}
	o.height, o.width = shape[0], shape[1]
	o.validate(a)
	return o
}

func (o *roiPool) validate(a *attrs) {
	if o.height < 1 || o.width < 1 || o.height > maxWindow || o.width > maxWindow || o.samples < 0 || o.samples > maxWindow {
		a.fail(fmt.Errorf("an output of %d×%d from %d samples", o.height, o.width, o.samples))
	}
}

func (o *roiPool) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	inputs, columns := 2, 5
	if o.align {
		inputs, columns = 3, 4
	}
	if err := arity(in, inputs, inputs); err != nil {
		return nil, err
	}
	if _, err := sameDType(in[:2]); err != nil {
		return nil, err
	}
	if err := withRank(in[0], "X", 4); err != nil {
		return nil, err
	}
	if err := withRank(in[1], "rois", 2); err != nil {
		return nil, err
	}
	shape := []graph.Dim{graph.Unknown, graph.Unknown, graph.Size(o.height), graph.Size(o.width)}
	if in[1].Ranked {
		if differ(in[1].Shape[1], graph.Size(columns)) {
			return nil, fmt.Errorf("rois %v, wanted [R %d]", in[1].Type, columns)
		}
		shape[0] = in[1].Shape[0]
		if o.align && in[2].Ranked && (len(in[2].Shape) != 1 || differ(in[2].Shape[0], shape[0])) {
			return nil, fmt.Errorf("batch_indices %v for rois %v", in[2].Type, in[1].Type)
		}
	}
	if in[0].Ranked {
		shape[1] = in[0].Shape[1]
	}
	return tensorFact(in[0].DType, shape...), nil
}

func (o *roiPool) Forward(ctx *Ctx, in, out []tensor.Value) error {
	x, y := in[0].Tensor, out[0].Tensor
	switch x.DType() {
	case tensor.Float32:
		return roiAs[float32](ctx, o, in, y)
	case tensor.Float64:
		return roiAs[float64](ctx, o, in, y)
	case tensor.Float16, tensor.BFloat16:
		return viaFloat32(ctx, o, in, out)
	}
	return unsupportedType(o.name, x.DType())
}

func roiAs[T float](ctx *Ctx, o *roiPool, in []tensor.Value, y *tensor.Tensor) error {
	x, rois := in[0].Tensor, tensor.Data[T](in[1].Tensor)
	n, c, h, w := x.Shape()[0], x.Shape()[1], x.Shape()[2], x.Shape()[3]
	regions := y.Shape()[0]
	images := make([]int, regions)
	boxes := make([][4]float64, regions)
	columns := in[1].Tensor.Shape()[1]
	var given []int
	if o.align {
		var ok bool
		if given, ok = intsIn(in[2].Tensor); !ok {
			return unsupportedType(o.name, in[2].Tensor.DType())
		}
	}
	for r := range regions {
		row := rois[r*columns : (r+1)*columns]
		if o.align {
			images[r] = given[r]
		} else {
			images[r], row = int(row[0]), row[1:]
		}
		if images[r] < 0 || images[r] >= n {
			return fmt.Errorf("region %d is of image %d, wanted 0 to %d", r, images[r], n-1)
		}
		for k, v := range row {
			boxes[r][k] = float64(v)
			if !(math.Abs(boxes[r][k]*o.scale) < maxWindow) {
				return fmt.Errorf("region %d is %v", r, row)
			}
		}
	}
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	size := o.height * o.width
	ctx.Pool.For(regions*c, max(1, elementGrain/64/size), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			r := k / c
			plane := (images[r]*c + k%c) * h * w
			if o.align {
				alignRegion(o, src[plane:plane+h*w], h, w, boxes[r], dst[k*size:(k+1)*size])
			} else {
				maxRegion(o, src[plane:plane+h*w], h, w, boxes[r], dst[k*size:(k+1)*size])
			}
		}
	})
	return nil
}

// alignRegion averages, or takes the largest of, samples between elements. Of
// a sample ONNX's maximum is that of its four parts, not their sum.
func alignRegion[T float](o *roiPool, x []T, h, w int, box [4]float64, y []T) {
	x0, y0 := box[0]*o.scale-o.offset, box[1]*o.scale-o.offset
	wide, high := box[2]*o.scale-o.offset-x0, box[3]*o.scale-o.offset-y0
	if o.offset == 0 {
		wide, high = max(wide, 1), max(high, 1)
	}
	binW, binH := wide/float64(o.width), high/float64(o.height)
	nx, ny := o.samples, o.samples
	if o.samples == 0 {
		nx, ny = int(math.Ceil(binW)), int(math.Ceil(binH))
	}
	for i := range y {
		by, bx := i/o.width, i%o.width
		sum, most, first := 0.0, 0.0, true
		for sy := range ny {
			py := y0 + (float64(by)+(float64(sy)+0.5)/float64(ny))*binH
			for sx := range nx {
				px := x0 + (float64(bx)+(float64(sx)+0.5)/float64(nx))*binW
				for _, v := range bilinear(x, h, w, py, px) {
					sum += v
					if first || v > most {
						most, first = v, false
					}
				}
			}
		}
		if o.max {
			y[i] = T(most)
		} else {
			y[i] = T(sum / float64(max(1, nx*ny)))
		}
	}
}

// bilinear is the four parts of the value at a position, 0 far outside.
func bilinear[T float](x []T, h, w int, py, px float64) (parts [4]float64) {
	if py < -1 || py > float64(h) || px < -1 || px > float64(w) {
		return parts
	}
	py, px = max(py, 0), max(px, 0)
	y0, x0 := min(int(py), h-1), min(int(px), w-1)
	y1, x1 := min(y0+1, h-1), min(x0+1, w-1)
	if y0 == h-1 {
		py = float64(y0)
	}
	if x0 == w-1 {
		px = float64(x0)
	}
	ty, tx := py-float64(y0), px-float64(x0)
	return [4]float64{(1 - ty) * (1 - tx) * float64(x[y0*w+x0]), (1 - ty) * tx * float64(x[y0*w+x1]),
		ty * (1 - tx) * float64(x[y1*w+x0]), ty * tx * float64(x[y1*w+x1])}
}

// maxRegion is the largest element of each bin, 0 of one without any.
func maxRegion[T float](o *roiPool, x []T, h, w int, box [4]float64, y []T) {
	var edge [4]int
	for k, v := range box {
		edge[k] = int(math.Round(v * o.scale))
	}
	high, wide := max(edge[3]-edge[1]+1, 1), max(edge[2]-edge[0]+1, 1)
	span := func(i, bins, length, from, limit int) (lo, hi int) {
		size := float64(length) / float64(bins)
		lo, hi = int(math.Floor(float64(i)*size))+from, int(math.Ceil(float64(i+1)*size))+from
		return min(max(lo, 0), limit), min(max(hi, 0), limit)
	}
	for i := range y {
		y0, y1 := span(i/o.width, o.height, high, edge[1], h)
		x0, x1 := span(i%o.width, o.width, wide, edge[0], w)
		y[i] = 0
		for r := y0; r < y1; r++ {
			for k := x0; k < x1; k++ {
				if v := x[r*w+k]; r == y0 && k == x0 || v > y[i] {
					y[i] = v
				}
			}
		}
	}
}
