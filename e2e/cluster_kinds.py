"""The kinds of workload that Becalm knows: definitions of those that Kubernetes itself does not have, with open schemas, and a
workload of each to test with. `cluster_operators.py` plays the controllers."""

import cluster
from cluster import Resource

LABEL = {cluster.CONFIGURATION: "kind"}


class Definition:
    """A kind that is defined for the tests."""

    def __init__(self, group, version, plural, kind, namespaced=True, scale=False):
        self.resource = Resource(group, version, plural, kind, namespaced)
        self.scale = scale

    def body(self):
        resource = self.resource
        version = {
            "name": resource.version, "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
        if self.scale:
            # The server asks for these paths to be declared.
            replicas = {"type": "integer", "format": "int32"}
            version["schema"]["openAPIV3Schema"]["properties"] = {
                part: {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"replicas": replicas}}
                for part in ("spec", "status")}
            version["subresources"]["scale"] = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        metadata = {"name": resource.name, "labels": LABEL}
        if resource.group.endswith(".k8s.io"):
            metadata["annotations"] = {"api-approved.kubernetes.io": "unapproved, test only"}
        return {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata,
            "spec": {
                "group": resource.group, "scope": "Namespaced" if resource.namespaced else "Cluster", "versions": [version],
                "names": {"plural": resource.plural, "kind": resource.kind, "singular": resource.kind.lower()}}}


def define(*arguments, **options):
    definition = Definition(*arguments, **options)
    DEFINITIONS.append(definition)
    return definition.resource


DEFINITIONS = []
JOBSET = define("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet")
TRAINJOB = define("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
RUNTIME = define("trainer.kubeflow.org", "v1alpha1", "trainingruntimes", "TrainingRuntime")
CLUSTER_RUNTIME = define("trainer.kubeflow.org", "v1alpha1", "clustertrainingruntimes", "ClusterTrainingRuntime", False)
# With the member of `spec` that has their replicas.
TRAINING_KINDS = {
    define("kubeflow.org", "v1", "pytorchjobs", "PyTorchJob"): "pytorchReplicaSpecs",
    define("kubeflow.org", "v1", "tfjobs", "TFJob"): "tfReplicaSpecs",
    define("kubeflow.org", "v1", "xgboostjobs", "XGBoostJob"): "xgbReplicaSpecs",
    define("kubeflow.org", "v1", "paddlejobs", "PaddleJob"): "paddleReplicaSpecs",
    define("kubeflow.org", "v1", "jaxjobs", "JAXJob"): "jaxReplicaSpecs",
    define("kubeflow.org", "v2beta1", "mpijobs", "MPIJob"): "mpiReplicaSpecs",
}
PYTORCHJOB, MPIJOB = list(TRAINING_KINDS)[0], list(TRAINING_KINDS)[-1]
RAYJOB = define("ray.io", "v1", "rayjobs", "RayJob")
RAYCLUSTER = define("ray.io", "v1", "rayclusters", "RayCluster")
RAYSERVICE = define("ray.io", "v1", "rayservices", "RayService")
VOLCANO_JOB = define("batch.volcano.sh", "v1alpha1", "jobs", "Job")
VOLCANO_COMMAND = define("bus.volcano.sh", "v1alpha1", "commands", "Command")
VOLCANO_GROUP = define("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup")
VOLCANO_QUEUE = define("scheduling.volcano.sh", "v1beta1", "queues", "Queue", False)
KUEUE_WORKLOAD = define("kueue.x-k8s.io", "v1beta1", "workloads", "Workload")
LOCAL_QUEUE = define("kueue.x-k8s.io", "v1beta1", "localqueues", "LocalQueue")
CLUSTER_QUEUE = define("kueue.x-k8s.io", "v1beta1", "clusterqueues", "ClusterQueue", False)
LWS = define("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet", scale=True)
DISAGGREGATED = define("disaggregatedset.x-k8s.io", "v1", "disaggregatedsets", "DisaggregatedSet")
WORKSPACE = define("kaito.sh", "v1beta1", "workspaces", "Workspace")
INFERENCESET = define("kaito.sh", "v1beta1", "inferencesets", "InferenceSet", scale=True)
RAGENGINE = define("kaito.sh", "v1beta1", "ragengines", "RAGEngine")
SNAPSHOT = define("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot")
SNAPSHOT_CLASS = define("snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", False)
SNAPSHOT_CONTENT = define("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", False)
SCALEDOBJECT = define("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
POOL = define("inference.networking.k8s.io", "v1", "inferencepools", "InferencePool")
OLD_POOL = define("inference.networking.x-k8s.io", "v1alpha2", "inferencepools", "InferencePool")
ROUTE = define("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")


def install(api, report, definitions=DEFINITIONS):
    """Defines what the cluster does not have; returns the names of kinds that are somebody else's and stay so."""
    foreign = set()
    for definition in definitions:
        body, name = definition.body(), definition.resource.name
        there = api.find(cluster.DEFINITIONS, None, name)
        if there is None:
            api.create(cluster.DEFINITIONS, body)
        elif not LABEL.items() <= (there["metadata"].get("labels") or {}).items():
            foreign.add(name)
    if foreign:
        report.skip("kinds that the cluster has already", ", ".join(sorted(foreign)))
    for definition in definitions:
        name = definition.resource.name
        cluster.wait(f"{name} is served", lambda: any(
            c["type"] == "Established" and c["status"] == "True"
            for c in api.get(cluster.DEFINITIONS, None, name).get("status", {}).get("conditions") or []))
    # A definition is established a moment before the server answers to it everywhere.
    for definition in definitions:
        def served():
            try:
                api.list(definition.resource)
                return True
            except cluster.Refused:
                return False
        cluster.wait(f"{definition.resource.name} can be listed", served)
    return foreign


# ---------------------------------------------------------------- a workload of each kind

class Sample:
    """A workload to test with.

    `build(namespace, name, pod)` returns the objects to create, of which the last is the workload; `pod(**options)` makes a
    pod's template. `pods` is how many pods it runs; `held(namespace, name)` names the objects that Becalm changes, where these
    are others than the workload; `overrides` are the traps that it is by its kind.
    """

    def __init__(self, title, resource, build, pods, held=None, begins=180, steps=("requested", "stopping", "stopped"),
                 ready=False, overrides=()):
        self.title, self.resource, self.build, self.pods, self.held = title, resource, build, pods, held
        self.steps = list(steps)  # that a stop tells of
        self.overrides = [word for code in overrides for word in ("--override", code)]
        self.ready = ready  # whether its pods run when they are Ready only
        self.begins = begins  # seconds that it may take to begin, on a machine that is busy

    def objects(self, namespace, name, **options):
        return self.build(namespace, name, lambda **more: cluster.pod_template(namespace, **{**options, **more}))

    def reference(self, namespace, name):
        return f"{namespace}/{self.resource.name}/{name}"


# Completions of a Job, none of which is the last one here. Pods that were told to end and fail make its controller wait longer
# from one to the next; those that end well count as done.
MANY = 1000


def job(namespace, name, pod):
    return [(cluster.JOBS, cluster.JOBS.object(namespace, name, spec={
        "parallelism": 2, "completions": MANY, "backoffLimit": 100, "template": pod(restart="Never")}))]


def cron_job(version):
    resource = Resource("batch", version, "cronjobs", "CronJob")

    def build(namespace, name, pod):
        return [(resource, resource.object(namespace, name, spec={
            "schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {
                "spec": {"completions": MANY, "parallelism": 1, "backoffLimit": 100, "template": pod(restart="Never")}}}))]
    return resource, build


def stateful_set(namespace, name, pod):
    labels = {"app": name}
    return [(cluster.STATEFULSETS, cluster.STATEFULSETS.object(namespace, name, spec={
        "serviceName": name, "replicas": 2, "podManagementPolicy": "Parallel", "selector": {"matchLabels": labels},
        "template": pod(labels=labels)}))]


def deployment(namespace, name, pod):
    labels = {"app": name}
    return [(cluster.DEPLOYMENTS, cluster.DEPLOYMENTS.object(namespace, name, spec={
        "replicas": 2, "selector": {"matchLabels": labels}, "template": pod(labels=labels)}))]


# A model server as vLLM is one: it tells of the requests that it answers, each of which takes as many seconds as it says, is
# Ready some seconds after it has begun, and cuts off what it has not answered when it is told to end.
MODEL_SERVER = """
import http.server, os, signal, sys, threading, time, urllib.parse
begun, lock, running = time.monotonic(), threading.Lock(), 0
trace = open("/trace/" + os.environ["POD_NAME"] + "." + os.environ["POD_UID"], "a", buffering=1)
def end(*_):
    trace.write("ended\\n")
    os._exit(int(os.environ["EXIT"]))
signal.signal(signal.SIGTERM, end)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if self.path == "/health":
            return self.say(200 if time.monotonic() - begun > 2 else 503, "")
        if self.path != "/metrics":
            return self.say(404, "")
        with lock: count = running
        self.say(200, '# TYPE vllm:num_requests_running gauge\\n'
                 'vllm:num_requests_running{engine="0",model_name="m {1}"} %d.0\\n'
                 'vllm:num_requests_waiting{engine="0",model_name="m {1}"} 0.0\\n' % count)
    def do_POST(self):
        global running
        with lock: running += 1
        try:
            time.sleep(float(urllib.parse.urlsplit(self.path).query or 0))
        finally:
            with lock: running -= 1
        self.say(200, '{"text":"done"}')
server = http.server.ThreadingHTTPServer(("", 8000), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
trace.write("begun\\n")
while True:
    trace.write("\\n")
    time.sleep(0.2)
"""


def model_server(namespace, name, pod, role="decode", labels=None):
    """A Deployment of model servers that are in the pool of their release."""
    labels = {"llm-d.ai/inference-serving": name, "llm-d.ai/role": role, **(labels or {})}
    template = pod(labels=labels, command=["python3", "-c", MODEL_SERVER])
    template["spec"]["containers"][0]["ports"] = [{"containerPort": 8000}]
    return (cluster.DEPLOYMENTS, cluster.DEPLOYMENTS.object(namespace, name if role == "decode" else f"{name}-{role}", spec={
        "replicas": 2, "selector": {"matchLabels": {"llm-d.ai/inference-serving": name, "llm-d.ai/role": role}}, "template": template}))


def probed(body):
    """Has the kubelet ask its servers whether they are Ready. Not in every test: a kubelet (1.20) that asks a server which has just
    ended mostly tells of the end a minute later."""
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1}


def pool_and_route(namespace, name):
    """The pool of a release and a route to it: with a weight and another backend beside, without a weight, and closed already."""
    backend = {"group": POOL.group, "kind": POOL.kind, "name": name}
    def rule(path, *backends):
        return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": list(backends)}
    return [
        (POOL, POOL.object(namespace, name, spec={
            "selector": {"matchLabels": {"llm-d.ai/inference-serving": name}}, "targetPorts": [{"number": 8000}],
            "endpointPickerRef": {"name": f"{name}-epp", "port": {"number": 9002}}})),
        (ROUTE, ROUTE.object(namespace, name, spec={
            "parentRefs": [{"name": "gateway"}], "hostnames": ["llm.example"], "rules": [
                rule("/v1", {**backend, "weight": 90}, {"kind": "Service", "name": "fallback", "port": 80, "weight": 10}),
                rule("/v2", backend), rule("/old", {**backend, "weight": 0})]}))]


def llm_d(namespace, name, pod):
    return pool_and_route(namespace, name) + [model_server(namespace, name, pod)]


def job_set_spec(pod, **more):
    return {**more, "replicatedJobs": [
        {"name": role, "replicas": 1, "template": {"spec": {
            "parallelism": 1, "completions": MANY, "backoffLimit": 100, "template": pod(restart="Never")}}}
        for role in ("leader", "workers")]}


def job_set(namespace, name, pod):
    return [(JOBSET, JOBSET.object(namespace, name, spec=job_set_spec(pod)))]


def train_job(namespace, name, pod):
    return [
        (RUNTIME, RUNTIME.object(namespace, name, spec={"template": {"spec": job_set_spec(pod)}})),
        (TRAINJOB, TRAINJOB.object(namespace, name, spec={
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name},
            "trainer": {"numNodes": 2}}))]


def training_spec(resource, pod, **policy):
    roles = ("Launcher", "Worker") if resource is MPIJOB else ("Master", "Worker")
    spec = {TRAINING_KINDS[resource]: {
        role: {"replicas": 1, "restartPolicy": "OnFailure", "template": pod(restart="Never" if role == "Launcher" else "OnFailure")}
        for role in roles}}
    if policy:
        spec["runPolicy"] = policy
    return spec


def training_job(resource):
    def build(namespace, name, pod):
        return [(resource, resource.object(namespace, name, spec=training_spec(resource, pod)))]
    return build


def with_policy(namespace, name, pod):
    """One whose field is there, and false, before."""
    return [(PYTORCHJOB, PYTORCHJOB.object(namespace, name, spec=training_spec(
        PYTORCHJOB, pod, suspend=False, cleanPodPolicy="None")))]


def ray_spec(pod):
    return {
        "rayVersion": "2.40.0", "headGroupSpec": {"rayStartParams": {}, "template": pod()},
        "workerGroupSpecs": [{"groupName": "gpu", "replicas": 1, "rayStartParams": {}, "template": pod()}]}


def ray_cluster(namespace, name, pod):
    return [(RAYCLUSTER, RAYCLUSTER.object(namespace, name, spec=ray_spec(pod)))]


def ray_job(namespace, name, pod):
    return [(RAYJOB, RAYJOB.object(namespace, name, spec={
        "entrypoint": "python train.py", "rayClusterSpec": ray_spec(pod), "submitterPodTemplate": pod(restart="Never")}))]


def ray_service(namespace, name, pod):
    return [(RAYSERVICE, RAYSERVICE.object(namespace, name, spec={"serveConfigV2": "applications: []", "rayClusterConfig": ray_spec(pod)}))]


def volcano_job(namespace, name, pod):
    return [(VOLCANO_JOB, VOLCANO_JOB.object(namespace, name, spec={
        "minAvailable": 2, "maxRetry": 1000, "queue": "default", "schedulerName": "volcano",
        "tasks": [{"name": role, "replicas": 1, "template": pod(restart="OnFailure")} for role in ("master", "worker")]}))]


def lws_spec(pod, replicas=1):
    return {"replicas": replicas, "leaderWorkerTemplate": {"size": 2, "leaderTemplate": pod(), "workerTemplate": pod()}}


def lws(namespace, name, pod):
    return [(LWS, LWS.object(namespace, name, spec=lws_spec(pod)))]


def disaggregated_set(namespace, name, pod):
    return [(DISAGGREGATED, DISAGGREGATED.object(namespace, name, spec={
        "roles": [{"name": role, "spec": lws_spec(pod)} for role in ("prefill", "decode")]}))]


def inference(pod):
    return {"template": pod()}


def workspace(namespace, name, pod):
    return [(WORKSPACE, WORKSPACE.object(
        namespace, name, resource={"instanceType": "Standard_NC24ads_A100_v4", "count": 1}, inference=inference(pod)))]


def tuning(namespace, name, pod):
    return [(WORKSPACE, WORKSPACE.object(
        namespace, name, resource={"instanceType": "Standard_NC24ads_A100_v4", "count": 1},
        tuning={"preset": {"name": "phi-4"}, "method": "qlora", "template": pod()}))]


def inference_set(namespace, name, pod):
    return [(INFERENCESET, INFERENCESET.object(namespace, name, spec={
        "replicas": 2, "template": {"resource": {"instanceType": "Standard_NC24ads_A100_v4"}, "inference": inference(pod)}}))]


def rag_engine(namespace, name, pod):
    return [(RAGENGINE, RAGENGINE.object(namespace, name, spec={
        "compute": {"instanceType": "Standard_NC24ads_A100_v4"}, "embedding": {"local": {"modelID": "BAAI/bge-small-en-v1.5"}},
        "template": pod()}))]


def queued(namespace, name):
    """Queues of one's own, so that one test's does not stop another's."""
    return [(CLUSTER_QUEUE, CLUSTER_QUEUE.object(None, name, spec={"namespaceSelector": {}, "stopPolicy": "None"})),
            (LOCAL_QUEUE, LOCAL_QUEUE.object(namespace, name, spec={"clusterQueue": name}))]


def marked(resource, namespace, name, queue, spec):
    body = resource.object(namespace, name, spec=spec)
    body["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": queue}
    return resource, body


def queued_training(namespace, name, pod):
    # Kueue's webhook creates it suspended.
    return queued(namespace, name) + [
        marked(PYTORCHJOB, namespace, name, name, training_spec(PYTORCHJOB, pod, suspend=True))]


def queued_job_set(namespace, name, pod):
    return queued(namespace, name) + [marked(JOBSET, namespace, name, name, job_set_spec(pod, suspend=True))]


def samples(api):
    """A workload of each kind that Becalm can stop."""
    version = "v1"
    try:
        api.request("GET", "/apis/batch/v1/cronjobs?limit=1")
    except cluster.Refused:
        version = "v1beta1"  # before Kubernetes 1.21
    cron, build_cron = cron_job(version)
    def child(resource):
        return lambda namespace, name: [(resource, name)]
    return [
        Sample("Job", cluster.JOBS, job, 2),
        # Its controller looks every ten seconds, at the full minute.
        Sample("CronJob", cron, build_cron, 1),
        Sample("StatefulSet", cluster.STATEFULSETS, stateful_set, 2),
        Sample("Deployment", cluster.DEPLOYMENTS, deployment, 2),
        Sample("llm-d Deployment", cluster.DEPLOYMENTS, llm_d, 2,
               held=lambda namespace, name: [(cluster.DEPLOYMENTS, name), (ROUTE, name)],
               steps=("requested", "draining", "stopping", "stopped"), ready=True),
        Sample("JobSet", JOBSET, job_set, 2),
        Sample("TrainJob", TRAINJOB, train_job, 2),
        *[Sample(resource.kind, resource, training_job(resource), 2) for resource in TRAINING_KINDS],
        Sample("PyTorchJob with a run policy", PYTORCHJOB, with_policy, 2),
        Sample("RayCluster", RAYCLUSTER, ray_cluster, 2),
        Sample("RayJob", RAYJOB, ray_job, 3),
        Sample("RayService", RAYSERVICE, ray_service, 2),
        Sample("Volcano Job", VOLCANO_JOB, volcano_job, 2),
        Sample("LeaderWorkerSet", LWS, lws, 2),
        Sample("DisaggregatedSet", DISAGGREGATED, disaggregated_set, 4),
        Sample("KAITO Workspace", WORKSPACE, workspace, 1, held=child(cluster.STATEFULSETS)),
        Sample("KAITO Workspace that tunes", WORKSPACE, tuning, 1, held=child(cluster.JOBS)),
        Sample("KAITO InferenceSet", INFERENCESET, inference_set, 2, overrides=["workspaces-deleted-on-scale"]),
        Sample("KAITO RAGEngine", RAGENGINE, rag_engine, 1, held=child(cluster.DEPLOYMENTS)),
        Sample("PyTorchJob of Kueue", PYTORCHJOB, queued_training, 2,
               held=lambda namespace, name: [(KUEUE_WORKLOAD, f"pytorchjob-{name}")]),
        Sample("JobSet of Kueue", JOBSET, queued_job_set, 2,
               held=lambda namespace, name: [(KUEUE_WORKLOAD, f"jobset-{name}")]),
    ]
