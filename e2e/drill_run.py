#!/usr/bin/env python3
"""`becalm drill` of a real training run: it passes what is whole, finds what is not, and leaves nothing behind.

The run is training_loop.py's, checkpoints as Transformers' Trainer writes them, in a directory repository.

  whole    the drill passes R0 and R1, ends with 0, and the report says so
  bit      one flipped bit in a pack of data: R0 fails, 13; the report names the file, the tensors (held against the file's own
           header) and the checkpoint
  torn     the newest checkpoint's weights are cut in half before the backup: R1 fails, 21; the report names the checkpoint
           that a job would resume from, and the one that is whole
  killed   SIGKILL at random moments: nothing changes outside the scratch place, and after the next drill nothing is left in it

Quick: 3 bits, 10 kills. Full: 20 and 60. Needs PyTorch for the run, or is skipped.
"""

import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import time

import harness
import torchpython
import trees
from continues import Trained

TORN = 21
NEWEST = 20


def listing(*places):
    """What is in these places, by path: type, size and time of change."""
    found = {}
    for place in places:
        for directory, names, files in os.walk(place):
            for name in names + files:
                path = os.path.join(directory, name)
                facts = os.lstat(path)
                # The time of a store's own lock is that of whoever opened it last, to read too.
                timeless = name in names or path.endswith("/.tmp~/lock")
                found[path] = (facts.st_mode, 0 if name in names else facts.st_size, 0 if timeless else facts.st_mtime_ns)
    return found


def tensors_in(path, ranges):
    """The names of the tensors of a safetensors file that these ranges of its bytes touch; None for another format."""
    if not path.endswith(".safetensors"):
        return None
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    begin = 8 + length
    return sorted(
        name for name, tensor in header.items()
        if any(low < begin + tensor["data_offsets"][1] and begin + tensor["data_offsets"][0] < high for low, high in ranges))


class Drills:
    def __init__(self, report, scratch, options):
        self.report, self.scratch, self.options = report, scratch, options
        self.rng = random.Random(f"drill {options.seed}")
        self.run = os.path.join(scratch, "source", "run42")
        self.place, self.reports = os.path.join(scratch, "place"), os.path.join(scratch, "reports")
        self.temporary = os.path.join(scratch, "temporary")
        os.mkdir(self.temporary)
        self.repository = os.path.join(scratch, "repository")

    def becalm(self, repository=None):
        return harness.Becalm(repository or self.repository, self.scratch, {"TMPDIR": self.temporary}, swift_key=True)

    @staticmethod
    def names(directory):
        return set(os.listdir(directory)) if os.path.exists(directory) else set()

    def drill(self, what, repository=None, place=None):
        """Runs one; returns its outcome and report.json, and holds that nothing is left."""
        reports = os.path.join(self.reports, what.replace(" ", "-"))
        words = ["--scratch", place] if place else []
        outcome = self.becalm(repository).run("drill", "latest", "--json", "--report", reports, *words)
        self.report.check(not outcome.crashed, f"{what}: does not crash", str(outcome))
        for directory in [place or self.place, self.temporary]:
            left = self.names(directory)
            self.report.check(not left, f"{what}: nothing is left in the scratch place", str(left))
        try:
            with open(os.path.join(reports, "report.json"), encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError) as error:
            self.report.check(False, f"{what}: there is a report", f"{error} {outcome}")
            return outcome, None
        self.report.check(found["exit_code"] == outcome.code, f"{what}: the report tells the exit code", f"{outcome} {found['exit_code']}")
        self.report.check(
            os.path.getsize(os.path.join(reports, "summary.txt")) > 100, f"{what}: there is a page for people")
        return outcome, found

    def tiers(self, what, outcome, found, code, *results):
        """Holds how it ended: the exit code, and the results of R0 and R1."""
        self.report.check(outcome.code == code, f"{what}: ends with {code}", str(outcome))
        seen = [(tier["tier"], tier["result"]) for tier in found["tiers"]] if found else None
        self.report.check(seen == list(zip(("R0", "R1"), results)), f"{what}: R0 {results[0]}, R1 {results[1]}", str(found and found["tiers"]))
        return seen is not None

    def prepare(self, python):
        """The run in a repository; its weights come last, into packs of their own."""
        trained = Trained(python, self.run, "trainer", NEWEST, "--save-every", NEWEST // 4, "--seed", self.options.seed).wait()
        if trained.process.returncode:
            raise harness.Unexpected(str(trained))
        becalm = self.becalm()
        becalm.init()
        self.file = next(name for name in ("model.safetensors", "pytorch_model.bin")
                         if os.path.exists(os.path.join(self.run, f"checkpoint-{NEWEST}", name)))
        becalm.backup(self.run, "--exclude", self.file)
        before = self.packs()
        becalm.backup(self.run)
        self.weights = sorted(self.packs() - before)
        self.report.check(self.weights, "the weights are in packs of their own")
        self.beside = set(os.listdir(self.scratch)) | {"place", "reports", "torn", "repository-torn"}

    def packs(self):
        return {os.path.relpath(path, self.repository) for path in glob.glob(os.path.join(self.repository, "data", "*", "*"))}

    def whole(self):
        what = "whole"
        outcome, found = self.drill(what, place=self.place)
        self.seconds = outcome.seconds
        if not self.tiers(what, outcome, found, 0, "passed", "passed"):
            return
        steps = {state["step"] for state in found["checkpoints"] if state["judgement"] == "complete"}
        self.report.check(NEWEST in steps and len(steps) == 4, f"{what}: the report lists the checkpoints", str(steps))
        resumes = [run["resume"]["path"] for run in found["runs"] if run.get("resume")]
        self.report.check(
            [os.path.basename(path) for path in resumes] == [f"checkpoint-{NEWEST}"], f"{what}: the report says what a job resumes from",
            str(found["runs"]))
        self.report.check(not os.path.exists(self.place), f"{what}: the place that it made is gone")
        self.tiers("whole, in TMPDIR", *self.drill("whole, in TMPDIR"), 0, "passed", "passed")

    def bit(self, number):
        what = f"bit {number}"
        copy = os.path.join(self.scratch, "damaged")
        subprocess.run(["cp", "-a", self.repository, copy], check=True)
        try:
            path = os.path.join(copy, max(self.weights, key=lambda name: os.path.getsize(os.path.join(copy, name))))
            size = os.path.getsize(path)
            place = self.rng.randrange(size // 20, size * 9 // 10)  # between its header and its table
            os.chmod(path, 0o600)
            with open(path, "r+b") as file:
                byte = os.pread(file.fileno(), 1, place)[0]
                os.pwrite(file.fileno(), bytes([byte ^ 1 << self.rng.randrange(8)]), place)
            outcome, found = self.drill(what, copy, self.place)
            if self.tiers(what, outcome, found, harness.INTEGRITY, "failed", "skipped"):
                self.damaged(what, found)
        finally:
            trees.remove_tree(copy)

    def damaged(self, what, found):
        self.report.check(found["damaged"], f"{what}: the report names a damaged file", str(found["tiers"]))
        for file in found["damaged"]:
            match = re.fullmatch(rf"run42/(checkpoint-(\d+))/{re.escape(self.file)}", file["path"])
            if not self.report.check(match, f"{what}: a file of weights is named, and no other", file["path"]):
                continue
            self.report.check(file["lost"], f"{what}: it is known which bytes are lost", str(file))
            expected = tensors_in(os.path.join(os.path.dirname(self.run), file["path"]), file["lost"])
            self.report.check(
                expected is None or expected and sorted(file["tensors"] or []) == expected, f"{what}: the tensors are named",
                f"{file['tensors']} and, by the file's own header, {expected}")
            holder = file["checkpoint"] or {}
            self.report.check(
                holder.get("path") == f"run42/{match[1]}" and holder.get("step") == int(match[2]),
                f"{what}: the checkpoint is named", str(holder))

    def torn(self):
        what, tree = "torn", os.path.join(self.scratch, "torn", "run42")
        os.mkdir(os.path.dirname(tree))
        subprocess.run(["cp", "-a", self.run, tree], check=True)
        newest = os.path.join(tree, f"checkpoint-{NEWEST}")
        weights = os.path.join(newest, self.file)
        os.truncate(weights, os.path.getsize(weights) // 2)
        # Old, so that nobody takes it for one that is still being written.
        hour_ago = time.time_ns() - 3600 * 10**9
        for path in [*listing(tree), tree]:
            trees.set_times(path, hour_ago)
        repository = os.path.join(self.scratch, "repository-torn")
        becalm = self.becalm(repository)
        becalm.init()
        becalm.backup(tree)
        outcome, found = self.drill(what, repository, self.place)
        if not self.tiers(what, outcome, found, TORN, "passed", "failed"):
            return
        judged = {os.path.basename(state["path"]): state["judgement"] for state in found["checkpoints"]}
        self.report.check(
            judged.get(f"checkpoint-{NEWEST}") == "torn" and list(judged.values()).count("complete") == 3,
            f"{what}: the report has the one that is torn and the three that are not", str(judged))
        message = found["tiers"][1]["message"]
        for step in (NEWEST, NEWEST * 3 // 4):
            self.report.check(
                re.search(rf"checkpoint-{step}\b", message), f"{what}: the reason names checkpoint-{step}", message)

    def killed(self, kills):
        outside = [self.repository, self.temporary, os.path.join(self.scratch, "home"), os.path.join(self.scratch, "cache"),
                   os.path.join(self.scratch, "source")]
        before, shared = listing(*outside), set(glob.glob("/var/tmp/becalm*") + glob.glob("/tmp/becalm-drill*"))
        left = 0
        for number in range(kills):
            reports = os.path.join(self.reports, f"killed-{number}")
            becalm, there = self.becalm(), self.names(self.place)
            process = becalm.start("drill", "latest", "--json", "--scratch", self.place, "--report", reports)
            time.sleep(self.rng.uniform(0, self.seconds))  # any moment of a drill
            process.kill()
            outcome = becalm.finish(process)
            self.report.check(outcome.killed or outcome.code == 0, "killed: it ends by the signal or well", str(outcome))
            left += bool(self.names(self.place) - there)
            changed = {path for path, _ in listing(*outside).items() ^ before.items()}
            changed |= shared ^ set(glob.glob("/var/tmp/becalm*") + glob.glob("/tmp/becalm-drill*"))
            changed |= set(os.listdir(self.scratch)) - self.beside
            self.report.check(not changed, f"killed {number}: nothing changes outside the scratch place", str(sorted(changed)[:5]))
            whole = os.path.join(reports, "report.json")
            if os.path.exists(whole):
                with open(whole, encoding="utf-8") as file:
                    self.report.check(json.load(file)["result"] == "passed", f"killed {number}: a report that is there is whole")
            # Now and then two or three of them leave something before the next one ends well.
            if self.rng.random() < 0.6 or number == kills - 1:
                self.tiers("after a kill", *self.drill("after a kill", place=self.place), 0, "passed", "passed")
        self.report.say(f"{left} of {kills} killed drills left something for the next one")
        self.report.check(left, "killed: at least one kill came while something was restored")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--bits", type=int, help="flipped bits (default: 20; quick: 3)")
    parser.add_argument("--kills", type=int, help="killed drills (default: 60; quick: 10)")
    options = parser.parse_args()
    report = harness.Report("drill")
    try:
        python = torchpython.find()
    except torchpython.NoTorch as reason:
        report.skip("training", str(reason))
        harness.finish(report)
    with harness.Scratch(options) as scratch:
        try:
            drills = Drills(report, scratch, options)
            drills.prepare(python)
            drills.whole()
            for number in range(options.bits or (3 if options.quick else 20)):
                drills.bit(number)
            drills.torn()
            drills.killed(options.kills or (10 if options.quick else 60))
        except harness.Unexpected as failure:
            report.check(False, "the journey", str(failure))
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
