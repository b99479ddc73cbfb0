package kernel

// CopyRows copies rows of n bytes, ds and ss bytes apart: dst[i·ds:][:n] = src[i·ss:][:n], i < rows. They must not
// overlap.
func CopyRows(rows, n int, dst []byte, ds int, src []byte, ss int) {
	if rows <= 0 || n <= 0 {
		return
	}
	mustHold("dst", len(dst), rows, n, ds, 1)
	mustHold("src", len(src), rows, n, ss, 1)
	if n >= leastCopy && n <= mostCopy && rows > 1 && copyShort(rows, n, dst, ds, src, ss) {
		return
	}
	for i := range rows {
		copy(dst[i*ds:i*ds+n], src[i*ss:])
	}
}

// From leastCopy to mostCopy bytes a call for each row costs more than it copies.
const leastCopy, mostCopy = 32, 1 << 10
