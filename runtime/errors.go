package runtime

import (
	"errors"
	"fmt"
	"strings"

	"bilinc/runtime/op"
)

// ErrInvalid is satisfied by every error of Compile that says that the model
// contradicts itself, as opposed to one that uses what is not implemented.
var ErrInvalid = errors.New("invalid model")

// invalid makes an ErrInvalid of err.
func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }

// An UnsupportedError names all nodes of a model that cannot be run here
// because their operators, or forms of them, are not implemented. It wraps the
// *op.Unsupported of each.
type UnsupportedError struct {
	Nodes []op.Problem
}

// Error names each missing operator once, with the number of nodes and the
// first one.
func (e *UnsupportedError) Error() string {
	type group struct {
		what, node string
		count      int
	}
	var groups []*group
	find := map[string]*group{}
	for _, p := range e.Nodes {
		what := p.Err.Error()
		var u *op.Unsupported
		if errors.As(p.Err, &u) {
			what = u.Error()
		}
		g := find[what]
		if g == nil {
			g = &group{what: what, node: p.Node.String()}
			find[what] = g
			groups = append(groups, g)
		}
		g.count++
	}
	parts := make([]string, len(groups))
	for i, g := range groups {
		parts[i] = fmt.Sprintf("%s: %s", g.node, g.what)
		if g.count > 1 {
			parts[i] += fmt.Sprintf(" (%d nodes)", g.count)
		}
	}
	return strings.Join(parts, "; ")
}

// Unwrap is the errors of the nodes.
func (e *UnsupportedError) Unwrap() []error {
	errs := make([]error, len(e.Nodes))
	for i, p := range e.Nodes {
		errs[i] = p.Err
	}
	return errs
}

// An InputError says that a value given to a run does not fit the model's
// input.
type InputError struct {
	Input       string
	Found, Want string
}

func (e *InputError) Error() string {
	return fmt.Sprintf("input %q: found %s, wanted %s", e.Input, e.Found, e.Want)
}
