//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run ./typed -out ../typed_amd64.s -stubs ../typed_stubs_amd64.go -pkg kernel"

// The loops in assembly, for AVX2 and all that has more: none of them is bound by arithmetic. They are called by name,
// since what goes to a function in a variable counts as escaping, and rows that operators fill lie on the stack.

// plainOnly tells that the path in use has no assembly.
func plainOnly() bool { return active.Load() == genericPath }

// zipLoop is ZipNumbers on n elements, a positive multiple of typedBlock; it tells whether there is a loop for it.
func zipLoop(op Operation, k kind, n int, z, x, y *byte) bool {
	if plainOnly() {
		return false
	}
	switch op {
	case Plus:
		switch k {
		case kindInt8, kindUint8:
			plus8AVX2(n, z, x, y)
		case kindInt16, kindUint16:
			plus16AVX2(n, z, x, y)
		case kindInt32, kindUint32:
			plus32AVX2(n, z, x, y)
		case kindInt64, kindUint64:
			plus64AVX2(n, z, x, y)
		default:
			return false
		}
	case Minus:
		switch k {
		case kindInt8, kindUint8:
			minus8AVX2(n, z, x, y)
		case kindInt16, kindUint16:
			minus16AVX2(n, z, x, y)
		case kindInt32, kindUint32:
			minus32AVX2(n, z, x, y)
		case kindInt64, kindUint64:
			minus64AVX2(n, z, x, y)
		default:
			return false
		}
	case Times:
		switch k {
		case kindInt16, kindUint16:
			times16AVX2(n, z, x, y)
		case kindInt32, kindUint32:
			times32AVX2(n, z, x, y)
		case kindInt64, kindUint64:
			times64AVX2(n, z, x, y)
		default:
			return false
		}
	case Minimum:
		switch k {
		case kindInt8:
			minInt8AVX2(n, z, x, y)
		case kindInt16:
			minInt16AVX2(n, z, x, y)
		case kindInt32:
			minInt32AVX2(n, z, x, y)
		case kindInt64:
			minInt64AVX2(n, z, x, y)
		case kindUint8:
			minUint8AVX2(n, z, x, y)
		case kindUint16:
			minUint16AVX2(n, z, x, y)
		case kindUint32:
			minUint32AVX2(n, z, x, y)
		default:
			return false
		}
	case Maximum:
		switch k {
		case kindInt8:
			maxInt8AVX2(n, z, x, y)
		case kindInt16:
			maxInt16AVX2(n, z, x, y)
		case kindInt32:
			maxInt32AVX2(n, z, x, y)
		case kindInt64:
			maxInt64AVX2(n, z, x, y)
		case kindUint8:
			maxUint8AVX2(n, z, x, y)
		case kindUint16:
			maxUint16AVX2(n, z, x, y)
		case kindUint32:
			maxUint32AVX2(n, z, x, y)
		default:
			return false
		}
	default:
		return false
	}
	return true
}

// logicLoop is ZipBits on n bytes, likewise.
func logicLoop(op Logic, n int, z, x, y *byte) bool {
	if plainOnly() {
		return false
	}
	switch op {
	case And:
		and8AVX2(n, z, x, y)
	case Or:
		or8AVX2(n, z, x, y)
	default:
		xor8AVX2(n, z, x, y)
	}
	return true
}

// compareLoop is CompareNumbers, likewise.
func compareLoop(c Comparison, k kind, n int, z, x, y *byte) bool {
	if plainOnly() {
		return false
	}
	switch c {
	case Equal:
		switch k {
		case kindInt8, kindUint8:
			equalInt8AVX2(n, z, x, y)
		case kindInt16, kindUint16:
			equalInt16AVX2(n, z, x, y)
		case kindInt32, kindUint32:
			equalInt32AVX2(n, z, x, y)
		case kindInt64, kindUint64:
			equalInt64AVX2(n, z, x, y)
		case kindFloat32:
			equalFloat32AVX2(n, z, x, y)
		case kindFloat64:
			equalFloat64AVX2(n, z, x, y)
		default:
			return false
		}
	case Unlike:
		switch k {
		case kindInt8, kindUint8:
			unlikeInt8AVX2(n, z, x, y)
		case kindInt16, kindUint16:
			unlikeInt16AVX2(n, z, x, y)
		case kindInt32, kindUint32:
			unlikeInt32AVX2(n, z, x, y)
		case kindInt64, kindUint64:
			unlikeInt64AVX2(n, z, x, y)
		case kindFloat32:
			unlikeFloat32AVX2(n, z, x, y)
		case kindFloat64:
			unlikeFloat64AVX2(n, z, x, y)
		default:
			return false
		}
	case Greater:
		switch k {
		case kindInt8:
			aboveInt8AVX2(n, z, x, y)
		case kindInt16:
			aboveInt16AVX2(n, z, x, y)
		case kindInt32:
			aboveInt32AVX2(n, z, x, y)
		case kindInt64:
			aboveInt64AVX2(n, z, x, y)
		case kindUint8:
			aboveUint8AVX2(n, z, x, y)
		case kindUint16:
			aboveUint16AVX2(n, z, x, y)
		case kindUint32:
			aboveUint32AVX2(n, z, x, y)
		case kindFloat32:
			aboveFloat32AVX2(n, z, x, y)
		case kindFloat64:
			aboveFloat64AVX2(n, z, x, y)
		default:
			return false
		}
	case GreaterOrEqual:
		switch k {
		case kindInt8:
			leastInt8AVX2(n, z, x, y)
		case kindInt16:
			leastInt16AVX2(n, z, x, y)
		case kindInt32:
			leastInt32AVX2(n, z, x, y)
		case kindInt64:
			leastInt64AVX2(n, z, x, y)
		case kindUint8:
			leastUint8AVX2(n, z, x, y)
		case kindUint16:
			leastUint16AVX2(n, z, x, y)
		case kindUint32:
			leastUint32AVX2(n, z, x, y)
		case kindFloat32:
			leastFloat32AVX2(n, z, x, y)
		case kindFloat64:
			leastFloat64AVX2(n, z, x, y)
		default:
			return false
		}
	}
	return true
}

// chooseLoop is Choose on elements of so many bytes, likewise.
func chooseLoop(size uintptr, n int, z, c, x, y *byte) bool {
	if plainOnly() {
		return false
	}
	switch size {
	case 1:
		choose8AVX2(n, z, c, x, y)
	case 2:
		choose16AVX2(n, z, c, x, y)
	case 4:
		choose32AVX2(n, z, c, x, y)
	case 8:
		choose64AVX2(n, z, c, x, y)
	default:
		return false
	}
	return true
}

// convertLoop is Convert, likewise: it tells how many elements it did.
func convertLoop(to, from kind, n int, z, x *byte) int {
	if plainOnly() {
		return 0
	}
	switch to {
	case kindInt32:
		switch from {
		case kindUint8:
			return uint8ToInt32AVX2(n, z, x)
		case kindInt64:
			return int64ToInt32AVX2(n, z, x)
		case kindFloat32:
			return float32ToInt32AVX2(n, z, x)
		}
	case kindInt64:
		switch from {
		case kindUint8:
			return uint8ToInt64AVX2(n, z, x)
		case kindInt32:
			return int32ToInt64AVX2(n, z, x)
		case kindFloat32:
			return float32ToInt64AVX2(n, z, x)
		}
	case kindFloat32:
		switch from {
		case kindInt32:
			return int32ToFloat32AVX2(n, z, x)
		case kindInt64:
			return int64ToFloat32AVX2(n, z, x)
		case kindFloat64:
			return float64ToFloat32AVX2(n, z, x)
		}
	case kindFloat64:
		switch from {
		case kindFloat32:
			return float32ToFloat64AVX2(n, z, x)
		}
	}
	return 0
}
