#!/usr/bin/python3
"""Makes small-cnn.onnx and reference.json, the figures of PyTorch that the
gradients, optimisers and loss curves are compared with.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
        finetune/grad/testdata/make-reference.py

Needs Debian's python3-torch (1.13.1) and python3-onnx. The models are run node
by node in torch from the ONNX files themselves, in float64 (torch's own float32
differs from it by up to 1e-5 of a gradient's norm and of a loss), on the first
rows of testdata/data: batch i is the rows i*B … (i+1)*B-1, pixels divided by 255,
the loss the mean cross-entropy.

reference.json: {"models": {name: {"file", "batch", "training", "loss", "gradients",
"rates", "curves", "running"}}, "optimisers": …}. "gradients" are those of the first batch, each
with its norm, SAMPLES elements at even distances, and its inner products with
PROJECTIONS vectors of signs (see signs), which together pin the whole of it.
"running" is the batch norm's mean and variance after the 20 steps of SGD.
"""
import gzip
import json
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
STEPS, SAMPLES, PROJECTIONS = 20, 16, 4
SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
ADAMW = {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
# Learning rates of SGD and AdamW: what trains a new net throws a trained one off,
# and differences of rounding would grow.
NEW, TRAINED = (0.02, 1e-3), (0.01, 1e-4)


def idx(name, header):
    with gzip.open(f"{ROOT}/testdata/data/{name}-ubyte.gz") as f:
        return np.frombuffer(f.read(), np.uint8, offset=header).copy()


def data():
    x = torch.from_numpy(idx("fashion-train-images-idx3", 16)).double().view(-1, 784) / 255
    return x, torch.from_numpy(idx("fashion-train-labels-idx1", 8)).long()


def small_cnn(path):
    """Two convolutions, the first with batch normalisation, and a classifier."""
    r = np.random.default_rng(7)

    def weight(name, *shape, scale=None, shift=0.0):
        scale = scale if scale is not None else np.prod(shape[1:]) ** -0.5
        return numpy_helper.from_array((r.standard_normal(shape) * scale + shift).astype(np.float32), name)

    ints = lambda name, *v: numpy_helper.from_array(np.array(v, np.int64), name)
    node = helper.make_node
    nodes = [
        node("Reshape", ["x", "image"], ["r"]),
        node("Conv", ["r", "c1.weight", "c1.bias"], ["h1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["h1", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["h2"], name="bn", epsilon=1e-5, momentum=0.9),
        node("Relu", ["h2"], ["h3"]),
        node("MaxPool", ["h3"], ["h4"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["h4", "c2.weight", "c2.bias"], ["h5"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["h5"], ["h6"]),
        node("Flatten", ["h6"], ["h7"]),
        node("Gemm", ["h7", "fc.weight", "fc.bias"], ["logits"], transB=1),
    ]
    consts = [
        ints("image", -1, 1, 28, 28),
        weight("c1.weight", 8, 1, 3, 3), weight("c1.bias", 8, scale=0.1),
        weight("bn.weight", 8, scale=0.1, shift=1), weight("bn.bias", 8, scale=0.1),
        weight("bn.mean", 8, scale=0.1),
        numpy_helper.from_array(r.uniform(0.2, 0.5, 8).astype(np.float32), "bn.var"),
        weight("c2.weight", 12, 8, 3, 3), weight("c2.bias", 12, scale=0.1),
        weight("fc.weight", 10, 588), weight("fc.bias", 10, scale=0.1),
    ]
    value = lambda name, n: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n])
    graph = helper.make_graph(nodes, "small-cnn", [value("x", 784)], [value("logits", 10)], consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], producer_name="make-reference.py")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def tensor(t):
    t = torch.from_numpy(numpy_helper.to_array(t).copy())
    return t.double() if t.is_floating_point() else t


class Net:
    """An ONNX graph run in torch; params are its trained tensors by name."""

    def __init__(self, path, training):
        self.model = onnx.load(path)
        self.training = training
        self.consts = {t.name: tensor(t) for t in self.model.graph.initializer}
        running = {i for n in self.model.graph.node if n.op_type == "BatchNormalization" for i in n.input[3:]}
        self.running = {k: self.consts[k] for k in running}
        self.params = {k: v.requires_grad_() for k, v in self.consts.items()
                       if v.is_floating_point() and k not in running}

    def __call__(self, x):
        values = {**self.consts, self.model.graph.input[0].name: x}
        for n in self.model.graph.node:
            attrs = {a.name: tensor(a.t) if a.type == a.TENSOR else helper.get_attribute_value(a) for a in n.attribute}
            values[n.output[0]] = getattr(self, n.op_type)(*[values[i] for i in n.input], **attrs)
        return values[self.model.graph.output[0].name]

    def Constant(self, value):
        return value

    def Reshape(self, x, shape, allowzero=0):
        return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape.tolist())])

    def Flatten(self, x, axis=1):
        return x.flatten(axis)

    def Transpose(self, x, perm):
        return x.permute(*perm)

    def Unsqueeze(self, x, axes):
        return x.unsqueeze(*axes.tolist())

    def Shape(self, x):
        return torch.tensor(x.shape)

    def Gather(self, x, i, axis=0):
        assert axis == 0
        return x[i]

    def Concat(self, *xs, axis):
        return torch.cat(xs, axis)

    def Slice(self, x, starts, ends, axes):
        for lo, hi, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
            x = x.narrow(axis, lo, hi - lo)
        return x

    def Cast(self, x, to):
        return x.to({TensorProto.INT64: torch.int64, TensorProto.FLOAT: torch.float64}[to])

    def Div(self, a, b):
        return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")

    Add = staticmethod(torch.add)
    Mul = staticmethod(torch.mul)
    MatMul = staticmethod(torch.matmul)
    Relu = staticmethod(torch.relu)
    Erf = staticmethod(torch.erf)

    def Gemm(self, a, b, c, transB=0, alpha=1, beta=1):
        assert alpha == beta == 1
        return F.linear(a, b if transB else b.T, c)

    def Softmax(self, x, axis):
        return torch.softmax(x, axis)

    def LayerNormalization(self, x, scale, bias, axis, epsilon):
        return F.layer_norm(x, x.shape[axis:], scale, bias, epsilon)

    def ReduceMean(self, x, axes, keepdims=1):
        return x.mean(axes, keepdim=bool(keepdims))

    def Conv(self, x, w, b, kernel_shape, pads, strides=(1, 1)):
        return F.conv2d(x, w, b, stride=tuple(strides), padding=tuple(pads[:2]))

    def BatchNormalization(self, x, scale, bias, mean, var, epsilon, momentum):
        return F.batch_norm(x, mean, var, scale, bias, self.training, 1 - momentum, epsilon)

    def MaxPool(self, x, kernel_shape, strides):
        return F.max_pool2d(x, tuple(kernel_shape), tuple(strides))


def signs(n, k):
    """n signs of vector k: the top bit of a hash of the index."""
    h = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k * 0xBF58476D1CE4E5B9 % 2**64)
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return 1 - 2 * (h >> np.uint64(63)).astype(np.float64)


def pinned(g):
    g = g.detach().numpy().ravel()
    at = [i * (len(g) - 1) // (SAMPLES - 1) for i in range(SAMPLES)] if len(g) > SAMPLES else range(len(g))
    return {"norm": float(np.linalg.norm(g)), "samples": [float(g[i]) for i in at],
            "projections": [float(g @ signs(len(g), k)) for k in range(PROJECTIONS)]}


def curve(path, training, batch, optimiser):
    net = Net(path, training)
    optimiser = optimiser(list(net.params.values()))
    x, y = data()
    losses = []
    for i in range(STEPS):
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x[i * batch:(i + 1) * batch]), y[i * batch:(i + 1) * batch])
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses, net


def model(file, batch, training, rates):
    path = f"{ROOT}/{file}"
    net = Net(path, training)
    x, y = data()
    loss = F.cross_entropy(net(x[:batch]), y[:batch])
    loss.backward()
    sgd, trained = curve(path, training, batch, lambda p: torch.optim.SGD(p, lr=rates[0], **SGD))
    adamw, _ = curve(path, training, batch, lambda p: torch.optim.AdamW(p, lr=rates[1], **ADAMW))
    out = {"file": file, "batch": batch, "training": training, "loss": float(loss.detach()),
           "gradients": {k: pinned(v.grad) for k, v in net.params.items()},
           "rates": {"sgd": rates[0], "adamw": rates[1]}, "curves": {"sgd": sgd, "adamw": adamw}}
    if training:
        out["running"] = {k: [float(e) for e in v] for k, v in trained.running.items()}
    return out


def optimisers():
    """What each optimiser makes of the same weights and gradients."""
    w0, grads = np.random.default_rng(3).standard_normal((2, 37)), np.random.default_rng(4).standard_normal((6, 37))
    w0, out = w0[0], []
    for name, make, options in [
        ("sgd", torch.optim.SGD, {"lr": 0.1}),
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
        ("sgd", torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
        ("adam", torch.optim.Adam, {"lr": 0.02}),
        ("adam", torch.optim.Adam, {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}),
        ("adamw", torch.optim.AdamW, {"lr": 0.02, "betas": [0.9, 0.999], "weight_decay": 0.1}),
    ]:
        w = torch.tensor(w0, requires_grad=True)
        optimiser = make([w], **options)
        for g in grads:
            w.grad = torch.tensor(g)
            optimiser.step()
        out.append({"name": name, "options": options, "weights": w.detach().tolist()})
    return {"start": w0.tolist(), "gradients": grads.tolist(), "cases": out}


def main():
    torch.manual_seed(0)
    cnn = "finetune/grad/testdata/small-cnn.onnx"
    small_cnn(f"{ROOT}/{cnn}")
    figures = {
        "torch": "1.13.1", "steps": STEPS, "sgd": SGD, "adamw": ADAMW,
        "models": {
            "fashion-mlp": model("testdata/models/fashion-mlp.onnx", 64, False, TRAINED),
            "small-cnn": model(cnn, 64, False, NEW),
            "small-cnn-training": model(cnn, 64, True, NEW),
            "fashion-vit": model("testdata/models/fashion-vit.onnx", 32, False, TRAINED),
        },
        "optimisers": optimisers(),
    }
    with open(f"{HERE}/reference.json", "w") as f:
        json.dump(figures, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
