#!/usr/bin/env python3
"""A real training whose volume a CSI driver snapshots: it stands still for the cut, not for the upload.

  pause     a Job trains with PyTorch on a claim with more than 250 MB. Backed up from a snapshot that its driver makes available only
            after the training has gone on and saved again, then from the volume itself: the pause of the first has nothing of
            the upload in it, that of the second has all of it. What is stored is the moment of the cut. The namespace is
            deleted, restored, and goes on with the weights of a run that nobody interrupted.
  killed    SIGKILL while the driver cuts, with the training at a standstill, and between the cut and the copy: the next backup
            lets it go, and nothing of the first stays
  asked     the training writes a checkpoint when it is asked, and a backup waits for one that is complete and newer; one that is
            torn, a command that fails, hangs, or does nothing: exit code 21, and the training has never stopped
  refused   no driver, no class, a driver that fails, one that never gets ready: what is said, and the training runs; a class
            that keeps snapshots leaves none

Volumes and snapshots are those of `cluster_csi.py`, for which the cluster's node must be this machine.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import cluster
import cluster_csi
import cluster_training
import container_image
import harness
import torchpython
from cluster_kinds import SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT

JOB, CLAIM, MOVERS = "run42", "ckpt", "app.kubernetes.io/name=becalm-mover"
READY_SECONDS = 10
# What else is on the volume, so that storing it takes its time: random, as tokens and weights are.
DATASET_BYTES = 256 << 20
TORN = 21


def said(outcome):
    return outcome.err.decode("utf-8", "replace").strip()


def digests(log):
    """Steps, and the digest of what the training was then."""
    for words in map(str.split, log.splitlines()):
        if len(words) == 4 and words[2] == "digest":
            yield int(words[1]), words[3]


class Training:
    """A Job that trains until it is told to end, from its last checkpoint if it has one."""

    def __init__(self, bench, namespace, every=5, dataset=0, annotations=None, storage_class=cluster_csi.CLASS, signals=True):
        self.bench, self.api, self.namespace, self.storage_class = bench, bench.place.api, namespace, storage_class
        self.reference = f"{namespace}/job/{JOB}"
        script = (
            f"cd /; export TMPDIR=/mnt HOME=/mnt OMP_NUM_THREADS=1; "
            f"[ {dataset} = 0 ] || [ -e /mnt/dataset ] || {{ head -c {dataset} /dev/urandom >/mnt/dataset.part; "
            f"mv /mnt/dataset.part /mnt/dataset; }}; resume=; for c in /mnt/checkpoint-*; do [ -e $c ] && resume=--resume; done; "
            f"exec {bench.interpreter} {cluster_training.LOOP} --dir /mnt --steps 1000000 --save-every {every} --keep 4 "
            f"--digest-every 5 {'--signals' if signals else ''} $resume >>/mnt/log 2>&1")
        self.api.create(cluster.CLAIMS, cluster.CLAIMS.object(namespace, CLAIM, spec={
            "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class, "resources": {"requests": {"storage": "2Gi"}}}))
        body = cluster.JOBS.object(namespace, JOB, spec={"backoffLimit": 100, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 60,
            "containers": [{
                "name": "train", "image": container_image.TRAINING, "command": ["chroot", "/host", "sh", "-c", script],
                "resources": {"limits": {"cpu": "700m"}},
                "volumeMounts": [{"name": "host", "mountPath": "/host", "readOnly": True}, {"name": "ckpt", "mountPath": "/host/mnt"}]}],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}, {"name": "ckpt", "persistentVolumeClaim": {"claimName": CLAIM}}]}}})
        body["metadata"]["annotations"] = annotations or {}
        self.api.create(cluster.JOBS, body)

    def folder(self):
        """Where the volume is on this machine; None while there is none."""
        if self.storage_class == cluster_csi.CLASS:
            return self.bench.driver.folder(self.namespace, CLAIM)
        claim = self.api.get(cluster.CLAIMS, self.namespace, CLAIM)
        name = claim["spec"].get("volumeName")
        return name and self.api.get(cluster_training.VOLUMES, None, name)["spec"]["hostPath"]["path"]

    def log(self):
        folder = self.folder()
        try:
            with open(os.path.join(folder or "/nonexistent", "log"), errors="replace") as stream:
                return stream.read()
        except FileNotFoundError:
            return ""

    def saves(self):
        """The steps that it says it has saved, in the order of the log."""
        return [int(line.split()[1]) for line in self.log().splitlines() if re.fullmatch(r"step \d+ saved", line)]

    def saved(self):
        return max(self.saves(), default=0)

    def digests(self):
        """What it was at which step; it says so every five steps."""
        return list(digests(self.log()))

    def step(self):
        return max((step for step, _ in self.digests()), default=0)

    def pods(self):
        """Without those of movers."""
        return self.api.list(cluster.PODS, self.namespace, "!becalm.io/run")

    def running(self):
        """The uid of the pod that trains; None when none does."""
        up = [pod["metadata"]["uid"] for pod in self.pods()
              if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]
        return up[0] if len(up) == 1 else None

    def object(self):
        return cluster.essence(self.api.get(cluster.JOBS, self.namespace, JOB))

    def wait_past(self, step, what, seconds=300):
        """Waits until it has gone on past a step."""
        cluster.wait(f"{what}: it trains past step {step}; its log ends with {self.log()[-300:]!r}", lambda: self.step() > step, seconds)

    def wait_begun(self):
        self.wait_past(0, "it begins")


class Watcher:
    """Sees what happens in a namespace while a backup is made: when its movers run, and what the training had saved then."""

    def __init__(self, training):
        self.training, self.api, self.namespace = training, training.api, training.namespace
        self.movers, self.saved_at_copy, self.times, self.error = {}, None, {}, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ended.set()
        self.thread.join()
        if self.error and not kind:
            raise self.error

    def watch(self):
        try:
            while not self.ended.is_set():
                self.look()
                self.ended.wait(0.2)
        except Exception as error:
            self.error = error

    def look(self):
        for pod in self.api.list(cluster.PODS, self.namespace, MOVERS):
            if "-backup-" not in pod["metadata"]["name"]:
                continue
            if self.saved_at_copy is None:
                self.saved_at_copy = self.training.saved()
            state = next(iter(pod["status"].get("containerStatuses") or []), {}).get("state", {})
            if "terminated" in state:
                self.movers[pod["metadata"]["name"]] = cluster.seconds(state["terminated"]["finishedAt"]) - cluster.seconds(
                    state["terminated"]["startedAt"])
        for snapshot in self.api.list(SNAPSHOT, self.namespace):
            status = snapshot.get("status") or {}
            if status.get("creationTime"):
                self.times.setdefault("cut", time.monotonic())
            if status.get("readyToUse"):
                self.times.setdefault("ready", time.monotonic())

    @property
    def upload(self):
        """Seconds that the movers' containers ran, of which they know whole ones."""
        return max(self.movers.values(), default=0)


class Bench:
    """What all parts use."""

    def __init__(self, place, report, becalm, driver, interpreter, scratch):
        self.place, self.api, self.report, self.becalm, self.driver = place, place.api, report, becalm, driver
        self.interpreter, self.scratch = interpreter, scratch

    def backup(self, training, *options, **more):
        return self.becalm.run("backup", "--workload", training.reference, "--json", *options, **more)

    def left(self, training, what, snapshots=None):
        """Nothing of the movers, of the copies or of the journal stays; what is being deleted has a moment for it."""
        api, namespace = self.api, training.namespace
        def found():
            objects = [("Job", cluster.JOBS), ("Lease", cluster.LEASES), ("VolumeSnapshot", SNAPSHOT), ("claim", cluster.CLAIMS)]
            names = [f"{kind} {body['metadata']['name']}" for kind, resource in objects for body in api.list(resource, namespace)
                     if (kind, body["metadata"]["name"]) not in {("Job", JOB), ("claim", CLAIM)}]
            names += [f"Secret {s['metadata']['name']}" for s in api.list(cluster.SECRETS, namespace)
                      if s.get("type") != "kubernetes.io/service-account-token"]
            names += [f"Content {c['metadata']['name']}" for c in api.list(SNAPSHOT_CONTENT)
                      if c["spec"]["volumeSnapshotRef"]["namespace"] == namespace]
            names += [name for name in self.driver.store.names() if name.startswith("snapshots/")]
            annotations = training.object()["metadata"].get("annotations") or {}
            return names + [key for key in annotations if key == "becalm.io/quiesced"]
        try:
            cluster.wait("nothing stays", lambda: not found(), 30)
            self.report.check(True, f"{what}: nothing of it stays")
        except harness.Unexpected:
            self.report.check(False, f"{what}: nothing of it stays", str(found()))
        slots = [key for key in self.becalm.must("key", "list", "--json").of("key") if "mover" in json.dumps(key)]
        self.report.check(not slots, f"{what}: no key of movers stays", str(slots))
        if snapshots is not None:
            there = self.becalm.snapshots()
            self.report.check(len(there) == snapshots, f"{what}: there are {snapshots} snapshots, and no parts", str(there))

    def complete(self, summary):
        """The steps of the complete checkpoints in a snapshot."""
        return sorted(c.get("step") or 0 for c in summary.get("checkpoints", []) if c.get("judgement") == "complete")


# ---------------------------------------------------------------- pause

def uninterrupted(bench, steps):
    """What a run that nobody interrupts is at each fifth step."""
    folder = os.path.join(bench.scratch, "whole")
    os.mkdir(folder)
    done = subprocess.run(
        [bench.interpreter, cluster_training.LOOP, "--dir", folder, "--steps", str(steps), "--digest-every", "5"], capture_output=True,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise harness.Unexpected(f"training ended with {done.returncode}: {done.stderr[-300:]}")
    return dict(digests(done.stdout))


def measured(bench, training, source, before_copy=None):
    """One backup, with what it took; None if it failed."""
    report, job = bench.report, training.object()
    with Watcher(training) as watcher:
        process = bench.becalm.start("backup", "--workload", training.reference, "--json", "--source", source)
        if before_copy:
            before_copy(watcher)
        outcome = bench.becalm.finish(process)
    if not report.check(outcome.code == 0, f"{source}: the training is backed up", str(outcome)):
        return None
    summary = outcome.summary
    report.say(f"--source {source}: pause {summary['pause_seconds']:.2f} s, upload {watcher.upload:.0f} s, in all {outcome.seconds:.1f} s; "
               f"{summary['bytes']} bytes, {summary['bytes_new']} new; complete checkpoints {bench.complete(summary)}")
    report.equal(cluster.differences(job, training.object()), f"{source}: the job is what it was")
    return outcome, summary, watcher


def pause(bench):
    report, driver = bench.report, bench.driver
    with bench.place.scope("snapshots") as namespace:
        training = Training(bench, namespace, dataset=DATASET_BYTES)
        cluster.wait("two checkpoints are saved", lambda: training.saved() >= 10, 300)
        report.check(os.path.getsize(os.path.join(training.folder(), "dataset")) == DATASET_BYTES, "there are 256 MB on the volume")

        def ready_when_it_has_gone_on(watcher):
            """The driver uploads for READY_SECONDS, and until the training has saved again."""
            cluster.wait("the snapshot is cut", lambda: "cut" in watcher.times, 120, 0.02)
            at = training.saved()
            cluster.wait("the training saves again", lambda: training.saved() > at, 300)
            driver.behave(ready_seconds=READY_SECONDS)

        driver.behave(ready_seconds=100_000)
        taken = measured(bench, training, "auto", ready_when_it_has_gone_on)
        if not taken:
            return
        outcome, summary, watcher = taken
        cut, ready = watcher.times["cut"], watcher.times["ready"]
        report.say(f"the driver was ready {ready - cut:.1f} s after the cut")
        stored = bench.complete(summary)
        report.check(ready - cut >= READY_SECONDS - 1, "the driver took its time", f"{ready - cut:.1f} s")
        report.check(summary["pause_seconds"] < ready - cut, "the pause ends before the driver is ready", str(summary["pause_seconds"]))
        report.check(outcome.seconds > summary["pause_seconds"] + (ready - cut), "that wait is in the backup, not in the pause")
        report.check(stored and max(stored) < watcher.saved_at_copy, "what is stored is older than what was there when it was read",
                     f"{stored}, {watcher.saved_at_copy}")
        bench.left(training, "auto", snapshots=1)

        driver.behave()
        training.wait_past(training.step(), "after the backup")
        live = measured(bench, training, "live")
        if live:
            report.check(live[1]["pause_seconds"] > live[2].upload - 1, "read live, the pause has the upload in it",
                         f"{live[1]['pause_seconds']}, {live[2].upload}")
            bench.left(training, "live", snapshots=2)

        moment = stored[-1]
        lost = {step: digest for step, digest in training.digests() if step <= moment}
        bench.api.delete(cluster.NAMESPACES, None, namespace)
        for pod in bench.api.list(cluster.PODS, namespace):
            bench.api.delete(cluster.PODS, namespace, pod["metadata"]["name"], grace=0)
        cluster.wait("the namespace is gone", lambda: not bench.api.find(cluster.NAMESPACES, None, namespace), 180)
        cluster.wait("its volume is gone", lambda: not driver.left(), 60)
        outcome = bench.becalm.run("restore", summary["snapshot"], "--to-cluster", "--json")
        if not report.check(outcome.code == 0, "the training is restored from the snapshot's copy", str(outcome)):
            return
        report.say(f"restored in {outcome.seconds:.1f} s")
        resumed = cluster.wait("it goes on", lambda: re.findall(r"resumed from checkpoint-\d+ at step (\d+)", training.log()), 300)
        report.check(resumed == [str(moment)], "it goes on from the checkpoint of the moment of the cut", f"{resumed}, {moment}")
        training.wait_past(moment + 20, "restored")
        restored = dict(training.digests())
        whole = uninterrupted(bench, max(restored))
        wrong = [step for step, digest in {**lost, **restored}.items() if whole.get(step) != digest]
        report.check(not wrong, f"its weights and its optimizer up to step {max(restored)} are those of an uninterrupted run", str(wrong))
        bench.left(training, "restore", snapshots=2)
        outcome = bench.becalm.run("verify", "--depth", "full", "--json")
        report.check(outcome.code == 0, "the repository is whole", str(outcome))


# ---------------------------------------------------------------- killed

def killed(bench):
    report, driver = bench.report, bench.driver
    with bench.place.scope("killed") as namespace:
        training = Training(bench, namespace)
        training.wait_begun()
        count = len(bench.becalm.snapshots())
        def is_cutting(snapshot):
            return any(cluster_csi.annotation(content, cluster_csi.BEING_CREATED) for content in bench.api.list(SNAPSHOT_CONTENT)
                       if content["spec"]["volumeSnapshotRef"]["uid"] == snapshot["metadata"]["uid"])

        def is_cut(snapshot):
            return (snapshot.get("status") or {}).get("creationTime") and training.running() and not bench.api.list(
                cluster.LEASES, namespace, "becalm.io/journal=quiesce")

        for what, behaviour, reached in [("killed while the driver cuts", {"cut_seconds": 100_000}, is_cutting),
                                         ("killed between the cut and the copy", {"ready_seconds": 100_000}, is_cut)]:
            driver.behave(**behaviour)
            process = bench.becalm.start("backup", "--workload", training.reference, "--json", "--source", "snapshot")
            cluster.wait(f"{what}: it is so far", lambda: any(map(reached, bench.api.list(SNAPSHOT, namespace))), 180)
            was_running = training.running()
            process.send_signal(signal.SIGKILL)
            outcome = bench.becalm.finish(process)
            report.check(outcome.killed, f"{what}: by the signal", str(outcome))
            report.check(bool(was_running) == (reached is is_cut), f"{what}: it stood still before the cut, and ran after", str(was_running))
            report.check(bool(bench.api.list(SNAPSHOT, namespace)), f"{what}: its snapshot is there")
            driver.behave()
            def over():
                now = bench.api.now()
                return all(cluster.seconds(x["spec"]["renewTime"]) + x["spec"]["leaseDurationSeconds"] < now
                           for x in bench.api.list(cluster.LEASES, namespace))
            cluster.wait(f"{what}: its leases have ended", over, 120)
            outcome = bench.backup(training, "--source", "snapshot")
            report.check(outcome.code == 0, f"{what}: the next backup is made", str(outcome))
            count += 1
            report.check(
                "was killed is cleaned up" in said(outcome) + outcome.out.decode(), f"{what}: and tells what it found", said(outcome))
            bench.left(training, what, snapshots=count)
            training.wait_past(training.step(), what)


# ---------------------------------------------------------------- asked

def annotate(training, **annotations):
    training.api.patch(cluster.JOBS, training.namespace, JOB, {"metadata": {"annotations": {
        "becalm.io/" + key.replace("_", "-"): value for key, value in annotations.items()}}})


def asked(bench):
    report, driver = bench.report, bench.driver
    driver.behave(ready_seconds=2)
    with bench.place.scope("asked") as namespace:
        # It saves only when it is asked, so that every checkpoint is an answer.
        training = Training(bench, namespace, every=0, annotations={
            "becalm.io/checkpoint-signal": "SIGUSR1", "becalm.io/consistency": "checkpoint"})
        training.wait_begun()
        pod, count = training.running(), len(bench.becalm.snapshots())

        for what in ("asked for its first checkpoint", "asked for another"):
            before = training.saves()
            outcome = bench.backup(training)
            if not report.check(outcome.code == 0, f"{what}: it is backed up", str(outcome)):
                return
            count += 1
            new = training.saves()[len(before):]
            report.say(f"{what}: saved {new}, stored {bench.complete(outcome.summary)}, {outcome.seconds:.1f} s, steps "
                       f"{[event['step'] for event in outcome.of('step')]}")
            report.check(len(new) == 1 and max(bench.complete(outcome.summary)) == new[0], f"{what}: what is stored is what was asked for",
                         f"{new}, {outcome.summary['checkpoints']}")
            report.check(training.running() == pod, f"{what}: no pod was stopped")
            bench.left(training, what, snapshots=count)

        what, before = "asked, then stopped", training.saves()
        outcome = bench.backup(training, "--consistency", "pause")
        if report.check(outcome.code == 0, f"{what}: it is backed up", str(outcome)):
            count += 1
            new = training.saves()[len(before):]
            report.check(len(new) == 1 and max(bench.complete(outcome.summary)) == new[0], f"{what}: what is stored is what was asked for",
                         f"{new}, {outcome.summary['checkpoints']}")
            cluster.wait("it goes on", lambda: f"resumed from checkpoint-{new[0]} at step" in training.log(), 300)
            report.check(outcome.summary["pause_seconds"] > 0, f"{what}: it stood still", str(outcome.summary))
            report.say(f"{what}: pause {outcome.summary['pause_seconds']:.2f} s, the checkpoint before it not counted")
            bench.left(training, what, snapshots=count)
        training.wait_past(training.saved(), what)

        # What goes wrong. The volume is at /host/mnt in the container, which is where commands run.
        copy = ("cd /host/mnt; old=$(ls -d checkpoint-* | sort -t- -k2 -n | tail -1); new=checkpoint-$((${old#*-} + 1)); "
                "cp -r $old $new; rm $new/trainer_state.json; head -c 1000 $old/optimizer.pt >$new/optimizer.pt")
        for what, words, command, seconds in [
                ("a command that leaves a torn checkpoint",
                 r"no complete checkpoint was written within 20 s.*step \d+.*checkpoint-\d+ is torn .*trainer_state.json",
                 ["sh", "-c", copy], "20s"),
                ("a command that fails", r"run42-\w+.*failed with 3.*no space left", ["sh", "-c", "echo no space left >&2; exit 3"], "30s"),
                ("a command that hangs", r"run42-\w+.*longer than 5", ["sleep", "1000"], "5s"),
                ("a command that does nothing", r"no complete checkpoint was written within 10 s", ["true"], "10s")]:
            annotate(training, checkpoint_signal=None, checkpoint_command=json.dumps(command))
            for consistency in ("checkpoint", "pause") if "torn" in what else ("pause",):
                refused_by(bench, training, what, [TORN], words, "--consistency", consistency, "--checkpoint-timeout", seconds,
                           snapshots=count)
                for name in os.listdir(training.folder()):
                    if re.fullmatch(r"checkpoint-\d+", name) and int(name.split("-")[1]) not in training.saves():
                        shutil.rmtree(os.path.join(training.folder(), name))

    with bench.place.scope("asked") as namespace:
        # To process 1 a signal that it has no handler for does not come.
        training = Training(bench, namespace, every=0, signals=False, annotations={"becalm.io/checkpoint-signal": "SIGUSR1"})
        training.wait_begun()
        refused_by(bench, training, "a signal that nobody handles", [TORN], r"no complete checkpoint was written within 10 s.*none at all",
                   "--checkpoint-timeout", "10s", snapshots=count)


# ---------------------------------------------------------------- refused

def refused_by(bench, training, what, codes, words, *options, snapshots=None, stops=False):
    """A backup that ends with one of `codes` and says `words`; the training runs, and was never stopped unless `stops`."""
    report, pod, before = bench.report, training.running(), training.object()
    outcome = bench.backup(training, *options)
    report.say(f"{what}: {outcome.code} after {outcome.seconds:.1f} s: {said(outcome)}")
    report.check(outcome.code in codes, f"{what}: it ends with {codes}", str(outcome))
    report.check(re.search(words, said(outcome).splitlines()[-1] if said(outcome) else ""), f"{what}: it says what", said(outcome))
    report.equal(cluster.differences(before, training.object()), f"{what}: the job is what it was")
    if not stops:
        report.check(training.running() == pod, f"{what}: no pod was stopped")
    at = training.step()
    training.wait_past(at, what)
    bench.left(training, what, snapshots=snapshots)
    return outcome


def refused(bench):
    report, driver, api = bench.report, bench.driver, bench.api
    count = len(bench.becalm.snapshots())
    with bench.place.scope("refused") as namespace:
        training = Training(bench, namespace, storage_class="standard")
        training.wait_begun()
        refused_by(bench, training, "a volume without a driver", [1], "cannot be read from a snapshot: its volume is no CSI driver's",
                   "--source", "snapshot", snapshots=count)
    with bench.place.scope("refused") as namespace:
        training = Training(bench, namespace)
        training.wait_begun()
        of_class = api.get(SNAPSHOT_CLASS, None, cluster_csi.CLASS)
        api.delete(SNAPSHOT_CLASS, None, cluster_csi.CLASS)
        refused_by(bench, training, "a driver without a class", [1], f"there is no VolumeSnapshotClass of {cluster_csi.DRIVER}",
                   "--source", "snapshot", snapshots=count)
        of_class["metadata"].pop("resourceVersion")
        api.create(SNAPSHOT_CLASS, of_class)

        for what, behaviour, words, options in [
                ("a driver that cannot cut", {"error": "no space left in the pool"},
                 r"not cut within 15 s: .*no space left in the pool.*--source live", ["--snapshot-timeout", "15s"]),
                ("a driver that says nothing", {"cut_seconds": 100_000}, r"not cut within 15 s: its driver has not said why",
                 ["--snapshot-timeout", "15s"]),
                ("a driver that cannot upload", {"upload_error": "the bucket is gone"},
                 r"not ready to use within 15 s: .*the bucket is gone.*--snapshot-ready-timeout", ["--snapshot-ready-timeout", "15s"]),
                ("a driver that never gets ready", {"ready_seconds": 100_000}, r"not ready to use within 15 s",
                 ["--snapshot-ready-timeout", "15s"])]:
            driver.behave(**behaviour)
            refused_by(bench, training, what, [1], words, *options, snapshots=count, stops=True)

        what = "a driver that fails at first"
        driver.behave(error="try again", error_count=2)
        outcome = bench.backup(training)
        report.check(outcome.code == 0, f"{what}: it is backed up", str(outcome))
        report.check("try again" in said(outcome) + outcome.out.decode(), f"{what}: and it is told what it waited for", said(outcome))
        bench.left(training, what, snapshots=count + 1)

        what = "a class that keeps snapshots"
        driver.behave()
        api.patch(SNAPSHOT_CLASS, None, cluster_csi.CLASS, {"deletionPolicy": "Retain"})
        try:
            outcome = bench.backup(training)
            report.check(outcome.code == 0, f"{what}: it is backed up", str(outcome))
            bench.left(training, what, snapshots=count + 2)
        finally:
            api.patch(SNAPSHOT_CLASS, None, cluster_csi.CLASS, {"deletionPolicy": "Delete"})


PARTS = {"pause": pause, "killed": killed, "asked": asked, "refused": refused}


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    options = parser.parse_args()
    parts = options.parts.split(",")
    if not set(parts) <= PARTS.keys():
        parser.error("--parts takes some of " + ", ".join(PARTS))
    report = harness.Report("cluster-snapshots")
    try:
        interpreter = torchpython.find()
        place = cluster.Cluster.open(report)
    except (cluster.Unavailable, torchpython.NoTorch) as reason:
        report.skip("snapshots of a training's volumes", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        try:
            driver = cluster_csi.Driver(place, report)
        except cluster_csi.NoDriver as reason:
            report.skip("snapshots of a training's volumes", str(reason))
            harness.finish(report)
        place.load_command(report)
        with driver, cluster.repository(place, scratch) as becalm:
            bench = Bench(place, report, becalm, driver, interpreter, scratch)
            for part in parts:
                began = time.monotonic()
                try:
                    PARTS[part](bench)
                except (harness.Unexpected, cluster.Refused) as error:
                    report.check(False, part, f"{type(error).__name__}: {error}")
                report.say(f"{part}: {time.monotonic() - began:.0f} s")
    harness.finish(report)


if __name__ == "__main__":
    main()
