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

// inGroups reports whether a fit of so many terms is done in groups, given the largest system to be solved.
func (pr *problem) inGroups(terms, largest int) bool {
	return terms > 1 && terms*max(pr.N1, pr.N2) > largest
}

// sweepCost estimates the multiplications of one sweep of a fit.
func (pr *problem) sweepCost(terms, largest int) float64 {
	total := 0.0
	for _, s := range [][2]int{{pr.N1, pr.M2}, {pr.N2, pr.M1}} {
		k, fixedRows := s[0], s[1]
		if !pr.inGroups(terms, largest) {
			total += pr.solveCost(terms, k, fixedRows)
			continue
		}
		group := min(terms, max(1, largest/k))
		each := pr.solveCost(group, k, fixedRows) + pr.sumCost(group) + moveCost*float64(pr.m)*float64(pr.n)
		total += each * float64(terms) / float64(group)
	}
	return total
}
