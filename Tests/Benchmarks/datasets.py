"""Generates what the benchmark backs up: tensors with the byte statistics of trained models, small files, zeros, random.

No real weights are needed: what a backup tool sees of them is how their bytes are distributed, and that is made here
with whole-array operations of the standard library, at hundreds of MB a second. A weight's exponent follows a normal
distribution with a scale of its own for each row; its sign and mantissa are uniform. The exponent byte of a bfloat16
tensor made so has an order-0 entropy of about 2.7 bits, as a trained transformer's has.
"""

import json
import math
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
import trees  # noqa: E402

BLOCK = 4 << 20


def exponent_tables(center, spread, count, rng):
    """For each of `count` row scales, a table from a uniform byte to a biased exponent of a normal variate."""
    tables = []
    for _ in range(count):
        shift = center + rng.gauss(0, spread)
        weights = []
        for exponent in range(256):
            low, high = 2.0 ** (exponent - 127 - shift), 2.0 ** (exponent - 126 - shift)
            weights.append(math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
        # The 256 levels go to the exponents by largest remainder.
        shares = [w * 256 for w in weights]
        levels = [int(s) for s in shares]
        for exponent in sorted(range(256), key=lambda e: levels[e] - shares[e])[: 256 - sum(levels)]:
            levels[exponent] += 1
        tables.append(bytes(e for e in range(256) for _ in range(levels[e])))
    return tables


HIGH = bytes(e >> 1 for e in range(256))          # exponent → the high byte without its sign
LOW = bytes((e & 1) << 7 for e in range(256))     # exponent → its last bit, above the mantissa
SIGN = bytes(u & 0x80 for u in range(256))
MANTISSA = bytes(u & 0x7F for u in range(256))


def merge(a, b):
    """Bytewise `a | b`."""
    return (int.from_bytes(a, "little") | int.from_bytes(b, "little")).to_bytes(len(a), "little")


def floats(rng, count, tables, width, signed=True):
    """`count` little-endian bfloat16 (`width` 2) or float32 (`width` 4) numbers."""
    exponents = bytearray()
    row = 4096
    for start in range(0, count, row):
        exponents += rng.randbytes(min(row, count - start)).translate(rng.choice(tables))
    exponents = bytes(exponents)
    out = bytearray(count * width)
    high = exponents.translate(HIGH)
    out[width - 1 :: width] = merge(high, rng.randbytes(count).translate(SIGN)) if signed else high
    out[width - 2 :: width] = merge(exponents.translate(LOW), rng.randbytes(count).translate(MANTISSA))
    for place in range(width - 2):
        out[place::width] = rng.randbytes(count)
    return bytes(out)


def safetensors(path, dtype, shapes, pieces):
    """Writes the header for `shapes` ({name: (elements, bytes)}) and then the pieces of data as they come."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (elements, size) in shapes.items():
        header[name] = {"dtype": dtype, "shape": [elements], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for piece in pieces:
            file.write(piece)


def tensor_file(path, size, seed, dtype, width, center, spread, signed=True):
    """One safetensors file of about `size` bytes with tensors of 16 MB."""
    rng = random.Random(seed)
    tables = exponent_tables(center, spread, 32, rng)
    per = 16_000_000 // width
    shapes, left, number = {}, size // width, 0
    while left > 0:
        elements = min(per, left)
        shapes[f"model.layers.{number}.weight"] = (elements, elements * width)
        left, number = left - elements, number + 1

    def pieces():
        for elements, _ in shapes.values():
            for start in range(0, elements, BLOCK):
                yield floats(rng, min(BLOCK, elements - start), tables, width, signed)

    safetensors(path, dtype, shapes, pieces())


def step_bf16(path, seed, share):
    """Moves about `share` of the weights by one unit in the last place, in place, as one optimizer step does."""
    rng = random.Random(seed)
    hit = bytes(1 if u < share * 256 else 0 for u in range(256))
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        position = 8 + length
        size = os.fstat(file.fileno()).st_size
        while position < size:
            data = bytearray(os.pread(file.fileno(), min(2 * BLOCK, size - position), position))
            low = bytes(data[0::2])
            data[0::2] = trees.flipped(low, rng.randbytes(len(low)).translate(hit))
            os.pwrite(file.fileno(), data, position)
            position += len(data)


def random_file(path, size, seed):
    rng = random.Random(seed)
    with open(path, "wb") as file:
        for start in range(0, size, BLOCK):
            file.write(rng.randbytes(min(BLOCK, size - start)))


class DataSet:
    """A tree to back up, and a change to it."""

    def __init__(self, name, title, make, change, described):
        self.name, self.title, self.make, self.change, self.described = name, title, make, change, described


def bf16_make(root, size):
    for part in range(2):
        tensor_file(os.path.join(root, f"model-{part + 1:05d}-of-00002.safetensors"), size // 2, f"bf16 {part}", "BF16", 2,
                    -6, 0.6)


def bf16_change(root):
    for name in sorted(os.listdir(root)):
        step_bf16(os.path.join(root, name), f"step {name}", 0.35)


def fp32_make(root, size):
    tensor_file(os.path.join(root, "master.safetensors"), size // 3, "master", "F32", 4, -6, 0.6)
    tensor_file(os.path.join(root, "exp_avg.safetensors"), size // 3, "m", "F32", 4, -20, 2.2)
    tensor_file(os.path.join(root, "exp_avg_sq.safetensors"), size // 3, "v", "F32", 4, -40, 1.0, signed=False)


def fp32_change(root):
    """The first moment anew, the rest edited in one of eight places."""
    tensor_file(os.path.join(root, "exp_avg.safetensors"), os.path.getsize(os.path.join(root, "exp_avg.safetensors")),
                "m2", "F32", 4, -20, 2.2)
    edit(os.path.join(root, "master.safetensors"), "master edit", 8)


def edit(path, seed, count):
    """Overwrites `count` stretches of 1 MiB."""
    rng = random.Random(seed)
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(count):
            file.seek(rng.randrange(max(1, size - (1 << 20))))
            file.write(rng.randbytes(min(1 << 20, size)))


def small_make(root, size):
    trees.small_files(root, max(100, size // 10_714), "bench", mean=10_714)


def small_change(root):
    trees.change(root, "bench change", 200)


def random_make(root, size):
    random_file(os.path.join(root, "random.bin"), size, "random")


def zeros_make(root, size):
    with open(os.path.join(root, "zeros.bin"), "wb") as file:
        for start in range(0, size // 2, BLOCK):
            file.write(bytes(min(BLOCK, size // 2 - start)))
    with open(os.path.join(root, "sparse.bin"), "wb") as file:
        file.truncate(size // 2)
        for place in range(4):
            os.pwrite(file.fileno(), os.urandom(4096), place * size // 8)


def one_edit(name):
    return lambda root: edit(os.path.join(root, name), name, 8)


DATA_SETS = {
    d.name: d for d in [
        DataSet("bf16", "bf16 weights (safetensors)", bf16_make, bf16_change,
                "next checkpoint: 35 % of the weights moved by one unit in the last place"),
        DataSet("fp32", "fp32 optimizer state (master, both moments)", fp32_make, fp32_change,
                "first moment new, eight edits of 1 MiB in the master weights"),
        DataSet("small", "small files (about 11 KB each)", small_make, small_change, "200 random changes"),
        DataSet("random", "random bytes, one file", random_make, one_edit("random.bin"), "eight edits of 1 MiB"),
        DataSet("zeros", "half zeros, half a hole", zeros_make, one_edit("zeros.bin"), "eight edits of 1 MiB"),
    ]
}
