#!/usr/bin/env python3
"""Tests the harness itself: what judges Becalm must see every difference, and must not disturb what it forwards.

  - the same seed makes the same tree; another seed another one
  - compare.py finds nothing between a tree and its exact copy, and finds each of some twenty planted differences
  - the proxy passes on what it is given, keeps signatures valid, counts, and kills at the request chosen
  - killcalls.c counts in all threads together and kills before or after the call chosen
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading

import compare
import harness
import proxy
import servers
import trees


def copied(source, target):
    trees.remove_tree(target)
    subprocess.run(["cp", "-a", source, target], check=True)
    return os.fsencode(target)


def keeping_time(path, action):
    """Does `action` and puts back the modification time of the directory that holds `path`."""
    directory = os.path.dirname(path)
    ns = os.stat(directory).st_mtime_ns
    action()
    trees.set_times(directory, ns)


def flip(path):
    ns = os.stat(path).st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))
    trees.set_times(path, ns)


def replace_by(path, make):
    """Puts something else in the place of `path`, with its time."""
    ns = os.lstat(path).st_mtime_ns
    keeping_time(path, lambda: (os.unlink(path), make(path)))
    trees.set_times(path, ns)


def nudge(path):
    trees.set_times(path, os.lstat(path).st_mtime_ns + 1)


def fill(path):
    """Writes out the holes of a file."""
    ns = os.stat(path).st_mtime_ns
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data)
    trees.set_times(path, ns)


def unlink_hard(path):
    """Makes a hard link a file of its own."""
    keeping_time(path, lambda: (shutil.copy2(path, path + b".x"), os.rename(path + b".x", path)))


# What is planted, where, and what the comparison must say of it.
PLANTS = [
    ("a flipped byte", b"sizes/random-4096", flip, "sha256"),
    ("a shorter file", b"sizes/random-4097", lambda p: os.truncate(p, 4096), "size"),
    ("a missing directory", b"empty/empty/empty", lambda p: keeping_time(p, lambda: os.rmdir(p)), "missing"),
    ("a file too many", b"empty/extra", lambda p: keeping_time(p, lambda: trees.write_file(p, b"")), "not expected"),
    ("a mode", b"modes/0444", lambda p: os.chmod(p, 0o445), "mode"),
    ("a lost set-user-id bit", b"modes/4755", lambda p: os.chmod(p, 0o755), "mode"),
    ("a time one nanosecond off", b"sizes/random-1", nudge, "mtime"),
    ("a directory's time", b"sizes", nudge, "mtime"),
    ("a symlink's time", b"links/loop", nudge, "mtime"),
    ("another link target", b"links/dot", lambda p: replace_by(p, lambda q: os.symlink(b"..", q)), "target"),
    ("a hard link that is a copy", b"links/hard b", unlink_hard, "same as"),
    ("another kind", b"special/fifo", lambda p: replace_by(p, lambda q: trees.write_file(q, b"")), "is a file"),
    ("holes written out", b"sparse/holes", fill, "sparse"),
    ("a changed attribute", b"attributes/user", lambda p: os.setxattr(p, b"user.empty", b"x"), "user.empty is different"),
    ("a lost attribute", b"attributes/user", lambda p: os.removexattr(p, b"user.comment"), "user.comment is missing"),
    ("a new attribute", b"attributes/user", lambda p: os.setxattr(p, b"user.new", b""), "user.new is new"),
    ("a changed ACL", b"attributes/acl", lambda p: trees.tool("setfacl", "-m", "u:12345:r", p), "posix_acl_access"),
    ("a lost default ACL", b"attributes/default acl", lambda p: trees.tool("setfacl", "-k", p), "posix_acl_default"),
]
PLANTS_OF_ROOT = [
    ("another owner", b"sizes/random-511", lambda p: os.chown(p, 5, -1), "uid"),
    ("another group", b"sizes/random-512", lambda p: os.chown(p, -1, 5), "gid"),
    ("another capability", b"attributes/capable", lambda p: trees.tool("setcap", "cap_chown+ep", p), "security.capability"),
    ("another device", b"special/null",
     lambda p: replace_by(p, lambda q: os.mknod(q, 0o020666, os.makedev(1, 5))), "device"),
]


def test_trees(report, scratch):
    one, two, other = (os.path.join(scratch, name) for name in ("one", "two", "other"))
    for path, seed in [(one, 1), (two, 1), (other, 2)]:
        trees.small_files(path, 120, seed)
        trees.change(path, seed, 15)
        trees.big_file(os.path.join(path, "big"), 9_000_000, seed)
        trees.set_times(path, 0)
    report.equal(compare.differences(compare.describe(one), compare.describe(two)), "the same seed makes the same tree")
    report.check(compare.differences(compare.describe(one), compare.describe(other)), "another seed makes another tree")
    trees.change(two, 3, 3)
    report.check(compare.differences(compare.describe(one), compare.describe(two)), "a change shows")


def test_compare(report, scratch):
    tree, copy = os.path.join(scratch, "awkward"), os.path.join(scratch, "copy")
    missing = trees.awkward(tree, 7)
    for line in missing:
        report.skip("part of the awkward tree", line)
    expected = compare.describe(tree)
    saved = os.path.join(scratch, "saved.json")
    compare.save(expected, saved)
    report.check(compare.load(saved) == expected, "a description survives being written down")
    root = copied(tree, copy)
    report.equal(compare.differences(expected, compare.describe(copy)), "an exact copy is equal")
    planted = {}
    for what, where, plant, word in PLANTS + (PLANTS_OF_ROOT if os.geteuid() == 0 else []):
        try:
            plant(os.path.join(root, where))
            planted[what] = (compare.show(where) + ": ", word)
        except OSError as error:
            report.skip(what, str(error))
    found = compare.differences(expected, compare.describe(copy))
    for what, (start, word) in planted.items():
        report.check(any(line.startswith(start) and word in line for line in found), f"the comparison sees {what}",
                     str([line for line in found if line.startswith(start)]))
    # The other names of a file that was changed or taken apart differ with it.
    starts = tuple(start for start, _ in planted.values()) + ("special/fifo too: ",)
    report.equal([line for line in found if not line.startswith(starts)], "and nothing elsewhere")
    trees.remove_tree(copy)
    deep, twin = os.path.join(scratch, "deep"), os.path.join(scratch, "twin")
    for path in (deep, twin):
        os.mkdir(path)
        trees.beyond_path_max(os.fsencode(os.path.join(path, "deeper")))
        trees.stamp_tree(os.fsencode(path), random.Random(1))
    report.equal(compare.differences(compare.describe(deep), compare.describe(twin)), "paths beyond PATH_MAX compare")


# A client of the proxy in a process of its own: puts five objects, one after another, and says so.
CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
import servers
client = servers.S3Client(*sys.argv[2:5])
for number in range(5):
    client.put(sys.argv[5], f"key {number}", bytes([number]) * 300_000)
    print(number, flush=True)
"""


def test_proxy(report, server):
    bucket = server.bucket()
    with proxy.CountingProxy(server.endpoint) as counting:
        through = servers.S3Client(counting.endpoint, server.access_key, server.secret_key)
        bodies = {f"dir/{size}": os.urandom(size) for size in (0, 1, 1000, 300_000, 5_000_000)}
        for key, body in bodies.items():
            through.put(bucket, key, body)
        report.check(through.dump(bucket) == bodies == server.client.dump(bucket), "the proxy passes bodies on unharmed")
        report.check(counting.count == 2 * len(bodies) + 1, "the proxy counts each request", str(counting.seen))
        # rclone, where two requests make the same folder at the same moment, answers one of them with an internal error.
        through.put(bucket, "many/first", b"")
        workers = [threading.Thread(target=through.put, args=(bucket, f"many/{n}", bytes(50_000))) for n in range(20)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        report.check(len(server.client.list(bucket, "many/")) == 21, "the proxy serves many at once")
        for variant, stored in [(proxy.BEFORE, 2), (proxy.DURING, 2), (proxy.AFTER, 3)]:
            server.client.replace(bucket, "", {})
            counting.arm(3, variant)
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, harness.HERE, counting.endpoint, server.access_key, server.secret_key,
                 bucket], stdout=subprocess.PIPE)
            counting.aim(process)
            out = process.communicate()[0].split()
            counting.settle()
            report.check(process.returncode == -signal.SIGKILL and out == [b"0", b"1"] and counting.struck is not None,
                         f"killed {variant} the third request", f"{process.returncode} {out}")
            kept = server.client.list(bucket)
            report.check(len(kept) == stored, f"{variant}: {stored} objects are stored", str(kept))
            whole = all(len(server.client.get(bucket, key)) == 300_000 for key in kept)
            report.check(whole, f"{variant}: no object is stored in part")
        report.equal(counting.errors, "the proxy had no fault of its own")


THREADS = """
import os, sys, threading
def work(name):
    for number in range(5):
        path = os.path.join(sys.argv[1], f"{name}.{number}")
        os.mkdir(path)
threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_killcalls(report, scratch):
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if compiler is None:
        report.skip("killcalls.c", "there is no C compiler")
        return
    library = os.path.join(scratch, "killcalls.so")
    subprocess.run(
        [compiler, "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", library,
         os.path.join(harness.HERE, "killcalls.c"), "-ldl"], check=True)
    python = os.path.realpath(sys.executable)
    for when, at, made in [("before", 0, 20), ("before", 8, 7), ("after", 8, 8), ("after", 20, 20)]:
        place = os.path.join(scratch, f"calls-{when}-{at}")
        os.mkdir(place)
        log = place + ".log"
        environment = dict(os.environ, LD_PRELOAD=library, KILLCALLS_AT=str(at), KILLCALLS_WHEN=when, KILLCALLS_LOG=log,
                           PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run([python, "-I", "-c", THREADS, place], env=environment, capture_output=True)
        expected = 0 if at == 0 else -signal.SIGKILL
        count = len(os.listdir(place))
        report.check(done.returncode == expected and count == made,
                     f"killcalls.c kills {when} call {at} of all threads" if at else "killcalls.c lets a program be",
                     f"{done.returncode}, {count} made, {done.stderr.decode()[-300:]}")


def main():
    options = harness.arguments(__doc__).parse_args()
    report = harness.Report("selftest")
    with harness.Scratch(options) as scratch:
        test_trees(report, scratch)
        test_compare(report, scratch)
        test_killcalls(report, scratch)
        try:
            with servers.start("rclone") as server:
                test_proxy(report, server)
        except servers.Unavailable as reason:
            report.skip("the proxy", str(reason))
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
