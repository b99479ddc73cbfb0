// Package runtime compiles a model into a program that computes its outputs.
//
// Compile works on a copy of the model: functions of the model's own are put
// in place, nodes that no wanted output needs are left out, and what does not
// depend on the inputs is computed. Each shape of the inputs that is run gets
// a plan of its own, in which the outputs of nodes share one piece of memory as
// far as their lifetimes allow.
package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// Options says how a model is to be run. The zero value uses all cores.
type Options struct {
	// Threads is how many goroutines one run may use; 0 means all cores.
	Threads int
	// Pool, where it is set, is used in place of a pool of Threads: programs
	// that run in turn share one.
	Pool *kernel.Pool
	// Seed of the random operators: runs of the same seed draw the same.
	Seed uint64
	// Outputs is the values of the model's main graph to give out in place of
	// the graph's outputs: activations, say. nil: the graph's outputs.
	Outputs []*graph.Value
	// NoLowering runs the model's nodes one by one as they stand: what a
	// lowered program is compared with.
	NoLowering bool
}

// A Port is an input or output of a program.
type Port struct {
	Name string
	Type graph.Type
	// Optional marks an input that has a default, an initializer of the model:
	// the zero Value stands for it.
	Optional bool
	// Random marks an output that depends on random operators.
	Random bool
}

// A Program is a compiled model. It is immutable, and its methods are safe for
// concurrent use.
type Program struct {
	pool    *kernel.Pool
	seed    uint64
	model   *graph.Model // with functions in place, its outputs the wanted ones
	inputs  []Port
	outputs []Port
	checks  []inputCheck
	main    *block // with every default in place
	lowered bool

	mu       sync.Mutex
	variants map[string]*block // by variantKey
}

// maxVariants bounds the blocks that are kept for runs that replace defaults.
const maxVariants = 8

// Compile makes a program of m, which it neither changes nor keeps. Where
// nodes that the wanted outputs need cannot be run, the error is an
// *UnsupportedError that lists them all; where the model contradicts itself,
// the error is an ErrInvalid.
//
// Constants are used where they are, in the pages of a mapped file too: a file
// that is cut short makes Compile or a run fail.
func Compile(m *graph.Model, o Options) (*Program, error) {
	defer file.PanicOnFault()()
	if err := m.Check(); err != nil {
		return nil, invalid(err)
	}
	c := m.Clone()
	if o.Outputs != nil {
		wanted := make([]*graph.Value, len(o.Outputs))
		for i, v := range o.Outputs {
			if v.Graph() != m.Graph || m.Graph.Value(v.Name()) != v {
				return nil, fmt.Errorf("wanted output %q is no value of the model's graph", v.Name())
			}
			wanted[i] = c.Graph.Value(v.Name())
		}
		c.Graph.SetOutputs(wanted)
	}
	if err := inlineFunctions(c); err != nil {
		return nil, invalid(err)
	}
	p := &Program{pool: o.Pool, seed: o.Seed, model: c, lowered: !o.NoLowering, variants: map[string]*block{}}
	if p.pool == nil {
		p.pool = kernel.NewPool(o.Threads)
	}
	b := newBuilder(p, p.model, nil)
	var err error
	if p.main, err = b.build(p.lowered); err != nil {
		return nil, err
	}
	p.ports(b)
	return p, nil
}

// ports describes the inputs and outputs, once the main block is there.
func (p *Program) ports(b *builder) {
	for _, v := range p.model.Graph.Inputs {
		p.inputs = append(p.inputs, Port{Name: v.Name(), Type: v.Type, Optional: v.Init() != nil})
	}
	p.checks = inputChecks(p.inputs)
	random := p.main.random()
	for i, v := range b.model.Graph.Outputs {
		p.outputs = append(p.outputs, Port{Name: v.Name(), Type: unnamed(b.facts.Of(v).Type), Random: random[i]})
	}
}

// unnamed is t without the symbols that inference made up.
func unnamed(t graph.Type) graph.Type {
	for i, d := range t.Shape {
		if strings.Contains(d.String(), "?") {
			t.Shape = slices.Clone(t.Shape)
			t.Shape[i] = graph.Unknown
		}
	}
	return t
}

// Inputs is the inputs of the graph in order; the caller must not change them.
func (p *Program) Inputs() []Port { return p.inputs }

// Outputs is the wanted outputs in order; the caller must not change them.
func (p *Program) Outputs() []Port { return p.outputs }

// Run computes the outputs from in, the values of Inputs in order, where the
// zero Value (or the end of in) stands for an optional one. The results share
// no memory with in or the program. The error is an *InputError where a value
// does not fit its input, ctx.Err() where ctx is done, and names the node
// where one fails.
func (p *Program) Run(ctx context.Context, in []tensor.Value) ([]tensor.Value, error) {
	out := make([]tensor.Value, len(p.outputs))
	if err := p.RunInto(ctx, in, out); err != nil {
		return nil, err
	}
	return out, nil
}

// RunInto is Run with the memory of the results given: tensors in out, which
// must share no memory with each other or with in, are written to, zero Values
// are replaced. It fails where a given tensor has not the result's type. Once
// the shapes of in have been seen, and where all shapes follow from them, the
// program itself allocates nothing. After an error the contents of out are
// undefined.
func (p *Program) RunInto(ctx context.Context, in, out []tensor.Value) error {
	_, err := p.run(ctx, in, out, false)
	return err
}

// variantKey says of which variant of the model a block is: plain or lowered,
// and with which optional inputs given by the run.
func (p *Program) variantKey(in []tensor.Value, lowered bool) (key string, replaced []bool) {
	for i, port := range p.inputs[:len(in)] {
		if port.Optional && in[i].Kind != tensor.KindNone {
			if replaced == nil {
				replaced = make([]bool, len(p.inputs))
			}
			replaced[i] = true
		}
	}
	if replaced == nil && lowered == p.lowered {
		return "", nil // the main block
	}
	return fmt.Sprint(lowered, replaced), replaced
}

// block is the block for the defaults that in replaces.
func (p *Program) block(in []tensor.Value, lowered bool) (*block, error) {
	key, replaced := p.variantKey(in, lowered)
	if key == "" {
		return p.main, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.variants[key]; k != nil {
		return k, nil
	}
	k, err := newBuilder(p, p.model, replaced).build(lowered)
	if err != nil {
		return nil, err
	}
	if len(p.variants) >= maxVariants {
		clear(p.variants)
	}
	p.variants[key] = k
	return k, nil
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if err = file.Fault(v); err == nil {
				err = fmt.Errorf("panic: %v", v)
			}
		}
	}()
	return f()
}
