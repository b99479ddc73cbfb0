//go:build (!amd64 && !arm64) || noasm

package kernel

// cpuPaths has nothing to add to the portable path.
func cpuPaths() []*path { return nil }
