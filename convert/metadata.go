package convert

import (
	"encoding/json"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
)

// LayersKey is the metadata entry that says what was done to each layer.
const LayersKey = "bilinc.layers"

// A Compressed is one replaced layer of a model, as its metadata tells.
type Compressed struct {
	Name   string `json:"name"`
	Value  string `json:"value"`        // the original's value that it stands for, of the same name here
	Op     string `json:"op,omitempty"` // the original's operator where it was no matrix product: Conv
	Action Action `json:"action"`
	First  string `json:"first"`            // the factor that is applied first: "a" or "b"
	Shape  Shape  `json:"shape"`            // of the layer's own W, of Out×In
	Kernel string `json:"kernel,omitempty"` // of a convolution, as in LayerPlan
	Terms  int    `json:"terms"`
	In     int    `json:"in"`
	Out    int    `json:"out"`
	A      string `json:"a"`              // the constant with the A of all terms
	B      string `json:"b"`              // the constant with the B of all terms
	Bias   string `json:"bias,omitempty"` // the constant that is added
	// Widen is how many times as wide the layer is as the original's; 0 means 1.
	// Of a wide one, Value has other numbers than the original's.
	Widen int `json:"widen,omitempty"`
	// Start is Random while the factors are the draws of a conversion for
	// training.
	Start Start `json:"start,omitempty"`
}

// Trained takes note in m's metadata that its factors have been trained: none
// is a random draw any longer.
func Trained(m *graph.Model) error {
	layers, err := ReadLayers(m)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(layers, func(c Compressed) bool { return c.Start != "" }) {
		return nil
	}
	for i := range layers {
		layers[i].Start = ""
	}
	return setLayers(m, layers)
}

// ReadLayers is what Apply wrote into the model's metadata, nil where there is
// nothing. Layers whose factors are no constants of the model are left out.
func ReadLayers(m *graph.Model) ([]Compressed, error) {
	if m == nil {
		return nil, nil
	}
	text, ok := m.Meta(LayersKey)
	if !ok {
		return nil, nil
	}
	var all, out []Compressed
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", LayersKey, err)
	}
	constants := map[string]bool{}
	eachGraph(m, func(g *graph.Graph) {
		for _, v := range g.Consts() {
			constants[v.Name()] = true
		}
		for _, n := range g.Nodes() {
			if n.OpType == "Constant" {
				constants[n.Label()] = true
				for _, v := range n.Outputs() {
					if v != nil {
						constants[v.Name()] = true
					}
				}
			}
		}
	})
	for _, c := range all {
		if constants[c.A] && constants[c.B] {
			out = append(out, c)
		}
	}
	return out, nil
}

// writeLayers records replaced layers beside those of earlier conversions.
func writeLayers(m *graph.Model, done []Compressed) error {
	before, _ := ReadLayers(m) // unreadable: replaced
	return setLayers(m, append(before, done...))
}

func setLayers(m *graph.Model, layers []Compressed) error {
	text, err := json.Marshal(layers)
	if err != nil {
		return err
	}
	m.SetMetadata(LayersKey, string(text))
	return nil
}
