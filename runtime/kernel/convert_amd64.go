//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./convert -out ../convert_amd64.s -stubs ../convert_stubs_amd64.go -pkg kernel"

// byteLoops is the loops on one type of bytes: one factor for all elements, or one for each.
type byteLoops[T Byte] struct {
	dequantize, dequantizeEach func(n int, y []float32, x []T, scale, zero []float32)
	quantize, quantizeEach     func(n int, y []T, x, scale, zero []float32)
	requantize, requantizeEach func(n int, y []T, x []int32, scale []float64, zero float64)
}

// conversions is the loops of a path.
type conversions struct {
	unsigned               byteLoops[uint8]
	signed                 byteLoops[int8]
	truncate, truncateAdd  func(n int, y []int32, x []float32)
	halves, brains         func(n int, y []uint16, x []float32) // halves is nil where the CPU has no instruction
	fromHalves, fromBrains func(n int, y []float32, x []uint16)
}

var (
	avx2Conversions = conversions{
		unsigned: byteLoops[uint8]{dequantizeU8AVX2, dequantizeU8EachAVX2, quantizeU8AVX2, quantizeU8EachAVX2, requantizeU8AVX2, requantizeU8EachAVX2},
		signed:   byteLoops[int8]{dequantizeI8AVX2, dequantizeI8EachAVX2, quantizeI8AVX2, quantizeI8EachAVX2, requantizeI8AVX2, requantizeI8EachAVX2},
		truncate: truncateAVX2, truncateAdd: truncateAddAVX2, halves: toHalvesAVX2, brains: toBrainsAVX2, fromHalves: fromHalvesAVX2, fromBrains: fromBrainsAVX2,
	}
	avx512Conversions = conversions{
		unsigned: byteLoops[uint8]{dequantizeU8AVX512, dequantizeU8EachAVX512, quantizeU8AVX512, quantizeU8EachAVX512, requantizeU8AVX512, requantizeU8EachAVX512},
		signed:   byteLoops[int8]{dequantizeI8AVX512, dequantizeI8EachAVX512, quantizeI8AVX512, quantizeI8EachAVX512, requantizeI8AVX512, requantizeI8EachAVX512},
		truncate: truncateAVX512, truncateAdd: truncateAddAVX512, halves: toHalvesAVX512, brains: toBrainsAVX512, fromHalves: fromHalvesAVX512, fromBrains: fromBrainsAVX512,
	}
)

func init() {
	const f16c = 1 << 29
	if _, _, c, _ := cpuid(1, 0); c&f16c == 0 {
		avx2Conversions.halves, avx2Conversions.fromHalves = nil, nil
	}
}

// blocks is how many of n elements a loop of the path in use does, and its loops; they are nil without any.
func blocks(n int) (int, *conversions) {
	if n &^= 15; n == 0 {
		return 0, nil
	}
	switch active.Load().name {
	case "avx512":
		return n, &avx512Conversions
	case "avx2":
		return n, &avx2Conversions
	}
	return 0, nil
}

// loopsOf is those of c on bytes of a type.
func loopsOf[T Byte](c *conversions) *byteLoops[T] {
	if l, ok := any(&c.unsigned).(*byteLoops[T]); ok {
		return l
	}
	return any(&c.signed).(*byteLoops[T])
}

// dequantizeBlocks and those below run a loop over as many elements as whole blocks have, and return their number.
func dequantizeBlocks[T Byte](y []float32, x []T, scale, zero []float32) int {
	n, c := blocks(len(x))
	switch {
	case n == 0:
	case len(scale) == 1:
		loopsOf[T](c).dequantize(n, y, x, scale, zero)
	default:
		loopsOf[T](c).dequantizeEach(n, y, x, scale, zero)
	}
	return n
}

func quantizeBlocks[T Byte](y []T, x, scale, zero []float32) int {
	n, c := blocks(len(x))
	switch {
	case n == 0:
	case len(scale) == 1:
		loopsOf[T](c).quantize(n, y, x, scale, zero)
	default:
		loopsOf[T](c).quantizeEach(n, y, x, scale, zero)
	}
	return n
}

func requantizeBlocks[T Byte](y []T, x []int32, scale []float64, zero float64) int {
	n, c := blocks(len(x))
	switch {
	case n == 0:
	case len(scale) == 1:
		loopsOf[T](c).requantize(n, y, x, scale, zero)
	default:
		loopsOf[T](c).requantizeEach(n, y, x, scale, zero)
	}
	return n
}

func truncateBlocks(y []int32, x []float32, add bool) int {
	n, c := blocks(len(x))
	switch {
	case n == 0:
	case add:
		c.truncateAdd(n, y, x)
	default:
		c.truncate(n, y, x)
	}
	return n
}

func halvesBlocks(y []uint16, x []float32) int {
	n, c := blocks(len(x))
	if n == 0 || c.halves == nil {
		return 0
	}
	c.halves(n, y, x)
	return n
}

func fromHalvesBlocks(y []float32, x []uint16) int {
	n, c := blocks(len(x))
	if n == 0 || c.fromHalves == nil {
		return 0
	}
	c.fromHalves(n, y, x)
	return n
}

func brainsBlocks(y []uint16, x []float32) int {
	n, c := blocks(len(x))
	if n > 0 {
		c.brains(n, y, x)
	}
	return n
}

func fromBrainsBlocks(y []float32, x []uint16) int {
	n, c := blocks(len(x))
	if n > 0 {
		c.fromBrains(n, y, x)
	}
	return n
}
