#!/usr/bin/env python3
"""Writers, restorers and a collector at once on one repository, with kills, and no wrong byte ever restored.

Four writers each change a tree of their own and back it up; two restorers restore snapshots picked at random and
compare them with what the writer wrote down before it began; one collector forgets by policy and prunes with a grace
period of a few seconds. Each second one of them is killed at random; now and then one is stopped for longer than the
grace period and then continued. At the end verify --depth full must find nothing wrong, and every snapshot that is
listed is restored and compared.

What must hold: a restore that ends well has the right bytes; one that fails was of a snapshot forgotten meanwhile, or
was killed; a command that nobody killed or stopped succeeds; nothing a listed snapshot refers to is ever collected.

Quick: 1 minute. Full: 10 minutes.
"""

import os
import random
import signal
import sys
import threading
import time

import compare
import harness
import servers
import trees

GRACE = 3


class Player:
    """The process that one thread has under way, for others to kill or stop."""

    def __init__(self, name):
        self.name, self.process = name, None
        self.lock = threading.Lock()
        self.killed = self.stopped = False


class Thrash:
    def __init__(self, report, scratch, repository, environment, options, seconds):
        self.report, self.scratch, self.options = report, scratch, options
        self.repository, self.environment = repository, environment
        self.deadline = time.monotonic() + seconds
        self.written, self.lock = {}, threading.Lock()
        self.counts = dict.fromkeys(
            ["backups", "backups killed", "restores", "restores killed", "restores of forgotten", "collections",
             "collections killed", "kills", "stops", "gave up after a stop"], 0)
        self.players = []
        self.owners = os.geteuid() == 0

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def over(self):
        return time.monotonic() >= self.deadline

    def becalm(self, name):
        return harness.Becalm(self.repository, self.scratch, self.environment, cache=f"cache-{name}", swift_key=True)

    def play(self, player, becalm, *words, cwd=None):
        """Runs a command that may be killed; returns its outcome, with `.was_stopped`."""
        process = becalm.start(*words, cwd=cwd)
        with player.lock:
            player.process, player.killed, player.stopped = process, False, False
        try:
            out, err = process.communicate(timeout=600)
        finally:
            with player.lock:
                player.process = None
        outcome = harness.Outcome(process.words, process.returncode, out, err, time.monotonic() - process.began)
        outcome.was_stopped = player.stopped
        self.report.check(not outcome.crashed, f"{player.name}: no crash", str(outcome))
        return outcome

    # The players.

    def write(self, number):
        player, becalm = self.players[number], self.becalm(f"writer{number}")
        tree = os.path.join(self.scratch, f"source{number}", f"tree{number}")
        trees.small_files(tree, 60, f"{self.options.seed} writer {number}", mean=8000)
        trees.big_file(os.path.join(tree, "weights"), 3 << 20, f"{self.options.seed} writer {number}")
        step, rng = 0, random.Random(f"{self.options.seed} again {number}")
        while not self.over():
            step += 1
            # Content that goes out of use, is condemned, and comes back: the collector's hardest case.
            again = rng.randrange(6)
            trees.write_file(
                os.path.join(tree, "again"), random.Random(f"{number} {again}").randbytes(300_000 + again))
            # The next state of a model, stored as the difference; now and then an earlier one, whose base may be gone.
            trees.model_file(
                os.path.join(tree, "model.safetensors"), f"{self.options.seed} {number}", rng.randrange(1 + step % 5))
            tag = f"w{number}-{step}"
            # Written down before the backup, so that a snapshot whose writer was killed after it is known too.
            with self.lock:
                self.written[tag] = None
            state = compare.describe(tree)
            with self.lock:
                self.written[tag] = state
            outcome = self.play(
                player, becalm, "backup", f"./tree{number}", "--tag", tag, "--json", cwd=os.path.dirname(tree))
            if outcome.killed:
                self.count("backups killed")
            elif outcome.code == harness.DONE:
                self.count("backups")
            elif outcome.was_stopped and outcome.code in (harness.FAILED, harness.BUSY):
                self.count("gave up after a stop")
            else:
                self.report.check(False, f"{player.name}: a backup that nobody killed succeeds", str(outcome))
            trees.change(tree, f"{self.options.seed} {tag}", 6)
            if step % 10 == 0:  # keep it small
                trees.remove_tree(tree)
                trees.small_files(tree, 60, f"{self.options.seed} writer {tag}", mean=8000)

    def restore(self, number, rng):
        player = self.players[number]
        becalm = self.becalm(player.name)
        target = os.path.join(self.scratch, f"target-{player.name}")
        while not self.over():
            listed = self.list(becalm, player)
            if not listed:
                time.sleep(0.05)
                continue
            snapshot = rng.choice(listed)
            outcome = self.play(player, becalm, "restore", snapshot["id"], "--target", target, "--json")
            self.judge(snapshot, outcome, target, becalm, player)
            trees.remove_tree(target)

    def list(self, becalm, player=None):
        outcome = self.play(player, becalm, "snapshots", "--json") if player else becalm.run("snapshots", "--json")
        if outcome.killed:
            return []
        if not self.report.check(outcome.code == harness.DONE, "snapshots can be listed", str(outcome)):
            return []
        return outcome.of("snapshot")

    def judge(self, snapshot, outcome, target, becalm, player):
        """Whether a restore did what it may do."""
        name = f"snapshot {snapshot['id'][:12]} ({', '.join(snapshot.get('tags') or [])})"
        if outcome.killed:
            self.count("restores killed")
        elif outcome.code == harness.DONE:
            self.count("restores")
            self.compare(snapshot, target, name)
        else:
            # Not through the player: this look must not be killed.
            still = any(s["id"] == snapshot["id"] for s in self.list(becalm))
            if self.report.check(not still, f"{player.name}: {name}, which is still listed, restores", str(outcome)):
                self.count("restores of forgotten")

    def compare(self, snapshot, target, name):
        tag = next(iter(snapshot.get("tags") or []), None)
        expected = self.written.get(tag)
        if not self.report.check(expected is not None, f"{name} is of a writer"):
            return
        tree = os.path.join(target, f"tree{tag[1:].split('-')[0]}")
        try:
            found = compare.differences(expected, compare.describe(tree), owners=self.owners)
        except FileNotFoundError as error:
            found = [str(error)]
        self.report.equal(found, f"{name} restores to the right bytes")

    def collect(self, number):
        player = self.players[number]
        becalm = self.becalm(player.name)
        while not self.over():
            for words in (("forget", "--keep-last", "3", "--json"), ("prune", "--grace", f"{GRACE}s", "--json")):
                outcome = self.play(player, becalm, *words)
                if outcome.killed:
                    self.count("collections killed")
                elif outcome.code == harness.DONE:
                    self.count("collections")
                elif not (outcome.was_stopped and outcome.code in (harness.FAILED, harness.BUSY)):
                    self.report.check(False, f"{words[0]} that nobody killed succeeds", str(outcome))

    def strike(self, rng):
        """Kills one each second; now and then stops one for longer than the grace period."""
        stopped, seconds = [], 0
        while not self.over():
            time.sleep(1)
            seconds += 1
            now = time.monotonic()
            for entry in [e for e in stopped if e[0] <= now]:
                self.resume(*entry[1:])
                stopped.remove(entry)
            # A writer is stopped most often: it is the one that may come back to packs collected meanwhile.
            stopping = seconds % 4 == 0
            victim = rng.choice(self.players[:4] if stopping and rng.random() < 0.7 else self.players)
            with victim.lock:
                process = victim.process
                if process is None or process.poll() is not None:
                    continue
                if stopping and not victim.stopped:
                    victim.stopped = True
                    process.send_signal(signal.SIGSTOP)
                    stopped.append((now + GRACE * 2 + rng.random() * 2, victim, process))
                    self.count("stops")
                elif not victim.stopped:
                    victim.killed = True
                    process.kill()
                    self.count("kills")
        for _, victim, process in stopped:
            self.resume(victim, process)

    @staticmethod
    def resume(victim, process):
        with victim.lock:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)

    # The whole.

    def run(self):
        self.becalm("first").init()
        roles = [("writer", self.write)] * 4 + [("restorer", self.restore)] * 2 + [("collector", self.collect)]
        self.players = [Player(f"{role}{number}") for number, (role, _) in enumerate(roles)]
        threads = []
        for number, (role, action) in enumerate(roles):
            extra = (random.Random(f"{self.options.seed} {number}"),) if role == "restorer" else ()
            threads.append(threading.Thread(target=self.guard, args=(action, number, *extra)))
        threads.append(threading.Thread(target=self.guard, args=(self.strike, random.Random(f"{self.options.seed} k"))))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.finale()

    def guard(self, action, *arguments):
        try:
            action(*arguments)
        except Exception as error:  # a fault of the harness must not pass as a success
            self.report.check(False, f"{action.__name__} ran to the end", repr(error))
            self.deadline = 0

    def finale(self):
        becalm = self.becalm("last")
        target = os.path.join(self.scratch, "target-last")
        for when in ("at the end", "after a last collection"):
            if when != "at the end":
                becalm.must("prune", "--grace", "0s", "--json")
            found = harness.damage(becalm.verify(codes=(harness.DONE, harness.INTEGRITY)))
            self.report.equal(found, f"{when}: verify finds no damage")
            listed = becalm.snapshots()
            self.report.check(len(listed) > 0, f"{when}: there are snapshots")
            for snapshot in listed:
                outcome = becalm.run("restore", snapshot["id"], "--target", target, "--json")
                name = f"{when}: snapshot {snapshot['id'][:12]}"
                if self.report.check(outcome.code == harness.DONE, f"{name} restores", str(outcome)):
                    self.compare(snapshot, target, name)
                trees.remove_tree(target)
            self.report.say(f"{when}: {len(listed)} snapshots restored and compared")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--minutes", type=float, help="default 10; quick 1")
    parser.add_argument("--store", default="directory", help="directory, or one of " + ", ".join(servers.KINDS))
    options = parser.parse_args()
    seconds = 60 * (options.minutes or (1 if options.quick else 10))
    report = harness.Report("thrash")
    with harness.Scratch(options) as scratch:
        try:
            if options.store == "directory":
                thrash = Thrash(report, scratch, os.path.join(scratch, "repository"), {}, options, seconds)
                thrash.run()
            else:
                with servers.start(options.store) as server:
                    thrash = Thrash(
                        report, scratch, f"s3://{server.bucket()}/thrash", server.environment(), options, seconds)
                    thrash.run()
            report.say(", ".join(f"{number} {what}" for what, number in thrash.counts.items()))
            for what in ("backups", "restores", "collections", "kills"):
                report.check(thrash.counts[what] > 0, f"there were {what}")
        except servers.Unavailable as reason:
            report.skip(options.store, str(reason))
        except harness.Unexpected as failure:
            report.check(False, "the run", str(failure))
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
