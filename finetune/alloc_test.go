//go:build !race

// The race detector makes sync.Pool forget at random what is put into it.

package finetune

import (
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"runtime/debug"
	"testing"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A step allocates nothing, whatever it learns from.
func TestStepsAllocateNothing(t *testing.T) {
	const in, n = 24, 300*32 + 7 // the last batch of an epoch has another size
	teacher := func() *graph.Model { return perceptron(t, in, 32) }
	labelled, bare, numbers := blobs(n, in, 10, 1), blobs(n, in, 10, 1), blobs(n, in, 10, 1)
	bare.labels = nil
	numbers.labels = tensor.New(tensor.Float32, n, 10)
	r := rand.New(rand.NewPCG(1, 2))
	for i, v := 0, tensor.Data[float32](numbers.labels); i < len(v); i++ {
		v[i] = float32(r.NormFloat64())
	}
	student := perceptron(t, in, 64) // another width than the teacher's
	inner := student.Graph.Nodes()[0].Outputs()[0].Name()
	for _, c := range []struct {
		name    string
		hidden  int
		teacher *graph.Model
		data    *rows
		o       Options
	}{
		{"labels", 16, nil, labelled, Options{}},
		{"a wide net", 256, nil, labelled, Options{Smoothing: 0.1, Average: 0.9}},
		{"labels and a teacher", 64, teacher(), labelled, Options{Temperature: 2}},
		{"a teacher and blended rows", 64, teacher(), bare, Options{}},
		{"a teacher alone", 64, teacher(), bare, Options{Mix: -1, Loss: "0.5*kl+0.5*mse"}},
		{"numbers", 64, nil, numbers, Options{}},
		{"layers matched", 64, perceptron(t, in, 64), labelled, Options{Matches: []Match{{inner, inner}}}},
		{"several runs", 64, nil, labelled, Options{Accumulate: 2, Rule: SGD, Nesterov: true}},
		{"gradients clipped", 64, nil, labelled, Options{Clip: 0.1, Rule: Adam}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Batch = 32
			k := newStepper(t, in, c.hidden, c.teacher, c.data, c.o)
			step := func() {
				if err := k.oneStep(); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				step()
			}
			goruntime.GC()
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the kernels' pools of scratch memory
			const steps = 20
			count, bytes := uint64(math.MaxUint64), uint64(0)
			// A goroutine that moves to another processor finds other pools: the least of some times.
			for range 5 {
				step()
				var before, after goruntime.MemStats
				goruntime.ReadMemStats(&before)
				for range steps {
					step()
				}
				goruntime.ReadMemStats(&after)
				if n := after.Mallocs - before.Mallocs; n < count {
					count, bytes = n, after.TotalAlloc-before.TotalAlloc
				}
			}
			if count >= steps {
				t.Errorf("%d steps make %d allocations or more, of %d bytes", steps, count, bytes)
			}
		})
	}
}
