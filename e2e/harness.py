"""What the end-to-end scripts share: the binary under test, a temporary place, and the count of what held."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import trees

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

DONE, FAILED, PARTIAL, USAGE = 0, 1, 3, 64
NO_REPOSITORY, BUSY, WRONG_KEY, INTEGRITY, REFUSED, UNREACHABLE, NO_SPACE = 10, 11, 12, 13, 14, 15, 16
# Exit codes by which a shell or Swift's runtime tells a crash; a negative one is the signal itself.
CRASHES = {128 + number for number in (signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE,
                                       signal.SIGSEGV)}
PASSWORD = "correct horse battery staple"


def find_binary():
    """`BECALM`, or the newest of the package's builds."""
    named = os.environ.get("BECALM")
    if named:
        path = shutil.which(named)
        if path is None:
            raise SystemExit(f"BECALM={named} is no program")
        return os.path.abspath(path)
    builds = [os.path.join(ROOT, ".build", kind, "becalm") for kind in ("release", "debug")]
    builds = [path for path in builds if os.access(path, os.X_OK)]
    if not builds:
        raise SystemExit("there is no becalm to test: run `make build` first, or set BECALM to a binary")
    return max(builds, key=os.path.getmtime)


def find_plugin():
    """Velero's plugin: `BECALM_PLUGIN`, or the newest of the package's builds, of which the static one is shipped."""
    named = os.environ.get("BECALM_PLUGIN")
    if named:
        path = shutil.which(named)
        if path is None:
            raise SystemExit(f"BECALM_PLUGIN={named} is no program")
        return os.path.abspath(path)
    builds = [os.path.join(ROOT, *folder, "velero-plugin-becalm")
              for folder in ([".build-static"], [".build", "release"], [".build", "debug"])]
    builds = [path for path in builds if os.access(path, os.X_OK)]
    if not builds:
        raise SystemExit("there is no plugin to test: run `make plugin` first, or set BECALM_PLUGIN to a binary")
    return max(builds, key=os.path.getmtime)


class Outcome:
    """How one run of the command ended, and what it said."""

    def __init__(self, arguments, code, out, err, seconds):
        self.arguments, self.code, self.out, self.err, self.seconds = arguments, code, out, err, seconds
        self.objects = []
        for line in out.decode("utf-8", "replace").splitlines():
            if line.startswith("{"):
                try:
                    self.objects.append(json.loads(line))
                except ValueError:
                    pass  # a killed process may leave half a line

    @property
    def summary(self):
        return next((o for o in reversed(self.objects) if o.get("type") == "summary"), {})

    def of(self, kind):
        return [o for o in self.objects if o.get("type") == kind]

    @property
    def crashed(self):
        """Ended by a fault of its own: a signal nobody sent, a runtime trap."""
        return (
            (self.code < 0 and -self.code != signal.SIGKILL) or self.code in CRASHES
            or b"Fatal error" in self.err or b"Program crashed" in self.err)

    @property
    def killed(self):
        return self.code in (-signal.SIGKILL, 128 + signal.SIGKILL)

    def __str__(self):
        words = " ".join(self.arguments)
        err = self.err.decode("utf-8", "replace").strip()
        # A crash is told at the beginning of what the runtime prints, anything else at the end.
        err = err[:6000] if self.crashed else err[-1500:]
        return f"`becalm {words}` ended with {self.code} after {self.seconds:.1f} s" + (f": {err}" if err else "")


class Unexpected(Exception):
    """The command ended otherwise than it must; the text says how."""


class Becalm:
    """The command with a repository, a key and a cache of its own.

    With `swift_key` the repository is opened by a key file, which costs a hundredth of what a password's derivation does:
    for scripts that run the command hundreds of times.
    """

    def __init__(self, repository, scratch, environment=None, cache="cache", password=PASSWORD, binary=None, swift_key=False):
        self.binary = binary or find_binary()
        self.repository, self.scratch = repository, scratch
        home = os.path.join(scratch, "home")
        os.makedirs(home, exist_ok=True)
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "BECALM_"))}
        self.environment.update(
            HOME=home, BECALM_REPOSITORY=repository, BECALM_CACHE_DIR=os.path.join(scratch, cache),
            AWS_EC2_METADATA_DISABLED="true")
        self.key_options = []
        if swift_key:
            key = os.path.join(scratch, "key")
            if not os.path.exists(key):
                trees.write_file(key, os.urandom(32))
                os.chmod(key, 0o600)
            self.key_options = ["--key-file", key]
        else:
            self.environment["BECALM_PASSWORD"] = password
        self.environment.update(environment or {})

    def start(self, *arguments, cwd=None, prefix=(), extra=None):
        """Starts the command, which the caller waits for with `finish`."""
        arguments = [os.fspath(a) for a in arguments]
        process = subprocess.Popen(
            [*prefix, self.binary, *arguments, *self.key_options], cwd=cwd or self.scratch, env={**self.environment, **(extra or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.words, process.began = [os.fsdecode(a) for a in arguments], time.monotonic()
        return process

    def finish(self, process, timeout=1800):
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            err += b"\n(harness: it hung, so it was ended)"
        return Outcome(process.words, process.returncode, out, err, time.monotonic() - process.began)

    def run(self, *arguments, cwd=None, prefix=(), extra=None, timeout=1800):
        return self.finish(self.start(*arguments, cwd=cwd, prefix=prefix, extra=extra), timeout)

    def must(self, *arguments, codes=(DONE,), **options):
        """Runs it; raises `Unexpected` unless it ends with one of `codes`."""
        outcome = self.run(*arguments, **options)
        if outcome.crashed or outcome.code not in codes:
            raise Unexpected(str(outcome))
        return outcome

    # The journeys that every script needs.

    def init(self):
        return self.must("init", "--json")

    def backup(self, path, *options):
        """Backs up the directory `path` under its last name; returns the summary."""
        parent, name = os.path.split(os.path.abspath(path))
        summary = self.must("backup", "./" + name, "--json", *options, cwd=parent).summary
        if not summary.get("snapshot"):
            raise Unexpected("the backup's summary names no snapshot")
        return summary

    def restore(self, snapshot, target, *options, codes=(DONE,)):
        return self.must("restore", snapshot, "--target", target, "--json", *options, codes=codes)

    def snapshots(self):
        return self.must("snapshots", "--json").of("snapshot")

    def verify(self, depth="full", codes=(DONE,)):
        return self.must("verify", "--depth", depth, "--json", codes=codes)


def damage(outcome):
    """The problems that a verify found, as text, but for remains of an interrupted run that harm nothing."""
    return [str(problem) for problem in outcome.of("problem") if not problem.get("harmless")]


class Report:
    """Counts what held and what did not; tells failures at once and everything at the end."""

    def __init__(self, name, verbose=True):
        self.name, self.verbose = name, verbose
        self.passed, self.failures, self.skips = 0, [], []
        self.began = time.monotonic()
        self.lock = threading.Lock()

    def say(self, text):
        print(f"[{self.name} {time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def check(self, condition, what, detail=""):
        with self.lock:
            if condition:
                self.passed += 1
                return True
            self.failures.append(what)
        self.say(f"FAILED: {what}" + (f"\n    {detail}" if detail else ""))
        return False

    def equal(self, found, what):
        """Holds when the list of differences `found` is empty."""
        return self.check(not found, what, "\n    ".join(found[:20]))

    def skip(self, what, reason):
        with self.lock:
            self.skips.append(what)
        self.say(f"skipped: {what}: {reason}")

    def close(self):
        """Prints the closing line; returns the exit code."""
        for line in self.failures[:50]:
            print("failed:", line)
        skipped = f", {len(self.skips)} skipped" if self.skips else ""
        self.say("done")
        print(f"{self.passed} passed, {len(self.failures)} failed{skipped}", flush=True)
        if not self.passed and not self.failures and not self.skips:
            print("nothing was checked")
            return 1
        return 1 if self.failures else 0


class Scratch:
    """A temporary directory that is removed at the end, unless `keep`."""

    def __init__(self, options=None):
        self.keep = getattr(options, "keep", False)
        parent = getattr(options, "scratch", None)
        if parent:
            os.makedirs(parent, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="becalm-e2e-", dir=parent)

    def __enter__(self):
        return self.path

    def __exit__(self, kind, value, trace):
        if self.keep:
            print(f"kept: {self.path}")
        else:
            trees.remove_tree(self.path)


def arguments(documentation):
    """A parser with the options that every script has."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the short run of `make test`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", metavar="DIR", help="where to work (default: the system's temporary directory)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory behind")
    return parser


def finish(report):
    sys.exit(report.close())
