package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"bilinc": main}) }

// TestScripts runs testdata/script/*.txtar, with $MODELS and $DATA the shipped
// models and data.
func TestScripts(t *testing.T) {
	shipped, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODELS", filepath.Join(shipped, "models"))
			e.Setenv("DATA", filepath.Join(shipped, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "model": cmdModel, "npz": cmdNPZ, "json": cmdJSON,
			"lone": cmdLone, "signal": cmdSignal, "cut": cmdCut, "same": cmdSame,
			"killed": cmdKilled,
		},
	})
}

// cmdExits runs a program that must end with the given status: exits 3 bilinc ….
// A status other than 0 comes with a message on stderr.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	stderr := ts.ReadFile("stderr")
	if got != want {
		ts.Fatalf("status %d, wanted %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), stderr)
	}
	if want != 0 && !strings.Contains(stderr, "bilinc: error: ") {
		ts.Fatalf("no error on stderr: %q", stderr)
	}
	for _, bad := range []string{"panic", "goroutine"} {
		if strings.Contains(stderr, bad) {
			ts.Fatalf("stderr: %s", stderr)
		}
	}
}

// cmdJSON checks that stdout is one JSON object, and what it holds: json
// layers/0/name=fc1 ratio>=4 outputs/y/rel_error=null. A path alone must be
// there, "key#=3" is a length.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var root map[string]any
	ts.Check(d.Decode(&root))
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("stdout holds more than one JSON value")
	}
	for _, arg := range args {
		path, op, want := arg, "", ""
		for _, o := range []string{"#=", ">=", "<=", "=", "<", ">"} {
			if p, w, ok := strings.Cut(arg, o); ok {
				path, op, want = p, o, w
				break
			}
		}
		got, ok := lookup(root, path)
		if !ok {
			ts.Fatalf("%s is not there: %s", path, ts.ReadFile("stdout"))
		}
		if !holds(got, op, want) {
			ts.Fatalf("%s is %v, wanted %s%s", path, got, op, want)
		}
	}
}

func lookup(v any, path string) (any, bool) {
	for _, key := range strings.Split(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[key]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func holds(got any, op, want string) bool {
	text := fmt.Sprint(got)
	if got == nil {
		text = "null"
	}
	switch op {
	case "":
		return true
	case "=":
		return text == want
	case "#=":
		n := -1
		switch x := got.(type) {
		case []any:
			n = len(x)
		case map[string]any:
			n = len(x)
		}
		return fmt.Sprint(n) == want
	}
	x, err := strconv.ParseFloat(text, 64)
	y, err2 := strconv.ParseFloat(want, 64)
	if err != nil || err2 != nil {
		return false
	}
	switch op {
	case ">=":
		return x >= y
	case "<=":
		return x <= y
	case "<":
		return x < y
	}
	return x > y
}

// cmdLone fails unless a folder holds exactly the named files: a temporary
// file left behind shows.
func cmdLone(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(args[1:], " ") {
		ts.Fatalf("%s holds %q, wanted %q", args[0], got, args[1:])
	}
}

// cmdSame fails unless two files hold the same bytes (with !: differ).
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if same := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); same == neg {
		ts.Fatalf("%s and %s: same %v", args[0], args[1], same)
	}
}

// cmdCut keeps the first bytes of a file: cut IN OUT BYTES.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	data := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:min(n, len(data))]), 0o600))
}

// cmdSignal starts a program, sends a signal once it works, and checks that it
// ends within a second with the given status: signal INT 130 bilinc ….
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	sig := map[string]string{"INT": "-INT", "TERM": "-TERM"}[args[0]]
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	path, err := exec.LookPath("kill")
	ts.Check(err)
	// A program that had not yet come to catch signals ends of this one
	// itself: then it is given more time.
	first := 200 * time.Millisecond
	switch {
	case slices.Contains(args, "--checkpoint"): // which is there once training has begun
		first = time.Second
	case slices.Contains(args, "--calib"), slices.Contains(args, "--finetune"): // in the middle of fits, or of training
		first = 2 * time.Second
	}
	for wait := first; ; wait *= 2 {
		cmd := exec.Command(inPath(ts, args[2]), args[3:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		ts.Check(cmd.Start())
		time.Sleep(wait)
		ts.Check(exec.Command(path, sig, strconv.Itoa(cmd.Process.Pid)).Run())
		start := time.Now()
		err := cmd.Wait()
		took := time.Since(start)
		if cmd.ProcessState.ExitCode() == -1 && wait < 2*time.Second {
			continue
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			ts.Fatalf("status %d (%v), wanted %d; stderr: %s", got, err, want, stderr.String())
		}
		limit := time.Second
		if slices.Contains(args, "--checkpoint") { // a step and a synced file come first
			limit = 10 * time.Second
		}
		if took > limit {
			ts.Fatalf("it took %v to stop", took)
		}
		if strings.Count(stderr.String(), "bilinc: error: interrupted") != 1 {
			ts.Fatalf("stderr: %s", stderr.String())
		}
		return
	}
}

// cmdKilled starts a program again and again, and kills it (SIGKILL) after a
// while of random length, until it has been killed so often and then ends by
// itself, with status 0: killed 10 bilinc ….
func cmdKilled(ts *testscript.TestScript, neg bool, args []string) {
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	most := 100 * time.Millisecond
	for kills := 0; ; {
		cmd := exec.Command(inPath(ts, args[1]), args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		ts.Check(cmd.Start())
		if kills < times {
			wait := time.Duration(r.Int64N(int64(most)))
			time.Sleep(wait)
			_ = cmd.Process.Kill() // it may be over
		}
		err := cmd.Wait()
		if err == nil {
			ts.Logf("killed %d times", kills)
			if kills < times {
				ts.Fatalf("it ended after %d kills, wanted %d", kills, times)
			}
			return
		}
		if cmd.ProcessState.Exited() {
			ts.Fatalf("after %d kills: status %d: %s", kills, cmd.ProcessState.ExitCode(), stderr.String())
		}
		kills++
		most += most / 10
	}
}

// inPath finds a program as the script would.
func inPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, name); exists(p) {
			return p
		}
	}
	ts.Fatalf("%s is not in the path", name)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
