#!/usr/bin/python3
"""Whole processes from their start to the first output, bilinc's beside ONNX Runtime's.

    runtime/testdata/bench/start.py [ROUNDS]

Times `bilinc run` on fashion-mlp at an eighth of its parameters, one row, in turns with
a C program that does the same through ONNX Runtime's C API, and prints medians of CPU
and wall time in milliseconds. Needs gcc, numpy and BILINC_ORT, the folder that has
node_modules/onnxruntime-node.
"""
import glob
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../../..")


def library():
    pattern = "node_modules/onnxruntime-node/bin/napi-v*/linux/x64/libonnxruntime.so.1"
    found = glob.glob(os.path.join(os.environ.get("BILINC_ORT", ""), pattern))
    if not found:
        sys.exit("no ONNX Runtime: set BILINC_ORT to the folder with node_modules/onnxruntime-node")
    return found[0]


def once(command, given, nothing):
    """CPU and wall time of one process, in milliseconds."""
    os.lseek(given, 0, os.SEEK_SET)
    start = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate([given, nothing, nothing])]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{command}: status {status}")
    return 1e3 * (usage.ru_utime + usage.ru_stime), 1e3 * wall


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    lib = library()
    with tempfile.TemporaryDirectory() as folder:
        bilinc, small, row = f"{folder}/bilinc", f"{folder}/small.onnx", f"{folder}/row.npz"
        make = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["go", "build", "-o", f"{folder}/linked", "./cmd/bilinc"], cwd=ROOT, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        # What the linker has just written lies in memory in single pages, which take longer to map than the larger
        # pieces of a file that was copied or read from a disk, as the peer's library is.
        shutil.copy(f"{folder}/linked", bilinc)
        subprocess.run(["gcc", "-O2", "-o", f"{folder}/ort", f"{HERE}/ort.c", "-ldl"], check=True)
        subprocess.run([bilinc, "convert", f"{ROOT}/testdata/models/fashion-mlp.onnx", "-o", small, "--ratio", "8"], **make)
        numpy.savez(row, x=numpy.linspace(0, 1, 784, dtype=numpy.float32).reshape(1, 784))
        commands = {
            "ONNX Runtime": [f"{folder}/ort", lib, small, "1", "i:x:1,784", "o:logits:1,10"],
            "bilinc run": [bilinc, "run", small, "--input", row],
            "bilinc run -o": [bilinc, "run", small, "--input", row, "-o", f"{folder}/out.npz", "--force", "--quiet"],
        }
        with open(f"{folder}/one", "w+b") as given, open(os.devnull, "r+b") as nothing:
            given.write(b"1\n")
            given.flush()
            times = {name: [] for name in commands}
            for _ in range(rounds):
                for name, command in commands.items():
                    times[name].append(once(command, given.fileno(), nothing.fileno()))
    cpu = {name: statistics.median(c for c, _ in t) for name, t in times.items()}
    print("| process | CPU, ms | wall, ms | times less CPU |\n|---|---|---|---|")
    for name, t in times.items():
        print(f"| {name} | {cpu[name]:.1f} | {statistics.median(w for _, w in t):.1f} | {cpu['ONNX Runtime'] / cpu[name]:.1f} |")


if __name__ == "__main__":
    main()
