#!/usr/bin/env python3
"""Velero's data mover by Becalm in a real cluster: real snapshots, real mover pods, real permissions; this script plays Velero.

Two `becalm data-mover` run as processes, as accounts that may do what `plugin/examples/data-mover.yaml` grants and nothing else.
The script does what Velero's own plugins do: has a VolumeSnapshot cut and makes a DataUpload of it, restores a claim that asks by a
selector for a volume and makes a DataDownload for it. It looks at phases, progress and what is left, while data moves, while a
transfer is cancelled, deleted, queued, and while the leader is killed or told to end.
"""

import hashlib
import json
import os
import signal
import threading
import time

import yaml

import cluster
import cluster_block
import cluster_csi
import cluster_proxy
import compare
import container_image
import harness
import proxy
import servers
import trees
from cluster_kinds import SNAPSHOT, SNAPSHOT_CONTENT

UPLOADS = cluster.Resource("velero.io", "v2alpha1", "datauploads", "DataUpload")
DOWNLOADS = cluster.Resource("velero.io", "v2alpha1", "datadownloads", "DataDownload")
VOLUMES = cluster_csi.VOLUMES
CLUSTER_ROLES = cluster.Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)
CLUSTER_BINDINGS = cluster.Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False)
LOCK = "becalm-data-mover"
BYTES_PER_SECOND = 4 << 20  # to the store: 24 MB take long enough to be caught in the middle by any build of the command
ENDS = ("Completed", "Failed", "Canceled")
TEXT, TIME = {"type": "string"}, {"type": "string", "format": "date-time", "nullable": True}
TEXTS = {"type": "object", "additionalProperties": TEXT, "nullable": True}
PHASES = {"type": "string", "enum": ["New", "Accepted", "Prepared", "InProgress", "Canceling", *ENDS]}


def fields(**members):
    return {"type": "object", "properties": members}


def definition(resource, spec, status):
    """As Velero defines it: a schema that drops what it does not know, and no status subresource."""
    whole = {"type": "integer", "format": "int64"}
    both = {
        "phase": PHASES, "message": TEXT, "node": TEXT, "acceptedByNode": TEXT, "acceptedTimestamp": TIME, "startTimestamp": TIME,
        "completionTimestamp": TIME, "progress": fields(bytesDone=whole, totalBytes=whole)}
    common = {"datamover": TEXT, "backupStorageLocation": TEXT, "operationTimeout": TEXT, "sourceNamespace": TEXT, "cancel": {"type": "boolean"},
              "dataMoverConfig": TEXTS}
    schema = fields(apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=fields(**common, **spec), status=fields(**both, **status))
    return cluster.DEFINITIONS.object(None, resource.name, spec={
        "group": resource.group, "scope": "Namespaced",
        "names": {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind, "listKind": resource.kind + "List"},
        "versions": [{"name": resource.version, "served": True, "storage": True, "subresources": {}, "schema": {"openAPIV3Schema": schema}}]})


def define(api):
    snapshot = fields(volumeSnapshot=TEXT, storageClass=TEXT, snapshotClass=TEXT, driver=TEXT)
    snapshot["nullable"] = True
    whole = {"type": "integer", "format": "int64"}
    for body in (
            definition(UPLOADS, {"snapshotType": TEXT, "csiSnapshot": snapshot, "sourcePVC": TEXT},
                       {"path": TEXT, "snapshotID": TEXT, "dataMoverResult": TEXTS, "nodeOS": TEXT, "incrementalBytes": whole}),
            definition(DOWNLOADS, {"targetVolume": fields(pvc=TEXT, pv=TEXT, namespace=TEXT), "snapshotID": TEXT, "nodeOS": TEXT,
                                   "snapshotSize": whole}, {})):
        if not api.find(cluster.DEFINITIONS, None, body["metadata"]["name"]):
            api.create(cluster.DEFINITIONS, body)

    def served():
        try:
            return api.list(UPLOADS) is not None and api.list(DOWNLOADS) is not None
        except cluster.Refused:
            return False
    cluster.wait("Velero's kinds are served", served)


class Grants:
    """What the example grants, to an account of Velero's namespace."""

    def __init__(self, place, namespace, path):
        self.api, self.name = place.api, namespace
        with open(os.path.join(harness.ROOT, "plugin", "examples", "data-mover.yaml"), encoding="utf-8") as stream:
            found = {document["kind"]: document for document in yaml.safe_load_all(stream)}
        self.kubeconfig = place.account(namespace, found["Role"]["rules"], path, name=LOCK)
        self.api.create(CLUSTER_ROLES, CLUSTER_ROLES.object(None, self.name, rules=found["ClusterRole"]["rules"]))
        self.api.create(CLUSTER_BINDINGS, CLUSTER_BINDINGS.object(
            None, self.name, roleRef={"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": self.name},
            subjects=[{"kind": "ServiceAccount", "name": LOCK, "namespace": namespace}]))

    def close(self):
        self.api.delete(CLUSTER_BINDINGS, None, self.name)
        self.api.delete(CLUSTER_ROLES, None, self.name)


class Mover:
    """A `becalm data-mover`."""

    def __init__(self, becalm, report, namespace, kubeconfig, settings, name, *options):
        self.report, self.name, self.lines = report, name, []
        self.process = becalm.start(
            "data-mover", "--json", "--namespace", namespace, "--kubeconfig", kubeconfig, "--mover-image", container_image.BECALM,
            "--mover-settings", settings, "--consumer-wait", "1s", *options, extra={"NODE_NAME": name})
        threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True).start()
        threading.Thread(target=self.read, args=(self.process.stderr,), daemon=True).start()

    def read(self, stream):
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip()
            self.lines.append(text)
            self.report.say(f"{self.name}: {text[:300]}")

    @property
    def leads(self):
        told = [line for line in list(self.lines) if '"leadership"' in line]
        return bool(told) and "this one leads" in told[-1] and self.process.poll() is None

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(120)


class Statuses:
    """Every status of the transfers of a namespace, by watches that are there before the first of them is made."""

    def __init__(self, configuration, namespace):
        self.api, self.namespace = cluster.API(configuration), namespace
        self.changed, self.seen, self.error = threading.Condition(), {}, None
        for resource in (UPLOADS, DOWNLOADS):
            version = self.api.request("GET", resource.path())["metadata"]["resourceVersion"]
            threading.Thread(target=self.follow, args=(resource, version), daemon=True).start()

    def follow(self, resource, version):
        api = cluster.API(self.api.configuration)
        try:
            while True:
                # A server ends a watch after a while; the next one goes on where it ended.
                for event in api.watch(resource, version):
                    if event["type"] == "ERROR":
                        raise harness.Unexpected(f"the watch of {resource}: {json.dumps(event['object'])}")
                    body = event["object"]
                    version = body["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED") and body["metadata"]["namespace"] == self.namespace:
                        self.take(resource.kind, body)
        except (OSError, ValueError, cluster.Refused, cluster.http.client.HTTPException, harness.Unexpected) as error:
            with self.changed:
                self.error = error
                self.changed.notify_all()

    def take(self, kind, body):
        with self.changed:
            seen = self.seen.setdefault((kind, body["metadata"]["name"]), [])
            status = body.get("status") or {}
            if not seen or status != seen[-1]:
                seen.append(status)
                self.changed.notify_all()

    def reach(self, resource, name, phases, seconds):
        key = resource.kind, name

        def end():
            """The statuses up to the one that is waited for, or up to an end without it; None before either."""
            if self.error:
                raise harness.Unexpected(f"the watch of {resource} ended: {self.error!r}")
            for number, status in enumerate(self.seen.get(key, [])):
                if status.get("phase") in (*phases, *ENDS):
                    return self.seen[key][:number + 1]
            return None
        with self.changed:
            self.changed.wait_for(end, seconds)
            seen = end() or []
            if not seen or seen[-1].get("phase") not in phases:
                last = (self.seen.get(key) or [{}])[-1]
                raise harness.Unexpected(f"{resource.kind} {name} is not {phases} but {json.dumps(last)}")
            return seen


class World:
    """A namespace as Velero's, one with an application, and what plays Velero."""

    def __init__(self, place, report, driver, becalm, namespace, app):
        self.place, self.api, self.report, self.driver, self.becalm = place, place.api, report, driver, becalm
        self.namespace, self.app = namespace, app
        self.statuses = Statuses(place.configuration, namespace)

    # What Velero does.

    def upload(self, name, claim="data", cancel=False):
        """As `velero.io/csi-pvc-backupper`: a snapshot, and the DataUpload for it once there is a handle."""
        self.api.create(SNAPSHOT, SNAPSHOT.object(self.app, name, spec={
            "source": {"persistentVolumeClaimName": claim}, "volumeSnapshotClassName": cluster_csi.CLASS}))

        def cut():
            status = self.api.get(SNAPSHOT, self.app, name).get("status") or {}
            content = self.api.find(SNAPSHOT_CONTENT, None, status.get("boundVolumeSnapshotContentName") or "none")
            return content and (content.get("status") or {}).get("snapshotHandle")
        cluster.wait("the snapshot has a handle", cut)
        body = UPLOADS.object(self.namespace, name, spec={
            "snapshotType": "CSI", "csiSnapshot": {
                "volumeSnapshot": name, "storageClass": cluster_csi.CLASS, "snapshotClass": cluster_csi.CLASS, "driver": cluster_csi.DRIVER},
            "sourcePVC": claim, "datamover": "becalm", "backupStorageLocation": "default", "sourceNamespace": self.app,
            "operationTimeout": "10m0s"})
        body["metadata"]["labels"] = {"velero.io/backup-name": "nightly"}
        return self.api.create(UPLOADS, body)

    def download(self, name, snapshot, target, claim="data", mode="Filesystem"):
        """As Velero's restore of a claim: one that asks for a volume by a label, and the DataDownload for it."""
        self.api.create(cluster.CLAIMS, cluster.CLAIMS.object(target, claim, spec={
            "accessModes": ["ReadWriteOnce"], "storageClassName": cluster_csi.CLASS, "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": mode,
            "selector": {"matchLabels": {"velero.io/dynamic-pv-restore": f"{target}.{claim}.abcde"}}}))
        return self.api.create(DOWNLOADS, DOWNLOADS.object(self.namespace, name, spec={
            "targetVolume": {"namespace": target, "pvc": claim, "pv": "pvc-of-then"}, "backupStorageLocation": "default", "datamover": "becalm",
            "snapshotID": snapshot, "sourceNamespace": self.app, "operationTimeout": "10m0s"}))

    # What becomes of it.

    def reach(self, resource, name, *phases, seconds=180):
        """Waits for a phase; the statuses up to it, every one that was written, however fast the next one came."""
        return self.statuses.reach(resource, name, phases, seconds)

    def left(self):
        """What is left of transfers: in Velero's namespace, of the cluster's own, in the driver's store, in the repository."""
        names = []
        for resource in (cluster.JOBS, cluster.CLAIMS, SNAPSHOT, cluster.LEASES, cluster.SECRETS, cluster.PODS):
            for body in self.api.list(resource, self.namespace):
                if body["metadata"]["name"] != LOCK and body.get("type") != "kubernetes.io/service-account-token":
                    names.append(f"{resource.kind} {body['metadata']['name']}")
        names += [f"{SNAPSHOT.kind} {self.app}/{b['metadata']['name']}" for b in self.api.list(SNAPSHOT, self.app)]
        names += [f"{SNAPSHOT_CONTENT.kind} {b['metadata']['name']}" for b in self.api.list(SNAPSHOT_CONTENT)]
        names += [f"{b['kind']} {b['metadata']['name']} {b['metadata']['finalizers']}" for r in (UPLOADS, DOWNLOADS)
                  for b in self.api.list(r, self.namespace) if b["metadata"].get("finalizers")]
        names += [name for name in self.driver.store.names() if name.startswith("snapshots/")]
        names += [f"PersistentVolume {b['metadata']['name']}" for b in self.api.list(VOLUMES)
                  if (b["spec"].get("claimRef") or {}).get("namespace") == self.namespace]
        return names

    def expect_nothing_left(self, when):
        try:
            cluster.wait("nothing is left", lambda: not self.left(), 90, every=1)
            slots = [s for s in self.becalm.must("key", "list", "--json").of("key") if "mover" in json.dumps(s)]
            self.report.check(not slots, f"no key of a mover is left {when}", str(slots))
        except harness.Unexpected:
            self.report.check(False, f"nothing is left {when}", str(self.left()))


def leader(movers, seconds=60):
    """The one that leads, once there is one."""
    cluster.wait("somebody leads", lambda: any(m.leads for m in movers), seconds)
    return next(m for m in movers if m.leads)


def fill(driver, app, seed, megabytes):
    """An application's files; where they are on this machine."""
    folder = driver.folder(app, "data")
    trees.small_files(os.path.join(folder, "small"), 200, seed)
    with open(os.path.join(folder, "large"), "wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1 << 20))
    os.symlink("large", os.path.join(folder, "link"))
    return folder


def application(world):
    """A claim, and a pod that has it: its class waits for one."""
    api = world.api
    api.create(cluster.CLAIMS, cluster.CLAIMS.object(world.app, "data", spec={
        "accessModes": ["ReadWriteOnce"], "storageClassName": cluster_csi.CLASS, "resources": {"requests": {"storage": "1Gi"}}}))
    template = cluster.pod_template(world.app, claim="data", command=["sh", "-c", "sleep 100000"], grace=0)
    api.create(cluster.PODS, cluster.PODS.object(world.app, "server", spec=template["spec"]))
    cluster.wait("the application runs", lambda: api.get(cluster.PODS, world.app, "server")["status"].get("phase") == "Running", 120)


def stores(world, source, scratch):
    """A snapshot is moved, and is found by its claim's name without Velero."""
    report = world.report
    world.upload("first")
    seen = world.reach(UPLOADS, "first", "Completed")
    phases = list(dict.fromkeys(s.get("phase") for s in seen if s.get("phase")))
    # Prepared lasts for one write.
    report.check([p for p in phases if p != "Prepared"] == ["Accepted", "InProgress", "Completed"], "it goes through its phases", str(phases))
    done = [s["progress"]["bytesDone"] for s in seen if s.get("progress")]
    last = seen[-1]
    report.check(done and done == sorted(done) and done[-1] == last["progress"]["totalBytes"] > 24 << 20,
                 "progress is told, moves not back, and ends with all", str(done))
    report.check(str(last.get("snapshotID", "")).startswith("becalm1:") and last.get("path") and last.get("completionTimestamp")
                 and last.get("incrementalBytes") and last.get("node") and last.get("acceptedByNode"), "its status says all", json.dumps(last))
    world.expect_nothing_left("of a DataUpload that is done")
    snapshots = world.becalm.snapshots()
    report.check(len(snapshots) == 1 and f"{world.app}/data" in json.dumps(snapshots) and "velero.io/backup=nightly" in json.dumps(snapshots),
                 "the snapshot names the claim and the backup", json.dumps(snapshots))
    back = os.path.join(scratch, "back")
    world.becalm.restore(f"latest:{world.app}/data", back, "--from", "volume", "--verify")
    report.equal(compare.differences(compare.describe(source), compare.describe(back), sockets=False), "what was stored is what was on the volume")
    return last["snapshotID"]


def cancels(world):
    """Its end is asked for, or it is deleted, in the middle; before it begins, its snapshot is gone."""
    report, before = world.report, len(world.becalm.snapshots())
    change(world, 24)
    world.upload("cancelled")
    world.reach(UPLOADS, "cancelled", "InProgress")
    world.api.patch(UPLOADS, world.namespace, "cancelled", {"spec": {"cancel": True}})
    seen = world.reach(UPLOADS, "cancelled", "Canceled")
    report.check("Canceling" in [s.get("phase") for s in seen] or seen[-1]["phase"] == "Canceled", "it is canceled", str(seen[-1]))
    world.expect_nothing_left("of a DataUpload that was canceled")
    world.upload("deleted")
    world.reach(UPLOADS, "deleted", "InProgress", "Accepted", "Prepared")
    world.api.delete(UPLOADS, world.namespace, "deleted")
    cluster.wait("a deleted DataUpload goes", lambda: not world.api.find(UPLOADS, world.namespace, "deleted"), 120)
    world.expect_nothing_left("of a DataUpload that was deleted")
    report.check(len(world.becalm.snapshots()) == before, "neither leaves a snapshot", str(world.becalm.snapshots()))
    body = UPLOADS.object(world.namespace, "lost", spec={
        "snapshotType": "CSI", "csiSnapshot": {"volumeSnapshot": "none", "storageClass": "x"}, "sourcePVC": "data", "datamover": "becalm",
        "backupStorageLocation": "default", "sourceNamespace": world.app, "operationTimeout": "10m0s"})
    world.api.create(UPLOADS, body)
    message = world.reach(UPLOADS, "lost", "Failed")[-1].get("message", "")
    report.check("does not exist" in message, "one without a snapshot fails and says so", message)


def change(world, megabytes):
    """New content, so that there is something to be moved."""
    with open(os.path.join(world.driver.folder(world.app, "data"), "large"), "r+b") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1 << 20))


def survives(world, movers, start):
    """The leader is killed in the middle, another one goes on; told to end, it lets go at once."""
    report = world.report
    for name, phase in (("killed-early", "Accepted"), ("killed-late", "InProgress")):
        change(world, 24)
        world.upload(name)
        first = leader(movers)
        world.reach(UPLOADS, name, phase, seconds=60)
        first.end(signal.SIGKILL)
        began = time.monotonic()
        second = leader(movers)
        report.say(f"{second.name} leads {time.monotonic() - began:.1f} s after {first.name} was killed")
        seen = world.reach(UPLOADS, name, "Completed")
        report.check(seen[-1].get("snapshotID"), f"another one goes on after a death in {phase}", json.dumps(seen[-1]))
        world.expect_nothing_left(f"after a death in {phase}")
        movers.append(start())
    first = leader(movers)
    code = first.end()
    began = time.monotonic()
    leader(movers)
    took = time.monotonic() - began
    report.check(code == 0, "SIGTERM ends it with 0", str(code))
    report.check(took < 10, "the next one leads without waiting for the Lease's end", f"{took:.1f} s")
    movers.append(start())


def outlives(world, movers, start, grants, scratch):
    """The API server is gone for a minute, in the middle: nothing is lost, whoever leads after that."""
    for mover in movers:
        mover.end(signal.SIGKILL)
    with cluster_proxy.Proxy(cluster.Configuration(grants.kubeconfig)) as proxy:
        way = cluster.Configuration(grants.kubeconfig).write(os.path.join(scratch, "proxied"), server=proxy.server)
        here = [start(way), start(way)]
        movers += here
        leader(here)
        change(world, 24)
        world.upload("away")
        world.reach(UPLOADS, "away", "InProgress", seconds=90)
        proxy.go_away()
        time.sleep(60)
        world.report.check(not any(m.leads for m in here), "without the API server nobody leads", "")
        world.report.check(all(m.process.poll() is None for m in here), "and nobody has ended", "")
        proxy.come_back()
        seen = world.reach(UPLOADS, "away", "Completed")
        world.report.check(seen[-1].get("snapshotID"), "it is completed when the API server is back", json.dumps(seen[-1]))
        world.expect_nothing_left("after the API server was away")
        for mover in here:
            mover.end()
    del movers[:]
    movers += [start(), start()]


def queues(world):
    """Many at once: two under way, the rest waits as New."""
    report, names = world.report, [f"many-{n}" for n in range(5)]
    for name in names:
        world.upload(name)
    most, end = 0, time.monotonic() + 300
    while True:
        # At one moment: one after the other, the next may have begun when the last one has ended.
        found = {body["metadata"]["name"]: body.get("status") or {} for body in world.api.list(UPLOADS, world.namespace)}
        phases = [found[name].get("phase", "New") for name in names]
        most = max(most, sum(p not in ("New", *ENDS) for p in phases))
        if all(p in ENDS for p in phases) or time.monotonic() > end:
            break
        time.sleep(0.1)
    report.check(all(p == "Completed" for p in phases), "all of many are completed", str(phases))
    report.check(1 <= most <= 2, "no more than two at once", str(most))
    world.expect_nothing_left("of many")


def restores(world, source, snapshot):
    """Into a fresh namespace; a pod reads the same bytes."""
    report, api = world.report, world.api
    with world.place.scope("dm-to") as target:
        world.download("back", snapshot, target)
        world.reach(DOWNLOADS, "back", "Completed", seconds=240)
        claim = api.get(cluster.CLAIMS, target, "data")
        report.check(claim["status"].get("phase") == "Bound", "the target is bound", json.dumps(claim["status"]))
        cluster.wait("the volume has its reclaim policy back", lambda: api.get(VOLUMES, None, claim["spec"]["volumeName"])["spec"][
            "persistentVolumeReclaimPolicy"] == "Delete", 60)
        world.expect_nothing_left("of a DataDownload")
        volume = api.get(VOLUMES, None, claim["spec"]["volumeName"])
        labels = volume["metadata"].get("labels") or {}
        report.check(labels == {"velero.io/dynamic-pv-restore": f"{target}.data.abcde"}, "the volume has the label that was asked for", str(labels))
        place = world.driver.folder(target, "data")
        report.equal(compare.differences(compare.describe(source), compare.describe(place), sockets=False), "it holds what was backed up")
        with open(os.path.join(source, "large"), "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        template = cluster.pod_template(target, claim="data", grace=0, restart="Never", command=[
            "sh", "-c", f"echo '{digest}  /data/large' | sha256sum -c -"])
        api.create(cluster.PODS, cluster.PODS.object(target, "reader", spec=template["spec"]))
        phase = cluster.wait("a pod has read it", lambda: (lambda p: p in ("Succeeded", "Failed") and p)(
            api.get(cluster.PODS, target, "reader")["status"].get("phase")), 120)
        report.check(phase == "Succeeded", "a pod of the restored claim reads the same bytes", phase)
        api.delete(cluster.PODS, target, "reader", grace=0)

        # One whose end is asked for in the middle leaves neither a volume nor a bound claim.
        world.download("stopped", snapshot, target, claim="other")
        world.reach(DOWNLOADS, "stopped", "InProgress", seconds=120)
        api.patch(DOWNLOADS, world.namespace, "stopped", {"spec": {"cancel": True}})
        world.reach(DOWNLOADS, "stopped", "Canceled", seconds=120)
        other = api.get(cluster.CLAIMS, target, "other")
        report.check(not other["spec"].get("volumeName"), "the claim of a canceled one has no volume", json.dumps(other["spec"]))
        world.expect_nothing_left("of a DataDownload that was canceled")
        api.create(DOWNLOADS, DOWNLOADS.object(world.namespace, "foreign", spec={
            "targetVolume": {"namespace": target, "pvc": "other", "pv": "pvc-of-then"}, "backupStorageLocation": "default", "datamover": "becalm",
            "snapshotID": "k3f9", "sourceNamespace": world.app, "operationTimeout": "10m0s"}))
        message = world.reach(DOWNLOADS, "foreign", "Failed")[-1].get("message", "")
        report.check("none of this data mover's" in message, "an id of another data mover is refused", message)


def devices(world, seed):
    """A claim that is a block device: what a pod has written to it comes back onto another one."""
    report, api, size = world.report, world.api, 24 << 20
    traces = os.path.join(cluster.TRACES, world.app)
    os.makedirs(traces, exist_ok=True)
    cluster_block.pattern(os.path.join(traces, "pattern"), size, seed)
    digest = cluster_block.sha256(os.path.join(traces, "pattern"), size)
    cluster_block.create(api, world.app, size, cluster_csi.CLASS)
    cluster_block.runs(api, world.app)
    cluster.wait("the pattern is on the device", lambda: os.path.exists(os.path.join(traces, "written")), 120)
    world.upload("device", claim="raw")
    last = world.reach(UPLOADS, "device", "Completed")[-1]
    world.expect_nothing_left("of a device's DataUpload")
    listed = world.becalm.must("show", f"latest:{world.app}/raw", "-R", "--json")
    found = [entry for entry in listed.objects if entry.get("sha256")]
    report.check([entry["sha256"] for entry in found] == [digest] and found[0].get("is_device") is True, "a device is stored as its bytes", str(found))
    with world.place.scope("dm-device") as target:
        world.download("device-back", last["snapshotID"], target, claim="raw", mode="Block")
        world.reach(DOWNLOADS, "device-back", "Completed", seconds=240)
        world.expect_nothing_left("of a device's DataDownload")
        disk = os.path.join(world.driver.folder(target, "raw"), cluster_csi.Store.DISK)
        report.check(cluster_block.sha256(disk, size) == digest, "the new device holds the same bytes")


def journey(place, report, scratch, becalm, driver, options):
    define(place.api)
    settings = os.path.join(scratch, "movers.yaml")
    with open(settings, "w", encoding="utf-8") as stream:
        stream.write("resources: {limits: {memory: 1Gi}, requests: {cpu: 10m, memory: 64Mi}}\nimagePullPolicy: Never\n")
    with place.scope("dm-velero") as namespace, place.scope("dm-app") as app:
        grants = Grants(place, namespace, os.path.join(scratch, "account"))
        world, movers = World(place, report, driver, becalm, namespace, app), []

        numbers = iter(range(1000))

        def start(kubeconfig=grants.kubeconfig):
            return Mover(becalm, report, namespace, kubeconfig, settings, f"mover-{next(numbers)}", "--concurrency", "2")
        try:
            application(world)
            source = fill(driver, app, options.seed, 24)
            movers.append(start())
            movers.append(start())
            leader(movers)
            report.check(sum(m.leads for m in movers) == 1, "one of two leads")
            snapshot = stores(world, source, scratch)
            restores(world, source, snapshot)
            devices(world, options.seed + 1)
            cancels(world)
            told = []
            if not options.quick:
                survives(world, movers, start)
                told += [line for m in movers for line in m.lines]
                outlives(world, movers, start, grants, scratch)
            queues(world)
            outcome = becalm.run("verify", "--depth", "full", "--json")
            report.check(outcome.code == 0, "the repository is whole", str(outcome))
            told += [line for m in movers for line in m.lines]
            forbidden = [line for line in told if "grant it" in line or "forbidden" in line.lower()]
            report.check(not forbidden, "the example grants all that it asks for", "\n".join(forbidden[:5]))
        finally:
            for mover in movers:
                mover.end(signal.SIGKILL)
            for resource in (UPLOADS, DOWNLOADS):
                for body in place.api.list(resource, namespace):
                    place.api.patch(resource, namespace, body["metadata"]["name"], {"metadata": {"finalizers": None}})
            place.api.delete(cluster.PODS, app, "server", grace=0)
            grants.close()


def main():
    options = harness.arguments(__doc__).parse_args()
    report = harness.Report("cluster-datamover")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("the data mover in a cluster", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        place.load_command(report)
        try:
            with servers.start("rclone", place.address()) as server, proxy.Brake(server.endpoint, place.address(), BYTES_PER_SECOND) as brake, \
                    cluster_csi.Driver(place, report) as driver:
                becalm = harness.Becalm(
                    f"s3://{server.bucket()}/becalm", scratch, swift_key=True,
                    environment={**server.environment(brake.endpoint), "KUBECONFIG": place.kubeconfig})
                becalm.init()
                journey(place, report, scratch, becalm, driver, options)
        except cluster_csi.NoDriver as reason:
            report.skip("the data mover in a cluster", str(reason))
    harness.finish(report)


if __name__ == "__main__":
    main()
