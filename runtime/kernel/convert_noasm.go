//go:build !amd64 || noasm

package kernel

// All elements are left to the plain loops.

func dequantizeBlocks[T Byte]([]float32, []T, []float32, []float32) int { return 0 }

func quantizeBlocks[T Byte]([]T, []float32, []float32, []float32) int { return 0 }

func requantizeBlocks[T Byte]([]T, []int32, []float64, float64) int { return 0 }

func truncateBlocks([]int32, []float32, bool) int { return 0 }

func halvesBlocks([]uint16, []float32) int { return 0 }

func fromHalvesBlocks([]float32, []uint16) int { return 0 }

func brainsBlocks([]uint16, []float32) int { return 0 }

func fromBrainsBlocks([]float32, []uint16) int { return 0 }
