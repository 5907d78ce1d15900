#!/usr/bin/env python3
"""A CSI driver with volumes and snapshots for a cluster whose node is this machine: pods mount its volumes through the kubelet,
claims get volumes, and VolumeSnapshots are cut at one moment, be they written to or not.

    with cluster_csi.Driver(place, report) as driver:       a process of its own, gone at the end
        driver.behave(ready_seconds=10)                     how its next snapshots go
        driver.folder(namespace, claim)                     a claim's files, on this machine

The classes are `fake-csi`, a StorageClass and the default VolumeSnapshotClass of the driver `fake-csi.becalm-e2e`. What the
snapshots do is in the parameters of their class, as it would be with a real driver; all of them are numbers of seconds or words:

    cut-seconds      from CreateSnapshot to the cut
    ready-seconds    from the cut until it can be used: most drivers upload meanwhile
    error            what CreateSnapshot fails with; with error-count, the first so many times only
    upload-error     what it fails with for ever after the cut

Volumes are subvolumes of a btrfs in a file, which the kernel snapshots atomically; one that is a block device is a loop device
over the file `disk` in its subvolume. The node's part is the driver's half of CSI
1.x over gRPC on a Unix socket, registered with the kubelet as all are. The controllers' part does what external-provisioner,
snapshot-controller and csi-snapshotter (8.x) do, their annotations, finalizers, retries and half-filled statuses included: a status
that is missing at first, an error that stays until the snapshot is ready.
"""

import argparse
import concurrent.futures
import datetime
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import cluster
import cluster_kinds as kinds
import harness
import servers
from cluster_kinds import SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT
from cluster_operators import World, ending

DRIVER, CLASS = "fake-csi.becalm-e2e", "fake-csi"
VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
EVENTS = cluster.Resource("", "v1", "events", "Event")
STORAGE_CLASSES = cluster.Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", False)
DRIVERS = cluster.Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", False)
NODES = cluster.Resource("storage.k8s.io", "v1", "csinodes", "CSINode", False)
RETRY_SECONDS = 1.0  # the real ones wait longer each time

# The fields that are used, of kubelet's pluginregistration/v1/api.proto and of csi.proto 1.x.
PROTOS = {"registration.proto": """syntax = "proto3";
package pluginregistration;
message PluginInfo { string type = 1; string name = 2; string endpoint = 3; repeated string supported_versions = 4; }
message RegistrationStatus { bool plugin_registered = 1; string error = 2; }
message RegistrationStatusResponse {}
message InfoRequest {}
service Registration {
  rpc GetInfo(InfoRequest) returns (PluginInfo);
  rpc NotifyRegistrationStatus(RegistrationStatus) returns (RegistrationStatusResponse);
}
""", "csi.proto": """syntax = "proto3";
package csi.v1;
import "google/protobuf/wrappers.proto";
message GetPluginInfoRequest {}
message GetPluginInfoResponse { string name = 1; string vendor_version = 2; }
message GetPluginCapabilitiesRequest {}
message PluginCapability {
  message Service { enum Type { UNKNOWN = 0; CONTROLLER_SERVICE = 1; } Type type = 1; }
  oneof type { Service service = 1; }
}
message GetPluginCapabilitiesResponse { repeated PluginCapability capabilities = 1; }
message ProbeRequest {}
message ProbeResponse { google.protobuf.BoolValue ready = 1; }
service Identity {
  rpc GetPluginInfo(GetPluginInfoRequest) returns (GetPluginInfoResponse);
  rpc GetPluginCapabilities(GetPluginCapabilitiesRequest) returns (GetPluginCapabilitiesResponse);
  rpc Probe(ProbeRequest) returns (ProbeResponse);
}
message VolumeCapability {
  message BlockVolume {}
  message MountVolume { string fs_type = 1; }
  oneof access_type { BlockVolume block = 1; MountVolume mount = 2; }
}
message NodePublishVolumeRequest { string volume_id = 1; string target_path = 4; VolumeCapability volume_capability = 5; bool readonly = 6; }
message NodePublishVolumeResponse {}
message NodeUnpublishVolumeRequest { string volume_id = 1; string target_path = 2; }
message NodeUnpublishVolumeResponse {}
message NodeGetCapabilitiesRequest {}
message NodeGetCapabilitiesResponse {}
message NodeGetInfoRequest {}
message NodeGetInfoResponse { string node_id = 1; int64 max_volumes_per_node = 2; }
service Node {
  rpc NodePublishVolume(NodePublishVolumeRequest) returns (NodePublishVolumeResponse);
  rpc NodeUnpublishVolume(NodeUnpublishVolumeRequest) returns (NodeUnpublishVolumeResponse);
  rpc NodeGetCapabilities(NodeGetCapabilitiesRequest) returns (NodeGetCapabilitiesResponse);
  rpc NodeGetInfo(NodeGetInfoRequest) returns (NodeGetInfoResponse);
}
"""}


class NoDriver(Exception):
    """This machine or this cluster cannot have the driver; the text says why."""


# ---------------------------------------------------------------- the node's part

class Kubelet:
    """The kubelet of this machine's node: its process, its folder, and the mounts that it sees."""

    def __init__(self, node):
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/cmdline", "rb") as stream:
                    words = stream.read().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            named = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("--")}
            if os.path.basename(words[0]) == "kubelet" and named.get("--hostname-override", socket.gethostname()) == node:
                self.process, self.folder = int(number), named.get("--root-dir", "/var/lib/kubelet")
                return
        raise NoDriver(f"no kubelet of the node {node} runs on this machine")

    def seen(self, path):
        """A path of the kubelet's, as this process reaches it."""
        return f"/proc/{self.process}/root{path}"

    def run(self, *words):
        done = subprocess.run(["nsenter", "-t", str(self.process), "-m", *words], capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
        return done.stdout

    def is_bound(self, device):
        """Whether the node of a device is bound to some other path."""
        number = os.stat(self.seen(device)).st_rdev
        with open(f"/proc/{self.process}/mounts", encoding="utf-8", errors="replace") as stream:
            paths = [line.split()[1] for line in stream if "/plugins/" in line]
        return any(stat.S_ISBLK(os.stat(self.seen(path)).st_mode) and os.stat(self.seen(path)).st_rdev == number for path in paths)

    def is_mounted(self, path):
        with open(f"/proc/{self.process}/mounts", encoding="utf-8", errors="replace") as stream:
            return any(line.split()[1] == path for line in stream)


class Store:
    """Volumes and snapshots: subvolumes of a btrfs in a file, mounted where the kubelet sees it."""

    CREATE, SNAPSHOT, DESTROY = 0x5000940E, 0x50009401, 0x5000940F  # linux/btrfs.h: BTRFS_IOC_SUBVOL_CREATE, …
    BYTES = 24 << 30  # sparse
    DISK = "disk"  # the file in a subvolume that is a block device

    def __init__(self, kubelet, node):
        self.kubelet, self.place = kubelet, f"/var/tmp/becalm-e2e-csi/{node}"
        image = self.place + ".img"
        os.makedirs(kubelet.seen(self.place), exist_ok=True)
        if not kubelet.is_mounted(self.place):
            image_here = kubelet.seen(image)
            if not os.path.exists(image_here):
                with open(image_here + ".new", "wb") as stream:
                    stream.truncate(self.BYTES)
                subprocess.run(["mkfs.btrfs", "-q", image_here + ".new"], check=True, stdout=subprocess.DEVNULL)
                os.rename(image_here + ".new", image_here)
            kubelet.run("mount", "-o", "loop", image, self.place)
        for part in ("volumes", "snapshots"):
            os.makedirs(self.path(part), exist_ok=True)

    def path(self, *names):
        return os.path.join(self.kubelet.seen(self.place), *names)

    def bare_path(self, *names):
        """As the kubelet names it."""
        return os.path.join(self.place, *names)

    def call(self, code, part, name, source=0):
        folder = os.open(self.path(part), os.O_RDONLY)
        try:
            # struct btrfs_ioctl_vol_args, of 4 KiB: only what may be changed may be that long.
            fcntl.ioctl(folder, code, bytearray(struct.pack("=q4088s", source, name.encode())))
        finally:
            os.close(folder)

    def make(self, part, name, record, origin=None):
        """Makes a volume or a snapshot, empty or with what `origin` (part, name) holds; nothing if it is there."""
        if self.record(part, name):
            return
        if os.path.isdir(self.path(part, name)):  # a process that was killed has left it half made
            self.call(self.DESTROY, part, name)
        if origin is None:
            self.call(self.CREATE, part, name)
            os.chmod(self.path(part, name), 0o777)
        else:
            source = os.open(self.path(*origin), os.O_RDONLY)
            try:
                self.call(self.SNAPSHOT, part, name, source)
            finally:
                os.close(source)
        with open(self.path(part, name + ".new"), "w", encoding="ascii") as stream:
            json.dump({**record, "made": time.time()}, stream)
        os.rename(self.path(part, name + ".new"), self.path(part, name + ".json"))

    def make_disk(self, name, size):
        """Has the volume hold a block device of so many bytes; what it holds already stays."""
        with open(self.path("volumes", name, self.DISK), "ab") as stream:
            stream.truncate(max(size, stream.tell()))

    def device(self, name):
        """The loop device of a volume that is a block device and that some pod has; None when none has it."""
        listed = self.kubelet.run("losetup", "--noheadings", "--output", "NAME", "--associated", self.bare_path("volumes", name, self.DISK))
        return listed.split()[0] if listed.split() else None

    def record(self, part, name):
        """What was said of it when it was made, and when that was; None when there is none."""
        try:
            with open(self.path(part, name + ".json"), encoding="ascii") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None

    def remove(self, part, name):
        if os.path.isdir(self.path(part, name)):
            self.call(self.DESTROY, part, name)
        if self.record(part, name):
            os.unlink(self.path(part, name + ".json"))

    def names(self):
        return sorted(f"{part}/{name.removesuffix('.json')}" for part in ("volumes", "snapshots")
                      for name in os.listdir(self.path(part)) if name.endswith(".json"))

    def close(self):
        """Takes all of it away, where no pod has a volume of it any more."""
        self.kubelet.run("umount", self.place)
        os.rmdir(self.kubelet.seen(self.place))
        os.unlink(self.kubelet.seen(self.place + ".img"))


class Plugin:
    """The services that the kubelet calls, and those by which it learns of them."""

    def __init__(self, store, kubelet, node):
        import grpc
        self.grpc, self.store, self.kubelet, self.node = grpc, store, kubelet, node
        self.socket = os.path.join(kubelet.folder, "plugins", DRIVER, "csi.sock")
        self.registration = os.path.join(kubelet.folder, "plugins_registry", DRIVER + "-reg.sock")
        self.registered = threading.Event()
        self.error = ""

    def start(self):
        with tempfile.TemporaryDirectory(prefix="becalm-csi-") as folder:
            from grpc_tools import protoc
            import grpc_tools
            for name, text in PROTOS.items():
                with open(os.path.join(folder, name), "w", encoding="ascii") as stream:
                    stream.write(text)
            known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
            if protoc.main(["protoc", f"-I{folder}", f"-I{known}", f"--python_out={folder}", f"--grpc_python_out={folder}", *PROTOS]):
                raise RuntimeError("protoc does not take the protos of CSI")
            sys.path.insert(0, folder)
            import csi_pb2
            import csi_pb2_grpc
            import registration_pb2
            import registration_pb2_grpc
            sys.path.remove(folder)
        self.csi, self.messages = csi_pb2, registration_pb2
        self.servers = [
            self.serve(self.socket, csi_pb2_grpc.add_IdentityServicer_to_server, csi_pb2_grpc.add_NodeServicer_to_server),
            self.serve(self.registration, registration_pb2_grpc.add_RegistrationServicer_to_server)]
        if not self.registered.wait(60):
            raise RuntimeError("the kubelet has not asked for the driver within 60 s")
        if self.error:
            raise RuntimeError(f"the kubelet does not take the driver: {self.error}")

    def serve(self, path, *adders):
        """A server at a socket of the kubelet's folder."""
        path = self.kubelet.seen(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        server = self.grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        for adder in adders:
            adder(self, server)
        # The kernel takes 107 bytes, and a folder of tests may lie deep.
        short = tempfile.mkdtemp(prefix="becalm-csi-")
        os.symlink(os.path.dirname(path), os.path.join(short, "s"))
        server.add_insecure_port(f"unix://{short}/s/{os.path.basename(path)}")
        server.start()
        shutil.rmtree(short)
        return server

    def stop(self):
        # The kubelet forgets a driver whose registration socket is gone.
        for path in (self.registration, self.socket):
            path = self.kubelet.seen(path)
            if os.path.exists(path):
                os.unlink(path)
        for server in self.servers:
            server.stop(5).wait()

    # Registration.

    def GetInfo(self, request, context):
        return self.messages.PluginInfo(type="CSIPlugin", name=DRIVER, endpoint=self.socket, supported_versions=["1.0.0"])

    def NotifyRegistrationStatus(self, request, context):
        self.error = "" if request.plugin_registered else request.error or "it does not say why"
        self.registered.set()
        return self.messages.RegistrationStatusResponse()

    # Identity.

    def GetPluginInfo(self, request, context):
        return self.csi.GetPluginInfoResponse(name=DRIVER, vendor_version="1")

    def GetPluginCapabilities(self, request, context):
        service = self.csi.PluginCapability.Service(type=self.csi.PluginCapability.Service.CONTROLLER_SERVICE)
        return self.csi.GetPluginCapabilitiesResponse(capabilities=[self.csi.PluginCapability(service=service)])

    def Probe(self, request, context):
        answer = self.csi.ProbeResponse()
        answer.ready.value = True
        return answer

    # Node.

    def NodeGetInfo(self, request, context):
        return self.csi.NodeGetInfoResponse(node_id=self.node)

    def NodeGetCapabilities(self, request, context):
        return self.csi.NodeGetCapabilitiesResponse()

    def NodePublishVolume(self, request, context):
        if not self.store.record("volumes", request.volume_id):
            context.abort(self.grpc.StatusCode.NOT_FOUND, f"there is no volume {request.volume_id}")
        target = request.target_path
        try:
            if request.volume_capability.WhichOneof("access_type") == "block":
                self.publish_device(request.volume_id, target)
                return self.csi.NodePublishVolumeResponse()
            os.makedirs(self.kubelet.seen(target), exist_ok=True)
            if not self.kubelet.is_mounted(target):
                self.kubelet.run("mount", "--bind", self.store.bare_path("volumes", request.volume_id), target)
                if request.readonly:
                    self.kubelet.run("mount", "-o", "remount,bind,ro", target)
        except OSError as error:
            context.abort(self.grpc.StatusCode.INTERNAL, str(error))
        return self.csi.NodePublishVolumeResponse()

    def publish_device(self, name, target):
        """Binds the device to a file at the target; pods that have the volume at once have one device."""
        here = self.kubelet.seen(target)
        os.makedirs(os.path.dirname(here), exist_ok=True)
        with open(here, "a", encoding="ascii"):
            pass
        if not self.kubelet.is_mounted(target):
            device = self.store.device(name) or self.kubelet.run(
                "losetup", "--find", "--show", self.store.bare_path("volumes", name, Store.DISK)).strip()
            self.kubelet.run("mount", "--bind", device, target)

    def NodeUnpublishVolume(self, request, context):
        target = request.target_path
        here = self.kubelet.seen(target)
        try:
            while self.kubelet.is_mounted(target):
                self.kubelet.run("umount", target)
            if os.path.isdir(here):
                os.rmdir(here)
            elif os.path.exists(here):
                os.unlink(here)
                device = self.store.device(request.volume_id)
                # The kernel lets go of it when the last who has it open does.
                if device and not self.kubelet.is_bound(device):
                    self.kubelet.run("losetup", "--detach", device)
        except OSError as error:
            context.abort(self.grpc.StatusCode.INTERNAL, str(error))
        return self.csi.NodeUnpublishVolumeResponse()


# ---------------------------------------------------------------- the controllers' part

def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def annotation(body, key):
    return (body["metadata"].get("annotations") or {}).get(key)


def annotate(key, value):
    return {"metadata": {"annotations": {key: value}}}


def size(text):
    """Bytes of a quantity, whole ones."""
    number, unit = re.fullmatch(r"(\d+)([KMGTPE]i?|k)?", str(text)).groups()
    power = " KMGTPE".index(unit[0].upper()) if unit else 0
    return int(number) * (1024 if unit and unit.endswith("i") else 1000) ** power


class Later(Exception):
    """It cannot be done yet; it is tried again, and the text is told as an event."""


class Cache(World):
    """Which never takes an older object for a newer one: what a write answers may come after the watch has told of more."""

    def keep(self, resource, body):
        with self.lock:
            there = self.objects[resource].get(self.key(body))
            if there is None or int(there["metadata"]["resourceVersion"]) < int(body["metadata"]["resourceVersion"]):
                self.objects[resource][self.key(body)] = body
        return body


class Controller:
    """What the sidecars share."""

    def __init__(self, world, store):
        self.world, self.store, self.told = world, store, set()

    def finalizers(self, resource, body, add=(), drop=()):
        """The object with these finalizers added, or dropped."""
        there = body["metadata"].get("finalizers") or []
        wanted = [f for f in there if f not in drop] + [f for f in add if f not in there]
        if wanted == there:
            return body
        # With the version, so that nobody else's is lost.
        change = {"metadata": {"finalizers": wanted or None, "resourceVersion": body["metadata"]["resourceVersion"]}}
        if wanted or not ending(body):
            return self.world.patch(resource, body, change)
        # It is gone with the last one, which the watch may have told before this returns.
        return self.world.api.patch(resource, *World.key(body), change)

    def event(self, resource, body, kind, reason, message):
        """Told once."""
        metadata = body["metadata"]
        if (metadata["uid"], message) in self.told:
            return
        self.told.add((metadata["uid"], message))
        namespace = metadata.get("namespace", "default")
        self.world.api.create(EVENTS, {
            **EVENTS.object(namespace, f"{metadata['name']}.{time.time_ns():x}"), "type": kind, "reason": reason, "message": message,
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1, "source": {"component": DRIVER}, "involvedObject": {
                "apiVersion": resource.api_version, "kind": resource.kind, "namespace": metadata.get("namespace"),
                "name": metadata["name"], "uid": metadata["uid"]}})


class Provisioner(Controller):
    """external-provisioner: a volume for a claim, which the controller manager then binds."""
    resource = cluster.CLAIMS

    def reconcile(self, claim):
        spec, metadata = claim["spec"], claim["metadata"]
        asked = [annotation(claim, f"volume.{part}kubernetes.io/storage-provisioner") for part in ("", "beta.")]
        if ending(claim) or spec.get("volumeName") or DRIVER not in asked:
            return
        of_class = self.world.get(STORAGE_CLASSES, None, spec.get("storageClassName"))
        if of_class is None or (of_class.get("volumeBindingMode") == "WaitForFirstConsumer"
                                and not annotation(claim, "volume.kubernetes.io/selected-node")):
            return
        name = "pvc-" + metadata["uid"]
        if self.world.get(VOLUMES, None, name):
            return
        self.event(self.resource, claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim '
                   f'"{metadata["namespace"]}/{metadata["name"]}"')
        try:
            wanted = spec["resources"]["requests"]["storage"]
            origin = self.origin(claim, wanted)
        except Later as later:
            self.event(self.resource, claim, "Warning", "ProvisioningFailed",
                       f'failed to provision volume with StorageClass "{spec["storageClassName"]}": {later}')
            raise
        self.store.make("volumes", name, {"bytes": size(wanted)}, origin)
        if spec.get("volumeMode") == "Block":
            self.store.make_disk(name, size(wanted))
        self.world.keep(VOLUMES, self.world.api.create(VOLUMES, {
            **VOLUMES.object(None, name, spec={
                "accessModes": spec["accessModes"], "capacity": {"storage": wanted}, "storageClassName": spec["storageClassName"],
                "persistentVolumeReclaimPolicy": of_class.get("reclaimPolicy", "Delete"), "volumeMode": spec.get("volumeMode"),
                "csi": {"driver": DRIVER, "volumeHandle": name}, "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"], "name": metadata["name"],
                    "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}),
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}}}))
        self.event(self.resource, claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def origin(self, claim, wanted):
        """What the volume is to hold: nil, or a part and a name of the store. Raises `Later` with the real one's words."""
        source, namespace = claim["spec"].get("dataSource"), claim["metadata"]["namespace"]
        if source is None:
            return None
        if source["kind"] == "PersistentVolumeClaim":
            other = self.world.get(cluster.CLAIMS, namespace, source["name"])
            if other is None or not other["spec"].get("volumeName"):
                raise Later(f"the PVC source {source['name']} is not bound")
            return "volumes", other["spec"]["volumeName"]
        if (source["kind"], source.get("apiGroup")) != ("VolumeSnapshot", SNAPSHOT.group):
            raise Later(f"the PVC source is not the right type. Expected VolumeSnapshot, Got {source['kind']}")
        name = source["name"]
        snapshot = self.world.get(SNAPSHOT, namespace, name)
        if snapshot is None:
            raise Later(f'error getting handle for DataSource Type VolumeSnapshot by Name {name}: error getting snapshot {name} from '
                        f'api server: volumesnapshots.snapshot.storage.k8s.io "{name}" not found')
        status = snapshot.get("status") or {}
        if ending(snapshot):
            raise Later(f"error getting handle for DataSource Type VolumeSnapshot by Name {name}: snapshot {name} is currently being deleted")
        if not status.get("boundVolumeSnapshotContentName"):
            raise Later(f"error getting handle for DataSource Type VolumeSnapshot by Name {name}: snapshot {name} is not bound")
        if not status.get("readyToUse"):
            raise Later(f"error getting handle for DataSource Type VolumeSnapshot by Name {name}: snapshot {name} is not Ready")
        content = self.world.get(SNAPSHOT_CONTENT, None, status["boundVolumeSnapshotContentName"])
        handle = (content or {}).get("status", {}).get("snapshotHandle")
        record = handle and self.store.record("snapshots", handle)
        if not record:
            raise Later(f"rpc error: code = NotFound desc = cannot find snapshot {handle}")
        if size(wanted) < size(status.get("restoreSize", 0)):
            raise Later(f"requested volume size {size(wanted)} is less than the size {size(status['restoreSize'])} for the source snapshot {name}")
        return "snapshots", handle


class Reclaimer(Controller):
    """external-provisioner, too: what becomes of a volume whose claim is gone."""
    resource = VOLUMES

    def reconcile(self, volume):
        csi = volume["spec"].get("csi") or {}
        if csi.get("driver") != DRIVER or volume.get("status", {}).get("phase") != "Released" or ending(volume) or \
                volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            return
        self.store.remove("volumes", csi["volumeHandle"])
        self.world.delete(VOLUMES, volume)


AS_SOURCE = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
BOUND = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
CLAIM_AS_SOURCE = "snapshot.storage.kubernetes.io/pvc-as-source-protection"
BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
BEING_CREATED = "snapshot.storage.kubernetes.io/volumesnapshot-being-created"
DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"


class Snapshots(Controller):
    """snapshot-controller: finds or makes the content of a snapshot, and tells of it in the snapshot's status."""
    resource = SNAPSHOT

    def reconcile(self, snapshot):
        if ending(snapshot):
            self.let_go(snapshot)
            return
        snapshot = self.finalizers(SNAPSHOT, snapshot, add=(AS_SOURCE, BOUND))
        try:
            content = self.content(snapshot)
        except Later as later:
            self.fail(snapshot, str(later))
            raise
        if content is not None:
            self.tell(snapshot, content)
        if (snapshot.get("status") or {}).get("readyToUse"):
            self.free_claim(snapshot)

    def fail(self, snapshot, message):
        there = (snapshot.get("status") or {}).get("error") or {}
        if there.get("message") != message:
            self.world.status(SNAPSHOT, snapshot, readyToUse=False, error={"message": message, "time": now()})

    def content(self, snapshot):
        """The content that it is, or shall be, bound to; nil for one of another driver."""
        metadata, source = snapshot["metadata"], snapshot["spec"]["source"]
        given = source.get("volumeSnapshotContentName")
        if given:
            content = self.world.get(SNAPSHOT_CONTENT, None, given)
            if content is None:
                raise Later("VolumeSnapshotContent is missing")
            if content["spec"]["driver"] != DRIVER:
                return None
            reference = content["spec"]["volumeSnapshotRef"]
            if (reference.get("namespace"), reference.get("name")) != (metadata["namespace"], metadata["name"]) or \
                    reference.get("uid", metadata["uid"]) != metadata["uid"]:
                raise Later(f"VolumeSnapshotContent [{given}] is bound to a different snapshot")
            if "uid" not in reference:
                content = self.world.patch(SNAPSHOT_CONTENT, content, {"spec": {"volumeSnapshotRef": {"uid": metadata["uid"]}}})
            return content
        name = "snapcontent-" + metadata["uid"]
        content = self.world.get(SNAPSHOT_CONTENT, None, name)
        if content is not None:
            return content
        if (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName"):
            raise Later("VolumeSnapshotContent is missing")
        claim = self.world.get(cluster.CLAIMS, metadata["namespace"], source["persistentVolumeClaimName"])
        if claim is None:
            raise Later(f'Failed to create snapshot content with error snapshot controller failed to update {metadata["name"]} on API server: '
                        f'cannot get claim from snapshot: persistentvolumeclaim "{source["persistentVolumeClaimName"]}" not found')
        volume = self.world.get(VOLUMES, None, claim["spec"].get("volumeName"))
        if volume is None:
            raise Later(f"Failed to create snapshot content with error the PVC {claim['metadata']['name']} is not yet bound to a PV, will not "
                        "attempt to take a snapshot")
        of_class = self.snapshot_class(snapshot, volume)
        if of_class is None:
            return None
        self.finalizers(cluster.CLAIMS, claim, add=(CLAIM_AS_SOURCE,))
        return self.world.keep(SNAPSHOT_CONTENT, self.world.api.create(SNAPSHOT_CONTENT, {
            **SNAPSHOT_CONTENT.object(None, name, spec={
                "driver": DRIVER, "deletionPolicy": of_class["deletionPolicy"], "volumeSnapshotClassName": of_class["metadata"]["name"],
                "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]}, "sourceVolumeMode": volume["spec"]["volumeMode"],
                "volumeSnapshotRef": {"apiVersion": SNAPSHOT.api_version, "kind": "VolumeSnapshot", "namespace": metadata["namespace"],
                                      "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}),
            "metadata": {"name": name, "finalizers": [CONTENT_BOUND]}}))

    def snapshot_class(self, snapshot, volume):
        """The one it names, or its driver's default one, which is then written into it."""
        driver = (volume["spec"].get("csi") or {}).get("driver")
        name = snapshot["spec"].get("volumeSnapshotClassName")
        if name:
            of_class = self.world.get(SNAPSHOT_CLASS, None, name)
            if of_class is None:
                raise Later(f'Failed to get snapshot class with error volumesnapshotclass.snapshot.storage.k8s.io "{name}" not found')
            if of_class["driver"] == DRIVER and driver != DRIVER:
                raise Later("Failed to create snapshot content with error cannot find CSI PersistentVolumeSource for volume "
                            + volume["metadata"]["name"])
            return of_class if of_class["driver"] == DRIVER else None
        if driver != DRIVER:
            return None
        defaults = [c for c in self.world.all(SNAPSHOT_CLASS) if c["driver"] == DRIVER and annotation(c, DEFAULT_CLASS) == "true"]
        if len(defaults) != 1:
            raise Later("Failed to set default snapshot class with error " + (
                f"{len(defaults)} default snapshot classes were found" if defaults else "cannot find default snapshot class"))
        self.world.patch(SNAPSHOT, snapshot, {"spec": {"volumeSnapshotClassName": defaults[0]["metadata"]["name"]}})
        return defaults[0]

    def tell(self, snapshot, content):
        """The status follows the content's. An error stays until it is ready."""
        found, status = content.get("status") or {}, dict(snapshot.get("status") or {})
        status["boundVolumeSnapshotContentName"] = content["metadata"]["name"]
        status["readyToUse"] = bool(found.get("readyToUse"))
        if found.get("creationTime"):
            status["creationTime"] = datetime.datetime.fromtimestamp(
                found["creationTime"] // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        if found.get("restoreSize"):
            status["restoreSize"] = str(found["restoreSize"])
        status["error"] = found.get("error") or (None if status["readyToUse"] else status.get("error"))
        self.world.status(SNAPSHOT, snapshot, **status)

    def free_claim(self, snapshot):
        """A claim is kept from going while a snapshot of it is being made."""
        name, namespace = snapshot["spec"]["source"].get("persistentVolumeClaimName"), snapshot["metadata"]["namespace"]
        claim = name and self.world.get(cluster.CLAIMS, namespace, name)
        if claim and not any(
                other["spec"]["source"].get("persistentVolumeClaimName") == name and other["metadata"]["namespace"] == namespace
                and not (other.get("status") or {}).get("readyToUse") and not ending(other) for other in self.world.all(SNAPSHOT)):
            self.finalizers(cluster.CLAIMS, claim, drop=(CLAIM_AS_SOURCE,))

    def let_go(self, snapshot):
        namespace, name = World.key(snapshot)
        for claim in self.world.all(cluster.CLAIMS):
            source = claim["spec"].get("dataSource") or {}
            if claim["metadata"]["namespace"] == namespace and source.get("kind") == "VolumeSnapshot" and source["name"] == name \
                    and claim.get("status", {}).get("phase") == "Pending" and not ending(claim):
                raise Later(f"the snapshot {name} is being used to make the claim {claim['metadata']['name']}")
        self.free_claim(snapshot)
        snapshot = self.finalizers(SNAPSHOT, snapshot, drop=(AS_SOURCE,))
        bound = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName") or "snapcontent-" + snapshot["metadata"]["uid"]
        content = self.world.get(SNAPSHOT_CONTENT, None, bound)
        if content and content["spec"]["volumeSnapshotRef"].get("uid") == snapshot["metadata"]["uid"]:
            if annotation(content, BEING_DELETED) != "yes":
                content = self.world.patch(SNAPSHOT_CONTENT, content, annotate(BEING_DELETED, "yes"))
            if content["spec"]["deletionPolicy"] == "Delete":
                self.world.delete(SNAPSHOT_CONTENT, content)
                raise Later("its content is not gone yet")
        self.finalizers(SNAPSHOT, snapshot, drop=(BOUND,))


class Contents(Controller):
    """csi-snapshotter, the driver's sidecar: has the driver cut, and asks again until it is ready."""
    resource = SNAPSHOT_CONTENT

    def __init__(self, world, store):
        super().__init__(world, store)
        self.tries, self.asked, self.next = {}, {}, {}

    def reconcile(self, content):
        spec, metadata, status = content["spec"], content["metadata"], content.get("status") or {}
        if spec["driver"] != DRIVER:
            return
        handle = spec["source"].get("snapshotHandle") or status.get("snapshotHandle") or "snapshot-" + metadata["uid"]
        if ending(content):
            if spec["deletionPolicy"] == "Delete" and (annotation(content, BEING_DELETED) == "yes" or not self.snapshot(content)):
                self.store.remove("snapshots", handle)
                content = self.finalizers(SNAPSHOT_CONTENT, content, drop=(CONTENT_BOUND,))
            elif not self.snapshot(content):
                self.finalizers(SNAPSHOT_CONTENT, content, drop=(CONTENT_BOUND,))
            return
        content = self.finalizers(SNAPSHOT_CONTENT, content, add=(CONTENT_BOUND,))
        if status.get("readyToUse"):
            return
        if time.monotonic() < self.next.get(metadata["uid"], 0):
            raise Later("it is asked again in a moment")
        self.next[metadata["uid"]] = time.monotonic() + RETRY_SECONDS / 4
        parameters = (self.world.get(SNAPSHOT_CLASS, None, spec.get("volumeSnapshotClassName") or "") or {}).get("parameters") or {}
        if "snapshotHandle" in spec["source"]:
            record = self.store.record("snapshots", handle)
            if record is None:
                self.fail(content, f"failed to list snapshot for content {metadata['name']}: \"rpc error: code = NotFound desc = cannot find "
                                   f"the snapshot {handle}\"")
            parameters = {}
        else:
            record = self.cut(content, handle, parameters)
        ready = time.time() >= record["made"] + float(parameters.get("ready-seconds", 0))
        error = None
        if parameters.get("upload-error"):
            ready, error = False, self.error(content, parameters["upload-error"])
        self.world.status(
            SNAPSHOT_CONTENT, content, snapshotHandle=handle, creationTime=int(record["made"] * 1e9), restoreSize=record["bytes"],
            readyToUse=ready, error=error)
        if not ready:
            raise Later("the driver is not ready with it")

    def snapshot(self, content):
        """The snapshot that it belongs to, where that is still there."""
        reference = content["spec"]["volumeSnapshotRef"]
        found = self.world.get(SNAPSHOT, reference["namespace"], reference["name"])
        return found if found and found["metadata"]["uid"] == reference.get("uid") else None

    def cut(self, content, handle, parameters):
        """CreateSnapshot."""
        uid = content["metadata"]["uid"]
        record = self.store.record("snapshots", handle)
        if record:
            return record
        if annotation(content, BEING_CREATED) != "yes":
            content = self.world.patch(SNAPSHOT_CONTENT, content, annotate(BEING_CREATED, "yes"))
        origin = content["spec"]["source"]["volumeHandle"]
        tries = self.tries.get(uid, 0)
        if parameters.get("error") and tries < int(parameters.get("error-count", 1 << 30)):
            self.tries[uid] = tries + 1
            self.next[uid] = time.monotonic() + RETRY_SECONDS
            self.fail(content, self.words(origin, parameters["error"]))
        begun = self.asked.setdefault(uid, time.monotonic())
        if time.monotonic() < begun + float(parameters.get("cut-seconds", 0)):
            raise Later("the driver has not cut it")
        volume = self.store.record("volumes", origin)
        if volume is None:
            self.fail(content, self.words(origin, f"there is no volume {origin}"))
        self.store.make("snapshots", handle, {"bytes": volume["bytes"], "origin": origin}, ("volumes", origin))
        self.world.patch(SNAPSHOT_CONTENT, content, annotate(BEING_CREATED, None))
        return self.store.record("snapshots", handle)

    @staticmethod
    def words(origin, error):
        return f"Failed to check and update snapshot content: failed to take snapshot of the volume {origin}: \"rpc error: code = Internal desc = {error}\""

    def error(self, content, message):
        there = (content.get("status") or {}).get("error") or {}
        return there if there.get("message") == message else {"message": message, "time": now()}

    def fail(self, content, message):
        self.world.status(SNAPSHOT_CONTENT, content, readyToUse=False, error=self.error(content, message))
        raise Later(message)


WATCHED = (cluster.CLAIMS, VOLUMES, STORAGE_CLASSES, SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT)


def control(world, told):
    """Looks at everything once; whether it must look again soon. What goes wrong is told once."""
    again = False
    def tell(text):
        if text not in told:
            told.add(text)
            print(text, flush=True)
    for controller in world.controllers:
        for body in world.all(controller.resource):
            try:
                controller.reconcile(body)
            except Later:
                again = True
            except cluster.Refused as refused:
                again = True
                if refused.status not in (404, 409):
                    tell(f"{controller.resource} {body['metadata']['name']}: {refused}")
            except Exception:
                again = True
                tell(f"{controller.resource} {body['metadata']['name']}: {traceback.format_exc()}")
    return again


def serve(kubeconfig, node):
    """The driver's process, until its parent ends."""
    parent, ended = os.getppid(), threading.Event()
    # Mounting is done by programs, and gRPC's care for forks only warns of that.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    kubelet = Kubelet(node)
    store = Store(kubelet, node)
    plugin = Plugin(store, kubelet, node)
    plugin.start()
    world = Cache(cluster.API(cluster.Configuration(kubeconfig)))
    signal.signal(signal.SIGTERM, lambda *_: (ended.set(), world.changed.set()))
    firsts = []
    for resource in WATCHED:
        firsts.append(threading.Event())
        threading.Thread(target=world.follow, args=(resource, firsts[-1]), daemon=True).start()
    for first in firsts:
        first.wait()
    world.controllers = [kind(world, store) for kind in (Provisioner, Reclaimer, Snapshots, Contents)]
    print("ready", flush=True)
    again, told = False, set()
    while os.getppid() == parent and not ended.is_set():
        world.changed.wait(0.1 if again else 2)
        world.changed.clear()
        again = control(world, told)
    plugin.stop()


# ---------------------------------------------------------------- for scripts

class Driver:
    """The driver, which runs while the context does. At the end its classes are gone, and what it holds is too."""

    def __init__(self, place, report):
        """Raises `NoDriver`."""
        self.place, self.api, self.report = place, place.api, report
        self.python = servers.grpc_python()
        if self.python is None:
            raise NoDriver("no Python here has grpcio and grpcio-tools: run `make servers`")
        if not place.is_here:
            raise NoDriver("the cluster's node is another machine")
        if shutil.which("mkfs.btrfs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None or os.geteuid():
            raise NoDriver("it needs root, and mkfs.btrfs: `e2e/install-packages csi` gets that")
        nodes = self.api.list(cluster.NODES)
        if len(nodes) != 1:
            raise NoDriver(f"it serves one node, and the cluster has {len(nodes)}")
        self.node = nodes[0]["metadata"]["name"]
        self.kubelet = Kubelet(self.node)

    def __enter__(self):
        kinds.install(self.api, self.report)
        self.put(DRIVERS, DRIVERS.object(None, DRIVER, spec={"attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "File"}))
        self.put(STORAGE_CLASSES, STORAGE_CLASSES.object(
            None, CLASS, provisioner=DRIVER, reclaimPolicy="Delete", volumeBindingMode="WaitForFirstConsumer"))
        body = SNAPSHOT_CLASS.object(None, CLASS, driver=DRIVER, deletionPolicy="Delete", parameters={})
        body["metadata"]["annotations"] = {DEFAULT_CLASS: "true"}
        self.put(SNAPSHOT_CLASS, body)
        self.store = Store(self.kubelet, self.node)
        # What another cluster of this name has left.
        for name in set(self.store.names()) - {f"{part}/{handle}" for part, handle in self.known()}:
            self.store.remove(*name.split("/"))
        self.start()
        return self

    def put(self, resource, body):
        """Creates it anew: what a killed run has left may be another."""
        self.api.delete(resource, None, body["metadata"]["name"])
        self.api.create(resource, body)

    def start(self):
        self.process = subprocess.Popen(
            [self.python, os.path.abspath(__file__), self.place.kubeconfig, self.node], stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            self.process.kill()
            self.process.wait()
            raise harness.Unexpected(f"the CSI driver did not begin: {line}")
        threading.Thread(
            target=lambda output: [self.report.say("driver: " + line.rstrip()) for line in output], args=(self.process.stdout,),
            daemon=True).start()
        cluster.wait("the node has the driver", lambda: any(
            d["name"] == DRIVER for d in (self.api.find(NODES, None, self.node) or {}).get("spec", {}).get("drivers") or []))

    def stop(self):
        """Stops the process; what it holds stays."""
        self.process.terminate()
        self.process.wait(30)

    def behave(self, name=CLASS, **parameters):
        """How snapshots of the class go from now on: `ready_seconds=10`, `error="no space"`, …"""
        current = self.api.get(SNAPSHOT_CLASS, None, name).get("parameters") or {}
        wanted = {key.replace("_", "-"): str(value) for key, value in parameters.items() if value}
        self.api.patch(SNAPSHOT_CLASS, None, name, {"parameters": {**dict.fromkeys(current), **wanted}})

    def folder(self, namespace, claim):
        """Where a claim's files are, on this machine; None while it has no volume."""
        name = self.api.get(cluster.CLAIMS, namespace, claim)["spec"].get("volumeName")
        volume = name and self.api.find(VOLUMES, None, name)
        return self.store.path("volumes", volume["spec"]["csi"]["volumeHandle"]) if volume else None

    def known(self):
        """Parts and handles of the store that objects of the cluster name."""
        for volume in self.api.list(VOLUMES):
            if (volume["spec"].get("csi") or {}).get("driver") == DRIVER:
                yield "volumes", volume["spec"]["csi"]["volumeHandle"]
        for content in self.api.list(SNAPSHOT_CONTENT):
            if content["spec"].get("driver") == DRIVER:
                yield "snapshots", content["spec"]["source"].get("snapshotHandle") or (content.get("status") or {}).get(
                    "snapshotHandle") or "snapshot-" + content["metadata"]["uid"]

    def left(self):
        """What there is of the driver: objects and what is in the store."""
        return sorted({f"{part}/{handle}" for part, handle in self.known()} | set(self.store.names()))

    def __exit__(self, kind, value, trace):
        try:
            cluster.wait("all volumes and snapshots of the driver are gone", lambda: not self.left(), 120)
        except harness.Unexpected as error:
            self.report.check(False, "nothing of the driver stays", f"{error}: {self.left()}")
        self.stop()
        for resource, name in ((SNAPSHOT_CLASS, CLASS), (STORAGE_CLASSES, CLASS), (DRIVERS, DRIVER)):
            self.api.delete(resource, None, name)
        if not self.left():
            self.store.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kubeconfig")
    parser.add_argument("node")
    options = parser.parse_args()
    serve(options.kubeconfig, options.node)


if __name__ == "__main__":
    main()
