//go:build unix && !aix && !linux

package file

// withPages is nothing: not all of these systems have it.
const withPages = 0
