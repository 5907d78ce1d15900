#!/usr/bin/env python3
"""A training run saved, lost and restored continues to bit-identical weights, as if nothing had happened.

The run is training_loop.py: a transformer, AdamW, a schedule, dropout, shuffled data. For each layout of checkpoints:

  lost  it trains to step N, is backed up, removed altogether, restored, and resumes for k steps more. Weights and
        optimizer state then have the SHA-256 that an uninterrupted run has at step N + k. So it is from an earlier
        checkpoint. With the optimizer's state dropped (full: also the schedule, the random generators, the place in the
        data) it is another one: the comparison can fail.
  live  it is backed up at random moments while it trains, saves and rotates. The backup ends with 0 and names what it
        left out; in what is restored there is nothing torn; what the framework picks there loads, is no older than the
        newest checkpoint that was whole when the backup began, and continues to the same SHA-256.

Quick: few steps, one snapshot of each live run, and one S3 server for one of the layouts. Needs PyTorch, or is skipped.
"""

import concurrent.futures
import os
import random
import re
import subprocess
import sys
import threading
import time

import harness
import servers
import torchpython
import trees

LAYOUTS = ("trainer", "plain", "dcp")
STORES = ("directory", *servers.KINDS)
STRIDE = 5  # steps between the digests of the uninterrupted run
# Steps between checkpoints of a live run, and how many it keeps: one that writes much of the time; one that removes much.
LIVE = ((2, 40), (5, 8))
CONTROLS = ("optimizer", "scheduler", "rng", "data")
MEMBERS = {"path", "kind", "format", "step", "judgement"}
SAVED, DIGEST = re.compile(r"step (\d+) saved$"), re.compile(r"(?:step (\d+) )?digest ([0-9a-f]{64})$")
RESUMED = re.compile(r"resumed from (\S+) at step (\d+)$")


class Trained:
    """A training loop that runs, and what it says."""

    def __init__(self, python, directory, layout, steps, *options):
        words = [python, os.path.join(harness.HERE, "training_loop.py"), "--dir", directory, "--layout", layout, "--steps", steps]
        self.process = subprocess.Popen(
            [str(word) for word in [*words, *options]], env=dict(os.environ, **{torchpython.MARK: python}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.changed = threading.Condition()
        self.saved, self.digests, self.digest, self.resumed, self.ended = 0, {}, None, (None, None), False
        self.errors = ""
        self.readers = [threading.Thread(target=read) for read in (self._read, self._read_errors)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                if match := SAVED.match(line):
                    self.saved = int(match[1])
                elif (match := DIGEST.match(line)) and match[1]:
                    self.digests[int(match[1])] = match[2]
                elif match:
                    self.digest = match[2]
                elif match := RESUMED.match(line):
                    self.resumed = match[1], int(match[2])
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _read_errors(self):
        self.errors = self.process.stderr.read()

    def await_save(self, step):
        """Waits until a checkpoint of this step or a later one was saved; false if the loop ended before."""
        with self.changed:
            self.changed.wait_for(lambda: self.saved >= step or self.ended)
            return self.saved >= step

    def wait(self):
        self.process.wait()
        for reader in self.readers:
            reader.join()
        return self

    def kill(self):
        self.process.kill()
        return self.wait()

    def __str__(self):
        return f"the loop ended with {self.process.returncode}: {self.errors.strip()[-600:]}"


class Journey:
    def __init__(self, report, scratch, python, options):
        self.report, self.scratch, self.python, self.options = report, scratch, python, options
        self.first, self.more = (20, 10) if options.quick else (60, 40)
        self.rng = random.Random(f"continues {options.seed}")
        # (step, digest, what): to be held against the uninterrupted run, which goes as far as any of them.
        self.same, self.other = [], []

    def train(self, directory, layout, steps, *options):
        return Trained(self.python, directory, layout, steps, "--seed", self.options.seed, *options)

    def resume(self, what, directory, layout, steps, *options, differs=False):
        """Resumes, and notes what it comes to; returns the step it resumed from."""
        run = self.train(directory, layout, steps, *(options or ("--resume",))).wait()
        if self.report.check(run.process.returncode == 0 and run.digest and run.resumed[0], f"{what}: resumes", str(run)):
            (self.other if differs else self.same).append((steps, run.digest, what))
            self.report.say(f"{what}: from {run.resumed[0]} to step {steps}: {run.digest[:16]}")
        return run.resumed[1]

    def compare(self):
        """Runs once without any interruption, and without a checkpoint, and compares."""
        last = max(step for step, _, _ in self.same + self.other)
        run = self.train(os.path.join(self.scratch, "none"), "plain", last, "--digest-every", STRIDE).wait()
        if not self.report.check(run.process.returncode == 0, "the uninterrupted run ends", str(run)):
            return
        for step, digest, what in self.same:
            self.report.check(
                digest == run.digests.get(step), f"{what}: at step {step} all is as in an uninterrupted run",
                f"{digest} and {run.digests.get(step)}")
        for step, digest, what in self.other:
            self.report.check(
                step in run.digests and digest != run.digests[step], f"{what}: at step {step} it differs from an uninterrupted run")

    # Lost.

    def lose(self, layout, stores):
        """Trains, backs up to each store, removes the run; returns what is to be resumed: (what, directory, layout)."""
        place = os.path.join(self.scratch, f"lost-{layout}")
        source = os.path.join(place, "run42")
        os.makedirs(place)
        trained = self.train(source, layout, self.first, "--save-every", self.first // 2).wait()
        if not self.report.check(trained.process.returncode == 0, f"{layout}: trains to step {self.first}", str(trained)):
            return []
        made, found = [], []
        try:
            for name in stores:
                store = os.path.join(place, name)
                os.mkdir(store)
                if name == "directory":
                    repository, environment = os.path.join(store, "repository"), {}
                else:
                    try:
                        server = servers.start(name)
                    except servers.Unavailable as reason:
                        self.report.skip(f"{layout} on {name}", str(reason))
                        continue
                    made.append(server)
                    repository, environment = f"s3://{server.bucket()}/runs", server.environment()
                becalm = harness.Becalm(repository, store, environment)
                becalm.init()
                found.append((name, becalm, becalm.backup(source)["snapshot"]))
            trees.remove_tree(source)
            restored = []
            for name, becalm, snapshot in found:
                target = os.path.join(place, name, "restored")
                becalm.restore(snapshot, target)
                restored.append((f"{layout}, lost, {name}", os.path.join(target, "run42"), layout))
            return restored
        except harness.Unexpected as failure:
            self.report.check(False, f"{layout}: backup and restore", str(failure))
            return []
        finally:
            for server in made:
                server.stop()

    def lost(self, layouts, stores, pool):
        last, waiting = self.first + self.more, []
        losing = [pool.submit(self.lose, layout, stores(layout)) for layout in layouts]
        for future in losing:
            for number, (what, directory, layout) in enumerate(future.result()):
                waiting.append(pool.submit(self.resume, what, directory, layout, last))
                if number == 0 and layout == layouts[0]:
                    waiting += self.controls(what, directory, layout, last, pool)
        for future in waiting:
            future.result()

    def controls(self, what, directory, layout, last, pool):
        name = {"trainer": "checkpoint-{}", "plain": "ckpt-{}.pt", "dcp": "step-{}"}[layout].format(self.first // 2)
        futures = [pool.submit(self.resume, f"{what}, from an earlier one", directory, layout, last, "--from", name)]
        for part in CONTROLS[: 1 if self.options.quick else None]:
            futures.append(pool.submit(
                self.resume, f"{what}, without {part}", directory, layout, last, "--resume", "--without", part, differs=True))
        return futures

    # Live.

    def live(self, layout, every, keep, pool):
        what = f"{layout}, live, {keep} kept"
        place = os.path.join(self.scratch, f"live-{layout}-{keep}")
        source = os.path.join(place, "run42")
        os.makedirs(place)
        becalm = harness.Becalm(os.path.join(place, "repository"), place, swift_key=True)
        becalm.init()
        snapshots = []
        loop = self.train(source, layout, 1_000_000, "--save-every", every, "--keep", keep)
        try:
            for number in range(self.options.snapshots):
                if not self.report.check(loop.await_save(loop.saved + every), f"{what}: the loop goes on", str(loop)):
                    return []
                time.sleep(self.rng.uniform(0, 0.4))  # any moment of training and saving
                before = loop.saved
                outcome = becalm.run("backup", "./run42", "--json", cwd=place)
                if self.report.check(outcome.code == 0 and not outcome.crashed, f"{what}: backup {number} ends with 0",
                                     f"{outcome} {outcome.of('problem')[:5]}"):
                    snapshots.append((outcome, before))
        finally:
            loop.kill()
        trees.remove_tree(source)
        waiting = []
        for number, (outcome, before) in enumerate(snapshots):
            target = os.path.join(place, f"restored-{number}")
            becalm.restore(outcome.summary["snapshot"], target)
            waiting.append(pool.submit(
                self.judge, f"{what}, snapshot {number}", becalm, layout, target, outcome, before if keep >= 40 else 1))
        return waiting

    def judge(self, what, becalm, layout, target, outcome, before):
        """Holds what the backup said and what was restored against each other; resumes; returns how many were left out."""
        report, summary, left = self.report, outcome.summary, outcome.of("left_out")
        listed = summary.get("checkpoints")
        report.check(
            isinstance(listed, list) and listed and all(MEMBERS <= set(state) for state in listed),
            f"{what}: the summary lists the checkpoints", str(listed)[:600])
        for event in left:
            report.check(event.get("path") and event.get("message"), f"{what}: what is left out has a path and a reason", str(event))
            report.check(
                not os.path.lexists(os.path.join(target, event.get("path", ""))), f"{what}: what was left out is not restored", str(event))
        for state in listed or []:
            if state["judgement"] == "complete":
                report.check(
                    os.path.exists(os.path.join(target, state["path"])), f"{what}: what is listed as complete is restored", str(state))
        seen = becalm.run("inspect", "--json", target)
        judged = seen.of("checkpoint")
        report.check(seen.code == 0 and judged, f"{what}: inspect finds what to resume from", str(seen))
        torn = [state for state in judged if state["judgement"] != "complete"]
        report.check(not torn, f"{what}: nothing torn is restored", "\n    ".join(map(str, torn)))
        directory = os.path.join(target, "run42")
        steps = [int(match[1]) for name in os.listdir(directory) if (match := re.search(r"-(\d+)(?:\.pt)?$", name))]
        if report.check(steps, f"{what}: a checkpoint is restored"):
            step = self.resume(what, directory, layout, (max(steps) + self.more) // STRIDE * STRIDE)
            report.check(step is not None and step >= before, f"{what}: nothing whole is missing", f"step {before} was saved, {step} is there")
        trees.remove_tree(target)
        return len(left)


def stores_for(options):
    if options.stores:
        return lambda layout: options.stores.split(",")
    if not options.quick:
        return lambda layout: STORES
    # One S3 server, for one layout: what travels there is the same bytes.
    return lambda layout: ("directory", "rclone") if layout == LAYOUTS[0] else ("directory",)


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="some of " + ", ".join(LAYOUTS))
    parser.add_argument("--stores", help="some of " + ", ".join(STORES) + " (default: all)")
    parser.add_argument("--parts", default="lost,live", help="lost, live or both")
    parser.add_argument("--snapshots", type=int, help="backups of each live run (default: 10; quick: 1)")
    options = parser.parse_args()
    options.snapshots = options.snapshots or (1 if options.quick else 10)
    report = harness.Report("continues")
    try:
        python = torchpython.find()
    except torchpython.NoTorch as reason:
        report.skip("training", str(reason))
        harness.finish(report)
    layouts, parts = options.layouts.split(","), options.parts.split(",")
    with harness.Scratch(options) as scratch, concurrent.futures.ThreadPoolExecutor(
            min(4, len(os.sched_getaffinity(0)))) as pool:
        journey = Journey(report, scratch, python, options)
        if "lost" in parts:
            journey.lost(layouts, stores_for(options), pool)
        if "live" in parts:
            supported = subprocess.run([harness.find_binary(), "backup", "--help"], capture_output=True, text=True).stdout
            if "--require-complete" in supported:
                judged = []
                for every, keep in LIVE[: 1 if options.quick else None]:
                    for layout in layouts:
                        judged += journey.live(layout, every, keep, pool)
                left = sum(future.result() for future in judged)
                report.say(f"{left} things were left out of live backups")
                # A test in which nothing is ever half written tests nothing.
                if len(judged) >= 40:
                    report.check(left, "something was left out of one of the live backups")
            else:
                report.skip("backups of a live run", "this becalm cannot leave out what is half written")
        if journey.same:
            journey.compare()
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
