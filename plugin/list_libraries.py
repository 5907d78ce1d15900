#!/usr/bin/env python3
"""Lists what was linked into a static executable, and collects the licences.

    list_libraries.py PREFIX LINK-FILE-LIST LIBRARIES NOTICES

PREFIX is what `static-libraries` made; LINK-FILE-LIST is the package manager's list of the objects of the product.
Writes LIBRARIES (name, version, SPDX licence, origin; tab-separated) and NOTICES. A module that belongs to no package, and a
licence that is not recognised, are errors: what is shipped must be known.
"""

import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SWIFT_EXCEPTION = "Apache-2.0 WITH Swift-exception"
# Words that only that licence's text has, the most particular first.
LICENCES = (
    ("Runtime Library Exception to the Apache", SWIFT_EXCEPTION),
    ("Runtime Library Exception", SWIFT_EXCEPTION),
    ("Apache License", "Apache-2.0"),
    ("Redistribution and use in source and binary forms", "BSD-3-Clause"),
    ("Permission is hereby granted, free of charge", "MIT"),
)
LICENCE_FILES = ("LICENSE.txt", "LICENSE", "LICENSE.md", "NOTICE.txt", "NOTICE")
PREAMBLE = """\
This executable contains the libraries below, each under its own licence.

The GNU C Library is under the LGPL, version 2.1 or later, and linked statically. The source of the executable, with the
scripts that link it, is public, so that it can be linked with another version of that library: see plugin/build there.
"""


def fail(text):
    sys.exit(f"list_libraries.py: {text}")


def licence_of(text, name):
    for words, licence in LICENCES:
        if words in text:
            return licence
    fail(f"the licence of {name} is not recognised: look at it, and name it in LICENCES")


def modules(link_file_list):
    """The names of the modules whose objects are linked."""
    with open(link_file_list) as file:
        return sorted(set(re.findall(r"/([^/\n]+)\.build/", file.read().replace("/.build/", "/"))))


def owners(checkouts):
    """The package that has a module: by a folder of sources of that name, else by a target of that name in its manifest."""
    by_folder, by_manifest = {}, {}
    for package in sorted(os.listdir(checkouts)):
        top = os.path.join(checkouts, package)
        for _, folders, _ in os.walk(os.path.join(top, "Sources")):
            for name in folders:
                by_folder.setdefault(name, package)
        for manifest in os.listdir(top):
            if manifest.startswith("Package") and manifest.endswith(".swift"):
                with open(os.path.join(top, manifest), encoding="utf-8") as file:
                    # Targets may be made by functions of the manifest; products are those of other packages.
                    for kind, name in re.findall(r'(\w+)\((?:\s*kind:\s*[^,()]*,)?\s*name:\s*"([^"]+)"', file.read()):
                        if kind not in ("product", "package", "Package", "plugin"):
                            by_manifest.setdefault(name, package)
    return {**by_manifest, **by_folder}


def swift_packages(link_file_list):
    """Name, version and folder of every package that is linked."""
    checkouts = os.path.join(ROOT, ".build", "checkouts")
    with open(os.path.join(ROOT, "Package.resolved")) as file:
        pins = {os.path.basename(pin["location"]).removesuffix(".git"): pin["state"] for pin in json.load(file)["pins"]}
    # A module's name has `_` where its folder's has what names of modules may not have.
    ours = {re.sub(r"\W", "_", name) for name in os.listdir(os.path.join(ROOT, "Sources"))}
    known, packages = owners(checkouts), set()
    for module in modules(link_file_list):
        if re.sub(r"\W", "_", module) in ours:
            continue
        packages.add(known.get(module) or fail(f"the module {module} is of no package that is known"))
    for name in sorted(packages):
        state = pins.get(name) or fail(f"Package.resolved does not name {name}")
        yield name, state.get("version") or state["revision"], os.path.join(checkouts, name)


def read_licence(folder, name):
    texts = []
    for file in LICENCE_FILES:
        path = os.path.join(folder, file)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as stream:
                texts.append(stream.read().strip())
    return "\n\n".join(texts) or fail(f"{name} came without a licence")


def swift_runtime():
    """Version and licence of the toolchain whose libraries are linked."""
    swift = os.environ.get("SWIFT", "swift")
    told = subprocess.run([swift, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"Swift version (\S+)", told) or fail(f"what version of Swift is this: {told!r}")
    info = json.loads(
        subprocess.run([swift, "-print-target-info"], capture_output=True, text=True, check=True).stdout)
    resources = info["paths"]["runtimeResourcePath"]  # …/usr/lib/swift
    return version[1], read_licence(os.path.join(resources, "..", "..", "share", "swift"), "Swift")


def main():
    if len(sys.argv) != 5:
        fail("usage: list_libraries.py PREFIX LINK-FILE-LIST LIBRARIES NOTICES")
    prefix, link_file_list, libraries, notices = sys.argv[1:]
    rows, texts = [], []
    with open(os.path.join(prefix, "libraries.tsv")) as file:
        for line in file.read().splitlines()[1:]:
            row = line.split("\t")
            rows.append(row)
            with open(os.path.join(prefix, "notices", row[0]), encoding="utf-8") as text:
                texts.append((row, text.read().strip()))
    version, text = swift_runtime()
    rows.append(["swift", version, licence_of(text, "Swift"), "libraries of the toolchain"])
    texts.append((rows[-1], text))
    for name, version, folder in swift_packages(link_file_list):
        text = read_licence(folder, name)
        rows.append([name, version, licence_of(text, name), "Swift package"])
        texts.append((rows[-1], text))
    with open(libraries, "w") as file:
        file.write("library\tversion\tlicence\tfrom\n")
        file.writelines("\t".join(row) + "\n" for row in rows)
    with open(notices, "w", encoding="utf-8") as file:
        file.write(PREAMBLE)
        for row, text in texts:
            file.write(f"\n{'=' * 78}\n{row[0]} {row[1]}: {row[2]}\n{'=' * 78}\n\n{text}\n")


if __name__ == "__main__":
    main()
