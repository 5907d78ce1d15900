"""A plugin's process and the calls of its services, from bytes of our own: for what the real go-plugin library never does.

Needs grpcio and grpcio-tools, which `servers.py install DIR` gets; `become()` runs the script by a Python that has them.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import harness
import servers
import velero_plugin as velero

HANDSHAKE = re.compile(rb"1\|2\|unix\|(/[^|\n]+)\|grpc\n")
# What a call may take; one that hangs then fails with a code that no plugin sends.
SECONDS = 60
# google.rpc.Status as grpc-status-details-bin has it (google/rpc/status.proto).
STATUS_PROTO = """syntax = "proto3";
package google.rpc;
import "google/protobuf/any.proto";
message Status {
  int32 code = 1;
  string message = 2;
  repeated google.protobuf.Any details = 3;
}
"""


def become():
    """Runs this script by a Python with grpcio, unless it is run by one already."""
    place = servers.grpc_python()
    if place is None:
        raise SystemExit("no Python here has grpcio and grpcio-tools: run `make servers`")
    if place != sys.executable:
        os.execv(place, [place, *sys.argv])


class Protocol:
    """The stubs of our protos, made in `scratch`: the modules of messages, and a client for each service."""

    def __init__(self, scratch):
        from grpc_tools import protoc
        import grpc_tools
        protos, out = os.path.join(harness.ROOT, "plugin", "protos"), os.path.join(scratch, "stubs")
        os.makedirs(out)
        with open(os.path.join(out, "rpc_status.proto"), "w", encoding="ascii") as file:
            file.write(STATUS_PROTO)
        names = [os.path.relpath(os.path.join(directory, name), protos)
                 for part in ("velero", "goplugin") for directory, _, files in os.walk(os.path.join(protos, part))
                 for name in files if name.endswith(".proto")]
        known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
        if protoc.main(["protoc", f"-I{protos}", f"-I{out}", f"-I{known}", f"--python_out={out}", f"--grpc_python_out={out}",
                        *names, "rpc_status.proto"]):
            raise SystemExit("protoc does not take our protos")
        sys.path.insert(0, out)
        import google.protobuf.any_pb2
        import google.protobuf.empty_pb2
        import rpc_status_pb2
        from goplugin import goplugin_pb2, goplugin_pb2_grpc
        from velero import (
            DeleteItemAction_pb2, DeleteItemAction_pb2_grpc, ObjectStore_pb2, ObjectStore_pb2_grpc, PluginLister_pb2_grpc,
            Shared_pb2, VolumeSnapshotter_pb2, VolumeSnapshotter_pb2_grpc)
        from velero.v1 import ItemBlockAction_pb2, ItemBlockAction_pb2_grpc
        from velero.v2 import BackupItemAction_pb2, BackupItemAction_pb2_grpc, RestoreItemAction_pb2, RestoreItemAction_pb2_grpc
        self.shared, self.status, self.wellknown = Shared_pb2, rpc_status_pb2, google.protobuf.empty_pb2
        self.objects, self.volumes, self.host = ObjectStore_pb2, VolumeSnapshotter_pb2, goplugin_pb2
        self.backup, self.restore, self.delete = BackupItemAction_pb2, RestoreItemAction_pb2, DeleteItemAction_pb2
        self.block = ItemBlockAction_pb2
        self.clients = {
            "PluginLister": PluginLister_pb2_grpc.PluginListerStub, "ObjectStore": ObjectStore_pb2_grpc.ObjectStoreStub,
            "VolumeSnapshotter": VolumeSnapshotter_pb2_grpc.VolumeSnapshotterStub,
            "BackupItemActionV2": BackupItemAction_pb2_grpc.BackupItemActionStub,
            "RestoreItemActionV2": RestoreItemAction_pb2_grpc.RestoreItemActionStub,
            "DeleteItemAction": DeleteItemAction_pb2_grpc.DeleteItemActionStub,
            "ItemBlockAction": ItemBlockAction_pb2_grpc.ItemBlockActionStub,
            "Controller": goplugin_pb2_grpc.GRPCControllerStub, "Broker": goplugin_pb2_grpc.GRPCBrokerStub,
            "Stdio": goplugin_pb2_grpc.GRPCStdioStub}
        # The request of each unary method, with the name of the field that carries an item where it has one.
        backup, restore = velero.backup(), velero.restore()
        objects, volumes = self.objects, self.volumes
        self.requests = {
            ("ObjectStore", "Init"): objects.ObjectStoreInitRequest(config={"bucket": "b"}),
            ("ObjectStore", "ObjectExists"): objects.ObjectExistsRequest(bucket="b", key="k"),
            ("ObjectStore", "ListCommonPrefixes"): objects.ListCommonPrefixesRequest(bucket="b", delimiter="/"),
            ("ObjectStore", "ListObjects"): objects.ListObjectsRequest(bucket="b"),
            ("ObjectStore", "DeleteObject"): objects.DeleteObjectRequest(bucket="b", key="k"),
            ("ObjectStore", "CreateSignedURL"): objects.CreateSignedURLRequest(bucket="b", key="k", ttl=60 * 10**9),
            ("VolumeSnapshotter", "Init"): volumes.VolumeSnapshotterInitRequest(),
            ("VolumeSnapshotter", "CreateVolumeFromSnapshot"): volumes.CreateVolumeRequest(snapshotID="s"),
            ("VolumeSnapshotter", "GetVolumeInfo"): volumes.GetVolumeInfoRequest(volumeID="/v"),
            ("VolumeSnapshotter", "CreateSnapshot"): volumes.CreateSnapshotRequest(volumeID="/v"),
            ("VolumeSnapshotter", "DeleteSnapshot"): volumes.DeleteSnapshotRequest(snapshotID="s"),
            ("VolumeSnapshotter", "GetVolumeID"): volumes.GetVolumeIDRequest(persistentVolume=velero.persistent_volume("/v")),
            ("VolumeSnapshotter", "SetVolumeID"): volumes.SetVolumeIDRequest(
                persistentVolume=velero.persistent_volume("/v"), volumeID="/w"),
            ("BackupItemActionV2", "AppliesTo"): self.backup.BackupItemActionAppliesToRequest(),
            ("BackupItemActionV2", "Execute"): self.backup.ExecuteRequest(item=velero.claim(), backup=backup),
            ("BackupItemActionV2", "Progress"): self.backup.BackupItemActionProgressRequest(operationID="x", backup=backup),
            ("BackupItemActionV2", "Cancel"): self.backup.BackupItemActionCancelRequest(operationID="x", backup=backup),
            ("RestoreItemActionV2", "AppliesTo"): self.restore.RestoreItemActionAppliesToRequest(),
            ("RestoreItemActionV2", "Execute"): self.restore.RestoreItemActionExecuteRequest(
                item=velero.claim(), itemFromBackup=velero.claim(), restore=restore),
            ("RestoreItemActionV2", "Progress"): self.restore.RestoreItemActionProgressRequest(
                operationID="x", restore=restore),
            ("RestoreItemActionV2", "Cancel"): self.restore.RestoreItemActionCancelRequest(operationID="x", restore=restore),
            ("RestoreItemActionV2", "AreAdditionalItemsReady"): self.restore.RestoreItemActionItemsReadyRequest(
                restore=restore),
            ("DeleteItemAction", "AppliesTo"): self.delete.DeleteItemActionAppliesToRequest(),
            ("DeleteItemAction", "Execute"): self.delete.DeleteItemActionExecuteRequest(item=velero.claim(), backup=backup),
            ("ItemBlockAction", "AppliesTo"): self.block.ItemBlockActionAppliesToRequest(),
            ("ItemBlockAction", "GetRelatedItems"): self.block.ItemBlockActionGetRelatedItemsRequest(
                item=velero.claim(), backup=backup)}
        self.with_items = [key for key, request in self.requests.items() if "item" in request.DESCRIPTOR.fields_by_name]

    def request(self, kind, method, **fields):
        """A proper request, but for these fields."""
        request = type(self.requests[kind, method])()
        request.CopyFrom(self.requests[kind, method])
        for name, value in fields.items():
            if isinstance(value, dict):
                getattr(request, name).clear()
                getattr(request, name).update(value)
            else:
                setattr(request, name, value)
        return request

    def error(self, failure):
        """A grpc.RpcError as Velero reads it: code, message, and the frames of a stack."""
        error = {"code": failure.code().name.title().replace("_", ""), "message": failure.details() or "", "stack": []}
        for key, value in failure.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status = self.status.Status.FromString(value)
                if status.code != failure.code().value[0] or status.message != error["message"]:
                    error["stack"].append(f"the details say {status.code} {status.message!r}")
                for detail in status.details:
                    if detail.type_url == "type.googleapis.com/generated.Stack":
                        frames = self.shared.Stack.FromString(detail.value).frames
                        error["stack"] += [f"{frame.file}:{frame.line} {frame.function}" for frame in frames]
        return error


class Plugin:
    """A plugin's process with pipes of its own, and one connection. A context manager that leaves no process."""

    def __init__(self, protocol, program, environment, arguments=velero.ARGUMENTS, prefix=(), cookie="hello", root=""):
        variables = {"PLUGIN_MIN_PORT": "10000", "PLUGIN_MAX_PORT": "25000", "PLUGIN_PROTOCOL_VERSIONS": "2"}
        if cookie is not None:
            variables["VELERO_PLUGIN"] = cookie
        self.protocol, self.root, self.channel = protocol, root, None
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, program, *arguments], env={**variables, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.pid = self.process.pid
        self.out, self.err = b"", b""
        self.line, self.handshake_seconds = threading.Event(), None
        self.readers = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in ("out", "err")]
        for reader in self.readers:
            reader.start()

    def _read(self, name):
        pipe = self.process.stdout if name == "out" else self.process.stderr
        while chunk := os.read(pipe.fileno(), 65536):
            setattr(self, name, getattr(self, name) + chunk)
            if name == "out" and b"\n" in self.out and not self.line.is_set():
                self.handshake_seconds = time.monotonic() - self.began
                self.line.set()
        if name == "out":
            self.line.set()

    def connect(self):
        """Waits for the handshake and connects; returns whether the line was what it must be."""
        import grpc
        self.line.wait(SECONDS)
        match = HANDSHAKE.fullmatch(self.out)
        if not match:
            return False
        self.socket = (self.root.format(pid=self.pid) if self.root else "") + os.fsdecode(match[1])
        self.channel = self.connection()
        grpc.channel_ready_future(self.channel).result(SECONDS)
        return True

    def connection(self):
        """Another connection, of the kind that go-plugin makes."""
        import grpc
        return grpc.insecure_channel(f"unix:{self.socket}", [
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.default_authority", "unused"), ("grpc.use_local_subchannel_pool", 1)])

    def client(self, kind, channel=None):
        return self.protocol.clients[kind](channel or self.channel)

    def call(self, kind, method, plugin=None, **fields):
        """Response and error of a unary call, one of them None."""
        import grpc
        request = self.protocol.request(kind, method, **({} if plugin is None else {"plugin": plugin}), **fields)
        try:
            return getattr(self.client(kind), method)(request, timeout=SECONDS), None
        except grpc.RpcError as failure:
            return None, self.protocol.error(failure)

    def healthy(self):
        """Whether the health service says that the plugin serves."""
        import grpc
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check", lambda request: request, lambda response: response)
        try:
            return check(b"\x0a\x06plugin", timeout=SECONDS) == b"\x08\x01"
        except grpc.RpcError:
            return False

    def shut_down(self):
        """Asks it to end; returns the exit code and the seconds that it took, or None for a call without an answer."""
        import grpc
        began = time.monotonic()
        try:
            self.client("Controller").Shutdown(self.protocol.host.Empty(), timeout=SECONDS)
        except grpc.RpcError as failure:
            return None, f"Shutdown: {failure.code().name}"
        return self.ended(began)

    def ended(self, began=None, seconds=10):
        """Waits for the end of the process and of both pipes; returns the exit code and how long it took, or None."""
        began = began or time.monotonic()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None, "it did not end"
        for reader in self.readers:
            reader.join(seconds)
            if reader.is_alive():
                return None, "a pipe stays open"
        return code, time.monotonic() - began

    def lines(self):
        return self.err.decode("utf-8", "replace").splitlines()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.channel is not None:
            self.channel.close()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()


def unshare(*words):
    """The words to run a command with in namespaces of its own, as root in them; None where that is not allowed."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_root, *words]
    try:
        allowed = not subprocess.run([*command, "true"], stdin=subprocess.DEVNULL, capture_output=True).returncode
    except OSError:
        allowed = False
    return command if allowed else None


def cage(directory):
    """The words to run a command with that can write to `directory` and nothing else of the root file system; none where that is
    not allowed."""
    private = unshare("--mount", "--propagation", "private")
    if private is None:
        return ()
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
    return (*private, "sh", "-c", script, directory)
