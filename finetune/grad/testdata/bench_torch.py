#!/usr/bin/python3
"""Training steps of PyTorch, for bench-training.py: prints "NET samples/s" lines.

    bench_torch.py SECONDS NET...

A step is forward, cross-entropy, backward and AdamW on a batch of 128 rows of testdata/data;
samples/s are those of the median step.
Nets: dense is 784-1024-1024-10 of nn.Linear with ReLU; bilinearR has R pairs of
factors instead of each of the two big layers, as two products: of the forms that
say the same, the one that was the fastest here.
"""
import gzip
import os
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BATCH = 128


def idx(name, header):
    with gzip.open(f"{os.path.dirname(os.path.abspath(__file__))}/../../../testdata/data/{name}-ubyte.gz") as f:
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=header).copy())


class Bilinear(nn.Module):
    """y = Σ_r A_r·X·B_rᵀ + b with X[n1 n2] and Y[m1 m2]."""

    def __init__(self, n1, n2, m1, m2, terms, form):
        super().__init__()
        self.n1, self.n2, self.m1, self.m2, self.terms, self.form = n1, n2, m1, m2, terms, form
        self.a = nn.Parameter(torch.randn(m1, n1 * terms) * (n1 * terms) ** -0.5)
        self.b = nn.Parameter(torch.randn(n2, terms * m2) * n2 ** -0.5)
        self.bias = nn.Parameter(torch.zeros(m1 * m2))

    def forward(self, x):
        n = len(x)
        t = (x.reshape(n * self.n1, self.n2) @ self.b).reshape(n, self.n1 * self.terms, self.m2)
        if self.form == "bmm":  # a product for each sample
            y = torch.matmul(self.a, t)
        elif self.form == "transposed":  # one product, its operand and result turned around
            y = (t.transpose(1, 2).reshape(n * self.m2, -1) @ self.a.T).reshape(n, self.m2, self.m1).transpose(1, 2)
        else:
            y = torch.einsum("ak,nkb->nab", self.a, t)
        return y.reshape(n, -1) + self.bias


def net(name, form):
    if name == "dense":
        return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    r = int(name[len("bilinear"):])
    return nn.Sequential(Bilinear(28, 28, 32, 32, r, form), nn.ReLU(), Bilinear(32, 32, 32, 32, r, form), nn.ReLU(), nn.Linear(1024, 10))


def rate(name, form, seconds):
    torch.manual_seed(0)
    model = net(name, form)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x = idx("fashion-train-images-idx3", 16).float().view(-1, 784) / 255
    y = idx("fashion-train-labels-idx1", 8).long()
    batches = [(x[i:i + BATCH], y[i:i + BATCH]) for i in range(0, len(x) - BATCH, BATCH)]

    def step(i):
        x, y = batches[i % len(batches)]
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()

    for i in range(5):
        step(i)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        step(len(times))
        times.append(time.perf_counter() - t)
    return BATCH / sorted(times)[len(times) // 2]


def main():
    seconds = float(sys.argv[1])
    forms = os.environ.get("FORMS", "bmm").split()
    for name in sys.argv[2:]:
        for form in forms:
            print(name, *([form] if len(forms) > 1 else []), f"{rate(name, form, seconds):.0f}", flush=True)


if __name__ == "__main__":
    main()
