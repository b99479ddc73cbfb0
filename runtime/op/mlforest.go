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
	roots   []int32
	votes   [][]vote[T] // by leaf
	targets int
	steps   int // nodes on the way through all trees, roughly
}

// A branch goes to yes where the row's feature is at most split, else to no: to a
// node, or ^leaf.
type branch[T float] struct {
	split   T
	feature int32
	yes, no int32
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
	var stack []int
	place := func(i int) {
		if i >= 0 && at[i] == 0 {
			f.nodes, f.special = append(f.nodes, branch[T]{}), append(f.special, special[T]{})
			at[i] = int32(len(f.nodes))
			stack = append(stack, i)
		}
	}
	where := func(i int) int32 {
		if i < 0 {
			return int32(i)
		}
		return at[i] - 1
	}
	for _, r := range s.roots {
		place(r)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			n := s.nodes[i]
			place(n.no)
			place(n.yes)
			f.set(int(at[i]-1), n, where(n.yes), where(n.no))
		}
		f.roots = append(f.roots, where(r))
	}
	for size := len(f.nodes) / max(1, len(f.roots)); size > 0; size /= 2 {
		f.steps += len(f.roots)
	}
	f.steps += len(f.roots)
	return f
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
	for i >= 0 {
		n := &f.nodes[i]
		x := row[n.feature]
		sp := &f.special[i]
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
	return ^i
}

// leaves is leaf of several rows, to[r] of row r of x[… features].
func (f *forest[T]) leaves(to []int32, root int32, x []T, features int, careful []bool) {
	nodes := f.nodes
	for r := range to {
		row := x[r*features : (r+1)*features]
		if careful[r] {
			to[r] = f.leaf(root, row)
			continue
		}
		i := root
		for i >= 0 {
			n := &nodes[i]
			next := n.no
			if row[n.feature] <= n.split {
				next = n.yes
			}
			i = next
		}
		to[r] = ^i
	}
}

// careful says of which rows leaf has to find the way.
func (f *forest[T]) careful(x []T, rows, features int) []bool {
	out := make([]bool, rows)
	for r := range out {
		out[r] = !f.plain || slices.ContainsFunc(x[r*features:(r+1)*features], func(v T) bool { return v != v })
	}
	return out
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
	grain := min(blockRows, max(1, elementGrain/16/max(1, f.steps)))
	ctx.Pool.For(n, grain, func(lo, hi int) {
		rows := hi - lo
		x := x[lo*features : hi*features]
		careful := f.careful(x, rows, features)
		to := make([]int32, rows)
		tallies := newTallies[T](rows, f.targets)
		for _, root := range f.roots {
			f.leaves(to, root, x, features, careful)
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
	careful := f.careful(x, n, features)
	to := make([]int32, len(f.roots)*n)
	ctx.Pool.For(len(f.roots), max(1, elementGrain/64*len(f.roots)/f.steps), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f.leaves(to[i*n:(i+1)*n], f.roots[i], x, features, careful)
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
