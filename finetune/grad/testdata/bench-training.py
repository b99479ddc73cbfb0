#!/usr/bin/python3
"""Training steps of bilinc beside PyTorch's, in turns, and the table of their medians.

    finetune/grad/testdata/bench-training.py [ROUNDS]

A step is forward, cross-entropy, backward and AdamW on a batch of 128; a run's figure is
its median step, of both. Needs Go and
Debian's python3-torch (1.13.1), which runs on one thread (with two, Debian's
build is slower than with one); bilinc on one and on two.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
NETS = ["dense", "bilinear1", "bilinear4"]
SECONDS = "0.7"


def run(command, **env):
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}, **env}
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=os.path.dirname(HERE), env=env).stdout


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        test = f"{folder}/grad.test"
        run(["go", "test", "-c", "-o", test, "."])
        for _ in range(rounds):
            for net in NETS:
                out = run([f"{HERE}/bench_torch.py", SECONDS, net], OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
                found.setdefault((net, "torch"), []).append(float(out.split()[1]))
                for threads in 1, 2:
                    out = run([test, "-test.run", "^$", "-test.bench", f"^BenchmarkTraining/{net}/threads={threads}$", "-test.benchtime", SECONDS + "s"])
                    found.setdefault((net, threads), []).append(float(re.search(r"([0-9.]+) samples/s", out)[1]))
    median = {k: statistics.median(v) for k, v in found.items()}
    print("| net | PyTorch 1.13.1, samples/s | bilinc | ratio | bilinc, two threads | over one |")
    print("|---|---|---|---|---|---|")
    for net in NETS:
        torch, one, two = median[net, "torch"], median[net, 1], median[net, 2]
        print(f"| {net} | {torch:.0f} | {one:.0f} | {one / torch:.2f} | {two:.0f} | {two / one:.2f} |")


if __name__ == "__main__":
    main()
