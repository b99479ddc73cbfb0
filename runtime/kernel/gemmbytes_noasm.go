//go:build !amd64 || noasm

package kernel

// There are no kernels for products of bytes.
func byteKernels() []byteTile { return nil }

func byteRow(int, *uint8, *uint8, *int32, uint64) {}

func bytePanel(int, *uint8, *int, *int8, *int32, uint64, uint64) {}
