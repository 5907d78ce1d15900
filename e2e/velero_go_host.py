#!/usr/bin/env python3
"""Velero's plugin under the real go-plugin library: velero-host/ launches it as a Velero server does.

  list      the executable lists its plugins by the rules that a Velero server starts by
  objects   every method of ObjectStore on a real S3 server: pieces of 16 KiB, pages of more than 1,000 keys, a signed URL that
            plain HTTP fetches, errors that arrive as they were sent
  stream    1 GiB through PutObject and back through GetObject, each in one stream, compared byte for byte
  volumes   every method of VolumeSnapshotter on a directory: back comes what was there, and the volume's JSON but for its path
  actions   every method of every action: items that are none of its business come back byte for byte
  calls     10,000 calls on one connection, counted by grpc-go itself: none is repeated, nobody hangs up
  launches  the time from exec to handshake and of Kill, and the memory

Needs Go with Debian's packages: `e2e/install-packages go`. Limits on time hold for a release build only.
"""

import base64
import concurrent.futures
import gzip
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
import urllib.parse

import compare
import harness
import servers
import trees
import velero_plugin as velero

PARTS = ("list", "objects", "stream", "volumes", "actions", "calls", "launches")
MIB = 1 << 20
# What the plugin may have resident after its handshake, and above that while it works.
MOST_AT_START, MOST_ABOVE = 40_000_000, 48_000_000
MOST_HANDSHAKE_MS, MOST_KILL_MS = 30, 100


class HostFailure(Exception):
    """The host could not do what it was asked for; the text says why."""


class Answer:
    """How a call of the plugin ended."""

    def __init__(self, fields):
        self.fields = fields
        self.response, self.error = fields.get("response"), fields.get("error")

    def __getitem__(self, name):
        return self.fields.get(name)

    def __str__(self):
        return json.dumps(self.fields)[:1500]


class GoHost:
    """The Go program, and the plugins that it runs. A context manager that ends both."""

    def __init__(self, program, plugin, environment):
        self.plugin = plugin
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True)

    def do(self, command, **members):
        try:
            self.process.stdin.write(json.dumps({"do": command, **members}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError as error:
            line = str(error)
        try:
            fields = json.loads(line)
        except ValueError:
            raise HostFailure(f"the host ended at {command}: {line or self.process.wait(10)}") from None
        if "failure" in fields:
            raise HostFailure(f"{command}: {fields['failure']}")
        return Answer(fields)

    def launch(self, client="", arguments=()):
        answer = self.do("launch", client=client, path=self.plugin, arguments=[*velero.ARGUMENTS, *arguments])
        if answer["refused"]:
            raise HostFailure(f"the host refused the plugin: {answer['refused']} {answer['log'][-3:]}")
        return answer

    def call(self, kind, method, client="", **request):
        return self.do("call", client=client, kind=kind, method=method, request=request)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.stdin.close()  # it kills its plugins and ends
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def body_start(body):
    """Enough of a body to tell it by."""
    return body[:24]


def text(data):
    return base64.b64encode(data).decode()


def data(text):
    return base64.b64decode(text or "")


class Checks:
    """The cases, on one launched plugin."""

    def __init__(self, report, host, scratch, options):
        self.report, self.host, self.scratch, self.options = report, host, scratch, options
        self.release = "/debug/" not in os.path.realpath(host.plugin)

    def works(self, answer, what):
        return self.report.check(answer.error is None, what, str(answer.error))

    def fails(self, answer, what, *words):
        """It failed as a Go plugin fails: Unknown, one line, a stack."""
        return self.report.equal(velero.error_problems(answer.error, words), what)

    def measure(self, what, value, unit, most=None):
        """Tells a figure, and holds it to its limit where the binary is one that users get."""
        self.report.say(f"{what}: {value:.1f} {unit}")
        if most is not None and self.release:
            self.report.check(value <= most, f"{what}: at most {most} {unit}", f"{value:.1f}")

    # list

    def list(self):
        self.works(self.host.do("ping"), "the health check says that the plugin serves")
        answer = self.host.call("PluginLister", "ListPlugins")
        if self.works(answer, "ListPlugins answers"):
            self.report.equal(velero.listing_problems(answer.response["plugins"], self.host.plugin),
                              "a Velero server starts with what is listed")

    # objects

    def store(self, method, **request):
        return self.host.call("ObjectStore", method, plugin=velero.STORE, **request)

    def put(self, bucket, key, **source):
        return self.host.do("put", plugin=velero.STORE, bucket=bucket, key=key, **source)

    def get(self, bucket, key, **expected):
        return self.host.do("get", plugin=velero.STORE, bucket=bucket, key=key, **expected)

    def objects(self, server):
        bucket, kind = server.bucket(), server.kind
        credentials = velero.credentials_file(os.path.join(self.scratch, f"credentials-{kind}"), server)
        if not self.works(self.store("Init", config=velero.location(server, bucket, credentials)), f"{kind}: Init"):
            return
        self.bodies(server, bucket)
        self.missing(server, bucket)
        self.archives(server, bucket)
        self.lists(server, bucket)
        self.signed(server, bucket, credentials)
        self.encrypted(server, bucket, credentials)

    def bodies(self, server, bucket):
        kind = server.kind
        for size in (1, 16384, 16385, 5 * MIB, 5 * MIB + 1, 20 * MIB + 7):
            key = f"backups/nightly/body-{size}"
            self.works(self.put(bucket, key, bytes=size, seed=size), f"{kind}: PutObject of {size} bytes")
            answer = self.get(bucket, key, bytes=size, seed=size)
            self.report.check(answer.error is None and answer["differs"] == -1 and answer["bytes"] == size,
                              f"{kind}: GetObject gives the {size} bytes back", str(answer))
        odd = "backups/nightly/a b+c&d=e/\u00fc %25 'x'.json"
        body = "plain, for whoever has the bucket: \u00e9".encode()
        self.works(self.put(bucket, odd, body=text(body)), f"{kind}: PutObject under a key with odd characters")
        self.report.check(server.client.get(bucket, odd) == body, f"{kind}: the bucket holds the very bytes under the very key")
        self.works(self.put(bucket, odd, body=text(b"second")), f"{kind}: PutObject over what is there")
        self.report.check(server.client.get(bucket, odd) == b"second", f"{kind}: and replaces it")
        server.client.put(bucket, "empty", b"")
        answer = self.get(bucket, "empty")
        self.report.check(answer.error is None and answer["bytes"] == 0, f"{kind}: GetObject of an empty object", str(answer))
        answer = self.get(bucket, f"backups/nightly/body-{20 * MIB + 7}", bytes=20 * MIB + 7, seed=20 * MIB + 7, stop=3)
        self.report.check(answer["stopped"], f"{kind}: GetObject may be given up in the middle", str(answer))

    def missing(self, server, bucket):
        kind = server.kind
        for key, there in [("backups/nightly/body-1", True), ("backups/nightly/none", False), ("backups/night", False)]:
            answer = self.store("ObjectExists", bucket=bucket, key=key)
            self.report.check(answer.response == {"exists": there}, f"{kind}: ObjectExists of {key}", str(answer))
        self.works(self.store("DeleteObject", bucket=bucket, key="backups/nightly/body-1"), f"{kind}: DeleteObject")
        answer = self.store("ObjectExists", bucket=bucket, key="backups/nightly/body-1")
        self.report.check(answer.response == {"exists": False}, f"{kind}: and it is gone", str(answer))
        self.works(self.store("DeleteObject", bucket=bucket, key="backups/nightly/body-1"),
                   f"{kind}: DeleteObject of what is gone")
        self.fails(self.get(bucket, "backups/none"), f"{kind}: GetObject of what is not there says so", "backups/none", bucket)
        nowhere = bucket + "-not-there"
        # Long enough that a plugin that answers before it has read all would be heard as EOF.
        answer = self.put(nowhere, "key", bytes=20 * MIB, seed=1)
        self.fails(answer, f"{kind}: PutObject into no bucket fails with the reason, when all has been read", nowhere)
        self.fails(self.get(nowhere, "key"), f"{kind}: GetObject from no bucket fails with the reason", nowhere)
        self.fails(self.store("ListObjects", bucket=nowhere),
                   f"{kind}: ListObjects of no bucket fails with the reason", nowhere)
        self.fails(self.store("ListCommonPrefixes", bucket=nowhere, delimiter="/"),
                   f"{kind}: ListCommonPrefixes of no bucket fails with the reason", nowhere)

    def archives(self, server, bucket):
        """A backup's archive that ends in its middle: Velero ends the stream like any other when it cannot read on."""
        kind, body = server.kind, io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            entry = tarfile.TarInfo("resources/pods/namespaces/training/trainer-0.json")
            entry.size = 300_000
            archive.addfile(entry, io.BytesIO(os.urandom(entry.size)))
        whole, key = body.getvalue(), "backups/nightly/nightly.tar.gz"
        answer = self.put(bucket, key, body=text(whole[:200_000]))
        self.fails(answer, f"{kind}: an archive that ends in its middle is refused", key)
        answer = self.store("ObjectExists", bucket=bucket, key=key)
        self.report.check(answer.response == {"exists": False}, f"{kind}: and not stored", str(answer))
        self.works(self.put(bucket, key, body=text(whole)), f"{kind}: a whole archive is taken")
        self.report.check(server.client.get(bucket, key) == whole, f"{kind}: and stored as it is")

    def encrypted(self, server, bucket, credentials):
        """A location with a key: nobody reads the bucket without it, and nothing is read for a wrong one."""
        kind, key, size = server.kind, "backups/sealed/sealed.tar.gz", 9 * MIB + 3
        files = []
        for name in ("right", "wrong"):
            files.append(os.path.join(self.scratch, f"{name}-{kind}.key"))
            trees.write_file(files[-1], os.urandom(32).hex().encode())
        right, wrong = (velero.location(server, bucket, credentials, encryptionKeyFile=file) for file in files)
        body = b'{"kind":"Secret","data":{"password":"hunter2"}}' * (size // 47)
        if not self.works(self.store("Init", config=right), f"{kind}: Init with a key for encryption"):
            return
        self.works(self.put(bucket, key, body=text(body)), f"{kind}: PutObject, encrypted")
        stored = server.client.get(bucket, key)
        self.report.check(b"hunter2" not in stored and b"Secret" not in stored and stored != body,
                          f"{kind}: the bucket holds nothing to read")
        answer = self.get(bucket, key, body=text(body))
        self.report.check(answer.error is None and answer["differs"] == -1 and answer["bytes"] == len(body),
                          f"{kind}: GetObject decrypts it", str(answer))
        without = velero.location(server, bucket, credentials)
        for what, config, word in [("another key", wrong, "key"), ("no key", without, "encrypt")]:
            if self.works(self.store("Init", config=config), f"{kind}: Init with {what}"):
                answer = self.get(bucket, key, body=text(body))
                self.fails(answer, f"{kind}: GetObject with {what} is refused", word)
                self.report.check(not answer["bytes"], f"{kind}: and gives nothing out", str(answer))

        self.without_velero(server, *files)

    def without_velero(self, server, right, wrong):
        """What Velero has stored, encrypted, is readable by `becalm` with the key, and by nothing without it."""
        kind, bucket, name, secret = server.kind, server.bucket(), "nightly", "hunter2-" + os.urandom(8).hex()
        credentials = velero.credentials_file(os.path.join(self.scratch, f"credentials-{kind}"), server)
        config = velero.location(server, bucket, credentials, encryptionKeyFile=right)
        backup = {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name, "namespace": "velero"},
                  "spec": {"includedNamespaces": [secret]},
                  "status": {"phase": "Completed", "startTimestamp": "2026-11-29T00:00:00Z", "errors": 0, "warnings": 2}}
        manifest = json.dumps({"kind": "Secret", "data": {"password": secret}}).encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=0) as archive:
            entry = tarfile.TarInfo("resources/secrets/namespaces/train/token.json")
            entry.size = len(manifest)
            archive.addfile(entry, io.BytesIO(manifest))
        objects = {
            f"backups/{name}/velero-backup.json": json.dumps(backup).encode(),
            f"backups/{name}/{name}.tar.gz": packed.getvalue(),
            f"backups/{name}/{name}-logs.gz": gzip.compress(f"level=info msg={secret}".encode() * 1000, compresslevel=0)}
        if not self.works(self.store("Init", config=config), f"{kind}: Init of an encrypted location"):
            return
        for key, body in objects.items():
            self.works(self.put(bucket, key, body=text(body)), f"{kind}: PutObject of {key}")
        stored = {key: server.client.get(bucket, key) for key in server.client.list(bucket)}
        self.report.check(sorted(stored) == sorted(objects), f"{kind}: all that Velero put is in the bucket", str(sorted(stored)))
        for key, body in stored.items():
            clear = [word for word in (secret.encode(), b"Secret", b"velero.io", b"ustar", body_start(objects[key])) if word in body]
            self.report.check(not clear, f"{kind}: nothing of {key} is readable in the bucket", str(clear))

        becalm = harness.Becalm("", self.scratch, server.environment(), binary=harness.find_binary())
        place = ["--location", f"s3://{bucket}"]
        listed = becalm.run("velero", "list", *place, "--encryption-key-file", right, "--json")
        self.report.check(listed.code == 0 and any(name in str(o) and "Completed" in str(o) for o in listed.objects),
                          f"{kind}: `becalm velero list` reads it with the key", str(listed))
        for key, body in objects.items():
            read = becalm.run("velero", "cat", key, *place, "--encryption-key-file", right)
            self.report.check(read.code == 0 and read.out == body, f"{kind}: `becalm velero cat {key}` gives the same bytes", str(read))
        target = os.path.join(self.scratch, f"got-{kind}")
        got = becalm.run("velero", "get", name, *place, "--encryption-key-file", right, "--target", target)
        files = [os.path.join(folder, file) for folder, _, files in os.walk(target) for file in files]
        bodies = sorted(open(file, "rb").read() for file in files)
        self.report.check(got.code == 0 and bodies == sorted(objects.values()), f"{kind}: `becalm velero get` brings all back", str(got))
        for what, options in (("another key", ["--encryption-key-file", wrong]), ("no key", [])):
            read = becalm.run("velero", "cat", f"backups/{name}/{name}.tar.gz", *place, *options)
            self.report.check(read.code == harness.WRONG_KEY and not read.out and b"key" in read.err,
                              f"{kind}: `becalm velero cat` with {what} says that the key is missing", str(read))

    def lists(self, server, bucket):
        # More than a page, where pages do not take long to fill.
        kind, count = server.kind, 1203 if server.kind == "rclone" or not self.options.quick else 12
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for stored in [pool.submit(server.client.put, bucket, f"many/{number:05}/object", b"x") for number in range(count)]:
                stored.result()
        expected = sorted((f"many/{number:05}/object" for number in range(count)), reverse=True)
        answer = self.store("ListObjects", bucket=bucket, prefix="many/")
        self.report.check((answer.response or {}).get("keys") == expected,
                          f"{kind}: ListObjects gives {count} keys at once, the last first, as the AWS plugin does",
                          str(answer))
        answer = self.store("ListCommonPrefixes", bucket=bucket, delimiter="/", prefix="many/")
        self.report.check(
            sorted((answer.response or {}).get("prefixes", [])) == [f"many/{number:05}/" for number in range(count)],
            f"{kind}: ListCommonPrefixes gives {count} prefixes with their delimiter", str(answer))
        answer = self.store("ListCommonPrefixes", bucket=bucket, delimiter="/", prefix="")
        self.report.check(answer.response == {"prefixes": ["backups/", "many/"]},
                          f"{kind}: ListCommonPrefixes of the whole bucket leaves out objects", str(answer))
        answer = self.store("ListObjects", bucket=bucket, prefix="nothing/")
        self.report.check(answer.response == {"keys": []}, f"{kind}: ListObjects of an empty prefix", str(answer))
        answer = self.store("ListCommonPrefixes", bucket=bucket, delimiter="/", prefix="nothing/")
        self.report.check(answer.response == {"prefixes": []}, f"{kind}: ListCommonPrefixes of an empty prefix", str(answer))

    def signed(self, server, bucket, credentials):
        kind, key, size = server.kind, "backups/nightly/signed + odd", 100_000
        body = os.urandom(size)
        server.client.put(bucket, key, body)
        answer = self.store("CreateSignedURL", bucket=bucket, key=key, ttl=str(600 * 10**9))
        if not self.works(answer, f"{kind}: CreateSignedURL"):
            return
        url = answer.response["url"]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        self.report.check(query.get("X-Amz-Expires") == ["600"], f"{kind}: the URL is good for as long as was asked for", url)
        fetched = self.host.do("fetch", url=url)
        self.report.check(fetched["status"] == 200 and data(fetched["body"]) == body,
                          f"{kind}: anybody can fetch it", f"{fetched['status']} {data(fetched['body'])[:300]}")
        if kind != "moto":  # which lets everybody in
            forged = self.host.do("fetch", url=url.replace("signed%20%2B%20odd", "signed%20%2B%20od"))
            self.report.check(forged["status"] in (400, 403), f"{kind}: and nothing else with it", str(forged["status"]))
        public = "http://backups.example:8333"
        config = velero.location(server, bucket, credentials, publicUrl=public)
        self.works(self.store("Init", config=config), f"{kind}: Init again, with a public URL")
        answer = self.store("CreateSignedURL", bucket=bucket, key=key, ttl=str(60 * 10**9))
        self.report.check((answer.response or {}).get("url", "").startswith(public + "/"),
                          f"{kind}: signed URLs are of the public address", str(answer))
        answer = self.store("ObjectExists", bucket=bucket, key=key)
        self.report.check(answer.response == {"exists": True}, f"{kind}: and nothing else is", str(answer))

    # stream

    def stream(self, server):
        bucket, size = server.bucket(), self.options.stream_bytes
        credentials = velero.credentials_file(os.path.join(self.scratch, "credentials-stream"), server)
        self.works(self.store("Init", config=velero.location(server, bucket, credentials)), "Init for the long streams")
        pid = self.pid
        idle, before = velero.memory(pid), self.host.do("connection")
        began = velero.processor_seconds(pid)
        answer = self.put(bucket, "backups/big/big.tar.gz", bytes=size, seed=7)
        if not self.works(answer, f"PutObject of {size} bytes in one stream"):
            return
        put = velero.processor_seconds(pid)
        self.measure("PutObject", size / answer["seconds"] / 1e6, "MB/s")
        answer = self.get(bucket, "backups/big/big.tar.gz", bytes=size, seed=7)
        self.report.check(answer.error is None and answer["differs"] == -1 and answer["bytes"] == size,
                          f"GetObject gives the {size} bytes back in one stream", str(answer))
        if answer["seconds"]:
            self.measure("GetObject", size / answer["seconds"] / 1e6, "MB/s")
        got, after = velero.processor_seconds(pid), velero.memory(pid)
        self.measure("processor time of PutObject", (put - began) / size * 1e9, "s/GB")
        self.measure("processor time of GetObject", (got - put) / size * 1e9, "s/GB")
        self.measure("the store by itself, written by one client, one part after another", self.direct(server, bucket), "MB/s")
        self.measure("memory before the streams", idle["VmRSS"] / 1e6, "MB")
        self.measure("anonymous memory after the streams", after["RssAnon"] / 1e6, "MB")
        self.measure("most memory of the streams above idle", (after["VmHWM"] - idle["VmRSS"]) / 1e6, "MB", MOST_ABOVE / 1e6)
        self.same_connection(before, 2, "both streams went over the one connection")
        server.client.delete(bucket, "backups/big/big.tar.gz")

    def direct(self, server, bucket):
        """MB/s that the store takes from a client that only sends."""
        body, count = os.urandom(16 * MIB), 8
        began = time.monotonic()
        for number in range(count):
            server.client.put(bucket, f"direct/{number}", body)
        return count * len(body) / (time.monotonic() - began) / 1e6

    def same_connection(self, before, calls, what):
        """grpc-go's own count: the same socket as before, and so many more streams on it."""
        after = self.host.do("connection")
        expected = {socket: streams + calls for socket, streams in before["sockets"].items()}
        self.report.check(len(expected) == 1 and after["sockets"] == expected, what, f"{before} {after}, of {calls} calls")

    # volumes

    def volume(self, method, **request):
        return self.host.call("VolumeSnapshotter", method, plugin=velero.SNAPSHOTTER, **request)

    def volumes(self):
        root = os.path.join(self.scratch, "volumes")
        source, place = os.path.join(root, "checkpoints"), "/data/checkpoints"
        os.makedirs(root)
        trees.small_files(source, 200, self.options.seed)
        trees.big_file(os.path.join(source, "model.safetensors"), 20_000_000, self.options.seed)
        trees.set_times(source, 0)
        expected = compare.describe(source)
        if not self.works(self.volume("Init", config=velero.volumes_location(self.scratch)), "Init of the snapshotter"):
            return
        given = velero.persistent_volume(place)
        answer = self.volume("GetVolumeID", persistentVolume=text(given))
        volume = (answer.response or {}).get("volumeID")
        if not self.report.check(volume, "GetVolumeID of a directory on the node", str(answer)):
            return
        foreign = json.loads(given)
        del foreign["spec"]["hostPath"]
        foreign["spec"]["csi"] = {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}
        answer = self.volume("GetVolumeID", persistentVolume=text(velero.encode(foreign)))
        self.report.check(answer.response == {"volumeID": ""},
                          "GetVolumeID of another driver's volume is empty, and no error", str(answer))
        answer = self.volume("GetVolumeInfo", volumeID=volume, volumeAZ="zone-1")
        self.report.check(answer.error is None and "volumeType" in (answer.response or {}), "GetVolumeInfo", str(answer))
        answer = self.volume("CreateSnapshot", volumeID=volume, volumeAZ="zone-1", tags={"velero.io/backup": "nightly"})
        snapshot = (answer.response or {}).get("snapshotID")
        if not self.report.check(snapshot, "CreateSnapshot", str(answer)):
            return
        trees.change(source, self.options.seed, 20)
        answer = self.volume("CreateVolumeFromSnapshot", snapshotID=snapshot, volumeType="", volumeAZ="zone-1")
        made = (answer.response or {}).get("volumeID")
        if self.report.check(made and made != volume, "CreateVolumeFromSnapshot makes another volume", str(answer)):
            self.renamed(given, place, made, expected)
        self.works(self.volume("DeleteSnapshot", snapshotID=snapshot), "DeleteSnapshot")
        self.works(self.volume("DeleteSnapshot", snapshotID=snapshot), "DeleteSnapshot of what is gone")
        self.fails(self.volume("CreateVolumeFromSnapshot", snapshotID=snapshot), "a deleted snapshot cannot be restored")
        self.fails(self.volume("CreateSnapshot", volumeID=volume + "-not-there"), "CreateSnapshot of no directory says so")

    def renamed(self, given, place, made, expected):
        """SetVolumeID puts the new directory into the volume and touches nothing else; it holds what was backed up."""
        answer = self.volume("SetVolumeID", persistentVolume=text(given), volumeID=made)
        if not self.works(answer, "SetVolumeID"):
            return
        back = data(answer.response["persistentVolume"])
        new = json.loads(back)["spec"]["hostPath"]["path"]
        self.report.check(back == given.replace(place.encode(), new.encode()),
                          "SetVolumeID changes the path and not a byte beside it", back.decode())
        again = self.volume("GetVolumeID", persistentVolume=text(back))
        self.report.check(again.response == {"volumeID": made}, "and GetVolumeID finds the new volume in it", str(again))
        directory = new.replace("/data", os.path.join(self.scratch, "volumes"), 1)
        if self.report.check(os.path.isdir(directory) and new != place, "the new volume is a directory", directory):
            self.report.equal(compare.differences(expected, compare.describe(directory)), "with all that the snapshot held")

    # actions

    def actions(self):
        backup, restore = text(velero.backup()), text(velero.restore())
        items = {
            "a ConfigMap": velero.config_map(), "a claim": velero.claim(), "a pod": velero.pod(),
            "a Job": velero.encode(velero.job()), "a volume": velero.persistent_volume("/data/checkpoints")}
        for kind, names in velero.NAMES.items():
            for name in names if kind not in ("ObjectStore", "VolumeSnapshotter") else ():
                answer = self.host.call(kind, "AppliesTo", plugin=name)
                selector = (answer.response or {}).get("ResourceSelector") or {}
                self.report.check(selector.get("includedResources"), f"{name} applies to some resources, not to all",
                                  str(answer))
                self.operations(kind, name, backup, restore)
                for what, item in items.items():
                    self.execute(kind, name, what, item, backup, restore)
        self.belonging(backup)
        self.restoring(restore)

    def belonging(self, backup):
        """A claim is in one block with the pod or the Job that mounts it."""
        claim = {"group": "", "resource": "persistentvolumeclaims", "namespace": "training", "name": "checkpoints"}
        for what, item in [("a pod", velero.pod()), ("a Job", velero.encode(velero.job()))]:
            answer = self.host.call("ItemBlockAction", "GetRelatedItems", plugin="becalm.io/training-group", item=text(item),
                                    backup=backup)
            self.report.check(claim in (answer.response or {}).get("relatedItems", []), f"the claim of {what} belongs to it",
                              str(answer))

    def restoring(self, restore):
        """What would run twice, or before its data is there, does not."""
        def restored(item, original=None):
            answer = self.host.call("RestoreItemActionV2", "Execute", plugin="becalm.io/workload-restore", restore=restore,
                                    item=text(velero.encode(item)), itemFromBackup=text(velero.encode(original or item)))
            return answer, answer.response or {}, json.loads(data((answer.response or {}).get("item")) or "{}")
        done, fresh = velero.job(finished=True), velero.job(finished=True)
        del fresh["status"]
        answer, response, _ = restored(fresh, done)
        self.report.check(response.get("skipRestore") is True, "a Job that was done is not run again", str(answer))
        queued = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload", "spec": {},
                  "metadata": velero.metadata("job-train-1")}
        answer, response, _ = restored(queued)
        self.report.check(response.get("skipRestore") is True, "a Workload of Kueue's is left to Kueue", str(answer))
        running = velero.job()
        answer, response, item = restored(running)
        self.report.check(response.get("skipRestore") is False and not item.get("spec", {}).get("suspend"),
                          "a Job that ran is restored", str(answer))
        running["metadata"]["annotations"] = {"becalm.io/consistency": "stop"}
        answer, response, item = restored(running)
        self.report.check(response.get("skipRestore") is False and not item.get("spec", {}).get("suspend"),
                          "nor is a marked one held, which nothing would let go", str(answer))

    def execute(self, kind, name, what, item, backup, restore):
        foreign = what == "a ConfigMap"
        if kind == "ItemBlockAction":
            answer = self.host.call(kind, "GetRelatedItems", plugin=name, item=text(item), backup=backup)
            related = (answer.response or {}).get("relatedItems")
            self.report.check(isinstance(related, list) and all(one["resource"] and one["name"] for one in related),
                              f"{name} names what belongs to {what}", str(answer))
            if foreign:
                self.report.check(related == [], f"{name}: nothing belongs to {what}", str(answer))
            return
        if kind == "DeleteItemAction":
            self.works(self.host.call(kind, "Execute", plugin=name, item=text(item), backup=backup),
                       f"{name} deletes for {what}")
            return
        more = {"backup": backup} if kind == "BackupItemActionV2" else {"restore": restore, "itemFromBackup": text(item)}
        answer = self.host.call(kind, "Execute", plugin=name, item=text(item), **more)
        if not self.works(answer, f"{name} takes {what}"):
            return
        back = data(answer.response["item"])
        try:
            whole = isinstance(json.loads(back), dict) and json.loads(back)["kind"] == json.loads(item)["kind"]
        except (ValueError, KeyError):
            whole = False
        self.report.check(whole, f"{name} gives {what} back as a whole object", back[:300].decode("utf-8", "replace"))
        if foreign:
            self.report.check(back == item, f"{name} gives {what} back byte for byte", back.decode("utf-8", "replace"))
            self.report.check(not answer.response["operationID"] and not answer.response["additionalItems"],
                              f"{name} starts nothing for {what}", str(answer))

    def operations(self, kind, name, backup, restore):
        """What belongs to operations that go on after their call, for one that nobody knows."""
        if kind not in ("BackupItemActionV2", "RestoreItemActionV2"):
            return
        of = {"backup": backup} if kind == "BackupItemActionV2" else {"restore": restore}
        answer = self.host.call(kind, "Progress", plugin=name, operationID="nobody-knows", **of)
        progress = (answer.response or {}).get("progress") or {}
        self.report.check(progress.get("completed") is True and progress.get("err"),
                          f"{name}: an operation that nobody knows has failed, with the reason", str(answer))
        answer = self.host.call(kind, "Cancel", plugin=name, operationID="nobody-knows", **of)
        self.report.check(answer.error is None or not velero.error_problems(answer.error),
                          f"{name}: Cancel of an operation that nobody knows", str(answer))
        if kind == "RestoreItemActionV2":
            items = [{"group": "", "resource": "persistentvolumeclaims", "namespace": "training", "name": "checkpoints"}]
            answer = self.host.call(kind, "AreAdditionalItemsReady", plugin=name, restore=restore, additionalItems=items)
            self.report.check(isinstance((answer.response or {}).get("ready"), bool),
                              f"{name}: AreAdditionalItemsReady answers yes or no", str(answer))

    # calls

    def calls(self):
        request = {"plugin": "becalm.io/workload-restore", "item": text(velero.config_map()),
                   "itemFromBackup": text(velero.config_map()), "restore": text(velero.restore())}
        before, idle = self.host.do("connection"), velero.memory(self.pid)
        seconds = 0
        for count, workers in [(self.options.calls // 2, 1), (self.options.calls - self.options.calls // 2, 8)]:
            answer = self.host.do("calls", kind="RestoreItemActionV2", method="Execute", request=request, count=count,
                                  workers=workers)
            self.report.check(answer["failed"] == 0, f"{count} calls by {workers} at once", str(answer))
            self.measure(f"a call, {workers} at once", answer["seconds"] / count * 1e6, "microseconds")
            seconds += answer["seconds"]
        self.same_connection(before, self.options.calls, f"{self.options.calls} calls took as many streams of one connection")
        added = velero.memory(self.pid)["VmHWM"] - idle["VmHWM"]
        self.measure("memory that the calls added", added / 1e6, "MB", MOST_ABOVE / 1e6)

    # launches

    def launches(self):
        handshakes, kills, most = [], [], 0
        for _ in range(self.options.launches):
            launched = self.host.launch("timed")
            most = max(most, velero.memory(launched["pid"])["VmHWM"])
            handshakes.append(launched["handshake_ms"])
            kills.append(self.ended("timed", launched)["kill_ms"])
        self.measure(f"median of {len(handshakes)} from exec to handshake", statistics.median(handshakes), "ms")
        # A busy machine can only make it longer.
        self.measure("fastest from exec to handshake", min(handshakes), "ms", MOST_HANDSHAKE_MS)
        self.measure(f"median of {len(kills)} Kills", statistics.median(kills), "ms")
        self.measure("fastest Kill", min(kills), "ms", MOST_KILL_MS)
        self.measure("memory after the handshake", most / 1e6, "MB", MOST_AT_START / 1e6)

    def ended(self, client, launched, quiet=True):
        """Kills a plugin, and checks that it went by itself, at once, and left nothing behind."""
        log = self.host.do("log", client=client)
        answer = self.host.do("kill", client=client)
        said = " ".join(answer["log"])
        self.report.check(
            answer["exited"] and "gracefully" not in said and '"@level":"error"' not in said and "signal: killed" not in said
            and "exit status" not in said,
            "the plugin ends by itself when it is told to", said[-1500:])
        self.report.check(not os.path.exists(launched["address"]), "and removes its socket", launched["address"])
        if quiet:
            self.report.equal(velero.log_problems(log["stderr"]), "what it logs, a host can read and counts as no warning")
        return answer


def build(scratch):
    """The path of the host."""
    directory = os.path.join(harness.ROOT, ".build-velero-host")
    done = subprocess.run([os.path.join(harness.HERE, "velero-host", "build"), directory], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the host cannot be built: {done.stderr.strip()[-2000:]}")
    return os.path.join(directory, "velero-host")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--stores", default="", help="S3 servers for objects (default: rclone and moto; without --quick all)")
    parser.add_argument("--stream-bytes", type=int, default=1 << 30)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--launches", type=int, default=20)
    options = parser.parse_args()
    parts = options.parts.split(",")
    for part in parts:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
    stores = options.stores.split(",") if options.stores else ["rclone", "moto"] if options.quick else list(servers.KINDS)
    plugin, report = harness.find_plugin(), harness.Report("velero-go")
    with harness.Scratch(options) as scratch:
        program = build(scratch)
        report.say(f"the host is built; testing {plugin}")
        with GoHost(program, plugin, velero.environment(scratch, TMPDIR=scratch)) as host:
            run(report, host, scratch, options, parts, stores)
    harness.finish(report)


def run(report, host, scratch, options, parts, stores):
    checks = Checks(report, host, scratch, options)
    try:
        launched = host.launch()
        checks.pid = launched["pid"]
        for part in parts:
            report.say(part)
            if part == "objects":
                for kind in stores:
                    with_server(report, kind, checks.objects, f"objects on {kind}")
            elif part == "stream":
                with_server(report, "rclone", checks.stream, "long streams")
            else:
                getattr(checks, part)()
        checks.ended("", launched)
    except HostFailure as failure:
        report.check(False, "the host goes through with it", str(failure))


def with_server(report, kind, use, what):
    try:
        with servers.start(kind) as server:
            use(server)
    except servers.Unavailable as reason:
        # What the quick run needs is installed for it: only radosgw may be away.
        if kind == "radosgw":
            report.skip(what, str(reason))
        else:
            report.check(False, what, str(reason))


if __name__ == "__main__":
    sys.exit(main())
