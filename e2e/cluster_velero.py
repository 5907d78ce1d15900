#!/usr/bin/env python3
"""Velero's plugin in a real cluster: a training Job and its volume through the item actions, as a Velero server calls them.

The Go host runs the plugin; this script does what Velero's server does around it, by velero/pkg/backup and pkg/restore of 1.18:
collects a namespace's items, pods, claims and volumes first, puts them into blocks, runs the actions that apply to each in
their order, polls the operations that they begin, and runs the actions once more on what the operations name. A restore goes
in Velero's order, with an item's metadata reset. What it leaves out are Velero's own actions.

  training  a Job that trains with PyTorch is held, stored, let go; its namespace is deleted and restored, and the restored Job
            ends with the weights and the optimizer of a run that nobody interrupted
  cancel    Cancel stops the Job that moves the data, and lets go what was held
  deadline  a workload whose volumes take longer than its deadline is let go, and the backup says so
  spoilers  what needs running pods keeps a workload from being stopped; a workload that cannot be stopped is in the backup

Needs Go, as velero_go_host.py does; the plugin under test is BECALM_PLUGIN or the newest build.
"""

import base64
import copy
import json
import os
import random
import threading
import time

import cluster
import cluster_kinds
import cluster_training
import container_image
import harness
import servers
import torchpython
import velero_go_host
import velero_plugin as velero
from cluster import CLAIMS, JOBS, LEASES, NAMESPACES, PODS, SECRETS, wait

PARTS = ("training", "cancel", "held", "deadline", "spoilers")
CONFIG_MAPS, VOLUMES = cluster_training.CONFIG_MAPS, cluster_training.VOLUMES
# In the order in which Velero collects and restores.
COLLECTED = (PODS, CLAIMS, VOLUMES, CONFIG_MAPS, JOBS, cluster.STATEFULSETS)
RESTORED = (CLAIMS, CONFIG_MAPS, PODS, JOBS, cluster.STATEFULSETS)
BACKUP = cluster_kinds.Definition("velero.io", "v1", "backups", "Backup")
RESTORE = cluster_kinds.Definition("velero.io", "v1", "restores", "Restore")
EXCLUDED = "velero.io/exclude-from-backup"
RESET = ("generateName", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
         "deletionGracePeriodSeconds", "ownerReferences", "managedFields")


def encoded(item):
    return base64.b64encode(velero.encode(item)).decode()


def decoded(text):
    return json.loads(base64.b64decode(text))


class Server:
    """What a Velero server does, on the Go host."""

    def __init__(self, report, place, host, namespace):
        self.report, self.place, self.api, self.host, self.namespace = report, place, place.api, host, namespace
        self.selectors = {}
        for kind in ("ItemBlockAction", "BackupItemActionV2", "RestoreItemActionV2", "DeleteItemAction"):
            for name in velero.NAMES[kind]:
                answer = self.call(kind, "AppliesTo", name)
                self.selectors[kind, name] = answer["ResourceSelector"]["includedResources"]

    def call(self, kind, method, name, **request):
        answer = self.host.call(kind, method, plugin=name, **request)
        if answer.error:
            raise harness.Unexpected(f"{name}.{method}: {answer.error['message']}")
        return answer.response

    def actions(self, kind, resource):
        """The actions for a resource, in the order of the plugin's list."""
        return [name for name in velero.NAMES[kind] if {resource.plural, resource.name} & set(self.selectors[kind, name])]

    def run(self, definition, **spec):
        """A Backup or Restore in the cluster, in progress."""
        resource = definition.resource
        body = resource.object(self.namespace, cluster.random_name(resource.kind.lower()), spec={
            "itemOperationTimeout": "4h0m0s", **spec})
        return {**self.api.create(resource, body), "status": {"phase": "InProgress"}}


class Operation:
    def __init__(self, action, identifier, after):
        self.action, self.identifier, self.after = action, identifier, after
        self.completed, self.error, self.seen, self.said = False, "", [], ""


class Backup:
    """One backup: `items` is the tarball."""

    def __init__(self, server, namespace, **spec):
        self.server, self.api, self.namespace = server, server.api, namespace
        self.body = server.run(BACKUP, includedNamespaces=[namespace], storageLocation="default", **spec)
        self.items, self.operations = {}, []
        # The pods that may run at the moment when Velero's own action would cut a CSI snapshot of a claim, by claim.
        self.at_cut = {}

    @property
    def json(self):
        return encoded(self.body)

    def collect(self):
        found = {}
        for resource in COLLECTED:
            for item in self.api.list(resource, self.namespace if resource.namespaced else None):
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                if item["metadata"].get("labels", {}).get(EXCLUDED) != "true" and "deletionTimestamp" not in item["metadata"]:
                    found[self.key(resource, item)] = item
        volumes = {c["spec"].get("volumeName") for (r, *_), c in found.items() if r == CLAIMS.name}
        return {key: item for key, item in found.items() if key[0] != VOLUMES.name or key[2] in volumes}

    @staticmethod
    def key(resource, item):
        return (resource.name, item["metadata"].get("namespace", ""), item["metadata"]["name"])

    def take(self):
        """The pass over all items."""
        collected = self.collect()
        for key in list(collected):
            for member in self.block(key, collected):
                self.back_up(member, collected)
        self.body["status"]["phase"] = "WaitingForPluginOperations"

    def block(self, seed, collected):
        """An item and what item block actions say belongs to it, and to that, …"""
        members, ahead = [], [seed]
        while ahead:
            key = ahead.pop(0)
            if key in members or key in self.items or key not in collected:
                continue
            members.append(key)
            for name in self.server.actions("ItemBlockAction", resource_named(key[0])):
                answer = self.server.call("ItemBlockAction", "GetRelatedItems", name, item=encoded(collected[key]), backup=self.json)
                ahead += [identified(one) for one in answer["relatedItems"]]
        return members

    def back_up(self, key, collected):
        if key in self.items or key not in collected:
            return
        self.items[key] = collected[key]
        self.items[key] = self.act(key, collected[key], collected)

    def act(self, key, item, collected):
        # Velero's own actions come first: a pod's claims are backed up next, and snapshots of claims are cut.
        if key[0] == PODS.name:
            for volume in item["spec"].get("volumes") or []:
                if "persistentVolumeClaim" in volume:
                    self.back_up((CLAIMS.name, key[1], volume["persistentVolumeClaim"]["claimName"]), collected)
        if key[0] == CLAIMS.name and collected:
            self.at_cut[key[2]] = [p["metadata"]["name"] for p in pods_of(self.api, key[1]) if cluster.runs(p)]
        for name in self.server.actions("BackupItemActionV2", resource_named(key[0])):
            answer = self.server.call("BackupItemActionV2", "Execute", name, item=encoded(item), backup=self.json)
            item = decoded(answer["item"])
            if answer.get("operationID"):
                after = [identified(one) for one in answer.get("postOperationItems") or []]
                self.operations.append(Operation(name, answer["operationID"], after))
            for one in answer.get("additionalItems") or []:
                self.back_up(identified(one), collected)
        return item

    def poll(self):
        """One round over the operations that have not ended; whether any is left."""
        poll(self.server, "BackupItemActionV2", self.operations, backup=self.json)
        return [operation for operation in self.operations if not operation.completed]

    def wait(self, seconds=900, every=0.3):
        wait("the backup's operations end", lambda: not self.poll(), seconds, every)

    def finalize(self):
        """The pass over what operations name, as it is in the cluster then."""
        self.body["status"]["phase"] = "Finalizing"
        for key in {key for operation in self.operations for key in operation.after}:
            resource = resource_named(key[0])
            item = self.api.find(resource, key[1] or None, key[2])
            if item:
                before = len(self.operations)
                self.items[key] = self.act(key, item, {})
                self.server.report.check(len(self.operations) == before, f"nothing begins for {key[2]} when the backup ends")
        self.body["status"]["phase"] = "Completed"

    def cancel(self):
        for operation in self.operations:
            self.server.call("BackupItemActionV2", "Cancel", operation.action, operationID=operation.identifier, backup=self.json)

    def delete(self):
        """What Velero asks when the backup is deleted."""
        for key, item in self.items.items():
            for name in self.server.actions("DeleteItemAction", resource_named(key[0])):
                self.server.call("DeleteItemAction", "Execute", name, item=encoded(item), backup=self.json)


class Restore:
    """A restore of a backup, into other namespaces where `mapping` says so."""

    def __init__(self, server, backup, mapping=None, resources=RESTORED):
        self.server, self.api, self.backup, self.mapping, self.resources = server, server.api, backup, mapping or {}, resources
        self.body = server.run(
            RESTORE, backupName=backup.body["metadata"]["name"], includedNamespaces=["*"],
            excludedResources=["nodes", "events", "restores.velero.io"], **({"namespaceMapping": mapping} if mapping else {}))
        self.operations, self.created, self.skipped = [], [], []

    @property
    def json(self):
        return encoded(self.body)

    def run(self):
        for resource in self.resources:
            for key, stored in self.backup.items.items():
                if key[0] == resource.name:
                    self.restore(resource, key, stored)
        self.body["status"]["phase"] = "WaitingForPluginOperations"

    def restore(self, resource, key, stored):
        item = copy.deepcopy(stored)
        for name in RESET:
            item["metadata"].pop(name, None)
        item.pop("status", None)
        for name in self.server.actions("RestoreItemActionV2", resource):
            answer = self.server.call("RestoreItemActionV2", "Execute", name, item=encoded(item), itemFromBackup=encoded(stored),
                                      restore=self.json)
            if answer.get("skipRestore"):
                self.skipped.append(key)
                return
            item = decoded(answer["item"])
            if answer.get("operationID"):
                self.operations.append(Operation(name, answer["operationID"], []))
        if resource is CLAIMS:
            # Its volume is made anew.
            item["spec"].pop("volumeName", None)
            for name in ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"):
                item["metadata"].get("annotations", {}).pop(name, None)
        item["metadata"]["namespace"] = self.mapping.get(key[1], key[1])
        item["metadata"].setdefault("labels", {}).update({
            "velero.io/backup-name": self.body["spec"]["backupName"], "velero.io/restore-name": self.body["metadata"]["name"]})
        if resource is CONFIG_MAPS and key[2] == "kube-root-ca.crt":
            return
        self.api.create(resource, item)
        self.created.append(key)

    def poll(self):
        """One round over the operations that have not ended; whether any is left."""
        poll(self.server, "RestoreItemActionV2", self.operations, restore=self.json)
        return [operation for operation in self.operations if not operation.completed]

    def wait(self, seconds=900):
        wait("the restore's operations end", lambda: not self.poll(), seconds, 0.3)

    def cancel(self):
        for operation in self.operations:
            self.server.call("RestoreItemActionV2", "Cancel", operation.action, operationID=operation.identifier, restore=self.json)


def poll(server, kind, operations, **of):
    for operation in operations:
        if operation.completed:
            continue
        progress = server.call(kind, "Progress", operation.action, operationID=operation.identifier, **of)["progress"]
        done = (int(progress.get("nCompleted") or 0), int(progress.get("nTotal") or 0))
        if not operation.seen or operation.seen[-1] != done:
            operation.seen.append(done)
        operation.completed, operation.error = bool(progress.get("completed")), progress.get("err") or ""
        operation.said = progress.get("description") or ""


NAMED = {resource.name: resource for resource in COLLECTED}
OTHERS = {}


def resource_named(name):
    if name in NAMED:
        return NAMED[name]
    plural, _, group = name.partition(".")
    return OTHERS.setdefault(name, cluster.Resource(group, "v1", plural, plural))


def identified(one):
    name = f"{one['resource']}.{one['group']}" if one.get("group") else one["resource"]
    return (name, one.get("namespace", ""), one["name"])


# ---------------------------------------------------------------- the cases

class Bench:
    """What the cases work with. `server_of` makes another server, with settings of its own."""

    def __init__(self, report, place, scratch, options, server, becalm):
        self.report, self.place, self.api, self.scratch, self.options = report, place, place.api, scratch, options
        self.server, self.becalm, self.server_of = server, becalm, None
        self.command = cluster.command(place, scratch)

    def leftovers(self, namespace, what):
        """Nothing of movers and holds stays but the Leases that are kept for whoever asks again."""
        jobs = [j["metadata"]["name"] for j in self.api.list(JOBS, namespace, "becalm.io/run")]
        secrets = [s["metadata"]["name"] for s in self.api.list(SECRETS, namespace, "becalm.io/run")]
        journals = [x["metadata"]["name"] for x in self.api.list(LEASES, namespace, "becalm.io/journal=quiesce")]
        self.report.check(not jobs and not secrets and not journals, f"{what}: no Job, Secret or journal stays",
                          str((jobs, secrets, journals)))
        slots = [x for x in self.becalm.must("key", "list", "--json").of("key") if "mover" in json.dumps(x)]
        self.report.check(not slots, f"{what}: no key of movers stays", str(slots))


def pods_of(api, namespace):
    return [pod for pod in api.list(PODS, namespace) if "becalm.io/run" not in pod["metadata"].get("labels", {})]


def training(bench, interpreter):
    report, api = bench.report, bench.api
    steps, every = bench.options.steps, 5
    whole = {}
    reference = threading.Thread(
        target=lambda: whole.update(digest=cluster_training.uninterrupted(bench.scratch, steps, every, interpreter)))
    namespace = bench.place.make_namespace("velero-train")
    try:
        run = cluster_training.Training(bench.place, namespace)
        run.create(steps, every, interpreter)
        api.patch(JOBS, namespace, cluster_training.JOB, {"metadata": {"annotations": {"becalm.io/consistency": "pause"}}})
        api.patch(CLAIMS, namespace, "ckpt", {"metadata": {"annotations": {"becalm.io/volume-backup": "true"}}})
        before = cluster.essence(api.get(JOBS, namespace, cluster_training.JOB))
        wait("two checkpoints are saved", lambda: run.saved() >= 2 * every, 300)
        backup = Backup(bench.server, namespace)
        began = time.monotonic()
        backup.take()
        took = time.monotonic() - began
        report.check({o.action for o in backup.operations} == {"becalm.io/quiesce", "becalm.io/volume-backup"},
                     "training: an operation holds the job, and one moves its data", str([o.identifier for o in backup.operations]))
        report.check(not any(cluster.runs(p) for p in pods_of(api, namespace)), "training: the job stands still while its data is taken")
        report.check(backup.at_cut == {"ckpt": []}, "training: and when a snapshot of its claim would be cut", str(backup.at_cut))
        at = run.saved()
        backup.wait()
        report.equal([o.error for o in backup.operations if o.error], "training: every operation succeeds")
        moves = next(o for o in backup.operations if o.action == "becalm.io/volume-backup").seen
        report.check(len(moves) >= 2 and moves == sorted(moves) and moves[-1][0] == moves[-1][1] > 0, "training: Progress moves", str(moves))
        report.say(f"training: {took:.1f} s for the pass over the items; Progress {moves}; "
                   f"{next(o.said for o in backup.operations if o.action == 'becalm.io/quiesce')}")
        report.equal(cluster.differences(before, cluster.essence(api.get(JOBS, namespace, cluster_training.JOB))),
                     "training: the job is what it was")
        wait("the job goes on after the backup", lambda: run.saved() > at, 300)
        backup.finalize()
        claim = backup.items[CLAIMS.name, namespace, "ckpt"]
        report.check(claim["metadata"]["annotations"].get("becalm.io/volume-snapshot", "").startswith("becalm1:"),
                     "training: the stored claim says where its data is", str(claim["metadata"]))
        captured = json.loads(backup.items[JOBS.name, namespace, cluster_training.JOB]["metadata"]["annotations"]["becalm.io/captured"])
        report.check(captured.get("hold") == "held" and captured["standing"] == "stopped", "training: the stored job says that it stood still",
                     str(captured))
        bench.leftovers(namespace, "training")
        report.check(len(bench.becalm.snapshots()) == 1, "training: one volume, one snapshot", str(bench.becalm.snapshots()))

        lose(bench, namespace)
        reference.start()
        api.create(NAMESPACES, NAMESPACES.object(None, namespace) | {"metadata": {
            "name": namespace, "labels": {cluster.CONFIGURATION: "run"}}})
        wait("the namespace has an account", lambda: api.find(cluster.ACCOUNTS, namespace, "default"))
        restore = Restore(bench.server, backup)
        restore.run()
        report.check(any(key[0] == PODS.name for key in restore.skipped) and not any(key[0] == PODS.name for key in restore.created),
                     "training: the pod that was held is not restored beside its job", str(restore.created))
        held = api.get(JOBS, namespace, cluster_training.JOB)
        report.check("becalm.io/gated" in held["metadata"].get("annotations", {}), "training: the restored job waits for its data",
                     str(held["metadata"].get("annotations")))
        restore.wait()
        report.equal([o.error for o in restore.operations if o.error], "training: the data is brought back")
        moves = [o.seen for o in restore.operations]
        report.check(len(moves) == 1 and moves[0] == sorted(moves[0]), "training: one Job brings the data back", str(moves))
        restored = cluster.essence(api.get(JOBS, namespace, cluster_training.JOB))
        report.equal(cluster.differences(before["spec"]["template"]["spec"], restored["spec"]["template"]["spec"]),
                     "training: the restored job is what it was")
        report.check("becalm.io/gated" not in restored["metadata"].get("annotations", {}), "training: and it is let go")
        digest = wait("the restored job ends", run.digest, 900)
        steps_saved = [int(line.split()[1]) for line in run.log().splitlines() if line.endswith(" saved")]
        report.check(steps_saved == sorted(set(steps_saved)), "training: no step was trained twice, from the snapshot on", str(steps_saved))
        reference.join()
        report.check(digest == whole.get("digest"), "training: it ends with the weights and the optimizer of an uninterrupted run",
                     f"{digest} and {whole.get('digest')}")
        bench.leftovers(namespace, "training restored")
        again(bench, backup, namespace)
    finally:
        if reference.is_alive():
            reference.join()
        remove(bench, namespace)


def lose(bench, namespace):
    bench.api.delete(NAMESPACES, None, namespace)
    for pod in bench.api.list(PODS, namespace):
        bench.api.delete(PODS, namespace, pod["metadata"]["name"], grace=0)
    wait("the namespace is gone", lambda: not bench.api.find(NAMESPACES, None, namespace), 180)


def remove(bench, namespace):
    bench.api.delete(NAMESPACES, None, namespace)
    if bench.api.list(PODS, namespace):
        bench.api.delete_all(PODS, namespace, grace=0)


def again(bench, backup, namespace):
    """The volume alone into another namespace, twice over; then the backup is deleted, and its data with it."""
    with bench.place.scope("velero-copy") as other:
        restore = Restore(bench.server, backup, mapping={namespace: other}, resources=(CLAIMS,))
        restore.run()
        restore.wait()
        bench.report.equal([o.error for o in restore.operations if o.error], "copy: the data is brought back into another namespace")
        claim = bench.api.get(CLAIMS, other, "ckpt")
        bench.report.check(claim["status"].get("phase") == "Bound" and "becalm.io/restoring" not in claim["metadata"].get("annotations", {}),
                           "copy: its claim is whole", str(claim["metadata"].get("annotations")))
        bench.leftovers(other, "copy")
    backup.delete()
    bench.report.equal([s["id"] for s in bench.becalm.snapshots()], "deletion: the data goes with the backup")
    backup.delete()  # Velero asks again when something else failed


STATEFUL = "keeper"


def stateful(bench, namespace, megabytes, claim_annotations=None, **annotations):
    """A StatefulSet of one pod whose claim holds so many MB that do not compress."""
    template = cluster.pod_template(namespace, linger=0, labels={"app": STATEFUL}, claim="data", grace=5)
    bench.api.create(CLAIMS, CLAIMS.object(namespace, "data", spec={
        "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": {"requests": {"storage": "4Gi"}}}))
    bench.api.patch(CLAIMS, namespace, "data", {"metadata": {"annotations": claim_annotations or {"becalm.io/volume-backup": "true"}}})
    body = cluster.STATEFULSETS.object(namespace, STATEFUL, spec={
        "replicas": 1, "serviceName": STATEFUL, "selector": {"matchLabels": {"app": STATEFUL}}, "template": template})
    body["metadata"]["annotations"] = {"becalm.io/consistency": "pause", **annotations}
    bench.api.create(cluster.STATEFULSETS, body)
    wait("the pod runs", lambda: any(p["status"].get("phase") == "Running" for p in bench.api.list(PODS, namespace)), 120)
    volume = bench.api.get(CLAIMS, namespace, "data")["spec"]["volumeName"]
    path = bench.api.get(VOLUMES, None, volume)["spec"]["hostPath"]["path"]
    with open(os.path.join(path, "bytes"), "wb") as stream:
        source = random.Random(7)
        for _ in range(megabytes):
            stream.write(source.randbytes(1 << 20))
    return path


def runs_again(bench, namespace, what):
    def up():
        body = bench.api.get(cluster.STATEFULSETS, namespace, STATEFUL)
        pods = pods_of(bench.api, namespace)
        return body["spec"]["replicas"] == 1 and any(
            p["status"].get("phase") == "Running" and "deletionTimestamp" not in p["metadata"] for p in pods)
    wait(f"{what}: it runs again", up, 120)
    body = bench.api.get(cluster.STATEFULSETS, namespace, STATEFUL)
    bench.report.check("becalm.io/quiesced" not in body["metadata"]["annotations"], f"{what}: nothing holds it any more")


def cancel(bench):
    with bench.place.scope("velero-cancel") as namespace:
        stateful(bench, namespace, bench.options.megabytes)
        backup = Backup(bench.server, namespace)
        backup.take()
        moving = next(o for o in backup.operations if o.action == "becalm.io/volume-backup")

        def under_way():
            backup.poll()
            return any(done > 0 for done, _ in moving.seen) or moving.completed
        wait("the mover has moved something", under_way, 300, 0.2)
        bench.report.check(not moving.completed and any(bench.api.list(JOBS, namespace, "becalm.io/run")),
                           "cancel: the Job is at work", f"{moving.seen} {moving.error}")
        backup.cancel()
        bench.report.equal([j["metadata"]["name"] for j in bench.api.list(JOBS, namespace, "becalm.io/run")], "cancel: the Job is gone")
        wait("cancel: its pods are gone", lambda: not bench.api.list(PODS, namespace, "becalm.io/run"), 120)
        backup.cancel()  # Velero may ask again
        bench.report.check(backup.operations and not backup.poll() and all(o.error for o in backup.operations), "cancel: the operations have failed",
                           str([(o.action, o.error) for o in backup.operations]))
        runs_again(bench, namespace, "cancel")
        backup.finalize()
        claim = backup.items[CLAIMS.name, namespace, "data"]
        bench.report.check("becalm.io/volume-snapshot" not in claim["metadata"]["annotations"], "cancel: the claim names no data")
        bench.leftovers(namespace, "cancel")
        before = [s["id"] for s in bench.becalm.snapshots()]
        # A second backup is none the worse for it.
        backup = Backup(bench.server, namespace)
        backup.take()
        backup.wait()
        backup.finalize()
        bench.report.equal([o.error for o in backup.operations if o.error], "after a cancel: the next backup succeeds")
        moves = next(o for o in backup.operations if o.action == "becalm.io/volume-backup").seen
        bench.report.check(len({done for done, _ in moves}) >= 3, "after a cancel: Progress moves", str(moves))
        bench.report.say(f"after a cancel: Progress {moves}")
        runs_again(bench, namespace, "after a cancel")
        bench.report.check(len(bench.becalm.snapshots()) == len(before) + 1, "after a cancel: one more snapshot")
        backup.delete()


def held(bench):
    """A restore that is cancelled leaves its workload held, until somebody has it run with what is there."""
    report, api = bench.report, bench.api

    def is_held(namespace):
        body = api.get(cluster.STATEFULSETS, namespace, STATEFUL)
        return "becalm.io/gated" in body["metadata"]["annotations"] and body["spec"]["replicas"] == 0 and not pods_of(api, namespace)
    with bench.place.scope("velero-held") as namespace, bench.place.scope("velero-held-copy") as other:
        stateful(bench, namespace, bench.options.megabytes)
        backup = Backup(bench.server, namespace)
        backup.take()
        backup.wait()
        backup.finalize()
        runs_again(bench, namespace, "held")
        restore = Restore(bench.server, backup, mapping={namespace: other})
        restore.run()
        name = f"{other}/statefulsets.apps/{STATEFUL}"

        def under_way():
            restore.poll()
            return any(done > 0 for done, _ in restore.operations[0].seen)
        wait("the mover has moved something", under_way, 300, 0.2)
        busy = bench.command.run("resume", "--restored", "--force", name)
        report.check(busy.code == 11 and b"may still write into a claim" in busy.err, "held: not let go while a mover writes", str(busy))
        restore.cancel()
        wait("the operation has failed", lambda: not restore.poll(), 120)
        report.check(f"{name} stays held" in restore.operations[0].error, "held: the operation says that its workload stays held",
                     restore.operations[0].error)
        wait("held: its mover is gone", lambda: not api.list(PODS, other, "becalm.io/run"), 120)
        report.check(is_held(other), "held: it waits for its data")
        status = bench.command.must("status", "--namespace", other, "--json").of("gated")
        report.check([(x["workload"], x["unfilled"], x["missing"]) for x in status] == [(name, ["data"], [])],
                     "held: status names it and its claim", str(status))
        plain = bench.command.run("resume", name)
        report.check(plain.code == 1 and b"--restored" in plain.err, "held: resume says that a restore holds it", str(plain))
        refused = bench.command.run("resume", "--restored", name)
        report.check(refused.code == 1 and b"--force" in refused.err and is_held(other), "held: not let go while data is missing", str(refused))
        bench.command.must("resume", "--restored", "--force", name)
        runs_again(bench, other, "held, let go")
        marks = {**api.get(cluster.STATEFULSETS, other, STATEFUL)["metadata"]["annotations"],
                 **api.get(CLAIMS, other, "data")["metadata"].get("annotations", {})}
        report.check(not {"becalm.io/gated", "becalm.io/restoring"} & set(marks) and marks.get("becalm.io/incomplete"),
                     "held, let go: only that its claim is incomplete is said any more", str(marks))
        bench.leftovers(other, "held, let go")
        backup.delete()


def deadline(bench):
    """What is held is let go at its deadline, and by hand: the backup's operation says which."""
    def hold(operations):
        return next(o for o in operations if o.action == "becalm.io/quiesce")
    with bench.place.scope("velero-late") as namespace:
        stateful(bench, namespace, 1)
        with bench.server_of(deadline="40s") as server:
            for what, words in (("deadline", "deadline"), ("by hand", "somebody let it go")):
                backup = Backup(server, namespace)
                backup.take()
                journal, = bench.api.list(LEASES, namespace, "becalm.io/journal=quiesce")
                if what == "deadline":
                    end = cluster.seconds(journal["metadata"]["annotations"]["becalm.io/deadline"])
                    wait("the deadline is past", lambda: bench.api.now() > end, 60)
                else:
                    bench.command.must("resume", f"{namespace}/statefulset/{STATEFUL}")
                backup.wait()
                bench.report.check(words in hold(backup.operations).error, f"{what}: the operation says so", hold(backup.operations).error)
                bench.report.equal([o.error for o in backup.operations if o.error and o is not hold(backup.operations)],
                                   f"{what}: the data is stored all the same")
                runs_again(bench, namespace, what)
                backup.finalize()
                bench.leftovers(namespace, what)
                backup.delete()


def spoilers(bench):
    for what, claims, more, spec in [
            ("a file system backup by annotation", None, {"backup.velero.io/backup-volumes": "data"}, {}),
            ("a file system backup by default", None, {}, {"defaultVolumesToFsBackup": True}),
            ("a hook after the backup", None, {"post.hook.backup.velero.io/command": "[\"sync\"]"}, {})]:
        with bench.place.scope("velero-spoil") as namespace:
            stateful(bench, namespace, 1, claims)
            if more:
                bench.api.patch(PODS, namespace, f"{STATEFUL}-0", {"metadata": {"annotations": more}})
            mark = len(bench.server.host.do("log")["stderr"])
            backup = Backup(bench.server, namespace, **spec)
            backup.take()
            bench.report.check(not any(o.action == "becalm.io/quiesce" for o in backup.operations), f"{what}: nothing is stopped")
            said = [json.loads(line) for line in bench.server.host.do("log")["stderr"][mark:]]
            warned = [line["@message"] for line in said if line["@level"] == "warn" and "is not stopped" in line["@message"]]
            bench.report.check(len(warned) == 1, f"{what}: the backup's log says so, once", str(warned))
            backup.wait()
            runs_again(bench, namespace, what)
            backup.finalize()
            backup.delete()
    with bench.place.scope("velero-trap") as namespace:
        stateful(bench, namespace, 1, **{"becalm.io/consistency": "pause", "becalm.io/checkpoint-command": "/no/such/program"})
        mark = len(bench.server.host.do("log")["stderr"])
        backup = Backup(bench.server, namespace)
        backup.take()
        said = [json.loads(line) for line in bench.server.host.do("log")["stderr"][mark:]]
        errors = [line["@message"] for line in said if line["@level"] == "error"]
        bench.report.check(len(errors) == 1 and "is not held for this backup" in errors[0], "a checkpoint that fails: an error of the backup, once",
                           str(errors))
        backup.wait()
        bench.report.check((cluster.STATEFULSETS.name, namespace, STATEFUL) in backup.items and (CLAIMS.name, namespace, "data") in backup.items,
                           "a checkpoint that fails: everything is in the backup all the same")
        runs_again(bench, namespace, "a checkpoint that fails")
        backup.finalize()
        bench.leftovers(namespace, "a checkpoint that fails")
        backup.delete()


# ---------------------------------------------------------------- setting up

def settings(bench_scratch, namespace, store, bucket, **more):
    key = os.path.join(bench_scratch, "key")
    if not os.path.exists(key):
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as stream:
            stream.write(os.urandom(32))
    credentials = velero.credentials_file(os.path.join(bench_scratch, "credentials"), store)
    labels = {"velero.io/plugin-config": "", "becalm.io/quiesce": "BackupItemActionV2", "becalm.io/volume-backup": "BackupItemActionV2",
              "becalm.io/volume-restore": "RestoreItemActionV2", "becalm.io/volume-delete": "DeleteItemAction"}
    body = CONFIG_MAPS.object(namespace, "becalm", data={
        "repository": f"s3://{bucket}/becalm", "repositoryKeyFile": key, "createRepository": "true", "region": "us-east-1",
        "s3Url": store.endpoint, "s3ForcePathStyle": "true", "credentialsFile": credentials, "moverImage": container_image.BECALM,
        "mode": "hold", "cacheDirectory": os.path.join(bench_scratch, "cache"), **more})
    body["metadata"]["labels"] = labels
    return body


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--megabytes", type=int, default=2000)
    options = parser.parse_args()
    parts = options.parts.split(",")
    report = harness.Report("cluster-velero")
    try:
        interpreter = torchpython.find()
        place = cluster.Cluster.open(report)
    except (cluster.Unavailable, torchpython.NoTorch) as reason:
        report.skip("Velero's actions in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here:
            report.skip("Velero's actions in a cluster", "its node is another machine")
            harness.finish(report)
        place.load_command(report)
        cluster_kinds.install(place.api, report, [BACKUP, RESTORE])
        program, plugin = velero_go_host.build(scratch), harness.find_plugin()
        report.say(f"testing {plugin}")
        with servers.start("rclone", place.address()) as store:
            with Velero(place, scratch, store, program, plugin, report) as server:
                becalm = harness.Becalm(
                    f"s3://{server.bucket}/becalm", scratch, environment=store.environment(), swift_key=True)
                bench = Bench(report, place, scratch, options, server, becalm)
                bench.server_of = lambda **more: Velero(place, scratch, store, program, plugin, report, bucket=server.bucket, **more)
                for part in PARTS:
                    if part in parts:
                        try:
                            training(bench, interpreter) if part == "training" else globals()[part](bench)
                        except (harness.Unexpected, velero_go_host.HostFailure, cluster.Refused) as error:
                            report.check(False, part, str(error))
                report.equal(velero.log_problems(server.host.do("log")["stderr"], ("trace", "debug", "info", "warn", "error")),
                             "what it logs, a host can read")
    harness.finish(report)


class Velero:
    """A namespace for Velero, and a server with the plugin in it."""

    def __init__(self, place, scratch, store, program, plugin, report, bucket=None, **more):
        self.place, self.scratch, self.store, self.report, self.more = place, scratch, store, report, more
        self.bucket, self.program, self.plugin = bucket or store.bucket(), program, plugin

    def __enter__(self):
        self.scope = self.place.scope("velero")
        namespace = self.scope.__enter__()
        self.place.api.create(CONFIG_MAPS, settings(self.scratch, namespace, self.store, self.bucket, **self.more))
        self.host = velero_go_host.GoHost(self.program, self.plugin, velero.environment(
            self.scratch, TMPDIR=self.scratch, KUBECONFIG=self.place.kubeconfig, VELERO_NAMESPACE=namespace))
        self.host.__enter__()
        self.host.launch()
        server = Server(self.report, self.place, self.host, namespace)
        server.bucket = self.bucket
        return server

    def __exit__(self, *of):
        self.host.__exit__(*of)
        self.scope.__exit__(*of)


if __name__ == "__main__":
    main()
