//go:build !amd64 && !arm64

package tensor

// readsUnaligned says that loads from any address work, and vector loads of
// the kernels too.
const readsUnaligned = false
