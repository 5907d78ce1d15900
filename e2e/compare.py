#!/usr/bin/env python3
"""Compares two trees byte for byte and attribute for attribute, by means of its own and nothing of Becalm.

    compare.py A B                    B must be as A; prints each difference; exit 1 if there is any
    compare.py --save FILE A          writes down what A is
    compare.py --against FILE B       B must be what was written down

Compared: the set of names, type, size, SHA-256 of the content, mode, owner and group, modification time in
nanoseconds, extended attributes (with ACLs and capabilities), link targets, which names are hard links of each other,
device numbers, and that a sparse file takes no more room in B than in A. Symbolic links are never followed; names are
bytes; a path may be longer than the kernel takes in one call.

Not compared: access and change times, inode numbers, the size of directories. Sockets only by their metadata.
"""

import argparse
import base64
import hashlib
import json
import os
import stat
import sys

KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}
# A sparse file may take this much more room in B: the last block, the file system's own tables.
ROOM = 128 << 10


def show(path):
    """A path as one printable line."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def content_digest(name, handle):
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
    with open(descriptor, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def attributes(name, handle):
    """Extended attributes as name → value, both in a form that JSON can hold."""
    path = b"/proc/self/fd/%d/%s" % (handle, name)
    found = {}
    for attribute in os.listxattr(path, follow_symlinks=False):
        if attribute.startswith("security.") and attribute != "security.capability":
            continue  # labels of the machine's own security module
        value = os.getxattr(path, attribute, follow_symlinks=False)
        found[base64.b64encode(os.fsencode(attribute)).decode()] = base64.b64encode(value).decode()
    return found


def describe(root, contents=True):
    """Every entry below `root`, and `root` itself as b"", as {path: record}."""
    root = os.fsencode(root)
    tree, groups = {}, {}

    def record(name, handle, path):
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        entry = {
            "kind": kind, "mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid,
            "mtime": status.st_mtime_ns, "attributes": attributes(name, handle),
        }
        if kind == "symlink":
            entry["target"] = base64.b64encode(os.readlink(name, dir_fd=handle)).decode()
        elif kind.endswith("device"):
            entry["device"] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
        elif kind == "file":
            entry["size"] = status.st_size
            entry["room"] = status.st_blocks * 512
        if kind != "directory" and status.st_nlink > 1:
            first = groups.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                entry["same as"] = base64.b64encode(first).decode()
                if kind == "file" and contents:
                    entry["sha256"] = tree[first]["sha256"]
        if kind == "file" and contents and "sha256" not in entry:
            entry["sha256"] = content_digest(name, handle)
        tree[path] = entry
        return kind

    def walk(handle, path):
        # os.listdir of a descriptor gives str with surrogates; the bytes come back from it unharmed.
        for name in sorted(os.fsencode(name) for name in os.listdir(handle)):
            inner = path + b"/" + name if path else name
            if record(name, handle, inner) == "directory":
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                try:
                    walk(below, inner)
                finally:
                    os.close(below)

    sys.setrecursionlimit(max(10_000, sys.getrecursionlimit()))
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        record(b".", top, b"")
        walk(top, b"")
    finally:
        os.close(top)
    return tree


def differences(expected, actual, owners=True, root_itself=True, sockets=True):
    """One line for each way in which `actual` is not `expected`."""
    found = []
    skip = set() if root_itself else {b""}
    if not sockets:
        skip |= {path for path, entry in expected.items() if entry["kind"] == "socket" and path not in actual}
    for path in sorted((expected.keys() | actual.keys()) - skip):
        name = show(path) or "."
        if path not in actual:
            found.append(f"{name}: missing ({expected[path]['kind']})")
            continue
        if path not in expected:
            found.append(f"{name}: not expected ({actual[path]['kind']})")
            continue
        old, new = expected[path], actual[path]
        if old["kind"] != new["kind"]:
            found.append(f"{name}: is a {new['kind']} and should be a {old['kind']}")
            continue
        for key in ["size", "sha256", "mode", "uid", "gid", "mtime", "target", "device", "same as"]:
            if key in ("uid", "gid") and not owners:
                continue
            if old.get(key) != new.get(key):
                form = oct if key == "mode" else link_form if key in ("target", "same as") else str
                found.append(f"{name}: {key} is {form(new.get(key))} and should be {form(old.get(key))}")
        for key in sorted(old["attributes"].keys() | new["attributes"].keys()):
            if old["attributes"].get(key) != new["attributes"].get(key):
                state = "missing" if key not in new["attributes"] else "new" if key not in old["attributes"] else "different"
                found.append(f"{name}: attribute {show(base64.b64decode(key))} is {state}")
        if old["kind"] == "file" and old["room"] < old["size"] and new["room"] > old["room"] + ROOM:
            found.append(f"{name}: sparse, takes {new['room']} bytes and should take {old['room']}")
    return found


def link_form(value):
    return "none" if value is None else repr(show(base64.b64decode(value)))


def save(tree, path):
    with open(path, "w", encoding="ascii") as file:
        json.dump({base64.b64encode(name).decode(): entry for name, entry in tree.items()}, file)


def load(path):
    with open(path, encoding="ascii") as file:
        return {base64.b64decode(name): entry for name, entry in json.load(file).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", metavar="TREE")
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--against", metavar="FILE")
    parser.add_argument("--no-owners", action="store_true", help="restored by one who is not root")
    parser.add_argument("--not-the-root", action="store_true", help="leave out the attributes of the two directories named")
    parser.add_argument("--no-sockets", action="store_true", help="a socket may be missing in B")
    parser.add_argument("--most", type=int, default=200, help="differences to print")
    options = parser.parse_args()
    if len(options.trees) != (1 if options.save or options.against else 2):
        parser.error("name two trees, or one with --save or --against")
    if options.save:
        tree = describe(options.trees[0])
        save(tree, options.save)
        print(f"{len(tree)} entries written down")
        return 0
    expected = load(options.against) if options.against else describe(options.trees[0])
    actual = describe(options.trees[-1])
    found = differences(
        expected, actual, owners=not options.no_owners, root_itself=not options.not_the_root,
        sockets=not options.no_sockets)
    for line in found[: options.most]:
        print(line)
    if len(found) > options.most:
        print(f"... and {len(found) - options.most} more")
    size = sum(entry.get("size", 0) for entry in expected.values())
    print(f"{len(expected)} entries, {size} bytes: " + (f"{len(found)} differences" if found else "equal"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
