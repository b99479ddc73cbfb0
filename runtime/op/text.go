package op

import (
	"fmt"
	"regexp"
	"strings"

	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// stringNormalizer removes stop words from X[C] or X[1 C] and changes the case
// of what remains. Where nothing does, one empty string is left.
type stringNormalizer struct {
	noForward
	change    func(string) string // nil: none
	stop      map[string]bool
	sensitive bool
}

func parseStringNormalizer(a *attrs) Op {
	o := &stringNormalizer{stop: map[string]bool{}, sensitive: a.bool("is_case_sensitive", false)}
	switch action := a.string("case_change_action", "NONE"); action {
	case "NONE":
	case "LOWER":
		o.change = strings.ToLower
	case "UPPER":
		o.change = strings.ToUpper
	default:
		a.fail(fmt.Errorf("attribute case_change_action is %q", action))
	}
	a.string("locale", "en_US") // Unicode's mapping of cases serves all but a few
	for _, s := range a.strings("stopwords") {
		o.stop[o.key(s)] = true
	}
	return o
}

// key is s as it is compared with stop words.
func (o *stringNormalizer) key(s string) string {
	if o.sensitive {
		return s
	}
	return strings.ToLower(s)
}

// textInput checks the type of a single input of strings.
func textInput(in []graph.Fact) error {
	if err := arity(in, 1, 1); err != nil {
		return err
	}
	if d := in[0].DType; d != tensor.String && d != tensor.Undefined {
		return fmt.Errorf("input is %v, wanted strings", in[0].Type)
	}
	return nil
}

func (o *stringNormalizer) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := textInput(in); err != nil {
		return nil, err
	}
	switch x := in[0]; {
	case !x.Ranked:
		return unrankedFact(tensor.String), nil
	case len(x.Shape) == 1:
		return rankFact(tensor.String, 1), nil
	case len(x.Shape) == 2 && !differ(x.Shape[0], graph.Size(1)):
		return tensorFact(tensor.String, graph.Size(1), graph.Unknown), nil
	}
	return nil, fmt.Errorf("input is %v, wanted [C] or [1 C]", in[0].Type)
}

func (o *stringNormalizer) Run(_ *Ctx, in []tensor.Value, _ int) ([]tensor.Value, error) {
	x := in[0].Tensor
	var kept []string
	for _, s := range tensor.Data[string](x) {
		if o.stop[o.key(s)] {
			continue
		}
		if o.change != nil {
			s = o.change(s)
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		kept = []string{""}
	}
	shape := append([]int{}, x.Shape()...)
	shape[len(shape)-1] = len(kept)
	return []tensor.Value{tensor.ValueOf(tensor.Of(kept, shape...))}, nil
}

// stringConcat joins two strings, element by element.
type stringConcat struct{}

func parseStringConcat(*attrs) Op { return stringConcat{} }

func (stringConcat) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	out, err := inferBroadcast(in, 2, 2)
	if err == nil && out.DType != tensor.String && out.DType != tensor.Undefined {
		err = fmt.Errorf("inputs are %v, wanted strings", out.DType)
	}
	return []graph.Fact{out}, err
}

func (stringConcat) Forward(_ *Ctx, in, out []tensor.Value) error {
	zip(in[0].Tensor, in[1].Tensor, out[0].Tensor, func(x, y string) string { return x + y })
	return nil
}

// regexMatch tells which strings match a pattern of RE2 as a whole.
type regexMatch struct{ pattern *regexp.Regexp }

func parseRegexMatch(a *attrs) Op {
	a.require("pattern")
	p, err := regexp.Compile("^(?:" + a.string("pattern", "") + ")$")
	if err != nil {
		a.fail(fmt.Errorf("attribute pattern: %w", err))
	}
	return &regexMatch{p}
}

func (o *regexMatch) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) {
	if err := textInput(in); err != nil {
		return nil, err
	}
	f := graph.Fact{Type: in[0].Type}
	f.DType = tensor.Bool
	return []graph.Fact{f}, nil
}

func (o *regexMatch) Forward(_ *Ctx, in, out []tensor.Value) error {
	apply(in[0].Tensor, out[0].Tensor, o.pattern.MatchString)
	return nil
}

// stringSplit cuts each string at a delimiter, by default at runs of blanks,
// at most so often: the parts along a new last axis, filled up with empty
// strings, and how many each has.
type stringSplit struct {
	noForward
	delimiter string
	most      int // −1: any number
}

func parseStringSplit(a *attrs) Op {
	o := &stringSplit{delimiter: a.string("delimiter", ""), most: -1}
	if a.has("maxsplit") {
		if o.most = int(a.int("maxsplit", 0)); o.most < 0 {
			a.fail(fmt.Errorf("attribute maxsplit is %d", o.most))
		}
	}
	return o
}

func (o *stringSplit) Infer(in []graph.Fact, nOut int) ([]graph.Fact, error) {
	if err := textInput(in); err != nil {
		return nil, err
	}
	if nOut > 2 {
		return nil, fmt.Errorf("found %d outputs", nOut)
	}
	out := append(unrankedFact(tensor.String), unrankedFact(tensor.Int64)...)
	if in[0].Ranked {
		shape := append([]graph.Dim{}, in[0].Shape...)
		out = append(tensorFact(tensor.String, append(shape, graph.Unknown)...), tensorFact(tensor.Int64, in[0].Shape...)...)
	}
	return out[:nOut], nil
}

func (o *stringSplit) Run(_ *Ctx, in []tensor.Value, nOut int) ([]tensor.Value, error) {
	x := in[0].Tensor
	var parts [][]string
	widest := 0
	counts := make([]int64, x.Len())
	for i, s := range tensor.Data[string](x) {
		p := o.cut(s)
		parts = append(parts, p)
		widest = max(widest, len(p))
		counts[i] = int64(len(p))
	}
	flat := make([]string, len(parts)*widest)
	for i, p := range parts {
		copy(flat[i*widest:], p)
	}
	shape := append([]int{}, x.Shape()...)
	out := []tensor.Value{tensor.ValueOf(tensor.Of(flat, append(shape, widest)...)), tensor.ValueOf(tensor.Of(counts, x.Shape()...))}
	return out[:nOut], nil
}

// cut is the parts of s, none of an empty string.
func (o *stringSplit) cut(s string) []string {
	if o.delimiter != "" {
		switch {
		case s == "":
			return nil
		case o.most >= 0:
			return strings.SplitN(s, o.delimiter, o.most+1)
		}
		return strings.Split(s, o.delimiter)
	}
	var parts []string
	for rest := strings.TrimSpace(s); rest != ""; {
		end := strings.IndexAny(rest, " \t\n\v\f\r")
		if end < 0 || len(parts) == o.most {
			return append(parts, rest)
		}
		parts = append(parts, rest[:end])
		rest = strings.TrimLeft(rest[end:], " \t\n\v\f\r")
	}
	return parts
}
