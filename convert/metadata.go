package convert

import "bilinc/runtime/graph"

// LayersKey is the metadata entry that says what was done to each layer.
const LayersKey = "bilinc.layers"

// A Compressed is one replaced layer of a model, as its metadata tells.
type Compressed struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // the original's value that it stands for, of the same name here
	Action Action `json:"action"`
	First  string `json:"first"` // the factor that is applied first: "a" or "b"
	Shape  Shape  `json:"shape"`
	Terms  int    `json:"terms"`
	A      string `json:"a"`              // the constant with the A of all terms
	B      string `json:"b"`              // the constant with the B of all terms
	Bias   string `json:"bias,omitempty"` // the constant that is added
	In     int    `json:"in"`
	Out    int    `json:"out"`
}

// ReadLayers is what Apply wrote into the model's metadata; entries whose
// constants are gone are left out.
func ReadLayers(m *graph.Model) ([]Compressed, error) { panic("not yet") }
