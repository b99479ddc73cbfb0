// Bilinc replaces the fully connected layers of ONNX models by bilinear
// factors, runs and compares models. `bilinc --help` lists its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bilinc/runtime/kernel"
)

func main() {
	collectLate()
	a := &app{stdout: os.Stdout, stderr: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	ctx := withSignals(context.Background(), &a.patient)
	os.Exit(onDeepStack(func() int { return a.main(ctx, os.Args[1:]) }))
}

// onDeepStack calls f after the stack has grown to what a command needs: it
// grows in one step then, and not in five that each copy all frames, which took
// a tenth of the time of running a small model.
//
//go:noinline
func onDeepStack(f func() int) int {
	if f == nil { // never: the array is only there to be room, and is not even cleared
		var room [48 << 10]byte
		fill(room[:])
	}
	return f()
}

//go:noinline
func fill(b []byte) {
	for i := range b {
		b[i] = 1
	}
}

// app is what all commands share: the streams and the flags of all commands.
type app struct {
	stdout, stderr io.Writer
	terminal       bool // stderr is one: progress may be animated

	json, quiet bool
	threads     int
	seed        uint64
	kernelPath  string
	pool        *kernel.Pool

	patient atomic.Bool // a signal waits for the command, which has something to keep

	args []string // of the whole command

	ran bool // a command's own code was reached: an error is not one of usage
}

// main runs the command that args name and returns the exit status.
func (a *app) main(ctx context.Context, args []string) int {
	a.args = args
	out := &results{w: a.stdout}
	a.stdout = out
	root := a.root(args)
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil {
		a.ran, err = true, out.err
	}
	if err == nil {
		return exitDone
	}
	if sig := (*interrupted)(nil); errors.As(context.Cause(ctx), &sig) {
		fmt.Fprintln(a.stderr, "bilinc: error: interrupted")
		return sig.code()
	}
	if !a.ran {
		err = usage(err, "")
	}
	code, hint := classify(err)
	if code == exitUsage && hint == "" {
		hint = fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	}
	fmt.Fprintf(a.stderr, "bilinc: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "; ")) // joined errors
	if hint != "" {
		fmt.Fprintf(a.stderr, "bilinc: hint: %s\n", hint)
	}
	return code
}

// results is stdout. It keeps the first error, so that a table which is cut
// short by a full disk is not called done.
type results struct {
	w   io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.w.Write(p)
	r.err = err
	return n, err
}

// root is the command tree, without the commands that args cannot mean: to
// define the flags of all of them takes as long as reading a small model.
func (a *app) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "bilinc",
		Short: "Make ONNX models smaller with bilinear factors, and run them",
		Long: "Bilinc replaces the fully connected layers of an ONNX model by sums of bilinear\n" +
			"factors (W ≈ Σ A ⊗ B), writes standard ONNX again, and runs and compares models\n" +
			"in its own runtime. Nothing is sent or fetched over a network.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command is given")
			}
			return fmt.Errorf("there is no command %q", args[0])
		},
	}
	// A usage template would do this too, but what executes templates may call any method by its name: the linker keeps
	// them all then, which makes the program a quarter larger, and every start of it take longer.
	usage := root.UsageFunc()
	root.SetUsageFunc(func(c *cobra.Command) error {
		if err := usage(c); err != nil {
			return err
		}
		_, err := io.WriteString(c.OutOrStderr(), exitHelp)
		return err
	})
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print one JSON object on stdout, nothing else there")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no notes on stderr")
	f.IntVar(&a.threads, "threads", 0, "threads to compute with (default: all cores)")
	f.Uint64Var(&a.seed, "seed", 0, "seed of everything random")
	f.StringVar(&a.kernelPath, "kernel", "", "pin the kernels: generic, avx2, avx512 or neon (default: the best this CPU has)")
	commands := []struct {
		name string
		make func() *cobra.Command
	}{
		{"inspect", a.inspectCmd}, {"plan", a.planCmd}, {"convert", a.convertCmd}, {"finetune", a.finetuneCmd}, {"run", a.runCmd},
		{"eval", a.evalCmd}, {"compare", a.compareCmd}, {"bench", a.benchCmd}, {"version", a.versionCmd}, {"completion", a.completionCmd},
	}
	for _, c := range commands {
		if len(args) > 0 && args[0] == c.name {
			root.AddCommand(c.make())
			return root
		}
	}
	for _, c := range commands {
		root.AddCommand(c.make())
	}
	return root
}

// runs gives cmd its body. What comes before it (flags, their groups, the
// number of arguments) are errors of usage.
func (a *app) runs(cmd *cobra.Command, f func(ctx context.Context, args []string) error) *cobra.Command {
	return a.runsBriefly(cmd, func(ctx context.Context, args []string) error {
		ctx.Done() // signals are watched from now on
		return f(ctx, args)
	})
}

// runsBriefly is runs for a command that may be over before signals are worth
// watching, and looks at its context all the time where it is not.
func (a *app) runsBriefly(cmd *cobra.Command, f func(ctx context.Context, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if a.threads < 0 {
			return fmt.Errorf("--threads %d: wanted 1 or more", a.threads)
		}
		if a.kernelPath != "" {
			if err := kernel.Use(a.kernelPath); err != nil {
				return err
			}
		}
		a.ran = true
		a.pool = kernel.NewPool(a.threads)
		return f(cmd.Context(), args)
	}
	return cmd
}

// note tells the user what the program decided; --quiet silences it.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "bilinc: note: "+format+"\n", args...)
	}
}

// warn tells the user what may not be as wanted.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "bilinc: warning: "+format+"\n", args...)
}
