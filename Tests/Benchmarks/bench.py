#!/usr/bin/env python3
"""Measures Becalm beside restic and borg on generated data, in one run on one machine.

For each data set and tool: first backup, unchanged backup, backup of the changed tree, restore, full check. CPU seconds
(user and system, of the process and its children, from wait4) per GB of 10^9 bytes are the yardstick: wall clocks differ
from machine to machine and day to day. Each run starts with an empty repository; the median of the runs is printed.

    bench.py                              all data sets, all tools, 3 runs
    bench.py --sets bf16,small --runs 1   less of it
    bench.py --large 8GB                  one large file: how many cores are busy in backup and in restore
    bench.py --readme                     also put the table into README.md

The binary is $BECALM or the package's release build. restic is Debian sid's package, unpacked into a cache with an apt
configuration of its own; borg is the system's.
"""

import argparse
import datetime
import glob
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import datasets
import trees

sys.dont_write_bytecode = True
import compare  # noqa: E402
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
GB = 1e9
SIZES = {"bf16": 1_000_000_000, "finetune": 1_000_000_000, "training": 320_000_000, "fp32": 900_000_000,
         "small": 300_000_000, "random": 1_000_000_000, "zeros": 2_000_000_000}
PASSWORD = "benchmark"


class Missing(Exception):
    """A tool cannot be had here; the text says why."""


class Failed(Exception):
    """A tool ended badly; the text says how."""


def measure(command, environment, cwd, log):
    """Runs a command; returns its wall and CPU seconds and peak resident bytes."""
    with open(log, "ab") as out:
        out.write(f"$ {' '.join(map(str, command))}\n".encode())
        out.flush()
        start = os.fstat(out.fileno()).st_size
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        with open(log, "rb") as file:
            file.seek(start)
            raise Failed(f"{os.path.basename(command[0])} ended with {process.returncode}: "
                         + file.read()[-800:].decode("utf-8", "replace"))
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "kernel": usage.ru_stime,
            "rss": usage.ru_maxrss * 1024}


def stored(directory):
    """Bytes of all files below `directory`."""
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(directory) for name in names)


class Tool:
    """A backup tool: its commands on the repository at `place`."""

    name = ""

    def __init__(self, scratch):
        self.scratch = scratch

    def use(self, place):
        self.place, self.repository = place, os.path.join(place, "repository")
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith(("AWS_", "BECALM_", "RESTIC_", "BORG_"))}
        self.environment.update(HOME=place, XDG_CACHE_HOME=os.path.join(place, "cache"))

    def version(self):
        done = subprocess.run([self.program, *self.version_words], capture_output=True, text=True)
        text = re.sub(r"\s+", " ", (done.stdout or done.stderr).strip().splitlines()[0])[:60]
        program = os.path.basename(self.program)
        return text if program in text else f"{program} {text}"


class Becalm(Tool):
    name, version_words, options = "becalm", ("--version",), ()

    def __init__(self, scratch):
        super().__init__(scratch)
        self.program = harness.find_binary()

    def use(self, place):
        super().use(place)
        self.environment.update(BECALM_REPOSITORY=self.repository, BECALM_PASSWORD=PASSWORD,
                                BECALM_CACHE_DIR=os.path.join(place, "cache"))

    def init(self):
        return [self.program, "init"]

    def backup(self, tree):
        return [self.program, "backup", "./" + tree, *self.options]

    def restore(self, target):
        return [self.program, "restore", "latest", "--target", target]

    def check(self):
        return [self.program, "verify", "--depth", "full"]


class BecalmNoDigests(Becalm):
    name, options = "becalm, no file digests", ("--no-file-digests",)


class BecalmKeyFile(Becalm):
    """Without the derivation of a key from a password, which costs the same whatever the data is."""

    name = "becalm, key file"

    def use(self, place):
        super().use(place)
        del self.environment["BECALM_PASSWORD"]
        self.key = os.path.join(place, "key")
        trees.write_file(self.key, os.urandom(32))
        os.chmod(self.key, 0o600)

    def init(self):
        return [*super().init(), "--key-file", self.key]

    def backup(self, tree):
        return [*super().backup(tree), "--key-file", self.key]

    def restore(self, target):
        return [*super().restore(target), "--key-file", self.key]

    def check(self):
        return [*super().check(), "--key-file", self.key]


class Restic(Tool):
    name, version_words = "restic", ("version",)

    def __init__(self, scratch):
        super().__init__(scratch)
        self.program = fetch_restic()

    def use(self, place):
        super().use(place)
        self.environment.update(RESTIC_REPOSITORY=self.repository, RESTIC_PASSWORD=PASSWORD,
                                RESTIC_CACHE_DIR=os.path.join(place, "cache"))

    def init(self):
        return [self.program, "init", "--quiet"]

    def backup(self, tree):
        return [self.program, "backup", "--quiet", tree]

    def restore(self, target):
        return [self.program, "restore", "latest", "--quiet", "--target", target]

    def check(self):
        return [self.program, "check", "--read-data", "--quiet"]


class Borg(Tool):
    name, version_words, options = "borg", ("--version",), ()

    def __init__(self, scratch):
        super().__init__(scratch)
        self.program = shutil.which("borg")
        if self.program is None:
            raise Missing("borg is not installed: apt-get install borgbackup")
        self.count = 0

    def use(self, place):
        super().use(place)
        self.environment.update(BORG_REPO=self.repository, BORG_PASSPHRASE=PASSWORD, BORG_BASE_DIR=place,
                                BORG_CHECK_I_KNOW_WHAT_I_AM_DOING="YES")

    def init(self):
        return [self.program, "init", "--encryption", "repokey"]

    def backup(self, tree):
        self.count += 1
        return [self.program, "create", *self.options, f"::snapshot{self.count}", tree]

    def restore(self, target):
        return [self.program, "extract", f"::snapshot{self.count}"]

    def check(self):
        return [self.program, "check", "--verify-data"]


class BorgZstd(Borg):
    name, options = "borg, zstd 1", ("--compression", "zstd,1")


class Copy(Tool):
    """cp: what reading and writing the files costs by itself, most of it in the kernel."""

    name, version_words = "cp -a", ("--version",)

    def __init__(self, scratch):
        super().__init__(scratch)
        self.program = shutil.which("cp")

    def init(self):
        return ["mkdir", self.repository]

    def backup(self, tree):
        return None if os.listdir(self.repository) else [self.program, "-a", "--reflink=never", tree, self.repository]

    def restore(self, target):
        return [self.program, "-a", "--reflink=never", self.repository + "/.", target]

    def check(self):
        return None


TOOLS = {
    "cp": Copy, "becalm": Becalm, "becalm-key-file": BecalmKeyFile, "becalm-no-digests": BecalmNoDigests, "restic": Restic, "borg": Borg,
    "borg-zstd": BorgZstd}


def fetch_restic():
    """Debian sid's restic, unpacked into the cache; the one on PATH where apt has no sid."""
    place = os.path.join(datasets.cache(), "restic")
    program = os.path.join(place, "root", "usr", "bin", "restic")
    if os.access(program, os.X_OK):
        return program
    try:
        download_restic(place)
        return program
    except (subprocess.CalledProcessError, OSError, Missing) as error:
        found = shutil.which("restic")
        if found:
            return found
        detail = getattr(error, "stderr", None) or str(error)
        raise Missing(f"restic cannot be had: {detail.strip()[-300:]}") from None


def download_restic(place):
    """apt with a configuration of its own, so that the system's sources and lists stay as they are."""
    run = {"check": True, "capture_output": True, "text": True}
    archives = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)", "Created-By: Packages"], **run).stdout.splitlines()
    archive = next((line.split()[0] for line in archives if line.endswith(" Debian") and "security" not in line), None)
    if archive is None:
        raise Missing("this system's apt knows no archive of Debian's")
    shutil.rmtree(place, ignore_errors=True)
    for directory in ("lists/partial", "cache/archives/partial", "etc"):
        os.makedirs(os.path.join(place, directory))
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    signed = f"[signed-by={keyring}] " if os.path.exists(keyring) else ""
    with open(os.path.join(place, "etc", "sources.list"), "w") as file:
        file.write(f"deb {signed}{archive} sid main\n")
    options = [
        "-o", f"Dir::Etc::sourcelist={place}/etc/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::lists={place}/lists", "-o", f"Dir::Cache={place}/cache", "-o", "Acquire::Languages=none",
        "-o", "Debug::NoLocking=true"]
    if os.geteuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "update"], **run)
    subprocess.run(["apt-get", *options, "download", "restic"], cwd=place, **run)
    (package,) = glob.glob(os.path.join(place, "restic_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, os.path.join(place, "root")], **run)
    shutil.rmtree(os.path.join(place, "lists"))
    shutil.rmtree(os.path.join(place, "cache"))
    os.unlink(package)


def copy_tree(source, target):
    subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", source, target], check=True)


def one_run(tool, scratch, first, changed, log):
    """All steps of one tool on one data set; returns {step: measurement}."""
    place = os.path.join(scratch, "place")
    trees.remove_tree(place)
    os.makedirs(os.path.join(place, "work"))
    tool.use(place)
    work, tree, steps = os.path.join(place, "work"), os.path.join(place, "work", "tree"), {}
    try:
        copy_tree(first, tree)
        # Tools that wait for a file to be old enough before they trust its time must not be punished for fresh copies.
        measure(tool.init(), tool.environment, work, log)

        def step(name, command, cwd, stores=False):
            if command is None:
                return
            before = stored(tool.repository) if stores else 0
            os.sync()
            steps[name] = measure(command, tool.environment, cwd, log)
            if stores:
                steps[name]["stored"] = stored(tool.repository) - before

        step("backup", tool.backup("tree"), work, stores=True)
        step("unchanged", tool.backup("tree"), work)
        if not isinstance(tool, Copy):
            trees.remove_tree(tree)
            copy_tree(changed, tree)
        step("changed", tool.backup("tree"), work, stores=True)
        target = os.path.join(place, "target")
        os.mkdir(target)
        step("restore", tool.restore(target), target)
        found = compare.differences(
            compare.describe(tree), compare.describe(restored_tree(target)), owners=os.geteuid() == 0, root_itself=False)
        if found and not isinstance(tool, Becalm):
            found = [line for line in found if "sha256" in line or "missing" in line or "size" in line]
        if found:
            raise Failed(f"{tool.name} restored something else: {found[0]} ({len(found)} differences)")
        trees.remove_tree(target)
        step("check", tool.check(), work)
    finally:
        trees.remove_tree(place)
    return steps


def restored_tree(target):
    """Where the tool put the tree below its target."""
    for path, names, _ in os.walk(target):
        if "tree" in names:
            return os.path.join(path, "tree")
    raise Failed("nothing was restored")


def median(runs, step, key):
    values = [run[step][key] for run in runs if step in run and key in run[step]]
    return statistics.median(values) if values else None


def figure(value, form):
    return "–" if value is None else format(value, form)


def machine():
    """What the figures were measured on, without its name."""
    model, flags = platform.machine(), set()
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    have = ", ".join(title for flag, title in [("sha_ni", "SHA-NI"), ("aes", "AES-NI"), ("vaes", "VAES"),
                                               ("avx512f", "AVX-512")] if flag in flags)
    return f"{len(os.sched_getaffinity(0))} cores of {model} ({have}), Linux {platform.release().split('-')[0]}"


def primitives():
    """CPU seconds per GB of what no encrypted backup goes without, by the system's library in one thread."""
    parts = []
    for title, name in (("SHA-256", "sha256"), ("AES-256-GCM", "aes-256-gcm")):
        done = subprocess.run(["openssl", "speed", "-seconds", "2", "-bytes", "1048576", "-evp", name],
                              capture_output=True, text=True, check=True)
        rate = float(done.stdout.split()[-1].rstrip("k")) * 1000
        parts.append(f"{title} {GB / rate:.2f}")
    return "CPU s/GB of the library by itself: " + ", ".join(parts)


def table(results, sizes):
    lines = []
    for name, rows in results.items():
        data, size = datasets.DATA_SETS[name], sizes[name]
        lines += [
            f"**{data.title}, {size / 1e6:.0f} MB**; changed: {data.described}", "",
            "| tool | backup CPU s/GB | s | stored | peak MB | unchanged CPU s/GB | s | changed CPU s/GB | added | "
            "restore CPU s/GB | s | peak MB | check CPU s/GB | s |",
            "|---|" + "---|" * 13]
        for tool, runs in rows.items():
            if isinstance(runs, str):
                lines.append(f"| {tool} | {runs} |" + " |" * 12)
                continue

            def per_gb(step):
                value = median(runs, step, "cpu")
                return None if value is None else value / (size / GB)

            def with_kernel(step):
                """CPU s/GB, and in brackets what of it is the kernel's."""
                value = median(runs, step, "kernel")
                return "–" if value is None else f"{per_gb(step):.2f} ({value / (size / GB):.2f})"

            def share(step):
                value = median(runs, step, "stored")
                return None if value is None else value / size

            def mb(step):
                value = median(runs, step, "rss")
                return None if value is None else value / 1e6

            cells = [
                with_kernel("backup"), figure(median(runs, "backup", "wall"), ".1f"), figure(share("backup"), ".3f"),
                figure(mb("backup"), ".0f"), figure(per_gb("unchanged"), ".3f"), figure(median(runs, "unchanged", "wall"), ".2f"),
                with_kernel("changed"), figure(share("changed"), ".3f"), with_kernel("restore"),
                figure(median(runs, "restore", "wall"), ".1f"), figure(mb("restore"), ".0f"), with_kernel("check"),
                figure(median(runs, "check", "wall"), ".1f")]
            lines.append(f"| {tool} | " + " | ".join(cells) + " |")
        lines.append("")
    return lines


def memory_scratch(scratch):
    """A place for many small files: in memory where there is room, for on a disk the file system would be measured."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = 0
    return tempfile.mkdtemp(prefix="becalm-bench-", dir="/dev/shm") if free > 3e9 else scratch


def large(tools, scratch, size, log):
    """One large file: CPU over wall, which is how many cores were busy."""
    source = os.path.join(scratch, "large")
    os.makedirs(source)
    print(f"making one file of {size / 1e9:.1f} GB", flush=True)
    datasets.random_file(os.path.join(source, "large.bin"), size, "large")
    rows, lines = {}, []
    for tool in tools:
        place = os.path.join(scratch, "place")
        trees.remove_tree(place)
        os.makedirs(os.path.join(place, "target"))
        tool.use(place)
        try:
            measure(tool.init(), tool.environment, scratch, log)
            os.sync()
            rows[tool.name] = {"backup": measure(tool.backup("large"), tool.environment, scratch, log)}
            os.sync()
            rows[tool.name]["restore"] = measure(
                tool.restore(os.path.join(place, "target")), tool.environment, os.path.join(place, "target"), log)
            for step, m in rows[tool.name].items():
                print(f"{tool.name}: {step}: {m['cpu'] / (size / GB):.2f} CPU s/GB, {m['wall']:.1f} s, "
                      f"{m['cpu'] / m['wall']:.2f} cores busy, {m['rss'] / 1e6:.0f} MB", flush=True)
        except Failed as failure:
            rows[tool.name] = str(failure)
            print(f"{tool.name}: {failure}", flush=True)
        finally:
            trees.remove_tree(place)
    medium = "in memory" if scratch.startswith("/dev/shm") else "on disk"
    lines += [f"**One file of {size / 1e9:.1f} GB, random bytes, source, repository and target {medium}**", "",
              "| tool | backup CPU s/GB | s | cores busy | peak MB | restore CPU s/GB | s | cores busy | peak MB |",
              "|---|" + "---|" * 8]
    for name, steps in rows.items():
        if isinstance(steps, str):
            lines.append(f"| {name} | failed |" + " |" * 7)
            continue
        cells = []
        for step in ("backup", "restore"):
            m = steps[step]
            cells += [f"{m['cpu'] / (size / GB):.2f} ({m['kernel'] / (size / GB):.2f})", f"{m['wall']:.1f}", f"{m['cpu'] / m['wall']:.2f}", f"{m['rss'] / 1e6:.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows, [*lines, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(datasets.DATA_SETS), help="some of " + ", ".join(datasets.DATA_SETS))
    parser.add_argument("--tools", default=",".join(TOOLS), help="some of " + ", ".join(TOOLS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual sizes")
    parser.add_argument("--large", type=trees.parse_size, metavar="BYTES", help="only one large file of this size")
    parser.add_argument("--scratch", metavar="DIR", help="where to work: a disk like the one you would back up to")
    parser.add_argument("--out", metavar="FILE", default=None, help="JSON of all measurements (default: bench.json here)")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--add", action="store_true", help="keep what the JSON has of other data sets, and show it too")
    options = parser.parse_args()
    out = options.out or os.path.join(HERE, "large.json" if options.large else "bench.json")

    scratch = tempfile.mkdtemp(prefix="becalm-bench-", dir=options.scratch)
    log = os.path.join(scratch, "log")
    tools, lines = [], []
    for name in options.tools.split(","):
        try:
            tools.append(TOOLS[name](scratch))
        except (Missing, SystemExit) as reason:
            print(f"left out: {name}: {reason}", flush=True)
    results, sizes, failed = {}, {}, not tools
    try:
        versions = "; ".join(dict.fromkeys(tool.version() for tool in tools))
        speeds = primitives()
        if options.large:
            results["large"], lines = large(tools, scratch, options.large, log)
            failed = failed or any(isinstance(rows, str) for rows in results["large"].values())
        else:
            for name in options.sets.split(","):
                data = datasets.DATA_SETS[name]
                place = memory_scratch(scratch) if name == "small" else scratch
                first, changed = os.path.join(place, "first"), os.path.join(place, "changed")
                for path in (first, changed):
                    trees.remove_tree(path)
                os.makedirs(first)
                print(f"making: {data.title}", flush=True)
                try:
                    data.make(first, int(SIZES[name] * options.scale))
                    copy_tree(first, changed)
                    data.change(changed)
                except datasets.Unavailable as reason:
                    print(f"left out: {name}: {reason}", flush=True)
                    continue
                sizes[name], results[name] = stored(first), {}
                for tool in tools:
                    runs = []
                    try:
                        for number in range(options.runs):
                            os.sync()
                            runs.append(one_run(tool, place, first, changed, log))
                            words = ", ".join(f"{step} {m['cpu'] / (sizes[name] / GB):.2f}" for step, m in runs[-1].items())
                            print(f"{name}: {tool.name}: run {number + 1}: CPU s/GB: {words}", flush=True)
                        results[name][tool.name] = runs
                    except Failed as failure:
                        failed = True
                        print(f"{name}: {tool.name} FAILED: {failure}", flush=True)
                        results[name][tool.name] = runs or "failed"
                if place != scratch:
                    trees.remove_tree(place)
            if options.add:
                with open(out) as file:
                    known = json.load(file)
                for name, rows in known["results"].items():
                    results.setdefault(name, rows)
                    sizes.setdefault(name, known["sizes"][name])
                results = {name: results[name] for name in datasets.DATA_SETS if name in results}
            lines = table(results, sizes)
    finally:
        trees.remove_tree(scratch)
    head = [
        f"{datetime.date.today().isoformat()}; {machine()}; {versions}; {speeds}; "
        f"{'one run' if options.large or options.runs == 1 else f'median of {options.runs} runs'}; files in the page cache.", ""]
    text = "\n".join(head + lines)
    print("\n" + text)
    with open(out, "w") as file:
        json.dump({"machine": machine(), "versions": versions, "sizes": sizes, "results": results}, file, indent=1)
    if options.readme:
        fill_readme(text, "large" if options.large else "table")
    return 1 if failed else 0


def fill_readme(text, mark):
    """Replaces what stands between the two marks in README.md."""
    path = os.path.join(HERE, "README.md")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    pattern = re.compile(f"(<!-- {mark} begins -->\n).*?(<!-- {mark} ends -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"README.md has no place for the {mark}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(pattern.sub(lambda m: m[1] + text + "\n" + m[2], page))


if __name__ == "__main__":
    sys.exit(main())
