package op

import "bilinc/runtime/kernel"

// slidePool is MaxPool without indices and AveragePool in float32: maxPool and sumPool in loops that like memory.
func slidePool(ctx *Ctx, o *pool, s [maxSpatial]slide, x, y []float32) {
	var axes [maxSpatial]kernel.Window
	in, out, all := 1, 1, true
	for i, a := range s {
		axes[i] = kernel.Window{In: a.in, Out: a.out, Kernel: a.kernel, Stride: a.stride, Dilation: a.dilation, Before: a.before, After: a.after}
		in, out = in*a.in, out*a.out
		all = all && a.out == 1 && a.kernel == a.in && a.before == 0 && (a.dilation == 1 || a.kernel == 1)
	}
	switch {
	case out == 0:
	case all && o.name == "MaxPool":
		kernel.Max32(ctx.Pool, len(y), in, y, x, in)
	case all:
		rowMeans(ctx, in, y, x)
	case o.name == "MaxPool":
		kernel.MaxWindows32(ctx.Pool, len(y)/out, &axes, y, x)
	default:
		kernel.MeanWindows32(ctx.Pool, len(y)/out, &axes, o.countPads, y, x)
	}
}

// rowMeans is the means of rows of n elements.
func rowMeans(ctx *Ctx, n int, y, x []float32) {
	w := wideScratches.get(len(y))
	kernel.Sum32(ctx.Pool, len(y), n, *w, x, n)
	kernel.Quotients32(y, *w, float64(n))
	wideScratches.Put(w)
}
