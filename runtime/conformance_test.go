package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"bilinc/convert/onnx"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// The tolerances of the official backend tests: |a−b| ≤ atol + rtol·|b|.
const (
	officialRel = 1e-3
	officialAbs = 1e-5
)

// officialFolder is where the official test data lies; the test is skipped
// where there is none.
func officialFolder(t *testing.T) string {
	dir := os.Getenv("BILINC_ONNX_TESTDATA")
	if dir == "" {
		dir = "/usr/share/libonnx-testdata/data"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no official ONNX test data: set BILINC_ONNX_TESTDATA or install libonnx-testdata (%v)", err)
	}
	return dir
}

// suites are the folders of the official test data, with how many cases must
// pass: raised as operators come, never lowered.
var suites = []struct {
	name         string
	cases, floor int
}{
	{"node", 932, 915},
	{"pytorch-converted", 82, 82},
	{"pytorch-operator", 35, 35},
	{"simple", 23, 21},
}

// notRun is the official cases whose operators are not implemented, with the
// reason.
var notRun = map[string]string{
	"node/test_scan_sum":                  "Scan of opset 8 carries a batch axis, which no exporter since has written",
	"simple/test_gradient_of_add":         gradientNode,
	"simple/test_gradient_of_add_and_mul": gradientNode,
}

const gradientNode = "Gradient asks the runtime to differentiate the graph around it; finetune/grad does that"

// knownFailures is the official cases that are run and do not give what the
// files say, with the reason. One that passes must go from the list.
var knownFailures = map[string]string{
	"node/test_adam_multiple":                       "the file's numbers are those of an epsilon of 0.01, which the model does not set",
	"node/test_bernoulli":                           randomDraw,
	"node/test_bernoulli_double":                    randomDraw,
	"node/test_bernoulli_double_expanded":           randomDraw,
	"node/test_bernoulli_expanded":                  randomDraw,
	"node/test_bernoulli_seed":                      randomDraw,
	"node/test_bernoulli_seed_expanded":             randomDraw,
	"node/test_cast_FLOAT_to_BFLOAT16":              "the file's numbers are cut off, where ONNX asks for rounding to nearest",
	"node/test_castlike_BFLOAT16_to_FLOAT":          oddShape,
	"node/test_castlike_BFLOAT16_to_FLOAT_expanded": oddShape,
	"node/test_castlike_FLOAT_to_BFLOAT16":          oddShape,
	"node/test_castlike_FLOAT_to_BFLOAT16_expanded": oddShape,
	"node/test_training_dropout":                    randomDraw,
	"node/test_training_dropout_default":            randomDraw,
	"node/test_training_dropout_default_mask":       randomDraw,
	"node/test_training_dropout_mask":               randomDraw,
}

const (
	randomDraw = "the file holds one draw of numpy's generator"
	oddShape   = "the model declares [3 4] for an input that the file gives as [1]"
)

// TestConformance runs the official tests, each as its nodes stand, lowered, and
// after a write and a read.
func TestConformance(t *testing.T) {
	root := officialFolder(t)
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			entries, err := os.ReadDir(filepath.Join(root, s.name))
			if err != nil {
				t.Fatal(err)
			}
			passed, missing := 0, map[string]int{}
			for _, e := range entries {
				name := s.name + "/" + e.Name()
				err := runOfficial(filepath.Join(root, name))
				reason, known := knownFailures[name]
				if r, ok := notRun[name]; ok {
					reason, known = r, true
				}
				var u *op.Unsupported
				switch {
				case errors.As(err, &u):
					missing[strings.TrimPrefix(u.Error(), "operator ")]++
					if notRun[name] == "" {
						t.Errorf("%s is not run, but not on the list of such cases: %v", name, err)
					}
				case err == nil && known:
					t.Errorf("%s passes, but is on the list of those that do not (%s)", name, reason)
				case err == nil:
					passed++
				case !known:
					t.Errorf("%s: %v", name, err)
				}
			}
			t.Logf("%d cases, %d passed, %d not implemented:%s", len(entries), passed, sum(missing), list(missing))
			if len(entries) != s.cases {
				t.Logf("the data of libonnx-testdata 1.12 has %d cases", s.cases)
			}
			if len(entries) >= s.cases && passed < s.floor {
				t.Errorf("%d cases passed, wanted %d or more", passed, s.floor)
			}
		})
	}
}

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func list(counts map[string]int) string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := counts[names[i]], counts[names[j]]
		return a > b || a == b && names[i] < names[j]
	})
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "\n  %d × %s", counts[name], name)
	}
	return b.String()
}

// runOfficial runs the model of a folder on each of its data sets, in every form.
func runOfficial(dir string) error {
	m, err := onnx.Read(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return err
	}
	data, err := onnx.Encode(m)
	if err != nil {
		return err
	}
	again, err := onnx.Decode(data, "")
	if err != nil {
		return err
	}
	for _, form := range []struct {
		name  string
		model *graph.Model
		plain bool
	}{{"as it stands", m, true}, {"lowered", m, false}, {"written and read", again, false}} {
		p, err := runtime.Compile(form.model, runtime.Options{Threads: 1, NoLowering: form.plain})
		if err == nil {
			err = runSets(dir, p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", form.name, err)
		}
	}
	return nil
}

// runSets runs a program on each data set of a folder.
func runSets(dir string, p *runtime.Program) error {
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return errors.New("no data set")
	}
	for _, set := range sets {
		in, err := readValues(set, "input", p.Inputs())
		if err != nil {
			return err
		}
		want, err := readValues(set, "output", p.Outputs())
		if err != nil {
			return err
		}
		got, err := p.Run(context.Background(), in)
		if err != nil {
			return err
		}
		for i, port := range p.Outputs() {
			if err := sameValue(got[i], want[i], officialRel, officialAbs); err != nil {
				return fmt.Errorf("%s: output %q: %w", filepath.Base(set), port.Name, err)
			}
		}
	}
	return nil
}

// readValues reads the files of a data set, which count inputs and outputs.
func readValues(set, kind string, ports []runtime.Port) ([]tensor.Value, error) {
	values := make([]tensor.Value, len(ports))
	for i, port := range ports {
		path := filepath.Join(set, fmt.Sprintf("%s_%d.pb", kind, i))
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && port.Optional {
			continue
		}
		_, v, err := onnx.ReadValue(path, port.Type)
		if err != nil {
			return nil, fmt.Errorf("%s of data set %s: %w", filepath.Base(path), filepath.Base(set), err)
		}
		values[i] = asDeclared(v, port.Type)
	}
	return values, nil
}

// asDeclared gives v the type bfloat16 where the model declares that: the
// official files hold the bits as uint16.
func asDeclared(v tensor.Value, t graph.Type) tensor.Value {
	if v.Kind != tensor.KindTensor || t.DType != tensor.BFloat16 || v.Tensor.DType() != tensor.Uint16 {
		return v
	}
	b, err := tensor.FromBytes(tensor.BFloat16, v.Tensor.Shape(), v.Tensor.Bytes())
	if err != nil {
		return v
	}
	return tensor.ValueOf(b)
}

// sameValue fails unless got is want, floats within the tolerances.
func sameValue(got, want tensor.Value, rel, abs float64) error {
	if got.Kind != want.Kind || len(got.Elems) != len(want.Elems) {
		return fmt.Errorf("found a %v of %d elements, wanted a %v of %d", got.Kind, len(got.Elems), want.Kind, len(want.Elems))
	}
	for i := range got.Elems {
		if err := sameValue(got.Elems[i], want.Elems[i], rel, abs); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	if got.Kind != tensor.KindTensor {
		return nil
	}
	return sameTensor(got.Tensor, want.Tensor, rel, abs)
}

func sameTensor(got, want *tensor.Tensor, rel, abs float64) error {
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("found %v, wanted %v", got, want)
	}
	if !want.DType().IsFloat() {
		if !tensor.Equal(got, want) {
			return fmt.Errorf("%v has other elements than wanted", got)
		}
		return nil
	}
	a, err := tensor.Float64s(got)
	if err != nil {
		return err
	}
	b, err := tensor.Float64s(want)
	if err != nil {
		return err
	}
	for i := range a {
		if a[i] == b[i] || math.IsNaN(a[i]) && math.IsNaN(b[i]) {
			continue
		}
		if d := math.Abs(a[i] - b[i]); !(d <= abs+rel*math.Abs(b[i])) {
			return fmt.Errorf("%v: element %d is %g, wanted %g", got, i, a[i], b[i])
		}
	}
	return nil
}
