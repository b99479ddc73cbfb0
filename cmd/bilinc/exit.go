package main

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"bilinc/convert"
	"bilinc/convert/onnx"
	"bilinc/finetune"
	"bilinc/finetune/grad"
	"bilinc/runtime"
	"bilinc/runtime/op"
)

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitBudget      = 4
	exitTolerance   = 5
	exitUnsupported = 6
	exitInterrupted = 130
	exitTerminated  = 143
)

// exitHelp ends the help of every command.
const exitHelp = `
Exit status:
  0  done
  1  failed
  2  wrong usage
  3  the input model or data is invalid
  4  the asked budget cannot be met
  5  a comparison is out of tolerance
  6  the model uses an operator or type that this command cannot run
  130, 143  interrupted by SIGINT, SIGTERM
`

// An exitError is an error that knows the exit status and what to do about it.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage is an error of how the command was called.
func usage(err error, hint string) error { return &exitError{exitUsage, err, hint} }

// invalid is an error of the input model or data; nil for nil. What else the
// error says of itself (an operator that is not there) goes first.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	if code, _ := classify(err); code != exitFailed {
		return err
	}
	return &exitError{code: exitInvalid, err: err}
}

// ranBadly is the error of a run of a model that compiles: it is the fault of
// what goes in, an index outside a table, say. That of a run which ctx ended
// stays what it is.
func ranBadly(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return invalid(err)
}

// drawnBadly is ranBadly for inputs that may have been made up.
func drawnBadly(ctx context.Context, random bool, err error) error {
	err = ranBadly(ctx, err)
	if code, hint := classify(err); random && code == exitInvalid && hint == "" {
		return &exitError{code, err, "the inputs are random: --dim name=N gives symbolic dimensions other sizes, --data DATA real inputs"}
	}
	return err
}

// trainedBadly is the error of a training. Where it is none of the training
// itself, of ctx or of the system, the model, its teacher or the data do not
// go together.
func trainedBadly(ctx context.Context, err error) error {
	var diverged *finetune.DivergedError
	var system syscall.Errno
	if ctx.Err() != nil || errors.As(err, &diverged) || errors.As(err, &system) {
		return err
	}
	return invalid(err)
}

// classify is the exit status of an error and a hint, "" where there is none.
func classify(err error) (code int, hint string) {
	var e *exitError
	if errors.As(err, &e) {
		return e.code, e.hint
	}
	var infeasible *convert.InfeasibleError
	var unsupported *runtime.UnsupportedError
	var operator *op.Unsupported
	var input *runtime.InputError
	var gradient *grad.NotDifferentiableError
	var diverged *finetune.DivergedError
	switch {
	case errors.As(err, &infeasible):
		return exitBudget, "a smaller --ratio, or other --layers, can be met; the table says which"
	case errors.Is(err, convert.ErrOptions), errors.Is(err, finetune.ErrOptions):
		return exitUsage, ""
	case errors.Is(err, finetune.ErrCheckpoint):
		return exitInvalid, "without --resume the run starts anew and replaces the checkpoint"
	case errors.Is(err, finetune.ErrUntrainable):
		return exitUnsupported, "train the model before it is quantised or stored in half precision"
	case errors.As(err, &gradient):
		return exitUnsupported, "--train GLOB can train what comes after these nodes alone"
	case errors.As(err, &diverged):
		return exitFailed, "a smaller --lr, a --warmup of 0.05 or --clip 1 keeps a training from it"
	case errors.As(err, &unsupported), errors.As(err, &operator):
		return exitUnsupported, "inspect, plan and convert without data work for such a model; its outputs are not verified then"
	case errors.Is(err, onnx.ErrInvalid), errors.Is(err, runtime.ErrInvalid), errors.Is(err, convert.ErrPlan), errors.Is(err, convert.ErrData):
		return exitInvalid, ""
	case errors.As(err, &input):
		return exitInvalid, inputHint(input)
	}
	return exitFailed, ""
}

// inputHint says how an input of another shape can be had.
func inputHint(e *runtime.InputError) string {
	if strings.Contains(e.Want, "[") {
		return "--dim name=N gives a symbolic dimension its size"
	}
	return ""
}
