package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"bilinc/convert"
	"bilinc/finetune"
)

// A page is the report of convert as one HTML file that needs no other: no
// script, no style sheet, nothing of a network.
type page struct {
	args        []string // of the command, without the program's name
	model, out  string
	sumOf       [2]string // SHA-256 of the files of both models
	report      *convert.Report
	tradeoff    []convert.Tradeoff
	history     *finetune.History // nil: there was no training
	allWarnings []string
}

const pageStyle = `body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0}td,th{padding:.15em .7em;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{background:#f4f4f4;padding:.1em .3em;overflow-wrap:anywhere}
svg{background:#fafafa;margin:.5em 0}svg text{font:12px system-ui,sans-serif;fill:#444}`

// write writes the page.
func (p *page) write(w io.Writer) error {
	var b bytes.Buffer
	esc := html.EscapeString
	title := esc(p.model + " → " + p.out)
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>%s</title>\n<style>\n%s\n</style>\n</head>\n<body>\n<h1>%s</h1>\n",
		title, pageStyle, title)
	fmt.Fprintf(&b, "<p>Made by bilinc %s:</p>\n<p><code>bilinc %s</code></p>\n", esc(version()), esc(shellWords(p.args)))
	p.summary(&b)
	p.layers(&b)
	p.budgets(&b)
	p.training(&b)
	if len(p.allWarnings) > 0 {
		b.WriteString("<h2>Warnings</h2>\n<ul>\n")
		for _, x := range p.allWarnings {
			fmt.Fprintf(&b, "<li>%s</li>\n", esc(x))
		}
		b.WriteString("</ul>\n")
	}
	b.WriteString("</body>\n</html>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// htmlTable writes a table; a heading that begins with ">" is of numbers.
func htmlTable(b *bytes.Buffer, heads []string, rows [][]string) {
	cell := func(kind, head, text string) {
		class := ""
		if strings.HasPrefix(head, ">") {
			class = ` class="n"`
		}
		fmt.Fprintf(b, "<%s%s>%s</%s>", kind, class, html.EscapeString(text), kind)
	}
	b.WriteString("<table>\n<tr>")
	for _, h := range heads {
		cell("th", h, strings.TrimPrefix(h, ">"))
	}
	for _, row := range rows {
		b.WriteString("</tr>\n<tr>")
		for i, c := range row {
			cell("td", heads[i], c)
		}
	}
	b.WriteString("</tr>\n</table>\n")
}

// summary is the two models beside each other, and their outputs.
func (p *page) summary(b *bytes.Buffer) {
	r := p.report
	rows := [][]string{
		{"parameters", count(r.ParamsBefore), count(r.ParamsAfter)},
		{"bytes", count(r.BytesBefore), count(r.BytesAfter)},
		{"multiply-accumulates per sample", countOr(r.MACsBefore), countOr(r.MACsAfter)},
	}
	if r.MetricBefore != nil && r.MetricAfter != nil {
		rows = append(rows, []string{"metric on --eval", fixedOr(r.MetricBefore), fixedOr(r.MetricAfter)})
	}
	rows = append(rows, []string{"SHA-256", p.sumOf[0], p.sumOf[1]})
	htmlTable(b, []string{"", ">before", ">after"}, rows)
	fmt.Fprintf(b, "<p>Ratio %s, %s s.</p>\n", ratioText(r.ParamsBefore, r.ParamsAfter), short(r.Seconds))
	rows = nil
	for _, name := range slices.Sorted(maps.Keys(r.Outputs)) {
		e := "not verified"
		if x := r.Outputs[name].RelError; x != nil {
			e = short(*x)
		}
		rows = append(rows, []string{name, e})
	}
	b.WriteString("<h2>Outputs</h2>\n")
	htmlTable(b, []string{"output", ">relative error"}, rows)
}

// layers is what became of each layer.
func (p *page) layers(b *bytes.Buffer) {
	var rows [][]string
	for _, l := range p.report.Layers {
		in, out := 0, 0
		if l.Shape != nil {
			in, out = l.Shape.A[1]*l.Shape.B[1], l.Shape.A[0]*l.Shape.B[0]
		}
		rows = append(rows, []string{l.Name, string(l.Action), factorText(l.Action, l.Shape, l.Terms, in, out), zeroEmpty(l.Terms), count(l.ParamsBefore),
			count(l.ParamsAfter), ratioText(l.ParamsBefore, l.ParamsAfter), short(l.Error), layerNote(l.Reason, l.TiedTo, l.Widen)})
	}
	b.WriteString("<h2>Layers</h2>\n")
	htmlTable(b, []string{"layer", "action", "shape", ">terms", ">parameters", ">after", ">ratio", ">error", "note"}, rows)
}

// budgets is which ratios could be had at which error.
func (p *page) budgets(b *bytes.Buffer) {
	if len(p.tradeoff) == 0 {
		return
	}
	var rows [][]string
	var x, y []float64
	for _, t := range p.tradeoff {
		e, yes := "–", "no"
		if t.Feasible {
			e, yes = short(t.Error), "yes"
			x, y = append(x, math.Log2(t.Ratio)), append(y, t.Error)
		}
		rows = append(rows, []string{short(t.Ratio), count(t.Params), e, yes})
	}
	b.WriteString("<h2>Budgets</h2>\n")
	chart(b, "error over log₂ of the ratio", x, y)
	htmlTable(b, []string{">ratio", ">parameters", ">error", "feasible"}, rows)
}

// training is the epochs.
func (p *page) training(b *bytes.Buffer) {
	h := p.history
	if h == nil {
		return
	}
	var rows [][]string
	var x, y []float64
	if h.StartMetric != nil {
		rows = append(rows, []string{"start", "", shortOr(h.StartLoss), fixedOr(h.StartMetric), ""})
	}
	for _, e := range h.Epochs {
		x, y = append(x, float64(e.Epoch)), append(y, e.TrainLoss)
		rows = append(rows, []string{fmt.Sprint(e.Epoch), short(e.TrainLoss), shortOr(e.HoldoutLoss), fixedOr(e.Metric), short(e.Seconds)})
	}
	fmt.Fprintf(b, "<h2>Training</h2>\n<p>Loss %s, %s parameters, %s samples, %s held out; the state of epoch %d was written.</p>\n",
		html.EscapeString(h.Loss), count(h.Params), count(int64(h.Train)), count(int64(h.Holdout)), h.BestEpoch)
	chart(b, "loss in training over epochs", x, y)
	htmlTable(b, []string{">epoch", ">loss", ">loss held out", ">" + h.Metric, ">seconds"}, rows)
}

// chart draws a line through the points of finite y, as SVG; nothing where there
// are fewer than two.
func chart(b *bytes.Buffer, title string, x, y []float64) {
	const width, height, margin = 480.0, 200.0, 45.0
	var points [][2]float64
	for i := range x {
		if !math.IsNaN(y[i]) && !math.IsInf(y[i], 0) {
			points = append(points, [2]float64{x[i], y[i]})
		}
	}
	if len(points) < 2 {
		return
	}
	lo, hi := points[0], points[0]
	for _, p := range points {
		for k := range p {
			lo[k], hi[k] = min(lo[k], p[k]), max(hi[k], p[k])
		}
	}
	at := func(k int, v, length float64) float64 {
		if hi[k] == lo[k] {
			return length / 2
		}
		return (v - lo[k]) / (hi[k] - lo[k]) * length
	}
	fmt.Fprintf(b, `<svg width="%g" height="%g" role="img" aria-label="%s">`, width, height, title)
	fmt.Fprintf(b, `<text x="%g" y="16">%s</text><polyline fill="none" stroke="#06c" stroke-width="2" points="`, margin, title)
	for _, p := range points {
		fmt.Fprintf(b, "%.1f,%.1f ", margin+at(0, p[0], width-2*margin), height-margin-at(1, p[1], height-2*margin))
	}
	fmt.Fprintf(b, `"/><text x="2" y="%g">%s</text><text x="2" y="%g">%s</text><text x="%g" y="%g">%s</text><text x="%g" y="%g">%s</text></svg>`+"\n",
		height-margin, short(lo[1]), margin, short(hi[1]), margin, height-margin/2, short(lo[0]), width-margin, height-margin/2, short(hi[0]))
}

// shellWords is args as a shell takes them.
func shellWords(args []string) string {
	quoted := make([]string, len(args))
	for i, s := range args {
		quoted[i] = s
		if s == "" || strings.ContainsFunc(s, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,+@%", r))
		}) {
			quoted[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
