package op

import (
	"fmt"
	"math"
	"slices"
)

// treeMode is the question that a node of a tree asks of a feature x, by the
// numbers that TreeEnsemble has for it.
type treeMode uint8

const (
	branchLEQ    treeMode = iota // x ≤ split
	branchLT                     // x < split
	branchGTE                    // x ≥ split
	branchGT                     // x > split
	branchEQ                     // x = split
	branchNEQ                    // x ≠ split
	branchMember                 // x is one of members
)

// A treeNode is a node as a model describes it.
type treeNode struct {
	mode    treeMode
	feature int
	split   float64
	members []float64
	yes, no int  // a node, or ^leaf
	missing bool // NaN is taken for yes
}

// A treeVote adds weight to the score of a target.
type treeVote struct {
	target int
	weight float64
}

// A forestSpec is trees as a model describes them, of which roots, children,
// leaves and targets are known to be there.
type forestSpec struct {
	nodes    []treeNode
	roots    []int // nodes, or ^leaf
	leaves   [][]treeVote
	targets  int
	features int // one more than the highest feature
}

// A forest is trees made for walking: over rows of features of type T. Every
// order is made a comparison ≤, and the nodes of a tree lie one after the other.
type forest[T float] struct {
	nodes   []branch[T]
	special []special[T] // by node, for rows with NaN and other questions than ≤
	plain   bool         // all questions are ≤
	quick   []quick      // the same nodes, where they are plain and of float32
	roots   []int32      // nodes
	votes   [][]vote[T]  // by leaf
	targets int
	steps   int // nodes on the way through all trees, roughly
}

// A branch goes to yes where the row's feature is at most split, else to no. A leaf
// is a branch that goes to itself whatever number it finds, split being +∞, and
// whose no is ^leaf.
type branch[T float] struct {
	split   T
	feature int32
	yes, no int32
}

// A quick is a branch whose split is the integer that sorts like it.
type quick struct{ split, feature, yes, no int32 }

// sortable is an integer that compares with others as x, no NaN, does.
func sortable(x float32) int32 {
	b := int32(math.Float32bits(x + 0)) // −0 is 0
	return b ^ int32(uint32(b>>31)>>1)
}

type special[T float] struct {
	members map[T]bool // not nil: the question is whether x is one of them
	nanYes  bool
}

type vote[T float] struct {
	target int32
	weight T
}

// check fails where a tree runs in a circle, and finds out how many features
// are wanted.
func (s *forestSpec) check() error {
	const (
		unseen = iota
		open
		done
	)
	state := make([]uint8, len(s.nodes))
	var stack []int
	for _, r := range s.roots {
		stack = append(stack[:0], r)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if i < 0 || state[i] == done {
				stack = stack[:len(stack)-1]
				continue
			}
			if state[i] == open {
				state[i] = done
				stack = stack[:len(stack)-1]
				continue
			}
			state[i] = open
			n := &s.nodes[i]
			if n.feature < 0 || n.feature > math.MaxInt32-1 {
				return fmt.Errorf("node %d asks for feature %d", i, n.feature)
			}
			s.features = max(s.features, n.feature+1)
			for _, next := range []int{n.no, n.yes} {
				if next >= 0 && state[next] == open {
					return fmt.Errorf("node %d leads back to node %d, where the way to it began", i, next)
				}
				stack = append(stack, next)
			}
		}
	}
	return nil
}

// newForest makes a forest of a spec that check has passed.
func newForest[T float](s *forestSpec) *forest[T] {
	f := &forest[T]{plain: true, targets: s.targets, votes: make([][]vote[T], len(s.leaves))}
	all := make([]vote[T], 0, len(s.leaves))
	for i, leaf := range s.leaves {
		from := len(all)
		for _, v := range leaf {
			all = append(all, vote[T]{int32(v.target), T(v.weight)})
		}
		f.votes[i] = all[from:len(all):len(all)]
	}
	at := make([]int32, len(s.nodes)) // where a node went, and 1
	leafAt := make([]int32, len(s.leaves))
	var stack []int
	place := func(i int) int32 {
		to := leafAt
		k := ^i
		if i >= 0 {
			to, k = at, i
		}
		if to[k] == 0 {
			self := int32(len(f.nodes))
			f.nodes, f.special = append(f.nodes, branch[T]{T(math.Inf(1)), 0, self, int32(i)}), append(f.special, special[T]{})
			if to[k] = self + 1; i >= 0 {
				stack = append(stack, i)
			}
		}
		return to[k] - 1
	}
	for _, r := range s.roots {
		f.roots = append(f.roots, place(r))
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			n := s.nodes[i]
			no := place(n.no)
			yes := place(n.yes)
			f.set(int(at[i]-1), n, yes, no)
		}
	}
	for size := len(f.nodes) / max(1, len(f.roots)); size > 0; size /= 2 {
		f.steps += len(f.roots)
	}
	f.steps += len(f.roots)
	f.hasten()
	return f
}

// hasten makes the quick nodes. A split of NaN, which nothing is at most, sorts
// before all numbers.
func (f *forest[T]) hasten() {
	nodes, ok := any(f.nodes).([]branch[float32])
	if !ok || !f.plain {
		return
	}
	f.quick = make([]quick, len(nodes))
	for i, n := range nodes {
		split := int32(math.MinInt32)
		if n.split == n.split {
			split = sortable(n.split)
		}
		f.quick[i] = quick{split, n.feature, n.yes, n.no}
	}
}

// set puts a node into place i: x < t is x ≤ the number before t, x > t is the
// opposite of x ≤ t, unless x is NaN.
func (f *forest[T]) set(i int, n treeNode, yes, no int32) {
	b, sp := branch[T]{T(n.split), int32(n.feature), yes, no}, special[T]{nanYes: n.missing}
	switch {
	case n.mode == branchMember || n.mode == branchEQ || n.mode == branchNEQ:
		f.plain = false
		of := n.members
		if n.mode != branchMember {
			of = []float64{n.split} // NaN is no member even of a set of it
		}
		sp.members = map[T]bool{}
		for _, m := range of {
			sp.members[T(m)] = true
		}
		if n.mode == branchNEQ {
			b.yes, b.no, sp.nanYes = no, yes, false
		}
	case b.split != b.split: // which no order is true of
	case n.mode == branchLT || n.mode == branchGTE:
		b.split = before(b.split)
		fallthrough
	default:
		if n.mode == branchGTE || n.mode == branchGT {
			b.yes, b.no, sp.nanYes = no, yes, !n.missing
		}
	}
	f.nodes[i], f.special[i] = b, sp
}

// before is the largest number less than x; NaN, which nothing is at most, of −∞.
func before[T float](x T) T {
	switch v := any(x).(type) {
	case float32:
		if x = T(math.Nextafter32(v, float32(math.Inf(-1)))); math.IsInf(float64(v), -1) {
			x = T(math.NaN())
		}
	case float64:
		if x = T(math.Nextafter(v, math.Inf(-1))); math.IsInf(v, -1) {
			x = T(math.NaN())
		}
	}
	return x
}

// leaf is where a row ends in the tree of a root.
func (f *forest[T]) leaf(root int32, row []T) int32 {
	i := root
	for f.nodes[i].yes != i {
		n, sp := &f.nodes[i], &f.special[i]
		x := row[n.feature]
		yes := x <= n.split
		switch {
		case x != x:
			yes = sp.nanYes
		case sp.members != nil:
			yes = sp.members[x]
		}
		if i = n.no; yes {
			i = n.yes
		}
	}
	return ^f.nodes[i].no
}

// A herd is rows that go through trees together.
type herd[T float] struct {
	x        []T // [rows features]
	features int
	keys     []int32 // sortable x, where the forest is quick
	careful  []bool  // rows that leaf has to find the way of
}

func (f *forest[T]) herd(x []T, rows, features int) herd[T] {
	h := herd[T]{x: x, features: features, careful: make([]bool, rows)}
	quick := f.quick != nil && features > 0
	for r := range h.careful {
		h.careful[r] = !quick || slices.ContainsFunc(x[r*features:(r+1)*features], func(v T) bool { return v != v })
	}
	if quick {
		h.keys = make([]int32, len(x))
		for i, v := range x {
			h.keys[i] = sortable(float32(v))
		}
	}
	return h
}

// leaves is leaf of all rows of a herd. Four rows go down
// together, so that one need not wait for the memory that another reads; those that
// have arrived stay where they are.
func (f *forest[T]) leaves(to []int32, root int32, h *herd[T]) {
	n := h.features
	nodes := f.quick
	for r := 0; r < len(to); r++ {
		if c := h.careful[r:]; r+4 > len(to) || c[0] || c[1] || c[2] || c[3] {
			to[r] = f.leaf(root, h.x[r*n:(r+1)*n])
			continue
		}
		rows := h.keys[r*n : (r+4)*n]
		x0, x1, x2, x3 := rows[:n], rows[n:2*n], rows[2*n:3*n], rows[3*n:]
		i0, i1, i2, i3 := root, root, root, root
		for {
			k0, k1, k2, k3 := nodes[i0].next(x0), nodes[i1].next(x1), nodes[i2].next(x2), nodes[i3].next(x3)
			if (k0^i0)|(k1^i1)|(k2^i2)|(k3^i3) == 0 {
				break
			}
			i0, i1, i2, i3 = k0, k1, k2, k3
		}
		to[r], to[r+1], to[r+2], to[r+3] = ^nodes[i0].no, ^nodes[i1].no, ^nodes[i2].no, ^nodes[i3].no
		r += 3
	}
}

// next is where a row goes: to no where split − x is negative. A branch of the
// processor's would be guessed wrong half of the time.
func (q *quick) next(row []int32) int32 {
	above := int32((int64(q.split) - int64(row[q.feature])) >> 63)
	return q.yes ^ (q.yes^q.no)&above
}

// aggregate is how votes for a target become its score.
type aggregate uint8

const (
	aggregateAverage aggregate = iota
	aggregateSum
	aggregateMin
	aggregateMax
)

var aggregateNames = []string{"AVERAGE", "SUM", "MIN", "MAX"}

// A tally is the scores of one row.
type tally[T float] struct {
	score []T
	has   []bool // whether there was a vote for it
}

// count adds the votes of a leaf.
func (t *tally[T]) count(votes []vote[T], how aggregate) {
	for _, v := range votes {
		k := v.target
		switch {
		case how <= aggregateSum:
			t.score[k] += v.weight
		case !t.has[k] || how == aggregateMin && v.weight < t.score[k] || how == aggregateMax && v.weight > t.score[k]:
			t.score[k] = v.weight
		}
		t.has[k] = true
	}
}

// blockRows is the rows that go through one tree after the other together, so
// that a tree is read from memory once for all of them.
const blockRows = 64

// run calls finish with the scores of each row of x[n features], at the same time
// perhaps. Votes are counted in the order of the trees.
func (f *forest[T]) run(ctx *Ctx, x []T, n, features int, how aggregate, finish func(row int, t *tally[T])) {
	if n < 8 && f.steps > elementGrain/16 {
		f.runTrees(ctx, x, n, features, how, finish)
		return
	}
	grain := min(blockRows, max(4, elementGrain/max(1, f.steps)&^3)) // whole herds
	ctx.Pool.For(n, grain, func(lo, hi int) {
		rows := hi - lo
		h := f.herd(x[lo*features:hi*features], rows, features)
		to := make([]int32, rows)
		tallies := newTallies[T](rows, f.targets)
		for _, root := range f.roots {
			f.leaves(to, root, &h)
			for r, leaf := range to {
				tallies[r].count(f.votes[leaf], how)
			}
		}
		for r := range tallies {
			finish(lo+r, &tallies[r])
		}
	})
}

// runTrees is run for few rows and many trees, which are shared out then.
func (f *forest[T]) runTrees(ctx *Ctx, x []T, n, features int, how aggregate, finish func(row int, t *tally[T])) {
	h := f.herd(x, n, features)
	to := make([]int32, len(f.roots)*n)
	ctx.Pool.For(len(f.roots), max(1, elementGrain/64*len(f.roots)/f.steps), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f.leaves(to[i*n:(i+1)*n], f.roots[i], &h)
		}
	})
	tallies := newTallies[T](n, f.targets)
	for i := range f.roots {
		for r := range tallies {
			tallies[r].count(f.votes[to[i*n+r]], how)
		}
	}
	for r := range tallies {
		finish(r, &tallies[r])
	}
}

func newTallies[T float](rows, targets int) []tally[T] {
	score, has := make([]T, rows*targets), make([]bool, rows*targets)
	out := make([]tally[T], rows)
	for r := range out {
		out[r] = tally[T]{score[r*targets : (r+1)*targets], has[r*targets : (r+1)*targets]}
	}
	return out
}
