#!/usr/bin/env python3
"""Damages every kind of object in a repository in every way, and looks whether it is found, named and contained.

Damages: a byte flipped (at several places), truncated (to nothing, to half, by one byte), filled with zeros, lengthened,
swapped with another of its kind, replaced by an object of another kind or of another repository, removed, stored a
second time under another name, replaced by an older version of itself, and brought back after its removal.

For each, on a fresh copy of the repository:
  - verify --depth full finds it: exit 13 with the object's name in a problem; or exit 0 with the object named in a
    problem that is `harmless`, which then must be true; or 10, 12 or 13 where the repository can no longer be opened;
  - restore of a snapshot that verify does not name brings back all of it (exit 0, equal);
  - restore of a snapshot that verify names brings back everything but the files it names (exit 13), and what it brings
    back is right to the last byte and attribute;
  - snapshots older than the object are not touched by its damage;
  - nothing crashes.
What needs no finding because nothing is lost by it (a copy under another name, a lost note of the collector) must leave
everything restorable; a finding is allowed. The table printed at the end says what was seen, with one line for a kind.

Quick: fewer damages, one object of each kind.
"""

import os
import random
import re
import subprocess
import sys
import time

import compare
import harness
import servers
import trees
from kill_every_request import CallKiller

FULL = ("flip first", "flip header", "flip middle", "flip tail", "flip last", "cut to 0", "cut to half", "cut by 1", "zeros",
        "longer", "swap", "other kind", "foreign", "delete", "copy", "older", "revive")
QUICK = ("flip header", "flip middle", "flip last", "cut by 1", "zeros", "swap", "delete")
# Kinds that only say what the collector does or did: losing one loses nothing that can be restored.
NOTES = {"forgotten", "condemned", "claims", "journal", "sessions"}
# Kinds without which the repository cannot be opened, unless their second copies serve.
OPENING = {"config", "config.copy", "keys", "keys-copy"}
CANNOT_OPEN = (harness.FAILED, harness.NO_REPOSITORY, harness.WRONG_KEY, harness.INTEGRITY)


# The step of the preparation whose snapshot is forgotten.
GONE = 3


class Unfit(Exception):
    """This damage cannot be done to this object; the text says why."""


def kind_of(name):
    return name.split("/")[0]


class Matrix:
    def __init__(self, report, scratch, options):
        self.report, self.scratch, self.options = report, scratch, options
        self.pristine, self.live = os.path.join(scratch, "pristine"), os.path.join(scratch, "live")
        self.sources = os.path.join(scratch, "sources")
        self.expected, self.order, self.born, self.older = {}, [], {}, {}
        self.seen = {}
        self.rng = random.Random(f"corruption {options.seed}")

    def becalm(self, repository, cache="cache"):
        return harness.Becalm(repository, self.scratch, cache=cache, swift_key=True)

    def objects(self, repository):
        found = []
        for directory, below, names in os.walk(repository):
            below[:] = [name for name in below if not name.startswith(".")]  # where the store makes its objects
            found += [os.path.relpath(os.path.join(directory, name), repository) for name in names]
        return sorted(found)

    def note(self, is_backup=False):
        """Which objects are new since the last call, and which changed under the same name.

        What a backup wrote can only matter to its snapshot and later ones; what a collector wrote, to any.
        """
        for name in self.objects(self.pristine):
            data = self.read(self.pristine, name)
            versions = self.older.setdefault(name, [])
            if data not in versions:
                versions.append(data)
            self.born.setdefault(name, len(self.order) if is_backup else 0)

    @staticmethod
    def read(repository, name):
        with open(os.path.join(repository, name), "rb") as file:
            return file.read()

    def prepare(self):
        """A repository with every kind of object: several snapshots, some forgotten, packs condemned, a key rotated."""
        becalm = self.becalm(self.pristine)
        becalm.init()
        self.note()
        for step, name in enumerate(["alpha", "alpha", "beta", "gone", "beta"]):
            tree = os.path.join(self.sources, name)
            if os.path.exists(tree):
                trees.change(tree, f"{self.options.seed} {step}", 10)
            else:
                trees.small_files(tree, 40, f"{self.options.seed} {name}", mean=6000)
                trees.big_file(os.path.join(tree, "weights"), (2 << 20) + step, f"{self.options.seed} {name}")
                os.link(os.path.join(tree, "weights"), os.path.join(tree, "weights again"))
                os.symlink("weights", os.path.join(tree, "link"))
            # The second state of a model is stored as the difference to the first.
            trees.model_file(os.path.join(tree, "model.safetensors"), f"{self.options.seed} {name}", step)
            snapshot = becalm.backup(tree)["snapshot"]
            self.note(is_backup=True)
            self.order.append(snapshot)
            self.expected[snapshot] = (name, compare.describe(tree))
        gone = self.order[GONE]
        becalm.must("forget", gone, "--json")
        del self.expected[gone]
        self.note()
        time.sleep(2)  # older than the grace period, so that the collector condemns what is unused, and no more
        becalm.must("prune", "--grace", "1s", "--json")
        self.note()
        becalm.must("key", "rotate", "--json")
        self.note()
        tree = os.path.join(self.sources, "alpha")
        trees.change(tree, f"{self.options.seed} last", 5)
        snapshot = becalm.backup(tree)["snapshot"]
        self.note(is_backup=True)
        self.order.append(snapshot)
        self.expected[snapshot] = ("alpha", compare.describe(tree))
        self.interrupt(becalm, tree)
        self.note()
        self.foreign = os.path.join(self.scratch, "foreign")
        other = self.becalm(self.foreign, cache="cache-foreign")
        other.init()
        other.backup(os.path.join(self.sources, "beta"))
        self.kinds = {}
        for name in self.objects(self.pristine):
            self.kinds.setdefault(kind_of(name), []).append(name)
        self.report.say(", ".join(f"{len(names)} {kind}" for kind, names in sorted(self.kinds.items())))

    def interrupt(self, becalm, tree):
        """Leaves behind what a killed backup leaves: it is killed ever later until its notes are there."""
        trees.change(tree, f"{self.options.seed} interrupted", 5)
        words, parent = ("backup", "./" + os.path.basename(tree), "--json"), os.path.dirname(tree)
        try:
            killer = CallKiller(self.scratch, writes=False)
        except servers.Unavailable as reason:
            self.report.skip("what a killed backup leaves", str(reason))
            return
        for number in range(10, 1000, 10):
            outcome, struck = killer.run(becalm, words, parent, number, "before")
            if struck is None:
                made = outcome.summary["snapshot"]
                self.order.append(made)
                self.expected[made] = (os.path.basename(tree), compare.describe(tree))
                return
            if any(kind_of(name) == "journal" for name in self.objects(self.pristine)):
                return

    def pick(self, kind):
        """The objects of a kind to damage: the oldest, the newest, and some between."""
        names = sorted(self.kinds[kind], key=lambda name: (self.born[name], name))
        most = 1 if self.options.quick else self.options.objects
        if most == 1:
            return names[:1]
        return [names[i] for i in sorted({i * (len(names) - 1) // (most - 1) for i in range(most)})]

    # Damage.

    def write(self, name, data):
        path = os.path.join(self.live, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.chmod(path, 0o600)
            os.unlink(path)
        with open(path, "wb") as file:
            file.write(data)

    def damage(self, name, how):
        """Does it; returns the names of all objects damaged."""
        data = self.read(self.live, name)
        kind = kind_of(name)
        if how.startswith("flip"):
            if not data:
                raise Unfit("it is empty")
            place = {"first": 0, "header": min(9, len(data) - 1), "middle": len(data) // 2, "tail": max(len(data) - 20, 0),
                     "last": len(data) - 1}[how.split()[1]]
            self.write(name, data[:place] + bytes([data[place] ^ (1 << self.rng.randrange(8))]) + data[place + 1 :])
        elif how.startswith("cut"):
            length = {"0": 0, "half": len(data) // 2, "1": len(data) - 1}[how.split()[-1]]
            if not data:
                raise Unfit("it is empty")
            self.write(name, data[:length])
        elif how == "zeros":
            if not any(data):
                raise Unfit("it is zeros already")
            self.write(name, bytes(len(data)))
        elif how == "longer":
            self.write(name, data + self.rng.randbytes(17))
        elif how == "swap":
            other = next((n for n in self.kinds[kind] if self.read(self.live, n) != data), None)
            if other is None:
                raise Unfit("there is no other of its kind")
            self.write(name, self.read(self.live, other))
            self.write(other, data)
            return {name, other}
        elif how == "other kind":
            other = next((k for k in ("data", "tree", "index", "snapshots", "config") if k in self.kinds and k != kind
                          and not (kind.startswith("config") and k.startswith("config"))), None)
            self.write(name, self.read(self.live, self.kinds[other][0]))
        elif how == "foreign":
            same = [n for n in self.objects(self.foreign) if kind_of(n) == kind]
            if not same:
                raise Unfit("the other repository has none of its kind")
            self.write(name, self.read(self.foreign, name if name in same else same[0]))
        elif how == "delete":
            os.unlink(os.path.join(self.live, name))
        elif how == "copy":
            head, tail = os.path.split(name)
            if not re.search(r"[0-9a-f]{8}", tail):
                raise Unfit("its name is fixed")
            digit = "0" if tail[-1] != "0" else "1"
            self.write(os.path.join(head, tail[:-1] + digit), data)
            return {name, os.path.join(head, tail[:-1] + digit)}
        elif how == "older":
            before = [version for version in self.older[name] if version != data]
            if not before:
                raise Unfit("it never had other bytes")
            self.write(name, before[0])
        elif how == "revive":
            gone = sorted(n for n in self.older if kind_of(n) == kind and not os.path.exists(os.path.join(self.live, n)))
            if not gone:
                raise Unfit("nothing of its kind was ever removed")
            self.write(gone[0], self.older[gone[0]][-1])
            return {gone[0]}
        return {name}

    # What must hold.

    def needs_finding(self, name, how):
        """Whether verify has to report this damage."""
        kind = kind_of(name)
        if how in ("copy", "revive") or kind in NOTES:
            return False
        if how != "delete":
            return True
        if kind == "snapshots":
            # The newest manifest of a source has no successor that points to it, so its removal leaves no trace.
            newest = {tree: snapshot for snapshot, (tree, _) in self.expected.items()}
            return not any(self.is_manifest(name, snapshot) for snapshot in newest.values())
        # What only the forgotten snapshot used may be gone at any time.
        return not (kind in ("data", "tree", "index") and self.born[name] == GONE)

    def cell(self, name, how):
        """One damage to one object; returns what was seen in a word."""
        trees.remove_tree(self.live)
        subprocess.run(["cp", "-a", self.pristine, self.live], check=True)
        trees.remove_tree(os.path.join(self.scratch, "cache-live"))
        hurt = self.damage(name, how)
        kind, label = kind_of(name), f"{name}: {how}"
        becalm = self.becalm(self.live, cache="cache-live")
        outcome = becalm.run("verify", "--depth", "full", "--json", timeout=300)
        if not self.report.check(not outcome.crashed, f"{label}: verify does not crash", str(outcome)):
            return "CRASH"
        problems = outcome.of("problem")
        text = outcome.out.decode("utf-8", "replace") + outcome.err.decode("utf-8", "replace")
        opened = bool(outcome.summary) and outcome.code in (harness.DONE, harness.INTEGRITY)
        found = {str(p.get("object", "")) for p in problems}
        # Nothing says what a segment or manifest that is gone was called; then what it leads to must be named.
        nameless = how == "delete" and kind in ("index", "snapshots") and bool(problems)
        names = nameless or any(h in found or h in text for h in hurt)
        if outcome.code == harness.DONE:
            # Told and named, but a second copy, or the packs, make up for it: then every restore must end with 0.
            self.report.equal([str(p) for p in problems if not p.get("harmless")],
                              f"{label}: verify that ends with 0 reports no loss")
            if self.needs_finding(name, how):
                self.report.check(problems and names, f"{label}: verify finds it", str(outcome))
        elif kind in OPENING and not opened:
            self.report.check(outcome.code in CANNOT_OPEN[1:], f"{label}: opening fails as it should", str(outcome))
        else:
            self.report.check(outcome.code == harness.INTEGRITY, f"{label}: verify ends with 13", str(outcome))
            self.report.check(names, f"{label}: verify names the object", f"it names {sorted(found)}")
        self.report.check(b"\n" not in outcome.err.strip() or opened, f"{label}: an error is one line",
                          outcome.err.decode("utf-8", "replace")[:500])
        named = {s for p in problems for s in (p.get("snapshots") or [])}
        lost = self.restore_all(becalm, name, label, named, opened)
        if outcome.code == harness.DONE and (self.needs_finding(name, how) or kind in NOTES or how in ("copy", "revive")):
            self.report.check(lost == 0, f"{label}: verify that ends with 0 means that everything restores")
        word = "found" if opened else f"shut {outcome.code}"
        if outcome.code == harness.DONE:
            word = "noted" if problems else "unseen"
        return f"{word}, {lost} hit" if lost else word

    def restore_all(self, becalm, name, label, named, opened):
        """Restores every snapshot; returns how many did not come back whole."""
        target, lost = os.path.join(self.scratch, "target"), 0
        kind = kind_of(name)
        for snapshot, (tree, expected) in self.expected.items():
            outcome = becalm.run("restore", snapshot, "--target", target, "--json", timeout=300)
            where = f"{label}: restore of {snapshot[:12]}"
            self.report.check(not outcome.crashed, f"{where} does not crash", str(outcome))
            brought = os.path.join(target, tree)
            actual = compare.describe(brought) if os.path.isdir(brought) else {}
            trees.remove_tree(target)
            found = compare.differences(expected, actual, owners=os.geteuid() == 0)
            if outcome.code == harness.DONE:
                self.report.equal(found, f"{where} that ends with 0 is whole")
                continue
            lost += 1
            if kind in OPENING:
                self.report.check(outcome.code in CANNOT_OPEN[1:], f"{where} says why it cannot", str(outcome))
                continue
            manifest = kind == "snapshots" and self.is_manifest(name, snapshot)
            self.report.check(
                # A name that means nothing any more is the user's to mend.
                outcome.code == harness.INTEGRITY or (manifest and outcome.code in (harness.FAILED, harness.USAGE)),
                f"{where} ends with 13", str(outcome))
            if opened:
                self.report.check(
                    manifest or any(snapshot.startswith(n) or n.startswith(snapshot) for n in named),
                    f"{where}: verify had named the snapshot", f"it named {sorted(named)}")
            if kind in ("data", "tree") and not self.swapped(label):
                self.report.check(
                    self.born[name] <= self.order.index(snapshot), f"{where}: an older snapshot is not hit", str(outcome))
            if actual and kind == "data":
                self.contained(expected, actual, outcome, where)
        return lost

    @staticmethod
    def swapped(label):
        return label.endswith(": swap")

    def is_manifest(self, name, snapshot):
        last = name.split("/")[-1]
        return snapshot.startswith(last) or last.startswith(snapshot)

    def contained(self, expected, actual, outcome, where):
        """A restore that lost data names each file that is not whole, and brings back all others."""
        text = (outcome.out + outcome.err).decode("utf-8", "replace").replace("\\/", "/")
        wrong = {
            path for path in expected
            if compare.differences({path: expected[path]}, {path: actual[path]} if path in actual else {},
                                   owners=os.geteuid() == 0)
            and expected[path]["kind"] != "directory"}
        unnamed = [compare.show(path) for path in sorted(wrong) if compare.show(path) not in text]
        self.report.equal(unnamed, f"{where} names each file that is not whole")
        kept = [path for path in actual if actual[path]["kind"] == "file" and path in expected and path not in wrong]
        hurt = [p for p in wrong if expected[p]["kind"] == "file"]
        files = [p for p in expected if expected[p]["kind"] == "file"]
        self.report.check(len(kept) == len(files) - len(hurt), f"{where} brings back every other file",
                          f"{len(kept)} of {len(files)}, {len(hurt)} hit")
        self.report.equal(
            [compare.show(p) for p in hurt if p in actual and actual[p].get("sha256") != expected[p].get("sha256")
             and compare.show(p) not in text], f"{where} passes no wrong file off as right")

    def run(self):
        self.prepare()
        whole = self.becalm(self.pristine)
        found = harness.damage(whole.verify(codes=(harness.DONE, harness.INTEGRITY)))
        self.report.equal(found, "before any damage verify finds none")
        damages = QUICK if self.options.quick else FULL
        kinds = self.options.kinds.split(",") if self.options.kinds else sorted(self.kinds)
        for kind in kinds:
            if kind not in self.kinds:
                self.report.skip(kind, "this repository has no object of that kind")
                continue
            for name in self.pick(kind):
                for how in damages:
                    try:
                        word = self.cell(name, how)
                    except Unfit as reason:
                        word = "-"
                        if self.options.keep:
                            self.report.say(f"{name}: {how}: not done, {reason}")
                    except harness.Unexpected as failure:
                        word = "FAILED"
                        self.report.check(False, f"{name}: {how}", str(failure))
                    self.seen.setdefault(kind, {}).setdefault(how, []).append(word)
            self.report.say(f"{kind}: " + "; ".join(
                f"{how}: {' / '.join(dict.fromkeys(words))}" for how, words in self.seen[kind].items()))
        self.table(damages)

    def table(self, damages):
        """The matrix in Markdown: rows are damages, columns kinds."""
        kinds = list(self.seen)
        print("\n| damage | " + " | ".join(kinds) + " |")
        print("|---|" + "---|" * len(kinds))
        for how in damages:
            cells = [" / ".join(dict.fromkeys(self.seen[kind].get(how, ["-"]))) for kind in kinds]
            print(f"| {how} | " + " | ".join(cells) + " |")
        print("found: verify exits 13 and names it; noted: it names it, exits 0, and everything restores; unseen: exit 0, "
              "and everything restores; shut N: the repository does not open, exit N; N hit: snapshots of "
              f"{len(self.expected)} that did not come back whole; -: cannot be done\n")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--kinds", help="prefixes to damage, such as data,index (default: all that there are)")
    parser.add_argument("--objects", type=int, default=2, help="objects of each kind (quick: 1)")
    options = parser.parse_args()
    report = harness.Report("corruption")
    with harness.Scratch(options) as scratch:
        try:
            Matrix(report, scratch, options).run()
        except harness.Unexpected as failure:
            report.check(False, "preparation", str(failure))
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
