#!/bin/sh
# Makes testdata/data again, byte for byte, from Debian's package
# dataset-fashion-mnist (Fashion-MNIST, MIT licence, Zalando SE): the first
# 5,000 training and the first 5,000 test rows, as IDX files in gzip.
#
#	testdata/make-data.sh [SOURCE [TARGET]]
set -eu
from=${1:-/usr/share/datasets/fashion-mnist}
to=${2:-$(dirname "$0")/data}
rows=5000
mkdir -p "$to"

# An IDX header is a magic number and the dimensions, 4 bytes each, the
# largest first; only the number of rows changes.
images() { # NAME
	{
		printf '\000\000\010\003\000\000\023\210\000\000\000\034\000\000\000\034'
		gzip -dc "$from/$1-images-idx3-ubyte.gz" | tail -c +17 | head -c $((rows * 784))
	} | gzip -n -9 >"$to/$2-images-idx3-ubyte.gz"
}
labels() {
	{
		printf '\000\000\010\001\000\000\023\210'
		gzip -dc "$from/$1-labels-idx1-ubyte.gz" | tail -c +9 | head -c $rows
	} | gzip -n -9 >"$to/$2-labels-idx1-ubyte.gz"
}
images train fashion-train
labels train fashion-train
images t10k fashion-test
labels t10k fashion-test
(cd "$to" && sha256sum -c SHA256SUMS)
