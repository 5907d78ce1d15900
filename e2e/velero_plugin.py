"""What the two hosts of Velero's plugin share: how a Velero server runs one, what it demands of one, and items to give it.

Both stand in for a Velero server: velero_go_host.py on the real go-plugin library, velero_awkward_host.py with bytes of its
own, for what no proper host does.
"""

import json
import os
import re

# What the executable serves, by kind.
NAMES = {
    "ObjectStore": ["becalm.io/s3"],
    "VolumeSnapshotter": ["becalm.io/volumes"],
    "ItemBlockAction": ["becalm.io/training-group"],
    "BackupItemActionV2": ["becalm.io/quiesce", "becalm.io/volume-backup"],
    "RestoreItemActionV2": ["becalm.io/volume-restore", "becalm.io/workload-restore"],
    "DeleteItemAction": ["becalm.io/volume-delete"],
}
STORE, SNAPSHOTTER = "becalm.io/s3", "becalm.io/volumes"

# The arguments of a Velero server of 1.18, which hands its own on to every plugin.
ARGUMENTS = [
    "--features=EnableCSI", "--uploader-type=kopia", "--log-level=debug", "--default-repo-maintain-frequency=1h0m0s",
    "--backup-sync-period", "1m", "--plugin-dir=/plugins", "--log-format=json", "--default-volumes-to-fs-backup=false"]


def environment(scratch, **more):
    """A Velero server's variables, without anything of ours or of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith((
        "AWS_", "BECALM_", "PLUGIN_", "VELERO_", "KUBERNETES_"))}
    home = os.path.join(scratch, "home")
    os.makedirs(home, exist_ok=True)
    kept.update(
        HOME=home, VELERO_NAMESPACE="velero", VELERO_SCRATCH_DIR=os.path.join(scratch, "scratch"), LD_LIBRARY_PATH="/plugins",
        AWS_EC2_METADATA_DISABLED="true")
    kept.update(more)
    return kept


def credentials_file(path, server, profile="default"):
    """Keys as Velero puts them under `/tmp/credentials` for a location that names a Secret."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f"[{profile}]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n")
    os.chmod(path, 0o600)
    return path


def location(server, bucket, credentials, **more):
    """The configuration of a backup storage location as it reaches a plugin's Init."""
    return {
        "bucket": bucket, "prefix": "", "region": "us-east-1", "s3Url": server.endpoint, "s3ForcePathStyle": "true",
        "credentialsFile": credentials, **more}


# What keeps a Velero server from starting.

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
KINDS = {
    "ObjectStore", "VolumeSnapshotter", "BackupItemAction", "BackupItemActionV2", "RestoreItemAction", "RestoreItemActionV2",
    "DeleteItemAction", "ItemBlockAction"}


def listing_problems(identifiers, path):
    """What is wrong with an answer of ListPlugins by the rules of Velero's registry; `path` is the executable."""
    problems, seen = [], set()
    for one in identifiers:
        command, kind, name = one.get("command"), one.get("kind"), one.get("name")
        domain, _, rest = name.partition("/")
        if not SUBDOMAIN.fullmatch(domain) or len(domain) > 253 or not LABEL.fullmatch(rest):
            problems.append(f"{name!r} is not a DNS-1123 subdomain, a slash and a name")
        if domain == "velero.io":
            problems.append(f"{name!r} is in Velero's own domain")
        if kind not in KINDS:
            problems.append(f"{name!r} is of the kind {kind!r}, which Velero does not know")
        if (kind, name) in seen:
            problems.append(f"{name!r} is listed twice as {kind}")
        seen.add((kind, name))
        if not os.path.isabs(command or "") or not os.path.exists(command) or not os.path.samefile(command, path):
            problems.append(f"{name!r} is to be run as {command!r}, which is not the executable")
    names = {}
    for kind, name in seen:
        names.setdefault(kind, []).append(name)
    for kind in sorted(NAMES.keys() | names.keys()):
        found = sorted(names.get(kind, []))
        if found != NAMES.get(kind, []):
            problems.append(f"{kind}: {found} are listed instead of {NAMES.get(kind, [])}")
    order = [one.get("name") for one in identifiers]
    for kind in names:
        of_kind = [one["name"] for one in identifiers if one["kind"] == kind]
        if of_kind != sorted(of_kind):
            problems.append(f"{kind} is not in order: {order}")
    return problems


LEVELS = {"trace", "debug", "info", "warn", "error"}


def log_problems(lines, allowed=("trace", "debug", "info")):
    """What is wrong with a plugin's standard error: anything that a host would not parse, that would make it panic (values
    that are no strings), or that would count against the backup under way (levels beyond `allowed`)."""
    problems = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            problems.append(f"not JSON: {line[:300]}")
            continue
        if not isinstance(entry, dict):
            problems.append(f"not an object: {line[:300]}")
            continue
        if len(line) > 64 << 10:
            problems.append(f"longer than 64 KiB: {line[:100]}")
        for key, value in entry.items():
            if not isinstance(value, str):
                problems.append(f"{key!r} is not a string: {line[:300]}")
        for key in ("@message", "@level"):
            if key not in entry:
                problems.append(f"no {key!r}: {line[:300]}")
        if "@timestamp" in entry and not re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", str(entry["@timestamp"])):
            problems.append(f"a time that the host does not parse: {line[:300]}")
        level = entry.get("@level")
        if level not in LEVELS:
            problems.append(f"no level of hclog's: {line[:300]}")
        elif level not in allowed:
            problems.append(f"counts against the backup: {line[:300]}")
    return problems


def error_problems(error, words=()):
    """What is wrong with an error of a call: {code, message, stack}, as Velero decodes it. `words` must be in the message."""
    if not error:
        return ["there is no error"]
    problems, message = [], error.get("message", "")
    if error.get("code") != "Unknown":
        problems.append(f"the code is {error.get('code')} and not Unknown")
    if not message.strip() or any(ord(character) < 0x20 for character in message):
        problems.append("the message is not one line")
    if "Error(" in message or "error:" in message.lower().split("  ")[0][:6]:
        problems.append("the message is a dump of a value")
    for word in words:
        if word.lower() not in message.lower():
            problems.append(f"the message does not say {word!r}")
    if not error.get("stack"):
        problems.append("there is no stack")
    elif not re.fullmatch(r"\S+\.swift:[1-9]\d* \S.*", error["stack"][0]):
        problems.append(f"the stack is {error['stack'][0][:200]!r}")
    return [f"{problem}: {message[:500]!r}" for problem in problems]


def memory(pid):
    """Bytes resident: now, at most so far, and what belongs to the process alone."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
    return {name: int(fields[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM", "RssAnon")}


def processor_seconds(pid):
    """User and system time so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_running(pid):
    """Whether the process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# Items, spelled as Go's encoding/json spells them: keys sorted, `<`, `>` and `&` escaped, integers as integers.

def encode(item):
    text = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def metadata(name, namespace="training", **more):
    return {
        "creationTimestamp": "2026-08-21T10:00:00Z", "name": name, "resourceVersion": "9007199254740993",
        "uid": "4b5c0f0e-2c0d-4ef7-8f0b-0d1f3b7c9a11", **({"namespace": namespace} if namespace else {}), **more}


def backup(**spec):
    return encode({
        "apiVersion": "velero.io/v1", "kind": "Backup",
        "metadata": metadata("nightly", "velero", labels={"velero.io/storage-location": "default"}),
        "spec": {
            "csiSnapshotTimeout": "10m0s", "includedNamespaces": ["training"], "itemOperationTimeout": "4h0m0s", "hooks": {},
            "storageLocation": "default", "ttl": "720h0m0s", **spec},
        "status": {"formatVersion": "1.1.0", "phase": "InProgress", "startTimestamp": "2026-08-21T10:05:00Z", "version": 1}})


def restore(**spec):
    return encode({
        "apiVersion": "velero.io/v1", "kind": "Restore", "metadata": metadata("nightly-back", "velero"),
        "spec": {"backupName": "nightly", "includedNamespaces": ["*"], "itemOperationTimeout": "4h0m0s", **spec},
        "status": {"phase": "InProgress"}})


def persistent_volume(path):
    """A PersistentVolume on a directory of a node."""
    return encode({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": metadata("pv-checkpoints", None, annotations={"example.com/note": "<kept & whole>"}),
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"},
            "claimRef": {"kind": "PersistentVolumeClaim", "name": "checkpoints", "namespace": "training"},
            "hostPath": {"path": path, "type": "Directory"}, "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "", "unknownToUs": {"large": 9007199254740993, "fraction": 1.5, "exponent": 1e21}},
        "status": {"phase": "Bound"}})


def claim():
    return encode({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("checkpoints"),
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "fast",
            "volumeName": "pv-checkpoints"},
        "status": {"phase": "Bound"}})


def pod(**more):
    return encode({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata("trainer-0", **more),
        "spec": {
            "containers": [{"args": ["a && b > c"], "image": "registry.example/trainer:1", "name": "trainer",
                            "resources": {"limits": {"nvidia.com/gpu": "8"}}}],
            "volumes": [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": "checkpoints"}}]},
        "status": {"phase": "Running"}})


def config_map(bytes_of_data=100):
    """An item that no action has any business with, as large as one likes."""
    return encode({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings"),
        "data": {"huge": "x" * bytes_of_data, "odd": "<&> \u00e9 \U0001f680"},
        "numbers": [9007199254740993, 1.0, 1e-7, -0.0, True]})


def job(finished=False, **spec):
    status = {"active": 1, "ready": 1, "startTime": "2026-08-21T09:00:00Z"}
    if finished:
        status = {
            "completionTime": "2026-08-21T09:30:00Z", "succeeded": 1, "startTime": "2026-08-21T09:00:00Z",
            "conditions": [{"lastTransitionTime": "2026-08-21T09:30:00Z", "status": "True", "type": "Complete"}]}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("train"),
        "spec": {
            "backoffLimit": 0, "completions": 4, "parallelism": 4, "completionMode": "Indexed",
            "template": {
                "spec": {
                    "containers": [{"image": "registry.example/trainer:1", "name": "trainer"}], "restartPolicy": "Never",
                    "volumes": [{"name": "c", "persistentVolumeClaim": {"claimName": "checkpoints"}}]}},
            **spec},
        "status": status}


def volumes_location(scratch, **more):
    """The configuration of a volume snapshot location: the node's /data is `scratch`/volumes, new volumes go to /data/restored
    there, and the repository is a directory."""
    for name in ("volumes", "volumes/restored", "repository"):
        os.makedirs(os.path.join(scratch, name), exist_ok=True)
    key = os.path.join(scratch, "repository.key")
    if not os.path.exists(key):
        with open(key, "wb") as file:
            file.write(os.urandom(32))
        os.chmod(key, 0o600)
    return {
        "repository": os.path.join(scratch, "repository"), "repositoryKeyFile": key, "createRepository": "true",
        "nodeRoots": f"/data={os.path.join(scratch, 'volumes')}", "nodeName": "*", "restoreRoots": "/data/restored", **more}
