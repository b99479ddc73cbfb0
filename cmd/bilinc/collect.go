package main

import (
	"errors"
	"fmt"
	"slices"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

// A collector joins the outputs of batches along their first axis.
type collector struct {
	names []string
	parts [][]*tensor.Tensor // per output
	keys  []*tensor.Tensor   // per output: of maps that are a table; else nil
	lists []dataset.Array    // the elements of sequences, of a single batch
	runs  int
}

func newCollector(names []string) *collector {
	return &collector{names: names, parts: make([][]*tensor.Tensor, len(names)), keys: make([]*tensor.Tensor, len(names))}
}

// add takes the outputs of one batch without the rows that pad it.
func (c *collector) add(out []tensor.Value, batch *dataset.Batch) error {
	c.runs++
	for i, v := range out {
		table, keys, err := v.Table()
		switch {
		case err != nil:
			return fmt.Errorf("output %q: %w", c.names[i], err)
		case keys != nil:
			if c.keys[i] != nil && !tensor.Equal(c.keys[i], keys) {
				return fmt.Errorf("output %q has maps of other keys in one run than in another", c.names[i])
			}
			c.keys[i], v = keys, tensor.ValueOf(table)
		}
		switch v.Kind {
		case tensor.KindTensor:
			t, err := cutRows(v.Tensor, batch)
			if err != nil {
				return err
			}
			c.parts[i] = append(c.parts[i], t)
		case tensor.KindSequence, tensor.KindOptional:
			if c.runs > 1 {
				return fmt.Errorf("output %q is a %v: those of several runs cannot be joined", c.names[i], v.Kind)
			}
			for k, e := range v.Elems {
				if e.Kind != tensor.KindTensor {
					return fmt.Errorf("output %q holds a %v: it cannot be written", c.names[i], e.Kind)
				}
				c.lists = append(c.lists, dataset.Array{Name: fmt.Sprintf("%s.%d", c.names[i], k), Tensor: e.Tensor})
			}
		case tensor.KindMap:
			if c.runs > 1 {
				return fmt.Errorf("output %q is a map: those of several runs cannot be joined", c.names[i])
			}
			c.parts[i], c.keys[i] = append(c.parts[i], v.Tensor), v.Keys
		default:
			return fmt.Errorf("output %q is %v: it cannot be written", c.names[i], v.Kind)
		}
	}
	if c.runs > 1 && len(c.lists) > 0 {
		return errors.New("outputs that are sequences cannot be joined over several runs")
	}
	return nil
}

// arrays is the joined outputs, the elements of sequences at the end. Maps are
// their values, and their keys under NAME.keys.
func (c *collector) arrays() ([]dataset.Array, error) {
	var out []dataset.Array
	for i, parts := range c.parts {
		if len(parts) == 0 {
			continue
		}
		t, err := join(parts)
		if err != nil {
			return nil, &exitError{exitInvalid, fmt.Errorf("output %q: %w", c.names[i], err),
				"--batch that takes all rows at once, or --samples, avoids joining"}
		}
		out = append(out, dataset.Array{Name: c.names[i], Tensor: t})
		if c.keys[i] != nil {
			out = append(out, dataset.Array{Name: c.names[i] + ".keys", Tensor: c.keys[i]})
		}
	}
	return append(out, c.lists...), nil
}

// join is parts one after the other along the first axis; scalars become a
// vector.
func join(parts []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(parts) == 1 {
		return parts[0], nil
	}
	first := parts[0]
	rows := 0
	for _, p := range parts {
		if p.Rank() != first.Rank() || p.Rank() > 0 && !slices.Equal(p.Shape()[1:], first.Shape()[1:]) {
			return nil, fmt.Errorf("one run gives %v, another %v: they cannot be joined", first, p)
		}
		if p.Rank() == 0 {
			rows++
		} else {
			rows += p.Shape()[0]
		}
	}
	shape := []int{rows}
	if first.Rank() > 0 {
		shape = append(shape, first.Shape()[1:]...)
	}
	t := tensor.New(first.DType(), shape...)
	if t.DType() == tensor.String {
		to := tensor.Data[string](t)
		for _, p := range parts {
			to = to[copy(to, tensor.Data[string](p)):]
		}
		return t, nil
	}
	if t.DType().Bits() < 8 {
		return nil, fmt.Errorf("%v elements, several to a byte, cannot be joined", t.DType())
	}
	to := t.Bytes()
	for _, p := range parts {
		to = to[copy(to, p.Bytes()):]
	}
	return t, nil
}
