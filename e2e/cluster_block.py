#!/usr/bin/env python3
"""A claim that is a block device: its bytes go into a snapshot and come back onto another device.

A Deployment has a claim of `volumeMode: Block`, a local volume that is a loop device of this machine, and writes a pattern to it.
`becalm backup --workload` stores it; after one MiB has changed, another backup stores that. The namespace is deleted, and
`becalm restore --to-cluster` fills a device that is larger and held something else before, while its first mover is killed: the
bytes are compared by their SHA-256. Then a claim whose volume is too small, and a restore onto a device outside of the cluster.

Where the CSI driver of `cluster_csi.py` can be had, the same with its devices: stored from a snapshot that the driver cuts, and
restored onto a device that it makes.
"""

import hashlib
import os
import random
import shutil
import subprocess
import threading
import time

import cluster
import cluster_csi
import harness

VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
CLASSES = cluster.Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False)
DEPLOYMENTS = cluster.DEPLOYMENTS
PLACE, CLASS = "/var/tmp/becalm-e2e-block", "becalm-e2e-block"
MEBIBYTE = 1 << 20

# Writes the pattern to the device once, and lives.
COMMAND = "[ -e /trace/written ] || dd if=/trace/pattern of=/dev/raw bs=1M conv=fsync,notrunc && touch /trace/written; " + cluster.LIFE


def sha256(path, size):
    """Of the first `size` bytes."""
    sha, rest = hashlib.sha256(), size
    with open(path, "rb") as stream:
        while rest:
            part = stream.read(min(MEBIBYTE, rest))
            if not part:
                break
            sha.update(part)
            rest -= len(part)
    return sha.hexdigest()


class Device:
    """A loop device over a file, full of `filling`; goes with the script."""

    def __init__(self, name, size, filling):
        self.file, self.size = os.path.join(PLACE, name), size
        with open(self.file, "wb") as stream:
            for start in range(0, size, MEBIBYTE):
                stream.write(bytes([filling]) * min(MEBIBYTE, size - start))
        self.path = subprocess.check_output(["losetup", "--find", "--show", self.file], text=True).strip()

    def write(self, offset, content):
        with open(self.path, "r+b") as stream:
            stream.seek(offset)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def written(self):
        """Bytes that were ever written to it."""
        with open(f"/sys/block/{os.path.basename(self.path)}/stat") as stream:
            return int(stream.read().split()[6]) * 512

    def digest(self, size=None):
        return sha256(self.path, self.size if size is None else size)

    def remove(self):
        # The kubelet attaches a loop device of its own to a volume's device, which goes with the pod.
        for _ in range(100):
            if subprocess.run(["losetup", "--detach", self.path], capture_output=True).returncode == 0:
                break
            time.sleep(0.2)
        os.unlink(self.file)


def pattern(path, size, seed):
    """A file of noise, with zeros from a third on to a half of it, of which no border is that of a piece."""
    generator = random.Random(seed)
    with open(path, "wb") as stream:
        stream.truncate(size)
        third, half = size // 3 + 1000, size // 2 + 77
        for start, end in ((0, third), (half, size)):
            stream.seek(start)
            for offset in range(start, end, MEBIBYTE):
                stream.write(generator.randbytes(min(MEBIBYTE, end - offset)))
    return half - third


def make_volume(api, name, device, node):
    api.create(VOLUMES, VOLUMES.object(None, name, spec={
        "capacity": {"storage": str(device.size)}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
        "volumeMode": "Block", "persistentVolumeReclaimPolicy": "Retain", "local": {"path": device.path},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}))


def create(api, namespace, size, storage_class=CLASS):
    api.create(cluster.CLAIMS, cluster.CLAIMS.object(namespace, "raw", spec={
        "accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "storageClassName": storage_class,
        "resources": {"requests": {"storage": str(size)}}}))
    template = cluster.pod_template(namespace, labels={"app": "store"}, grace=2, command=["sh", "-c", COMMAND])
    template["spec"]["volumes"].append({"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}})
    template["spec"]["containers"][0]["volumeDevices"] = [{"name": "raw", "devicePath": "/dev/raw"}]
    api.create(DEPLOYMENTS, DEPLOYMENTS.object(namespace, "store", spec={
        "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "store"}}, "template": template}))


def runs(api, namespace):
    cluster.wait("the workload runs", lambda: api.get(DEPLOYMENTS, namespace, "store")["status"].get("readyReplicas") == 1, 180)


def back_up(report, becalm, namespace, what, *more):
    outcome = becalm.run("backup", "--workload", f"{namespace}/deployment/store", "--json", "--consistency", "pause", *more)
    report.check(outcome.code == 0, what, str(outcome))
    return outcome


def kill_first_mover(api, namespace, killed):
    """Deletes the first mover that restores as soon as its pod runs, as an eviction does."""
    def look():
        for pod in api.list(cluster.PODS, namespace, "app.kubernetes.io/name=becalm-mover"):
            if "-restore-" in pod["metadata"]["name"] and pod["status"].get("phase") == "Running":
                return pod["metadata"]["name"]
    try:
        name = cluster.wait("a mover restores", look, 120, every=0.02)
        api.delete(cluster.PODS, namespace, name, grace=0)
        killed.append(name)
    except (harness.Unexpected, cluster.Refused) as error:
        killed.append(error)


def restore(api, report, becalm, snapshot, namespace):
    killed = []
    killer = threading.Thread(target=kill_first_mover, args=(api, namespace, killed))
    killer.start()
    outcome = becalm.run("restore", snapshot, "--to-cluster", "--json")
    killer.join()
    report.check(outcome.code == 0, "it is restored into a namespace that was deleted", str(outcome))
    report.check(bool(killed) and isinstance(killed[0], str), "its first mover was killed", str(killed))
    return outcome


def gone(api, namespace):
    api.delete(cluster.NAMESPACES, None, namespace)
    cluster.wait("the namespace is gone", lambda: api.find(cluster.NAMESPACES, None, namespace) is None, 180)


def journey(place, report, scratch, becalm, options, devices):
    api = place.api
    node = api.list(cluster.NODES)[0]["metadata"]["labels"]["kubernetes.io/hostname"]
    size = options.mebibytes * MEBIBYTE + 3 * 512
    for name, bytes_, filling in (("source", size, 0), ("target", size + 4 * MEBIBYTE, 0xA5), ("small", size - 512, 0x5A)):
        devices[name] = Device(name, bytes_, filling)
    if not api.find(CLASSES, None, CLASS):
        api.create(CLASSES, {**CLASSES.object(None, CLASS), "provisioner": "kubernetes.io/no-provisioner",
                             "volumeBindingMode": "WaitForFirstConsumer"})
    with place.scope("block") as namespace:
        traces = os.path.join(cluster.TRACES, namespace)
        os.makedirs(traces, exist_ok=True)
        zeros = pattern(os.path.join(traces, "pattern"), size, options.seed)
        make_volume(api, f"{namespace}-source", devices["source"], node)
        create(api, namespace, size)
        runs(api, namespace)
        cluster.wait("the pattern is on the device", lambda: os.path.exists(os.path.join(traces, "written")), 120)

        first = back_up(report, becalm, namespace, "a workload with a block device is backed up")
        words = first.summary.get("recovery_point") or ""
        report.check("block device" in words and "not known" in words, "what is on it is said to be unknown", str(first))
        stored = first.summary.get("bytes_stored", 0)
        runs(api, namespace)
        devices["source"].write(5 * MEBIBYTE + 3, b"changed")
        digest = devices["source"].digest()
        second = back_up(report, becalm, namespace, "it is backed up again")
        snapshot = second.summary.get("snapshot")
        if not snapshot:
            return
        listed = becalm.must("show", snapshot, "-R", "--json")
        entries = {entry.get("path"): entry for entry in listed.objects if entry.get("type") == "entry"}
        entry = entries.get(f"volumes/{namespace}/raw", {})
        report.check(entry.get("size") == size and entry.get("sha256") == digest, "its device is a file of the snapshot", str(entry))
        report.check(entry.get("is_device") is True, "which says that it is one", str(entry))
        added = second.summary.get("bytes_new", 0)
        report.say(f"of {size} bytes, {zeros} of them zeros, the first backup stored {stored}; the second found {added} new")
        report.check(size - zeros - 2 * MEBIBYTE < stored < size - zeros + 2 * MEBIBYTE, "zeros are not stored", str(stored))
        report.check(MEBIBYTE <= added < MEBIBYTE + (1 << 17), "of a changed device only the MiB that changed is new", str(added))

        gone(api, namespace)
        make_volume(api, f"{namespace}-target", devices["target"], node)
        restore(api, report, becalm, snapshot, namespace)
        report.check(devices["target"].digest(size) == digest, "the new device holds the same bytes")
        with open(devices["target"].path, "rb") as stream:
            stream.seek(size)
            report.check(stream.read() == b"\xa5" * (4 * MEBIBYTE), "what lies behind them is as it was")
        claim = api.get(cluster.CLAIMS, namespace, "raw")
        report.check(claim["spec"]["volumeMode"] == "Block" and "becalm.io/restoring" not in claim["metadata"].get("annotations", {}),
                     "its claim is a block device, and whole", str(claim))
        runs(api, namespace)
        report.check(True, "the restored workload runs")
        left = api.list(cluster.LEASES, namespace) + api.list(cluster.JOBS, namespace) + api.list(
            cluster.SECRETS, namespace, labels="becalm.io/run")
        report.equal([item["metadata"]["name"] for item in left], "nothing of the movers is left")

        gone(api, namespace)
        before = devices["small"].digest()
        # A volume that says it is larger than its device, as drivers have done.
        devices["small"].size += 512
        make_volume(api, f"{namespace}-small", devices["small"], node)
        devices["small"].size -= 512
        outcome = becalm.run("restore", snapshot, "--to-cluster", "--json")
        text = (outcome.out + outcome.err).decode("utf-8", "replace")
        report.check(outcome.code == 16 and str(size) in text and str(size - 512) in text,
                     "a device that is too small is refused, with both sizes", str(outcome))
        report.check(devices["small"].digest() == before, "and nothing was written to it")
        for name in ("source", "target", "small"):
            api.delete(VOLUMES, None, f"{namespace}-{name}")
    by_hand(report, becalm, snapshot, namespace, devices, size, digest)


def snapshots(place, report, becalm, options):
    """Stored from a snapshot that a driver has cut, restored onto a device that it makes."""
    api, size = place.api, options.mebibytes * MEBIBYTE
    with cluster_csi.Driver(place, report) as driver, place.scope("block-csi") as namespace:
        traces = os.path.join(cluster.TRACES, namespace)
        os.makedirs(traces, exist_ok=True)
        pattern(os.path.join(traces, "pattern"), size, options.seed + 1)
        create(api, namespace, size, cluster_csi.CLASS)
        runs(api, namespace)
        cluster.wait("the pattern is on the device", lambda: os.path.exists(os.path.join(traces, "written")), 120)
        digest = sha256(os.path.join(traces, "pattern"), size)
        outcome = back_up(report, becalm, namespace, "a device is stored from a snapshot of it", "--source", "snapshot")
        snapshot = outcome.summary.get("snapshot")
        if not snapshot:
            return
        listed = becalm.must("show", snapshot, "-R", "--json")
        found = [entry.get("sha256") for entry in listed.objects if entry.get("path") == f"volumes/{namespace}/raw"]
        report.check(found == [digest], "which holds what was on it", str(found))
        gone(api, namespace)
        outcome = becalm.run("restore", snapshot, "--to-cluster", "--json")
        report.check(outcome.code == 0, "it is restored onto a device that the driver makes", str(outcome))
        disk = os.path.join(driver.folder(namespace, "raw"), cluster_csi.Store.DISK)
        report.check(sha256(disk, size) == digest, "which holds the same bytes")
        runs(api, namespace)
        report.check(True, "the restored workload runs")
        gone(api, namespace)


def by_hand(report, becalm, snapshot, namespace, devices, size, digest):
    """Onto a device without a cluster, which nobody has allowed to be overwritten, that is held, and that is free."""
    target = devices["target"]
    target.write(0, bytes(target.size))
    arguments = ("restore", snapshot, "--from", f"volumes/{namespace}/raw", "--target", target.path, "--json")
    outcome = becalm.run(*arguments)
    report.check(outcome.code == 1 and target.digest() == hashlib.sha256(bytes(target.size)).hexdigest(),
                 "a device is not overwritten unless somebody says so", str(outcome))
    held = os.open(target.path, os.O_RDONLY | os.O_EXCL)
    outcome = becalm.run(*arguments, "--overwrite", "always")
    os.close(held)
    report.check(outcome.code == 1 and b"--force" in outcome.out + outcome.err, "nor one that something holds", str(outcome))
    outcome = becalm.run(*arguments, "--overwrite", "if-changed", "--verify")
    report.check(outcome.code == 0 and outcome.summary.get("verified") == 1, "it is restored by hand and read back", str(outcome))
    report.check(target.digest(size) == digest, "it holds the same bytes then")
    written = outcome.summary.get("bytes_written", 0)
    report.check(0 < written < size, "zeros are not written where there are zeros", f"{written} of {size}")
    outcome = becalm.run(*arguments, "--resume")
    report.check(outcome.summary.get("bytes_written") == 0, "a second run writes nothing", str(outcome))
    killed_midway(report, becalm, arguments, target, size, digest)
    stored = [becalm.run("backup", target.path, "--json").summary for _ in range(2)]
    report.check(stored[1].get("bytes_new", 1 << 40) < 1 << 17 < stored[0].get("bytes", 0),
                 "a device is backed up by hand, and a second time for nothing", str(stored))


def killed_midway(report, becalm, arguments, target, size, digest):
    """A restore that is killed when a part of it has reached the device goes on from there."""
    target.write(0, b"\xff" * size)
    before = target.written()
    process = becalm.start(*arguments, "--overwrite", "always")
    cluster.wait("a part of it is on the device", lambda: target.written() > before + 8 * MEBIBYTE or process.poll() is not None, 60, every=0.001)
    process.kill()
    becalm.finish(process)
    report.check(process.returncode == -9 and target.digest(size) != digest, "a restore is killed midway", str(process.returncode))
    outcome = becalm.run(*arguments, "--resume", "--verify")
    report.check(target.digest(size) == digest, "and goes on to the same bytes", str(outcome))
    report.check(0 < outcome.summary.get("bytes_written", 0) < size, "without writing again what was there", str(outcome))


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default="local,csi", help="local volumes, volumes of a CSI driver")
    parser.add_argument("--mebibytes", type=int, default=48, help="size of the device")
    options = parser.parse_args()
    report = harness.Report("cluster-block")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("a block device in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here or os.geteuid() != 0 or not shutil.which("losetup"):
            report.skip("a block device in a cluster", "its node is another machine, or there is no root or no losetup to make one")
            harness.finish(report)
        place.load_command(report)
        shutil.rmtree(PLACE, ignore_errors=True)
        os.makedirs(PLACE)
        devices = {}
        try:
            with cluster.repository(place, scratch) as becalm:
                parts = options.parts.split(",")
                if "local" in parts:
                    journey(place, report, scratch, becalm, options, devices)
                try:
                    if "csi" in parts:
                        snapshots(place, report, becalm, options)
                except cluster_csi.NoDriver as reason:
                    report.skip("a block device of a CSI driver", str(reason))
        finally:
            for device in devices.values():
                device.remove()
            place.api.delete(CLASSES, None, CLASS)
            shutil.rmtree(PLACE, ignore_errors=True)
    harness.finish(report)


if __name__ == "__main__":
    main()
