#!/usr/bin/env python3
"""Plays the operators that a test's cluster does not have: makes real pods of their objects, and behaves as the real ones do
where it matters to who wants a workload to stand still. In particular it says that something is suspended when the real
one says so, which is mostly before its pods have ended.

    cluster_operators.py KUBECONFIG          prints `ready` once it watches

Read in the sources of: JobSet 0.12, Kubeflow Trainer 2.3, training-operator v1, MPI operator v2beta1, KubeRay 1.7, Volcano 1.15, Kueue
0.19, LeaderWorkerSet 0.10, KAITO 0.12.
"""

import copy
import datetime
import os
import sys
import threading
import time
import traceback

import cluster
import cluster_kinds as kinds
from cluster import DEPLOYMENTS, JOBS, PODS, STATEFULSETS, Refused


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def ending(body):
    return "deletionTimestamp" in body["metadata"]


def condition(body, kind):
    """The status of a condition: True, False, or None when there is none."""
    for entry in body.get("status", {}).get("conditions") or []:
        if entry["type"] == kind:
            return entry["status"] == "True"
    return None


def with_conditions(body, **wanted):
    """The conditions of an object with some of them changed; the times of the others stay."""
    conditions = copy.deepcopy(body.get("status", {}).get("conditions") or [])
    for kind, value in wanted.items():
        status, reason = value if isinstance(value, tuple) else (value, kind)
        status = "True" if status else "False"
        entry = next((c for c in conditions if c["type"] == kind), None)
        if entry is None:
            entry = {"type": kind}
            conditions.append(entry)
        if (entry.get("status"), entry.get("reason")) != (status, reason):
            entry.update(status=status, reason=reason, message="", lastTransitionTime=now())
    return conditions


class World:
    """What there is in the cluster, kept by watches, and the ways to change it."""

    def __init__(self, api):
        self.api = api
        self.lock = threading.Lock()
        self.changed = threading.Event()
        self.objects = {}

    def follow(self, resource, first):
        """Keeps the objects of a kind for ever."""
        while True:
            try:
                listing = self.api.request("GET", resource.path())
                with self.lock:
                    self.objects[resource] = {self.key(body): body for body in listing["items"]}
                self.changed.set()
                first.set()
                for event in self.api.watch(resource, listing["metadata"]["resourceVersion"]):
                    body = event["object"]
                    if event["type"] == "ERROR":
                        break
                    if event["type"] == "BOOKMARK":
                        continue
                    with self.lock:
                        if event["type"] == "DELETED":
                            self.objects[resource].pop(self.key(body), None)
                        else:
                            self.objects[resource][self.key(body)] = body
                    self.changed.set()
            except (OSError, Refused, ValueError, cluster.http.client.HTTPException) as error:
                print(f"watch of {resource}: {error!r}", flush=True)
                time.sleep(0.5)

    @staticmethod
    def key(body):
        return body["metadata"].get("namespace"), body["metadata"]["name"]

    def all(self, resource):
        with self.lock:
            return list(self.objects[resource].values())

    def get(self, resource, namespace, name):
        with self.lock:
            return self.objects[resource].get((namespace, name))

    def owned(self, resource, owner):
        uid = owner["metadata"]["uid"]
        return [body for body in self.all(resource)
                if any(o["uid"] == uid for o in body["metadata"].get("ownerReferences") or [])]

    def keep(self, resource, body):
        with self.lock:
            self.objects[resource][self.key(body)] = body
        return body

    # Changing.

    def create(self, resource, name, owner, owner_resource, labels=None, annotations=None, /, **members):
        namespace = owner["metadata"]["namespace"]
        body = resource.object(namespace, name, **copy.deepcopy(members))
        if labels:
            body["metadata"]["labels"] = labels
        if annotations:
            body["metadata"]["annotations"] = annotations
        body["metadata"]["ownerReferences"] = [{
            "apiVersion": owner_resource.api_version, "kind": owner_resource.kind, "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}]
        return self.keep(resource, self.api.create(resource, body))

    def delete(self, resource, body):
        if not ending(body):
            self.api.delete(resource, *self.key(body))

    def patch(self, resource, body, change):
        return self.keep(resource, self.api.patch(resource, *self.key(body), change))

    def status(self, resource, body, **members):
        """Writes members of the status, if they are others than before. A member that is None goes."""
        status = {**(body.get("status") or {}), **members}
        status = {key: value for key, value in status.items() if value is not None}
        if status == (body.get("status") or {}):
            return body
        changed = {**body, "status": status}
        return self.keep(resource, self.api.replace(resource, changed, "status"))

    # Pods.

    def pods(self, owner):
        return self.owned(PODS, owner)

    def make_pods(self, owner, resource, wanted):
        """Makes the pods that are missing, by name: labels and template."""
        there = {body["metadata"]["name"] for body in self.pods(owner)}
        for name, (labels, template) in wanted.items():
            if name not in there and self.get(PODS, owner["metadata"]["namespace"], name) is None:
                metadata = template.get("metadata", {})
                self.create(PODS, name, owner, resource, {**metadata.get("labels", {}), **labels}, metadata.get("annotations"),
                            spec=template["spec"])

    def delete_pods(self, owner):
        for pod in self.pods(owner):
            self.delete(PODS, pod)


def is_up(pod):
    """What controllers count as active: neither ended nor being deleted."""
    return not ending(pod) and pod.get("status", {}).get("phase") == "Running"


# ---------------------------------------------------------------- JobSet, Trainer

class JobSets:
    """Its condition is written once its Jobs are told, and its counters follow theirs, which leave out pods that end."""
    resource = kinds.JOBSET

    def reconcile(self, world, body):
        name, suspend = body["metadata"]["name"], bool(body["spec"].get("suspend"))
        jobs = {job["metadata"]["name"]: job for job in world.owned(JOBS, body)}
        statuses = []
        for replicated in body["spec"]["replicatedJobs"]:
            role, counts = replicated["name"], dict(ready=0, succeeded=0, failed=0, active=0, suspended=0)
            for index in range(replicated.get("replicas", 1)):
                job_name = f"{name}-{role}-{index}"
                labels = {"jobset.sigs.k8s.io/jobset-name": name, "jobset.sigs.k8s.io/replicatedjob-name": role,
                          "jobset.sigs.k8s.io/job-index": str(index)}
                spec = copy.deepcopy(replicated["template"]["spec"])
                # On servers that have it, the real one sets `suspend`.
                wanted = 0 if suspend else spec.get("parallelism", 1)
                job = jobs.get(job_name)
                if job is None:
                    if world.get(JOBS, body["metadata"]["namespace"], job_name):
                        continue
                    spec["parallelism"] = wanted
                    spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update(labels)
                    job = world.create(JOBS, job_name, body, self.resource, labels, spec=spec)
                elif job["spec"].get("parallelism") != wanted and not ending(job):
                    job = world.patch(JOBS, job, {"spec": {"parallelism": wanted}})
                counts["suspended"] += suspend
                counts["active"] += not suspend and bool(job.get("status", {}).get("active"))
                counts["ready"] += not suspend and bool(job.get("status", {}).get("active"))
            statuses.append({"name": role, **counts})
        conditions = body.get("status", {}).get("conditions")
        if suspend:
            conditions = with_conditions(body, Suspended=(True, "SuspendedJobs"))
        elif condition(body, "Suspended"):
            conditions = with_conditions(body, Suspended=(False, "ResumeJobs"))
        world.status(self.resource, body, replicatedJobsStatus=statuses, conditions=conditions, restarts=0)


class TrainJobs:
    """A JobSet of its name, made from its runtime; its condition mirrors its spec, whatever the JobSet does."""
    resource = kinds.TRAINJOB

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        suspend = bool(body["spec"].get("suspend"))
        if suspend:
            body = world.status(self.resource, body, conditions=with_conditions(body, Suspended=(True, "Suspended")))
        elif condition(body, "Suspended"):
            body = world.status(self.resource, body, conditions=with_conditions(body, Suspended=(False, "Resumed")))
        reference = body["spec"]["runtimeRef"]
        if reference.get("kind") == "TrainingRuntime":
            runtime = world.get(kinds.RUNTIME, namespace, reference["name"])
        else:
            runtime = world.get(kinds.CLUSTER_RUNTIME, None, reference["name"])
        job_set = next(iter(world.owned(kinds.JOBSET, body)), None)
        if job_set is None:
            if runtime is None or world.get(kinds.JOBSET, namespace, name):
                return
            spec = {**copy.deepcopy(runtime["spec"]["template"]["spec"]), "suspend": suspend}
            job_set = world.create(kinds.JOBSET, name, body, self.resource, spec=spec)
        elif bool(job_set["spec"].get("suspend")) != suspend:
            job_set = world.patch(kinds.JOBSET, job_set, {"spec": {"suspend": suspend}})
        world.status(self.resource, body, jobsStatus=job_set.get("status", {}).get("replicatedJobsStatus"))


# ---------------------------------------------------------------- training-operator, MPI operator

class TrainingJobs:
    """Suspending deletes its pods and says so at once: its counters do not have pods that end."""

    def __init__(self, resource):
        self.resource, self.member = resource, kinds.TRAINING_KINDS[resource]

    def reconcile(self, world, body):
        name = body["metadata"]["name"]
        suspend = bool((body["spec"].get("runPolicy") or {}).get("suspend"))
        wanted, launcher = {}, None
        for role, spec in body["spec"][self.member].items():
            if role == "Launcher":
                launcher = self.launch(world, body, spec, suspend)
                continue
            for index in range(spec.get("replicas", 1)):
                labels = self.labels(name, role, index)
                wanted[f"{name}-{role.lower()}-{index}"] = (labels, spec["template"])
        if suspend:
            world.delete_pods(body)
            statuses = {role: {} for role in body["spec"][self.member]}
            conditions = with_conditions(body, Running=(False, "JobSuspended"), Suspended=(True, "JobSuspended"))
            world.status(self.resource, body, conditions=conditions, replicaStatuses=statuses, startTime=None)
            return
        world.make_pods(body, self.resource, wanted)
        statuses = {role: {} for role in body["spec"][self.member]}
        for pod in world.pods(body):
            role = pod["metadata"]["labels"]["training.kubeflow.org/replica-type"]
            member = next(r for r in statuses if r.lower() == role)
            if is_up(pod):
                statuses[member]["active"] = statuses[member].get("active", 0) + 1
        if launcher is not None and launcher.get("status", {}).get("active"):
            statuses["Launcher"]["active"] = launcher["status"]["active"]
        conditions = {"Created": True}
        if condition(body, "Suspended"):
            conditions["Suspended"] = (False, "JobResumed")
        if all(status.get("active") for status in statuses.values()):
            conditions["Running"] = (True, "JobRunning")
        world.status(self.resource, body, conditions=with_conditions(body, **conditions), replicaStatuses=statuses)

    @staticmethod
    def labels(name, role, index):
        return {"training.kubeflow.org/job-name": name, "training.kubeflow.org/replica-type": role.lower(),
                "training.kubeflow.org/replica-index": str(index), "training.kubeflow.org/operator-name": "training-operator"}

    def launch(self, world, body, spec, suspend):
        """The launcher of an MPIJob is a Job."""
        name = body["metadata"]["name"] + "-launcher"
        parallelism = 0 if suspend else 1
        job = next(iter(world.owned(JOBS, body)), None)
        if job is None:
            if world.get(JOBS, body["metadata"]["namespace"], name):
                return None
            template = copy.deepcopy(spec["template"])
            template.setdefault(
                "metadata", {}).setdefault("labels", {}).update(self.labels(body["metadata"]["name"], "Launcher", 0))
            return world.create(JOBS, name, body, self.resource, spec={
                "parallelism": parallelism, "completions": kinds.MANY, "backoffLimit": 100, "template": template})
        if job["spec"]["parallelism"] != parallelism:
            return world.patch(JOBS, job, {"spec": {"parallelism": parallelism}})
        return job


# ---------------------------------------------------------------- KubeRay

class RayClusters:
    """Says that it is suspended when its pods are gone."""
    resource = kinds.RAYCLUSTER

    def reconcile(self, world, body):
        name, spec = body["metadata"]["name"], body["spec"]
        pods = world.pods(body)
        if spec.get("suspend"):
            body = world.status(self.resource, body, conditions=with_conditions(body, RayClusterSuspending=bool(pods)))
            world.delete_pods(body)
            if not pods:
                world.status(self.resource, body, state="suspended", conditions=with_conditions(
                    body, RayClusterSuspended=True, RayClusterSuspending=False, RayClusterProvisioned=False))
            return
        wanted = {f"{name}-head": ({"ray.io/cluster": name, "ray.io/node-type": "head"}, spec["headGroupSpec"]["template"])}
        for group in spec.get("workerGroupSpecs") or []:
            for index in range(group.get("replicas", 1)):
                labels = {"ray.io/cluster": name, "ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
                wanted[f"{name}-{group['groupName']}-worker-{index}"] = (labels, group["template"])
        world.make_pods(body, self.resource, wanted)
        ready = sum(map(is_up, pods)) == len(wanted)
        world.status(self.resource, body, state="ready" if ready else None, conditions=with_conditions(
            body, RayClusterSuspended=False, RayClusterSuspending=False, RayClusterProvisioned=ready))


class RayJobs:
    """Suspending deletes its cluster and its submitter, in the background: they are gone, and it says that it is suspended and
    forgets the cluster's name, while their pods still end."""
    resource = kinds.RAYJOB

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        spec, status = body["spec"], body.get("status", {})
        phase = status.get("jobDeploymentStatus", "")
        if spec.get("suspend") and (not spec.get("shutdownAfterJobFinishes") or spec.get("clusterSelector")):
            world.status(self.resource, body, jobDeploymentStatus="ValidationFailed")
            return
        if phase in ("", "New"):
            if spec.get("suspend"):
                world.status(self.resource, body, jobDeploymentStatus="Suspending")
            elif spec.get("clusterSelector"):
                world.status(
                    self.resource, body, jobDeploymentStatus="Running",
                    rayClusterName=next(iter(spec["clusterSelector"].values())))
            else:
                world.status(self.resource, body, jobDeploymentStatus="Initializing",
                             rayClusterName=cluster.random_name(name), jobId=cluster.random_name(name))
        elif phase == "Initializing":
            if spec.get("suspend"):
                world.status(self.resource, body, jobDeploymentStatus="Suspending")
                return
            ray = world.get(kinds.RAYCLUSTER, namespace, status["rayClusterName"])
            if ray is None:
                world.create(kinds.RAYCLUSTER, status["rayClusterName"], body, self.resource, spec=spec["rayClusterSpec"])
            elif ray.get("status", {}).get("state") == "ready":
                job = world.get(JOBS, namespace, name)
                if job is None:
                    world.create(
                        JOBS, name, body, self.resource, spec={"backoffLimit": 2, "template": spec["submitterPodTemplate"]})
                world.status(self.resource, body, jobDeploymentStatus="Running", jobStatus="RUNNING")
        elif phase == "Running":
            if spec.get("suspend"):
                world.status(self.resource, body, jobDeploymentStatus="Suspending")
        elif phase == "Suspending":
            left = [(kinds.RAYCLUSTER, c) for c in world.owned(kinds.RAYCLUSTER, body)] + [(JOBS, j) for j in world.owned(JOBS, body)]
            for resource, child in left:
                world.delete(resource, child)
            if not left:
                world.status(self.resource, body, jobDeploymentStatus="Suspended", jobStatus="", rayClusterName="", jobId="")
        elif phase == "Suspended" and not spec.get("suspend"):
            world.status(self.resource, body, jobDeploymentStatus="New")


class RayServices:
    """Deletes its cluster as a RayJob does."""
    resource = kinds.RAYSERVICE

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        active = body.get("status", {}).get("activeServiceStatus") or {}
        clusters = world.owned(kinds.RAYCLUSTER, body)
        if body["spec"].get("suspend"):
            if not condition(body, "Suspended"):
                body = world.status(self.resource, body, conditions=with_conditions(body, Suspending=True, Ready=False))
            for child in clusters:
                world.delete(kinds.RAYCLUSTER, child)
            if not clusters:
                world.status(self.resource, body, activeServiceStatus={}, conditions=with_conditions(
                    body, Suspending=False, Suspended=True))
            return
        if not active.get("rayClusterName"):
            body = world.status(self.resource, body, activeServiceStatus={"rayClusterName": cluster.random_name(name)},
                                conditions=with_conditions(body, Suspending=False, Suspended=False))
            return
        ray = world.get(kinds.RAYCLUSTER, namespace, active["rayClusterName"])
        if ray is None:
            world.create(kinds.RAYCLUSTER, active["rayClusterName"], body, self.resource, spec=body["spec"]["rayClusterConfig"])
        elif ray.get("status", {}).get("state") == "ready":
            world.status(self.resource, body, conditions=with_conditions(body, Ready=True))


# ---------------------------------------------------------------- Volcano

class VolcanoJobs:
    """Obeys Commands, which it deletes first. Aborted is when nothing is left of it; each resumption is a retry."""
    resource = kinds.VOLCANO_JOB

    def reconcile(self, world, body):
        name, spec, status = body["metadata"]["name"], body["spec"], body.get("status", {})
        phase = status.get("state", {}).get("phase", "")
        for command in world.all(kinds.VOLCANO_COMMAND):
            if command["target"]["name"] == name and command["metadata"]["namespace"] == body["metadata"]["namespace"]:
                if not world.api.delete(kinds.VOLCANO_COMMAND, *world.key(command)):
                    continue
                if command["action"] == "AbortJob" and phase in ("", "Pending", "Running", "Restarting"):
                    body = self.enter(world, body, "Aborting")
                elif command["action"] == "ResumeJob" and phase in ("Aborting", "Aborted"):
                    body = self.enter(world, body, "Restarting", retryCount=status.get("retryCount", 0) + 1)
                phase, status = body["status"]["state"]["phase"], body["status"]
        if world.get(kinds.VOLCANO_GROUP, body["metadata"]["namespace"], f"{name}-{body['metadata']['uid']}") is None:
            world.create(kinds.VOLCANO_GROUP, f"{name}-{body['metadata']['uid']}", body, self.resource, spec={
                "minMember": spec.get("minAvailable"), "queue": spec.get("queue", "default")})
        pods = world.pods(body)
        counts = {
            "terminating": sum(map(ending, pods)) or None, "running": sum(map(is_up, pods)) or None,
            "pending": sum(not ending(p) and p.get("status", {}).get("phase") == "Pending" for p in pods) or None}
        if phase in ("Aborting", "Aborted", "Restarting", "Failed"):
            world.delete_pods(body)
            if phase == "Restarting" and status.get("retryCount", 0) >= spec.get("maxRetry", 3):
                self.enter(world, body, "Failed", **counts)
            elif phase == "Aborting" and not pods:
                self.enter(world, body, "Aborted", **counts)
            elif phase == "Restarting" and not pods:
                self.enter(world, body, "Pending", **counts)
            else:
                world.status(self.resource, body, **counts)
            return
        wanted = {}
        for task in spec["tasks"]:
            for index in range(task.get("replicas", 1)):
                template = copy.deepcopy(task["template"])
                template.setdefault("metadata", {}).setdefault("annotations", {})["volcano.sh/task-index"] = str(index)
                labels = {"volcano.sh/job-name": name, "volcano.sh/task-spec": task["name"]}
                wanted[f"{name}-{task['name']}-{index}"] = (labels, template)
        world.make_pods(body, self.resource, wanted)
        running = counts["running"] or 0
        self.enter(world, body, "Running" if running >= spec.get("minAvailable", 1) else "Pending", **counts)

    def enter(self, world, body, phase, **members):
        state = body.get("status", {}).get("state", {})
        if state.get("phase") != phase:
            state = {"phase": phase, "lastTransitionTime": now()}
        return world.status(self.resource, body, state=state, **members)


# ---------------------------------------------------------------- Kueue

class Queued:
    """Admits what bears its label: un-suspends it when it is admitted, and at once if somebody else suspends it then; takes
    the quota back when the job counts no active pods, those that end left out."""

    def __init__(self, resource):
        self.resource = resource

    def suspended(self, job):
        part = job["spec"] if self.resource is kinds.JOBSET else job["spec"].get("runPolicy") or {}
        return bool(part.get("suspend"))

    def suspend(self, world, job, value):
        change = {"suspend": value} if self.resource is kinds.JOBSET else {"runPolicy": {"suspend": value}}
        return world.patch(self.resource, job, {"spec": change})

    def active(self, job):
        if self.resource is kinds.JOBSET:
            return any(s.get("active") for s in job.get("status", {}).get("replicatedJobsStatus") or [])
        return any(s.get("active") for s in job.get("status", {}).get("replicaStatuses", {}).values())

    def reconcile(self, world, job):
        namespace, name = world.key(job)
        queue_name = (job["metadata"].get("labels") or {}).get("kueue.x-k8s.io/queue-name")
        if not queue_name:
            return
        workload = next(iter(world.owned(kinds.KUEUE_WORKLOAD, job)), None)
        if workload is None:
            if not self.suspended(job):
                self.suspend(world, job, True)
            if world.get(kinds.KUEUE_WORKLOAD, namespace, self.name(name)) is None:
                world.create(kinds.KUEUE_WORKLOAD, self.name(name), job, self.resource, spec={
                    "active": True, "queueName": queue_name, "podSets": []})
            return
        queue = world.get(kinds.LOCAL_QUEUE, namespace, queue_name)
        whole = queue and world.get(kinds.CLUSTER_QUEUE, None, queue["spec"]["clusterQueue"])
        policies = {body["spec"].get("stopPolicy", "None") for body in (queue, whole) if body}
        active = workload["spec"].get("active", True)
        if condition(workload, "Admitted"):
            reason = "Deactivated" if not active else "LocalQueueStopped" if "HoldAndDrain" in policies else None
            if reason is None and not condition(workload, "Evicted"):
                if self.suspended(job):
                    self.suspend(world, job, False)
                return
            if not condition(workload, "Evicted"):
                workload = self.status(world, workload, Evicted=(True, reason))
            if not self.suspended(job):
                job = self.suspend(world, job, True)
                return
            if not self.active(job):
                self.status(world, workload, QuotaReserved=(False, "Pending"), Admitted=(False, "NoReservation"))
        else:
            if active and whole and not policies & {"Hold", "HoldAndDrain"}:
                if condition(workload, "Evicted"):
                    workload = self.status(world, workload, Evicted=(False, "QuotaReserved"), Requeued=True)
                self.status(world, workload, QuotaReserved=(True, "QuotaReserved"), Admitted=(True, "Admitted"))
            elif not self.suspended(job):
                self.suspend(world, job, True)

    def status(self, world, workload, **conditions):
        return world.status(kinds.KUEUE_WORKLOAD, workload, conditions=with_conditions(workload, **conditions))

    def name(self, job):
        return f"{self.resource.kind.lower()}-{job}"


class Queues:
    """Count what they have admitted."""

    def __init__(self, resource):
        self.resource = resource

    def reconcile(self, world, body):
        name = body["metadata"]["name"]
        if self.resource is kinds.LOCAL_QUEUE:
            mine = [w for w in world.all(kinds.KUEUE_WORKLOAD) if w["spec"].get("queueName") == name
                    and w["metadata"]["namespace"] == body["metadata"]["namespace"]]
        else:
            queues = {world.key(q) for q in world.all(kinds.LOCAL_QUEUE) if q["spec"].get("clusterQueue") == name}
            mine = [w for w in world.all(kinds.KUEUE_WORKLOAD) if (w["metadata"]["namespace"], w["spec"].get("queueName")) in queues]
        world.status(self.resource, body, admittedWorkloads=sum(bool(condition(w, "Admitted")) for w in mine),
                     reservingWorkloads=sum(bool(condition(w, "QuotaReserved")) for w in mine), pendingWorkloads=sum(
                         not condition(w, "QuotaReserved") for w in mine))


# ---------------------------------------------------------------- LeaderWorkerSet

class LeaderWorkerSets:
    """A StatefulSet of leaders; each leader owns a StatefulSet of its workers, which goes when the leader is gone."""
    resource = kinds.LWS

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        replicas, group = body["spec"].get("replicas", 1), body["spec"]["leaderWorkerTemplate"]
        more = body["metadata"].get("labels") or {}
        labels = {"leaderworkerset.sigs.k8s.io/name": name, **{k: v for k, v in more.items() if k.startswith("disaggregatedset")}}
        leaders = world.get(STATEFULSETS, namespace, name)
        if leaders is None:
            template = copy.deepcopy(group.get("leaderTemplate") or group["workerTemplate"])
            leader_labels = {**labels, "leaderworkerset.sigs.k8s.io/worker-index": "0"}
            template.setdefault("metadata", {}).setdefault("labels", {}).update(leader_labels)
            leaders = world.create(STATEFULSETS, name, body, self.resource, labels, spec={
                "serviceName": name, "replicas": replicas, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": leader_labels}, "template": template,
                "volumeClaimTemplates": group.get("volumeClaimTemplates") or []})
        elif leaders["spec"]["replicas"] != replicas:
            leaders = world.patch(STATEFULSETS, leaders, {"spec": {"replicas": replicas}})
        for leader in world.pods(leaders):
            group_name = leader["metadata"]["name"]
            if ending(leader) or world.get(STATEFULSETS, namespace, group_name) or group.get("size", 1) < 2:
                continue
            template = copy.deepcopy(group["workerTemplate"])
            worker_labels = {**labels, "leaderworkerset.sigs.k8s.io/group-index": group_name.rsplit("-", 1)[1],
                             "leaderworkerset.sigs.k8s.io/group-key": group_name}
            template.setdefault("metadata", {}).setdefault("labels", {}).update(worker_labels)
            world.create(STATEFULSETS, group_name, leader, PODS, labels, spec={
                "serviceName": name, "replicas": group["size"] - 1, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": worker_labels}, "template": template})
        status = leaders.get("status", {})
        world.status(self.resource, body, replicas=status.get("replicas", 0), readyReplicas=status.get("readyReplicas", 0))


class DisaggregatedSets:
    resource = kinds.DISAGGREGATED

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        numbers = [role["spec"].get("replicas", 1) for role in body["spec"]["roles"] if role.get("scaling", {}).get("mode") != "External"]
        if any(numbers) and not all(numbers):
            # The server's validation does not let this happen.
            world.status(self.resource, body, conditions=with_conditions(body, Invalid=(True, "RolesWithAndWithoutReplicas")))
        statuses = []
        for role in body["spec"]["roles"]:
            child_name = f"{name}-{role['name']}"
            child = world.get(kinds.LWS, namespace, child_name)
            if child is None:
                child = world.create(kinds.LWS, child_name, body, self.resource, {
                    "disaggregatedset.x-k8s.io/name": name, "disaggregatedset.x-k8s.io/role": role["name"]}, spec=role["spec"])
            elif child["spec"].get("replicas", 1) != role["spec"].get("replicas", 1):
                child = world.patch(kinds.LWS, child, {"spec": {"replicas": role["spec"].get("replicas", 1)}})
            status = child.get("status", {})
            statuses.append({"name": role["name"], "replicas": status.get("replicas", 0), "readyReplicas": status.get("readyReplicas", 0)})
        world.status(self.resource, body, roleStatuses=statuses)


# ---------------------------------------------------------------- KAITO

class Workspaces:
    """A StatefulSet, or a Job, of its name, which it makes and then leaves alone; it stays ready with none of no replicas."""
    resource = kinds.WORKSPACE

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        labels = {"kaito.sh/workspace": name}
        if "tuning" in body:
            job = world.get(JOBS, namespace, name)
            if job is None:
                template = copy.deepcopy(body["tuning"]["template"])
                template["spec"]["restartPolicy"] = "Never"
                template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
                job = world.create(JOBS, name, body, self.resource, labels, spec={
                    "parallelism": 1, "completions": kinds.MANY, "backoffLimit": 100, "template": template})
            if job.get("status", {}).get("active"):
                world.status(self.resource, body, conditions=with_conditions(body, JobStarted=True))
            return
        workers = world.get(STATEFULSETS, namespace, name)
        if workers is None:
            template = copy.deepcopy(body["inference"]["template"])
            template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
            workers = world.create(STATEFULSETS, name, body, self.resource, labels, spec={
                "serviceName": name, "replicas": 1, "selector": {"matchLabels": labels}, "template": template})
        status = workers.get("status", {})
        if status.get("readyReplicas", 0) == workers["spec"]["replicas"]:
            world.status(self.resource, body, conditions=with_conditions(body, InferenceReady=True))


class InferenceSets:
    """Counts its Workspaces: none is left when those are deleted, in the background, while their pods still end."""
    resource = kinds.INFERENCESET

    def reconcile(self, world, body):
        name, replicas = body["metadata"]["name"], body["spec"].get("replicas", 1)
        children = {child["metadata"]["name"]: child for child in world.owned(kinds.WORKSPACE, body)}
        wanted = [f"{name}-{index}" for index in range(replicas)]
        for child_name in wanted:
            if child_name not in children and world.get(kinds.WORKSPACE, body["metadata"]["namespace"], child_name) is None:
                # One of that name that is going still has its StatefulSet.
                if world.get(STATEFULSETS, body["metadata"]["namespace"], child_name) is None:
                    world.create(kinds.WORKSPACE, child_name, body, self.resource, {"inferenceset.kaito.sh/created-by": name},
                                 **body["spec"]["template"])
        for child_name, child in children.items():
            if child_name not in wanted:
                world.delete(kinds.WORKSPACE, child)
        ready = sum(bool(condition(child, "InferenceReady")) for child in children.values())
        world.status(self.resource, body, replicas=len(children), readyReplicas=ready)


class RAGEngines:
    """A Deployment of its name."""
    resource = kinds.RAGENGINE

    def reconcile(self, world, body):
        namespace, name = world.key(body)
        if world.get(DEPLOYMENTS, namespace, name) is None:
            labels = {"kaito.sh/ragengine": name}
            template = copy.deepcopy(body["spec"]["template"])
            template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
            world.create(DEPLOYMENTS, name, body, self.resource, labels, spec={
                "replicas": 1, "selector": {"matchLabels": labels}, "template": template})


OPERATORS = [
    JobSets(), TrainJobs(), *map(TrainingJobs, kinds.TRAINING_KINDS), RayClusters(), RayJobs(), RayServices(), VolcanoJobs(),
    Queued(kinds.PYTORCHJOB), Queued(kinds.JOBSET), Queues(kinds.LOCAL_QUEUE), Queues(kinds.CLUSTER_QUEUE), LeaderWorkerSets(),
    DisaggregatedSets(), Workspaces(), InferenceSets(), RAGEngines()]
WATCHED = {operator.resource for operator in OPERATORS} | {
    PODS, JOBS, STATEFULSETS, DEPLOYMENTS, kinds.RUNTIME, kinds.CLUSTER_RUNTIME, kinds.VOLCANO_COMMAND, kinds.VOLCANO_GROUP,
    kinds.KUEUE_WORKLOAD}


def main():
    parent = os.getppid()
    world = World(cluster.API(cluster.Configuration(sys.argv[1])))
    firsts = []
    for resource in WATCHED:
        firsts.append(threading.Event())
        threading.Thread(target=world.follow, args=(resource, firsts[-1]), daemon=True).start()
    for first in firsts:
        first.wait()
    print("ready", flush=True)
    again = False
    while os.getppid() == parent:
        # Nobody tells when a name is free again or a write met an older object: it is looked again then.
        world.changed.wait(0.3 if again else 3)
        world.changed.clear()
        again = False
        for operator in OPERATORS:
            for body in world.all(operator.resource):
                if ending(body):
                    continue
                try:
                    operator.reconcile(world, body)
                except Refused as refused:
                    again = True
                    if refused.status not in (404, 409) and "being terminated" not in str(refused):
                        print(f"{operator.resource} {body['metadata']['name']}: {refused}", flush=True)
                except Exception:
                    again = True
                    print(f"{operator.resource} {body['metadata']['name']}: {traceback.format_exc()}", flush=True)


if __name__ == "__main__":
    main()
