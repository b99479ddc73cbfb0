package graph

// SetOutputs makes vs, values of g or of a graph around it, all the outputs.
func (g *Graph) SetOutputs(vs []*Value) {
	for _, v := range g.Outputs {
		v.outputs--
	}
	g.Outputs = nil
	for _, v := range vs {
		g.AddOutput(v)
	}
}
