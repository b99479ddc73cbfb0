package runtime

import "bilinc/runtime/tensor"

// Every program that a test compiles has its graph checked after each pass.
func init() { checkPasses = true }

// Arena is the bytes that the program's main graph takes for inputs like in.
func (p *Program) Arena(in []tensor.Value) (int, error) {
	pl, err := p.plan(in)
	if err != nil {
		return 0, err
	}
	return pl.arena, nil
}
