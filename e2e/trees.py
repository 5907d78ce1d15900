#!/usr/bin/env python3
"""Makes trees of files to back up: many small files, one large file, an awkward tree, and random changes to a tree.

Everything follows from a seed: the same call makes the same bytes, names, modes and times on every machine.

    trees.py small DIR [--count 20000] [--seed 1]
    trees.py big FILE --bytes 4GB [--seed 1]
    trees.py awkward DIR [--seed 1] [--beyond-path-max]   prints what this machine does not permit, one line each
    trees.py change DIR [--steps 20] [--seed 1]
"""

import argparse
import json
import os
import random
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys

KIB, MIB = 1 << 10, 1 << 20
# Times are set explicitly, so that a tree does not depend on when it was made.
EPOCH_NS = 1_700_000_000_000_000_000

WORDS = (
    "loss gradient step epoch batch token layer weight bias attention head embedding optimizer adam warmup schedule "
    "checkpoint shard rank world device cuda bf16 fp32 norm dropout eval train sample dataset loader worker seed "
    "learning rate decay clip momentum accuracy perplexity throughput memory latency resume save load config true "
    "false null 0.001 0.9 0.999 1e-8 42 1024 4096 the a of to in for with on by is was model run"
).split()


def parse_size(text):
    """Bytes in `4GB`, `64MiB`, `512K` or a plain number; units of 1000 unless they say `i` or stand alone."""
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?)(B?)", str(text), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; say for example 4GB, 64MiB or 1048576")
    number, unit, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    return int(number) * base ** " KMGT".index(unit.upper() or " ")


def moment(rng):
    """A modification time with odd nanoseconds, in nanoseconds since 1970."""
    return EPOCH_NS + rng.randrange(40_000_000) * 1_000_000_000 + rng.randrange(1, 1_000_000_000)


def set_times(path, ns):
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


def write_file(path, data):
    with open(path, "wb") as file:
        file.write(data)


class Pool:
    """Text to cut pieces from, which is much faster than writing each file word by word."""

    def __init__(self, rng):
        lines = []
        for number in range(20_000):
            words = " ".join(rng.choices(WORDS, k=rng.randrange(3, 14)))
            lines.append(f"{number:06d} {words} {rng.random():.6f}\n")
        self.text = "".join(lines).encode()

    def piece(self, rng, size):
        out = bytearray()
        while len(out) < size:
            start = rng.randrange(len(self.text))
            out += self.text[start : start + size - len(out)]
        return bytes(out)


def small_size(rng, mean=10_000):
    """Sizes as source trees and caches have them: most of a few KB, some of hundreds of KB, a few empty."""
    if rng.random() < 0.01:
        return 0
    return min(int(rng.lognormvariate(0, 1.3) * mean / 2.33), 600_000)


def small_files(root, count=20_000, seed=1, mean=10_000):
    """Writes `count` small files below `root` in directories of some fifty; returns the bytes written."""
    rng = random.Random(f"small {seed}")
    pool = Pool(rng)
    root = os.fsencode(root)
    suffixes = [b".json", b".py", b".txt", b".log", b".yaml", b".bin", b".npy", b".png"]
    directory, total, recent = root, 0, []
    os.makedirs(root, exist_ok=True)
    directories = [root]
    for number in range(count):
        if number % 50 == 0:
            parent = rng.choice(directories[-20:])
            if parent.count(b"/") - root.count(b"/") >= 6:
                parent = root
            directory = os.path.join(parent, b"part%05d" % (number // 50))
            os.makedirs(directory)
            directories.append(directory)
        suffix = rng.choice(suffixes)
        size = small_size(rng, mean)
        if recent and rng.random() < 0.03:
            data = rng.choice(recent)  # the same content again, as caches and copies have it
        elif suffix in (b".bin", b".npy", b".png"):
            data = rng.randbytes(size)
        else:
            data = pool.piece(rng, size)
        recent = [data] + recent[:15]
        path = os.path.join(directory, b"file%06d%s" % (number, suffix))
        write_file(path, data)
        os.chmod(path, rng.choice([0o644, 0o644, 0o644, 0o640, 0o600, 0o755]))
        set_times(path, moment(rng))
        total += len(data)
    for directory in sorted(directories, key=len, reverse=True):
        set_times(directory, moment(rng))
    return total


def big_file(path, size, seed=1):
    """Writes one file of `size` bytes: mostly random, with stretches of text, zeros, repeats and holes."""
    rng = random.Random(f"big {seed}")
    pool = Pool(rng)
    block, earlier = 4 * MIB, []
    with open(path, "wb", buffering=0) as file:
        position = 0
        while position < size:
            length = min(block, size - position)
            kind = rng.random()
            if kind < 0.80:
                data = rng.randbytes(length)
                if len(earlier) < 8:
                    earlier.append(data)
            elif kind < 0.88:
                data = (pool.text * (block // len(pool.text) + 1))[:length]
            elif kind < 0.92:
                data = bytes(length)
            elif kind < 0.96 and earlier:
                data = rng.choice(earlier)[:length]
            else:
                data = None
            if data is not None:
                os.pwrite(file.fileno(), data, position)
            position += length
        file.truncate(size)
    os.chmod(path, 0o644)
    set_times(path, moment(rng))


EXPONENTS = bytes(0x3C | b & 0x83 for b in range(256))  # upper bytes of bfloat16 numbers of about one size
LAST_BITS = bytes(b & 1 if b < 64 else 0 for b in range(256))


def flipped(a, b):
    """Bytewise `a ^ b`."""
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def model_file(path, seed, step=0, tensors=(900_000, 1_300_000, 2_000)):
    """Writes a model (safetensors, bfloat16) after `step` steps of training, each of which moves an eighth of the last bits.

    Such a file is stored as byte planes, and after further steps as the difference to what was backed up before."""
    header, pieces, offset = {}, [], 0
    for number, size in enumerate(tensors):
        rng = random.Random(f"model {seed} {number}")
        data = bytearray(rng.randbytes(size))
        data[1::2] = bytes(data[1::2]).translate(EXPONENTS)
        for taken in range(step):
            low = bytes(data[0::2])
            data[0::2] = flipped(low, random.Random(f"step {seed} {number} {taken}").randbytes(len(low)).translate(LAST_BITS))
        header[f"layer.{number}.weight"] = {
            "dtype": "BF16", "shape": [size // 2], "data_offsets": [offset, offset + size]}
        pieces.append(bytes(data))
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_file(path, struct.pack("<Q", len(text)) + text + b"".join(pieces))
    set_times(path, moment(random.Random(f"{seed} {step}")))


def sparse_file(path, rng):
    """Holes at the start, in the middle and at the end."""
    with open(path, "wb") as file:
        file.truncate(24 * MIB)
        os.pwrite(file.fileno(), rng.randbytes(300_000), 8 * MIB + 5)
        os.pwrite(file.fileno(), rng.randbytes(64 * KIB), 16 * MIB)


def tool(*command):
    """Runs a system tool; raises OSError when it is missing or refuses."""
    if shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
        raise OSError(f"{command[0]} is not installed")
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    done = subprocess.run(command, capture_output=True, env=environment)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")


def awkward(root, seed=1, beyond=False):
    """Makes everything a file system allows and tools forget; returns a line for each thing not permitted here.

    With `beyond`, also directories whose path is longer than PATH_MAX.
    """
    rng = random.Random(f"awkward {seed}")
    root = os.fsencode(root)
    os.makedirs(root)
    skipped = []

    def at(*parts):
        return os.path.join(root, *parts)

    def attempt(what, action):
        try:
            action()
        except OSError as error:
            skipped.append(f"{what}: {error}")

    os.mkdir(at(b"names"))
    names = [
        b"\xff\xfe not utf-8 \x80", b"latin1-\xe9t\xe9", "caf\u00e9 composed".encode(), "cafe\u0301 decomposed".encode(),
        b"new\nline", b"tab\tand\rreturn", b"trailing space ", b" leading", b"-rf", b"--help", b"*?[glob]", b"quo'te\"s",
        b"back\\slash", b"$(echo)`id`", b"\x01\x7f\x1b[31m", b"...", b"..a", b"~", b"#", "\U0001f6a2 sails".encode(),
        b"n" * 255, ("\u20ac" * 85).encode(), b"same", b"SAME",
    ]
    for name in names:
        write_file(at(b"names", name), b"named " + name)
    os.mkdir(at(b"names", b"dir\xff\n"))
    write_file(at(b"names", b"dir\xff\n", b"inside"), b"x")

    os.mkdir(at(b"sizes"))
    for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1, 2 * MIB - 1, 2 * MIB,
                 2 * MIB + 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1]:
        write_file(at(b"sizes", b"random-%d" % size), rng.randbytes(size))
    for size in [1, 512 * KIB, 8 * MIB + 1]:
        write_file(at(b"sizes", b"zeros-%d" % size), bytes(size))
    write_file(at(b"sizes", b"repeat"), rng.randbytes(1000) * 3000)

    os.mkdir(at(b"sparse"))
    sparse_file(at(b"sparse", b"holes"), rng)
    with open(at(b"sparse", b"only a hole"), "wb") as file:
        file.truncate(64 * MIB)
    with open(at(b"sparse", b"hole then byte"), "wb") as file:
        file.truncate(5 * MIB)
        os.pwrite(file.fileno(), b"!", 5 * MIB - 1)
    with open(at(b"sparse", b"byte then hole"), "wb") as file:
        file.write(b"!")
        file.truncate(3 * MIB + 7)

    os.mkdir(at(b"links"))
    for name, target in [
        (b"to file", b"../sizes/random-1"), (b"to directory", b"../sizes"), (b"dangling", b"nowhere/at all"),
        (b"absolute", b"/etc/hostname"), (b"loop", b"loop"), (b"not utf-8 \xfe", b"\xff\xff"), (b"up and away", b"../../../.."),
        (b"long", b"x/" * 2000 + b"end"), (b"dot", b"."),
    ]:
        os.symlink(target, at(b"links", name))
    write_file(at(b"links", b"hard a"), rng.randbytes(100_000))
    os.link(at(b"links", b"hard a"), at(b"links", b"hard b"))
    os.mkdir(at(b"links", b"elsewhere"))
    os.link(at(b"links", b"hard a"), at(b"links", b"elsewhere", b"hard c"))
    write_file(at(b"links", b"empty a"), b"")
    os.link(at(b"links", b"empty a"), at(b"links", b"empty b"))
    attempt("a hard link to a symlink", lambda: os.link(
        at(b"links", b"dangling"), at(b"links", b"dangling again"), follow_symlinks=False))

    os.mkdir(at(b"special"))
    os.mkfifo(at(b"special", b"fifo"), 0o622)
    os.link(at(b"special", b"fifo"), at(b"special", b"fifo too"))

    def make_socket():
        # The address of a unix socket is short, so bind by way of a directory handle.
        handle = os.open(at(b"special"), os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"/proc/self/fd/{handle}/socket")
        finally:
            os.close(handle)

    attempt("a socket", make_socket)
    attempt("a character device", lambda: os.mknod(at(b"special", b"null"), stat.S_IFCHR | 0o666, os.makedev(1, 3)))
    attempt("a block device", lambda: os.mknod(at(b"special", b"loop"), stat.S_IFBLK | 0o660, os.makedev(7, 300)))

    os.mkdir(at(b"attributes"))
    write_file(at(b"attributes", b"user"), b"has attributes")
    for name, value in [(b"user.comment", b"plain"), (b"user.empty", b""), (b"user.binary", bytes(range(256))),
                        ("user.\u00e9t\u00e9".encode(), b"\xff"), (b"user.large", rng.randbytes(1500))]:
        attempt(f"attribute {name!r}", lambda n=name, v=value: os.setxattr(at(b"attributes", b"user"), n, v))
    os.mkdir(at(b"attributes", b"on directory"))
    attempt("attribute on a directory", lambda: os.setxattr(at(b"attributes", b"on directory"), b"user.d", b"1"))
    write_file(at(b"attributes", b"acl"), b"has an ACL")
    attempt("an ACL", lambda: tool("setfacl", "-m", "u:12345:rw,g:54321:r,m::rw", at(b"attributes", b"acl")))
    os.mkdir(at(b"attributes", b"default acl"))
    attempt("a default ACL", lambda: tool(
        "setfacl", "-m", "u:12345:rwx,d:u:12345:rx,d:g::r", at(b"attributes", b"default acl")))
    write_file(at(b"attributes", b"default acl", b"inherits"), b"x")
    write_file(at(b"attributes", b"capable"), b"#!/bin/true\n")
    attempt("a capability", lambda: tool("setcap", "cap_net_bind_service,cap_sys_nice+ep", at(b"attributes", b"capable")))
    attempt("a trusted attribute", lambda: os.setxattr(at(b"attributes", b"user"), b"trusted.becalm", b"t"))

    os.mkdir(at(b"modes"))
    for mode in [0o000, 0o400, 0o200, 0o100, 0o444, 0o555, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777]:
        path = at(b"modes", b"%04o" % mode)
        write_file(path, b"mode %o" % mode)
        os.chmod(path, mode)
    for mode in [0o700, 0o500, 0o1777, 0o2775]:
        path = at(b"modes", b"dir %04o" % mode)
        os.mkdir(path)
        write_file(os.path.join(path, b"child"), b"c")
        os.chmod(path, mode)
    if os.geteuid():
        os.chmod(at(b"modes", b"0000"), 0o400)  # one who is not root could not read it back
        os.chmod(at(b"modes", b"0200"), 0o600)
        os.chmod(at(b"modes", b"0100"), 0o500)

    os.mkdir(at(b"owners"))
    for user, group in [(0, 0), (12345, 54321), (65534, 65534), (4_000_000_000, 4_000_000_001)]:
        path = at(b"owners", b"%d.%d" % (user, group))
        write_file(path, b"owned")
        attempt(f"owner {user}:{group}", lambda p=path, u=user, g=group: os.chown(p, u, g))
    os.symlink(b"nobody", at(b"owners", b"link"))
    attempt("owner of a symlink", lambda: os.lchown(at(b"owners", b"link"), 65534, 65534))

    deep = at(b"deep")
    for level in range(60):
        deep = os.path.join(deep, b"%02d-and-so-on" % level)
    os.makedirs(deep)
    write_file(os.path.join(deep, b"bottom"), b"deep")
    if beyond:
        attempt("a path longer than PATH_MAX", lambda: beyond_path_max(at(b"deeper")))
    os.makedirs(at(b"empty", b"empty", b"empty"))
    os.mkdir(at(b"many"))
    for number in range(1500):
        write_file(at(b"many", b"%04d" % number), b"%d" % number)

    os.mkdir(at(b"times"))
    for name, ns in [(b"before 1970", -86_400_000_000_001), (b"1970", 0), (b"one nanosecond", 1),
                     (b"far future", 4_102_444_800_123_456_789), (b"odd", EPOCH_NS + 999_999_999)]:
        write_file(at(b"times", name), name)
        attempt(f"time {ns}", lambda n=name, t=ns: set_times(at(b"times", n), t))
    kept = {at(b"times", name) for name in os.listdir(at(b"times"))}
    stamp_tree(root, rng, kept)
    return skipped


def beyond_path_max(top):
    """Makes directories below `top` until their path is longer than the kernel takes in one call."""
    here = os.open(os.path.dirname(top), os.O_RDONLY | os.O_DIRECTORY)
    try:
        step, length = os.path.basename(top), len(top)
        while length < 5000:
            os.mkdir(step, dir_fd=here)
            below = os.open(step, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here, step = below, b"d" * 250
            length += 251
        bottom = os.open(b"bottom", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here)
        os.write(bottom, b"out of reach")
        os.close(bottom)
    finally:
        os.close(here)


def stamp_tree(root, rng, kept=frozenset()):
    """Gives every entry below `root`, and `root`, a time of its own, children first; order is by name."""

    def visit(handle, path):
        for name in sorted(os.listdir(handle)):
            name = os.fsencode(name)
            inner = os.path.join(path, name)
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                try:
                    visit(below, inner)
                finally:
                    os.close(below)
            ns = moment(rng)
            if inner not in kept:
                os.utime(name, ns=(ns, ns), dir_fd=handle, follow_symlinks=False)

    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        visit(top, root)
    finally:
        os.close(top)
    set_times(root, moment(rng))


def change(root, seed=1, steps=20):
    """Makes `steps` random changes below `root`: edits, appends, truncations, renames, deletions, new files and modes."""
    rng = random.Random(f"change {seed}")
    root = os.fsencode(root)
    done, touched = [], set()
    for _ in range(steps):
        files, directories = [], [root]
        for path, names, others in os.walk(root):
            names.sort()
            directories += [os.path.join(path, name) for name in names if not os.path.islink(os.path.join(path, name))]
            files += [os.path.join(path, name) for name in sorted(others)]
        files = [path for path in files if stat.S_ISREG(os.lstat(path).st_mode)]
        kind = rng.choice(["edit", "edit", "append", "truncate", "rename", "delete", "create", "create", "mode", "insert",
                           "mkdir", "symlink"])
        path = rng.choice(files) if files else None
        if path is not None:
            touched.add(os.path.dirname(path))
        where = rng.choice(directories)
        fresh = os.path.join(where, b"new-%08x" % rng.getrandbits(32))
        if path is None or kind == "create":
            write_file(fresh, rng.randbytes(small_size(rng)))
            path = fresh
        elif kind == "edit":
            size = os.lstat(path).st_size
            with open(path, "r+b") as file:
                file.seek(rng.randrange(size + 1))
                file.write(rng.randbytes(rng.randrange(1, 5000)))
        elif kind == "insert":
            with open(path, "rb") as file:
                data = file.read()
            middle = rng.randrange(len(data) + 1)
            with open(path, "wb") as file:
                file.write(data[:middle] + rng.randbytes(rng.randrange(1, 100)) + data[middle:])
        elif kind == "append":
            with open(path, "ab") as file:
                file.write(rng.randbytes(rng.randrange(1, 20_000)))
        elif kind == "truncate":
            os.truncate(path, rng.randrange(os.lstat(path).st_size + 1))
        elif kind == "rename":
            os.rename(path, fresh)
            path = fresh
        elif kind == "delete":
            os.unlink(path)
            path = None
        elif kind == "mode":
            os.chmod(path, rng.choice([0o600, 0o640, 0o644, 0o755, 0o400]))
        elif kind == "mkdir":
            os.mkdir(fresh)
            path = fresh
        elif kind == "symlink":
            os.symlink(os.path.basename(path), fresh)
            path = fresh
        if path is not None:
            set_times(path, moment(rng))
            touched.add(os.path.dirname(path))
        done.append(kind)
    # Directories that changed got the clock's time; give them one that follows from the seed.
    for directory in sorted(touched):
        set_times(directory, moment(rng))
    return done


def remove_tree(path):
    """Removes a tree whatever its modes, and however deep."""
    path = os.fsencode(path)
    if not os.path.lexists(path):
        return
    subprocess.run([b"chmod", b"-R", b"u+rwx", b"--", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([b"rm", b"-rf", b"--", path], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["small", "big", "awkward", "change"]:
        command = commands.add_parser(name)
        command.add_argument("path")
        command.add_argument("--seed", type=int, default=1)
        if name == "small":
            command.add_argument("--count", type=int, default=20_000)
        elif name == "big":
            command.add_argument("--bytes", type=parse_size, required=True)
        elif name == "awkward":
            command.add_argument("--beyond-path-max", action="store_true")
        elif name == "change":
            command.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    if options.command == "small":
        print(small_files(options.path, options.count, options.seed), "bytes")
    elif options.command == "big":
        big_file(options.path, options.bytes, options.seed)
    elif options.command == "awkward":
        for line in awkward(options.path, options.seed, options.beyond_path_max):
            print("not made:", line)
    else:
        print(" ".join(change(options.path, options.seed, options.steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
