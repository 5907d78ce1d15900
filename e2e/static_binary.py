#!/usr/bin/env python3
"""A static executable needs no other file: it asks for no loader and no library, and works in an empty folder.

    static_binary.py [EXECUTABLE]     default: $BECALM_STATIC, or .build-static/becalm

Every run of it is in a folder of its own (chroot) as user 65532, in which there is nothing but what a line below names:
no /proc, no /dev, no /etc. Only backup and restore get a /proc, which extended attributes need.

  file     no INTERP, no NEEDED, no run path, at a random address, no stack that is executable
  empty    --version, again and again: the same words each time, nothing on stderr, nothing left behind
  S3       init, backup, restore, verify against a real server
    address    by IP address, with no other file in the folder
    hosts      by a name in /etc/hosts
    search     by a short name, as in a pod: /etc/resolv.conf with `search` and `ndots:5`, and a name server that knows the
               whole name only
    hostile    in an image that would have it load modules: nsswitch.conf, openssl.cnf (FIPS), libraries that are none
    TLS        by name, with the authority's file; and refused without it, and with another's
  plugin   for velero-plugin-becalm instead of S3: it installs itself, and shakes hands

Needs root, for chroot; without, only the file is looked at.
"""

import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import compare
import harness
import servers
import trees

USER = 65532
CHROOT = ("chroot", f"--userspec={USER}:{USER}")
TOOLS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
PLUGIN = "velero-plugin-becalm"
SHORT_NAME, SEARCH = "s3.storage", ["velero.svc.cluster.local", "svc.cluster.local", "cluster.local"]
WHOLE_NAME = f"{SHORT_NAME}.svc.cluster.local"

# ---------------------------------------------------------------- the file

PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 2, 3, 0x6474E551
DT_NEEDED, DT_RPATH, DT_RUNPATH = 1, 15, 29
ET_DYN = 3


class ELF:
    """Type, program headers and dynamic section of a 64-bit little-endian executable."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if data[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"{path} is no 64-bit little-endian ELF file")
        self.type = struct.unpack_from("<H", data, 16)[0]
        (start,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
        self.segments, self.dynamic = {}, []
        for index in range(count):
            kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, start + index * size)
            self.segments[kind] = (flags, data[offset:offset + length])
        for tag, value in struct.iter_unpack("<qQ", self.segments.get(PT_DYNAMIC, (0, b""))[1]):
            if tag == 0:
                break
            self.dynamic.append(tag)


def look_at_file(report, path):
    elf = ELF(path)
    report.check(PT_INTERP not in elf.segments, "the executable asks for no loader",
                 str(elf.segments.get(PT_INTERP, (0, b""))[1]))
    for tag, name in ((DT_NEEDED, "library"), (DT_RPATH, "run path"), (DT_RUNPATH, "run path")):
        report.check(tag not in elf.dynamic, f"the executable names no {name} (tag {tag})")
    report.check(elf.type == ET_DYN, "the executable is loaded at a random address")
    report.check(not elf.segments.get(PT_GNU_STACK, (1, b""))[0] & 1, "its stack is not executable")


# ---------------------------------------------------------------- an empty folder


def may_chroot():
    """Nil, or the reason why not."""
    if os.geteuid() != 0:
        return "chroot needs root"
    done = subprocess.run([*CHROOT, "/", "true"], capture_output=True, text=True)
    return done.stderr.strip() or f"chroot ends with {done.returncode}" if done.returncode else None


class Cage:
    """A folder that holds the executable, and what the caller puts there."""

    def __init__(self, path, executable):
        self.path, self.name = path, os.path.basename(executable)
        os.makedirs(path)
        os.chmod(path, 0o755)
        shutil.copy(executable, os.path.join(path, self.name))
        os.chmod(os.path.join(path, self.name), 0o755)

    def at(self, path):
        return self.path + path

    def folder(self, path):
        """Makes a folder that the executable may write to."""
        os.makedirs(self.at(path))
        os.chown(self.at(path), USER, USER)

    def file(self, path, text):
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        trees.write_file(self.at(path), text.encode())
        os.chmod(self.at(path), 0o644)

    def start(self, *arguments, environment=None, proc=False):
        """Starts the executable with this environment and a PATH for what starts it; `proc`: with a /proc, mounted for it alone."""
        command = [*CHROOT, self.path, "/" + self.name, *arguments]
        if proc:
            os.makedirs(self.at("/proc"), exist_ok=True)
            command = [*OWN_MOUNTS, 'mount -t proc proc "$0" && exec "$@"', self.at("/proc"), *command]
        return subprocess.Popen(
            command, env={"PATH": TOOLS, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def content(self):
        return sorted(
            os.path.relpath(os.path.join(place, name), self.path)
            for place, folders, files in os.walk(self.path) for name in folders + files)


def look_at_empty(report, cage, rounds):
    """One run may hide a race: libdispatch's monitor, which reads /proc, lost one in three."""
    said, endings, times = set(), {}, []
    for _ in range(rounds):
        began = time.monotonic()
        process = cage.start("--version")
        said.add(process.communicate(timeout=60))
        times.append(time.monotonic() - began)
        endings[process.returncode] = endings.get(process.returncode, 0) + 1
    report.check(endings == {0: rounds}, f"{rounds} runs in an empty folder end with 0", f"{endings}: {said}")
    report.check(len(said) == 1, "they all say the same", str(said))
    report.check(all(re.fullmatch(rb"(velero-plugin-becalm )?\d+\.\d+\.\d+\S*\n", out) and not err for out, err in said),
                 "they tell the version and nothing else", str(said))
    report.check(cage.content() == [cage.name], "they leave nothing behind", str(cage.content()))
    times.sort()
    report.say(f"exec to exit {times[len(times) // 2] * 1000:.1f} ms (median), {times[0] * 1000:.1f} ms (best), chroot included; "
               f"{os.path.getsize(cage.at('/' + cage.name)) / 1e6:.1f} MB")


# ---------------------------------------------------------------- S3


class Caged(harness.Becalm):
    """The command in a cage."""

    def __init__(self, cage, repository, environment):
        self.cage, self.key_options, self.binary = cage, [], "/" + cage.name
        self.environment = {
            "HOME": "/home", "BECALM_REPOSITORY": repository, "BECALM_CACHE_DIR": "/home/cache", "BECALM_PASSWORD": harness.PASSWORD,
            "AWS_EC2_METADATA_DISABLED": "true", **environment}

    def start(self, *arguments, cwd=None, prefix=(), extra=None):
        process = self.cage.start(
            *arguments, environment={**self.environment, **(extra or {})}, proc=arguments[0] in ("backup", "restore"))
        process.words, process.began = list(arguments), time.monotonic()
        return process


def journey(report, becalm, name, source):
    """There and back again."""
    try:
        becalm.init()
        made = becalm.must("backup", "./source", "--json").summary
        becalm.must("restore", made.get("snapshot", "latest"), "--target", "/home/back", "--verify", "--json")
        back = becalm.cage.at("/home/back/source")
        report.equal(compare.differences(source, compare.describe(back)), f"{name}: the restored tree equals its source")
        report.equal(harness.damage(becalm.verify(codes=(harness.DONE, harness.INTEGRITY))), f"{name}: verify finds nothing wrong")
    except harness.Unexpected as failure:
        report.check(False, f"{name}: the journey", str(failure))


class NameServer:
    """Knows one name and its IPv4 address; of all others it says that they do not exist. Remembers what it was asked."""

    def __init__(self, name, address):
        self.name, self.reply, self.asked = name, socket.inet_aton(address), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Any address of 127/8 is this machine's; the port cannot be named in resolv.conf.
        self.address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
        try:
            self.socket.bind((self.address, 53))
        except OSError as error:
            raise servers.Unavailable(f"no name server on {self.address}:53: {error.strerror}") from None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            if not query:
                return  # from `__exit__`
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels).lower(), struct.unpack_from(">H", query, at + 1)[0]
            self.asked.append((name, {1: "A", 28: "AAAA"}.get(kind, str(kind))))
            known = name == self.name
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + self.reply if known and kind == 1 else b""
            head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, 1 if answer else 0, 0, 0)
            self.socket.sendto(head + query[12:at + 5] + answer, client)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.socket.sendto(b"", (self.address, 53))
        self.thread.join()
        self.socket.close()


class Authority:
    """A certificate authority for tests, and a certificate of it for names."""

    def __init__(self, folder, *names):
        if shutil.which("openssl") is None:
            raise servers.Unavailable("there is no openssl to make certificates with")
        os.makedirs(folder)
        self.file, self.key = os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")
        self.certificate, self.certificate_key = os.path.join(folder, "server.pem"), os.path.join(folder, "server.key")
        request, extensions = os.path.join(folder, "server.csr"), os.path.join(folder, "extensions")
        trees.write_file(extensions, f"subjectAltName={','.join('DNS:' + name for name in names)}\n".encode())
        new = ("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        for command in (
                (*new, "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", self.key, "-out", self.file),
                (*new, "-subj", "/CN=server", "-keyout", self.certificate_key, "-out", request),
                ("openssl", "x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                 "-extfile", extensions, "-out", self.certificate)):
            subprocess.run(command, check=True, capture_output=True)


class TLSFront:
    """Takes TLS and hands the bytes on, unread, to a server without."""

    def __init__(self, authority, port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.certificate_key)
        self.context, self.target = context, port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        try:
            secured = self.context.wrap_socket(client, server_side=True)
        except (ssl.SSLError, OSError):
            client.close()  # it did not trust us
            return
        server = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self.copy, args=(server, secured), daemon=True).start()
        self.copy(secured, server)

    @staticmethod
    def copy(source, target):
        try:
            while piece := source.recv(256 << 10):
                target.sendall(piece)
        except (OSError, ValueError):
            pass  # one side closed: so does the other
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.close()


# What would be loaded, were there a loader: each name service asks for libnss_NAME.so.2.
NSSWITCH = "passwd: files hostile\ngroup: files hostile\nhosts: hostile files dns\n"
OPENSSL = """\
openssl_conf = start
[start]
alg_section = algorithms
providers = providers
[providers]
fips = module
[module]
activate = 1
module = /usr/lib/hostile.so
[algorithms]
default_properties = fips=yes
"""
# Where Debian, Fedora and a build from source look for OpenSSL's settings.
OPENSSL_PLACES = ("/usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/usr/local/ssl/openssl.cnf")


class Store:
    """The server of all journeys, and the folders for them."""

    def __init__(self, report, server, scratch, executable, source):
        self.report, self.server, self.scratch, self.executable, self.source = report, server, scratch, executable, source
        self.port = int(server.endpoint.rpartition(":")[2])
        self.expected = compare.describe(source)

    def cage(self, name):
        cage = Cage(os.path.join(self.scratch, name), self.executable)
        cage.folder("/home")
        shutil.copytree(self.source, cage.at("/source"), copy_function=shutil.copy2)
        subprocess.run(["cp", "-a", self.source + "/.", cage.at("/source")], check=True)
        return cage

    def becalm(self, cage, endpoint, **environment):
        return Caged(cage, f"s3://{self.server.bucket()}/a/prefix", {**self.server.environment(endpoint), **environment})

    def run(self, name, endpoint, cage, **environment):
        journey(self.report, self.becalm(cage, endpoint, **environment), name, self.expected)

    def by_address(self):
        self.run("address", f"http://127.0.0.1:{self.port}", self.cage("address"))

    def by_hosts(self):
        cage = self.cage("hosts")
        cage.file("/etc/hosts", "127.0.0.1 objects.test\n")
        self.run("hosts", f"http://objects.test:{self.port}", cage)

    def by_search(self):
        cage = self.cage("search")
        with NameServer(WHOLE_NAME, "127.0.0.1") as names:
            cage.file("/etc/resolv.conf", f"search {' '.join(SEARCH)}\nnameserver {names.address}\noptions ndots:5\n")
            self.run("search", f"http://{SHORT_NAME}:{self.port}", cage)
            # With five dots wanted, the name as it is comes last.
            order = list(dict.fromkeys(name for name, _ in names.asked))
            self.report.check(order == [f"{SHORT_NAME}.{SEARCH[0]}", WHOLE_NAME],
                              "search: the domains are tried in their order until one has the name", str(order))
            becalm = self.becalm(cage, f"http://nowhere.test:{self.port}")
            outcome = becalm.run("snapshots", timeout=300)
            self.report.check(outcome.code == harness.UNREACHABLE and b"nowhere.test" in outcome.err,
                              "search: a name that does not exist is told", str(outcome))

    def in_hostile_image(self):
        cage = self.cage("hostile")
        cage.file("/etc/hosts", "127.0.0.1 objects.test\n")
        cage.file("/etc/nsswitch.conf", NSSWITCH)
        cage.file("/etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        cage.file("/etc/ld.so.preload", "/usr/lib/hostile.so\n")
        for path in OPENSSL_PLACES:
            cage.file(path, OPENSSL)
        for path in ("/usr/lib/hostile.so", "/lib/libnss_hostile.so.2", "/usr/lib/libnss_hostile.so.2", "/plugins/libnss_hostile.so.2"):
            cage.file(path, "this is no library")
        settings = {"LD_LIBRARY_PATH": "/plugins", "LANG": "de_DE.ISO-8859-1", "SWIFT_ROOT": "/plugins"}
        self.run("hostile", f"http://objects.test:{self.port}", cage, **settings)
        # libcurl does not read openssl.cnf either, so where it comes first nothing does.
        outcome = Caged(cage, "/home/repository", settings).run("init")
        self.report.check(outcome.code == harness.DONE, "hostile: the image's openssl.cnf is not read", str(outcome))

    def by_tls(self):
        ours = Authority(os.path.join(self.scratch, "authority"), "objects.test")
        other = Authority(os.path.join(self.scratch, "other-authority"), "objects.test")
        with TLSFront(ours, self.port) as front:
            endpoint = f"https://objects.test:{front.port}"
            cage = self.cage("tls")
            cage.file("/etc/hosts", "127.0.0.1 objects.test\n127.0.0.1 wrong.test\n")
            for name, authority in (("ours", ours), ("other", other)):
                with open(authority.file) as file:
                    cage.file(f"/trust/{name}.pem", file.read())
            becalm = self.becalm(cage, endpoint)
            for what, bundle, address in (
                    ("no authority", "", endpoint), ("another's authority", "/trust/other.pem", endpoint),
                    ("another name", "/trust/ours.pem", f"https://wrong.test:{front.port}")):
                extra = {"AWS_ENDPOINT_URL_S3": address, **({"AWS_CA_BUNDLE": bundle} if bundle else {})}
                outcome = becalm.run("init", "--json", extra=extra, timeout=300)
                self.report.check(
                    outcome.code == harness.UNREACHABLE and b"certificate" in (outcome.err + outcome.out).lower(),
                    f"TLS: refused with {what}", str(outcome))
            self.run("TLS", endpoint, cage, AWS_CA_BUNDLE="/trust/ours.pem")
            # The place where most distributions keep theirs.
            with open(ours.file) as file:
                cage.file("/etc/ssl/certs/ca-certificates.crt", file.read())
            trees.remove_tree(cage.at("/home"))
            cage.folder("/home")
            self.run("TLS, the image's authorities", endpoint, cage)


def look_at_s3(report, scratch, executable, options):
    source = os.path.join(scratch, "source")
    trees.small_files(os.path.join(source, "small"), 50 if options.quick else 500, options.seed)
    trees.big_file(os.path.join(source, "big.bin"), 20_000_000 if options.quick else 200_000_000, options.seed)
    for place, folders, files in os.walk(source):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(place, name), USER, USER)
    trees.set_times(source, trees.EPOCH_NS + 42)
    probe = subprocess.run([*OWN_MOUNTS, "mount -t proc proc /proc"], capture_output=True, text=True)
    if probe.returncode:
        report.skip("S3", f"no /proc can be mounted for the executable: {probe.stderr.strip()}")
        return
    # They check signatures. moto takes the first part of an endpoint's name for the bucket's.
    for kind in ("rclone", "radosgw"):
        try:
            with servers.start(kind) as server:
                store = Store(report, server, scratch, executable, source)
                for part in (store.by_address, store.by_hosts, store.by_search, store.in_hostile_image, store.by_tls):
                    try:
                        part()
                    except servers.Unavailable as reason:
                        report.skip(part.__name__, reason)
                    report.say(part.__name__.replace("_", " "))
            return
        except servers.Unavailable as reason:
            report.say(f"{kind}: {reason}")
    report.skip("S3", "no server can be had")


# ---------------------------------------------------------------- the plugin


def look_at_plugin(report, cage):
    cage.folder("/target")
    process = cage.start("--install", "/target")
    _, err = process.communicate(timeout=60)
    report.check(process.returncode == 0, "it installs itself", f"{process.returncode}: {err!r}")
    report.check(os.listdir(cage.at("/target")) == [PLUGIN], "one file is installed", str(os.listdir(cage.at("/target"))))
    installed = cage.at(f"/target/{PLUGIN}")
    if os.path.exists(installed):
        with open(installed, "rb") as copy, open(cage.at("/" + PLUGIN), "rb") as original:
            report.check(copy.read() == original.read(), "what is installed is itself")
        report.check(os.stat(installed).st_mode & 0o777 == 0o755, "everyone may run it", oct(os.stat(installed).st_mode))

    cage.folder("/tmp")
    began = time.monotonic()
    # As Velero launches it: four variables, and its own server's flags.
    process = cage.start("--features=EnableCSI", "--log-level=info", environment={
        "VELERO_PLUGIN": "hello", "PLUGIN_MIN_PORT": "10000", "PLUGIN_MAX_PORT": "25000", "PLUGIN_PROTOCOL_VERSIONS": "2"})
    try:
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        match = re.fullmatch(rb"1\|2\|unix\|(/[^|]+)\|grpc\n", line)
        report.check(match is not None, "it shakes hands", repr(line))
        if match:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(cage.at(match[1].decode()))
            report.check(process.poll() is None, "it serves")
            with open(f"/proc/{process.pid}/status") as file:
                resident = re.search(r"VmRSS:\s*(\d+)", file.read())
            report.say(f"exec to handshake {seconds * 1000:.1f} ms; {int(resident[1]) / 1024:.1f} MiB resident")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
            report.check(True, "it ends when asked to")
        except subprocess.TimeoutExpired:
            process.kill()
            report.check(False, "it ends when asked to", str(process.communicate()[1]))


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("executable", nargs="?", help="the executable (default: $BECALM_STATIC, or .build-static/becalm)")
    options = parser.parse_args()
    executable = options.executable or os.environ.get("BECALM_STATIC") or os.path.join(harness.ROOT, ".build-static", "becalm")
    report = harness.Report("static")
    if not os.access(executable, os.X_OK):
        report.skip("the static executable", f"there is no {executable}: `make static PRODUCT=becalm` makes it")
        harness.finish(report)
    executable = os.path.abspath(executable)
    look_at_file(report, executable)
    reason = may_chroot()
    if reason:
        report.skip("runs in an empty folder", reason)
        harness.finish(report)
    with harness.Scratch(options) as scratch:
        os.chmod(scratch, 0o755)
        cage = Cage(os.path.join(scratch, "empty"), executable)
        look_at_empty(report, cage, 30 if options.quick else 200)
        if cage.name == PLUGIN:
            look_at_plugin(report, cage)
        else:
            look_at_s3(report, scratch, executable, options)
    harness.finish(report)


if __name__ == "__main__":
    main()
