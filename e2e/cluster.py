"""A real Kubernetes cluster for tests: brought up or adopted, a small client of its API, namespaces that go at the end, pods
that leave a trace while they live.

Which cluster: `BECALM_TEST_KUBECONFIG`, else `KUBECONFIG`, else one that the command `BECALM_CLUSTER` brings up: `up NAME INDEX`
prints the path of a kubeconfig, `load NAME FILE.tar` imports an image, `down NAME` removes it. One that is adopted is given
its images by `BECALM_CLUSTER load $BECALM_CLUSTER_NAME`, by `kind load` where the context is kind's, or has them already.
"""

import base64
import calendar
import contextlib
import copy
import email.utils
import http.client
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import container_image
import harness
import servers

CONFIGURATION = "becalm-e2e"  # the label on everything that outlives a namespace
TRACES = "/var/tmp/becalm-e2e-traces"  # on the node
JSON, MERGE = "application/json", "application/merge-patch+json"


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status, method, path, body):
        self.status, self.reason = status, body.get("reason", "") if isinstance(body, dict) else ""
        message = body.get("message", "") if isinstance(body, dict) else str(body)[:300]
        super().__init__(f"{method} {path}: {status} {message}")


class Unavailable(Exception):
    """There is no cluster to test with; the text says why."""


class Resource:
    """How the API serves a kind."""

    def __init__(self, group, version, plural, kind, namespaced=True):
        self.group, self.version, self.plural, self.kind, self.namespaced = group, version, plural, kind, namespaced

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self):
        """As kubectl and Becalm take it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace=None, name=None, part=None):
        words = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            words += ["namespaces", namespace]
        words += [self.plural] + ([name] if name else []) + ([part] if part else [])
        return "/" + "/".join(words)

    def object(self, namespace, name, /, **members):
        metadata = {"name": name, **({"namespace": namespace} if self.namespaced else {})}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, **members}

    def __repr__(self):
        return self.name


PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False)
NODES = Resource("", "v1", "nodes", "Node", False)
SECRETS = Resource("", "v1", "secrets", "Secret")
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
JOBS = Resource("batch", "v1", "jobs", "Job")
STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


class Configuration:
    """The current context of a kubeconfig: server, authority, and a certificate or a token."""

    def __init__(self, path):
        self.path = path
        try:
            text = subprocess.check_output(
                ["kubectl", "config", "view", "--raw", "--flatten", "--minify", "-o", "json", "--kubeconfig", path], text=True,
                stderr=subprocess.PIPE)
        except FileNotFoundError:
            raise Unavailable("there is no kubectl to read the kubeconfig with") from None
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"kubectl cannot read {path}: {error.stderr.strip()}") from None
        self.content = json.loads(text)
        self.cluster = self.content["clusters"][0]["cluster"]
        self.user = self.content["users"][0]["user"]
        self.context = self.content["current-context"]
        self.server = urllib.parse.urlsplit(self.cluster["server"])
        if "exec" in self.user or "auth-provider" in self.user:
            raise Unavailable(f"{path} asks a program for credentials, which these scripts do not do: give a token or a certificate")

    def tls(self):
        if self.server.scheme != "https":
            return None
        context = ssl.create_default_context()
        if "certificate-authority-data" in self.cluster:
            context.load_verify_locations(cadata=base64.b64decode(self.cluster["certificate-authority-data"]).decode())
        if self.cluster.get("insecure-skip-tls-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if "client-certificate-data" in self.user:
            with tempfile.TemporaryDirectory() as folder:
                for name in ("certificate", "key"):
                    with open(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as stream:
                        stream.write(base64.b64decode(self.user[f"client-{name}-data"]))
                context.load_cert_chain(os.path.join(folder, "certificate"), os.path.join(folder, "key"))
        return context

    def write(self, path, server=None, token=None, namespace=None):
        """A kubeconfig like this one, for another way to the server or another user. JSON is YAML."""
        content = copy.deepcopy(self.content)
        if server:
            content["clusters"][0]["cluster"] = {"server": server}
            content["users"][0]["user"] = {}
        if token:
            content["users"][0]["user"] = {"token": token}
        if namespace:
            content["contexts"][0]["context"]["namespace"] = namespace
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(content, stream)
        return path


class API:
    """A client of the API server; any thread may use it."""

    def __init__(self, configuration):
        self.configuration, self.context, self.local = configuration, configuration.tls(), threading.local()

    def connect(self, timeout=60):
        server = self.configuration.server
        if self.context:
            return http.client.HTTPSConnection(server.hostname, server.port or 443, context=self.context, timeout=timeout)
        return http.client.HTTPConnection(server.hostname, server.port or 80, timeout=timeout)

    def headers(self, **more):
        token = self.configuration.user.get("token")
        return {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {}), **more}

    def request(self, method, path, body=None, content_type=JSON):
        """The answer's object; raises `Refused`. A connection that the server has closed meanwhile is made anew."""
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers(**({"Content-Type": content_type} if data is not None else {}))
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            fresh = connection is None
            if fresh:
                connection = self.local.connection = self.connect()
            try:
                connection.request(method, path, data, headers)
                response = connection.getresponse()
                text = response.read()
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                self.local.connection = None
                if fresh or attempt == 2:
                    raise
        self.local.date = response.getheader("Date")
        try:
            answer = json.loads(text) if text else {}
        except ValueError:
            answer = text.decode("utf-8", "replace")
        if response.status >= 300:
            raise Refused(response.status, method, path, answer)
        return answer

    def now(self):
        """The server's clock, in seconds since 1970, as its answers tell it."""
        self.request("GET", "/version")
        return email.utils.parsedate_to_datetime(self.local.date).timestamp()

    def get(self, resource, namespace, name):
        return self.request("GET", resource.path(namespace, name))

    def find(self, resource, namespace, name):
        """The object; None when there is none."""
        try:
            return self.get(resource, namespace, name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def list(self, resource, namespace=None, labels=None):
        query = "?labelSelector=" + urllib.parse.quote(labels) if labels else ""
        return self.request("GET", resource.path(namespace) + query).get("items") or []

    def create(self, resource, body):
        return self.request("POST", resource.path(body["metadata"].get("namespace")), body)

    def patch(self, resource, namespace, name, change, part=None):
        return self.request("PATCH", resource.path(namespace, name, part), change, MERGE)

    def replace(self, resource, body, part=None):
        metadata = body["metadata"]
        return self.request("PUT", resource.path(metadata.get("namespace"), metadata["name"], part), body)

    def delete(self, resource, namespace, name, grace=None, propagation="Background"):
        """Deletes an object; whether it was there."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self.request("DELETE", resource.path(namespace, name), options)
            return True
        except Refused as refused:
            if refused.status == 404:
                return False
            raise

    def delete_all(self, resource, namespace, grace=None):
        query = f"?gracePeriodSeconds={grace}" if grace is not None else ""
        self.request("DELETE", resource.path(namespace) + query)

    def watch(self, resource, version, seconds=240):
        """Yields the events of all namespaces after `version`, until the server ends it."""
        connection = self.connect(timeout=seconds + 30)
        try:
            path = f"{resource.path()}?watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}"
            connection.request("GET", path, headers=self.headers())
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(response.status, "GET", path, response.read().decode("utf-8", "replace"))
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()


def wait(what, condition, seconds=60, every=0.1):
    """Looks again and again until `condition` answers something true, which is returned; raises `Unexpected` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise harness.Unexpected(f"after {seconds} s still not: {what}")
        time.sleep(every)


def seconds(text):
    """RFC 3339 in UTC as seconds since 1970."""
    whole, _, fraction = re.fullmatch(r"(.*?)(\.(\d+))?Z", text).groups()
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction if fraction else 0)


def random_name(prefix):
    return f"{prefix}-{random.SystemRandom().randrange(36 ** 5):05x}"


# ---------------------------------------------------------------- pods that leave traces

# Appends to its file five times a second while it lives, and for LINGER seconds after SIGTERM. A negative LINGER never ends.
LIFE = r"""
left=-1
trap 'case $LINGER in -*) ;; *) left=$((LINGER * 5)) ;; esac' TERM
trap 'echo saved $(date +%s) >>/trace/$POD_NAME.saved' USR1
file=/trace/$POD_NAME.$POD_UID
echo begun >>$file
while [ $left -ne 0 ]; do
  echo >>$file
  sleep 0.2
  [ $left -gt 0 ] && left=$((left - 1))
done
echo ended >>$file
exit $EXIT
"""


def pod_template(namespace, linger=1, labels=None, annotations=None, grace=30, restart=None, image=container_image.TRAINING,
                 command=None, claim=None, code=143):
    """The template of a pod that lives until it is told to end, and `linger` seconds longer; then it ends with `code`, 143 being
    how a process ends that SIGTERM ends."""
    def field(path):
        return {"valueFrom": {"fieldRef": {"fieldPath": path}}}
    container = {
        "name": "train", "image": image, "command": command or ["sh", "-c", LIFE],
        "env": [{"name": "LINGER", "value": str(linger)}, {"name": "EXIT", "value": str(code)},
                {"name": "POD_NAME", **field("metadata.name")}, {"name": "POD_UID", **field("metadata.uid")}],
        "volumeMounts": [{"name": "trace", "mountPath": "/trace"}]}
    spec = {
        "terminationGracePeriodSeconds": grace, "containers": [container],
        "volumes": [{"name": "trace", "hostPath": {"path": f"{TRACES}/{namespace}", "type": "DirectoryOrCreate"}}]}
    if claim:
        spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
        container["volumeMounts"].append({"name": "data", "mountPath": "/data"})
    if restart:
        spec["restartPolicy"] = restart
    metadata = {}
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"metadata": metadata, "spec": spec}


class Traces:
    """What the pods of one namespace have written, read on the node or, where that is another machine, through a pod."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace

    def sizes(self):
        """Bytes by file."""
        if self.cluster.is_here:
            folder = os.path.join(TRACES, self.namespace)
            if not os.path.isdir(folder):
                return {}
            return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        text = self.cluster.look("sh", "-c", f"cd {TRACES}/{self.namespace} 2>/dev/null && stat -c '%n %s' *; true")
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if " " in line}

    def grown(self, seconds=1.2):
        """The files that somebody writes to within some seconds: several times as long as a pod waits between writes."""
        before = self.sizes()
        time.sleep(seconds)
        return sorted(name for name, size in self.sizes().items() if size != before.get(name))


# ---------------------------------------------------------------- the cluster

class Cluster:
    """A cluster under test."""

    def __init__(self, kubeconfig, command=None, name=None, is_ours=False):
        self.kubeconfig, self.command, self.name, self.is_ours = kubeconfig, command, name, is_ours
        self.configuration = Configuration(kubeconfig)
        self.api = API(self.configuration)
        self.version = self.api.request("GET", "/version")
        self.minor = int("".join(c for c in self.version["minor"] if c.isdigit()))
        self.is_here, self.processes = False, []

    # Bringing up and taking down.

    @staticmethod
    def open(report):
        """The cluster to test with. Raises `Unavailable` where there is none."""
        command, name = os.environ.get("BECALM_CLUSTER"), os.environ.get("BECALM_CLUSTER_NAME")
        for variable in ("BECALM_TEST_KUBECONFIG", "KUBECONFIG"):
            if os.environ.get(variable):
                cluster = Cluster(os.environ[variable], command, name)
                break
        else:
            if not command:
                raise Unavailable("neither BECALM_TEST_KUBECONFIG nor KUBECONFIG names a cluster, and BECALM_CLUSTER no command that "
                                  "brings one up")
            name, index = name or "becalm-e2e", os.environ.get("BECALM_CLUSTER_INDEX", "5")
            report.say(f"bringing up cluster {name}")
            process = subprocess.run([command, "up", name, index], capture_output=True, text=True)
            if process.returncode:
                raise Unavailable(f"{command} up {name} {index} failed: {process.stderr.strip()[-500:]}")
            cluster = Cluster(process.stdout.strip().splitlines()[-1], command, name, is_ours=True)
        try:
            cluster.prepare(report)
        except BaseException:
            cluster.close()
            raise
        return cluster

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)
        if self.is_ours:
            subprocess.run([self.command, "down", self.name], check=False)

    def load(self, path):
        if self.command and self.name:
            words = [self.command, "load", self.name, path]
        elif self.configuration.context.startswith("kind-") and shutil.which("kind"):
            words = ["kind", "load", "image-archive", "--name", self.configuration.context.removeprefix("kind-"), path]
        else:
            return
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    def prepare(self, report):
        """Gives it the images and learns whether its node's files are ours to read."""
        folder = os.path.join(os.path.dirname(container_image.default_packages()), "images")
        os.makedirs(folder, exist_ok=True)
        for name, make in (("training", container_image.training), ("bare", container_image.bare)):
            path = os.path.join(folder, name + ".tar")
            if not os.path.exists(path):
                report.say(f"making the image {name}")
                make(path, container_image.default_packages())
            self.load(path)
        # What a run that was killed has left; others may run here now.
        for old in self.api.list(NAMESPACES, labels=f"{CONFIGURATION}=run"):
            if seconds(old["metadata"]["creationTimestamp"]) < self.api.now() - 4 * 3600:
                self.api.delete(NAMESPACES, None, old["metadata"]["name"])
        with self.scope("probe") as namespace:
            template = pod_template(namespace, command=["sh", "-c", "echo here >/trace/probe; sleep 3600"], grace=0)
            self.api.create(PODS, PODS.object(namespace, "probe", spec=template["spec"]))
            wait("a pod of the image runs", lambda: self.api.get(PODS, namespace, "probe")["status"].get("phase") == "Running", 120)
            self.is_here = os.path.exists(f"{TRACES}/{namespace}/probe")
        if not self.is_here:
            self.start_reader()

    def address(self):
        """This machine's address as the cluster's pods reach it."""
        import socket
        server = self.configuration.server
        with socket.create_connection((server.hostname, server.port or 443), 10) as connection:
            return connection.getsockname()[0]

    def load_command(self, report):
        """Gives it the command under test as an image."""
        with tempfile.TemporaryDirectory(prefix="becalm-image-") as folder:
            path = os.path.join(folder, "becalm.tar")
            container_image.becalm(path)
            self.load(path)

    def start_reader(self):
        """A pod through which the node's files are read."""
        self.reader = self.make_namespace("reader")
        template = pod_template(self.reader, command=["sh", "-c", "sleep 100000"], grace=0)
        template["spec"]["volumes"][0]["hostPath"]["path"] = TRACES
        template["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = TRACES
        self.api.create(PODS, PODS.object(self.reader, "reader", spec=template["spec"]))
        wait("the reader runs", lambda: self.api.get(PODS, self.reader, "reader")["status"].get("phase") == "Running", 120)

    def look(self, *words):
        return subprocess.check_output(
            ["kubectl", "--kubeconfig", self.kubeconfig, "exec", "-n", self.reader, "reader", "--", *words], text=True)

    def start_operators(self, report):
        """Starts the process that plays the operators which the cluster does not have."""
        path = os.path.join(harness.HERE, "cluster_operators.py")
        process = subprocess.Popen(
            [sys.executable, path, self.kubeconfig], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        line = process.stdout.readline()
        if line.strip() != "ready":
            raise harness.Unexpected(f"the operators did not begin: {line}")
        threading.Thread(target=lambda: [report.say("operators: " + line.rstrip()) for line in process.stdout], daemon=True).start()
        return process

    # Accounts and namespaces.

    def account(self, namespace, rules, path, name="tester"):
        """A kubeconfig of a new account that may do what `rules` say, in this namespace."""
        self.api.create(ACCOUNTS, ACCOUNTS.object(namespace, name))
        self.api.create(ROLES, ROLES.object(namespace, name, rules=rules))
        self.api.create(BINDINGS, BINDINGS.object(
            namespace, name, roleRef={"apiGroup": ROLES.group, "kind": "Role", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}]))
        answer = self.api.request("POST", ACCOUNTS.path(namespace, name, "token"), {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
        return self.configuration.write(path, token=answer["status"]["token"])

    def make_namespace(self, word):
        name = random_name(f"becalm-e2e-{word}")
        self.api.create(NAMESPACES, NAMESPACES.object(None, name) | {
            "metadata": {"name": name, "labels": {CONFIGURATION: "run"}}})
        wait("a new namespace has an account for pods", lambda: (self.api.find(ACCOUNTS, name, "default") or {}).get(
            "secrets") or self.minor >= 24 and self.api.find(ACCOUNTS, name, "default"))
        return name

    def scope(self, word):
        """A namespace that is deleted, with all that is in it, at the end."""
        return Scope(self, word)


class Scope:
    def __init__(self, cluster, word):
        self.cluster, self.word = cluster, word

    def __enter__(self):
        self.namespace = self.cluster.make_namespace(self.word)
        return self.namespace

    def __exit__(self, kind, value, trace):
        api = self.cluster.api
        api.delete(NAMESPACES, None, self.namespace)
        # Pods that never end by themselves, or must not, hold a namespace for their whole grace period.
        try:
            for pod in api.list(PODS, self.namespace):
                if pod["metadata"].get("finalizers"):
                    api.patch(PODS, self.namespace, pod["metadata"]["name"], {"metadata": {"finalizers": None}})
            api.delete_all(PODS, self.namespace, grace=0)
        except Refused as refused:
            if refused.status != 404:
                raise
        if self.cluster.is_here:
            shutil.rmtree(os.path.join(TRACES, self.namespace), ignore_errors=True)


# ---------------------------------------------------------------- looking at pods and objects

def runs(pod):
    """Whether a container of a pod runs, or may yet, by what the kubelet has reported."""
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return any("running" in c.get("state", {}) for c in status.get("containerStatuses") or [])
    return True


def is_ready(pod):
    """Whether a pod's probes let it have requests."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or [])


def essence(body):
    """An object without what the server writes by itself."""
    body = copy.deepcopy(body)
    body.pop("status", None)
    for key in ("resourceVersion", "generation", "managedFields", "selfLink"):
        body["metadata"].pop(key, None)
    return body


def differences(before, after, path=""):
    """Where two JSON values differ, in words."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in sorted(before.keys() | after.keys())
                for line in differences(before.get(key, "nothing"), after.get(key, "nothing"), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [line for index, pair in enumerate(zip(before, after)) for line in differences(*pair, f"{path}/{index}")]
    return [] if before == after and type(before) is type(after) else [f"{path}: was {before!r}, is {after!r}"]


# ---------------------------------------------------------------- the command and workloads

@contextlib.contextmanager
def repository(cluster, scratch):
    """The command, which talks to the cluster, with a new repository that the cluster's pods reach."""
    with servers.start("rclone", cluster.address()) as server:
        becalm = harness.Becalm(f"s3://{server.bucket()}/becalm", scratch, environment={
            **server.environment(), "KUBECONFIG": cluster.kubeconfig, "BECALM_MOVER_IMAGE": container_image.BECALM})
        becalm.init()
        becalm.store = server
        yield becalm


def command(cluster, scratch, kubeconfig=None, **environment):
    """The command, which talks to the cluster."""
    return harness.Becalm(
        os.path.join(scratch, "no-repository"), scratch,
        environment={"KUBECONFIG": kubeconfig or cluster.kubeconfig, "BECALM_LOG": "", **environment})


class Live:
    """A workload of a sample, in a namespace of its own."""

    def __init__(self, cluster, sample, namespace, name="run42", **options):
        self.cluster, self.api, self.sample, self.namespace, self.name = cluster, cluster.api, sample, namespace, name
        self.traces = Traces(cluster, namespace)
        self.reference = sample.reference(namespace, name)
        self.created = sample.objects(namespace, name, **options)
        for resource, body in self.created:
            self.api.create(resource, body)

    def remove(self):
        """Removes what is in no namespace."""
        for resource, body in self.created:
            if not resource.namespaced:
                self.api.delete(resource, None, body["metadata"]["name"])

    def pods(self):
        return self.api.list(PODS, self.namespace)

    def is_running(self):
        """Whether all its pods run, and none ends still."""
        pods = [pod for pod in self.pods() if pod["status"].get("phase") != "Succeeded"]
        up = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running"]
        if self.sample.ready:
            up = [pod for pod in up if is_ready(pod)]
        return len(up) == len(pods) == self.sample.pods

    def wait_running(self, seconds=None):
        try:
            wait(f"{self.reference} runs with {self.sample.pods} pods", self.is_running, seconds or self.sample.begins)
        except harness.Unexpected as error:
            pods = ", ".join(f"{pod['metadata']['name']} {pod['status'].get('phase')}" + (
                " (ending)" if "deletionTimestamp" in pod["metadata"] else "") for pod in self.pods())
            body = self.object()
            raise harness.Unexpected(f"{error}; its pods: {pods or 'none'}; its spec: {json.dumps(body.get('spec'))[:300]}; its status: "
                                     f"{json.dumps(body.get('status'))[:600]}") from None

    def object(self):
        return self.api.get(self.sample.resource, self.namespace, self.name)

    def touched(self):
        """The objects that are compared: the workload and those that are changed in its stead."""
        found = {self.reference: essence(self.object())}
        for resource, name in (self.sample.held or (lambda *_: []))(self.namespace, self.name):
            found[f"{resource} {name}"] = essence(self.api.get(resource, self.namespace, name))
        return found

    def held(self):
        """Those of them that bear Becalm's annotation."""
        return [key for key, body in self.touched().items()
                if "becalm.io/quiesced" in (body["metadata"].get("annotations") or {})]

    def journals(self):
        return self.api.list(LEASES, self.namespace, "becalm.io/journal=quiesce")
