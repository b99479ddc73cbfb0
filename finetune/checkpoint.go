package finetune

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bilinc/runtime/file"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// A Checkpoint says where a run is kept so that it can go on later. What goes
// on comes to the same bits as what was never interrupted.
type Checkpoint struct {
	Dir    string // a folder, made where it is not there; "": nothing is kept
	Every  int    // steps between two checkpoints, beside those after each epoch; 0: none
	Resume bool   // go on with the one that is there; where there is none, from the start
}

// CheckpointFile is the name of the file in Checkpoint.Dir. It is replaced as a
// whole: there is always one that is complete.
const CheckpointFile = "checkpoint.bilinc"

// checkpointVersion is that of the file's form:
//
//	"bilinc checkpoint\n", the version and the length of the header as uint32
//	little-endian, the header as JSON, the elements of the tensors it lists one
//	after the other, the SHA-256 of all that.
const checkpointVersion = 2

var checkpointMagic = []byte("bilinc checkpoint\n")

// ErrCheckpoint is wrapped by errors for a checkpoint that cannot be read or is
// that of another run.
var ErrCheckpoint = errors.New("unusable checkpoint")

func (c *Checkpoint) check() error {
	switch {
	case c.Every < 0:
		return fmt.Errorf("%w: a checkpoint every %d steps", ErrOptions, c.Every)
	case c.Dir == "" && (c.Resume || c.Every > 0):
		return fmt.Errorf("%w: no checkpoint folder is named", ErrOptions)
	}
	return nil
}

// prepare makes the folder, so that one which cannot be had fails before time
// is spent.
func (c *Checkpoint) prepare() error {
	if c.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if _, _, err := file.CheckOutput(filepath.Join(c.Dir, CheckpointFile), true); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// fingerprint is what a run is of.
type fingerprint struct {
	Student string `json:"student"`
	Teacher string `json:"teacher"`
	Units   int    `json:"units"`
	Labels  bool   `json:"labels"`
	Options string `json:"options"` // those that decide the result, as JSON
}

func newFingerprint(student, teacher *graph.Model, data Data) fingerprint {
	return fingerprint{Student: digest(student), Teacher: digest(teacher), Units: data.Units(), Labels: data.HasLabels()}
}

// digest is the SHA-256 of a model's graph and constants; "" of nil.
func digest(m *graph.Model) string {
	if m == nil {
		return ""
	}
	h := sha256.New()
	_ = m.WriteText(h) // a hash takes everything
	for _, v := range m.Graph.Consts() {
		fmt.Fprintln(h, v)
		h.Write(v.Init().Bytes())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// comparable is the options that decide the result, as JSON.
func (t *Trainer) comparable() (string, error) {
	o := t.o
	o.Pool, o.Progress, o.Train, o.Checkpoint = nil, nil, nil, Checkpoint{}
	var names []string
	for _, s := range t.slots {
		names = append(names, s.Value.Name())
	}
	b, err := json.Marshal(struct {
		plainOptions
		Trained []string
	}{plainOptions(o), names})
	return string(b), err
}

// plainOptions is Options without functions, which JSON has none of.
type plainOptions Options

// header is the beginning of a checkpoint.
type header struct {
	Of      fingerprint `json:"of"`
	State   state       `json:"state"`
	Tensors []entry     `json:"tensors"`
}

type entry struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

// tensors is the tensors that a checkpoint holds, with their names.
func (t *Trainer) tensors() ([]entry, []*tensor.Tensor) {
	var entries []entry
	var all []*tensor.Tensor
	for _, s := range t.slots {
		for _, k := range []struct {
			what string
			t    *tensor.Tensor
		}{{"", s.x}, {".mean", s.mean}, {".square", s.square}, {".average", s.average}, {".best", s.best}} {
			if k.t != nil {
				entries, all = append(entries, entry{s.Value.Name() + k.what, len(k.t.Bytes())}), append(all, k.t)
			}
		}
	}
	for _, s := range t.stats {
		entries, all = append(entries, entry{s.value.Name(), len(s.x.Bytes())}), append(all, s.x)
		if s.best != nil {
			entries, all = append(entries, entry{s.value.Name() + ".best", len(s.best.Bytes())}), append(all, s.best)
		}
	}
	return entries, all
}

// save writes a checkpoint, where a folder is named.
func (t *Trainer) save() error {
	dir := t.o.Checkpoint.Dir
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	entries, all := t.tensors()
	of := t.print
	var err error
	if of.Options, err = t.comparable(); err != nil {
		return err
	}
	head, err := json.Marshal(header{of, t.state, entries})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	err = file.WriteAtomic(filepath.Join(dir, CheckpointFile), true, func(w io.Writer) error {
		h := sha256.New()
		w = io.MultiWriter(w, h)
		var lengths [8]byte
		binary.LittleEndian.PutUint32(lengths[:], checkpointVersion)
		binary.LittleEndian.PutUint32(lengths[4:], uint32(len(head)))
		for _, b := range [][]byte{checkpointMagic, lengths[:], head} {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		for _, x := range all {
			if _, err := w.Write(x.Bytes()); err != nil {
				return err
			}
		}
		_, err := w.Write(h.Sum(nil))
		return err
	})
	t.kept = t.kept || err == nil
	return err
}

// Kept reports whether there is a checkpoint of the run.
func (t *Trainer) Kept() bool { return t.kept }

// load goes back to the checkpoint that is there; false: there is none, or none
// is wanted.
func (t *Trainer) load() (bool, error) {
	c := t.o.Checkpoint
	if !c.Resume {
		return false, nil
	}
	path := filepath.Join(c.Dir, CheckpointFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if err := t.read(f); err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrCheckpoint, path, err)
	}
	return true, nil
}

func (t *Trainer) read(f io.Reader) error {
	h := sha256.New()
	r := io.TeeReader(f, h)
	start := make([]byte, len(checkpointMagic)+8)
	if _, err := io.ReadFull(r, start); err != nil || !bytes.HasPrefix(start, checkpointMagic) {
		return errors.New("it is no checkpoint of bilinc")
	}
	lengths := start[len(checkpointMagic):]
	if v := binary.LittleEndian.Uint32(lengths); v != checkpointVersion {
		return fmt.Errorf("version %d, this program reads version %d", v, checkpointVersion)
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(binary.LittleEndian.Uint32(lengths[4:]))))
	if err != nil {
		return err
	}
	var head header
	if err := json.Unmarshal(text, &head); err != nil {
		return err
	}
	if err := t.same(&head.Of); err != nil {
		return err
	}
	for _, s := range t.slots {
		if t.o.Holdout >= 0 {
			s.best = tensor.New(s.x.DType(), s.x.Shape()...)
		}
	}
	for _, s := range t.stats {
		if t.o.Holdout >= 0 {
			s.best = tensor.New(s.x.DType(), s.x.Shape()...)
		}
	}
	entries, all := t.tensors()
	if len(entries) != len(head.Tensors) {
		return fmt.Errorf("it holds %d tensors, wanted %d", len(head.Tensors), len(entries))
	}
	for i, e := range head.Tensors {
		if e != entries[i] {
			return fmt.Errorf("it holds %q of %d bytes, wanted %q of %d", e.Name, e.Bytes, entries[i].Name, entries[i].Bytes)
		}
		if _, err := io.ReadFull(r, all[i].Bytes()); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
	}
	if err := sealed(f, h); err != nil {
		return err
	}
	t.state, t.kept = head.State, true
	t.train.Seek(t.Runs)
	return nil
}

// sealed checks the sum at the end.
func sealed(f io.Reader, h hash.Hash) error {
	want := h.Sum(nil)
	got, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("it is damaged: its sum is wrong")
	}
	return nil
}

// differing names the options of which two JSON objects hold different values.
func differing(of, mine string) string {
	var a, b map[string]json.RawMessage
	if json.Unmarshal([]byte(of), &a) != nil || json.Unmarshal([]byte(mine), &b) != nil {
		return of + ", now " + mine
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	var parts []string
	for _, n := range slices.Compact(names) {
		if x, y := string(a[n]), string(b[n]); x != y {
			const most = 60 // of a list of layers or weights
			if len(x)+len(y) > most {
				parts = append(parts, n+" differs")
			} else {
				parts = append(parts, fmt.Sprintf("%s %s, now %s", n, cmp.Or(x, "none"), cmp.Or(y, "none")))
			}
		}
	}
	return strings.Join(parts, "; ")
}

// same fails where a checkpoint is that of another run.
func (t *Trainer) same(of *fingerprint) error {
	mine := t.print
	var err error
	if mine.Options, err = t.comparable(); err != nil {
		return err
	}
	switch {
	case of.Student != mine.Student:
		return errors.New("it is of another model")
	case of.Teacher != mine.Teacher:
		return errors.New("it is of another teacher")
	case of.Units != mine.Units || of.Labels != mine.Labels:
		return fmt.Errorf("it is of other data: %d samples (labels: %v), now %d (%v)", of.Units, of.Labels, mine.Units, mine.Labels)
	case of.Options != mine.Options:
		return fmt.Errorf("it is of other options: %s", differing(of.Options, mine.Options))
	}
	return nil
}
