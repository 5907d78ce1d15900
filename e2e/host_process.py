#!/usr/bin/env python3
"""A process of this machine as a workload: host/pid/NAME, with real processes and a real training run.

  stands    a process with threads and children that fork all the time stands still as a whole, and goes on when it is resumed, at
            its deadline though nobody comes, and when its cgroup was frozen
  kill      becalm is killed at each call by which it changes the file system, before and after it, while it holds such a
            process by hand and for a backup: the process runs again by itself; and with its watcher killed as well, by
            `resume --expired`, and is not sent a signal more
  refuses   a number that has passed on, a process without a handler, one that ends midway, one that is held already, a stop of
            which nobody says how it begins again, one that does not end
  training  training_loop.py is backed up while it is paused, after a checkpoint that it was asked for by a signal, and it and what is
            restored continue to the weights of a run that nobody touched. Needs PyTorch, or is skipped.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import harness
import kill_every_request
import servers
import torchpython
import trees

NOT_QUIESCED, TORN = 20, 21
# Two threads that compute, a child that forks all the time, and a count that shows whether it goes on.
BUSY = r"""
import os, signal, sys, threading, time
place = sys.argv[1]
def compute():
    while True: pass
threading.Thread(target=compute, daemon=True).start()
if os.fork() == 0:
    while True:
        child = os.fork()
        if child == 0: os._exit(0)
        os.waitpid(child, 0)
count = 0
while True:
    count += 1
    with open(place + ".new", "w") as file: file.write(str(count))
    os.rename(place + ".new", place)
    time.sleep(0.002)
"""
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: time.sleep(0.01)"
MORTAL = "import signal, sys, time\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))\nprint('up', flush=True)\nwhile True: time.sleep(0.01)"


def states(group):
    """The state of every thread of every process of a group that has not ended."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            if int(fields[2]) != group or fields[0] == "Z":
                continue
            for thread in os.listdir(f"/proc/{name}/task"):
                with open(f"/proc/{name}/task/{thread}/stat", encoding="ascii", errors="replace") as file:
                    found.append(file.read().rpartition(")")[2].split()[0])
        except OSError:
            continue  # it has ended
    return found


class Busy:
    """A process that computes, forks and counts, in a group of its own."""

    def __init__(self, place, program=BUSY):
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, place], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        self.pid = self.process.pid
        self.reference = f"host/pid/{self.pid}"
        if program is BUSY:
            await_that(lambda: os.path.exists(place))
        else:
            self.process.stdout.readline()

    def count(self):
        with open(self.place, encoding="ascii") as file:
            return int(file.read())

    def stands(self):
        """Whether all of it stands still, and it does not count."""
        before = self.count()
        found = states(self.pid)
        time.sleep(0.05)
        return len(found) >= 3 and set(found) <= {"T", "t"} and self.count() == before

    def goes_on(self, seconds=30):
        before = self.count()
        return await_that(lambda: self.count() > before and not set(states(self.pid)) & {"T", "t"}, seconds)

    def end(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def await_that(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Host:
    def __init__(self, report, scratch):
        self.report, self.scratch = report, scratch
        self.state = os.path.join(scratch, "state")
        self.becalm = harness.Becalm(
            os.path.join(scratch, "repository"), scratch, environment={"XDG_STATE_HOME": self.state}, swift_key=True)
        self.becalm.environment.pop("KUBECONFIG", None)

    def run(self, *words, codes=(harness.DONE,), what=None, **options):
        """Runs a command that needs no repository."""
        process = self.start(*words, **options)
        outcome = self.becalm.finish(process)
        if codes is not None and (outcome.crashed or outcome.code not in codes):
            raise harness.Unexpected(str(outcome))
        return outcome

    def start(self, *words, extra=None):
        process = subprocess.Popen(
            [self.becalm.binary, *map(str, words)], cwd=self.scratch, env={**self.becalm.environment, **(extra or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.words, process.began = [str(word) for word in words], time.monotonic()
        return process

    def journals(self):
        try:
            return [name for name in os.listdir(os.path.join(self.state, "becalm")) if name.endswith(".json")]
        except FileNotFoundError:
            return []

    def watchers(self):
        """The watchers that the journals name."""
        found = []
        for name in self.journals():
            try:
                with open(os.path.join(self.state, "becalm", name), encoding="ascii") as file:
                    found.append(json.load(file)["watcher"]["pid"])
            except (OSError, KeyError, ValueError):
                continue
        return found

    # Stands.

    def stands(self):
        busy = Busy(os.path.join(self.scratch, "busy"))
        try:
            for how in ("resumed", "left"):
                deadline = "120s" if how == "resumed" else "3s"
                self.run("quiesce", busy.reference, "--deadline", deadline)
                self.report.check(busy.stands(), f"{how}: threads and children that fork stand still")
                status = self.run("status", "--host", "--json").of("held")
                self.report.check(
                    [held["workload"] for held in status] == [busy.reference], f"{how}: the status tells of it")
                if how == "resumed":
                    self.run("resume", busy.reference)
                self.report.check(busy.goes_on(), f"{how}: it goes on")
                self.report.check(await_that(lambda: not self.journals()), f"{how}: no journal is left")
            self.cgroup(busy)
        finally:
            busy.end()

    def cgroup(self, busy):
        """In a cgroup of its own it is frozen, and no process of it is stopped by a signal."""
        with open("/proc/self/mountinfo", encoding="ascii") as file:
            mounts = [line.split() for line in file]
        mount = next((fields[4] for fields in mounts if "cgroup2" in fields and fields[3] == "/"), None)
        place = mount and os.path.join(mount, f"becalm-e2e-{os.getpid()}")
        try:
            if not place:
                raise OSError("no cgroup2 is mounted")
            os.mkdir(place)
            for pid in [busy.pid, *children(busy.pid)]:
                with open(os.path.join(place, "cgroup.procs"), "w", encoding="ascii") as file:
                    file.write(str(pid))
            if not os.path.exists(os.path.join(place, "cgroup.freeze")):
                raise OSError("this kernel freezes no cgroups")
        except OSError as reason:
            self.report.skip("a frozen cgroup", str(reason))
            return
        try:
            self.run("quiesce", busy.reference, "--deadline", "120s")
            with open(os.path.join(place, "cgroup.events"), encoding="ascii") as file:
                self.report.check("frozen 1" in file.read(), "a cgroup of its own is frozen")
            before = busy.count()
            time.sleep(0.1)
            self.report.check(
                busy.count() == before and "T" not in states(busy.pid), "frozen: it stands still, without a signal")
            self.run("resume", busy.reference)
            self.report.check(busy.goes_on(), "thawed: it goes on")
        finally:
            busy.end()
            await_that(lambda: not remove(place))

    # Kill.

    def kill(self, quick):
        """Kills becalm at its calls. The first run counts them."""
        try:
            killer = kill_every_request.CallKiller(self.scratch, True)
        except servers.Unavailable as reason:
            self.report.skip("killing at every call", str(reason))
            return
        source = os.path.join(self.scratch, "source")
        os.makedirs(source)
        trees.write_file(os.path.join(source, "x"), b"content")
        busy = Busy(os.path.join(self.scratch, "killed"))
        self.becalm.init()
        journeys = {
            "by hand": ["quiesce", busy.reference, "--deadline", "2s"],
            "resume": ["resume", busy.reference],
            "backup": ["backup", source, "--workload", busy.reference],
        }
        try:
            for name, words in journeys.items():
                self.kill_journey(name, words, killer, busy, quick)
        finally:
            busy.end()

    def kill_journey(self, name, words, killer, busy, quick):
        extra = {"LD_PRELOAD": killer.library, "KILLCALLS_LOG": killer.log, "KILLCALLS_WRITES": "1"}
        keys = self.becalm.key_options if words[0] == "backup" else []

        def once(number, when):
            if os.path.exists(killer.log):
                os.unlink(killer.log)
            if name == "resume":
                self.run("quiesce", busy.reference, "--deadline", "60s")
            return self.run(
                *words, *keys, codes=None, extra={**extra, "KILLCALLS_AT": str(number), "KILLCALLS_WHEN": when})

        once(0, "before")
        lines = killer.lines()
        # Of a backup only the calls that are about the process.
        chosen = [n + 1 for n, line in enumerate(lines) if name != "backup" or "host" in line or "/state/" in line or n % 8 == 0]
        self.sweep(busy)
        watched = 0
        for number in chosen[:: 5 if quick else 1]:
            for when in ("before", "after"):
                for alone in (False, True) if number % 2 or not quick else (number % 4 == 0,):
                    what = f"{name}: killed {when} call {number} of {len(lines)}, {'nobody' if alone else 'its watcher'} is left"
                    watched += self.struck(once(number, when), what, busy, alone, name)
        self.report.say(f"{name}: {len(lines)} calls, {watched} runs were killed")
        self.report.check(watched, f"{name}: some runs were killed")

    def struck(self, outcome, what, busy, alone, name):
        if not outcome.killed:
            self.report.check(not outcome.crashed, f"{what}: it does not crash", str(outcome))
            self.sweep(busy)
            return 0
        if alone:
            for pid in self.watchers():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if name == "resume":
            # Held by hand, it would have stood until its deadline: who was killed letting it go tries again.
            self.run("resume", "--expired", "--host")
            if self.journals():
                self.run("resume", busy.reference)
        elif alone:
            # One that stands until its deadline has that before it.
            await_that(lambda: self.run("resume", "--expired", "--host", "--json").summary.get("left") == 0)
        self.report.check(busy.goes_on(), f"{what}: it runs again", str(states(busy.pid)))
        self.sweep(busy)
        return 1

    def sweep(self, busy):
        """Ends what is left, which must be possible."""
        for name in self.journals():
            self.run("resume", "host/pid/" + name[len("host-"):-len(".json")], codes=(harness.DONE, harness.FAILED))
        if not await_that(lambda: not self.journals()) or not busy.goes_on():
            raise harness.Unexpected(f"{busy.reference} is not let go: {self.journals()}, {states(busy.pid)}")

    # Refuses.

    def refuses(self):
        busy = Busy(os.path.join(self.scratch, "refused"))
        others = [Busy("", STUBBORN), Busy("", MORTAL)]
        stubborn, mortal = others
        try:
            def refused(what, code, word, *words):
                outcome = self.run(*words, codes=None)
                text = outcome.err.decode()
                self.report.check(
                    outcome.code == code and word in text and not outcome.crashed, f"{what} is refused with {code}", str(outcome))

            directory = ["--checkpoint-directory", self.scratch]
            refused("a signal without a handler", TORN, "no handler", "quiesce", busy.reference, "--checkpoint-signal", "USR1", *directory)
            refused("a signal without a directory", harness.FAILED, "--checkpoint-directory", "quiesce", busy.reference, "--checkpoint-signal", "USR1")
            refused("a stop that nobody undoes", harness.FAILED, "--start-command", "quiesce", busy.reference, "--consistency", "stop")
            refused("a number of nobody", harness.FAILED, "no process", "quiesce", "host/pid/4194305")
            refused("a name without a file", harness.FAILED, "--pid-file", "quiesce", "host/pid/trainer")
            refused("its own shell", harness.FAILED, "started this becalm", "quiesce", f"host/pid/{os.getpid()}")
            refused("one that ends instead", TORN, "has ended before", "quiesce", mortal.reference, "--checkpoint-signal", "USR1", *directory)
            self.report.check(busy.goes_on(), "refused: it runs on")
            old = os.path.join(self.scratch, "old.pid")
            trees.write_file(old, f"{busy.pid}\n".encode())
            os.utime(old, (1, 1))
            refused("a number that has passed on", harness.FAILED, "began after", "quiesce", "host/pid/trainer", "--pid-file", old)
            self.run("quiesce", busy.reference, "--deadline", "60s")
            refused("a second holder", harness.BUSY, "is held by", "quiesce", busy.reference)
            self.run("resume", busy.reference)
            started = os.path.join(self.scratch, "started")
            stop = ["--consistency", "stop", "--stop-timeout", "1s", "--start-command", json.dumps(["touch", started])]
            refused("one that does not end", NOT_QUIESCED, "was not killed", "quiesce", stubborn.reference, *stop)
            self.report.check(stubborn.process.poll() is None, "one that does not end is not killed")
            stubborn.end()
            self.run("resume", stubborn.reference)
            self.report.check(os.path.exists(started), "one that has ended after all is started again")
        finally:
            for process in [busy, *others]:
                process.end()

    # Training.

    def training(self, quick):
        try:
            python = torchpython.find()
        except torchpython.NoTorch as reason:
            self.report.skip("training", str(reason))
            return
        run = os.path.join(self.scratch, "run42")
        loop = [python, os.path.join(harness.HERE, "training_loop.py"), "--layout", "dcp"]
        steps = 60 if quick else 400

        def train(directory, *words, steps=steps):
            return subprocess.Popen(
                [*loop, "--dir", directory, "--steps", str(steps), *words], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, **{torchpython.MARK: python}),
                start_new_session=True)

        first = train(run, "--save-every", "10", "--signals")
        try:
            for line in first.stdout:
                if line.startswith("step 10 saved"):
                    break
            pid_file = os.path.join(self.scratch, "trainer.pid")
            trees.write_file(pid_file, f"{first.pid}\n".encode())
            policy = os.path.join(self.scratch, "policy.yaml")
            trees.write_file(policy, f"workloads:\n- match: host/pid/tr*\n  pidFile: {pid_file}\n  checkpointSignal: USR1\n".encode())
            outcome = self.becalm.must(
                "backup", "./run42", "--workload", "host/pid/trainer", "--policy", policy, "--json", cwd=self.scratch)
            summary = outcome.summary
            self.report.check(0 < summary["pause_seconds"] < 60, "training: the pause is measured", str(summary.get("pause_seconds")))
            self.report.check(
                summary["last_complete_step"] and "last complete checkpoint is step" in summary["recovery_point"],
                "training: what a restore goes on from is told", str(summary.get("recovery_point")))
            self.report.say(f"training: {summary['recovery_point']}; it stood still for {summary['pause_seconds']:.2f} s")
            steps_told = [step["step"] for step in outcome.of("step")]
            self.report.check(
                steps_told == ["requested", "checkpointing", "checkpointed", "stopping", "stopped", "resuming"],
                "training: it is asked, stopped, and let go", str(steps_told))
            shown = self.becalm.must("show", "latest").out.decode()
            self.report.check("host/pid/trainer, pause, asked by signal SIGUSR1" in shown, "training: the snapshot says how it was held")
            out = first.stdout.read()
            digest = re.search(r"^digest (\w+)$", out, re.M)
            self.report.check(first.wait() == 0 and digest, "training: it ends as if nothing had been", out[-500:])
            self.becalm.restore("latest", os.path.join(self.scratch, "back"))
            again = train(os.path.join(self.scratch, "back", "run42"), "--resume")
            resumed, _ = again.communicate()
            alone, _ = train(os.path.join(self.scratch, "alone")).communicate()
            want = re.search(r"^digest (\w+)$", alone, re.M)
            self.report.check(want and digest and want[1] == digest[1], "training: its weights are those of a run that nobody touched")
            self.report.check(
                f"at step {summary['last_complete_step']}" in resumed, "training: what is restored resumes at the step that was told", resumed[:300])
            self.report.check(want and f"digest {want[1]}" in resumed, "training: and comes to the same weights")
        finally:
            if first.poll() is None:
                os.killpg(first.pid, signal.SIGKILL)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def remove(place):
    try:
        os.rmdir(place)
    except OSError:
        return True
    return False


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default="stands,refuses,training,kill", help="some of these")
    options = parser.parse_args()
    report = harness.Report("host")
    with harness.Scratch(options) as scratch:
        host = Host(report, scratch)
        for part in options.parts.split(","):
            try:
                if part == "training":
                    host.becalm.run("init")
                    host.training(options.quick)
                elif part == "kill":
                    if os.path.exists(host.becalm.repository):
                        trees.remove_tree(host.becalm.repository)
                    host.kill(options.quick)
                else:
                    getattr(host, part)()
            except harness.Unexpected as reason:
                report.check(False, f"{part}: every command ends as it must", str(reason))
    harness.finish(report)


if __name__ == "__main__":
    main()
