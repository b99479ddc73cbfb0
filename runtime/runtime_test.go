package runtime_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

func compile(t *testing.T, b *modelBuilder, o runtime.Options) *runtime.Program {
	t.Helper()
	p, err := runtime.Compile(b.Model, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check runs p and compares the outputs exactly.
func check(t *testing.T, p *runtime.Program, in, want []tensor.Value) {
	t.Helper()
	got, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := sameValue(got[i], want[i], 0, 0); err != nil {
			t.Errorf("output %q: %v", p.Outputs()[i].Name, err)
		}
	}
}

// mlp is x[N 2] → Gemm → Reshape(−1, 3) → + b → y, with the shape in between.
func mlp(t *testing.T) (*modelBuilder, *graph.Value) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 2)
	w := b.floats("w", []float32{1, 0, 1, 0, 1, 1}, 2, 3)
	h := b.node("MatMul", "h", vals(x, w))
	r := b.node("Reshape", "r", vals(h, b.ints("shape", -1, 3)))
	y := b.node("Add", "y", vals(r, b.floats("bias", []float32{10, 20, 30}, 3)))
	b.outputs(y)
	return b, h
}

func TestRun(t *testing.T) {
	b, h := mlp(t)
	x := floatsOf([]float32{1, 2, 3, 4}, 2, 2)
	y := floatsOf([]float32{11, 22, 33, 13, 24, 37}, 2, 3)
	p := compile(t, b, runtime.Options{})
	check(t, p, []tensor.Value{x}, []tensor.Value{y})
	check(t, p, []tensor.Value{floatsOf([]float32{1, 2}, 1, 2)}, []tensor.Value{floatsOf([]float32{11, 22, 33}, 1, 3)})
	check(t, p, []tensor.Value{x}, []tensor.Value{y})
	if got := p.Outputs()[0].Type.String(); got != "float32[N 3]" {
		t.Errorf("output type is %s", got)
	}
	// The values in between, and one output twice.
	p = compile(t, b, runtime.Options{Outputs: []*graph.Value{h, b.g.Outputs[0], h}})
	hWant := floatsOf([]float32{1, 2, 3, 3, 4, 7}, 2, 3)
	check(t, p, []tensor.Value{x}, []tensor.Value{hWant, y, hWant})
}

// The program does not see later edits of the model.
func TestModelIsCopied(t *testing.T) {
	b, _ := mlp(t)
	p := compile(t, b, runtime.Options{})
	b.g.Value("bias").SetConst(tensor.Of([]float32{0, 0, 0}, 3))
	check(t, p, []tensor.Value{floatsOf([]float32{1, 2}, 1, 2)}, []tensor.Value{floatsOf([]float32{11, 22, 33}, 1, 3)})
}

// What the caller gets must stay as it is when the program runs again.
func TestResultsAreTheCallers(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, 2, 2)
	c := b.floats("c", []float32{5}, 1)
	sum := b.node("Add", "sum", vals(x, c))
	view := b.node("Flatten", "view", vals(sum), intAttr("axis", 0))
	same := b.node("Flatten", "same", vals(x), intAttr("axis", 0))
	b.outputs(sum, view, same, c, x)
	p := compile(t, b, runtime.Options{})
	in := []tensor.Value{f32(2, 2)}
	first, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := []tensor.Value{floatsOf([]float32{6, 7, 8, 9}, 2, 2), floatsOf([]float32{6, 7, 8, 9}, 1, 4),
		floatsOf([]float32{1, 2, 3, 4}, 1, 4), floatsOf([]float32{5}, 1), f32(2, 2)}
	for range 2 {
		for i := range want {
			if err := sameValue(first[i], want[i], 0, 0); err != nil {
				t.Errorf("output %d: %v", i, err)
			}
		}
		tensor.Data[float32](in[0].Tensor)[0] = 100
		if _, err := p.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	for i := range first {
		x := tensor.Data[float32](first[i].Tensor)
		for k := range x {
			x[k] = -1
		}
	}
	check(t, p, []tensor.Value{f32(2, 2)}, want)
}

func TestRunInto(t *testing.T) {
	b, h := mlp(t)
	p := compile(t, b, runtime.Options{Threads: 1, Outputs: []*graph.Value{b.g.Outputs[0], h}})
	in := []tensor.Value{floatsOf([]float32{1, 2, 3, 4}, 2, 2)}
	out := []tensor.Value{tensor.ValueOf(tensor.New(tensor.Float32, 2, 3)), tensor.ValueOf(tensor.New(tensor.Float32, 2, 3))}
	y, hOut := out[0].Tensor, out[1].Tensor
	run := func() {
		if err := p.RunInto(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if out[0].Tensor != y || out[1].Tensor != hOut {
		t.Error("the results are not in the memory given")
	}
	if err := sameTensor(y, tensor.Of([]float32{11, 22, 33, 13, 24, 37}, 2, 3), 0, 0); err != nil {
		t.Error(err)
	}
	if err := sameTensor(hOut, tensor.Of([]float32{1, 2, 3, 3, 4, 7}, 2, 3), 0, 0); err != nil {
		t.Error(err)
	}
	for _, bad := range []*tensor.Tensor{tensor.New(tensor.Float32, 3, 2), tensor.New(tensor.Float64, 2, 3)} {
		err := p.RunInto(context.Background(), in, []tensor.Value{{}, tensor.ValueOf(bad)})
		if want := `output "h" is float32[2 3], found memory of ` + bad.String(); err == nil || err.Error() != want {
			t.Errorf("error is %v, wanted %s", err, want)
		}
	}
	if err := p.RunInto(context.Background(), in, out[:1]); err == nil {
		t.Error("one of two outputs was accepted")
	}
}

// Shapes that depend on contents of the inputs are found in the run.
func TestDataDependentShape(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 4)
	shape := b.input("shape", tensor.Int64, 2)
	r := b.node("Reshape", "r", vals(x, shape))
	y := b.node("Add", "y", vals(r, r))
	s := b.node("Shape", "s", vals(y))
	b.outputs(y, s)
	p := compile(t, b, runtime.Options{})
	for _, c := range []struct{ shape, want []int64 }{{[]int64{2, 4}, []int64{2, 4}}, {[]int64{-1, 1}, []int64{8, 1}}, {[]int64{4, 0}, nil}} {
		in := []tensor.Value{f32(2, 4), tensor.ValueOf(tensor.Of(c.shape, 2))}
		got, err := p.Run(context.Background(), in)
		if c.want == nil {
			if err == nil || !strings.Contains(err.Error(), `node "r" (Reshape)`) {
				t.Errorf("error is %v, wanted one that names the node", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := sameTensor(got[1].Tensor, tensor.Of(c.want, 2), 0, 0); err != nil {
			t.Error(err)
		}
		if v := tensor.Data[float32](got[0].Tensor)[7]; v != 16 {
			t.Errorf("last element is %g, wanted 16", v)
		}
	}
}

// An initializer that is an input too is its default, which a run can replace.
func TestOptionalInput(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, 2)
	scale := b.input("scale", tensor.Float32, "K")
	scale.SetConst(tensor.Of([]float32{10}, 1))
	b.outputs(b.node("Mul", "y", vals(x, scale)))
	p := compile(t, b, runtime.Options{})
	if in := p.Inputs(); in[0].Optional || !in[1].Optional {
		t.Errorf("optional inputs are %v, %v", in[0].Optional, in[1].Optional)
	}
	ten := []tensor.Value{floatsOf([]float32{10, 20}, 2)}
	check(t, p, []tensor.Value{f32(2)}, ten)
	check(t, p, []tensor.Value{f32(2), {}}, ten)
	check(t, p, []tensor.Value{f32(2), floatsOf([]float32{2, 3}, 2)}, []tensor.Value{floatsOf([]float32{2, 6}, 2)})
	check(t, p, []tensor.Value{f32(2)}, ten)
}

func TestInputErrors(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 3)
	m := b.input("mask", tensor.Float32, "N", 1)
	b.outputs(b.node("Mul", "y", vals(x, m)))
	p := compile(t, b, runtime.Options{})
	ok := f32(2, 1)
	for _, c := range []struct {
		in   []tensor.Value
		want string
	}{
		{[]tensor.Value{f32(2, 3)}, `input "mask": found nothing, wanted float32[N 1]`},
		{[]tensor.Value{{}, ok}, `input "x": found nothing, wanted float32[N 3]`},
		{[]tensor.Value{f32(2, 4), ok}, `input "x": found float32[2 4], wanted float32[N 3]`},
		{[]tensor.Value{f32(6), ok}, `input "x": found float32[6], wanted float32[N 3]`},
		{[]tensor.Value{tensor.ValueOf(tensor.New(tensor.Int64, 2, 3)), ok}, `input "x": found int64[2 3], wanted float32[N 3]`},
		{[]tensor.Value{{Kind: tensor.KindSequence}, ok}, `input "x": found sequence(), wanted float32[N 3]`},
		{[]tensor.Value{{Kind: tensor.KindTensor}, ok}, `input "x": found a tensor without contents, wanted float32[N 3]`},
		{[]tensor.Value{f32(3, 3), ok}, `input "mask": found float32[2 1], wanted float32[N 1] with N = 3, as axis 0 of "x" is`},
		{[]tensor.Value{f32(2, 3), ok, ok}, `found 3 inputs, wanted 2`},
	} {
		_, err := p.Run(context.Background(), c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("error is %v\nwanted %s", err, c.want)
		}
		var bad *runtime.InputError
		if len(c.in) < 3 && !errors.As(err, &bad) {
			t.Errorf("%v is no InputError", err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, 2)
	a := b.node("Frobnicate", "a", vals(x))
	c := b.node("Frobnicate", "c", vals(a))
	d := b.node("Blur", "d", vals(c))
	dead := b.node("Unwanted", "dead", vals(x))
	ok := b.node("Add", "ok", vals(x, x))
	b.outputs(d, ok)
	_, err := runtime.Compile(b.Model, runtime.Options{})
	var missing *runtime.UnsupportedError
	if !errors.As(err, &missing) || len(missing.Nodes) != 3 {
		t.Fatalf("error is %v", err)
	}
	if want := `node "a" (Frobnicate): operator Frobnicate is not implemented (2 nodes); ` +
		`node "d" (Blur): operator Blur is not implemented`; err.Error() != want {
		t.Errorf("error is %v\nwanted %s", err, want)
	}
	var u *op.Unsupported
	if !errors.As(err, &u) || errors.Is(err, runtime.ErrInvalid) {
		t.Errorf("%v does not wrap op.Unsupported alone", err)
	}
	// Nodes that the wanted outputs do not need do not count.
	p := compile(t, b, runtime.Options{Outputs: []*graph.Value{ok}})
	check(t, p, []tensor.Value{f32(2)}, []tensor.Value{floatsOf([]float32{2, 4}, 2)})
	if _, err := runtime.Compile(b.Model, runtime.Options{Outputs: []*graph.Value{dead}}); err == nil {
		t.Error("an output that cannot be computed was accepted")
	}
}

func TestInvalid(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N", 2)
	b.outputs(b.node("MatMul", "y", vals(x, b.floats("w", make([]float32, 6), 3, 2))))
	_, err := runtime.Compile(b.Model, runtime.Options{})
	if !errors.Is(err, runtime.ErrInvalid) || !strings.Contains(err.Error(), `node "y" (MatMul)`) {
		t.Errorf("error is %v", err)
	}
	other, h := mlp(t)
	_, err = runtime.Compile(other.Clone(), runtime.Options{Outputs: []*graph.Value{h}})
	if want := `wanted output "h" is no value of the model's graph`; err == nil || err.Error() != want {
		t.Errorf("error is %v, wanted %s", err, want)
	}
}

func TestErrorsOfARun(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N")
	i := b.input("i", tensor.Int64, "M")
	b.outputs(b.node("Gather", "y", vals(x, i)))
	p := compile(t, b, runtime.Options{})
	in := []tensor.Value{f32(3), tensor.ValueOf(tensor.Of([]int64{7}, 1))}
	if _, err := p.Run(context.Background(), in); err == nil || !strings.Contains(err.Error(), `node "y" (Gather)`) {
		t.Errorf("error is %v, wanted one that names the node", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	in[1] = tensor.ValueOf(tensor.Of([]int64{1}, 1))
	if _, err := p.Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, wanted context.Canceled", err)
	}
	check(t, p, in, []tensor.Value{floatsOf([]float32{2}, 1)})
}

// Shapes that do not fit each other are found before anything is computed.
func TestShapesOfARun(t *testing.T) {
	b := newModel(t)
	x, y := b.input("x", tensor.Float32, "A"), b.input("y", tensor.Float32, "B")
	b.outputs(b.node("Add", "z", vals(x, y)))
	p := compile(t, b, runtime.Options{})
	_, err := p.Run(context.Background(), []tensor.Value{f32(2), f32(3)})
	if err == nil || !strings.Contains(err.Error(), `node "z" (Add)`) || !strings.Contains(err.Error(), "[2]") {
		t.Errorf("error is %v", err)
	}
}

// Runs at the same time, of the same and of other shapes, keep apart; more
// shapes than plans are kept go round.
func TestConcurrentRuns(t *testing.T) {
	b, _ := mlp(t)
	p := compile(t, b, runtime.Options{Threads: 2})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				n := (i*(g+1))%40 + 1
				got, err := p.Run(context.Background(), []tensor.Value{f32(n, 2)})
				if err != nil {
					t.Error(err)
					return
				}
				y := tensor.Data[float32](got[0].Tensor)
				if want := float32(2*n-1) + float32(2*n) + 30; y[3*n-1] != want {
					t.Errorf("last of %d rows is %g, wanted %g", n, y[3*n-1], want)
				}
			}
		})
	}
	wg.Wait()
}

// A long chain reuses memory: every value is right although many shared it.
func TestBuffersAreReused(t *testing.T) {
	b := newModel(t)
	x := b.input("x", tensor.Float32, "N")
	v, kept := x, x
	want := float32(1)
	names := "abcdefghijklmnopqrstuvw"
	for i := range names {
		v = b.node("Add", names[i:i+1], vals(v, kept))
		want += 1
		if i%5 == 0 {
			kept = b.node("Sub", "kept"+names[i:i+1], vals(v, v))
			kept = b.node("Add", "kept1"+names[i:i+1], vals(kept, x))
		}
	}
	b.outputs(v)
	p := compile(t, b, runtime.Options{})
	check(t, p, []tensor.Value{floatsOf([]float32{1, 2, 3}, 3)}, []tensor.Value{floatsOf([]float32{want, 2 * want, 3 * want}, 3)})
}

func TestProfile(t *testing.T) {
	b, _ := mlp(t)
	p := compile(t, b, runtime.Options{})
	out, times, err := p.RunProfile(context.Background(), []tensor.Value{floatsOf([]float32{1, 2}, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if err := sameTensor(out[0].Tensor, tensor.Of([]float32{11, 22, 33}, 1, 3), 0, 0); err != nil {
		t.Error(err)
	}
	var names []string
	for _, x := range times {
		names = append(names, x.Name+" "+x.Op)
		if x.Time < 0 {
			t.Errorf("%s took %v", x.Name, x.Time)
		}
	}
	if got := strings.Join(names, ", "); got != "h MatMul, r Reshape, y Add" {
		t.Errorf("nodes are %s", got)
	}
}
