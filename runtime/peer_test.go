package runtime_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// TestPeerTimes times models in this runtime and, in turns, the same files in ONNX Runtime's
// C API, and prints a table of medians. It is a measurement, not a check of speed: what it fails on is
// a result that differs. It takes minutes, so BILINC_BENCH=1 must ask for it, or a regular expression
// of the cells to measure; testdata/bench/run does.
func TestPeerTimes(t *testing.T) {
	which := os.Getenv("BILINC_BENCH")
	if which == "" {
		t.Skip("BILINC_BENCH is not set")
	}
	if which == "1" {
		which = "."
	}
	harness, lib := ortHarness(t)
	version := ""
	var table strings.Builder
	ratios := map[string][]float64{}
	for _, threads := range []int{1, 2} {
		for _, c := range append(peerCells(t), modelCells(t)...) {
			name := fmt.Sprintf("%s M=%d threads=%d", c.name, c.samples, threads)
			if ok, err := matches(which, name); err != nil {
				t.Fatal(err)
			} else if !ok {
				continue
			}
			free := func() {}
			if threads == 1 {
				free = onOneCore(t)
			}
			ours, theirs, ratio, v := c.measure(t, harness, lib, threads)
			free()
			if version = v; v == "" {
				t.Fatalf("ONNX Runtime does not take %s", c.name)
			}
			fmt.Fprintf(&table, "| %s | %d | %d | %s | %s | %.2f |\n", c.name, c.samples, threads, micros(ours), micros(theirs), ratio)
			key := fmt.Sprintf("%s, threads=%d", strings.Fields(c.name)[0], threads)
			ratios[key] = append(ratios[key], math.Log(ratio))
		}
	}
	fmt.Printf("ONNX Runtime %s beside bilinc (%s), µs a run, medians of %d turns; ratio: theirs/ours\n\n", version, kernel.Path(), peerTurns)
	fmt.Printf("| model | M | threads | bilinc | ONNX Runtime | ratio |\n|---|---|---|---|---|---|\n%s\n", table.String())
	keys := make([]string, 0, len(ratios))
	for k := range ratios {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		sum, least := 0.0, math.Inf(1)
		for _, r := range ratios[k] {
			sum += r
			least = min(least, r)
		}
		fmt.Printf("%s: geometric mean %.2f, least %.2f, of %d\n", k, math.Exp(sum/float64(len(ratios[k]))), math.Exp(least), len(ratios[k]))
	}
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Nanoseconds())/1e3) }

// matches tells whether a cell is asked for.
func matches(which, name string) (bool, error) {
	re, err := regexp.Compile(which)
	return err == nil && re.MatchString(name), err
}

// ortHarness compiles testdata/bench/ort.c and finds the library that it opens.
func ortHarness(t *testing.T) (harness, lib string) {
	folder := os.Getenv("BILINC_ORT")
	found, _ := filepath.Glob(filepath.Join(folder, "node_modules/onnxruntime-node/bin/napi-v*/linux/x64/libonnxruntime.so.1"))
	if folder == "" || len(found) == 0 {
		t.Skip("no ONNX Runtime: set BILINC_ORT to the folder with node_modules/onnxruntime-node")
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	harness = filepath.Join(t.TempDir(), "ort")
	if out, err := exec.Command(gcc, "-O2", "-o", harness, "testdata/bench/ort.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return harness, found[0]
}

// peerCell is a model, for so many samples.
type peerCell struct {
	name    string
	model   *graph.Model // or a file
	path    string
	shapes  map[string][]int // of inputs that are not known but for the number of samples
	samples int
	data    map[string][]byte // inputs; what is not here is made up
}

// peerCells are the cells of the table: dense layers; the same as sums of pairs in the form that
// convert writes, two products and no transpose; and three such layers in a row.
func peerCells(t *testing.T) (cells []peerCell) {
	shapes := [][4]int{{32, 32, 32, 32}, {64, 64, 64, 64}, {24, 32, 48, 64}} // n1, n2, m1, m2
	for _, s := range shapes {
		n, m := s[0]*s[1], s[2]*s[3]
		for _, samples := range []int{1, 8, 64, 256} {
			b := newModel(t)
			y := b.node("Gemm", "y", []*graph.Value{b.input("x", tensor.Float32, samples, n),
				b.floats("w", normal(n*m, 1/math.Sqrt(float64(n))), n, m), b.floats("b", normal(m, 1), m)})
			b.outputs(y)
			cells = append(cells, peerCell{name: fmt.Sprintf("dense %d→%d", n, m), model: b.Model, samples: samples})
		}
	}
	for _, s := range shapes {
		for _, terms := range []int{1, 4, 8, 16} {
			for _, samples := range []int{1, 8, 64} {
				b := newModel(t)
				x := b.input("x", tensor.Float32, samples, s[0]*s[1])
				b.outputs(b.pairs("y", x, s, terms))
				cells = append(cells, peerCell{name: fmt.Sprintf("pairs %d→%d R=%d", s[0]*s[1], s[2]*s[3], terms), model: b.Model, samples: samples})
			}
		}
	}
	for _, samples := range []int{1, 8, 64} {
		b := newModel(t)
		v := b.input("x", tensor.Float32, samples, 1024)
		for i := range 3 {
			name := fmt.Sprintf("h%d", i)
			v = b.pairs(name, v, shapes[0], 1)
			if i < 2 {
				v = b.node("Relu", name+".relu", []*graph.Value{v})
			}
		}
		b.outputs(b.node("Identity", "y", []*graph.Value{v}))
		cells = append(cells, peerCell{name: "mlp 3 layers of 1024 R=1", model: b.Model, samples: samples})
	}
	return cells
}

// modelCells are whole models: the shipped ones, those of BILINC_TEST_MODELS and of BILINC_OCR.
func modelCells(t *testing.T) (cells []peerCell) {
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "models", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if folder := os.Getenv("BILINC_TEST_MODELS"); folder != "" {
		more, err := filepath.Glob(filepath.Join(folder, "*.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range more {
			if !slices.ContainsFunc(paths, func(p string) bool { return filepath.Base(p) == filepath.Base(path) }) {
				paths = append(paths, path)
			}
		}
	}
	for _, samples := range []int{1, 32} {
		for _, path := range paths {
			name := "model " + strings.TrimSuffix(filepath.Base(path), ".onnx")
			cells = append(cells, peerCell{name: name, path: path, samples: samples})
		}
		for _, m := range []struct {
			name, file    string
			height, width int
		}{
			{"recogniser", "ch_PP-OCRv4_rec_infer", 48, 320},
			{"detector", "ch_PP-OCRv4_det_infer", 320, 320},
			{"classifier", "ch_ppocr_mobile_v2.0_cls_infer", 48, 192},
		} {
			path := filepath.Join(os.Getenv("BILINC_OCR"), "node_modules", "@gutenye", "ocr-models", "assets", m.file+".onnx")
			if _, err := os.Stat(path); err == nil {
				cells = append(cells, peerCell{name: "model PP-OCRv4 " + m.name, path: path, samples: samples,
					shapes: map[string][]int{"x": {samples, 3, m.height, m.width}}})
			}
		}
	}
	return cells
}

// pairs adds a layer of n1·n2 → m1·m2 as a sum of terms pairs, B first.
func (b *modelBuilder) pairs(name string, x *graph.Value, s [4]int, terms int) *graph.Value {
	n1, n2, m1, m2 := s[0], s[1], s[2], s[3]
	reshape := func(part string, v *graph.Value, shape ...int64) *graph.Value {
		return b.node("Reshape", name+part, []*graph.Value{v, b.ints(name+part+".shape", shape...)})
	}
	t := reshape(".in", x, -1, int64(n2))
	t = b.node("MatMul", name+".right", []*graph.Value{t, b.floats(name+".B", normal(n2*terms*m2, 1/math.Sqrt(float64(n2))), n2, terms*m2)})
	t = reshape(".turn", t, -1, int64(n1*terms), int64(m2))
	t = b.node("MatMul", name+".left", []*graph.Value{b.floats(name+".A", normal(m1*n1*terms, 1/math.Sqrt(float64(n1*terms))), m1, n1*terms), t})
	t = reshape(".out", t, -1, int64(m1*m2))
	return b.node("Add", name, []*graph.Value{t, b.floats(name+".b", normal(m1*m2, 1), m1*m2)})
}

// normal is n numbers of about the given size, always the same.
func normal(n int, size float64) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64() * size)
	}
	return s
}

// peerTurns is how often each side is measured, if that takes no longer than peerTime.
const (
	peerTurns = 11
	peerTime  = 3 * time.Second
)

// inputs is the data, or what the harness makes up too.
func (c *peerCell) inputs(t *testing.T, p *runtime.Program) []tensor.Value {
	t.Helper()
	var in []tensor.Value
	for _, port := range p.Inputs() {
		shape := slices.Clone(c.shapes[port.Name])
		if shape == nil {
			for _, d := range port.Type.Shape {
				n, known := d.Const()
				if !known {
					n = c.samples
				}
				shape = append(shape, n)
			}
		}
		if data, ok := c.data[port.Name]; ok {
			x, err := tensor.FromBytes(port.Type.DType, shape, data)
			if err != nil {
				t.Fatalf("%s: %v", port.Name, err)
			}
			in = append(in, tensor.ValueOf(x))
			continue
		}
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(i*7%13)/13 - 0.5
		}
		in = append(in, tensor.ValueOf(x))
	}
	return in
}

// dimsOf is a shape as the harness takes it.
func dimsOf(t *tensor.Tensor) string {
	s := make([]string, t.Rank())
	for i, n := range t.Shape() {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, ",")
}

// measure takes turns with ONNX Runtime: the medians of a run of each, and of theirs/ours. version is empty where
// that does not take the model, and says why on the standard error.
func (c *peerCell) measure(t *testing.T, harness, lib string, threads int) (ours, theirs time.Duration, ratio float64, version string) {
	t.Helper()
	path := c.path
	if path == "" {
		path = filepath.Join(t.TempDir(), "model.onnx")
		if err := onnx.Write(c.model, path, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	model, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	program, err := runtime.Compile(model, runtime.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	in := c.inputs(t, program)
	out, err := program.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	y := out[0].Tensor
	run := func(n int) time.Duration {
		start := time.Now()
		for range n {
			if err := program.RunInto(context.Background(), in, out); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(start)
	}

	args := []string{lib, path, strconv.Itoa(threads)}
	for i, port := range program.Inputs() {
		args = append(args, fmt.Sprintf("i%d:%s:%s", in[i].Tensor.DType(), port.Name, dimsOf(in[i].Tensor)))
		if data, ok := c.data[port.Name]; ok {
			file := filepath.Join(t.TempDir(), "input")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "d:"+file)
		}
	}
	for i, port := range program.Outputs() {
		args = append(args, fmt.Sprintf("o%d:%s:%s", out[i].Tensor.DType(), port.Name, dimsOf(out[i].Tensor)))
	}
	peer := exec.Command(harness, args...)
	peer.Stderr = os.Stderr
	stdin, err := peer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := peer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(stdin.Close(), peer.Wait()); err != nil && version != "" {
			t.Errorf("the harness: %v", err)
		}
	}()
	lines := bufio.NewReaderSize(stdout, 1<<20)
	line := func() string {
		s, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the harness: %v", err)
		}
		return strings.TrimSpace(s)
	}
	if version, err = lines.ReadString('\n'); err != nil {
		return 0, 0, 0, ""
	}
	version = strings.TrimSpace(version)
	ask := func(n int) time.Duration {
		fmt.Fprintln(stdin, n)
		ns, err := strconv.ParseInt(line(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ns)
	}

	debug.FreeOSMemory() // or it happens during the turns
	// As many runs as take some milliseconds, by the quickest of those of a warm-up.
	count := func(run func(int) time.Duration) int {
		least := time.Hour
		for n, start := 1, time.Now(); time.Since(start) < 30*time.Millisecond; n = min(2*n, 100) {
			least = min(least, run(n)/time.Duration(n))
		}
		return max(1, int(8*time.Millisecond/max(1, least)))
	}
	nOurs, nTheirs := count(run), count(ask)
	var a, b []time.Duration
	var r []float64
	for start := time.Now(); len(a) < peerTurns && (len(a) < 3 || time.Since(start) < peerTime); {
		if threads > 1 {
			time.Sleep(40 * time.Millisecond) // their threads look for work for 30 ms, on the core that we are to have
		}
		// Warm, both: the other side's turn emptied the caches, and for 5 ms after a process has been
		// woken Go's monitor looks after it so often that on a virtual machine it takes half of a core.
		run(nOurs)
		o := run(nOurs) / time.Duration(nOurs)
		ask(nTheirs)
		p := ask(nTheirs) / time.Duration(nTheirs)
		a, b, r = append(a, o), append(b, p), append(r, float64(p)/float64(o))
	}
	slices.Sort(a)
	slices.Sort(b)
	slices.Sort(r)

	file := filepath.Join(t.TempDir(), "y")
	fmt.Fprintln(stdin, "y", file)
	line()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tensor.FromBytes(y.DType(), y.Shape(), data)
	if err != nil {
		t.Fatal(err)
	}
	c.compare(t, y, want)
	return a[len(a)/2], b[len(b)/2], r[len(r)/2], version
}

// compare fails where an element is another than ONNX Runtime's.
func (c *peerCell) compare(t *testing.T, y, theirs *tensor.Tensor) {
	t.Helper()
	got, err := tensor.Float64s(y)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tensor.Float64s(theirs)
	if err != nil {
		t.Fatal(err)
	}
	tolerance := 1e-4
	if y.DType().Bits() == 16 {
		tolerance = 1e-2 // half a unit in the last place of bfloat16
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= tolerance*(1+math.Abs(want[i]))) {
			t.Fatalf("%s: y[%d] is %v, ONNX Runtime's %v", c.name, i, got[i], want[i])
		}
	}
}
