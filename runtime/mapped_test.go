//go:build linux

package runtime_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// wideFile writes a chain of layers of float32 [width width], and another kind
// of reader of weights where gather is set, into a file.
func wideFile(t *testing.T, width, layers int, gather bool) string {
	t.Helper()
	b := newModel(t)
	v := b.input("x", tensor.Float32, "N", width)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range layers {
		w := tensor.New(tensor.Float32, width, width)
		for k, x := 0, tensor.Data[float32](w); k < len(x); k++ {
			x[k] = rng.Float32() - 0.5
		}
		// Names of every length: hardly any weight is aligned in the file.
		name := fmt.Sprint(strings.Repeat("w", 1+2*i), i)
		v = b.node("Relu", "r"+name, vals(b.node("MatMul", "m"+name, vals(v, b.g.NewConst(name, w)))))
		if gather {
			v = b.node("Add", "a"+name, vals(v, b.node("Gather", "g"+name, vals(b.g.Value(name), b.input("i"+name, tensor.Int64, 1)))))
		}
	}
	b.outputs(v)
	path := filepath.Join(t.TempDir(), "wide.onnx")
	if err := onnx.Write(b.Model, path, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) *graph.Model {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := onnx.Unmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A mapped model gives the bits of one that was read.
func TestMappedModel(t *testing.T) {
	path := wideFile(t, 300, 3, false)
	m := read(t, path)
	copied, err := onnx.ReadCopy(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Graph.Consts() {
		if !file.IsMapped(v.Init().Bytes()) {
			t.Errorf("%v is not mapped", v)
		}
		if c := copied.Graph.Value(v.Name()).Init(); file.IsMapped(c.Bytes()) || !tensor.Equal(c, v.Init()) {
			t.Errorf("%v differs from its copy, or is one with it", v)
		}
	}
	in := noise(1, 5, 300)
	sameLowered(t, m, exact, in)
	want, err := compileModel(t, copied, 1).Run(context.Background(), []tensor.Value{in})
	if err != nil {
		t.Fatal(err)
	}
	check(t, compileModel(t, m, 1), []tensor.Value{in}, want)
}

func compileModel(t *testing.T, m *graph.Model, threads int) *runtime.Program {
	t.Helper()
	p, err := runtime.Compile(m, runtime.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A file that is cut short before a weight is packed, between runs of nodes that
// read it each time, or by a few bytes of its last page, gives an error.
func TestFileCutShort(t *testing.T) {
	cut := func(t *testing.T, path string, to int64, run func() error) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if to < 0 {
			to += info.Size()
		}
		if err := os.Truncate(path, to); err != nil {
			t.Fatal(err)
		}
		var e *file.CutError
		if err := run(); !errors.As(err, &e) || e.Path != path || e.Now != to || e.Was != info.Size() {
			t.Errorf("cut to %d bytes: %v", to, err)
		}
	}
	index := tensor.ValueOf(tensor.Of([]int64{1}, 1))
	for _, threads := range []int{1, 2} {
		for _, to := range []int64{0, 5000, -3} {
			in := noise(1, 600, 400)
			path := wideFile(t, 400, 2, false)
			p := compileModel(t, read(t, path), threads)
			cut(t, path, to, func() error {
				_, err := p.Run(context.Background(), []tensor.Value{in})
				return err
			})

			path = wideFile(t, 400, 2, true)
			p = compileModel(t, read(t, path), threads)
			args := []tensor.Value{in, index, index}
			if _, err := p.Run(context.Background(), args); err != nil {
				t.Fatal(err)
			}
			cut(t, path, to, func() error {
				_, err := p.Run(context.Background(), args)
				return err
			})

			path = wideFile(t, 400, 2, false)
			m := read(t, path)
			cut(t, path, to, func() error {
				_, err := runtime.Compile(m, runtime.Options{})
				return err
			})
		}
	}
}

// A large weight that is packed is read from the file in parts.
func TestFileCutShortInLargeWeight(t *testing.T) {
	path := wideFile(t, 2100, 1, false)
	p := compileModel(t, read(t, path), 1)
	if err := os.Truncate(path, 9<<20); err != nil {
		t.Fatal(err)
	}
	var e *file.CutError
	if _, err := p.Run(context.Background(), []tensor.Value{noise(1, 20, 2100)}); !errors.As(err, &e) || e.Now != 9<<20 {
		t.Errorf("%v", err)
	}
}

// Helpers of the pool read the file too: products with a weight that is not
// packed, since it is the left factor.
func TestFileCutShortUnderHelpers(t *testing.T) {
	b := newModel(t)
	w := tensor.New(tensor.Float32, 3000, 800)
	b.outputs(b.node("MatMul", "y", vals(b.g.NewConst("w", w), b.input("x", tensor.Float32, 800, "N"))))
	path := filepath.Join(t.TempDir(), "left.onnx")
	if err := onnx.Write(b.Model, path, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	p := compileModel(t, read(t, path), 2)
	in := []tensor.Value{noise(1, 800, 64)}
	if _, err := p.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4<<20); err != nil { // half of the rows are still there
		t.Fatal(err)
	}
	for range 20 {
		var e *file.CutError
		if _, err := p.Run(context.Background(), in); !errors.As(err, &e) {
			t.Fatal(err)
		}
	}
}

// Weights stay in the file until they are packed, and their pages go then.
func TestMemoryOfMappedModel(t *testing.T) {
	path := wideFile(t, 1700, 6, false)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory() // what writing the file took
	before := rss(t)
	m := read(t, path)
	p := compileModel(t, m, 1)
	share := func() float64 { return float64(rss(t)-before) / float64(info.Size()) }
	if s := share(); s > 0.3 { // the pages around those with names come along
		t.Errorf("after Compile the process has taken %.2f times the file", s)
	}
	if _, err := p.Run(context.Background(), []tensor.Value{noise(1, 1, 1700)}); err != nil {
		t.Fatal(err)
	}
	if s := share(); s > 1.3 || s < 0.9 {
		t.Errorf("after the first run the process has taken %.2f times the file, wanted about 1", s)
	}
}

// rss is the bytes of memory that the process has.
func rss(t *testing.T) int { return inStatus(t, "VmRSS") }

// inStatus is a number of bytes that the system says of the process.
func inStatus(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kb int
		if _, err := fmt.Sscanf(s.Text(), name+": %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	t.Skip("no " + name)
	return 0
}
