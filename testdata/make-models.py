#!/usr/bin/python3
"""Trains models of the kind that testdata/models ships and exports them.

    testdata/make-models.py [mlp|vit] TARGET_FOLDER

Needs Debian's python3-torch (1.13.1), python3-onnx and dataset-fashion-mnist.
Prints the accuracy on the 10,000 test rows. The weights differ from the
shipped ones (they depend on the machine's BLAS); shapes, graph and accuracy
(within .003) do not.
"""
import gzip
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SOURCE = os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")


def idx(name, header):
    with gzip.open(f"{SOURCE}/{name}-ubyte.gz") as f:
        return np.frombuffer(f.read(), np.uint8, offset=header).copy()


def data(part):
    x = torch.from_numpy(idx(f"{part}-images-idx3", 16)).float().view(-1, 784) / 255
    y = torch.from_numpy(idx(f"{part}-labels-idx1", 8)).long()
    return x, y


def mlp():
    return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


class Block(nn.Module):
    """A pre-norm transformer block of width D with four heads."""

    def __init__(self, d):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.f1, self.f2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (z.reshape(n, t, 4, d // 4).transpose(1, 2) for z in self.qkv(self.n1(x)).chunk(3, -1))
        a = torch.softmax(q @ k.transpose(-1, -2) / (d / 4) ** 0.5, -1)
        x = x + self.o((a @ v).transpose(1, 2).reshape(n, t, d))
        return x + self.f2(F.gelu(self.f1(self.n2(x))))


class ViT(nn.Module):
    """49 patches of 4x4 pixels, width 128, four blocks."""

    def __init__(self, d=128):
        super().__init__()
        self.e, self.p = nn.Linear(16, d), nn.Parameter(torch.randn(1, 49, d) * 0.02)
        self.b = nn.Sequential(*[Block(d) for _ in range(4)])
        self.n, self.c = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = x.reshape(-1, 7, 4, 7, 4).transpose(2, 3).reshape(-1, 49, 16)
        return self.c(self.n(self.b(self.e(x) + self.p)).mean(1))


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        hits = sum(int((net(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500)))
    net.train()
    return hits / len(y)


def train(net, epochs, lr):
    x, y = data("train")
    tx, ty = data("t10k")
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch + 1}: test accuracy {accuracy(net, tx, ty):.4f}", flush=True)


# name: (network, epochs, learning rate, opset)
MODELS = {"mlp": (mlp, 12, 1e-3, 14), "vit": (ViT, 5, 1e-3, 17)}


def main():
    which, target = (sys.argv[1:] + [None, None])[:2]
    if which not in MODELS or target is None:
        sys.exit(__doc__)
    make, epochs, lr, opset = MODELS[which]
    torch.manual_seed(0)
    net = make()
    train(net, epochs, lr)
    net.eval()
    torch.onnx.export(net, torch.zeros(1, 784), f"{target}/fashion-{which}.onnx", opset_version=opset,
                      input_names=["x"], output_names=["logits"],
                      dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}})


if __name__ == "__main__":
    main()
