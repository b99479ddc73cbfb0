package finetune

import (
	"math/rand/v2"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// sentences is rows of 6 tokens with a class for each, the last of them masked:
// their labels are wrong.
type sentences struct{ ids, mask, labels *tensor.Tensor }

func (d *sentences) Units() int      { return d.ids.Shape()[0] }
func (d *sentences) Most() int       { return 0 }
func (d *sentences) HasLabels() bool { return true }

func (d *sentences) Pick(units []int, b *dataset.Batch) error {
	*b = dataset.Batch{First: units[0], Rows: len(units), Padded: len(units), Labels: take(d.labels, units, len(units)),
		Inputs: []*tensor.Tensor{take(d.ids, units, len(units)), take(d.mask, units, len(units))}}
	return nil
}

// Positions that the mask leaves out count neither in the loss nor in the
// metric.
func TestMaskedPositionsDoNotCount(t *testing.T) {
	g := graph.New("net", nil)
	n := &net{t, &graph.Model{Graph: g, IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}}, rand.New(rand.NewPCG(1, 2))}
	shape := graph.TensorType(tensor.Int64, graph.Symbol("N"), graph.Size(6))
	ids, err := g.AddInput("ids", shape)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.AddInput("mask", shape); err != nil {
		t.Fatal(err)
	}
	m := n.done(n.node("MatMul", values{n.node("Gather", values{n.weight("table", 1, 12, 8), ids}), n.weight("w", 0.3, 8, 3)}))
	const rows = 200
	d := &sentences{tensor.New(tensor.Int64, rows, 6), tensor.New(tensor.Int64, rows, 6), tensor.New(tensor.Int64, rows, 6)}
	for i := range rows * 6 {
		id := n.r.IntN(12)
		tensor.Data[int64](d.ids)[i], tensor.Data[int64](d.labels)[i] = int64(id), int64(id%3)
		if tensor.Data[int64](d.mask)[i] = 1; i%6 >= 2+i/6%4 {
			tensor.Data[int64](d.mask)[i], tensor.Data[int64](d.labels)[i] = 0, int64((id+1)%3)
		}
	}
	o := Options{Epochs: 10, Batch: 16, LR: 0.03, Mask: "mask"}
	if _, h := train(t, m, nil, d, o); *h.BestMetric != 1 || h.Metric != "accuracy" {
		t.Errorf("with the mask: accuracy %.3f", *h.BestMetric)
	}
	o.Mask = ""
	if _, h := train(t, m, nil, d, o); *h.BestMetric > 0.9 {
		t.Errorf("without the mask: accuracy %.3f", *h.BestMetric)
	}
	o.Mask = "none"
	k, err := New(m, nil, d, o)
	if err == nil {
		_, _, err = k.Run(t.Context())
	}
	if err == nil {
		t.Error("a mask that is no input is taken")
	}
}
