#!/usr/bin/python3
"""Makes the .npy and .npz files of this folder again: the numbers 0 to 23 as
[2 3 4] in every element type, byte order and element order that is read."""
import numpy as np

base = np.arange(24).reshape(2, 3, 4)
for kind in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16"]:
    for order in "<>":
        if order == ">" and kind.endswith("1"):
            continue
        a = base.astype(order + kind)
        name = ("le" if order == "<" else "be") + "-" + kind
        np.save(name + "-c.npy", a)
        np.save(name + "-f.npy", np.asfortranarray(a))
for version in (2, 3):
    with open(f"version{version}.npy", "wb") as f:
        np.lib.format.write_array(f, base.astype("<f4"), version=(version, 0))
np.save("bool.npy", base % 2 == 1)
np.save("text.npy", np.array([["a", "bé"], ["", "xyz"]]))
np.save("scalar.npy", np.float32(7))
np.savez("stored.npz", x=base.astype("<f4"), labels=np.array([3, 5]))
np.savez_compressed("deflated.npz", x=np.asfortranarray(base.astype("<f4")), labels=np.array([3, 5]))
