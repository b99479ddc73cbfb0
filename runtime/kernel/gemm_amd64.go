//go:build !noasm

package kernel

func cpuPaths() []*path { return nil }
