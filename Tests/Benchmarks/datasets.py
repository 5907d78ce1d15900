"""Generates what the benchmark backs up: tensors with the byte statistics of trained models, small files, zeros, random.

No real weights are needed: what a backup tool sees of them is how their bytes are distributed, and that is made here
with whole-array operations of the standard library, at hundreds of MB a second. A weight's exponent follows a normal
distribution with a scale of its own for each row; its sign and mantissa are uniform. The exponent byte of a bfloat16
tensor made so has an order-0 entropy of about 2.7 bits, as a trained transformer's has.
"""

import array
import hashlib
import itertools
import json
import math
import operator
import os
import random
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
import torchpython  # noqa: E402
import trees  # noqa: E402

BLOCK = 4 << 20
# A step's size: 65 % of the weights of `bf16` stay as they are; 18 % of the finetuned ones, the middle moves by two units.
STEP, FINETUNED = 2.0 ** -15.6, 2.0 ** -12.5
# The steps of the real training run at which a checkpoint is taken; below this size it is the small model's.
TRAINED, MEDIUM = (44, 48), 100_000_000


class Unavailable(Exception):
    """This data set cannot be made here; the text says why."""


def cache():
    """Where what is dear to get is kept."""
    return os.environ.get("BECALM_E2E_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "becalm-e2e")


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
EXPONENT_HIGH = bytes((b & 0x7F) << 1 for b in range(256))  # the high byte → the exponent without its last bit
EXPONENT_LOW = bytes(b >> 7 for b in range(256))            # the byte below → that bit


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


def tensor_file(path, size, seed, dtype, width, center, spread, signed=True, tensor=16_000_000):
    """One safetensors file of about `size` bytes with tensors of `tensor` bytes."""
    rng = random.Random(seed)
    tables = exponent_tables(center, spread, 32, rng)
    per = tensor // width
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


class Step:
    """An optimizer's step on bfloat16 weights: each moves by a normal variate of one size for all, `sigma`, and is rounded.

    A large weight is seldom moved by that, and by one unit in the last place; a small one often, by many. What a weight
    lost when it was rounded last is uniform. Where units are small against `sigma` each weight is reckoned by itself; the
    others take the number of units from a table for their exponent, and a whole block of them is added up as two integers.
    """

    UNITS = 8  # beyond that many units in `sigma`, weights are reckoned by themselves

    def __init__(self, sigma, rng):
        self.sigma, self.rng = sigma, rng
        units = {e: sigma / 2.0 ** (max(e, 1) - 127 - 7) for e in range(255)}
        self.single = bytes(1 if units.get(e, 0) > self.UNITS else 0 for e in range(256))
        self.tables = {}
        for e, number in units.items():
            table = None if self.single[e] else self.table(number)
            if table and set(table) != {128}:
                self.tables[e] = bytes(0xFF if other == e else 0 for other in range(256)), table
        self.rest = bytes(0 if e in self.tables else 128 for e in range(256))
        self.normal = [rng.gauss(0, sigma) for _ in range(1 << 18)]
        self.values = struct.unpack("<65536f", b"".join(struct.pack("<I", bits << 16) for bits in range(1 << 16)))

    @staticmethod
    def table(sigma):
        """From a uniform byte to 128 plus the units a weight moves by when a unit is 1."""
        points = [(n + 0.5) / 64 - 0.5 for n in range(64)]

        def below(bound):
            return sum(math.erf((bound - point) / sigma / math.sqrt(2)) for point in points) / 128 + 0.5

        most = math.ceil(4 * sigma) + 1
        shares = {units: 256 * (below(units + 0.5) - below(units - 0.5)) for units in range(-most, most + 1)}
        levels = {units: int(share) for units, share in shares.items()}
        for units in sorted(shares, key=lambda u: levels[u] - shares[u])[: 256 - sum(levels.values())]:
            levels[units] += 1
        return bytes(128 + units for units, count in levels.items() for _ in range(count))

    def moved(self, data):
        """The block of weights after the step."""
        count = len(data) // 2
        old, uniform = int.from_bytes(data, "little"), self.rng.randbytes(count)
        exponents = merge(data[1::2].translate(EXPONENT_HIGH), data[0::2].translate(EXPONENT_LOW))
        units = int.from_bytes(exponents.translate(self.rest), "little")
        for chosen, table in self.tables.values():
            units |= int.from_bytes(exponents.translate(chosen), "little") & int.from_bytes(uniform.translate(table), "little")
        wide = bytearray(2 * count)
        wide[0::2] = units.to_bytes(count, "little")
        signs = int.from_bytes(b"\x00\x80" * count, "little")
        # Without signs no sum runs over into the next number.
        added = (old & ~signs) + int.from_bytes(wide, "little") - int.from_bytes(b"\x80\x00" * count, "little")
        out = array.array("H", (added | old & signs).to_bytes(2 * count, "little"))
        before = memoryview(data).cast("H")
        places = list(itertools.compress(range(count), exponents.translate(self.single)))
        for begin in range(0, len(places), 1 << 16):
            some = places[begin : begin + (1 << 16)]
            start = self.rng.randrange(len(self.normal) - len(some))
            values = map(self.values.__getitem__, map(before.__getitem__, some))
            sums = array.array("f", map(operator.add, values, self.normal[start : start + len(some)]))
            for place, bits in zip(some, array.array("I", sums.tobytes())):
                out[place] = bits + 0x7FFF + (bits >> 16 & 1) >> 16
        return out.tobytes()


def step_bf16(path, seed, sigma, chosen=lambda name: True):
    """Does a step on those tensors of a file whose names are `chosen`, in place."""
    step = Step(sigma, random.Random(seed))
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name == "__metadata__" or not chosen(name):
                continue
            low, high = (8 + length + offset for offset in tensor["data_offsets"])
            for position in range(low, high, 1 << 19):  # small enough for the processor's cache
                data = os.pread(file.fileno(), min(1 << 19, high - position), position)
                os.pwrite(file.fileno(), step.moved(data), position)


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
        step_bf16(os.path.join(root, name), f"step {name}", STEP)


def finetune_make(root, size):
    tensor_file(os.path.join(root, "model.safetensors"), size, "finetune", "BF16", 2, -6, 0.6, tensor=size // 50 & ~1)


def finetune_change(root):
    """The upper layers move, as when the lower ones are frozen."""
    step_bf16(os.path.join(root, "model.safetensors"), "finetune", FINETUNED, lambda name: int(name.split(".")[2]) >= 32)


def training_make(root, size):
    """The first of two checkpoints of a real run."""
    kind = "medium" if size >= MEDIUM else "tiny"
    first = os.path.join(training_run(kind), f"checkpoint-{TRAINED[0]}")
    subprocess.run(["cp", "-a", "--reflink=auto", first, root], check=True)
    trees.write_file(os.path.join(root, "run.json"), json.dumps({"size": kind}).encode())


def training_change(root):
    """The run has gone on and removed the checkpoint before."""
    with open(os.path.join(root, "run.json"), encoding="ascii") as file:
        kind = json.load(file)["size"]
    old, new = (f"checkpoint-{step}" for step in TRAINED)
    shutil.rmtree(os.path.join(root, old))
    subprocess.run(["cp", "-a", "--reflink=auto", os.path.join(training_run(kind), new), root], check=True)


def training_run(kind):
    """The directory with both checkpoints, made once and kept."""
    loop = os.path.join(os.path.dirname(torchpython.__file__), "training_loop.py")
    with open(loop, "rb") as file:
        version = hashlib.sha256(file.read()).hexdigest()[:12]
    place = os.path.join(cache(), f"training-{kind}-{version}")
    if os.path.exists(place):
        return place
    try:
        python = torchpython.find()
    except torchpython.NoTorch as reason:
        raise Unavailable(str(reason)) from None
    os.makedirs(cache(), exist_ok=True)
    for old in os.listdir(cache()):
        if old.startswith(f"training-{kind}-"):
            shutil.rmtree(os.path.join(cache(), old))
    part = place + ".part"
    for step in TRAINED:
        words = ["--dir", part, "--size", kind, "--bf16", "--steps", str(step), "--save-every", str(step)]
        done = subprocess.run(
            [python, loop, *words, *(["--resume"] if step != TRAINED[0] else [])], capture_output=True, text=True,
            env=dict(os.environ, **{torchpython.MARK: python}))
        if done.returncode:
            raise Unavailable(f"the training loop ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    os.rename(part, place)
    return place


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
                "next checkpoint: a step of one size for all weights, 65 % of them stay as they are"),
        DataSet("finetune", "bf16 weights, finetuned", finetune_make, finetune_change,
                "the upper 36 % of the layers moved, each weight by some two units in the last place"),
        DataSet("training", "a real training run's checkpoint (bf16 weights, fp32 master and moments)", training_make, training_change,
                f"the checkpoint {TRAINED[1] - TRAINED[0]} steps later in its place"),
        DataSet("fp32", "fp32 optimizer state (master, both moments)", fp32_make, fp32_change,
                "first moment new, eight edits of 1 MiB in the master weights"),
        DataSet("small", "small files (about 11 KB each)", small_make, small_change, "200 random changes"),
        DataSet("random", "random bytes, one file", random_make, one_edit("random.bin"), "eight edits of 1 MiB"),
        DataSet("zeros", "half zeros, half a hole", zeros_make, one_edit("zeros.bin"), "eight edits of 1 MiB"),
    ]
}
