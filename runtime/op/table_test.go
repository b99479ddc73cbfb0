package op

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"bilinc/runtime/tensor"
)

var update = flag.Bool("update", false, "write the operator table of the README anew")

// readme is where the table of operators stands, between two marks.
const (
	readme     = "../../README.md"
	tableBegin = "<!-- operators: go test ./runtime/op -run TestOperatorTable -update -->\n"
	tableEnd   = "<!-- end of operators -->\n"
)

// TestOperatorTable fails unless the README's table of operators is that of the
// code; with -update it writes it.
func TestOperatorTable(t *testing.T) {
	data, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", readme, tableBegin, tableEnd)
	}
	want := before + tableBegin + operatorTable() + tableEnd + after
	switch {
	case want == string(data):
	case *update:
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the operators of %s are not those of the code: go test ./runtime/op -run TestOperatorTable -update", readme)
	}
}

// operatorTable lists the operators of each domain, those from opset 7 or
// before without a number.
func operatorTable() string {
	var b strings.Builder
	var domain string
	var line []string
	flush := func() {
		if line != nil {
			fmt.Fprintf(&b, "\n**%s** (%d):\n%s\n", domain, len(line), wrap(line))
		}
		line = nil
	}
	for _, e := range Entries() {
		name := e.Domain
		if name == "" {
			name = "ai.onnx"
		}
		if name != domain {
			flush()
			domain = name
		}
		s := e.Op
		if e.Since > 7 {
			s = fmt.Sprintf("%s %d", s, e.Since)
		}
		if e.Gradient {
			s += "\u00a0∇"
		}
		line = append(line, strings.ReplaceAll(s, " ", "\u00a0"))
	}
	flush()
	return b.String() + "\n"
}

// wrap joins words with commas in lines of some 80 columns.
func wrap(words []string) string {
	var b strings.Builder
	at := 0
	for i, w := range words {
		if i < len(words)-1 {
			w += ","
		}
		switch n := len([]rune(w)); {
		case at > 0 && at+1+n > 80:
			b.WriteString("\n" + w)
			at = n
		case at > 0:
			b.WriteString(" " + w)
			at += 1 + n
		default:
			b.WriteString(w)
			at = n
		}
	}
	return b.String()
}

func TestEntries(t *testing.T) {
	found := map[string]Entry{}
	for _, e := range Entries() {
		if _, twice := found[e.Domain+"."+e.Op]; twice {
			t.Errorf("%s is there twice", e.Op)
		}
		found[e.Domain+"."+e.Op] = e
	}
	for _, want := range []Entry{{"", "Add", 1, true}, {"", "Where", 9, true}, {"", "ArgMax", 1, false}, {"", "Hardmax", 1, false},
		{"", "QLinearConv", 10, false}, {"", "DeformConv", 19, false}, {"", "SoftmaxCrossEntropyLoss", 12, true}} {
		if got := found["."+want.Op]; got != want {
			t.Errorf("found %+v, wanted %+v", got, want)
		}
	}
	if _, err := parseOp(opTest{op: "Where", opset: 8, in: []*tensor.Tensor{list(true), list[int32](1), list[int32](2)}}, 1); err == nil {
		t.Error("Where is there before opset 9")
	}
}
