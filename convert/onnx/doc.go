// Package onnx reads ONNX files into graph.Model and writes them again.
//
// Nothing that a file says is lost on the way: what the IR has no field for
// (documentation, metadata, quantization annotations, training information,
// device configurations, messages of later versions) stays in the objects'
// Origin and goes back out as it came, as long as the object lives. A canonical
// file (fields in ascending order, packed as the format says) that is read and
// written without a change comes out byte for byte.
//
// Input is never trusted. Shapes, lengths and paths are checked before memory
// of that size is taken or a file is opened; what a model gets wrong is an
// error that satisfies errors.Is(err, ErrInvalid) and names the tensor or node,
// what was found and what was wanted.
package onnx

import (
	"errors"
	"fmt"
)

// ErrInvalid is satisfied by every error that says that a model or a data file
// is not valid, as opposed to one that could not be opened.
var ErrInvalid = errors.New("invalid ONNX file")

// A FormatError says what is wrong with a model or a data file.
type FormatError struct {
	Reason string
	Err    error // the cause, where another package found it
}

func (e *FormatError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	if e.Reason == "" {
		return e.Err.Error()
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *FormatError) Unwrap() error { return e.Err }

// Is makes every FormatError an ErrInvalid.
func (e *FormatError) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, args...)}
}
