#!/usr/bin/env python3
"""Kills the command at every request it makes to its storage, one after another, and looks at what is left.

On S3 a proxy counts the requests and sends SIGKILL at the n-th: before it is passed on, in the middle of its body, or
after the server has answered and before the client hears of it. On a directory a small library counts the calls that
change the file system and kills before or after the n-th (see killcalls.c).

Operations: backup; prune in one go; prune's first phase (condemn); prune's second phase (delete); forget; key rotate.
Each n starts from the same repository. After each kill:
  - every snapshot that is listed restores to what it was, and every earlier one is listed;
  - verify --depth full finds nothing wrong;
  - the same command, run again, succeeds (not backup);
  - the next backup succeeds and restores, and after it every earlier snapshot still does.
n goes up until the command ends unharmed. Quick: backup, prune and key rotate, two n of each.
"""

import os
import shutil
import subprocess
import sys
import time

import compare
import harness
import proxy
import servers
import trees

OPERATIONS = ("backup", "prune", "condemn", "delete", "forget", "rotate")
GRACE = 1.0
CHANGING_CALLS = "link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat"


class DirectoryStore:
    """A repository in a directory, whose whole state can be put back."""

    name, environment = "directory", {}

    def __init__(self, scratch):
        self.path = os.path.join(scratch, "repository")
        self.saved = os.path.join(scratch, "saved")
        self.repository = self.path

    def keys(self):
        found = []
        for directory, _, names in os.walk(self.path):
            found += [os.path.relpath(os.path.join(directory, name), self.path) for name in names]
        return set(found)

    def save(self, name):
        trees.remove_tree(f"{self.saved}-{name}")
        subprocess.run(["cp", "-a", self.path, f"{self.saved}-{name}"], check=True)

    def reset(self, name):
        trees.remove_tree(self.path)
        if os.path.isdir(f"{self.saved}-{name}"):
            subprocess.run(["cp", "-a", f"{self.saved}-{name}", self.path], check=True)


class BucketStore:
    """A repository in a bucket, whose whole state can be put back."""

    def __init__(self, server):
        self.server, self.bucket = server, server.bucket()
        self.name, self.environment = server.kind, server.environment()
        self.repository, self.states = f"s3://{self.bucket}/repository", {}

    def keys(self):
        return set(self.server.client.list(self.bucket))

    def save(self, name):
        self.states[name] = self.server.client.dump(self.bucket)

    def reset(self, name):
        self.server.client.replace(self.bucket, "", self.states.get(name, {}))


class RequestKiller:
    """Counts and kills at a request, by way of the proxy."""

    variants = proxy.VARIANTS
    unit = "requests"

    def __init__(self, counting, store):
        self.proxy = counting
        self.extra = store.server.environment(counting.endpoint)

    def run(self, becalm, words, cwd, number, variant):
        """Runs the command; returns its outcome and what it was killed at, None if it was not."""
        if number:
            self.proxy.arm(number, variant)
        else:
            self.proxy.reset()
        process = becalm.start(*words, cwd=cwd, extra=self.extra)
        self.proxy.aim(process)
        outcome = becalm.finish(process, timeout=300)
        self.proxy.settle()
        return outcome, self.proxy.struck

    def counted(self):
        return self.proxy.count


class CallKiller:
    """Counts and kills at a system call, by way of a preloaded library."""

    variants = ("before", "after")
    unit = "calls"

    def __init__(self, scratch, writes):
        compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
        if compiler is None:
            raise servers.Unavailable("there is no C compiler for killcalls.c")
        self.library, self.log = os.path.join(scratch, "killcalls.so"), os.path.join(scratch, "calls")
        source = os.path.join(harness.HERE, "killcalls.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self.library, source, "-ldl"], check=True)
        self.writes = writes

    def run(self, becalm, words, cwd, number, variant):
        if os.path.exists(self.log):
            os.unlink(self.log)
        extra = {"LD_PRELOAD": self.library, "KILLCALLS_LOG": self.log, "KILLCALLS_AT": str(number or 0),
                 "KILLCALLS_WHEN": variant or "before"}
        if self.writes:
            extra["KILLCALLS_WRITES"] = "1"
        outcome = becalm.run(*words, cwd=cwd, extra=extra, timeout=300)
        lines = self.lines()
        struck = lines[min(number, len(lines)) - 1] if number and outcome.killed and lines else None
        return outcome, struck

    def lines(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, errors="replace") as file:
            return file.read().splitlines()

    def counted(self):
        return len(self.lines())


class TraceKiller:
    """Counts and kills at a system call, by way of strace. It counts for each thread apart."""

    variants = ("before",)
    unit = "calls of one thread"

    def __init__(self):
        if shutil.which("strace") is None:
            raise servers.Unavailable("strace is not installed")
        probe = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True)
        if probe.returncode:
            raise servers.Unavailable(f"strace may not trace here: {probe.stderr.strip()[-200:]}")

    def run(self, becalm, words, cwd, number, variant):
        prefix = ()
        if number:
            inject = f"inject={CHANGING_CALLS}:signal=SIGKILL:when={number}"
            prefix = ("strace", "-f", "-o", os.devnull, "-e", f"trace={CHANGING_CALLS}", "-e", inject)
        outcome = becalm.run(*words, cwd=cwd, prefix=prefix, timeout=600)
        return outcome, f"call {number} of a thread" if outcome.killed else None

    def counted(self):
        return None


class Campaign:
    """All kills of one operation on one store."""

    def __init__(self, report, store, killer, scratch, seed):
        self.report, self.store, self.killer, self.scratch, self.seed = report, store, killer, scratch, seed
        self.source = os.path.join(scratch, "source", "run42")
        self.kills, self.runs = 0, 0

    def becalm(self, cache="cache"):
        return harness.Becalm(self.store.repository, self.scratch, self.store.environment, cache=cache, swift_key=True)

    def prepare(self):
        """The repositories that each operation starts from."""
        becalm, self.expected = self.becalm(), {}
        trees.small_files(self.source, 40, self.seed, mean=4000)
        trees.big_file(os.path.join(self.source, "weights.bin"), 3 << 20, self.seed)
        becalm.init()
        order, passing = [], []
        model = os.path.join(self.source, "model.safetensors")
        for step in range(3):
            trees.model_file(model, self.seed, step)
            made = becalm.backup(self.source, "--tag", f"step{step}")
            self.expected[made["snapshot"]] = compare.describe(self.source)
            order.append(made["snapshot"])
            # A tree of its own, so that forgetting its snapshot leaves whole packs that nothing refers to.
            other = os.path.join(self.scratch, f"other{step}")
            trees.small_files(other, 10, f"{self.seed} other {step}", mean=4000)
            passing.append(becalm.backup(other)["snapshot"])
            trees.remove_tree(other)
            trees.change(self.source, f"{self.seed}.{step}", 8)
        trees.model_file(model, self.seed, 3)
        self.current = compare.describe(self.source)
        self.forgettable = order[1]
        becalm.must("forget", *passing, "--json")
        self.store.save("plain")
        becalm.must("forget", order[1], "--json")
        self.kept = {s: self.expected[s] for s in (order[0], order[2])}
        self.store.save("forgotten")
        becalm.must("prune", "--grace", f"{GRACE:.0f}s", "--json")
        self.store.save("condemned")

    def words(self, operation):
        name = os.path.basename(self.source)
        return {
            "backup": ("backup", "./" + name, "--json"), "prune": ("prune", "--grace", "0s", "--json"),
            "condemn": ("prune", "--grace", f"{GRACE:.0f}s", "--json"),
            "delete": ("prune", "--grace", f"{GRACE:.0f}s", "--json"),
            "forget": ("forget", self.forgettable, "--json"), "rotate": ("key", "rotate", "--json"),
        }[operation]

    def reset(self, operation):
        state = {"prune": "forgotten", "condemn": "forgotten", "delete": "condemned"}.get(operation, "plain")
        self.store.reset(state)
        trees.remove_tree(os.path.join(self.scratch, "cache"))
        if operation == "delete":
            time.sleep(GRACE + 1.1)  # the grace period itself, by clocks of whole seconds
        return self.expected if state == "plain" else self.kept

    def strike(self, operation, number, variant):
        """One run that is killed at `number`; returns whether it was. Without a number: counts, and must succeed."""
        earlier = dict(self.reset(operation))
        keys = set() if number else self.store.keys()
        outcome, struck = self.killer.run(
            self.becalm(), self.words(operation), os.path.dirname(self.source), number, variant)
        self.runs += 1
        where = f"{self.store.name}: {operation}, killed {variant} {number} ({struck})" if struck else (
            f"{self.store.name}: {operation}, not killed")
        if struck:
            self.kills += 1
            if not self.report.check(outcome.killed, f"{where}: ended by the kill", str(outcome)):
                return True
        elif not self.report.check(outcome.code == harness.DONE, f"{where}: succeeds", str(outcome)):
            return False
        if not number:
            self.report.check(self.store.keys() != keys, f"{where}: changes what is stored", "this run proves nothing")
        try:
            self.look(operation, earlier, where, struck)
        except harness.Unexpected as failure:
            self.report.check(False, where, str(failure))
        return struck is not None

    def look(self, operation, earlier, where, struck):
        becalm = self.becalm()
        if operation == "forget":
            earlier.pop(self.forgettable)
        listed = {s["id"] for s in becalm.snapshots()}
        known = {**self.expected}
        self.report.check(set(earlier) <= listed, f"{where}: every earlier snapshot is listed",
                          f"missing: {sorted(set(earlier) - listed)}")
        self.restore_all(becalm, listed, known, where)
        found = harness.damage(becalm.verify(codes=(harness.DONE, harness.INTEGRITY)))
        self.report.equal(found, f"{where}: verify finds no damage")
        if struck and operation != "backup":
            if operation == "forget" and self.forgettable not in listed:
                pass  # it was done; there is nothing to name any more
            else:
                becalm.must(*self.words(operation))
            if operation == "rotate":
                left = becalm.verify(codes=(harness.DONE, harness.INTEGRITY)).of("problem")
                self.report.equal([str(p) for p in left], f"{where}: run again, it leaves nothing of the old keys behind")
        made = becalm.backup(self.source)
        known[made["snapshot"]] = self.current
        listed = {s["id"] for s in becalm.snapshots()}
        self.report.check({*earlier, made["snapshot"]} <= listed, f"{where}: the next backup is listed with the others")
        again = {*earlier, made["snapshot"]} if struck and operation != "backup" else {made["snapshot"]}
        self.restore_all(becalm, again, known, f"{where}, after the next backup")

    def restore_all(self, becalm, snapshots, known, where):
        target = os.path.join(self.scratch, "restored")
        for snapshot in sorted(snapshots):
            try:
                becalm.restore(snapshot, target)
                found = compare.differences(
                    known.get(snapshot, self.current),
                    compare.describe(os.path.join(target, os.path.basename(self.source))), owners=os.geteuid() == 0)
                self.report.equal(found, f"{where}: {snapshot[:12]} restores to what it was")
            except (harness.Unexpected, FileNotFoundError) as failure:
                self.report.check(False, f"{where}: {snapshot[:12]} restores", str(failure))
            finally:
                trees.remove_tree(target)

    def run(self, operation, most, every):
        """All kills of `operation`; with `most`, at most so many a variant, spread over the whole."""
        began, before = time.monotonic(), self.kills
        self.strike(operation, None, None)
        total = self.killer.counted()
        for variant in self.killer.variants:
            if most and total:
                numbers = sorted({1 + index * (total - 1) // max(most - 1, 1) for index in range(min(most, total))})
            else:
                numbers = range(1, 1_000_000, every)
            for number in numbers:
                if not self.strike(operation, number, variant):
                    break
        self.report.check(self.kills > before, f"{self.store.name}: {operation} was killed at least once")
        self.report.say(
            f"{self.store.name}: {operation}: {total} {self.killer.unit} unharmed, {self.kills - before} kills in "
            f"{time.monotonic() - began:.0f} s")


def campaign(report, options, name, scratch):
    scratch = os.path.join(scratch, name)
    os.makedirs(os.path.join(scratch, "source"))

    def conduct(store, killer):
        one = Campaign(report, store, killer, scratch, options.seed)
        one.prepare()
        for operation in options.operations.split(","):
            one.run(operation, options.most, options.every)
        report.say(f"{name}: {one.kills} kills, {one.runs} runs")

    if name == "directory":
        killer = TraceKiller() if options.tracer == "strace" else CallKiller(scratch, options.writes)
        conduct(DirectoryStore(scratch), killer)
        return
    with servers.start(name) as server:
        store = BucketStore(server)
        with proxy.CountingProxy(server.endpoint) as counting:
            killer = RequestKiller(counting, store)
            if options.variants:
                killer.variants = tuple(options.variants.split(","))
            conduct(store, killer)
            report.equal(counting.errors, f"{name}: the proxy had no fault of its own")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--stores", help="directory and kinds of servers (default: directory, rclone, moto; quick: "
                        "directory, rclone)")
    parser.add_argument("--operations", default=",".join(OPERATIONS), help="some of " + ", ".join(OPERATIONS))
    parser.add_argument("--variants", help="some of " + ", ".join(proxy.VARIANTS))
    parser.add_argument("--most", type=int, help="kills of each operation and variant, spread over all (quick: 2)")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="kill at every K-th only")
    parser.add_argument("--tracer", choices=("preload", "strace"), default="preload")
    parser.add_argument("--writes", action="store_true", help="directory: also kill at writes and syncs of regular files")
    options = parser.parse_args()
    if options.quick:
        options.most = options.most or 2
        options.variants = options.variants or "before,after"
        if options.operations == ",".join(OPERATIONS):
            options.operations = "backup,prune,rotate"
    stores = options.stores or ("directory,rclone" if options.quick else "directory,rclone,moto")
    report = harness.Report("kill")
    with harness.Scratch(options) as scratch:
        for name in stores.split(","):
            try:
                campaign(report, options, name, scratch)
            except servers.Unavailable as reason:
                report.skip(name, str(reason))
            except harness.Unexpected as failure:
                report.check(False, f"{name}: preparation", str(failure))
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
