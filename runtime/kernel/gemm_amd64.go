//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg kernel"

// cpuPaths returns the paths that this CPU and its operating system can run, the best one last.
func cpuPaths() []*path {
	avx2, avx512 := features()
	var have []*path
	if avx2 {
		have = append(have, &path{
			name: "avx2",
			f32:  &impl[float32]{mr: 6, nr: 16, tile: tileAVX2F32, stream: streamAVX2F32, few: fewAVX2F32, row: rowAVX2F32, pair: pairAVX2F32, turn: turnF32, side: 8},
			f64:  &impl[float64]{mr: 6, nr: 8, tile: tileAVX2F64, stream: streamAVX2F64, few: fewAVX2F64, row: rowAVX2F64, turn: turnF64, side: 4},
			unary: [functions]unary[float32]{
				Relu:        reluAVX2,
				LeakyRelu:   leakyReluAVX2,
				Clip:        clipAVX2,
				HardSigmoid: hardSigmoidAVX2,
				HardSwish:   hardSwishAVX2,
				Exp:         expAVX2,
				Sigmoid:     sigmoidAVX2,
				Silu:        siluAVX2,
				Tanh:        tanhAVX2,
				Erf:         erfAVX2,
				Gelu:        geluAVX2,
				GeluTanh:    geluTanhAVX2,
				Abs:         absAVX2,
				Neg:         negAVX2,
				Sign:        signAVX2,
				Floor:       floorAVX2,
				Ceil:        ceilAVX2,
				Round:       roundAVX2,
				Sqrt:        sqrtAVX2,
				Reciprocal:  reciprocalAVX2,
				Softsign:    softsignAVX2,
				Threshold:   thresholdAVX2,
				Elu:         eluAVX2,
				Log:         logAVX2,
				Log1p:       log1pAVX2,
				Softplus:    softplusAVX2,
				Mish:        mishAVX2,
			},
			zips: [operations]zips{
				Plus:  {addAVX2, addRightAVX2, nil},
				Minus: {subAVX2, subRightAVX2, subLeftAVX2},
				Times: {mulAVX2, mulRightAVX2, nil},
				Over:  {divAVX2, divRightAVX2, divLeftAVX2},

				Minimum: {minAVX2, minRightAVX2, nil},
				Maximum: {maxAVX2, maxRightAVX2, nil},
				Slope:   {slopeAVX2, slopeRightAVX2, zipsGeneric[Slope].left},
			},
			rows:    rowKernels{softmaxAVX2, layerNormAVX2},
			windows: windowsAVX2,
			folds:   foldsAVX2,
			cells:   cellKernels{lstmAVX2, gruAVX2, gruLateAVX2, gatedAVX2},
			norms:   normsAVX2,
		})
	}
	if avx512 {
		have = append(have, &path{
			name: "avx512",
			f32:  &impl[float32]{mr: 8, nr: 32, tile: tileAVX512F32, stream: streamAVX512F32, few: fewAVX512F32, row: rowAVX512F32, pair: pairAVX512F32, turn: turnF32, side: 8},
			f64:  &impl[float64]{mr: 8, nr: 16, tile: tileAVX512F64, stream: streamAVX512F64, few: fewAVX512F64, row: rowAVX512F64, turn: turnF64, side: 4},
			unary: [functions]unary[float32]{
				Relu:        reluAVX512,
				LeakyRelu:   leakyReluAVX512,
				Clip:        clipAVX512,
				HardSigmoid: hardSigmoidAVX512,
				HardSwish:   hardSwishAVX512,
				Exp:         expAVX512,
				Sigmoid:     sigmoidAVX512,
				Silu:        siluAVX512,
				Tanh:        tanhAVX512,
				Erf:         erfAVX512,
				Gelu:        geluAVX512,
				GeluTanh:    geluTanhAVX512,
				Abs:         absAVX512,
				Neg:         negAVX512,
				Sign:        signAVX512,
				Floor:       floorAVX512,
				Ceil:        ceilAVX512,
				Round:       roundAVX512,
				Sqrt:        sqrtAVX512,
				Reciprocal:  reciprocalAVX512,
				Softsign:    softsignAVX512,
				Threshold:   thresholdAVX512,
				Elu:         eluAVX512,
				Log:         logAVX512,
				Log1p:       log1pAVX512,
				Softplus:    softplusAVX512,
				Mish:        mishAVX512,
			},
			zips: [operations]zips{
				Plus:  {addAVX512, addRightAVX512, nil},
				Minus: {subAVX512, subRightAVX512, subLeftAVX512},
				Times: {mulAVX512, mulRightAVX512, nil},
				Over:  {divAVX512, divRightAVX512, divLeftAVX512},

				Minimum: {minAVX512, minRightAVX512, nil},
				Maximum: {maxAVX512, maxRightAVX512, nil},
				Slope:   {slopeAVX512, slopeRightAVX512, zipsGeneric[Slope].left},
			},
			rows:    rowKernels{softmaxAVX512, layerNormAVX512},
			windows: windowsAVX512,
			folds:   foldsAVX512,
			cells:   cellKernels{lstmAVX512, gruAVX512, gruLateAVX512, gatedAVX512},
			norms:   normsAVX512,
		})
	}
	return have
}

// features asks the CPU for AVX2 with FMA and for AVX-512F, and the operating system, by way of
// XCR0, whether it keeps their registers (Intel SDM vol. 1, 14.3 and 15.2).
func features() (avx2, avx512 bool) {
	if leaves, _, _, _ := cpuid(0, 0); leaves < 7 {
		return false, false
	}
	const fma, osxsave, avx = 1 << 12, 1 << 27, 1 << 28
	if _, _, c, _ := cpuid(1, 0); c&fma == 0 || c&osxsave == 0 || c&avx == 0 {
		return false, false
	}
	const ymmState, zmmState = 0x06, 0xe6
	xcr0 := xgetbv()
	_, b, _, _ := cpuid(7, 0)
	avx2 = b&(1<<5) != 0 && xcr0&ymmState == ymmState
	avx512 = avx2 && b&(1<<16) != 0 && xcr0&zmmState == zmmState
	return avx2, avx512
}
