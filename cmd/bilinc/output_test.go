package main

import (
	"strings"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1863690: "1,863,690", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s", n, got)
		}
	}
	for n, want := range map[int64]string{12: "12 B", 1500: "1.5 kB", 7455422: "7.46 MB", 3e12: "3000 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, wanted %s", n, got, want)
		}
	}
	for x, want := range map[float64]string{0: "0", 3: "3", 0.12345: "0.123", 12.345: "12.3", 1234.5: "1234", 1e-7: "1e-07", -2.5: "-2.5"} {
		if got := short(x); got != want {
			t.Errorf("short(%g) = %s, wanted %s", x, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := newTable("NAME", ">N", "EMPTY", "LAST")
	tab.add("a", 5, "", "×")
	tab.add("longer", 1234, "", "")
	var b strings.Builder
	if err := tab.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME       N  LAST\na          5  ×\nlonger  1234\n"
	if b.String() != want {
		t.Errorf("got\n%swanted\n%s", b.String(), want)
	}
}

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]int64{"500": 500, "2MB": 2e6, "2 MB": 2e6, "1.5k": 1500, "1KiB": 1024, "3GiB": 3 << 30, "7b": 7,
		"": 0, "MB": 0, "-1": 0, "0": 0, "2TB": 0, "1e30": 0, "2Mi": 0} {
		var s sizeFlag
		if err := s.Set(text); (err == nil) != (want > 0) || int64(s) != want {
			t.Errorf("%q is %d, %v; wanted %d", text, s, err, want)
		}
	}
}

func TestCollector(t *testing.T) {
	c := newCollector([]string{"rows", "scalar", "pairs"})
	for i, rows := range []int{2, 1} {
		x := tensor.Of([]float32{float32(i), 1, 2, 3}, 2, 2)
		pairs := tensor.Of([]int64{1, 2, 3, 4}, 4)
		out := []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(tensor.Scalar(float32(i))), tensor.ValueOf(pairs)}
		if err := c.add(out, &dataset.Batch{Rows: rows, Padded: 2}); err != nil {
			t.Fatal(err)
		}
	}
	arrays, err := c.arrays()
	if err != nil {
		t.Fatal(err)
	}
	// An output with twice the rows of the batch loses twice the padding.
	for i, want := range []string{"float32[3 2]", "float32[2]", "int64[6]"} {
		if got := arrays[i].Tensor.String(); got != want {
			t.Errorf("%s is %s, wanted %s", arrays[i].Name, got, want)
		}
	}
	bad := newCollector([]string{"y"})
	for _, n := range []int{1, 2} {
		if err := bad.add([]tensor.Value{tensor.ValueOf(tensor.New(tensor.Float32, 1, n))}, &dataset.Batch{Rows: 1, Padded: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bad.arrays(); err == nil {
		t.Error("rows of different widths were joined")
	}
	list := newCollector([]string{"s"})
	seq := tensor.Value{Kind: tensor.KindSequence, Elems: []tensor.Value{tensor.ValueOf(tensor.Scalar(float32(1)))}}
	if err := list.add([]tensor.Value{seq}, &dataset.Batch{Rows: 1, Padded: 1}); err != nil {
		t.Fatal(err)
	}
	if arrays, err := list.arrays(); err != nil || arrays[0].Name != "s.0" {
		t.Error(arrays, err)
	}
	if err := list.add([]tensor.Value{seq}, &dataset.Batch{Rows: 1, Padded: 1}); err == nil {
		t.Error("sequences were joined")
	}
}

// Help, completion and unknown commands see all commands, whichever of them the tree is built for.
func TestTreeHasTheCommandsThatAreAskedFor(t *testing.T) {
	count := func(args ...string) int { return len((&app{}).root(args).Commands()) }
	all := count()
	for _, args := range [][]string{{"help", "run"}, {"--help"}, {"__complete", "run", ""}, {"nonsense"}, {"--json", "run"}} {
		if n := count(args...); n != all || n < 10 {
			t.Errorf("%q: %d commands of %d", args, n, all)
		}
	}
	for _, c := range (&app{}).root(nil).Commands() {
		if got := (&app{}).root([]string{c.Name(), "x"}).Commands(); len(got) != 1 || got[0].Name() != c.Name() {
			t.Errorf("%s: the tree has %v", c.Name(), got)
		}
	}
}
