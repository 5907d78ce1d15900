#!/usr/bin/env python3
"""Velero's plugin under a host that does what it should not: whatever comes, it answers, lives on, and prints nothing.

  start     without the cookie, with strange arguments and variables, without a network; the handshake, time and memory
  end       Shutdown, SIGTERM, SIGINT, a host that is killed; nothing is left behind
  names     a plugin's name that nobody has, for every method of every service
  items     empty, huge, not JSON, no object, no kind; operations that nobody knows; fifty calls at once
  objects   Init with what contradicts itself or is not there; streams that are cut, fail early, late or in the middle, or say
            nothing; a bucket that vanishes
  volumes   volumes and snapshots that are none
  disk      a full /tmp

An error of a call must be what Go plugins send: Unknown, one line, and where it was made.
"""

import concurrent.futures
import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import harness
import servers
import trees
import velero_emulator as emulator
import velero_plugin as velero

emulator.become()
import grpc  # noqa: E402

PARTS = ("start", "end", "names", "items", "objects", "volumes", "disk")
MIB = 1 << 20
PIECE = 16384
MOST_ABOVE = 48_000_000

# Starts a plugin as a host does, tells its line, and waits to be killed.
HOST = """
import subprocess, sys
plugin = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
print(plugin.pid, plugin.stdout.readline().decode().strip(), flush=True)
plugin.stdout.read()
"""


def eventually(holds, seconds=20):
    """Whether `holds` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Checks:
    def __init__(self, report, protocol, program, scratch, options):
        self.report, self.protocol, self.program, self.scratch, self.options = report, protocol, program, scratch, options
        self.environment = velero.environment(scratch, TMPDIR=scratch)
        self.is_caged = False

    def plugin(self, **options):
        """A plugin's process. What gets ids and paths to mislead it sees all but the scratch directory read-only: a
        plugin that falls for them must harm nobody who runs the tests, least of all as root."""
        if self.is_caged:
            options.setdefault("prefix", emulator.cage(self.scratch))
        return emulator.Plugin(self.protocol, self.program, options.pop("environment", self.environment), **options)

    def started(self, plugin, what):
        return self.report.check(plugin.connect(), f"{what}: the handshake is what it must be",
                                 f"{plugin.out[:300]!r} {plugin.err[-500:]!r}")

    def fails(self, error, what, *words):
        return self.report.equal(velero.error_problems(error, words), what)

    def lives(self, plugin, what):
        return self.report.check(plugin.process.poll() is None and plugin.healthy(), f"{what}: the plugin lives on",
                                 f"{plugin.process.poll()} {plugin.err[-500:]!r}")

    def finish(self, plugin, what):
        """Ends it, and checks all that must hold for a plugin's whole life."""
        code, took = plugin.shut_down()
        self.report.check(code == 0 and took < 2, f"{what}: Shutdown is answered, and it ends with 0 within two seconds",
                          f"{code} {took} {plugin.err[-500:]!r}")
        self.report.check(not os.path.lexists(plugin.socket), f"{what}: the socket is gone")
        self.report.check(emulator.HANDSHAKE.fullmatch(plugin.out), f"{what}: nothing but the handshake was printed",
                          repr(plugin.out))
        self.report.equal(velero.log_problems(plugin.lines()), f"{what}: every line of the log is one that a host can read")

    # start

    def start(self):
        for what, cookie, more in [("without the cookie", None, {}), ("with another cookie", "bonjour", {}),
                                   ("for another protocol", "hello", {"PLUGIN_PROTOCOL_VERSIONS": "1,3"})]:
            with self.plugin(cookie=cookie, environment={**self.environment, **more}) as plugin:
                code, took = plugin.ended()
                self.report.check(code == 1, f"{what}: it ends with 1", f"{code} {took}")
                self.report.check(plugin.out == b"", f"{what}: and prints nothing", repr(plugin.out))
                self.report.check(len(plugin.lines()) == 1, f"{what}: but one line that says why", repr(plugin.err))
        strange = [
            ("no arguments", []),
            ("unknown arguments", ["--no-such-option", "x", "--another=1", "-z", "words", "--", "--more"]),
            ("an argument without its value", ["--features", "a,b", "--log-level"]),
            ("a level that is none", ["--log-level=loud", "--log-level", "debug", "--log-level=loud"]),
            ("arguments that are no text", [b"\xff\xfe", b"--log-level=\xff", "", "\u00e9" * 5000]),
            ("the command of Velero's own plugins", ["run-plugins", "--log-level=debug"])]
        for what, arguments in strange:
            with self.plugin(arguments=arguments) as plugin:
                if self.started(plugin, what):
                    self.report.check(plugin.healthy(), f"{what}: it serves")
                    self.finish(plugin, what)
        with self.plugin(environment={}) as plugin:
            if self.started(plugin, "no variables but the host's"):
                self.listed(plugin, "no variables but the host's")
                self.finish(plugin, "no variables but the host's")
        self.quiet()
        self.sockets()
        alone = emulator.unshare("--net")
        if alone is None:
            self.report.skip("no network", "no network namespace may be made here")
        else:
            with self.plugin(prefix=alone) as plugin:
                if self.started(plugin, "no network"):
                    self.listed(plugin, "no network")
                    self.finish(plugin, "no network")
        self.figures()

    def listed(self, plugin, what):
        answer = plugin.client("PluginLister").ListPlugins(self.protocol.shared.Empty(), timeout=emulator.SECONDS)
        found = [{"command": one.command, "kind": one.kind, "name": one.name} for one in answer.plugins]
        self.report.equal(velero.listing_problems(found, self.program), f"{what}: it lists what it has")

    def quiet(self):
        with self.plugin(arguments=["--log-level=error"]) as plugin:
            if self.started(plugin, "--log-level=error"):
                for (kind, method) in self.protocol.requests:
                    plugin.call(kind, method, plugin="becalm.io/none")
                self.finish(plugin, "--log-level=error")
                self.report.check(plugin.err == b"", "--log-level=error: nothing less is logged", repr(plugin.err[:500]))

    def sockets(self):
        for what, name, length in [
                ("a directory of the host's", "PLUGIN_UNIX_SOCKET_DIR", 10), ("a name too long", "TMPDIR", 150)]:
            directory = os.path.join(self.scratch, "s" * length)
            os.makedirs(directory, exist_ok=True)
            with self.plugin(environment={**self.environment, name: directory}) as plugin:
                if self.started(plugin, what):
                    expected = directory if length < 100 else "/tmp"
                    self.report.check(os.path.dirname(plugin.socket) == expected, f"{what}: the socket is in {expected}",
                                      plugin.socket)
                    self.finish(plugin, what)
        with self.plugin() as one, self.plugin() as other:
            if self.started(one, "one of two") and self.started(other, "the other of two"):
                self.report.check(one.socket != other.socket, "two at once have sockets of their own")
                self.finish(one, "one of two")
                self.lives(other, "the other of two")
                self.finish(other, "the other of two")

    def figures(self):
        times, resident = [], []
        for _ in range(10):
            with self.plugin() as plugin:
                plugin.line.wait(emulator.SECONDS)
                times.append((plugin.handshake_seconds or 0) * 1000)
                resident.append(velero.memory(plugin.pid))
                if plugin.connect():
                    plugin.shut_down()
        most, anonymous = (max(one[name] for one in resident) / 1e6 for name in ("VmHWM", "RssAnon"))
        self.report.say(f"from exec to the handshake: median {statistics.median(times):.1f} ms, fastest {min(times):.1f} ms; "
                        f"resident {most:.1f} MB, of it anonymous {anonymous:.1f} MB")

    # end

    def end(self):
        with self.plugin() as plugin:
            if self.started(plugin, "held streams"):
                self.held(plugin)
        with self.plugin() as plugin:
            if self.started(plugin, "an open upload"):
                release = threading.Event()
                stream = plugin.client("ObjectStore").PutObject.future(self.pieces("b", "k", 10 * MIB, hold=release))
                self.finish(plugin, "an open upload")
                release.set()
                self.report.check(isinstance(stream.exception(10), grpc.RpcError), "an open upload: ends with an error")
        with self.plugin() as plugin:
            if self.started(plugin, "SIGTERM"):
                os.kill(plugin.pid, signal.SIGTERM)
                code, took = plugin.ended()
                self.report.check(code == 0, "SIGTERM: it ends, in order", f"{code} {took}")
                self.report.check(not os.path.lexists(plugin.socket), "SIGTERM: the socket is gone")
        with self.plugin() as plugin:
            if self.started(plugin, "SIGINT"):
                os.kill(plugin.pid, signal.SIGINT)
                for _ in range(20):
                    plugin.healthy()
                self.lives(plugin, "SIGINT")
                self.finish(plugin, "SIGINT")
        self.killed_host()
        self.strangers()

    def held(self, plugin):
        release = threading.Event()

        def silence():
            release.wait(emulator.SECONDS)
            yield from ()

        broker = plugin.client("Broker").StartStream(silence())
        stdio = plugin.client("Stdio").StreamStdio(self.protocol.wellknown.Empty())
        for _ in range(200):
            plugin.healthy()
        self.report.check(broker.is_active() and stdio.is_active(), "the streams of broker and stdio stay open")
        children = []
        for task in os.listdir(f"/proc/{plugin.pid}/task"):
            with open(f"/proc/{plugin.pid}/task/{task}/children", encoding="ascii") as file:
                children += file.read().split()
        self.report.check(not children, "no child holds the pipes", str(children))
        self.finish(plugin, "held streams")
        release.set()

    def killed_host(self):
        host = subprocess.Popen(
            [sys.executable, "-c", HOST, self.program, *velero.ARGUMENTS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env={**self.environment, "VELERO_PLUGIN": "hello", "PLUGIN_PROTOCOL_VERSIONS": "2"}, text=True)
        pid, _, line = host.stdout.readline().partition(" ")
        match = emulator.HANDSHAKE.fullmatch(line.encode())
        if not self.report.check(match, "a host that is killed: the plugin starts", line):
            host.kill()
            host.wait()
            return
        host.kill()
        host.wait()
        gone = eventually(lambda: not velero.is_running(pid), 10)
        self.report.check(gone, "a host that is killed: the plugin leaves by itself")
        self.report.check(not os.path.lexists(match[1]), "a host that is killed: the socket is gone")
        if not gone:
            os.kill(int(pid), signal.SIGKILL)

    def strangers(self):
        """Connections that speak something else, or nothing, or break off."""
        with self.plugin() as plugin:
            if not self.started(plugin, "strangers"):
                return
            before = len(os.listdir(f"/proc/{plugin.pid}/fd"))
            # Of HTTP/2 the preface alone, with nonsense after it, and with a PING and one that is none.
            preface, tls = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
            said = [b"", b"GET / HTTP/1.1\r\nHost: unused\r\n\r\n", tls + bytes(500), preface, preface + b"\xff" * 100_000,
                    preface + b"\0\0\x08\x06\0\0\0\0\0pingping\0\0\x09\x06\0\0\0\0\0", os.urandom(10_000)]
            for data in said * 10:
                with socket.socket(socket.AF_UNIX) as stranger:
                    stranger.connect(plugin.socket)
                    try:
                        stranger.sendall(data)
                    except OSError:
                        pass  # it hung up before all was said
            for _ in range(20):
                connection = plugin.connection()
                grpc.channel_ready_future(connection).result(emulator.SECONDS)
                connection.close()
            self.lives(plugin, "strangers")
            self.report.check(eventually(lambda: len(os.listdir(f"/proc/{plugin.pid}/fd")) <= before + 5),
                              "strangers: their connections are let go of")
            self.finish(plugin, "strangers")

    # names

    def names(self):
        with self.plugin() as plugin:
            if not self.started(plugin, "unknown names"):
                return
            for (kind, method) in self.protocol.requests:
                for name in ("becalm.io/none", "", "velero.io/aws", "x\n" + "\u00e9" * 5000):
                    response, error = plugin.call(kind, method, plugin=name)
                    self.fails(error, f"{kind}.{method} of {name[:15]!r} is refused", *([name] if name.isascii() else []))
            piece = self.protocol.objects.PutObjectRequest(plugin="becalm.io/none", bucket="b", key="k", body=b"x")
            self.fails(self.streamed(plugin, [piece]), "ObjectStore.PutObject of an unknown name is refused", "becalm.io/none")
            self.fails(self.read(plugin, "b", "k", name="becalm.io/none")[1],
                       "ObjectStore.GetObject of an unknown name is refused", "becalm.io/none")
            for (kind, method) in self.protocol.requests:
                if kind in ("ObjectStore", "VolumeSnapshotter") and method != "Init":
                    response, error = plugin.call(kind, method, plugin=velero.NAMES[kind][0])
                    self.fails(error, f"{kind}.{method} before Init is refused", "Init")
            self.fails(self.streamed(plugin, self.pieces("b", "k", 100_000)),
                       "ObjectStore.PutObject before Init is refused", "Init")
            self.fails(self.read(plugin, "b", "k")[1], "ObjectStore.GetObject before Init is refused", "Init")
            self.lives(plugin, "unknown names")
            self.finish(plugin, "unknown names")

    # items

    def items(self):
        with self.plugin() as plugin:
            if not self.started(plugin, "items"):
                return
            self.malformed(plugin)
            self.operations(plugin)
            self.at_once(plugin)
            self.finish(plugin, "items")
        with self.plugin() as plugin:
            if self.started(plugin, "huge items"):
                self.huge(plugin)
                self.finish(plugin, "huge items")

    def actions(self):
        """Every plugin that takes items: kind, method and name."""
        return [(kind, method, name) for kind, method in self.protocol.with_items for name in velero.NAMES[kind]]

    def execute(self, plugin, kind, method, name, item, **more):
        if kind == "RestoreItemActionV2":
            more = {"itemFromBackup": item, **more}
        return plugin.call(kind, method, plugin=name, item=item, **more)

    def malformed(self, plugin):
        items = {
            "no bytes": b"", "an array": b"[]", "null": b"null", "a number": b"17", "a string": b'"Pod"', "true": b"true",
            "no kind": b'{"apiVersion":"v1","metadata":{"name":"x"}}', "an empty object": b"{}",
            "a kind that is a number": b'{"kind":5}', "an empty kind": b'{"kind":""}',
            "half an object": b'{"kind":"Pod","spec":', "two objects": b'{"kind":"Pod"}{"kind":"Pod"}',
            "no JSON": b"kind: Pod\n", "no text": b'{"kind":"\xff\xfe"}', "a lone surrogate": b'{"kind":"Pod","x":"\\ud800"}',
            "depth": b'{"kind":"Pod","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "open depth": b'{"a":' * 200_000,
            "a zero byte": b'{"kind":"Pod"}\0', "an endless number": b'{"kind":"Pod","n":' + b"9" * 100_000 + b"}"}
        # Odd, but an object with a kind: whether it is taken is the action's own.
        free = {"a lone surrogate", "depth", "an endless number"}
        for what, item in items.items():
            for kind, method, name in self.actions():
                response, error = self.execute(plugin, kind, method, name, item)
                if error is None and (what in free or kind in ("DeleteItemAction", "ItemBlockAction")):
                    same = not hasattr(response, "item") or response.item == item
                    self.report.check(same, f"{name}: {what} as an item is refused or comes back as it was")
                else:
                    self.fails(error, f"{name}: {what} as an item is refused")
            if not self.lives(plugin, f"{what} as an item"):
                return
        for what, other in [("no bytes", b""), ("an array", b"[]"), ("no JSON", b"\xff{"), ("an empty object", b"{}")]:
            for kind, method, name in self.actions():
                field = "restore" if kind == "RestoreItemActionV2" else "backup"
                response, error = self.execute(plugin, kind, method, name, velero.claim(), **{field: other})
                if error is not None:
                    self.fails(error, f"{name}: {what} as the {field} is refused in order")
            self.lives(plugin, f"{what} as the backup or restore")
        response, error = plugin.call("RestoreItemActionV2", "Execute", plugin="becalm.io/workload-restore",
                                      item=velero.claim(), itemFromBackup=b"")
        if error is not None:
            self.fails(error, "an item without what it was in the backup is refused in order")

    def operations(self, plugin):
        """Progress must carry its sub-message, or Velero's server falls over."""
        for kind in ("BackupItemActionV2", "RestoreItemActionV2"):
            for name in velero.NAMES[kind]:
                for what, operation in [("", ""), ("a word", "x"), ("a path", "../../canary"), ("a megabyte", "o" * MIB),
                                        ("JSON", '{"a":[1,2]}'), ("lines", "a\nb\0c"), ("base64", "eyJhIjoxfQ==")]:
                    response, error = plugin.call(kind, "Progress", plugin=name, operationID=operation)
                    failed = error is None and response.HasField("progress") and response.progress.completed
                    self.report.check(
                        failed and response.progress.err and "\n" not in response.progress.err,
                        f"{name}: Progress of {what or 'nothing'} as an operation says that it failed, and why",
                        f"{str(response)[:300]} {error}")
                    _, error = plugin.call(kind, "Cancel", plugin=name, operationID=operation)
                    if error is not None:
                        self.fails(error, f"{name}: Cancel of {what or 'nothing'} as an operation is refused in order")
        items = [self.protocol.shared.ResourceIdentifier(resource="persistentvolumeclaims", namespace="none", name="none")]
        for name in velero.NAMES["RestoreItemActionV2"]:
            request = self.protocol.request("RestoreItemActionV2", "AreAdditionalItemsReady", plugin=name)
            request.additionalItems.extend(items * 100)
            try:
                answer = plugin.client("RestoreItemActionV2").AreAdditionalItemsReady(request, timeout=emulator.SECONDS)
                self.report.check(answer is not None, f"{name}: AreAdditionalItemsReady answers")
            except grpc.RpcError as failure:
                self.fails(self.protocol.error(failure), f"{name}: AreAdditionalItemsReady fails in order")
        self.lives(plugin, "operations")

    def at_once(self, plugin):
        """Fifty calls at once, each with an item of its own."""
        def one(number):
            kind, method, name = self.actions()[number % len(self.actions())]
            item = velero.config_map(number * 100)
            response, error = self.execute(plugin, kind, method, name, item)
            return error or (hasattr(response, "item") and response.item != item and f"{name} gave another item back")
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            wrong = [str(result) for result in pool.map(one, range(500)) if result]
        self.report.equal(wrong, "fifty calls at once get each its own item back")

    def huge(self, plugin):
        for size, most in [(6 * MIB, 7), (64 * MIB - 4096, 2)]:
            item = velero.config_map(size)
            # Every kind once with the largest, every plugin with the lesser.
            seen = set()
            for kind, method, name in self.actions():
                if most < 7 and kind in seen:
                    continue
                seen.add(kind)
                response, error = self.execute(plugin, kind, method, name, item)
                self.report.check(error is None and (not hasattr(response, "item") or response.item == item),
                                  f"{name} takes an item of {-(-size // MIB)} MiB and gives it back", str(error))
        self.report.say(f"most memory with items of 64 MiB: {velero.memory(plugin.pid)['VmHWM'] / 1e6:.0f} MB")
        response, error = plugin.call("DeleteItemAction", "Execute", plugin="becalm.io/volume-delete", item=b"x" * (300 * MIB))
        # The transport refuses it while it is still coming, so there may be no message of ours.
        self.report.check(error is not None, "an item of 300 MiB is refused")
        self.lives(plugin, "huge items")

    # objects

    def objects(self):
        try:
            with servers.start("rclone") as server, servers.start("moto") as vanishing:
                with self.plugin() as plugin:
                    if self.started(plugin, "objects"):
                        self.locations(plugin, server)
                        self.streams(plugin, server)
                        self.stalled(plugin, server)
                        self.finish(plugin, "objects")
                with self.plugin() as plugin:
                    if self.started(plugin, "a bucket that vanishes"):
                        self.vanishes(plugin, vanishing)
                        self.finish(plugin, "a bucket that vanishes")
        except servers.Unavailable as reason:
            self.report.check(False, "objects", str(reason))

    def pieces(self, bucket, key, size, hold=None, body=None, counted=None):
        """Messages of PutObject as Velero sends them; `hold` keeps the stream open at its end until it is set."""
        block = body or os.urandom(MIB)
        for start in range(0, size, PIECE):
            count, at = min(PIECE, size - start), start % len(block)
            if counted is not None:
                counted.append(count)
            yield self.protocol.objects.PutObjectRequest(plugin=velero.STORE, bucket=bucket, key=key, body=block[at:at + count])
        if hold is not None:
            hold.wait(emulator.SECONDS)

    def streamed(self, plugin, messages):
        """The error of a PutObject, or None."""
        try:
            plugin.client("ObjectStore").PutObject(iter(messages), timeout=emulator.SECONDS)
            return None
        except grpc.RpcError as failure:
            return self.protocol.error(failure)

    def read(self, plugin, bucket, key, name=velero.STORE):
        """What GetObject gives, and its error."""
        request = self.protocol.objects.GetObjectRequest(plugin=name, bucket=bucket, key=key)
        found = b""
        try:
            for piece in plugin.client("ObjectStore").GetObject(request, timeout=emulator.SECONDS):
                found += piece.data
        except grpc.RpcError as failure:
            return found, self.protocol.error(failure)
        return found, None

    def init(self, plugin, config):
        return plugin.call("ObjectStore", "Init", plugin=velero.STORE, config=config)[1]

    def locations(self, plugin, server):
        bucket = server.bucket()
        credentials = velero.credentials_file(os.path.join(self.scratch, "credentials"), server)
        good = velero.location(server, bucket, credentials)
        short = os.path.join(self.scratch, "short.key")
        trees.write_file(short, b"too short")
        missing = os.path.join(self.scratch, "nowhere", "cloud")
        for what, change, word in [
                ("a key nobody knows", {"regoin": "x"}, "regoin"),
                ("a boolean that is none", {"s3ForcePathStyle": "yes, please"}, "s3ForcePathStyle"),
                ("two kinds of encryption", {"kmsKeyId": "k", "customerKeyEncryptionFile": short}, "customerKeyEncryptionFile"),
                ("a customer's key that is too short", {"customerKeyEncryptionFile": short}, "32"),
                ("a customer's key that is not there", {"customerKeyEncryptionFile": missing}, missing),
                ("two keys for one thing", {"encryptionKeyFile": short, "encryptionKeySecret": "a/b"}, "encryptionKeySecret"),
                ("a key that is none", {"encryptionKeyFile": short}, short),
                ("a key that is not there", {"encryptionKeyFile": missing}, missing),
                ("an older key without a new one", {"previousEncryptionKeyFiles": short}, "previous"),
                ("a checksum that nobody knows", {"checksumAlgorithm": "MD1"}, "checksumAlgorithm"),
                ("a missing credentials file", {"credentialsFile": missing}, missing),
                ("a profile that is not there", {"profile": "nobody"}, "nobody"),
                ("a bucket with a slash", {"bucket": "a/b"}, "a/b"),
                ("an address that is none", {"s3Url": "not an address"}, "s3Url"),
                ("a public address that is none", {"publicUrl": "://x"}, "publicUrl"),
                ("certificates that are none", {"caCert": "no certificate"}, "caCert")]:
            self.fails(self.init(plugin, {**good, **change}), f"Init with {what} is refused", word)
        self.fails(self.init(plugin, {}), "Init with nothing is refused")
        self.lives(plugin, "bad locations")
        for what, config in [("a good location, after all", good), ("the same again", good)]:
            self.report.check(self.init(plugin, config) is None, f"Init with {what}")
        self.fails(self.init(plugin, {**good, "credentialsFile": missing}), "Init that fails after one that worked is refused")
        response, error = plugin.call("ObjectStore", "ObjectExists", plugin=velero.STORE, bucket=bucket, key="none")
        self.report.check(error is not None or not response.exists, "and the plugin answers still", str(error))
        self.report.check(self.init(plugin, good) is None, "Init works again")
        self.bucket = bucket

    def uploads(self, server, bucket):
        """Multipart uploads that were begun and neither finished nor given up."""
        try:
            return server.client.request("GET", f"/{bucket}", [("uploads", "")])[1].count(b"<UploadId>")
        except servers.S3Error as error:
            if error.status == 404 and "NoSuchUpload" in str(error):
                return 0  # rclone's word for none
            raise

    def streams(self, plugin, server):
        bucket = self.bucket
        self.fails(self.streamed(plugin, []), "PutObject without a message says that it needs one")
        self.report.check(server.client.list(bucket) == [], "and stores nothing")
        one = self.protocol.objects.PutObjectRequest(plugin=velero.STORE, bucket=bucket, key="zero")
        self.report.check(self.streamed(plugin, [one]) is None and server.client.get(bucket, "zero") == b"",
                          "PutObject of no bytes in a message stores an empty object")
        self.report.check(self.read(plugin, bucket, "zero") == (b"", None), "and GetObject of it ends without a message")
        # Where its half is stored, and where the S3 client sends nothing before it is whole.
        for size in (MIB, 40 * MIB):
            release = threading.Event()
            stream = plugin.client("ObjectStore").PutObject.future(self.pieces(bucket, "cut", size, hold=release))
            self.report.check(not stream.done(), f"an upload of {size // MIB} MiB waits for its end")
            time.sleep(0.5)  # to cut it in the middle of whatever; it must hold at any moment
            stream.cancel()
            release.set()
            what = f"a cut after {size // MIB} MiB"
            self.report.check(eventually(lambda: self.uploads(server, bucket) == 0), f"{what} leaves no multipart upload")
            stored = server.client.list(bucket)
            self.report.check(stored == ["zero"], f"{what} stores nothing", str(stored))
        for what, where, key in [
                ("into no bucket", bucket + "-none", "k"), ("under no key", bucket, ""),
                ("into a bucket without a name", "", "k")]:
            counted = []
            error = self.streamed(plugin, self.pieces(where, key, 32 * MIB, counted=counted))
            self.fails(error, f"PutObject {what} fails with the reason")
            self.report.check(sum(counted) == 32 * MIB, f"PutObject {what}: all is read before that", str(sum(counted)))
        several = [self.protocol.objects.PutObjectRequest(plugin=velero.STORE, bucket=bucket, key=key, body=b"x")
                   for key in ("one", "other")]
        error = self.streamed(plugin, several)
        stored = server.client.list(bucket)
        self.report.check("other" not in stored and (error is not None or stored == ["one", "zero"]),
                          "PutObject that changes its key mixes nothing up", str(stored))
        # Larger than the limit of 16 KiB that Velero keeps to.
        big = os.urandom(24 * MIB)
        message = self.protocol.objects.PutObjectRequest(plugin=velero.STORE, bucket=bucket, key="big", body=big)
        self.report.check(self.streamed(plugin, [message]) is None and server.client.get(bucket, "big") == big,
                          "PutObject takes one message of 24 MiB")
        self.lives(plugin, "streams")
        self.many(plugin, bucket)
        self.report.check("cut" not in server.client.list(bucket), "what was cut is not stored later either")
        self.fails(self.read(plugin, bucket, "none")[1], "GetObject of what is not there says so", "none")
        self.truncated(plugin, server)

    def many(self, plugin, bucket):
        bodies = {f"many/{number}": os.urandom(3 * MIB + number) for number in range(8)}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            errors = list(pool.map(
                lambda key: self.streamed(plugin, self.pieces(bucket, key, len(bodies[key]), body=bodies[key])), bodies))
            found = list(pool.map(lambda key: self.read(plugin, bucket, key), bodies))
        self.report.check(errors == [None] * 8 and found == [(body, None) for body in bodies.values()],
                          "eight uploads and eight downloads at once do not mix", str(errors)[:500])

    def truncated(self, plugin, server):
        """An object that ends while it is read."""
        path = os.path.join(server.directory, self.bucket, "shrinks")
        server.client.put(self.bucket, "shrinks", os.urandom(MIB) * 64)
        request = self.protocol.objects.GetObjectRequest(plugin=velero.STORE, bucket=self.bucket, key="shrinks")
        error, count = None, 0
        try:
            for piece in plugin.client("ObjectStore").GetObject(request, timeout=emulator.SECONDS):
                if not count:
                    os.truncate(path, MIB)
                count += len(piece.data)
        except grpc.RpcError as failure:
            error = self.protocol.error(failure)
        self.fails(error, "GetObject of an object that ends in the middle fails, and does not end as if it were whole")
        self.lives(plugin, "a broken download")

    def stalled(self, plugin, server):
        """A host that does not read costs no memory."""
        server.client.put(self.bucket, "slow", bytes(192 * MIB))
        before = velero.memory(plugin.pid)["VmRSS"]
        request = self.protocol.objects.GetObjectRequest(plugin=velero.STORE, bucket=self.bucket, key="slow")
        stream = plugin.client("ObjectStore").GetObject(request, timeout=emulator.SECONDS)
        next(stream)
        # Until nothing more comes: what a plugin without back pressure has read by then is all of it.
        last = None
        while last != (last := velero.processor_seconds(plugin.pid)):
            time.sleep(0.5)
        above = velero.memory(plugin.pid)["VmRSS"] - before
        self.report.check(above <= MOST_ABOVE, "a download that nobody reads takes little memory", f"{above / 1e6:.1f} MB")
        stream.cancel()
        self.lives(plugin, "a stalled download")

    def vanishes(self, plugin, server):
        bucket = server.bucket()
        credentials = velero.credentials_file(os.path.join(self.scratch, "credentials-moto"), server)
        config = velero.location(server, bucket, credentials)
        self.report.check(self.init(plugin, config) is None, "Init with a bucket that will vanish")
        sent = threading.Event()

        def pieces():
            yield from self.pieces(bucket, "late", 20 * MIB)
            server.client.delete(bucket, "")
            sent.set()
            yield from self.pieces(bucket, "late", 20 * MIB)
        error = self.streamed(plugin, pieces())
        self.fails(error, "PutObject into a bucket that vanishes fails with the reason", bucket)
        self.report.check(sent.is_set(), "the bucket has vanished")
        self.fails(self.read(plugin, bucket, "late")[1], "GetObject from a bucket that has vanished says so", bucket)
        for method in ("ListObjects", "ListCommonPrefixes"):
            self.fails(plugin.call("ObjectStore", method, plugin=velero.STORE, bucket=bucket)[1],
                       f"{method} of a bucket that has vanished says so", bucket)
        self.lives(plugin, "a bucket that vanishes")

    # volumes

    def volumes(self):
        kind, name = "VolumeSnapshotter", velero.SNAPSHOTTER
        with self.plugin() as plugin:
            if not self.started(plugin, "volumes"):
                return
            self.fails(plugin.call(kind, "Init", plugin=name, config={"no-such-key": "x"})[1],
                       "Init of the snapshotter with a key nobody knows is refused", "no-such-key")
            # Every way out of its directories leads to a canary in the scratch directory, and none any further.
            home, ways, canaries = os.path.join(self.scratch, "cage", "a", "b", "c"), [], []
            os.makedirs(home)
            for depth in range(4):
                canaries.append(os.path.normpath(os.path.join(home, *[".."] * depth, "canary")))
                os.mkdir(canaries[-1])
                trees.write_file(os.path.join(canaries[-1], "sings"), b"still here")
                ways.append("../" * (depth + 1) + "canary")
            ways.append(canaries[0])
            location = velero.volumes_location(home)
            _, error = plugin.call(kind, "Init", plugin=name, config=location)
            self.report.check(error is None, "Init of the snapshotter", str(error))
            os.symlink(canaries[0], os.path.join(home, "volumes", "link"))
            before = sorted(os.listdir(home))
            for what, volume in [("no bytes", b""), ("an array", b"[]"), ("no JSON", b"{"),
                                 ("no spec", b'{"kind":"PersistentVolume"}'), ("depth", b'{"spec":' + b"[" * 200_000)]:
                response, error = plugin.call(kind, "GetVolumeID", plugin=name, persistentVolume=volume)
                if what != "no spec" or error is not None:
                    self.fails(error, f"GetVolumeID of {what} is refused")
                else:
                    self.report.check(response.volumeID == "", f"GetVolumeID of {what} is none of ours", response.volumeID)
                _, error = plugin.call(kind, "SetVolumeID", plugin=name, persistentVolume=volume, volumeID="becalm1:hostpath:/data/x")
                self.fails(error, f"SetVolumeID of {what} is refused")
            for snapshot in ("", "none", ".", "..", "x" * 100_000, "a\nb", *ways):
                what = snapshot[-20:]
                self.fails(plugin.call(kind, "CreateVolumeFromSnapshot", plugin=name, snapshotID=snapshot)[1],
                           f"CreateVolumeFromSnapshot of {what!r} is refused")
                _, error = plugin.call(kind, "DeleteSnapshot", plugin=name, snapshotID=snapshot)
                if error is not None:
                    self.fails(error, f"DeleteSnapshot of {what!r} is refused in order")
            for change, word in [
                    ({"repository": ""}, "repository"), ({"repository": "here"}, "repository"),
                    ({"nodeRoots": "a"}, "nodeRoots"), ({"repositoryKeyFile": ""}, "repositoryKeyFile"),
                    ({"repositoryPasswordFile": "/x"}, "repositoryPasswordFile"), ({"nodeName": ""}, "nodeName"),
                    ({"restoreRoots": "/elsewhere"}, "restoreRoots"), ({"memory": "lots"}, "memory"),
                    ({"region": "us-east-1"}, "region")]:
                config = {**location, **change}
                self.fails(plugin.call(kind, "Init", plugin=name, config=config)[1],
                           f"Init of the snapshotter with {change} is refused", word)
            for volume in ("", "none", "becalm1:hostpath:/data/none", f"becalm1:hostpath:{canaries[0]}",
                           "becalm1:hostpath:/data/../canary", "becalm1:hostpath:/data/link", "becalm9:hostpath:/data",
                           "becalm1:nfs:somewhere:/data", "x" * 100_000):
                self.fails(plugin.call(kind, "CreateSnapshot", plugin=name, volumeID=volume)[1],
                           f"CreateSnapshot of {volume[:18]!r}..{volume[-10:]!r} is refused")
            kept = [path for path in canaries if os.path.exists(os.path.join(path, "sings"))]
            self.report.check(kept == canaries, "no id led out of its directories", str(kept))
            after = sorted(os.listdir(home)) if os.path.isdir(home) else None
            self.report.check(after == before, "nor was anything else made or removed", f"{before} {after}")
            self.lives(plugin, "volumes")
            self.finish(plugin, "volumes")

    # disk

    def disk(self):
        private = emulator.unshare("--mount", "--propagation", "private")
        if private is None:
            self.report.skip("a full /tmp", "no mount namespace may be made here")
            return
        try:
            with servers.start("rclone") as server:
                self.full_disk(private, server)
        except servers.Unavailable as reason:
            self.report.check(False, "a full /tmp", str(reason))
        # Without a place for its socket it cannot serve.
        prefix = self.tmp_in(private, "nr_inodes=50", "n=0; while touch /tmp/$n 2>/dev/null; do n=$((n + 1)); done")
        with self.plugin(prefix=prefix, environment={**self.environment, "TMPDIR": "/tmp"}) as plugin:
            code, took = plugin.ended(seconds=30)
            self.report.check(code == 1 and plugin.out == b"" and len(plugin.lines()) == 1 and b"/tmp" in plugin.err,
                              "no place for a socket: it ends with 1 and says where",
                              f"{code} {took} {plugin.out!r} {plugin.err[-500:]!r}")

    def tmp_in(self, private, limit, fill):
        """The words to run a plugin with in a /tmp of its own, of this limit, which `fill` fills. What it needs of the other
        /tmp stays where it is."""
        kept = [path for path in (self.scratch, os.path.dirname(os.path.realpath(self.program))) if path.startswith("/tmp/")]
        script = "".join(f"exec {3 + number}<'{path}'\n" for number, path in enumerate(kept))
        script += f"mount -t tmpfs -o {limit} none /tmp || exit 99\n"
        for number, path in enumerate(kept):
            script += f"mkdir -p '{path}' && mount --no-canonicalize --bind /proc/self/fd/{3 + number} '{path}' || exit 99\n"
            script += f"exec {3 + number}<&-\n"
        return [*private, "sh", "-c", f"{script}{fill}\nexec \"$0\" \"$@\""]

    def full_disk(self, private, server):
        bucket = server.bucket()
        credentials = velero.credentials_file(os.path.join(self.scratch, "credentials-disk"), server)
        prefix = self.tmp_in(private, "size=64k", "dd if=/dev/zero of=/tmp/full bs=4k 2>/dev/null")
        environment = {**self.environment, "TMPDIR": "/tmp"}
        with self.plugin(prefix=prefix, root="/proc/{pid}/root", environment=environment) as plugin:
            if not self.started(plugin, "a full /tmp"):
                return
            self.report.check(self.init(plugin, velero.location(server, bucket, credentials)) is None, "a full /tmp: Init")
            error = self.streamed(plugin, self.pieces(bucket, "k", 20 * MIB))
            self.report.check(error is None and len(server.client.get(bucket, "k")) == 20 * MIB,
                              "a full /tmp: PutObject needs none", str(error))
            found, error = self.read(plugin, bucket, "k")
            self.report.check(error is None and len(found) == 20 * MIB, "a full /tmp: GetObject needs none", str(error))
            # Its cache is below /tmp, where no scratch directory is configured; without room for one it does without.
            config = velero.volumes_location(self.scratch, cacheDirectory="/tmp/cache")
            trees.small_files(os.path.join(self.scratch, "volumes", "small"), 20, 1)
            _, error = plugin.call("VolumeSnapshotter", "Init", plugin=velero.SNAPSHOTTER, config=config)
            self.report.check(error is None, "a full /tmp: Init of the snapshotter", str(error))
            response, error = plugin.call("VolumeSnapshotter", "CreateSnapshot", plugin=velero.SNAPSHOTTER,
                                          volumeID="becalm1:hostpath:/data/small")
            self.report.check(error is None and response.snapshotID, "a full /tmp: CreateSnapshot does without a cache",
                              str(error))
            self.lives(plugin, "a full /tmp")
            self.finish(plugin, "a full /tmp")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    options = parser.parse_args()
    parts = options.parts.split(",")
    for part in parts:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
    program, report = harness.find_plugin(), harness.Report("velero-awkward")
    report.say(f"testing {program}")
    with harness.Scratch(options) as scratch:
        checks = Checks(report, emulator.Protocol(scratch), program, scratch, options)
        for part in parts:
            report.say(part)
            checks.is_caged = part in ("names", "items", "objects", "volumes")
            getattr(checks, part)()
    harness.finish(report)


if __name__ == "__main__":
    sys.exit(main())
