package op

import (
	"math"

	"bilinc/runtime/kernel"
)

// A parser decodes the attributes of a node.
type parser func(a *attrs) Op

// An entry says that parse serves an operator from opset since on, until a
// later entry of the same operator takes over.
type entry struct {
	op    string
	since int64
	parse parser
}

// domains lists the operators of each domain: the one place where an operator
// is registered.
var domains = map[string][]entry{
	"":                         onnxOps,
	"ai.onnx.preview.training": trainingOps,
	mlDomain:                   mlOps,
	"com.microsoft":            microsoftOps,
}

// microsoftOps is what ONNX Runtime's optimiser writes.
var microsoftOps = []entry{
	// msops.go
	{"BiasGelu", 1, parseBiasGelu("BiasGelu", true, kernel.Gelu)},
	{"FastGelu", 1, parseBiasGelu("FastGelu", false, kernel.GeluTanh)},
	{"FusedMatMul", 1, parseFusedMatMul},
	{"Gelu", 1, parseGelu},
	{"QuickGelu", 1, parseQuickGelu},
	{"SkipLayerNormalization", 1, parseSkipLayerNorm},
}

// mlOps is classical learners and what prepares their data.
var mlOps = []entry{
	// mlscale.go, mlencode.go, mlmap.go
	{"Binarizer", 1, parseBinarizer},
	{"FeatureVectorizer", 1, parseFeatureVectorizer},
	{"Imputer", 1, parseImputer},
	{"Normalizer", 1, parseNormalizer},
	{"Scaler", 1, parseScaler},
	{"ArrayFeatureExtractor", 1, parseArrayFeatureExtractor},
	{"CategoryMapper", 1, parseCategoryMapper},
	{"LabelEncoder", 1, parseLabelEncoder1},
	{"LabelEncoder", 2, parseLabelEncoder},
	{"OneHotEncoder", 1, parseOneHotEncoder},
	{"CastMap", 1, parseCastMap},
	{"DictVectorizer", 1, parseDictVectorizer},
	{"ZipMap", 1, parseZipMap},
	// mllinear.go, mlsvm.go, mlensemble.go
	{"LinearClassifier", 1, parseLinearClassifier},
	{"LinearRegressor", 1, parseLinearRegressor},
	{"SVMClassifier", 1, parseSVMClassifier},
	{"SVMRegressor", 1, parseSVMRegressor},
	{"TreeEnsemble", 5, parseTreeEnsemble},
	{"TreeEnsembleClassifier", 1, parseTreeClassifier},
	{"TreeEnsembleRegressor", 1, parseTreeRegressor},
}

// trainingOps is steps of optimizers.
var trainingOps = []entry{
	// optimizer.go
	{"Adagrad", 1, parseAdagrad},
	{"Adam", 1, parseAdam},
	{"Momentum", 1, parseMomentum},
}

// onnxOps is ONNX's own domain, by family.
var onnxOps = []entry{
	// aligned.go, arith.go
	{"Add", 1, parseAligned(parseArith("Add", addCode))},
	{"Add", 7, parseArith("Add", addCode)},
	{"Sub", 1, parseAligned(parseArith("Sub", subCode))},
	{"Sub", 7, parseArith("Sub", subCode)},
	{"Mul", 1, parseAligned(parseArith("Mul", mulCode))},
	{"Mul", 7, parseArith("Mul", mulCode)},
	{"Div", 1, parseAligned(parseArith("Div", divCode))},
	{"Div", 7, parseArith("Div", divCode)},
	// unary.go
	{"Sqrt", 6, parseUnary("Sqrt", math.Sqrt)},
	{"Exp", 6, parseUnary("Exp", math.Exp)},
	{"Log", 6, parseUnary("Log", math.Log)},
	{"Erf", 9, parseUnary("Erf", math.Erf)},
	{"Sin", 7, parseUnary("Sin", math.Sin)},
	{"Cos", 7, parseUnary("Cos", math.Cos)},
	{"Tan", 7, parseUnary("Tan", math.Tan)},
	{"Asin", 7, parseUnary("Asin", math.Asin)},
	{"Acos", 7, parseUnary("Acos", math.Acos)},
	{"Atan", 7, parseUnary("Atan", math.Atan)},
	{"Sinh", 9, parseUnary("Sinh", math.Sinh)},
	{"Cosh", 9, parseUnary("Cosh", math.Cosh)},
	{"Tanh", 6, parseUnary("Tanh", math.Tanh)},
	{"Asinh", 9, parseUnary("Asinh", math.Asinh)},
	{"Acosh", 9, parseUnary("Acosh", math.Acosh)},
	{"Atanh", 9, parseUnary("Atanh", math.Atanh)},
	{"Ceil", 6, parseUnary("Ceil", math.Ceil)},
	{"Floor", 6, parseUnary("Floor", math.Floor)},
	{"Round", 11, parseUnary("Round", math.RoundToEven)},
	{"Reciprocal", 6, parseUnary("Reciprocal", reciprocal)},
	{"Sigmoid", 6, parseUnary("Sigmoid", sigmoid)},
	{"Softplus", 1, parseUnary("Softplus", softplus)},
	{"Softsign", 1, parseUnary("Softsign", softsign)},
	{"Mish", 18, parseUnary("Mish", mish)},
	{"HardSwish", 14, parseUnary("HardSwish", hardSwish)},
	{"Abs", 6, parseNumeric("Abs", math.Abs)},
	{"Neg", 6, parseNumeric("Neg", negate)},
	{"Sign", 9, parseNumeric("Sign", sign)},
	{"Relu", 6, parseRelu},
	{"LeakyRelu", 6, parseLeakyRelu},
	{"PRelu", 1, parseChannels(parsePRelu)},
	{"PRelu", 7, parsePRelu},
	{"Elu", 6, parseElu},
	{"Celu", 12, parseCelu},
	{"Selu", 6, parseSelu},
	{"HardSigmoid", 6, parseHardSigmoid},
	{"ThresholdedRelu", 10, parseThresholdedRelu},
	{"Shrink", 9, parseShrink},
	{"Gelu", 20, parseGelu},
	// minmax.go
	{"Min", 6, parseVariadic("Min")},
	{"Max", 6, parseVariadic("Max")},
	{"Sum", 6, parseVariadic("Sum")},
	{"Mean", 6, parseVariadic("Mean")},
	{"Clip", 6, parseClip6},
	{"Clip", 11, parseClip11},
	// pow.go
	{"Pow", 1, parseAligned(parsePow)},
	{"Pow", 7, parsePow},
	{"Mod", 10, parseMod},
	// compare.go
	{"Less", 1, parseAligned(parseCompare("Less", true, false, false))},
	{"Less", 7, parseCompare("Less", true, false, false)},
	{"Equal", 1, parseAligned(parseCompare("Equal", false, true, false))},
	{"Equal", 7, parseCompare("Equal", false, true, false)},
	{"Greater", 1, parseAligned(parseCompare("Greater", false, false, true))},
	{"Greater", 7, parseCompare("Greater", false, false, true)},
	{"LessOrEqual", 12, parseCompare("LessOrEqual", true, true, false)},
	{"GreaterOrEqual", 12, parseCompare("GreaterOrEqual", false, true, true)},
	{"And", 1, parseAligned(parseLogic("And", kernel.And))},
	{"And", 7, parseLogic("And", kernel.And)},
	{"Or", 1, parseAligned(parseLogic("Or", kernel.Or))},
	{"Or", 7, parseLogic("Or", kernel.Or)},
	{"Xor", 1, parseAligned(parseLogic("Xor", kernel.Xor))},
	{"Xor", 7, parseLogic("Xor", kernel.Xor)},
	{"Not", 1, parseNot},
	{"IsNaN", 9, parseIsNaN},
	{"IsInf", 10, parseIsInf},
	{"Where", 9, parseWhere},
	// cast.go, identity.go
	{"Cast", 6, parseCast},
	{"CastLike", 15, parseCastLike},
	{"Identity", 1, parseIdentity},
	{"Dropout", 7, parseDropout},
	// reduce.go
	{"ReduceSum", 1, parseReduce("ReduceSum")},
	{"ReduceSum", 13, parseReduceInput("ReduceSum")},
	{"ReduceMean", 1, parseReduce("ReduceMean")},
	{"ReduceMean", 18, parseReduceInput("ReduceMean")},
	{"ReduceMax", 1, parseReduce("ReduceMax")},
	{"ReduceMax", 18, parseReduceInput("ReduceMax")},
	{"ReduceMin", 1, parseReduce("ReduceMin")},
	{"ReduceMin", 18, parseReduceInput("ReduceMin")},
	{"ReduceProd", 1, parseReduce("ReduceProd")},
	{"ReduceProd", 18, parseReduceInput("ReduceProd")},
	{"ReduceL1", 1, parseReduce("ReduceL1")},
	{"ReduceL1", 18, parseReduceInput("ReduceL1")},
	{"ReduceL2", 1, parseReduce("ReduceL2")},
	{"ReduceL2", 18, parseReduceInput("ReduceL2")},
	{"ReduceSumSquare", 1, parseReduce("ReduceSumSquare")},
	{"ReduceSumSquare", 18, parseReduceInput("ReduceSumSquare")},
	{"ReduceLogSum", 1, parseReduce("ReduceLogSum")},
	{"ReduceLogSum", 18, parseReduceInput("ReduceLogSum")},
	{"ReduceLogSumExp", 1, parseReduce("ReduceLogSumExp")},
	{"ReduceLogSumExp", 18, parseReduceInput("ReduceLogSumExp")},
	{"ArgMax", 1, parseArg("ArgMax", true)},
	{"ArgMin", 1, parseArg("ArgMin", false)},
	{"CumSum", 11, parseCumSum},
	// softmax.go
	{"Softmax", 1, parseSoftmax1("Softmax", softmaxPlain)},
	{"Softmax", 13, parseSoftmax13("Softmax", softmaxPlain)},
	{"LogSoftmax", 1, parseSoftmax1("LogSoftmax", softmaxLog)},
	{"LogSoftmax", 13, parseSoftmax13("LogSoftmax", softmaxLog)},
	{"Hardmax", 1, parseSoftmax1("Hardmax", softmaxHard)},
	{"Hardmax", 13, parseSoftmax13("Hardmax", softmaxHard)},
	// sequence.go, sequencemap.go, optional.go
	{"SequenceConstruct", 11, parseSequenceConstruct},
	{"SequenceEmpty", 11, parseSequenceEmpty},
	{"SequenceAt", 11, parseSequenceAt},
	{"SequenceErase", 11, parseSequenceErase},
	{"SequenceInsert", 11, parseSequenceInsert},
	{"SequenceLength", 11, parseSequenceLength},
	{"ConcatFromSequence", 11, parseConcatFromSequence},
	{"SplitToSequence", 11, parseSplitToSequence},
	{"SequenceMap", 17, parseSequenceMap},
	{"Optional", 15, parseOptional},
	{"OptionalGetElement", 15, parseOptionalGet},
	{"OptionalHasElement", 15, parseOptionalHas},
	// norm.go, batchtrain.go
	{"LayerNormalization", 17, parseLayerNorm},
	{"BatchNormalization", 1, parseBatchNorm},
	{"InstanceNormalization", 6, parseInstanceNorm},
	{"GroupNormalization", 18, parseGroupNorm},
	{"LpNormalization", 1, parseLpNorm},
	{"MeanVarianceNormalization", 9, parseMeanVariance},
	{"LRN", 1, parseLRN},
	// loss.go
	{"NegativeLogLikelihoodLoss", 12, parseNLLLoss("NegativeLogLikelihoodLoss", false)},
	{"SoftmaxCrossEntropyLoss", 12, parseNLLLoss("SoftmaxCrossEntropyLoss", true)},
	// text.go, tfidf.go
	{"StringNormalizer", 10, parseStringNormalizer},
	{"StringConcat", 20, parseStringConcat},
	{"StringSplit", 20, parseStringSplit},
	{"RegexFullMatch", 20, parseRegexMatch},
	{"TfIdfVectorizer", 9, parseTfIdf},
	// fourier.go
	{"DFT", 17, parseDFT},
	{"STFT", 17, parseSTFT},
	{"BlackmanWindow", 17, parseCosines("BlackmanWindow", 0.42, -0.5, 0.08)},
	{"HammingWindow", 17, parseCosines("HammingWindow", 25./46, -21./46)},
	{"HannWindow", 17, parseCosines("HannWindow", 0.5, -0.5)},
	{"MelWeightMatrix", 17, parseMelWeights},
	// random.go
	{"RandomNormal", 1, parseNormal},
	{"RandomNormalLike", 1, parseNormal},
	{"RandomUniform", 1, parseUniform},
	{"RandomUniformLike", 1, parseUniform},
	{"Bernoulli", 15, parseBernoulli},
	{"Multinomial", 7, parseMultinomial},
	// matmul.go, gemm.go
	{"MatMul", 1, parseMatMul},
	{"Gemm", 1, parseGemm},
	// constant.go
	{"Constant", 1, parseConstant},
	{"ConstantOfShape", 9, parseConstantOfShape},
	// shape.go, reshape.go
	{"Shape", 1, parseShape},
	{"Size", 1, parseSize},
	{"Reshape", 5, parseReshape},
	{"Flatten", 1, parseFlatten},
	{"Squeeze", 1, parseSqueeze},
	{"Unsqueeze", 1, parseUnsqueeze},
	// transpose.go, concat.go, split.go, slice.go, expand.go
	{"Transpose", 1, parseTranspose},
	{"Concat", 4, parseConcat},
	{"Split", 2, parseSplit},
	{"Slice", 1, parseSlice},
	{"Expand", 8, parseExpand},
	{"Tile", 6, parseTile},
	// conv.go, convtranspose.go, pool.go, unpool.go, quantconv.go, deform.go, fold2im.go
	{"Conv", 1, parseConv},
	{"ConvInteger", 10, parseConvInteger},
	{"ConvTranspose", 1, parseConvTranspose},
	{"MaxPool", 1, parsePool("MaxPool", 10, 10)},
	{"AveragePool", 1, parsePool("AveragePool", 19, 10)},
	{"LpPool", 2, parsePool("LpPool", 18, 18)},
	{"GlobalMaxPool", 1, parseGlobalPool("GlobalMaxPool")},
	{"GlobalAveragePool", 1, parseGlobalPool("GlobalAveragePool")},
	{"GlobalLpPool", 2, parseGlobalPool("GlobalLpPool")},
	{"MaxUnpool", 9, parseMaxUnpool},
	{"QLinearConv", 10, parseQLinearConv},
	{"Col2Im", 18, parseCol2Im},
	{"DeformConv", 19, parseDeformConv},
	// roi.go, grid.go
	{"RoiAlign", 10, parseRoiAlign},
	{"MaxRoiPool", 1, parseMaxRoiPool},
	{"GridSample", 16, parseGridSample},
	{"AffineGrid", 20, parseAffineGrid},
	// resize.go
	{"Upsample", 7, parseUpsample},
	{"Resize", 10, parseResize},
	// recurrent.go
	{"RNN", 7, parseRecurrent("RNN", 1, "Tanh")},
	{"GRU", 7, parseRecurrent("GRU", 3, "Sigmoid", "Tanh")},
	{"LSTM", 7, parseRecurrent("LSTM", 4, "Sigmoid", "Tanh", "Tanh")},
	// nms.go
	{"NonMaxSuppression", 10, parseNonMaxSuppression},
	// control.go
	{"If", 1, parseIf},
	{"Loop", 1, parseLoop},
	{"Scan", 9, parseScan},
	// einsum.go, quantmatmul.go
	{"Einsum", 12, parseEinsum},
	{"MatMulInteger", 10, parseMatMulInteger},
	{"QLinearMatMul", 10, parseQLinearMatMul},
	// quantize.go
	{"QuantizeLinear", 10, parseQuantize},
	{"DequantizeLinear", 10, parseDequantize},
	{"DynamicQuantizeLinear", 11, parseDynamicQuantize},
	// bits.go, det.go
	{"BitShift", 11, parseBitShift},
	{"BitwiseAnd", 18, parseBitwise("BitwiseAnd", bitAnd)},
	{"BitwiseOr", 18, parseBitwise("BitwiseOr", bitOr)},
	{"BitwiseXor", 18, parseBitwise("BitwiseXor", bitXor)},
	{"BitwiseNot", 18, parseBitwise("BitwiseNot", bitNot)},
	{"Det", 11, parseDet},
	// gather.go, scatter.go
	{"Gather", 1, parseGather},
	{"GatherElements", 11, parseGatherElements},
	{"GatherND", 11, parseGatherND},
	{"Scatter", 9, parseScatterElements},
	{"ScatterElements", 11, parseScatterElements},
	{"ScatterND", 11, parseScatterND},
	// pad.go, fold2im.go, generate.go
	{"Pad", 2, parsePad},
	{"CenterCropPad", 18, parseCenterCropPad},
	{"Range", 11, parseRange},
	{"EyeLike", 9, parseEyeLike},
	{"Trilu", 14, parseTrilu},
	{"OneHot", 9, parseOneHot},
	// selection.go
	{"NonZero", 9, parseNonZero},
	{"Compress", 9, parseCompress},
	{"TopK", 1, parseTopK},
	{"Unique", 11, parseUnique},
	// rearrange.go
	{"DepthToSpace", 1, parseDepthToSpace},
	{"SpaceToDepth", 1, parseSpaceToDepth},
	{"ReverseSequence", 10, parseReverseSequence},
}

// find is the parser of an operator at an opset; nil where there is none.
func find(domain, opType string, opset int64) parser {
	var best *entry
	for i := range domains[domain] {
		e := &domains[domain][i]
		if e.op == opType && e.since <= opset && (best == nil || e.since >= best.since) {
			best = e
		}
	}
	if best == nil {
		return nil
	}
	return best.parse
}
