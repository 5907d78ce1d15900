#!/usr/bin/env python3
"""Claims of a pod whose storage class waits for it: they are bound together, with the room that their volumes had, and filled.

A StatefulSet has two claims of a class that binds when a pod comes (local volumes, `WaitForFirstConsumer`), and names a third one
whose data its user wants left out. It is backed up while it stands still and restored into another namespace: one pod of
Becalm's is scheduled with both claims before movers fill them, the third claim is made empty, and the pod runs.
"""

import os
import shutil

import cluster
import compare
import harness
import trees

VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
CLASSES = cluster.Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False)
EVENTS = cluster.Resource("", "v1", "events", "Event")
SETS = cluster.STATEFULSETS
PLACE = "/var/tmp/becalm-e2e-claims"
CLASS = "becalm-e2e-waits"
MARK = "becalm.io/volume-backup"


def make_volumes(api, namespace, node, size):
    """Two volumes on the node; answers where they are."""
    places = []
    for number in range(2):
        path = os.path.join(PLACE, f"{namespace}-{number}")
        os.makedirs(path)
        places.append(path)
        api.create(VOLUMES, VOLUMES.object(None, f"{namespace}-{number}", spec={
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain", "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}))
    return places


def create(api, namespace):
    api.create(cluster.CLAIMS, {**cluster.CLAIMS.object(namespace, "cache", spec={
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
        "metadata": {"name": "cache", "namespace": namespace, "annotations": {MARK: "false"}}})
    template = cluster.pod_template(namespace, labels={"app": "web"}, claim="cache", grace=2)
    template["spec"]["containers"][0]["volumeMounts"] += [
        {"name": name, "mountPath": f"/{name}-mount"} for name in ("data", "logs")]
    # The claim that it names is called otherwise in the pod than those that are made for it.
    template["spec"]["volumes"][1]["name"] = "cache"
    template["spec"]["containers"][0]["volumeMounts"][1]["name"] = "cache"
    api.create(SETS, SETS.object(namespace, "web", spec={
        "replicas": 1, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS, "resources": {"requests": {"storage": "1Gi"}}}}
            for name in ("data", "logs")]}))
    cluster.wait("the pod runs", lambda: api.get(SETS, namespace, "web")["status"].get("readyReplicas") == 1, 120)


def place_of(api, namespace, claim):
    """Where a claim's data is on the node, its volume's place."""
    name = api.get(cluster.CLAIMS, namespace, claim)["spec"]["volumeName"]
    return api.get(VOLUMES, None, name)["spec"]["local"]["path"]


def journey(place, report, becalm, options):
    api = place.api
    shutil.rmtree(PLACE, ignore_errors=True)
    node = api.list(cluster.NODES)[0]["metadata"]["labels"]["kubernetes.io/hostname"]
    if not api.find(CLASSES, None, CLASS):
        api.create(CLASSES, {**CLASSES.object(None, CLASS), "provisioner": "kubernetes.io/no-provisioner",
                             "volumeBindingMode": "WaitForFirstConsumer"})
    with place.scope("claims") as namespace, place.scope("claims-to") as other:
        make_volumes(api, namespace, node, "2Gi")
        create(api, namespace)
        places = {claim: place_of(api, namespace, claim) for claim in ("data-web-0", "logs-web-0")}
        trees.small_files(os.path.join(places["data-web-0"], "small"), 100, options.seed)
        trees.small_files(os.path.join(places["logs-web-0"], "logs"), 50, options.seed + 1)
        outcome = becalm.run("backup", "--workload", f"{namespace}/statefulset/web", "--json", "--consistency", "pause")
        report.check(outcome.code == 0, "it is backed up", str(outcome))
        report.check(outcome.summary.get("volumes") == ["data-web-0", "logs-web-0"],
                     "the claim that its user wants left out is not in it", str(outcome))
        report.check(MARK.encode() in outcome.out + outcome.err, "it is said that it is left out", str(outcome))
        snapshot = outcome.summary.get("snapshot")

        make_volumes(api, other, node, "3Gi")
        outcome = becalm.run("restore", snapshot, "--to-cluster", "--json", "--namespace-mapping", f"{namespace}:{other}")
        report.check(outcome.code == 0, "it is restored into another namespace", str(outcome))
        for claim, source in places.items():
            stored = api.get(cluster.CLAIMS, other, claim)
            report.check(stored["spec"]["resources"]["requests"]["storage"] == "2Gi", f"{claim} asks for what its volume had", str(stored))
            report.check("becalm.io/restoring" not in stored["metadata"].get("annotations", {}), f"{claim} is whole", str(stored))
            report.equal(
                compare.differences(compare.describe(source), compare.describe(place_of(api, other, claim)), sockets=False),
                f"{claim} holds the same")
        report.check(api.find(cluster.CLAIMS, other, "cache") is not None, "the claim that was left out is there")
        report.check(b"is empty" in outcome.out + outcome.err, "it is said that it is empty", str(outcome))
        pods = [event["involvedObject"]["name"] for event in api.list(EVENTS, other) if event.get("reason") == "Scheduled"]
        kinds = sorted(name.split("-")[2] for name in pods if name.startswith("becalm-"))
        report.check(kinds == ["inspect", "restore", "restore"],
                     "one pod was scheduled with both claims before each was filled", str(pods))
        cluster.wait("the restored pod runs", lambda: api.get(SETS, other, "web")["status"].get("readyReplicas") == 1, 120)
        report.check(True, "the restored pod runs")
        left = api.list(cluster.LEASES, other) + api.list(cluster.JOBS, other) + api.list(cluster.SECRETS, other, labels="becalm.io/run")
        report.equal([item["metadata"]["name"] for item in left], "nothing of the movers is left")
    for namespace in (namespace, other):
        for number in range(2):
            api.delete(VOLUMES, None, f"{namespace}-{number}")
    api.delete(CLASSES, None, CLASS)
    shutil.rmtree(PLACE, ignore_errors=True)


def main():
    options = harness.arguments(__doc__).parse_args()
    report = harness.Report("cluster-claims")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("claims that wait for a pod in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here:
            report.skip("claims that wait for a pod in a cluster", "its node is another machine")
            harness.finish(report)
        place.load_command(report)
        with cluster.repository(place, scratch) as becalm:
            journey(place, report, becalm, options)
    harness.finish(report)


if __name__ == "__main__":
    main()
