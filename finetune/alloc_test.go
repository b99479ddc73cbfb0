//go:build !race

// The race detector makes sync.Pool forget at random what is put into it.

package finetune

import (
	goruntime "runtime"
	"testing"
)

// A step makes few allocations, all of them small: what they take does not
// grow with the model.
func TestStepsAllocateLittle(t *testing.T) {
	for _, width := range []int{16, 256} {
		k := stepTrainer(t, 32, width, 64*32+7, 32)
		step := func() {
			if err := k.oneStep(); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			step()
		}
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		const steps = 20 // of one epoch: the last batch of one has another size
		for range steps {
			step()
		}
		goruntime.ReadMemStats(&after)
		count, bytes := (after.Mallocs-before.Mallocs)/steps, (after.TotalAlloc-before.TotalAlloc)/steps
		t.Logf("width %d: %d allocations of %d bytes in all", width, count, bytes)
		if count > 80 || bytes > 8<<10 {
			t.Errorf("width %d: a step makes %d allocations of %d bytes in all", width, count, bytes)
		}
	}
}
