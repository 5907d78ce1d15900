#!/usr/bin/env python3
"""One very large shared volume, read by several movers side by side, and by one: the snapshots hold the same tree.

A Deployment mounts a ReadWriteMany claim with a tree of files, links, checkpoints and odd names. `becalm backup --workload` takes
it with one mover and with three; `becalm diff` may find no difference below `volumes/`, and what comes back must be what is
on the volume. Then the restore goes into another namespace, and its volume is compared file by file.

The three are pods of one Indexed Job where the server has such, and of a Job each where it has not. An older server is asked twice: as
it is, and through `cluster_indexed.py`, which has them. Of an Indexed Job a pod is deleted in the middle of its work, too.
"""

import contextlib
import os
import shutil
import signal
import threading

import cluster
import cluster_indexed
import compare
import harness
import trees

VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
DEPLOYMENTS = cluster.DEPLOYMENTS
PLACE = "/tmp/hostpath_pv/becalm-e2e-shared"


def volume(name, path):
    return VOLUMES.object(None, name, spec={
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "becalm-e2e-shared",
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": path}})


def create(place, namespace, path):
    api = place.api
    api.create(VOLUMES, volume(namespace, path))
    api.create(cluster.CLAIMS, cluster.CLAIMS.object(namespace, "shared", spec={
        "accessModes": ["ReadWriteMany"], "storageClassName": "becalm-e2e-shared", "volumeName": namespace,
        "resources": {"requests": {"storage": "1Gi"}}}))
    template = cluster.pod_template(namespace, labels={"app": "server"}, claim="shared", grace=2)
    api.create(DEPLOYMENTS, DEPLOYMENTS.object(namespace, "server", spec={
        "replicas": 2, "selector": {"matchLabels": {"app": "server"}}, "template": template}))
    cluster.wait("the server runs", lambda: api.get(DEPLOYMENTS, namespace, "server")["status"].get("readyReplicas") == 2, 120)


def back_up(report, becalm, namespace, shards, what="", extra=None):
    outcome = becalm.run(
        "backup", "--workload", f"{namespace}/deployment/server", "--json", "--shards", str(shards), "--consistency", "pause", extra=extra)
    report.check(outcome.code == 0, f"{shards} movers{what} make one snapshot", str(outcome))
    return outcome.summary.get("snapshot")


class Movers:
    """The Jobs and pods of movers that come into being in a namespace, and the end of each pod."""

    def __init__(self, api, namespace, then=None):
        self.api, self.namespace, self.then = api, namespace, then
        self.jobs, self.pods, self.deleted = {}, {}, None
        self.stopping = False

    def __enter__(self):
        for resource, take in ((cluster.JOBS, self.take_job), (cluster.PODS, self.take_pod)):
            version = self.api.request("GET", resource.path())["metadata"]["resourceVersion"]
            threading.Thread(target=self.follow, args=(resource, version, take), daemon=True).start()
        return self

    def __exit__(self, kind, value, trace):
        self.stopping = True

    def follow(self, resource, version, take):
        for event in self.api.watch(resource, version, 600):
            if self.stopping:
                return
            body = event["object"]
            if event["type"] in ("ADDED", "MODIFIED", "DELETED") and body["metadata"]["namespace"] == self.namespace \
                    and any(word in body["metadata"]["name"] for word in ("-backup-", "-share")):
                take(body)

    def take_job(self, body):
        self.jobs[body["metadata"]["name"]] = body

    def take_pod(self, body):
        self.pods[body["metadata"]["uid"]] = body
        if self.then:
            self.then(body)

    def index(self, body):
        return (body["metadata"].get("annotations") or {}).get(cluster_indexed.INDEX)

    def delete_running(self, index, store):
        """Has the first pod of an index deleted when it runs. The store does not answer from when the pod has its node until
        then: a quick one would have come to its end before anybody saw it run."""
        def delete(name):
            self.api.delete(cluster.PODS, self.namespace, name, grace=0)
            store.process.send_signal(signal.SIGCONT)

        def strike(body):
            if self.deleted is not None or self.index(body) != index:
                return
            if body["status"].get("phase") == "Running":
                self.deleted = body["metadata"]["uid"]
                threading.Thread(target=delete, args=(body["metadata"]["name"],)).start()
            elif body["spec"].get("nodeName"):
                store.process.send_signal(signal.SIGSTOP)
        self.then = strike


def below_volumes(becalm, one, other):
    outcome = becalm.must("diff", one, other, "--json", codes=(0, 1))
    return [line for line in outcome.objects if str(line.get("path", "")).startswith("volumes")]


@contextlib.contextmanager
def indexed_server(place, scratch):
    """The environment of a command whose server has Indexed Jobs."""
    if place.minor >= 22:
        yield None
        return
    with cluster_indexed.Server(place.configuration) as server:
        yield {"KUBECONFIG": place.configuration.write(os.path.join(scratch, "indexed.kubeconfig"), server=server.address)}
    if server.controller.errors:
        raise harness.Unexpected(f"the controller of Indexed Jobs: {server.controller.errors[:3]}")


def indexed(place, report, becalm, store, namespace, single, extra):
    """The pods of one Indexed Job: undisturbed, and with one of them deleted while it works. Answers the first's snapshot."""
    with Movers(place.api, namespace) as movers:
        several = back_up(report, becalm, namespace, 3, " of one Indexed Job", extra)
    report.check(len(movers.jobs) == 1, "it is one Job", ", ".join(movers.jobs))
    indexes = sorted(str(movers.index(pod)) for pod in movers.pods.values())
    report.check(indexes == ["0", "1", "2"], "each share has a pod", ", ".join(indexes))
    if several:
        report.equal(below_volumes(becalm, single, several), "three movers' snapshot holds what one mover's holds")
    movers = Movers(place.api, namespace)
    movers.delete_running("1", store)
    try:
        with movers:
            disturbed = back_up(report, becalm, namespace, 3, ", one of them deleted midway,", extra)
    finally:
        store.process.send_signal(signal.SIGCONT)
    again = [body for body in movers.pods.values() if movers.index(body) == "1"]
    report.check(len(again) > 1, "the pod that was deleted has a successor of its index", f"{len(again)}")
    ended = [body["status"].get("phase") for body in again if body["metadata"]["uid"] == movers.deleted]
    report.check(ended and ended[0] != "Succeeded", "it had not come to its end", str(ended))
    report.check(len(movers.jobs) == 1, "it is one Job still", ", ".join(movers.jobs))
    if disturbed:
        report.equal(below_volumes(becalm, single, disturbed), "that snapshot holds what one mover's holds")
    left = [job["metadata"]["name"] for job in place.api.list(cluster.JOBS, namespace)]
    report.equal(left, "no Job stays")
    snapshots = len(becalm.snapshots())
    report.check(snapshots == 3 + (place.minor < 22), "no part stays", f"{snapshots} snapshots")
    return several


def journey(place, report, scratch, becalm, options):
    shutil.rmtree(PLACE, ignore_errors=True)
    source, target = os.path.join(PLACE, "source"), os.path.join(PLACE, "target")
    os.makedirs(target, exist_ok=True)
    os.makedirs(source)
    trees.small_files(os.path.join(source, "small"), 600, options.seed)
    trees.awkward(os.path.join(source, "awkward"), options.seed)
    # What only CAP_SYS_ADMIN reads, which movers do not have.
    for folder, folders, files in os.walk(source):
        for name in folders + files:
            path = os.path.join(folder, name)
            for attribute in os.listxattr(path, follow_symlinks=False):
                if attribute.startswith("trusted."):
                    os.removexattr(path, attribute, follow_symlinks=False)
    trees.model_file(os.path.join(source, "model.safetensors"), options.seed)
    # So that every share takes a while.
    os.makedirs(os.path.join(source, "large"))
    for number in range(12):
        trees.big_file(os.path.join(source, "large", f"{number}.bin"), 6 << 20, options.seed + number)
    os.link(os.path.join(source, "model.safetensors"), os.path.join(source, "linked.safetensors"))
    with place.scope("volumes") as namespace, place.scope("volumes-to") as other:
        create(place, namespace, source)
        single = back_up(report, becalm, namespace, 1)
        if not single:
            return
        if place.minor < 22:
            with Movers(place.api, namespace) as movers:
                apart = back_up(report, becalm, namespace, 3, " of a Job each")
            report.check(len(movers.jobs) == 3, "a server without Indexed Jobs has a Job for each", ", ".join(movers.jobs))
            if apart:
                report.equal(below_volumes(becalm, single, apart), "their snapshot holds what one mover's holds")
        with indexed_server(place, scratch) as extra:
            several = indexed(place, report, becalm, becalm.store, namespace, single, extra)
        if not several:
            return
        back = os.path.join(scratch, "back")
        becalm.restore(several, back, "--from", f"volumes/{namespace}/shared", "--verify")
        report.equal(compare.differences(compare.describe(source), compare.describe(back), sockets=False), "what comes back is what is on the volume")
        place.api.create(VOLUMES, volume(other, target))
        outcome = becalm.run(
            "restore", several, "--to-cluster", "--json", "--namespace-mapping", f"{namespace}:{other}", "--storage-class",
            "becalm-e2e-shared:becalm-e2e-shared")
        report.check(outcome.code == 0, "it is restored into another namespace", str(outcome))
        report.equal(compare.differences(compare.describe(source), compare.describe(target), sockets=False), "the restored volume holds the same tree")
        cluster.wait("the restored server runs",
                     lambda: place.api.get(DEPLOYMENTS, other, "server")["status"].get("readyReplicas") == 2, 120)
        place.api.delete(VOLUMES, None, namespace)
        place.api.delete(VOLUMES, None, other)
    shutil.rmtree(PLACE, ignore_errors=True)


def main():
    options = harness.arguments(__doc__).parse_args()
    report = harness.Report("cluster-volumes")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("a shared volume in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here:
            report.skip("a shared volume in a cluster", "its node is another machine")
            harness.finish(report)
        place.load_command(report)
        with cluster.repository(place, scratch) as becalm:
            journey(place, report, scratch, becalm, options)
    harness.finish(report)


if __name__ == "__main__":
    main()
