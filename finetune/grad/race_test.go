//go:build race

package grad

// The race detector makes sync.Pool forget at random, which allocates.
const raceEnabled = true
