//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -folds -out ../fold_amd64.s -stubs ../fold_stubs_amd64.go -pkg kernel"

var foldsAVX2 = foldKernels{
	rows: [folds]fold{
		FoldSum:    foldRowsSumAVX2,
		FoldAbs:    foldRowsAbsAVX2,
		FoldSquare: foldRowsSquareAVX2,
		FoldProd:   foldRowsProdAVX2,
		FoldMax:    foldRowsMaxAVX2,
		FoldMin:    foldRowsMinAVX2,
	},
	columns: [folds]fold{
		FoldSum:    foldColumnsSumAVX2,
		FoldAbs:    foldColumnsAbsAVX2,
		FoldSquare: foldColumnsSquareAVX2,
		FoldProd:   foldColumnsProdAVX2,
		FoldMax:    foldColumnsMaxAVX2,
		FoldMin:    foldColumnsMinAVX2,
	},
	powerRows:    foldRowsExpAVX2,
	powerColumns: foldColumnsExpAVX2,
	quotients:    narrowQuotientsAVX2,
	roots:        narrowRootsAVX2,
}

var foldsAVX512 = foldKernels{
	rows: [folds]fold{
		FoldSum:    foldRowsSumAVX512,
		FoldAbs:    foldRowsAbsAVX512,
		FoldSquare: foldRowsSquareAVX512,
		FoldProd:   foldRowsProdAVX512,
		FoldMax:    foldRowsMaxAVX512,
		FoldMin:    foldRowsMinAVX512,
	},
	columns: [folds]fold{
		FoldSum:    foldColumnsSumAVX512,
		FoldAbs:    foldColumnsAbsAVX512,
		FoldSquare: foldColumnsSquareAVX512,
		FoldProd:   foldColumnsProdAVX512,
		FoldMax:    foldColumnsMaxAVX512,
		FoldMin:    foldColumnsMinAVX512,
	},
	powerRows:    foldRowsExpAVX512,
	powerColumns: foldColumnsExpAVX512,
	quotients:    narrowQuotientsAVX512,
	roots:        narrowRootsAVX512,
}
