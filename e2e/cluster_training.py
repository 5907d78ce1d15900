#!/usr/bin/env python3
"""A real training job in a real cluster: backed up while it runs, its namespace deleted, restored, and it goes on.

A Job trains with PyTorch and saves on a claim. `becalm backup --workload` brings it to a standstill, takes its objects and
its volume, and lets it go. Then the whole namespace is deleted, `becalm restore --to-cluster` brings it back, and the
restored Job must end with the very weights and optimizer state of a run that nobody interrupted.

The pods run this machine's Python with PyTorch, through its file system, so the cluster must be on this machine. What is
tested: see `cluster.py` for where the cluster comes from; the image of movers is made of the binary under test.
"""

import json
import os
import subprocess
import threading

import cluster
import container_image
import harness
import torchpython

LOOP = os.path.join(harness.HERE, "training_loop.py")
JOB = "run42"


def job(namespace, steps, every, interpreter):
    """A Job that trains on the claim `ckpt`, from its last checkpoint if it has one."""
    script = (f"cd /; export TMPDIR=/mnt HOME=/mnt; resume=; for c in /mnt/checkpoint-*; do [ -e $c ] && resume=--resume; done; "
              f"exec {interpreter} {LOOP} --dir /mnt --steps {steps} --save-every {every} $resume >>/mnt/log 2>&1")
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {
            "name": JOB, "namespace": namespace, "annotations": {"team": "language"}},
        "spec": {"backoffLimit": 6, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "train", "image": container_image.TRAINING, "command": ["chroot", "/host", "sh", "-c", script],
                # Slow enough to be caught in the middle on any machine.
                "resources": {"limits": {"cpu": "400m"}},
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "volumeMounts": [{"name": "host", "mountPath": "/host", "readOnly": True}, {"name": "ckpt", "mountPath": "/host/mnt"}]}],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}, {"name": "ckpt", "persistentVolumeClaim": {"claimName": "ckpt"}}],
        }}}}


VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
CONFIG_MAPS = cluster.Resource("", "v1", "configmaps", "ConfigMap")


class Training:
    """A Job in its namespace."""

    def __init__(self, place, namespace):
        self.place, self.api, self.namespace = place, place.api, namespace

    def create(self, steps, every, interpreter):
        self.api.create(CONFIG_MAPS, CONFIG_MAPS.object(self.namespace, "settings", data={"OMP_NUM_THREADS": "1"}))
        self.api.create(cluster.CLAIMS, cluster.CLAIMS.object(self.namespace, "ckpt", spec={
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": {"requests": {"storage": "1Gi"}}}))
        self.api.create(cluster.JOBS, job(self.namespace, steps, every, interpreter))

    def log(self):
        """What all its pods have said, on the volume itself."""
        claim = self.api.get(cluster.CLAIMS, self.namespace, "ckpt")
        volume = claim["spec"].get("volumeName")
        if not volume:
            return ""
        path = self.api.get(VOLUMES, None, volume)["spec"]["hostPath"]["path"]
        try:
            with open(os.path.join(path, "log"), errors="replace") as stream:
                return stream.read()
        except FileNotFoundError:
            return ""

    def saved(self):
        """The step of the last checkpoint that it says it has saved."""
        steps = [int(line.split()[1]) for line in self.log().splitlines() if line.endswith(" saved")]
        return max(steps, default=0)

    def digest(self):
        """What it ended with; None while it has not."""
        lines = [line.split()[1] for line in self.log().splitlines() if line.startswith("digest ")]
        return lines[-1] if lines else None


def uninterrupted(scratch, steps, every, interpreter):
    """The digest of a run that nobody interrupts."""
    folder = os.path.join(scratch, "whole")
    os.mkdir(folder)
    done = subprocess.run(
        [interpreter, LOOP, "--dir", folder, "--steps", str(steps), "--save-every", str(every)], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise harness.Unexpected(f"training ended with {done.returncode}: {done.stderr[-300:]}")
    return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("digest "))


def journey(place, report, scratch, becalm, interpreter, options):
    whole = {}
    reference = threading.Thread(
        target=lambda: whole.update(digest=uninterrupted(scratch, options.steps, options.every, interpreter)))
    namespace = cluster.random_name("becalm-e2e-train")
    place.api.create(cluster.NAMESPACES, cluster.NAMESPACES.object(None, namespace) | {
        "metadata": {"name": namespace, "labels": {"team": "language"}}})
    try:
        training = Training(place, namespace)
        cluster.wait("the namespace has an account", lambda: place.api.find(cluster.ACCOUNTS, namespace, "default"))
        training.create(options.steps, options.every, interpreter)
        before = cluster.essence(place.api.get(cluster.JOBS, namespace, JOB))
        cluster.wait("two checkpoints are saved", lambda: training.saved() >= 2 * options.every, 300)
        outcome = becalm.run("backup", "--workload", f"{namespace}/job/{JOB}", "--json", "--stop-timeout", "2m")
        if not report.check(outcome.code == 0, "the running job is backed up", str(outcome)):
            return
        summary = outcome.summary
        report.say(f"pause {summary['pause_seconds']:.2f} s; {summary['files']} files, {summary['bytes']} bytes")
        steps = [c.get("step") or 0 for c in summary["checkpoints"] if c.get("judgement") == "complete"]
        report.check(max(steps, default=0) >= 2 * options.every, "the snapshot has its checkpoints, complete", str(steps))
        report.check(0 < summary["pause_seconds"] < 120, "the pause was measured", str(summary["pause_seconds"]))
        after = cluster.essence(place.api.get(cluster.JOBS, namespace, JOB))
        report.equal(cluster.differences(before, after), "the job is what it was")
        at = max(steps, default=0)
        cluster.wait("the job goes on after the backup", lambda: training.saved() > at, 300)
        leftovers(place, report, namespace, becalm)

        place.api.delete(cluster.NAMESPACES, None, namespace)
        for pod in place.api.list(cluster.PODS, namespace):
            place.api.delete(cluster.PODS, namespace, pod["metadata"]["name"], grace=0)
        cluster.wait("the namespace is gone", lambda: not place.api.find(cluster.NAMESPACES, None, namespace), 180)
        report.check(not place.api.find(cluster.JOBS, namespace, JOB), "everything is lost")

        outcome = becalm.run("restore", summary["snapshot"], "--to-cluster", "--json")
        if not report.check(outcome.code == 0, "the workload is restored from its snapshot", str(outcome)):
            return
        reference.start()
        restored = cluster.essence(place.api.get(cluster.JOBS, namespace, JOB))
        report.check(restored["metadata"]["annotations"] == {"team": "language"}, "the restored job has its annotations and no others",
                     str(restored["metadata"]))
        claim = place.api.get(cluster.CLAIMS, namespace, "ckpt")
        report.check("becalm.io/restoring" not in (claim["metadata"].get("annotations") or {}), "its claim is whole")
        digest = cluster.wait("the restored job ends", training.digest, 600)
        steps = [int(line.split()[1]) for line in training.log().splitlines() if line.endswith(" saved")]
        report.check(steps == sorted(set(steps)), "no step was trained twice, from the snapshot on", str(steps))
        reference.join()
        report.check(digest == whole.get("digest"), "it ends with the weights and the optimizer of an uninterrupted run",
                     f"{digest} and {whole.get('digest')}")
        leftovers(place, report, namespace, becalm)
        outcome = becalm.run("restore", summary["snapshot"], "--to-cluster", "--json")
        report.check(outcome.code == 1 and "is there already" in str(outcome), "what is there is not replaced", str(outcome))
        outcome = becalm.run("verify", "--depth", "full", "--json")
        report.check(outcome.code == 0, "the repository is whole", str(outcome))
    finally:
        if reference.is_alive():
            reference.join()
        place.api.delete(cluster.NAMESPACES, None, namespace)


def leftovers(place, report, namespace, becalm):
    """Nothing of the movers stays: no Job, Secret, Lease, key slot or part."""
    jobs = [j["metadata"]["name"] for j in place.api.list(cluster.JOBS, namespace) if j["metadata"]["name"] != JOB]
    secrets = [s["metadata"]["name"] for s in place.api.list(cluster.SECRETS, namespace)
               if s.get("type") != "kubernetes.io/service-account-token"]
    leases = [x["metadata"]["name"] for x in place.api.list(cluster.LEASES, namespace)]
    report.check(not jobs and not secrets and not leases, "no Job, Secret or Lease of movers stays", str((jobs, secrets, leases)))
    slots = [x for x in becalm.must("key", "list", "--json").of("key") if "mover" in json.dumps(x)]
    report.check(not slots, "no key of movers stays", str(slots))
    snapshots = becalm.snapshots()
    report.check(len(snapshots) == 1, "there is one snapshot, and no parts", str(snapshots))


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    report = harness.Report("cluster-training")
    try:
        interpreter = torchpython.find()
        place = cluster.Cluster.open(report)
    except (cluster.Unavailable, torchpython.NoTorch) as reason:
        report.skip("a training job in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here:
            report.skip("a training job in a cluster", "its pods need this machine's PyTorch, and its node is another machine")
            harness.finish(report)
        place.load_command(report)
        with cluster.repository(place, scratch) as becalm:
            journey(place, report, scratch, becalm, interpreter, options)
    harness.finish(report)


if __name__ == "__main__":
    main()
