#!/usr/bin/env python3
"""Velero's plugin with a CSI driver: a pod's three claims, one of them a block device, through the item actions, as Velero calls them.

The driver is that of `cluster_csi.py`, whose class makes volumes for the first pod that wants them and whose snapshots take a
while to be ready; the host and what a Velero server does around the plugin are those of `cluster_velero.py`.

  copies    what is held is let go when the snapshots are cut; what is written from then on is not in the backup; the namespace is
            deleted and restored: no volume is made before all of the workload is there, the first mover has those of the pod made
            together, the bytes are those of the cut, and the workload runs once all claims are whole
  cancel    a restore that is cancelled before its movers begin, and one whose movers wait, leave nothing running

Needs what both scripts need.
"""

import hashlib
import os
import time

import cluster
import cluster_block
import cluster_csi
import cluster_kinds
import cluster_velero
import harness
import servers
import velero_go_host
import velero_plugin as velero
from cluster import CLAIMS, JOBS, NAMESPACES, PODS, STATEFULSETS, wait
from cluster_velero import Backup, Restore

PARTS = ("copies", "cancel")
NAME, FILES, DEVICE = "keeper", ("data", "logs"), "raw"
MOVERS, BEGINS = "becalm.io/run", "becalm.io/restore-begins"
READY_SECONDS = 10
MEBIBYTE = 1 << 20


class Keeper:
    """A StatefulSet of one pod that has the claims, with random bytes in each."""

    def __init__(self, bench, driver, namespace):
        self.bench, self.api, self.driver, self.namespace = bench, bench.api, driver, namespace
        self.size = bench.options.mebibytes * MEBIBYTE

    def create(self):
        traces = os.path.join(cluster.TRACES, self.namespace)
        os.makedirs(traces, exist_ok=True)
        cluster_block.pattern(os.path.join(traces, "pattern"), self.size, 11)
        for name in (*FILES, DEVICE):
            self.api.create(CLAIMS, CLAIMS.object(self.namespace, name, spec={
                "accessModes": ["ReadWriteOnce"], "volumeMode": "Block" if name == DEVICE else "Filesystem",
                "storageClassName": cluster_csi.CLASS, "resources": {"requests": {"storage": str(self.size)}}}))
            self.api.patch(CLAIMS, self.namespace, name, {"metadata": {"annotations": {"becalm.io/volume-backup": "true"}}})
        template = cluster.pod_template(
            self.namespace, linger=0, grace=2, labels={"app": NAME}, command=["sh", "-c", cluster_block.COMMAND])
        spec, container = template["spec"], template["spec"]["containers"][0]
        spec["volumes"] += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in (*FILES, DEVICE)]
        spec["nodeSelector"] = {"kubernetes.io/os": "linux"}
        container["volumeMounts"] += [{"name": name, "mountPath": f"/{name}"} for name in FILES]
        container["volumeDevices"] = [{"name": DEVICE, "devicePath": "/dev/raw"}]
        body = STATEFULSETS.object(self.namespace, NAME, spec={
            "replicas": 1, "serviceName": NAME, "selector": {"matchLabels": {"app": NAME}}, "template": template})
        body["metadata"]["annotations"] = {"becalm.io/consistency": "pause"}
        self.api.create(STATEFULSETS, body)
        self.wait_running("it runs")
        wait("the pattern is on the device", lambda: os.path.exists(os.path.join(traces, "written")), 120)
        for name in FILES:
            self.write(name)

    def write(self, name):
        with open(os.path.join(self.driver.folder(self.namespace, name), "bytes"), "wb") as stream:
            stream.write(os.urandom(self.size))
            stream.flush()
            os.fsync(stream.fileno())

    def digests(self):
        """Of what is in each claim."""
        found = {}
        for name in FILES:
            with open(os.path.join(self.driver.folder(self.namespace, name), "bytes"), "rb") as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        disk = os.path.join(self.driver.folder(self.namespace, DEVICE), cluster_csi.Store.DISK)
        found[DEVICE] = cluster_block.sha256(disk, self.size)
        return found

    def is_running(self):
        pods = self.api.list(PODS, self.namespace, "!" + MOVERS)
        return any(p["status"].get("phase") == "Running" and "deletionTimestamp" not in p["metadata"] for p in pods)

    def wait_running(self, what):
        wait(what, self.is_running, 180)

    def claims(self):
        return {c["metadata"]["name"]: c for c in self.api.list(CLAIMS, self.namespace) if MOVERS not in c["metadata"].get("labels", {})}

    def movers(self):
        """Claims that each mover's pods name, the mounted one first, by the mounted one."""
        found = {}
        for job in self.api.list(JOBS, self.namespace, MOVERS):
            names = [v["persistentVolumeClaim"]["claimName"] for v in job["spec"]["template"]["spec"]["volumes"]
                     if "persistentVolumeClaim" in v]
            found[names[0]] = names
        return found


def stored(bench, keeper):
    """A backup of it, and the digests of what was in its claims when it stood still."""
    report = bench.report
    before = keeper.digests()
    backup = Backup(bench.server, keeper.namespace)
    began = time.monotonic()
    backup.take()
    hold = next(o for o in backup.operations if o.action == "becalm.io/quiesce")
    moves = [o for o in backup.operations if o.action == "becalm.io/volume-backup"]
    report.check(len(moves) == 3, "copies: an operation for each claim", str([o.identifier for o in backup.operations]))

    def let_go():
        backup.poll()
        return hold.completed
    wait("it is let go", let_go, 120, 0.2)
    pause = time.monotonic() - began
    report.check(not any(o.completed for o in moves), "copies: it is let go when the snapshots are cut, before anything is stored",
                 str([(o.identifier, o.error) for o in moves if o.completed]))
    keeper.wait_running("copies: it runs again")
    for name in FILES:
        keeper.write(name)
    backup.wait()
    report.equal([o.error for o in backup.operations if o.error], "copies: every operation succeeds")
    report.say(f"copies: let go after {pause:.1f} s, stored after {time.monotonic() - began:.1f} s; {hold.said}")
    backup.finalize()
    bench.leftovers(keeper.namespace, "copies")
    report.equal([n for n in keeper.driver.store.names() if n.startswith("snapshots/")], "copies: no snapshot of the driver stays")
    report.check(before != keeper.digests(), "copies: what was written since is another thing")
    return backup, before


def begin_again(bench, namespace):
    cluster_velero.lose(bench, namespace)
    bench.api.create(NAMESPACES, NAMESPACES.object(None, namespace) | {"metadata": {
        "name": namespace, "labels": {cluster.CONFIGURATION: "run"}}})
    wait("the namespace has an account", lambda: bench.api.find(cluster.ACCOUNTS, namespace, "default"))


def copies(bench, driver):
    report, api = bench.report, bench.api
    driver.behave(ready_seconds=READY_SECONDS)
    with bench.place.scope("velero-copies") as namespace:
        keeper = Keeper(bench, driver, namespace)
        keeper.create()
        backup, digests = stored(bench, keeper)
        begin_again(bench, namespace)
        restore = Restore(bench.server, backup)
        restore.run()
        waiting = {name: claim for name, claim in keeper.claims().items()
                   if BEGINS in claim["metadata"]["annotations"] and not claim["spec"].get("volumeName")}
        report.check(len(waiting) == 3 and not keeper.movers(), "copies: no volume is made while the restore goes on",
                     str((sorted(waiting), keeper.movers())))
        report.check(not keeper.is_running(), "copies: the restored workload waits")
        # The first one alone: until the last one is asked about, the volumes may be there.
        cluster_velero.poll(bench.server, "RestoreItemActionV2", restore.operations[:1], restore=restore.json)
        movers = keeper.movers()
        report.check([sorted(names) for names in movers.values()] == [sorted(waiting)],
                     "copies: when Velero asks, one pod has the volumes of the workload's pod made together", str(movers))
        job = api.list(JOBS, namespace, MOVERS)[0]
        report.check(job["spec"]["template"]["spec"].get("nodeSelector") == {"kubernetes.io/os": "linux"},
                     "copies: where the workload's pods can run", str(job["spec"]["template"]["spec"].get("nodeSelector")))

        def filling():
            cluster_velero.poll(bench.server, "RestoreItemActionV2", restore.operations, restore=restore.json)
            return not any(BEGINS in claim["metadata"].get("annotations", {}) for claim in keeper.claims().values())
        wait("the movers begin once the volumes are there", filling, 120, 0.2)
        report.check(all(len(names) == 1 for names in keeper.movers().values()), "copies: then each claim is filled by itself",
                     str(keeper.movers()))
        restore.wait()
        report.equal([o.error for o in restore.operations if o.error], "copies: the data is brought back")
        report.equal(sorted(name for name, claim in keeper.claims().items()
                            if {BEGINS, "becalm.io/restoring"} & set(claim["metadata"].get("annotations", {}))), "copies: every claim is whole")
        keeper.wait_running("copies: the restored workload runs")
        after = keeper.digests()
        report.check(after == digests, "copies: every claim holds what it held when the snapshots were cut", f"{digests} {after}")
        bench.leftovers(namespace, "copies restored")
        backup.delete()
        report.equal([s["id"] for s in bench.becalm.snapshots()], "copies: the data goes with the backup")
        cluster_velero.lose(bench, namespace)


def cancel(bench, driver):
    report = bench.report
    driver.behave()
    with bench.place.scope("velero-late") as namespace:
        keeper = Keeper(bench, driver, namespace)
        keeper.create()
        backup = Backup(bench.server, namespace)
        backup.take()
        backup.wait()
        backup.finalize()
        for what, polls in (("before its movers begin", 0), ("while its movers wait", 1)):
            begin_again(bench, namespace)
            restore = Restore(bench.server, backup)
            restore.run()
            for _ in range(polls):
                cluster_velero.poll(bench.server, "RestoreItemActionV2", restore.operations, restore=restore.json)
            report.check(bool(keeper.movers()) == bool(polls), f"cancelled {what}: that is when it is", str(keeper.movers()))
            for operation in restore.operations:
                bench.server.call("RestoreItemActionV2", "Cancel", operation.action, operationID=operation.identifier, restore=restore.json)
            restore.wait()
            report.check(all(o.error for o in restore.operations), f"cancelled {what}: the operations have failed",
                         str([o.error for o in restore.operations]))
            wait("no pod of movers is left", lambda: not bench.api.list(PODS, namespace, MOVERS), 120)
            report.check(not keeper.is_running(), f"cancelled {what}: the workload does not run on volumes without their data")
            bench.leftovers(namespace, f"cancelled {what}")
        backup.delete()
        cluster_velero.lose(bench, namespace)


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--mebibytes", type=int, default=48, help="of each claim")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error("--parts takes some of " + ", ".join(PARTS))
    report = harness.Report("cluster-velero-copies")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("Velero's actions with a CSI driver", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        try:
            driver = cluster_csi.Driver(place, report)
        except cluster_csi.NoDriver as reason:
            report.skip("Velero's actions with a CSI driver", str(reason))
            harness.finish(report)
        place.load_command(report)
        cluster_kinds.install(place.api, report, [cluster_velero.BACKUP, cluster_velero.RESTORE])
        program, plugin = velero_go_host.build(scratch), harness.find_plugin()
        report.say(f"testing {plugin}")
        with driver, servers.start("rclone", place.address()) as store:
            with cluster_velero.Velero(place, scratch, store, program, plugin, report) as server:
                becalm = harness.Becalm(f"s3://{server.bucket}/becalm", scratch, environment=store.environment(), swift_key=True)
                bench = cluster_velero.Bench(report, place, scratch, options, server, becalm)
                for part in parts:
                    try:
                        {"copies": copies, "cancel": cancel}[part](bench, driver)
                    except (harness.Unexpected, velero_go_host.HostFailure, cluster.Refused) as error:
                        report.check(False, part, f"{type(error).__name__}: {error}")
                report.equal(velero.log_problems(server.host.do("log")["stderr"], ("trace", "debug", "info", "warn", "error")),
                             "what it logs, a host can read")
    harness.finish(report)


if __name__ == "__main__":
    main()
