package dataset

import (
	"context"
	"errors"
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// Every kind of number that is none is found where it is, in what inputs take
// and in targets, and nowhere else.
func TestFinite(t *testing.T) {
	dir := t.TempDir()
	for name, bad := range map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1))} {
		v := numbers(24)
		v[2*6+4] = bad
		path := save(t, dir, "x.npy", tensor.Of(v, 4, 2, 3))
		for _, c := range []struct {
			o  Options
			as string
			ok bool
		}{
			{Options{}, "float32 N 2 3", false},
			{Options{}, "float32 N 6", false}, // the index stays the array's
			{Options{Samples: 3}, "float32 N 6", false},
			{Options{Samples: 2}, "float32 N 6", true},
			{Options{Scale: 2}, "float64 N 6", false},
		} {
			s, err := Open([]string{path}, c.o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.Bind(model(t, "x", typ(c.as)))
			if err != nil {
				t.Fatal(err)
			}
			err = b.Finite(context.Background())
			var e *ValueError
			switch {
			case c.ok && err != nil:
				t.Errorf("%s: %+v, %s: %v", name, c.o, c.as, err)
			case c.ok:
			case !errors.As(err, &e):
				t.Errorf("%s: %+v, %s: error %v", name, c.o, c.as, err)
			case e.Row != 2 || len(e.Index) != 2 || e.Index[0] != 1 || e.Index[1] != 1 || e.Found != name || e.Array != "x" || e.File != path:
				t.Errorf("%s: %+v, %s: %+v", name, c.o, c.as, e)
			}
			s.Close()
		}
	}
}

func TestFiniteBounds(t *testing.T) {
	dir := t.TempDir()
	big := make([]float32, 4*3)
	big[7] = 1e30
	x := save(t, dir, "x.npy", tensor.Of(big, 4, 3))
	labels := []float32{0, 1, float32(math.NaN()), 3}
	y := save(t, dir, "labels.npy", tensor.Of(labels, 4))
	bind := func(o Options, specs ...string) *Bound {
		s, err := Open(specs, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		b, err := s.Bind(model(t, "x", typ("float32 N 3")))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ctx := context.Background()
	// A scale can make a number infinite.
	if err := bind(Options{}, "x="+x).Finite(ctx); err != nil {
		t.Error(err)
	}
	var e *ValueError
	if err := bind(Options{Scale: 1e10}, "x="+x).Finite(ctx); !errors.As(err, &e) || e.Row != 2 || e.Index[0] != 1 || e.Found != "1.0000000150474662e+30" {
		t.Errorf("scaled: %v", err)
	}
	// Targets count, and a sample's rows alone.
	b := bind(Options{}, "x="+x, "labels="+y)
	if err := b.Finite(ctx); !errors.As(err, &e) || e.Array != "labels" || e.Row != 2 || len(e.Index) != 0 {
		t.Errorf("targets: %v", err)
	}
	if err := b.SampleOf([]int{0, 1, 3}, 3, 0).Finite(ctx); err != nil {
		t.Errorf("a sample without the row: %v", err)
	}
	if err := b.SampleOf([]int{0, 2}, 2, 0).Finite(ctx); !errors.As(err, &e) {
		t.Errorf("a sample with the row: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Finite(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
