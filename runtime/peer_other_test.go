//go:build !linux

package runtime_test

import "testing"

// onOneCore does nothing: threads are not told where to run.
func onOneCore(*testing.T) (end func()) { return func() {} }
