"""Indexed Jobs (KEP-2214) for a cluster whose server is too old for them: a server before the API server that keeps
`completionMode`, and the half of the Job controller that makes their pods.

    with cluster_indexed.Server(place.configuration) as server:      server.address is what a kubeconfig names

Kubernetes 1.20 drops `completionMode` without a word. Here such a Job is stored with `parallelism: 0`, so that the cluster's own
controller makes nothing of it, and with what it really says in an annotation; whoever reads through this server sees the latter, in
answers and in watches, and with the status that the controller here writes. Everything else passes as it is.

The controller does what Kubernetes 1.22 to 1.28 does (pkg/controller/job: syncJob, manageJob, indexed_job_utils.go): for each index that
has neither succeeded nor an active pod, a pod called JOB-INDEX-xxxxx with the host name JOB-INDEX, the annotation
`batch.kubernetes.io/job-completion-index` and the variable JOB_COMPLETION_INDEX from it; a pod that is being deleted is not active, so
its successor may begin before it has ended; a pod that failed, or was deleted before it ended, counts against `backoffLimit`, and the
next one waits, here for one second instead of ten; then `status.completedIndexes`, `succeeded`, `failed`, and the conditions.
"""

import copy
import http.client
import http.server
import json
import random
import threading
import time
import urllib.parse

import cluster
from cluster import JOBS, PODS, Refused
from cluster_operators import World, ending, now

KEPT, STATUS, MARK = "becalm-e2e/indexed-spec", "becalm-e2e/indexed-status", "becalm-e2e/indexed-pod"
INDEX = "batch.kubernetes.io/job-completion-index"
# What the server keeps from its own controller, and what this version of it does not know.
FIELDS, UNKNOWN = ("completionMode", "parallelism"), ("backoffLimitPerIndex", "maxFailedIndexes")
BACKOFF = 1.0  # seconds; DefaultJobBackOff is 10


class Server:
    """The server and the controller, each in threads of this process."""

    def __init__(self, configuration):
        self.api = cluster.API(configuration)
        handler = type("Bound", (Handler,), {"api": self.api})
        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.listener.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.listener.server_address[1]}"
        self.controller = Controller(cluster.API(configuration))

    def __enter__(self):
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.controller.start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown()
        self.listener.server_close()
        self.controller.stop()


# ---------------------------------------------------------------- what is stored, and what is shown

def stored(body):
    """A new object as this cluster can store it."""
    spec = body.get("spec", {})
    if body.get("kind") != "Job" or spec.get("completionMode") != "Indexed":
        return body
    if spec.get("completions") is None:
        raise ValueError("spec.completions: Required value: when completion mode is Indexed")
    kept = {field: spec.pop(field) for field in FIELDS if field in spec}
    for field in UNKNOWN:
        spec.pop(field, None)
    spec["parallelism"] = 0
    body["metadata"].setdefault("annotations", {})[KEPT] = json.dumps(kept)
    return body


def shown(body):
    """An object as a server shows it that has Indexed Jobs; lists by their items."""
    if body.get("kind", "").endswith("List") and "items" in body:
        kind = body["kind"].removesuffix("List")
        body["items"] = [shown({**item, "kind": kind}) if "kind" not in item else shown(item) for item in body["items"] or []]
        return body
    annotations = body.get("metadata", {}).get("annotations") or {}
    if body.get("kind") == "Job":
        if KEPT in annotations:
            body["spec"].update(json.loads(annotations.pop(KEPT)))
            # Conditions of the cluster's own controller, which sees to deadlines, count as well.
            body["status"] = {**body.get("status", {}), **json.loads(annotations.pop(STATUS, "{}"))}
    elif body.get("kind") == "Pod" and MARK in annotations:
        annotations.pop(MARK)
        for owner in body["metadata"].get("ownerReferences") or []:
            owner["controller"] = True
    return body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None  # of the subclass that a server makes

    def log_message(self, *arguments):
        pass

    def do(self):
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length) if length else None
        path = urllib.parse.urlsplit(self.path)
        words = path.path.strip("/").split("/")
        # A collection or an object of these; what is below an object (log, exec) passes.
        kind = next((w for w in ("jobs", "pods") if w in words[-2:] and (len(words) < 5 or w in words[4:6] or words[-1] == w)), None)
        if kind == "jobs" and self.command == "POST":
            body = json.loads(data)
            try:
                data = json.dumps(stored(body)).encode()
            except ValueError as error:
                return self.answer(422, json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid",
                                                    "message": str(error), "code": 422}).encode())
        if kind == "jobs" and self.command == "PUT" or self.headers.get("Upgrade"):
            return self.answer(501, b"this server passes neither replaced Jobs nor upgraded connections")
        connection = self.api.connect(timeout=3600)
        try:
            headers = {key: self.headers[key] for key in ("Accept", "Content-Type") if self.headers.get(key)}
            connection.request(self.command, self.path, data, {**self.api.headers(), **headers})
            response = connection.getresponse()
            query = urllib.parse.parse_qs(path.query)
            is_watch = query.get("watch", ["0"])[0] in ("1", "true")
            if response.status < 300 and (is_watch or query.get("follow")):
                return self.stream(response, is_watch and kind)
            text = response.read()
            if kind and response.status < 300:
                text = json.dumps(shown(json.loads(text))).encode()
            self.answer(response.status, text, response)
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def answer(self, status, text, response=None):
        self.send_response_only(status)
        for key in ("Content-Type", "Date", "Retry-After", "Warning"):
            if response is not None and response.getheader(key):
                self.send_header(key, response.getheader(key))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self, response, is_translated):
        self.send_response_only(response.status)
        self.send_header("Content-Type", response.getheader("Content-Type") or "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while piece := response.readline() if is_translated else response.read1(65536):
                if is_translated:
                    event = json.loads(piece)
                    event["object"] = shown(event["object"])
                    piece = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            self.close_connection = True


# ---------------------------------------------------------------- the controller

class Controller:
    """Makes the pods of Indexed Jobs."""

    def __init__(self, api):
        self.world, self.stopping = World(api), threading.Event()
        self.due = {}  # by Job's uid and index: when its next pod may be made
        self.seen = {}  # by Job's uid: the failed pods' uids that have been counted
        self.errors = []

    def start(self):
        for resource in (JOBS, PODS):
            first = threading.Event()
            threading.Thread(target=self.world.follow, args=(resource, first), daemon=True).start()
            first.wait(60)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.world.changed.set()
        self.thread.join(30)

    def run(self):
        while not self.stopping.is_set():
            # A pod whose delay is over is nobody's event.
            self.world.changed.wait(0.5 if self.due else 30)
            self.world.changed.clear()
            for job in self.world.all(JOBS):
                if KEPT in (job["metadata"].get("annotations") or {}) and not ending(job):
                    try:
                        self.sync(job)
                    except Refused as refused:
                        if refused.status not in (404, 409):
                            self.errors.append(str(refused))

    def sync(self, job):
        uid, annotations = job["metadata"]["uid"], job["metadata"]["annotations"]
        spec, status = {**job["spec"], **json.loads(annotations[KEPT])}, json.loads(annotations.get(STATUS, "{}"))
        pods = self.world.owned(PODS, job)
        if any(c["status"] == "True" for c in [*status.get("conditions", []), *job.get("status", {}).get("conditions", [])]):
            for pod in pods:
                if is_active(pod):
                    self.world.delete(PODS, pod)
            return
        done = parse(status.get("completedIndexes", "")) | {index_of(pod) for pod in pods if phase(pod) == "Succeeded"}
        failed = self.seen.setdefault(uid, set())
        for pod in pods:
            # One that is deleted before it ended counts as failed, and once.
            if pod["metadata"]["uid"] not in failed and (phase(pod) == "Failed" or ending(pod) and phase(pod) != "Succeeded"):
                failed.add(pod["metadata"]["uid"])
                self.due[uid, index_of(pod)] = time.monotonic() + BACKOFF
        active = [pod for pod in pods if is_active(pod) and index_of(pod) not in done]
        conditions = []
        if len(failed) > spec.get("backoffLimit", 6):
            conditions = [condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")]
        elif len(done) == spec["completions"]:
            conditions = [condition("Complete", "", "")]
        else:
            taken = {index_of(pod) for pod in active}
            room = min(spec["parallelism"], spec["completions"] - len(done)) - len(active)
            for index in [i for i in range(spec["completions"]) if i not in done and i not in taken][:max(room, 0)]:
                if self.due.get((uid, index), 0) <= time.monotonic():
                    self.due.pop((uid, index), None)
                    active.append(self.make(job, index))
        wanted = {"startTime": status.get("startTime") or now(), "active": len(active), "succeeded": len(done), "failed": len(failed),
                  "completedIndexes": written(done)}
        if conditions:
            wanted["conditions"] = conditions
        if wanted != status:
            self.world.patch(JOBS, job, {"metadata": {"annotations": {STATUS: json.dumps(wanted)}}})

    def make(self, job, index):
        """A pod of an index. It is the Job's, but for the label by which the cluster's own controller would find and end it."""
        template = copy.deepcopy(job["spec"]["template"])
        name = f"{job['metadata']['name']}-{index}"
        labels = {k: v for k, v in template.get("metadata", {}).get("labels", {}).items() if k != "controller-uid"}
        pod = PODS.object(job["metadata"]["namespace"], f"{name[:57]}-{random.SystemRandom().randrange(36 ** 5):05x}"[:63], spec=template["spec"])
        pod["metadata"].update(
            labels=labels, annotations={**template["metadata"].get("annotations", {}), INDEX: str(index), MARK: "true"},
            # Not its controller here: the cluster's own would take the reference away.
            ownerReferences=[{"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}])
        pod["spec"]["hostname"] = name
        variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            container.setdefault("env", []).append(variable)
        return self.world.keep(PODS, self.world.api.create(PODS, pod))


def phase(pod):
    return pod.get("status", {}).get("phase")


def is_active(pod):
    return phase(pod) not in ("Succeeded", "Failed") and not ending(pod)


def index_of(pod):
    return int(pod["metadata"]["annotations"][INDEX])


def condition(kind, reason, message):
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": now(), "lastTransitionTime": now()}


def parse(text):
    """`0,2-4` as numbers."""
    numbers = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def written(numbers):
    """Numbers as `0,2-4`."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
