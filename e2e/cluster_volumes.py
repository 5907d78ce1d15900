#!/usr/bin/env python3
"""One very large shared volume, read by several movers side by side, and by one: the snapshots hold the same tree.

A Deployment mounts a ReadWriteMany claim with a tree of files, links, checkpoints and odd names. `becalm backup --workload` takes
it with one mover and with three; `becalm diff` may find no difference below `volumes/`, and what comes back must be what is
on the volume. Then the restore goes into another namespace, and its volume is compared file by file.
"""

import os
import shutil

import cluster
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


def back_up(report, becalm, namespace, shards):
    outcome = becalm.run(
        "backup", "--workload", f"{namespace}/deployment/server", "--json", "--shards", str(shards), "--consistency", "pause")
    report.check(outcome.code == 0, f"{shards} movers make one snapshot", str(outcome))
    return outcome.summary.get("snapshot")


def below_volumes(becalm, one, other):
    outcome = becalm.must("diff", one, other, "--json", codes=(0, 1))
    return [line for line in outcome.objects if str(line.get("path", "")).startswith("volumes")]


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
    os.link(os.path.join(source, "model.safetensors"), os.path.join(source, "linked.safetensors"))
    with place.scope("volumes") as namespace, place.scope("volumes-to") as other:
        create(place, namespace, source)
        single, several = back_up(report, becalm, namespace, 1), back_up(report, becalm, namespace, 3)
        if not single or not several:
            return
        report.equal(below_volumes(becalm, single, several), "three movers' snapshot holds what one mover's holds")
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
