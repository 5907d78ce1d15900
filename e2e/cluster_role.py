#!/usr/bin/env python3
"""Somebody who may do nothing but what `plugin/examples/workload-role.yaml` grants, in one namespace and then in another.

`becalm doctor --cluster` finds that nothing is missing there; a StatefulSet with a claim is asked for a checkpoint, backed up and
restored by that account. Then each verb is taken from the role in turn: the examination names it, and nothing else.
"""

import concurrent.futures
import copy
import json
import os
import subprocess

import cluster
import compare
import harness
import trees

EXAMPLE = os.path.join(harness.ROOT, "plugin", "examples", "workload-role.yaml")
VOLUMES = cluster.Resource("", "v1", "persistentvolumes", "PersistentVolume", False)
CLUSTER_ROLES = cluster.Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)
CLUSTER_BINDINGS = cluster.Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False)
SETS = cluster.STATEFULSETS
ACCOUNT = "tester"


def example():
    """The rules of the example's Role, and of its ClusterRole."""
    text = subprocess.check_output(["kubectl", "create", "--dry-run=client", "-o", "json", "-f", EXAMPLE], text=True)
    decoder, rules, at = json.JSONDecoder(), {}, 0
    while at < len(text):
        item, at = decoder.raw_decode(text, at)
        for item in item.get("items", [item]):
            rules[item["kind"]] = item["rules"]
        while at < len(text) and text[at].isspace():
            at += 1
    return rules["Role"], rules["ClusterRole"]


def examine(becalm, namespace):
    """What the examination says of permissions: all of it, what is refused and what is done without."""
    becalm = copy.copy(becalm)
    becalm.environment = {**becalm.environment, "BECALM_REPOSITORY": ""}
    outcome = becalm.run("doctor", "--cluster", "--namespace", namespace, "--json")
    checks = [line for line in outcome.of("check") if line["name"] == "permissions"]
    return (outcome, [c["message"] for c in checks if c["status"] == "failed"],
            [c["message"] for c in checks if c["status"] == "warning"])


def create(api, namespace):
    template = cluster.pod_template(namespace, labels={"app": "web"}, grace=2)
    template["spec"]["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/data-mount"})
    api.create(SETS, SETS.object(namespace, "web", spec={
        "replicas": 1, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "resources": {"requests": {"storage": "1Gi"}}}}]}))
    cluster.wait("the pod runs", lambda: api.get(SETS, namespace, "web")["status"].get("readyReplicas") == 1, 120)


def place_of(api, namespace):
    name = api.get(cluster.CLAIMS, namespace, "data-web-0")["spec"]["volumeName"]
    return api.get(VOLUMES, None, name)["spec"]["hostPath"]["path"]


def as_account(becalm, path):
    other = copy.copy(becalm)
    other.environment = {**becalm.environment, "KUBECONFIG": path}
    return other


def journey(place, report, scratch, becalm, rules, options):
    api = place.api
    with place.scope("role") as namespace, place.scope("role-to") as other:
        create(api, namespace)
        source = place_of(api, namespace)
        trees.small_files(os.path.join(source, "small"), 50, options.seed)
        user = as_account(becalm, place.account(namespace, rules, os.path.join(scratch, "one.kubeconfig")))
        outcome, refused, without = examine(user, namespace)
        report.check(not refused and outcome.code == 0, "the role is all that is needed", str(outcome))
        report.check(len(without) >= 5 and all("may not" in line for line in without),
                     "what only the cluster can grant is done without, and told", str(without))
        outcome, refused, _ = examine(user, other)
        report.check(outcome.code == 1 and len(refused) == 4, "elsewhere all four tasks are refused", str(outcome))

        reference = f"{namespace}/statefulset/web"
        outcome = user.run("quiesce", reference, "--checkpoint-command", "true", "--deadline", "3m", "--json")
        report.check(outcome.code == 0, "its pod is asked for a checkpoint, and it is stopped", str(outcome))
        outcome = user.run("resume", reference, "--json")
        report.check(outcome.code == 0, "it is let go", str(outcome))
        cluster.wait("the pod runs", lambda: api.get(SETS, namespace, "web")["status"].get("readyReplicas") == 1, 120)
        outcome = user.run("backup", "--workload", reference, "--json", "--consistency", "pause")
        if not report.check(outcome.code == 0, "it is backed up by the account", str(outcome)):
            return
        text = (outcome.out + outcome.err).decode()
        report.check("PersistentVolume" in text and "may not be read" in text, "what it may not read is named", text)
        snapshot = outcome.summary.get("snapshot")

        heir = as_account(becalm, place.account(other, rules, os.path.join(scratch, "two.kubeconfig")))
        outcome = heir.run("restore", snapshot, "--to-cluster", "--json", "--namespace-mapping", f"{namespace}:{other}")
        report.check(outcome.code == 0, "it is restored by an account of the other namespace", str(outcome))
        report.equal(compare.differences(compare.describe(source), compare.describe(place_of(api, other)), sockets=False),
                     "the claim holds the same")
        cluster.wait("the restored pod runs", lambda: api.get(SETS, other, "web")["status"].get("readyReplicas") == 1, 120)
        left = api.list(cluster.LEASES, other) + api.list(cluster.JOBS, other) + api.list(cluster.SECRETS, other, labels="becalm.io/run")
        report.equal([item["metadata"]["name"] for item in left], "nothing of the movers is left")


def takes_away(place, report, scratch, becalm, rules):
    """Each verb of each rule, one account each: all that the examination names is that verb there."""
    served = {group["name"] for group in place.api.request("GET", "/apis")["groups"]} | {""}
    cases = []
    for index, rule in enumerate(rules):
        # Kinds that are not served are not examined, nor is what a task is done without.
        if not set(rule["apiGroups"]) <= served or rule["resources"] in (["*"], ["events"], ["inferencepools"], ["httproutes"]):
            continue
        cases += [(index, verb) for verb in rule["verbs"]]

    def check(case):
        index, verb = case
        fewer = copy.deepcopy(rules)
        fewer[index]["verbs"].remove(verb)
        fewer = [rule for rule in fewer if rule["verbs"]]
        resources = [r + (f".{g}" if g else "") for g in rules[index]["apiGroups"] for r in rules[index]["resources"]]
        with place.scope("role-less") as namespace:
            path = place.account(namespace, fewer, os.path.join(scratch, f"{namespace}.kubeconfig"))
            outcome, refused, without = examine(as_account(becalm, path), namespace)
        if (verb, resources) == ("update", ["pods"]):
            # Only a pod that a restore holds needs it.
            report.check(outcome.code == 0 and not refused and any("update pods: " in line for line in without), "without update pods",
                         f"{without} {outcome}")
            return
        text = "\n".join(refused)
        named = all(f"{verb} {resource}" in text for resource in resources)
        # One task names it for each resource; no other verb is named.
        others = [w for line in refused for w in line.split("may not ")[1].split(", so ")[0].split(", ")
                  if w not in {f"{verb} {resource}" for resource in resources}]
        report.check(outcome.code == 1 and named and not others, f"without {verb} {', '.join(resources)}", f"{text} {outcome}")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(check, cases))


def whole(place, report, scratch, becalm, rules, cluster_rules):
    """With the ClusterRole too, nothing is done without."""
    with place.scope("role-whole") as namespace:
        path = place.account(namespace, rules, os.path.join(scratch, "whole.kubeconfig"))
        api = place.api
        api.create(CLUSTER_ROLES, {**CLUSTER_ROLES.object(None, namespace), "rules": cluster_rules})
        try:
            api.create(CLUSTER_BINDINGS, {
                **CLUSTER_BINDINGS.object(None, namespace),
                "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": namespace},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]})
            cluster.wait("the account may read nodes", lambda: not examine(as_account(becalm, path), namespace)[2], 60, every=1)
            report.check(True, "with the ClusterRole nothing is missing")
        finally:
            api.delete(CLUSTER_BINDINGS, None, namespace)
            api.delete(CLUSTER_ROLES, None, namespace)


def main():
    options = harness.arguments(__doc__).parse_args()
    report = harness.Report("cluster-role")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("an account with few rights", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        if not place.is_here:
            report.skip("an account with few rights", "its node is another machine")
            harness.finish(report)
        place.load_command(report)
        rules, cluster_rules = example()
        with cluster.repository(place, scratch) as becalm:
            journey(place, report, scratch, becalm, rules, options)
            takes_away(place, report, scratch, becalm, rules)
            whole(place, report, scratch, becalm, rules, cluster_rules)
    harness.finish(report)


if __name__ == "__main__":
    main()
