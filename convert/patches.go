package convert

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/runtime/tensor"
)

// What is taken of the places of a convolution's kernel: neighbours see much
// the same, so that a number of rows that is enough for the fit is drawn from
// all samples alike.
const (
	rowsPerInput = 8
	leastRows    = 4096
)

// placesPerSample is how many places of a convolution are drawn of a sample.
func (c *Calibration) placesPerSample(l *match.Layer) int {
	return (countedPositions(l.In, l.Out, rowsPerInput*l.In+leastRows) + c.rows - 1) / max(1, c.rows)
}

// rowCount is the number of rows that l sees in an activation.
func (c *Calibration) rowCount(l *match.Layer, x *tensor.Tensor) int {
	if l.Conv == nil || x.Rank() != len(l.Conv.Kernel)+2 {
		return x.Len() / l.In
	}
	places, _ := l.Conv.Places(x.Shape()[2:])
	all := 1
	for _, n := range places {
		all *= n
	}
	return x.Shape()[0] * min(all, c.placesPerSample(l))
}

// rowsOf is what l, of n inputs, sees in an activation x of batch b: one input per row, of
// the samples and positions that count, and of up to most places of a
// convolution; nil where none does.
func (c *Calibration) rowsOf(l *match.Layer, n int, x *tensor.Tensor, b *dataset.Batch, most int) (*mat.Dense, error) {
	p, err := c.positionsOf(b)
	if err != nil {
		return nil, err
	}
	if l.Conv == nil {
		rows, err := layerRows(l, n, x)
		if err != nil {
			return nil, err
		}
		return countedRows(l, rows, x.Shape(), b, p), nil
	}
	rows, places, err := patches(l, x, b.First, most)
	if err != nil {
		return nil, err
	}
	if p == nil || len(l.Conv.Kernel) != 1 || x.Shape()[0] != p.n {
		return counted(rows, b), nil
	}
	// Over one axis, the places of the output are the positions where they are
	// as many.
	all, _ := l.Conv.Places(x.Shape()[2:])
	if all[0] != p.t {
		return counted(rows, b), nil
	}
	kept := make([]float64, 0, len(places)*l.In)
	for i, at := range places {
		if p.keep[i/(len(places)/p.n)*p.t+at] {
			kept = append(kept, rows.RawRowView(i)...)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return mat.NewDense(len(kept)/l.In, l.In, kept), nil
}

// patches is the inputs of a convolution at up to most places of every sample
// of x [N C D1 …], one per row. The places are spread over the whole of a
// sample: one is drawn from each of most runs of equal length, by the number of
// the sample, first being that of x's first one. at is the place of every row.
func patches(l *match.Layer, x *tensor.Tensor, first, most int) (out *mat.Dense, at []int, err error) {
	shape, c := x.Shape(), l.Conv
	if len(shape) != len(c.Kernel)+2 || shape[1] != c.Channels {
		return nil, nil, fmt.Errorf("layer %q: input %v, wanted %d channels over %d axes", l.Name, x, c.Channels, len(c.Kernel))
	}
	space := shape[2:]
	places, begin := c.Places(space)
	all, plane := 1, 1
	for i := range space {
		all *= places[i]
		plane *= space[i]
	}
	if all == 0 || shape[0] == 0 {
		return nil, nil, fmt.Errorf("layer %q: input %v has no place for the kernel", l.Name, x)
	}
	taken := min(all, most)
	out = mat.NewDense(shape[0]*taken, l.In, nil)
	taps := c.Taps()
	var wide []float64 // of an x of another type than float32
	if x.DType() != tensor.Float32 {
		if wide, err = tensor.Float64s(x); err != nil {
			return nil, nil, fmt.Errorf("layer %q: input %v: %w", l.Name, x, err)
		}
	}
	offsets := make([]int, taken*taps) // in the plane, of each place of the kernel; −1 outside
	for n := range shape[0] {
		for k := range taken {
			lo, hi := k*all/taken, (k+1)*all/taken
			place := lo + int(scramble(uint64(first+n)<<32|uint64(k))%uint64(hi-lo))
			at = append(at, place)
			c.Offsets(place, places, begin, space, offsets[k*taps:(k+1)*taps])
		}
		some := out.Slice(n*taken, (n+1)*taken, 0, l.In).(*mat.Dense)
		if wide != nil {
			fillPatches(some, wide[n*c.Channels*plane:], plane, offsets, taps)
		} else {
			fillPatches(some, tensor.Data[float32](x)[n*c.Channels*plane:], plane, offsets, taps)
		}
	}
	return out, at, nil
}

// patchChannels is how many channels are copied to all places at a time: what
// is read of a plane lies together, and so does what is written.
const patchChannels = 8

// fillPatches copies what the taps of a kernel see of the planes of a sample v,
// at every place of offsets, to the rows of out.
func fillPatches[T float32 | float64](out *mat.Dense, v []T, plane int, offsets []int, taps int) {
	places, in := out.Dims()
	channels := in / taps
	for from := 0; from < channels; from += patchChannels {
		for k := range places {
			row := out.RawRowView(k)
			for ch := from; ch < min(from+patchChannels, channels); ch++ {
				see := v[ch*plane : (ch+1)*plane]
				for t, o := range offsets[k*taps : (k+1)*taps] {
					if o >= 0 {
						row[ch*taps+t] = float64(see[o])
					}
				}
			}
		}
	}
}

// scramble is a number that looks drawn at random (the finaliser of S. Vigna's
// SplitMix64).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
