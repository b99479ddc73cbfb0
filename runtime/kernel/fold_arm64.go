//go:build !noasm

package kernel

// foldsNEON leaves powers to the portable code, which has the CPU's fused multiplication.
var foldsNEON = foldKernels{
	rows: [folds]fold{
		FoldSum:    foldRowsSumNEON,
		FoldAbs:    foldRowsAbsNEON,
		FoldSquare: foldRowsSquareNEON,
		FoldProd:   foldRowsProdNEON,
		FoldMax:    foldRowsMaxNEON,
		FoldMin:    foldRowsMinNEON,
	},
	columns: [folds]fold{
		FoldSum:    sixteens(FoldSum, foldColumnsSumNEON),
		FoldAbs:    sixteens(FoldAbs, foldColumnsAbsNEON),
		FoldSquare: sixteens(FoldSquare, foldColumnsSquareNEON),
		FoldProd:   sixteens(FoldProd, foldColumnsProdNEON),
		FoldMax:    sixteens(FoldMax, foldColumnsMaxNEON),
		FoldMin:    sixteens(FoldMin, foldColumnsMinNEON),
	},
	powerRows:    foldExpRowsGeneric,
	powerColumns: foldExpColumnsGeneric,
}

// sixteens is a fold of columns by one of whole sixteens.
func sixteens(f Fold, whole fold) fold {
	return func(m, n int, y []float64, x []float32, xs int) {
		most := n &^ 15
		if most > 0 {
			whole(m, most, y, x, xs)
		}
		if most < n {
			foldColumnsGeneric(f, m, n-most, y[most:], x[most:], xs)
		}
	}
}

//go:noescape
func foldRowsSumNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldRowsAbsNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldRowsSquareNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldRowsProdNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldRowsMaxNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldRowsMinNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsSumNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsAbsNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsSquareNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsProdNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsMaxNEON(m, n int, y []float64, x []float32, xs int)

//go:noescape
func foldColumnsMinNEON(m, n int, y []float64, x []float32, xs int)
