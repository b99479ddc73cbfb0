//go:build !amd64 || noasm

package kernel

// All elements are left to the plain loops.

func combineBlocks([]float32, []float32, []int, []float32) int { return 0 }

func (s *Sampling32) blocks([]float32, []float32) int { return 0 }

func pickLanes() int { return 0 }

func (s *Picking32) pickRows(int, int, []uint32, int, []uint32, int) {}

func copyShort(int, int, []byte, int, []byte, int) bool { return false }
