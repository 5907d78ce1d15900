#!/usr/bin/env python3
"""Writes container images as docker archives, from files of this machine and packages of its distribution: no engine,
no registry.

    container_image.py training OUT.tar     local/becalm-e2e:1: a shell, Python and NumPy
    container_image.py bare OUT.tar         local/becalm-bare:1: a program that waits, and no shell
    container_image.py becalm OUT.tar       local/becalm:1: the command under test
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import harness

TRAINING, BARE, BECALM = "local/becalm-e2e:1", "local/becalm-bare:1", "local/becalm:1"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
# The dynamic loader's path is in every executable, so it is the one library that cannot lie elsewhere.
LOADER = "/lib64/ld-linux-x86-64.so.2"


class Image:
    """One layer of files, owned by root, with modes and links as they are given."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="becalm-image-")
        self.layer_path = os.path.join(self.directory.name, "layer.tar")
        self.layer = tarfile.open(self.layer_path, "w", format=tarfile.PAX_FORMAT)
        self.config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}
        self.names = set()
        self.folder("tmp", 0o1777)
        self.text("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        self.text("etc/group", "root:x:0:\nnobody:x:65534:\n")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.layer.close()
        self.directory.cleanup()

    def add(self, info, content=None):
        """Adds an entry, after the directories that it is in; what is there already stays."""
        if info.name in self.names:
            return
        parent = os.path.dirname(info.name)
        if parent:
            self.folder(parent)
        self.names.add(info.name)
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = "root"
        self.layer.addfile(info, content)

    def folder(self, name, mode=0o755):
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self.add(info)

    def text(self, name, text, mode=0o644):
        data = text.encode()
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), mode
        self.add(info, io.BytesIO(data))

    def link(self, name, target):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self.add(info)

    def file(self, source, name):
        """A file of this machine, whatever links lead to it."""
        with open(source, "rb") as stream:
            info = self.layer.gettarinfo(arcname=name, fileobj=stream)
            info.type, info.linkname = tarfile.REGTYPE, ""
            info.size = os.fstat(stream.fileno()).st_size
            self.add(info, stream)

    def package(self, path, leave_out=()):
        """The files of a Debian package, but for those whose names match one of `leave_out`."""
        reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE)
        with tarfile.open(fileobj=reader.stdout, mode="r|") as packed:
            for info in packed:
                info.name = info.name.removeprefix("./").rstrip("/")
                if not info.name or any(re.match(pattern, info.name) for pattern in leave_out):
                    continue
                info.linkname = info.linkname.removeprefix("./") if info.islnk() else info.linkname
                self.add(info, packed.extractfile(info) if info.isreg() else None)
        if reader.wait():
            raise RuntimeError(f"{path} cannot be unpacked")

    def busybox(self, binary):
        """A shell with all its tools."""
        self.file(binary, "bin/busybox")
        for applet in subprocess.check_output([binary, "--list"], text=True).split():
            self.link("bin/" + applet, "/bin/busybox")

    def program(self, binary, name):
        """A program of this machine with the libraries that it asks for, in a folder of their own."""
        self.file(binary, name)
        listing = subprocess.run(["ldd", binary], capture_output=True, text=True)
        libraries = re.findall(r"=> (/\S+)", listing.stdout)
        if not libraries:
            return  # static
        self.file(os.path.realpath(LOADER), LOADER.lstrip("/"))
        for library in libraries:
            self.file(library, "usr/lib/becalm/" + os.path.basename(library))
        self.config["Env"].append("LD_LIBRARY_PATH=/usr/lib/becalm")

    def write(self, path, tag):
        """Ends the layer and writes the archive."""
        self.layer.close()
        with open(self.layer_path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
        with tarfile.open(path + ".new", "w") as archive:
            for member, data in ((name, config), ("manifest.json", manifest)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            archive.add(self.layer_path, "layer.tar")
        os.replace(path + ".new", path)


def download(packages, folder):
    """Gets packages of the distribution into `folder`, which keeps them; returns the files."""
    os.makedirs(folder, exist_ok=True)
    found = {}
    for name in packages:
        there = [file for file in os.listdir(folder) if file.startswith(name + "_") and file.endswith(".deb")]
        found[name] = os.path.join(folder, sorted(there)[-1]) if there else None
    missing = [name for name, path in found.items() if path is None]
    if missing:
        process = subprocess.run(["apt-get", "download", *missing], cwd=folder, capture_output=True, text=True)
        if process.returncode:
            raise RuntimeError(f"apt cannot download {' '.join(missing)}: {process.stderr.strip()[-300:]}")
        return download(packages, folder)
    return list(found.values())


def closure(packages):
    """The packages with all that they depend on, as apt would choose."""
    text = subprocess.check_output(
        ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
         "--no-replaces", "--no-enhances", "--no-pre-depends", *packages], text=True, stderr=subprocess.DEVNULL)
    names = {line for line in text.splitlines() if re.match(r"[a-z0-9]", line)}
    # What only maintainers' scripts want, and choices that apt lists beside the first.
    unwanted = re.compile(r"(debconf|perl|dpkg|tar$|cdebconf|passwd|mawk|gawk|original-awk|install-info|media-types|mailcap|"
                          r"tzdata|libblis|libopenblas|libatlas|libmkl|intel-mkl|adduser|init-system)")
    return sorted(name for name in names if not unwanted.match(name) and ":" not in name)


def training(path, folder):
    """A shell, Python and NumPy."""
    with Image() as image:
        busybox, = download(["busybox-static"], folder)
        unpacked = os.path.join(image.directory.name, "busybox")
        subprocess.run(["dpkg", "-x", busybox, unpacked], check=True)
        useless = [r"usr/share/(doc|man|info|locale|lintian|bug|perl|common-licenses)/", r".*/tests?/", r".*\.a$", r".*\.pyi$",
                   r"usr/include/", r"etc/", r"usr/bin/(pdb|pydoc|pygettext|f2py)"]
        # As on an installed system, where these are links.
        for name in ("lib", "lib64", "sbin"):
            image.link(name, "usr/" + name)
        image.busybox(os.path.join(unpacked, "bin/busybox"))
        for package in download(closure(["python3-minimal", "python3-numpy"]), folder):
            image.package(package, useless)
        # Alternatives are made by scripts that nothing has run here.
        library = "usr/lib/x86_64-linux-gnu/"
        for name in ("blas", "lapack"):
            image.link(f"{library}lib{name}.so.3", f"{name}/lib{name}.so.3")
        image.config["Cmd"] = ["sh"]
        image.write(path, TRAINING)


def bare(path, folder):
    """A program that waits, and nothing else: no shell, no `kill`."""
    with Image() as image:
        busybox, = download(["busybox-static"], folder)
        unpacked = os.path.join(image.directory.name, "busybox")
        subprocess.run(["dpkg", "-x", busybox, unpacked], check=True)
        # It is what it is called.
        image.file(os.path.join(unpacked, "bin/busybox"), "sleep")
        image.config["Entrypoint"] = ["/sleep", "100000"]
        image.write(path, BARE)


def becalm(path):
    """The command under test, alone but for authorities; a shell's absence is part of what is tested."""
    with Image() as image:
        image.program(harness.find_binary(), "usr/local/bin/becalm")
        if os.path.exists(AUTHORITIES):
            image.file(AUTHORITIES, AUTHORITIES.lstrip("/"))
        image.config["Entrypoint"] = ["/usr/local/bin/becalm"]
        image.write(path, BECALM)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", choices=("training", "bare", "becalm"))
    parser.add_argument("path", metavar="OUT.tar")
    parser.add_argument("--packages", metavar="DIR", help="where downloaded packages are kept")
    options = parser.parse_args()
    if options.image == "becalm":
        becalm(options.path)
    else:
        if not shutil.which("apt-get"):
            sys.exit("this image is made of Debian's packages, and there is no apt here")
        make = training if options.image == "training" else bare
        make(options.path, options.packages or default_packages())
    print(f"{options.path}: {os.path.getsize(options.path) >> 20} MiB")


def default_packages():
    """Where packages are kept from one run to the next."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "becalm-e2e", "packages")


if __name__ == "__main__":
    main()
