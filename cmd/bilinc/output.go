package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"bilinc/runtime/tensor"
)

// printJSON prints v on stdout, indented.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// number is a float that JSON can hold: nil for what is not finite.
func number(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// A table aligns columns; cells that begin with a digit or a sign stand right.
type table struct {
	rows  [][]string
	right []bool
}

// newTable begins a table; a heading that begins with ">" is of a column that
// stands right.
func newTable(heads ...string) *table {
	t := &table{right: make([]bool, len(heads))}
	for i, h := range heads {
		heads[i], t.right[i] = strings.CutPrefix(h, ">")
	}
	t.rows = [][]string{heads}
	return t
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// print writes the table; columns that are empty throughout are left out.
func (t *table) print(w io.Writer) error {
	width := make([]int, len(t.right))
	for _, row := range t.rows[1:] {
		for i, c := range row {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	var all bytes.Buffer // tabwriter writes cell by cell
	tw := tabwriter.NewWriter(&all, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		var cells []string
		for i, c := range row {
			if width[i] == 0 {
				continue
			}
			if t.right[i] {
				full := max(width[i], len([]rune(t.rows[0][i])))
				c = strings.Repeat(" ", full-len([]rune(c))) + c
			}
			cells = append(cells, c)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), " \t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := w.Write(all.Bytes())
	return err
}

// count prints a number with commas between thousands.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// countOr prints a number that may not be known.
func countOr(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return count(*n)
}

// size prints a number of bytes.
func size(n int64) string {
	x := float64(n)
	for _, unit := range []string{"B", "kB", "MB"} {
		if x < 1000 {
			return short(x) + " " + unit
		}
		x /= 1000
	}
	return short(x) + " GB"
}

// short prints a number with about three digits.
func short(x float64) string {
	switch abs := math.Abs(x); {
	case x == math.Trunc(x) && abs < 1e6:
		return fmt.Sprintf("%.0f", x)
	case abs >= 100 && abs < 1e6:
		return fmt.Sprintf("%.0f", x)
	case abs >= 10 && abs < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// shortOr prints a number that may not be known.
func shortOr(x *float64) string {
	if x == nil {
		return "–"
	}
	return short(*x)
}

// stats is the least, mean and greatest element of a real tensor; NaN where it
// has none.
type stats struct {
	Min  *float64 `json:"min"`
	Mean *float64 `json:"mean"`
	Max  *float64 `json:"max"`
}

// statsOf is the stats of t; empty ones where its elements are no real numbers.
func statsOf(t *tensor.Tensor) stats {
	v, err := tensor.Float64s(t)
	if err != nil || len(v) == 0 {
		return stats{}
	}
	lo, hi, sum := v[0], v[0], 0.0
	for _, x := range v {
		lo, hi, sum = math.Min(lo, x), math.Max(hi, x), sum+x
	}
	return stats{number(lo), number(sum / float64(len(v))), number(hi)}
}
