package factorize

// moveCost is the time to move one number of a pair through memory, in multiplications of a matrix product.
const moveCost = 25

// pairCost is the time that one pair of terms takes in system or loss, in multiplications.
func (pr *problem) pairCost() float64 {
	n := float64(pr.N1 * pr.N2)
	return n*n + moveCost*(float64(pr.N1*pr.N1)+float64(pr.N2*pr.N2))
}

// pairsPay reports whether loss is cheaper than lossOf.
func (pr *problem) pairsPay(terms int) bool {
	return float64(pairs(0, terms))*pr.pairCost() < pr.sumCost(terms)
}

// sumCost is the multiplications of building Ŵ and multiplying it by C.
func (pr *problem) sumCost(terms int) float64 {
	apply, _, _ := pr.applyCost(terms, pr.m, pr.n, pr.n)
	return apply + float64(pr.m)*float64(pr.n)*float64(terms+moveCost)
}

// rowsCost is the multiplications of systemByRows: fixedRows products with C, for factors of k columns.
func rowsCost(terms, k, fixedRows, n int) float64 {
	t, x := float64(terms), float64(n)
	return float64(fixedRows) * (t*x*x + t*t*float64(k)*x + moveCost*t*float64(k)*x)
}

// rowsPay reports whether systemByRows is cheaper than systemByPairs, and possible: it does not serve padded inputs.
func (pr *problem) rowsPay(terms, k, fixedRows int) bool {
	return pr.N1*pr.N2 == pr.n && terms*k*pr.n <= chunkNumbers &&
		rowsCost(terms, k, fixedRows, pr.n) < float64(pairs(0, terms))*pr.pairCost()
}

// solveCost is the multiplications of setting up and solving the equations of some terms of k columns.
func (pr *problem) solveCost(terms, k, fixedRows int) float64 {
	size, setUp := float64(terms*k), float64(pairs(0, terms))*pr.pairCost()
	if pr.rowsPay(terms, k, fixedRows) {
		setUp = rowsCost(terms, k, fixedRows, pr.n)
	}
	return setUp + size*size*size/6
}

// largestJoint is how many times largestSystem a system may be where solving for all terms at once is quicker.
const largestJoint = 4

// inGroups reports whether a fit of so many terms is done in groups, for the largest system that needs no reason.
func (pr *problem) inGroups(terms, largest int) bool {
	size := terms * max(pr.N1, pr.N2)
	if terms == 1 || size <= largest {
		return false
	}
	return size > largestJoint*largest || pr.groupedCost(terms, largest) < pr.jointCost(terms)
}

// jointCost estimates the multiplications of one sweep of a fit of all terms at once.
func (pr *problem) jointCost(terms int) float64 {
	return pr.solveCost(terms, pr.N1, pr.M2) + pr.solveCost(terms, pr.N2, pr.M1)
}

// groupedCost is jointCost for a fit in groups.
func (pr *problem) groupedCost(terms, largest int) float64 {
	total := 0.0
	for _, s := range [][2]int{{pr.N1, pr.M2}, {pr.N2, pr.M1}} {
		group := min(terms, max(1, largest/s[0]))
		each := pr.solveCost(group, s[0], s[1]) + pr.sumCost(group) + moveCost*float64(pr.m)*float64(pr.n)
		total += each * float64(terms) / float64(group)
	}
	return total
}

// sweepCost estimates the multiplications of one sweep.
func (pr *problem) sweepCost(terms, largest int) float64 {
	if pr.inGroups(terms, largest) {
		return pr.groupedCost(terms, largest)
	}
	return pr.jointCost(terms)
}

// FitCost estimates the multiplications of so many sweeps of a fit to the moments of a layer of m outputs and n inputs.
func (s Shape) FitCost(terms, m, n, sweeps int) float64 {
	if s.IsLowRank() {
		return 0 // solved in closed form
	}
	pr := &problem{Shape: s, m: m, n: n}
	return float64(sweeps) * pr.sweepCost(terms, largestSystem)
}
