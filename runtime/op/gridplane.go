package op

import (
	"math"

	"bilinc/runtime/tensor"
)

// planeBlock is how many positions are worked out before the channels are sampled there.
const planeBlock = 256

// planeTaps is what a block of positions reads of a plane, for all channels.
type planeTaps struct {
	whole, part, none int                // how many there are of each kind
	place             [planeBlock]uint16 // those that see four elements, from the end those that see none
	at                [planeBlock]int32  // the first of the four
	weight            [planeBlock][4]float32
	parts             [planeBlock]partTaps
}

// partTaps are a position's elements where some of the four are none (below 0) or stand in for each other.
type partTaps struct {
	place  uint16
	at     [4]int32
	weight [4]float32
}

// gridPlanes is sampleGrid of float32 with linear interpolation or none, over two axes. Positions are float64,
// weights and sums float32.
func gridPlanes(ctx *Ctx, o *gridSample, x, grid, y *tensor.Tensor) {
	n, c, height, width := x.Shape()[0], x.Shape()[1], x.Shape()[2], x.Shape()[3]
	src, g, dst := tensor.Data[float32](x), tensor.Data[float32](grid), tensor.Data[float32](y)
	plane, places := height*width, product(y.Shape()[2:])
	if plane == 0 || places == 0 {
		clear(dst)
		return
	}
	blocks := (places + planeBlock - 1) / planeBlock
	ctx.Pool.For(n*blocks, max(1, elementGrain/4/(planeBlock*(c+8))), func(lo, hi int) {
		var t planeTaps
		for b := lo; b < hi; b++ {
			image, from := b/blocks, b%blocks*planeBlock
			m := min(planeBlock, places-from)
			o.taps(&t, g[2*(image*places+from):][:2*m], height, width)
			k := image * c
			for ; k+1 < (image+1)*c; k += 2 {
				t.samplePair(dst[k*places+from:][:m], dst[(k+1)*places+from:][:m], src[k*plane:(k+1)*plane], src[(k+1)*plane:(k+2)*plane], width)
			}
			if k < (image+1)*c {
				t.sample(dst[k*places+from:][:m], src[k*plane:(k+1)*plane], width)
			}
		}
	})
}

// taps works out a block of positions.
func (o *gridSample) taps(t *planeTaps, grid []float32, height, width int) {
	t.whole, t.part, t.none = 0, 0, 0
	var lineX, lineY gridLine
	for p := range len(grid) / 2 {
		// With linear interpolation, positions between the first and the last elements take no care of the edges.
		px, py := o.position(grid[2*p], width), o.position(grid[2*p+1], height)
		if o.degree == 1 && px >= 0 && py >= 0 && px < float64(width-1) && py < float64(height-1) {
			ix, iy := int(px), int(py)
			fx, fy := px-float64(ix), py-float64(iy)
			t.place[t.whole], t.at[t.whole] = uint16(p), int32(iy*width+ix)
			t.weight[t.whole] = [4]float32{float32((1 - fy) * (1 - fx)), float32((1 - fy) * fx), float32(fy * (1 - fx)), float32(fy * fx)}
			t.whole++
			continue
		}
		outside := px <= -1 || py <= -1 || px >= float64(width) || py >= float64(height)
		if o.padding == "zeros" && outside {
			t.none++
			t.place[planeBlock-t.none] = uint16(p)
			continue
		}
		o.line(&lineX, float64(grid[2*p]), width)
		o.line(&lineY, float64(grid[2*p+1]), height)
		e := &t.parts[t.part]
		e.place, e.at, e.weight = uint16(p), [4]int32{-1, -1, -1, -1}, [4]float32{}
		for i := range lineY.count {
			for j := range lineX.count {
				if lineY.at[i] >= 0 && lineX.at[j] >= 0 {
					e.at[2*i+j], e.weight[2*i+j] = int32(lineY.at[i]*width+lineX.at[j]), float32(lineY.weight[i]*lineX.weight[j])
				}
			}
		}
		t.part++
	}
}

// position is where the coordinate g lies along an axis of n elements.
func (o *gridSample) position(g float32, n int) float64 {
	if o.align {
		return (float64(g) + 1) / 2 * float64(n-1)
	}
	return ((float64(g)+1)*float64(n) - 1) / 2
}

// sample reads the positions of a block from a channel.
func (t *planeTaps) sample(y, x []float32, width int) {
	place, weight := t.place[:t.whole], t.weight[:t.whole]
	for i, at := range t.at[:t.whole] {
		w := &weight[i]
		above, below := x[at:at+2], x[int(at)+width:][:2]
		y[place[i]] = float32(w[0]*above[0]) + float32(w[1]*above[1]) + float32(w[2]*below[0]) + float32(w[3]*below[1])
	}
	t.edges(y, x)
}

// samplePair is sample of two channels: the weights are loaded once.
func (t *planeTaps) samplePair(y0, y1, x0, x1 []float32, width int) {
	place, weight := t.place[:t.whole], t.weight[:t.whole]
	y1, x1 = y1[:len(y0)], x1[:len(x0)]
	for i, at := range t.at[:t.whole] {
		w, p := &weight[i], place[i]
		above, below := x0[at:at+2], x0[int(at)+width:][:2]
		y0[p] = float32(w[0]*above[0]) + float32(w[1]*above[1]) + float32(w[2]*below[0]) + float32(w[3]*below[1])
		above, below = x1[at:at+2], x1[int(at)+width:][:2]
		y1[p] = float32(w[0]*above[0]) + float32(w[1]*above[1]) + float32(w[2]*below[0]) + float32(w[3]*below[1])
	}
	t.edges(y0, x0)
	t.edges(y1, x1)
}

// edges reads the positions that do not see four elements.
func (t *planeTaps) edges(y, x []float32) {
	for i := range t.parts[:t.part] {
		e := &t.parts[i]
		sum := float32(0)
		for k, at := range e.at {
			if at >= 0 {
				sum += float32(e.weight[k] * x[at])
			}
		}
		y[e.place] = sum
	}
	for _, p := range t.place[planeBlock-t.none:] {
		y[p] = 0
	}
}

// fitsPlanes tells whether gridPlanes serves.
func (o *gridSample) fitsPlanes(x, grid *tensor.Tensor) bool {
	return o.degree <= 1 && x.Rank() == 4 && x.DType() == tensor.Float32 && grid.DType() == tensor.Float32 &&
		x.Shape()[2]*x.Shape()[3] <= math.MaxInt32
}
