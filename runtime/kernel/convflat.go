package kernel

// isFlat reports whether products over several rows of Y at once compute fewer columns that nobody
// wants than products over one row at a time do, whose length is rounded up to a panel. In the rows
// of X, padded and one after the other, the window moves by one element from each element of Y to the
// next; between two rows of Y it passes over elements that belong to none.
func (j *convJob) isFlat() bool {
	if j.SX*j.SY != 1 || j.joined() > 1 {
		return false
	}
	j.layOut(1)
	nr := j.path.f32.nr
	panels := func(cols int) int { return (cols + nr - 1) / nr }
	return 8*panels((j.OH-1)*j.pitch+j.OW) < 7*j.OH*panels(j.OW)
}

// flatTasks sets the tasks of flats, which are of so many multiplications together for an image and
// group, and returns their number.
func (j *convJob) flatTasks(work int) int {
	j.arrange()
	j.cut = max(1, min(j.OH, convStrip/(j.C*j.pitch)-(j.KH-1)*j.DY))
	if work/j.OH*j.cut > 2*convGrain { // enough for cores to finish together, if that pays for the rows laid out twice
		j.cut = min(j.cut, max(2*j.KH, j.OH*j.Images*j.Groups/convTasks))
	}
	j.cuts = (j.OH + j.cut - 1) / j.cut
	j.cut = (j.OH + j.cuts - 1) / j.cuts
	j.rows = j.cut + (j.KH-1)*j.DY
	parts := j.Images * j.Groups * j.cuts
	j.split = max(1, min(convTasks/parts, work/j.cuts/convGrain, j.M/convRows))
	return parts * j.split
}

// flats does convolutions in steps of one, some rows of the output at a time and all of them in one
// product for each element of the window.
func (j *convJob) flats(lo, hi int) {
	im, places, products := j.path.f32, j.OH*j.OW, j.KH*j.KW
	channel := j.rows * j.pitch // from one channel's rows to the next
	ld := (j.cut*j.pitch + im.nr - 1) / im.nr * im.nr
	most := (j.M + j.split - 1) / j.split
	c := scratch(j.C*channel + convSlack + most*(im.nr+ld))
	starts := c.buf[j.C*channel+convSlack:] // the biases, in as many columns as a panel has
	out := starts[most*im.nr:]
	for t := lo; t < hi; t++ {
		part, oy := t/j.split/j.cuts, t/j.split%j.cuts*j.cut
		n, g := min(j.cut, j.OH-oy), part%j.Groups
		m0, m1 := j.M*(t%j.split)/j.split, j.M*(t%j.split+1)/j.split
		for ch := range j.C {
			plane := j.x[(part*j.C+ch)*j.H*j.W : (part*j.C+ch+1)*j.H*j.W]
			for r := range n + (j.KH-1)*j.DY {
				j.padRow(c.buf[ch*channel+r*j.pitch:], plane, oy-j.Top+r)
			}
		}
		for m := range m1 - m0 {
			fillWith(starts[m*im.nr:(m+1)*im.nr], after32(j.bias, g*j.M+m0+m))
		}
		end := (n-1)*j.pitch + j.OW
		for at := 0; at < end; at += im.nr {
			from, ldf, y := starts, im.nr, out[at:]
			for q := range products {
				w := j.weights[((g*products+q)*j.M+m0)*j.C:]
				x := c.buf[q/j.KW*j.DY*j.pitch+q%j.KW*j.DX+at:]
				for k := 0; k < j.C; k += blockK {
					last := q == products-1 && k+blockK >= j.C
					im.tile(m1-m0, min(blockK, j.C-k), w[k:], j.C, 1, x[k*channel:], channel, y, ld, min(im.nr, end-at), from, ldf, last && j.f == Relu)
					from, ldf = y, ld
				}
			}
		}
		y := j.y[(part*j.M+m0)*places+oy*j.OW:]
		for m := range m1 - m0 {
			for i := range n {
				copy(y[m*places+i*j.OW:][:j.OW], out[m*ld+i*j.pitch:])
			}
		}
		if j.act != nil && j.f != Relu {
			j.act(m1-m0, n*j.OW, y, places, y, places, j.alpha, j.beta)
		}
	}
	convScratches.Put(c)
}
