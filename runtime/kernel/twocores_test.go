package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestTwoCores times operations on one thread and, in turns, on two, first with two cores for them,
// then while another process keeps the second one busy. What two goroutines reach that do an operation
// each, with nothing to share, is what the machine has to give. It is a measurement, not a check: what it
// fails on is nothing. It takes half a minute, so BILINC_BENCH=1 must ask for it, or a regular expression
// of the operations to measure.
func TestTwoCores(t *testing.T) {
	which := os.Getenv("BILINC_BENCH")
	if which == "" {
		t.Skip("BILINC_BENCH is not set")
	}
	if which == "1" {
		which = "."
	}
	wanted, err := regexp.Compile(which)
	if err != nil {
		t.Fatal(err)
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		t.Skip("no taskset to keep a core busy with")
	}
	fmt.Printf("| operation (%s) | one thread, µs | two | ratio | two apart | other core busy |\n|---|---|---|---|---|---|\n", Path())
	others := sharedOperations()
	for i, o := range sharedOperations() {
		if !wanted.MatchString(o.name) {
			continue
		}
		one, two, ratio := inTurns(o.run)
		both := apart(o.run, others[i].run)
		hog := exec.Command(taskset, "-c", "1", "sh", "-c", "while :; do :; done")
		if err := hog.Start(); err != nil {
			t.Fatal(err)
		}
		_, _, busy := inTurns(o.run)
		if err := hog.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = hog.Wait() // killed: its status says so
		fmt.Printf("| %s | %.0f | %.0f | %.2f | %.2f | %.2f |\n", o.name, one, two, ratio, both, busy)
	}
}

// inTurns returns microseconds of run on one thread and on two, and the median of their ratio.
func inTurns(run func(p *Pool)) (one, two, ratio float64) {
	pools := [2]*Pool{NewPool(1), NewPool(2)}
	var times [2][]float64
	var ratios []float64
	for range 9 {
		for i, p := range pools {
			times[i] = append(times[i], timeOf(run, p))
		}
		k := len(times[0]) - 1
		ratios = append(ratios, times[0][k]/times[1][k])
	}
	for _, s := range [][]float64{times[0], times[1], ratios} {
		slices.Sort(s)
	}
	return times[0][4], times[1][4], ratios[4]
}

// timeOf is microseconds of run, the median of as many as fit into 60 milliseconds: a timer's interrupt may take
// as long as a short run.
func timeOf(run func(p *Pool), p *Pool) float64 {
	var times []float64
	for start := time.Now(); time.Since(start) < 60*time.Millisecond; {
		began := time.Now()
		run(p)
		times = append(times, time.Since(began).Seconds()*1e6)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// apart is how much two goroutines do that run a and b, which are the same with memory of their own, on one
// thread each, in the time that one does alone: a median.
func apart(a, b func(p *Pool)) float64 {
	var ratios []float64
	for range 5 {
		alone, first, second := timeOf(a, nil), 0.0, 0.0
		var wg sync.WaitGroup
		wg.Go(func() { first = timeOf(a, nil) })
		wg.Go(func() { second = timeOf(b, nil) })
		wg.Wait()
		ratios = append(ratios, alone/first+alone/second)
	}
	slices.Sort(ratios)
	return ratios[2]
}

type sharedOperation struct {
	name string
	run  func(p *Pool)
}

// sharedOperations take 150 µs or more on one core.
func sharedOperations() (list []sharedOperation) {
	r := rand.New(rand.NewPCG(1, 2))
	add := func(name string, run func(p *Pool)) { list = append(list, sharedOperation{name, run}) }
	for _, s := range [][3]int{{1, 1024, 4096}, {16, 1024, 1024}, {64, 512, 512}, {64, 1024, 1024}, {256, 1024, 1024}} {
		m, k, n := s[0], s[1], s[2]
		w, x, y := Pack32(k, n, random[float32](r, k*n), n, 1), random[float32](r, m*k), make([]float32, m*n)
		add(fmt.Sprintf("dense %d→%d, M=%d", k, n, m), func(p *Pool) { GemmFused32(p, m, x, k, 1, w, y, n, Epilogue32{}) })
	}
	{
		a, b, c := random[float32](r, 512*512), random[float32](r, 512*512), make([]float32, 512*512)
		add("matrices 512×512×512", func(p *Pool) { Gemm32(p, 512, 512, 512, a, 512, 1, b, 512, 1, c, 512, false) })
	}
	for _, s := range []struct {
		bilinearShape
		samples int
	}{{bilinearShape{32, 32, 32, 32, 4}, 64}, {bilinearShape{24, 32, 48, 64, 4}, 64}, {bilinearShape{64, 64, 64, 64, 4}, 8}, {bilinearShape{64, 64, 64, 64, 16}, 8}} {
		w := newFiles(r, s.bilinearShape).pack(true)
		n, m := w.Dims()
		x, y := random[float32](r, s.samples*n), make([]float32, s.samples*m)
		add(fmt.Sprintf("pairs %d→%d R=%d, M=%d", n, m, s.bilinearShape[4], s.samples), func(p *Pool) { w.Mul(p, s.samples, x, n, y, m, Epilogue32{}) })
	}
	for _, c := range []struct {
		name string
		Conv
	}{
		{"convolution 1×1, 48→48, 160×160", convCase(1, 1, 48, 48, 160, 160, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)},
		{"convolution 3×3 by channel, 48, 160×160", convCase(1, 48, 1, 1, 160, 160, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)},
		{"convolution 3×3, 96→24, 80×80", convCase(1, 1, 96, 24, 80, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)},
	} {
		s := c.Conv
		x, w := random[float32](r, s.Groups*s.C*s.H*s.W), random[float32](r, s.Groups*s.M*s.C*s.KH*s.KW)
		y := make([]float32, s.Groups*s.M*s.OH*s.OW)
		add(c.name, func(p *Pool) { Conv32(p, s, y, x, w, nil, Relu, 0, 0) })
	}
	x, y := random[float32](r, 1<<20), make([]float32, 1<<20)
	add("GELU, 1M elements", func(p *Pool) { Unary32(p, Gelu, y, x, 0, 0) })
	add("softmax, 4096×256", func(p *Pool) { Softmax32(p, 4096, 256, y, 256, x, 256) })
	add("sum, 1M elements", func(p *Pool) { Zip32(p, Plus, 1, 1<<20, y, 1<<20, x, 1<<20, 1, x, 1<<20, 1) })
	add("copy, 1M elements", func(p *Pool) { p.For(1<<20, 1<<15, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) }) })
	return list
}
