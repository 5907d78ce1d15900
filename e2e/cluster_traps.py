"""What can go wrong while a workload is brought to a standstill, one function each: `TRAPS` has them by name."""

import re
import subprocess
import threading
import time

import cluster
import cluster_kinds as kinds
import cluster_proxy
import container_image
from cluster import CLAIMS, JOBS, LEASES, PODS, STATEFULSETS, Live, pod_template, wait
from cluster_kinds import Sample

TRAPS = {}


def trap(title):
    """Registers a check: called with the bench, a namespace, and a function that counts conditions under its title."""
    def register(function):
        TRAPS[title] = function
        return function
    return register


def sample(bench, title):
    return next(s for s in kinds.samples(bench.api) if s.title == title)


def live(bench, namespace, title="StatefulSet", change=None, **options):
    """A workload that runs; `change` is applied to its object before it is created."""
    made = sample(bench, title)
    if change is not None:
        build = made.build

        def changed(namespace, name, pod):
            objects = build(namespace, name, pod)
            change(objects[-1][1])
            return objects
        made.build = changed
    there = Live(bench.cluster, made, namespace, **{"linger": 1, **options})
    there.wait_running()
    return there


def said(outcome):
    """The error: the last line, after those that tell how far it is."""
    lines = outcome.err.decode("utf-8", "replace").strip().splitlines()
    told = (
        "becalm: the journal is open", "becalm: asking for a checkpoint", "becalm: the checkpoint is written", "becalm: draining its routes",
        "becalm: stopping")
    return "\n".join(line for line in lines if line not in told)


def refused(bench, there, words, what, codes=(1,), *options):
    """`quiesce` refuses, names its reason in one line, and has changed nothing."""
    before = there.touched()
    outcome = bench.becalm.run("quiesce", there.reference, *options)
    bench.check(outcome, codes, f"{what}: it is refused")
    bench.report.check(
        re.search(words, said(outcome)) and "\n" not in said(outcome), f"{what}: it says why, in a line", said(outcome))
    untouched(bench, there, before, what)
    return outcome


def untouched(bench, there, before, what):
    bench.report.equal(cluster.differences(before, there.touched()), f"{what}: the object is what it was")
    bench.report.check(there.is_running(), f"{what}: it runs", str([p["metadata"]["name"] for p in there.pods()]))
    bench.report.check(not there.journals(), f"{what}: no journal is left")


# ---------------------------------------------------------------- refusals

def claims(policy):
    def change(body):
        group = body["spec"]["leaderWorkerTemplate"]
        group["persistentVolumeClaimRetentionPolicy"] = policy
        group["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]
    return change


@trap("claims that go when it is scaled")
def claims_that_go(bench, namespace, what):
    there = live(bench, namespace, "LeaderWorkerSet", claims({"whenScaled": "Delete", "whenDeleted": "Retain"}))
    refused(bench, there, r"whenScaled.*--override claims-deleted-on-scale", what)


@trap("claims of workers that go with their leader")
def workers_claims_that_go(bench, namespace, what):
    there = live(bench, namespace, "LeaderWorkerSet", claims({"whenScaled": "Retain", "whenDeleted": "Delete"}))
    refused(bench, there, r"workers.*whenDeleted.*--override claims-deleted-on-scale", what)


@trap("workspaces that go with their nodes")
def workspaces_that_go(bench, namespace, what):
    there = live(bench, namespace, "KAITO InferenceSet")
    refused(bench, there, r"NodeClaims.*--override workspaces-deleted-on-scale", what)


@trap("a queue of work that has begun to end")
def work_queue(bench, namespace, what):
    # One of two workers finds the queue empty.
    command = "mkdir /trace/first 2>/dev/null && exit 0; trap 'exit 143' TERM; while :; do sleep 0.1; done"
    template = pod_template(namespace, restart="Never", command=["sh", "-c", command])
    bench.api.create(JOBS, JOBS.object(namespace, "run42", spec={"parallelism": 2, "template": template}))

    def begun_to_end():
        status = bench.api.get(JOBS, namespace, "run42").get("status") or {}
        return status.get("succeeded") == 1 and status.get("active") == 1
    wait("one worker has ended", begun_to_end, 120)
    outcome = bench.becalm.run("quiesce", f"{namespace}/job/run42")
    bench.check(outcome, [1], f"{what}: it is refused")
    bench.report.check(re.search(r"no completions.*--override work-queue", said(outcome)), f"{what}: with the reason", said(outcome))


@trap("claims that go when it is deleted")
def claims_that_go_later(bench, namespace, what):
    def change(body):
        body["spec"]["volumeClaimPolicies"] = [{"templates": [{"metadata": {"name": "checkpoints"}, "spec": {}}]}]
    there = live(bench, namespace, "JobSet", change)
    outcome = bench.becalm.run("quiesce", there.reference)
    bench.check(outcome, [0], f"{what}: quiesce goes on")
    bench.report.check(
        "whenDeleted" in said(outcome) + outcome.out.decode(), f"{what}: it warns", str(outcome) + outcome.out.decode())
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")


@trap("Volcano without retries left")
def no_retries(bench, namespace, what):
    there = live(bench, namespace, "Volcano Job", lambda body: body["spec"].update(maxRetry=1))
    refused(bench, there, r"maxRetry", what)


@trap("a RayJob on a cluster that it did not make")
def foreign_ray_cluster(bench, namespace, what):
    def build(namespace, name, pod):
        return [(kinds.RAYCLUSTER, kinds.RAYCLUSTER.object(namespace, "shared", spec=kinds.ray_spec(pod))),
                (kinds.RAYJOB, kinds.RAYJOB.object(namespace, name, spec={
                    "entrypoint": "python train.py", "clusterSelector": {"ray.io/cluster": "shared"}}))]
    there = Live(bench.cluster, Sample("RayJob", kinds.RAYJOB, build, 2), namespace)
    there.wait_running()
    refused(bench, there, r"clusterSelector", what)


@trap("what belongs to another workload")
def owned(bench, namespace, what):
    there = live(bench, namespace, "TrainJob")
    child = f"{namespace}/jobset/{there.name}"
    outcome = bench.becalm.run("quiesce", child)
    bench.check(outcome, [1], f"{what}: it is refused")
    bench.report.check(
        f"{namespace}/trainjobs.trainer.kubeflow.org/{there.name}" in said(outcome), f"{what}: it names whose it is",
        said(outcome))


@trap("an autoscaler")
def autoscaler(bench, namespace, what):
    there = live(bench, namespace, "Deployment")
    bench.api.create(kinds.SCALEDOBJECT, kinds.SCALEDOBJECT.object(
        namespace, "scaler", spec={"scaleTargetRef": {"kind": "Deployment", "name": there.name}}))
    refused(bench, there, r"KEDA", what)
    bench.api.patch(kinds.SCALEDOBJECT, namespace, "scaler", {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}})
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: one that is paused is no matter")


@trap("another pod that writes to its claim")
def shared_claim(bench, namespace, what):
    bench.api.create(CLAIMS, CLAIMS.object(namespace, "data", spec={
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}))
    there = live(bench, namespace, "StatefulSet", claim="data")
    template = pod_template(namespace, linger=0, claim="data")
    bench.api.create(PODS, PODS.object(namespace, "notebook", spec=template["spec"]))
    wait("the notebook runs", lambda: bench.api.get(PODS, namespace, "notebook")["status"].get("phase") == "Running")
    outcome = bench.becalm.run("quiesce", there.reference)
    bench.check(outcome, [1], f"{what}: it is refused")
    bench.report.check(
        "notebook" in said(outcome) and "--override claim-shared" in said(outcome), f"{what}: it names the pod", said(outcome))
    outcome = bench.becalm.run("quiesce", there.reference, "--override", "claim-shared")
    bench.check(outcome, [0], f"{what}: unless it is overridden")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")


@trap("a pod alone")
def lone_pod(bench, namespace, what):
    template = pod_template(namespace, linger=0)
    bench.api.create(PODS, PODS.object(namespace, "notebook", spec=template["spec"]))
    outcome = bench.becalm.run("quiesce", f"{namespace}/pod/notebook")
    bench.check(outcome, [1], f"{what}: it is refused")
    bench.report.check("cannot be stopped and started again" in said(outcome), f"{what}: it says why", said(outcome))
    bench.report.check(not bench.api.list(LEASES, namespace), f"{what}: no journal")


@trap("a queue")
def queue(bench, namespace, what):
    there = live(bench, namespace, "PyTorchJob of Kueue")
    try:
        for resource, place in ((kinds.LOCAL_QUEUE, namespace), (kinds.CLUSTER_QUEUE, None)):
            before = bench.api.get(resource, place, there.name)
            outcome = bench.becalm.run("quiesce", f"{namespace}/{resource.name}/{there.name}")
            # It does not tell when the pods of what it has admitted have ended; one of the cluster has no place for a journal.
            bench.check(outcome, [1, 64], f"{what}: {resource} is refused")
            bench.report.check("\n" not in said(outcome) and said(outcome), f"{what}: {resource} says why", said(outcome))
            after = bench.api.get(resource, place, there.name)
            bench.report.equal(
                cluster.differences(cluster.essence(before), cluster.essence(after)), f"{what}: {resource} is what it was")
        bench.report.check(there.is_running(), f"{what}: its workloads run on")
    finally:
        there.remove()


@trap("roles that an autoscaler drives")
def external_role(bench, namespace, what):
    there = live(bench, namespace, "DisaggregatedSet", lambda body: body["spec"]["roles"][0].update(scaling={"mode": "External"}))
    refused(bench, there, r"autoscaler.*prefill", what)


@trap("what another cluster runs")
def managed_elsewhere(bench, namespace, what):
    there = live(bench, namespace, "JobSet", lambda body: body["spec"].update(managedBy="kueue.x-k8s.io/multikueue"))
    refused(bench, there, r"multikueue", what)


@trap("a namespace that goes while it is held")
def namespace_goes(bench, namespace, what):
    other = bench.cluster.make_namespace("gone")
    there = live(bench, other)
    bench.check(bench.becalm.run("quiesce", there.reference, "--deadline", "60s"), [0], f"{what}: quiesce")
    bench.api.delete(cluster.NAMESPACES, None, other)
    wait("the namespace is gone", lambda: bench.api.find(cluster.NAMESPACES, None, other) is None, 120)
    outcome = bench.becalm.run("resume", "--expired", "-n", other, "--json")
    bench.report.check(outcome.code == 0 and outcome.summary.get("failed") == 0, f"{what}: nothing is left to do", str(outcome))
    outcome = bench.becalm.run("resume", there.reference)
    bench.check(outcome, [1], f"{what}: resume finds nothing")
    bench.report.check("\n" not in said(outcome) and "run42" in said(outcome), f"{what}: it says so", said(outcome))


@trap("a journal of another version")
def other_version(bench, namespace, what):
    there = live(bench, namespace)
    before = there.touched()
    bench.check(bench.becalm.run("quiesce", there.reference, "--deadline", "45s"), [0], f"{what}: quiesce")
    journal = there.journals()[0]["metadata"]["name"]
    for key, value in (("becalm.io/journal-version", "99"), ("becalm.io/targets", "[{")):
        old = there.journals()[0]["metadata"]["annotations"][key]
        bench.api.patch(LEASES, namespace, journal, {"metadata": {"annotations": {key: value}}})
        outcome = bench.becalm.run("resume", "--expired", "-n", namespace, "--json")
        bench.report.check(
            outcome.code == 1 and outcome.summary.get("failed") == 1, f"{what}: {key}: it is not guessed at", str(outcome))
        bench.report.check(
            any(journal in str(o) for o in outcome.of("failed")), f"{what}: {key}: it is named", outcome.out.decode())
        outcome = bench.becalm.run("status", "-n", namespace)
        bench.report.check(journal in outcome.err.decode(), f"{what}: {key}: status warns", str(outcome))
        bench.api.patch(LEASES, namespace, journal, {"metadata": {"annotations": {key: old}}})
    end = cluster.seconds(there.journals()[0]["metadata"]["annotations"]["becalm.io/deadline"])
    wait("the deadline is past", lambda: bench.api.now() > end)
    bench.check(bench.becalm.run("resume", "--expired", "-n", namespace), [0], f"{what}: resume --expired")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("names that name nothing")
def no_names(bench, namespace, what):
    for reference, codes, words in (
            ("nothing", (64,), "NAMESPACE/KIND/NAME"), (f"{namespace}/statefulset/none", (1,), "none"),
            (f"{namespace}/unicorn/run42", (1,), "unicorn"), (f"{namespace}/configmap/run42", (1,), "configmap"),
            (f"{namespace}/pod/none", (1,), "none"), ("no-such-namespace/job/run42", (1,), "run42"),
            ("../../kube-system/job/x", (64,), "NAMESPACE/KIND/NAME")):
        for word in ("quiesce", "resume", "status"):
            outcome = bench.becalm.run(word, reference)
            bench.check(outcome, codes, f"{what}: {word} {reference}")
            bench.report.check(words in said(outcome), f"{what}: {word} {reference} says what", said(outcome))


@trap("a job that has ended")
def ended(bench, namespace, what):
    template = pod_template(namespace, restart="Never", command=["true"])
    bench.api.create(JOBS, JOBS.object(namespace, "run42", spec={"template": template}))
    wait("the job has ended", lambda: bench.api.get(JOBS, namespace, "run42").get("status", {}).get("succeeded"))
    outcome = bench.becalm.run("quiesce", f"{namespace}/job/run42")
    bench.check(outcome, [1], f"{what}: it is refused")
    bench.report.check("has ended" in said(outcome), f"{what}: it says why", said(outcome))
    bench.report.check(not bench.api.list(LEASES, namespace), f"{what}: no journal")


@trap("what nobody holds")
def nobody(bench, namespace, what):
    there = live(bench, namespace)
    before = there.touched()
    outcome = bench.becalm.run("resume", there.reference)
    bench.check(outcome, [1], f"{what}: resume fails")
    bench.report.check("nothing to resume" in said(outcome), f"{what}: it says so", said(outcome))
    outcome = bench.becalm.run("resume", "--expired", "-n", namespace, "--json")
    bench.report.check(outcome.summary.get("resumed") == 0, f"{what}: nothing is over", str(outcome.summary))
    outcome = bench.becalm.run("status", there.reference, "--json")
    bench.report.check(outcome.code == 0 and outcome.summary.get("held") == 0, f"{what}: status says so", str(outcome))
    untouched(bench, there, before, what)


@trap("the same name in two groups")
def two_groups(bench, namespace, what):
    there = live(bench, namespace, "Job")
    volcano = Live(bench.cluster, sample(bench, "Volcano Job"), namespace, linger=0)
    wait("both run", lambda: sum(p["status"].get("phase") == "Running" for p in there.pods()) == 4)
    outcome = bench.becalm.run("quiesce", f"{namespace}/job/run42", "--json")
    bench.check(outcome, [0], f"{what}: quiesce")
    bench.report.check(
        outcome.summary.get("workload") == f"{namespace}/jobs.batch/run42", f"{what}: `job` is Kubernetes' own",
        str(outcome.summary))
    phase = volcano.object()["status"]["state"]["phase"]
    bench.report.check(phase == "Running", f"{what}: the other one runs on", phase)
    bench.check(bench.becalm.run("resume", f"{namespace}/Job/run42"), [0], f"{what}: resume")


# ---------------------------------------------------------------- pods that do not end

@trap("a pod that never ends")
def endless(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=-1, grace=900)
    before = there.touched()
    outcome = bench.becalm.run("quiesce", there.reference, "--stop-timeout", "8s", "--json")
    bench.check(outcome, [20], f"{what}: it is given up")
    bench.report.check(f"{there.name}-" in said(outcome) and "ending" in said(outcome) or "run42" in outcome.out.decode(),
                       f"{what}: it names who does not end", said(outcome) + outcome.out.decode())
    bench.report.equal(cluster.differences(before, there.touched()), f"{what}: it was let go")
    bench.report.check(not there.journals(), f"{what}: no journal is left")
    bench.api.delete_all(PODS, namespace, grace=0)
    there.wait_running()


@trap("a pod with a finalizer")
def finalizer(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    for pod in there.pods():
        bench.api.patch(PODS, namespace, pod["metadata"]["name"], {"metadata": {"finalizers": ["example.com/hold"]}})
    before = there.touched()
    outcome = bench.becalm.run("quiesce", there.reference, "--stop-timeout", "10s")
    # Its containers have ended; whether the kubelet says so depends on its version.
    bench.check(outcome, [0, 20], f"{what}: it stands still, or is given up")
    if outcome.code == 0:
        bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    bench.report.equal(cluster.differences(before, there.touched()), f"{what}: it was let go")
    for pod in there.pods():
        bench.api.patch(PODS, namespace, pod["metadata"]["name"], {"metadata": {"finalizers": None}})
    there.wait_running()


@trap("a stop by SIGTERM and SIGINT of the command")
def interrupted(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=15)
    before = there.touched()
    process = bench.becalm.start("quiesce", there.reference)
    wait("it is being stopped", lambda: any("deletionTimestamp" in p["metadata"] for p in there.pods()))
    process.terminate()
    outcome = bench.becalm.finish(process, 120)
    bench.check(outcome, [143, -15], f"{what}: it ends as it was told")
    bench.report.equal(cluster.differences(before, there.touched()), f"{what}: the workload was let go first")
    bench.report.check(not there.journals(), f"{what}: no journal is left", str(there.journals()))


# ---------------------------------------------------------------- others meddle

@trap("two at once")
def two_at_once(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=4)
    before = there.touched()
    processes = [bench.becalm.start("quiesce", there.reference, "--holder", name) for name in ("one", "two")]
    outcomes = [bench.becalm.finish(process, 120) for process in processes]
    bench.report.check(
        sorted(o.code for o in outcomes) == [0, 11], f"{what}: one holds it, the other is told", "\n".join(map(str, outcomes)))
    loser = next((o for o in outcomes if o.code == 11), None)
    if loser:
        winner = "one" if "two" in loser.arguments else "two"
        bench.report.check(winner in said(loser), f"{what}: it names who", said(loser))
    outcome = bench.becalm.run("quiesce", there.reference, "--holder", "three")
    bench.check(outcome, [11], f"{what}: and so is a third one afterwards")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("two at once by one person")
def two_of_one(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=4)
    before = there.touched()
    processes = [bench.becalm.start("quiesce", there.reference) for _ in range(2)]
    outcomes = [bench.becalm.finish(process, 120) for process in processes]
    bench.report.check(
        {0} <= {o.code for o in outcomes} <= {0, 11}, f"{what}: at least one holds it", "\n".join(map(str, outcomes)))
    bench.report.check(len(there.journals()) == 1, f"{what}: one journal")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("let go by somebody else while it is being stopped")
def let_go_meanwhile(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=25, grace=60)
    before = there.touched()
    process = bench.becalm.start("quiesce", there.reference, "--deadline", "4s")
    wait("it is being stopped", lambda: any("deletionTimestamp" in p["metadata"] for p in there.pods()))
    end = bench.api.now() + 6
    wait("the deadline is past", lambda: bench.api.now() > end)
    bench.check(bench.becalm.run("resume", "--expired", "-n", namespace), [0], f"{what}: resume --expired")
    outcome = bench.becalm.finish(process, 45)
    bench.check(outcome, [1, 20], f"{what}: the one who stops it ends, soon")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("a stop that takes longer than its deadline")
def longer_than_deadline(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=25, grace=60)
    before = there.touched()
    outcome = bench.becalm.run("quiesce", there.reference, "--deadline", "5s", timeout=120)
    # Past its deadline, a workload is to run, not to be handed over as one that stands still.
    bench.check(outcome, [20], f"{what}: it is given up at its deadline")
    bench.report.check(outcome.seconds < 20, f"{what}: in time", f"{outcome.seconds:.1f} s")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("deleted while it is held")
def deleted(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce")
    bench.api.delete(STATEFULSETS, namespace, there.name)
    outcome = bench.becalm.run("resume", there.reference)
    bench.check(outcome, [0], f"{what}: resume has nothing to put back")
    bench.report.check(
        "deleted" in said(outcome) + outcome.out.decode(), f"{what}: it says so", str(outcome) + outcome.out.decode())
    bench.report.check(not there.journals(), f"{what}: no journal is left")


@trap("deleted and made anew while it is held")
def replaced(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    if not bench.check(bench.becalm.run("quiesce", there.reference, "--deadline", "60s"), [0], f"{what}: quiesce"):
        return
    bench.api.delete(STATEFULSETS, namespace, there.name)
    body = there.created[-1][1]
    wait("the name is free", lambda: bench.api.find(STATEFULSETS, namespace, there.name) is None)
    bench.api.create(STATEFULSETS, {**body, "spec": {**body["spec"], "replicas": 1}})
    end = cluster.seconds(there.journals()[0]["metadata"]["annotations"]["becalm.io/deadline"])
    wait("the deadline is past", lambda: bench.api.now() > end, 90)
    outcome = bench.becalm.run("resume", "--expired", "-n", namespace, "--json")
    bench.check(outcome, [0], f"{what}: resume --expired")
    bench.report.check(
        there.object()["spec"]["replicas"] == 1, f"{what}: the new one is left alone", str(there.object()["spec"]["replicas"]))
    bench.report.check(not there.journals(), f"{what}: no journal is left")


@trap("changed by its user while it is held")
def changed(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce")
    bench.api.patch(STATEFULSETS, namespace, there.name, {
        "metadata": {"labels": {"team": "vision"}}, "spec": {"template": {"metadata": {"annotations": {"note": "new"}}}}})
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    after = there.object()
    bench.report.check(after["metadata"]["labels"] == {"team": "vision"} and after["spec"]["replicas"] == 2
                       and after["spec"]["template"]["metadata"]["annotations"] == {"note": "new"},
                       f"{what}: other fields keep the change, and it runs", str(cluster.essence(after)))
    there.wait_running()
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce again")
    bench.api.patch(STATEFULSETS, namespace, there.name, {"spec": {"replicas": 1}})
    outcome = bench.becalm.run("resume", there.reference)
    bench.check(outcome, [0], f"{what}: resume again")
    bench.report.check(
        there.object()["spec"]["replicas"] == 1, f"{what}: the very field keeps the change", str(there.object()["spec"]))
    bench.report.check(
        "replicas" in said(outcome) + outcome.out.decode(), f"{what}: and it is told", str(outcome) + outcome.out.decode())
    bench.report.check(
        "becalm.io/quiesced" not in (there.object()["metadata"].get("annotations") or {}), f"{what}: our note is gone")


@trap("stopped by its user before")
def stopped_before(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    bench.api.patch(STATEFULSETS, namespace, there.name, {"spec": {"replicas": 0}})
    wait("it is stopped", lambda: not there.pods(), 240)
    before = there.touched()
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    bench.report.equal(cluster.differences(before, there.touched()), f"{what}: it stays stopped")


@trap("a journal that somebody deleted")
def no_journal(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    before = there.touched()
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce")
    for journal in there.journals():
        bench.api.delete(LEASES, namespace, journal["metadata"]["name"])
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: the object itself says what it was")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("a workload that is to stay stopped")
def stay(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet")
    bench.check(bench.becalm.run("quiesce", there.reference, "--consistency", "stop", "--deadline", "45s"), [0], f"{what}: quiesce")
    end = bench.api.now() + 46
    wait("the deadline is past", lambda: bench.api.now() > end)
    outcome = bench.becalm.run("resume", "--expired", "-n", namespace, "--json")
    bench.report.check(outcome.code == 0 and outcome.summary.get("resumed") == 0, f"{what}: no deadline lets it go", str(outcome))
    bench.report.check(not there.pods(), f"{what}: it stays stopped")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: until somebody does")
    there.wait_running()


# ---------------------------------------------------------------- who may not

READ = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
LEASE = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}


@trap("forbidden")
def forbidden(bench, namespace, what):
    there = live(bench, namespace)
    for number, (rules, words) in enumerate([
            ([], r"cannot get StatefulSet.*run42.*verbs \[.get.\]"),
            ([{**READ, "resources": ["statefulsets"]}], r"cannot .*(pods|leases)"),
            ([READ], r"cannot create Lease.*verbs \[.create.\]"),
            ([READ, LEASE], r"cannot update StatefulSet.*run42.*verbs \[.update.\]")]):
        path = bench.cluster.account(namespace, rules, f"{bench.scratch}/{namespace}-{number}.kubeconfig", f"tester-{number}")
        narrow = cluster.command(bench.cluster, bench.scratch, path)
        before = there.touched()
        outcome = narrow.run("quiesce", there.reference)
        bench.check(outcome, [1], f"{what}: case {number}")
        bench.report.check(
            re.search(words, said(outcome)) and "\n" not in said(outcome), f"{what}: case {number} names verb and object",
            said(outcome))
        untouched(bench, there, before, f"{what}: case {number}")


@trap("an account that goes while it is at work")
def account_goes(bench, namespace, what):
    there = live(bench, namespace, "StatefulSet", linger=25, grace=60)
    before = there.touched()
    path = bench.cluster.account(
        namespace, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], f"{bench.scratch}/{namespace}.kubeconfig")
    narrow = cluster.command(bench.cluster, bench.scratch, path)
    process = narrow.start("quiesce", there.reference, "--deadline", "35s")
    wait("it is being stopped", lambda: any("deletionTimestamp" in p["metadata"] for p in there.pods()))
    # Tokens that are bound to an account end with it; the server remembers one that it has seen for ten seconds.
    bench.api.delete(cluster.ACCOUNTS, namespace, "tester")
    outcome = narrow.finish(process, 300)
    bench.check(outcome, [1, 14], f"{what}: it ends")
    bench.report.check(re.search("(?i)unauthorized|credential|401", said(outcome)), f"{what}: it says why", said(outcome))
    bench.report.check("resume --expired" in said(outcome), f"{what}: it says that the workload is held still", said(outcome))
    end = max(cluster.seconds(j["spec"]["renewTime"]) + j["spec"]["leaseDurationSeconds"] for j in there.journals())
    wait("the deadline is past", lambda: bench.api.now() > end)
    bench.check(bench.becalm.run("resume", "--expired", "-n", namespace), [0], f"{what}: whoever comes next lets it go")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("a token that is none")
def no_token(bench, namespace, what):
    path = bench.cluster.configuration.write(f"{bench.scratch}/{namespace}.kubeconfig", token="expired")
    outcome = cluster.command(bench.cluster, bench.scratch, path).run("quiesce", f"{namespace}/job/run42")
    bench.check(outcome, [1, 14], f"{what}: it ends")
    bench.report.check(
        re.search("(?i)unauthorized|credential|token", said(outcome)) and "\n" not in said(outcome), f"{what}: it says why",
        said(outcome))


@trap("no server")
def no_server(bench, namespace, what):
    path = bench.cluster.configuration.write(f"{bench.scratch}/{namespace}.kubeconfig", server="http://127.0.0.1:9")
    outcome = cluster.command(bench.cluster, bench.scratch, path).run("status", timeout=300)
    bench.check(outcome, [1, 15], f"{what}: it ends")
    bench.report.check("127.0.0.1:9" in said(outcome) and "\n" not in said(outcome), f"{what}: it names the server", said(outcome))
    outcome = bench.becalm.run("status", "--kubeconfig", "/no/such/file")
    bench.check(outcome, [1, 64], f"{what}: a kubeconfig that is none")
    bench.report.check("/no/such/file" in said(outcome), f"{what}: it names the file", said(outcome))
    outcome = bench.becalm.run("status", "--context", "elsewhere")
    bench.check(outcome, [1, 64], f"{what}: a context that is none")
    bench.report.check("elsewhere" in said(outcome), f"{what}: it names the context", said(outcome))


# ---------------------------------------------------------------- checkpoints

def asked(bench, namespace, annotations, **options):
    return live(bench, namespace, "StatefulSet", annotations=annotations, **options)


def checkpoint_fails(bench, there, words, what, *options):
    before = there.touched()
    pods = {p["metadata"]["uid"] for p in there.pods()}
    outcome = bench.becalm.run("quiesce", there.reference, *options, timeout=300)
    bench.check(outcome, [21], f"{what}: it ends")
    bench.report.check(re.search(words, said(outcome)) and "\n" not in said(outcome), f"{what}: it says what", said(outcome))
    untouched(bench, there, before, what)
    bench.report.check({p["metadata"]["uid"] for p in there.pods()} == pods, f"{what}: no pod was stopped")
    return outcome


@trap("a checkpoint by a command")
def by_command(bench, namespace, what):
    there = asked(bench, namespace, {
        "becalm.io/checkpoint-command": '["sh", "-c", "sleep 1; echo saved >/trace/$POD_NAME.saved"]'})
    before = there.touched()
    outcome = bench.becalm.run("quiesce", there.reference, "--json")
    bench.check(outcome, [0], f"{what}: quiesce")
    steps = [event["step"] for event in outcome.of("step")]
    bench.report.check(
        steps == ["requested", "checkpointing", "checkpointed", "stopping", "stopped"], f"{what}: the steps", str(steps))
    saved = [name for name in there.traces.sizes() if name.endswith(".saved")]
    bench.report.check(len(saved) == 2, f"{what}: all pods were asked", str(saved))
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    there.wait_running()
    untouched(bench, there, before, what)


@trap("a checkpoint by a signal, of the first only, without a stop")
def by_signal(bench, namespace, what):
    there = asked(bench, namespace, {
        "becalm.io/checkpoint-signal": "SIGUSR1", "becalm.io/checkpoint-ranks": "first", "becalm.io/consistency": "checkpoint"})
    pods = {p["metadata"]["uid"] for p in there.pods()}
    outcome = bench.becalm.run("quiesce", there.reference, "--json")
    bench.check(outcome, [0], f"{what}: quiesce")
    saved = wait("it has saved", lambda: [n for n in there.traces.sizes() if n.endswith(".saved")], 20)
    bench.report.check(saved == ["run42-0.saved"], f"{what}: rank 0 was asked", str(saved))
    bench.report.check({p["metadata"]["uid"] for p in there.pods()} == pods and there.is_running(), f"{what}: it runs on")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    bench.report.check(not there.journals(), f"{what}: no journal is left")


SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        good = self.path == "/checkpoint?now=1"
        open("/trace/" + os.environ["POD_NAME"] + ".saved", "w").write(self.path)
        self.send_response(200 if good else 503)
        self.end_headers()
        self.wfile.write(b"saved" if good else b"no room on the volume")
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""


@trap("a checkpoint by HTTP")
def by_http(bench, namespace, what):
    there = asked(
        bench, namespace, {"becalm.io/checkpoint-http": "POST 8080/checkpoint?now=1"}, command=["python3", "-c", SERVER], grace=1)
    wait("it listens", lambda: http_answers(bench, there))
    outcome = bench.becalm.run("quiesce", there.reference, "--json")
    bench.check(outcome, [0], f"{what}: quiesce")
    bench.report.check(len(there.traces.sizes()) == 2, f"{what}: all pods were asked", str(there.traces.sizes()))
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")
    there.wait_running()
    wait("it listens", lambda: http_answers(bench, there))
    bench.api.patch(
        STATEFULSETS, namespace, there.name, {"metadata": {"annotations": {"becalm.io/checkpoint-http": "POST 8080/other"}}})
    checkpoint_fails(bench, there, r"503.*no room on the volume", f"{what} that says no")


def http_answers(bench, there):
    for pod in there.pods():
        try:
            bench.api.request("GET", PODS.path(there.namespace, pod["metadata"]["name"]) + ":8080/proxy/")
        except cluster.Refused as refused:
            # Our server knows no GET and says so.
            if refused.status != 501:
                return False
    return True


@trap("a checkpoint by a file")
def by_file(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-file": "/trace/please-save"})
    bench.check(bench.becalm.run("quiesce", there.reference), [0], f"{what}: quiesce")
    bench.report.check("please-save" in there.traces.sizes(), f"{what}: it is made")
    bench.check(bench.becalm.run("resume", there.reference), [0], f"{what}: resume")


@trap("a checkpoint command that fails")
def command_fails(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-command": '["sh", "-c", "echo no space left on device >&2; exit 3"]'})
    checkpoint_fails(bench, there, r"run42-\d.* 3.*no space left on device", what)


@trap("a checkpoint command that hangs")
def command_hangs(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-command": '["sleep", "1000"]'})
    outcome = checkpoint_fails(bench, there, r"run42-\d", what, "--checkpoint-timeout", "5s")
    bench.report.check(4 < outcome.seconds < 60, f"{what}: in its time", f"{outcome.seconds:.1f} s")


@trap("a checkpoint command that is not there")
def command_absent(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-command": "/save"})
    checkpoint_fails(bench, there, r"/save", what)


@trap("a checkpoint signal in a container without a shell")
def no_shell(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-signal": "USR1"}, image=container_image.BARE,
                  command=["/sleep", "100000"], grace=1)
    checkpoint_fails(bench, there, r"\bkill\b|USR1", what)


@trap("a container that is not there")
def container_absent(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-command": "true", "becalm.io/checkpoint-container": "sidecar"})
    checkpoint_fails(bench, there, r"no container `sidecar`.*there are train", what)


@trap("an annotation that is misspelled")
def misspelled(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-comand": "true"})
    refused(bench, there, r"checkpoint-comand", what)


@trap("a checkpoint through a proxy of plain HTTP")
def through_proxy(bench, namespace, what):
    there = asked(bench, namespace, {"becalm.io/checkpoint-command": '["sh", "-c", "echo saved >/trace/$POD_NAME.saved"]'})
    with cluster_proxy.Proxy(bench.cluster.configuration) as proxy:
        path = bench.cluster.configuration.write(f"{bench.scratch}/{namespace}.kubeconfig", server=proxy.server)
        bench.check(cluster.command(bench.cluster, bench.scratch, path).run("quiesce", there.reference), [0], f"{what}: quiesce")
    bench.report.check(sum(n.endswith(".saved") for n in there.traces.sizes()) == 2, f"{what}: all were asked")


# ---------------------------------------------------------------- one that has ended meanwhile

@trap("a job that ends while it is being stopped")
def ends_meanwhile(bench, namespace, what):
    template = pod_template(namespace, restart="Never", command=["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
    bench.api.create(JOBS, JOBS.object(namespace, "run42", spec={"template": template}))
    wait("it runs", lambda: any(p["status"].get("phase") == "Running" for p in bench.api.list(PODS, namespace)))
    outcome = bench.becalm.run("quiesce", f"{namespace}/job/run42", "--stop-timeout", "60s")
    # Its pod ended well, which makes the job complete: both are the truth.
    bench.check(outcome, [0], f"{what}: quiesce")
    bench.check(bench.becalm.run("resume", f"{namespace}/job/run42"), [0], f"{what}: resume")
    body = bench.api.get(JOBS, namespace, "run42")
    bench.report.check(body["spec"]["parallelism"] == 1, f"{what}: it is what it was", str(body["spec"]["parallelism"]))


# ---------------------------------------------------------------- model servers behind a gateway

class Requests:
    """Requests to model servers, each under way for some seconds."""

    def __init__(self, bench, there, seconds):
        self.answers, self.threads = [], []
        for pod in there.pods():
            self.threads.append(threading.Thread(target=self.ask, args=(bench, there.namespace, pod["metadata"]["name"], seconds)))
            self.threads[-1].start()

    def ask(self, bench, namespace, pod, seconds):
        api = cluster.API(bench.cluster.configuration)
        try:
            api.request("POST", PODS.path(namespace, pod) + f":8000/proxy/v1/completions?{seconds}", {})
            self.answers.append((pod, 200, time.monotonic()))
        except (cluster.Refused, OSError) as error:
            self.answers.append((pod, str(error), time.monotonic()))

    def end(self):
        for thread in self.threads:
            thread.join()
        return self.answers


class Story:
    """What became of the pods and the route of a namespace, in the order of the server's versions."""

    def __init__(self, bench, namespace):
        self.bench, self.namespace, self.events, self.threads = bench, namespace, [], []
        for resource in (PODS, kinds.ROUTE):
            version = bench.api.request("GET", resource.path() + "?limit=1")["metadata"]["resourceVersion"]
            self.threads.append(threading.Thread(target=self.follow, args=(resource, version), daemon=True))
            self.threads[-1].start()

    def follow(self, resource, version):
        for event in self.bench.api.watch(resource, version, seconds=600):
            body = event["object"]
            if event["type"] != "BOOKMARK" and body["metadata"].get("namespace") == self.namespace:
                self.events.append((int(body["metadata"]["resourceVersion"]), time.monotonic(), body))

    def first(self, condition):
        """The version and the moment of the first event that is so."""
        found = sorted((e for e in self.events if condition(e[2])), key=lambda e: e[0])
        return found[0][:2] if found else (None, None)


def weight(body):
    return body["kind"] == "HTTPRoute" and body["spec"]["rules"][0]["backendRefs"][0]["weight"]


@trap("model servers behind a gateway")
def drained(bench, namespace, what):
    there = live(bench, namespace, "llm-d Deployment", kinds.probed)
    before, report = there.touched(), bench.report
    story, requests = Story(bench, namespace), Requests(bench, there, 12)
    names = {pod["metadata"]["name"] for pod in there.pods()}
    wait("requests are under way", lambda: all(" 1.0" in bench.api.request(
        "GET", PODS.path(namespace, name) + ":8000/proxy/metrics") for name in names))
    outcome = bench.becalm.run("quiesce", there.reference, "--json", timeout=300)
    bench.check(outcome, [0], f"{what}: quiesce")
    report.check(any("no other backend" in r for r in outcome.summary["remarks"]), f"{what}: it warns of rules that are left empty",
                 str(outcome.summary))
    answers = requests.end()
    report.check([a[1] for a in answers] == [200, 200], f"{what}: every request is answered", str(answers))
    closed, _ = story.first(lambda body: weight(body) == 0)
    deleted, when = story.first(lambda body: body["kind"] == "Pod" and "deletionTimestamp" in body["metadata"])
    report.check(closed and deleted and closed < deleted, f"{what}: the route closes before a pod is deleted", f"{closed} {deleted}")
    report.check(when and max(a[2] for a in answers) < when, f"{what}: no pod is deleted before its requests are answered", str(answers))
    route = bench.api.get(kinds.ROUTE, namespace, there.name)
    report.check([b.get("weight") for r in route["spec"]["rules"] for b in r["backendRefs"]] == [0, 10, 0, 0],
                 f"{what}: the weights of the pool are 0, and no others", str(route["spec"]))
    outcome = bench.becalm.run("resume", there.reference, "--json", timeout=300)
    bench.check(outcome, [0], f"{what}: resume")
    report.check(outcome.summary["remarks"] == [], f"{what}: nothing to remark", str(outcome.summary))
    opened, _ = story.first(lambda body: weight(body) == 90)
    ready = [story.first(lambda body, name=pod["metadata"]["name"]: body["metadata"]["name"] == name and cluster.is_ready(body))[0]
             for pod in there.pods()]
    report.check(len(ready) == 2 and all(ready) and opened and max(ready) < opened,
                 f"{what}: the route opens when all pods are Ready", f"{ready} {opened}")
    report.equal(cluster.differences(before, there.touched()), f"{what}: the objects are what they were")
    report.check(not there.journals(), f"{what}: no journal is left")


@trap("a drain that takes too long")
def drain_too_long(bench, namespace, what):
    there = live(bench, namespace, "llm-d Deployment", kinds.probed)
    before = there.touched()
    requests = Requests(bench, there, 40)
    time.sleep(1)
    outcome = bench.becalm.run("quiesce", there.reference, "--json", "--drain-timeout", "4s", timeout=300)
    bench.check(outcome, [0], f"{what}: quiesce goes on")
    bench.report.check(any("has 1 under way" in r for r in outcome.summary["remarks"]), f"{what}: it warns", str(outcome.summary))
    bench.report.check([a[1] for a in requests.end()] != [200, 200], f"{what}: its servers do cut requests off")
    bench.check(bench.becalm.run("resume", there.reference, timeout=300), [0], f"{what}: resume")
    there.wait_running()
    requests = Requests(bench, there, 15)
    time.sleep(1)
    outcome = bench.becalm.run("quiesce", there.reference, "--drain", "required", "--drain-timeout", "4s", timeout=300)
    bench.check(outcome, [20], f"{what}: a drain that is demanded fails")
    bench.report.check("becalm.io/drain-timeout" in said(outcome), f"{what}: it says how to give it more time", said(outcome))
    bench.report.check([a[1] for a in requests.end()] == [200, 200], f"{what}: nothing is cut off then")
    untouched(bench, there, before, what)


@trap("two workloads of one pool")
def one_pool(bench, namespace, what):
    def both(namespace, name, pod):
        servers = [kinds.model_server(namespace, name, pod, role=role) for role in ("prefill", "decode")]
        for _, body in servers:
            kinds.probed(body)
        return kinds.pool_and_route(namespace, name) + servers
    made = Sample("llm-d", cluster.DEPLOYMENTS, both, 4, held=lambda namespace, name: [
        (kinds.ROUTE, name), (cluster.DEPLOYMENTS, f"{name}-prefill")], ready=True)
    there = Live(bench.cluster, made, namespace)
    there.wait_running()
    before, report = there.touched(), bench.report
    prefill = f"{there.reference}-prefill"
    outcome = bench.becalm.run("quiesce", there.reference, "--json", timeout=300)
    bench.check(outcome, [0], f"{what}: one of them")
    report.check(any("keeps 2 other pods" in r for r in outcome.summary["remarks"]), f"{what}: it says that the pool stays open",
                 str(outcome.summary))
    report.check(weight(bench.api.get(kinds.ROUTE, namespace, there.name)) == 90, f"{what}: the route stays as it is")
    bench.check(bench.becalm.run("quiesce", prefill, timeout=300), [0], f"{what}: the other one")
    report.check(weight(bench.api.get(kinds.ROUTE, namespace, there.name)) == 0, f"{what}: the last one closes it")
    for reference in (prefill, there.reference):
        bench.check(bench.becalm.run("resume", reference, timeout=300), [0], f"{what}: resume")
    there.wait_running()
    report.equal(cluster.differences(before, there.touched()), f"{what}: the objects are what they were")
    # Both at once, from two processes.
    processes = [bench.becalm.start("quiesce", reference, "--json") for reference in (there.reference, prefill)]
    for process in processes:
        bench.check(bench.becalm.finish(process, timeout=300), [0], f"{what}: both at once")
    report.check(weight(bench.api.get(kinds.ROUTE, namespace, there.name)) == 0, f"{what}: the route is closed for both")
    for reference in (there.reference, prefill):
        bench.check(bench.becalm.run("resume", reference, timeout=300), [0], f"{what}: resume after both")
    there.wait_running()
    report.equal(cluster.differences(before, there.touched()), f"{what}: the objects are what they were, after both")


@trap("a route that must not be changed")
def route_forbidden(bench, namespace, what):
    there = live(bench, namespace, "llm-d Deployment", kinds.probed)
    before = there.touched()
    rules = [READ, LEASE, {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["update"]}]
    narrow = cluster.command(bench.cluster, bench.scratch, bench.cluster.account(
        namespace, rules, f"{bench.scratch}/{namespace}.kubeconfig"))
    outcome = narrow.run("quiesce", there.reference, "--drain", "required")
    bench.check(outcome, [1], f"{what}: a drain that is demanded is refused")
    words = 'resources ["httproutes"], verbs ["update"]'
    bench.report.check(words in said(outcome), f"{what}: it names the permission", said(outcome))
    untouched(bench, there, before, what)
    outcome = narrow.run("quiesce", there.reference, "--json")
    bench.check(outcome, [0], f"{what}: else it goes on")
    bench.report.check(any(words in r for r in outcome.summary["remarks"]), f"{what}: with a warning", str(outcome.summary))
    bench.check(narrow.run("resume", there.reference), [0], f"{what}: resume")
    there.wait_running()
    untouched(bench, there, before, f"{what}, after all")


def run(bench, title):
    """Runs one, in a namespace of its own."""
    with bench.cluster.scope("trap") as namespace:
        try:
            TRAPS[title](bench, namespace, title)
        except (cluster.harness.Unexpected, cluster.Refused, subprocess.SubprocessError, OSError) as error:
            bench.report.check(False, title, f"{type(error).__name__}: {error}")
