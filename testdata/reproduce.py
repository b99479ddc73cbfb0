#!/usr/bin/python3
"""Makes what testdata/reproduce.sh trains.

    reproduce.py net IN WIDTH OUT FILE.onnx     a net IN-WIDTH-WIDTH-OUT, Gemm + Relu
    reproduce.py table FILE.csv TRAIN.npz TEST.npz
    reproduce.py row NAME INSPECT.json TIME… -- EVAL.json…   a line of the table

A TIME holds the seconds that a command took, of its own and of the system's.
The rows of a table are shuffled by a fixed seed; a quarter is the test. Inputs
are standardised by the training rows; the last column of the CSV is the class.
"""
import csv
import json
import sys

import numpy as np


def net(n, width, classes, path):
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    sizes = [(n, width), (width, width), (width, classes)]
    nodes, weights, last = [], [], "x"
    for i, (a, b) in enumerate(sizes):
        w = (rng.standard_normal((b, a), np.float32) * np.float32((2 / a) ** 0.5)).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(np.zeros(b, np.float32), f"b{i}")]
        out = "logits" if i == 2 else f"h{i}"
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [out], name=f"fc{i}", transB=1))
        last = out
        if i < 2:
            nodes.append(helper.make_node("Relu", [out], [f"a{i}"]))
            last = f"a{i}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [value("x", TensorProto.FLOAT, ["N", n])],
                              [value("logits", TensorProto.FLOAT, ["N", classes])], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)


def table(path, train, test):
    with open(path, newline="") as f:
        rows = list(csv.reader(f))[1:]
    names = sorted({r[-1] for r in rows})
    x = np.array([[float(v) for v in r[:-1]] for r in rows])
    y = np.array([names.index(r[-1]) for r in rows])
    order = np.random.default_rng(0).permutation(len(x))
    held = len(x) // 4
    a, b = order[held:], order[:held]
    mean, deviation = x[a].mean(0), x[a].std(0) + 1e-9
    for name, part in ((train, a), (test, b)):
        np.savez(name, x=((x[part] - mean) / deviation).astype(np.float32), labels=y[part].astype(np.int64))
    print(x.shape[1], len(names))


def row(name, model, files):
    k = files.index("--")
    accuracy = [json.load(open(f))["accuracy"] for f in files[k + 1:]]
    seconds = np.mean([sum(map(float, open(f).read().split())) for f in files[:k]])
    params = json.load(open(model))["params"]
    spread = f" ± {np.std(accuracy, ddof=1):.4f}" if len(accuracy) > 1 else ""
    print(f"| {name} | {params:,} | {np.mean(accuracy):.4f}{spread} | {seconds:.1f} |", flush=True)


def main():
    a = sys.argv[1:]
    if a[:1] == ["net"] and len(a) == 5:
        net(int(a[1]), int(a[2]), int(a[3]), a[4])
    elif a[:1] == ["table"] and len(a) == 4:
        table(*a[1:])
    elif a[:1] == ["row"] and "--" in a:
        row(a[1], a[2], a[3:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
