#!/usr/bin/env python3
"""The CronJob of `plugin/examples/resume-expired.yaml`, with the permissions that it comes with: workloads of every kind that a
dead process stopped run again by the CronJob's pod alone, once their deadline is past, and not before.
"""

import concurrent.futures
import os
import re
import subprocess

import cluster
import cluster_kinds
import container_image
import harness
from cluster import JOBS, PODS, Live, Resource, wait
from cluster_adapters import Bench, chosen

EXAMPLE = os.path.join(harness.ROOT, "plugin", "examples", "resume-expired.yaml")
# Seconds: of the deadline, and from then to the CronJob's next pod at the latest.
DEADLINE, LATEST = 100, 180


class Installed:
    """The example in the cluster, in a namespace of its own and under names of its own."""

    def __init__(self, bench, namespace):
        self.bench, self.namespace = bench, namespace
        self.cluster_names = f"{namespace}-resume-expired"
        with open(EXAMPLE) as stream:
            text = stream.read()
        text = text.replace("name: becalm-resume-expired", f"name: {self.cluster_names}")
        text = re.sub(r"(namespace|name): becalm\n", rf"\1: {namespace}\n", text)
        # The container's name is in the place of none of these.
        text, count = re.subn(r"image: \S+", f"image: {container_image.BECALM}", text)
        assert count == 1
        if bench.cluster.minor < 21:
            text = text.replace("apiVersion: batch/v1\n", "apiVersion: batch/v1beta1\n")
        self.cron = Resource("batch", "v1beta1" if bench.cluster.minor < 21 else "v1", "cronjobs", "CronJob")
        self.apply(text)

    def apply(self, text):
        process = subprocess.run(
            ["kubectl", "--kubeconfig", self.bench.cluster.kubeconfig, "apply", "-f", "-"], input=text, text=True, capture_output=True)
        if process.returncode:
            raise harness.Unexpected(f"kubectl cannot apply the example: {process.stderr}")

    def outcomes(self):
        """How many of its Jobs went well and how many did not, of those that are still there."""
        jobs = self.bench.api.list(JOBS, self.namespace)
        return (
            sum(job.get("status", {}).get("succeeded", 0) for job in jobs),
            sum(job.get("status", {}).get("failed", 0) for job in jobs))

    def logs(self):
        found = []
        for pod in self.bench.api.list(PODS, self.namespace):
            try:
                found.append(str(self.bench.api.request("GET", PODS.path(self.namespace, pod["metadata"]["name"], "log"))))
            except cluster.Refused as refused:
                found.append(str(refused))
        return "\n".join(found)

    def remove(self):
        for plural, kind in (("clusterroles", "ClusterRole"), ("clusterrolebindings", "ClusterRoleBinding")):
            self.bench.api.delete(Resource("rbac.authorization.k8s.io", "v1", plural, kind, False), None, self.cluster_names)


def held(bench, sample, installed):
    """A workload that is stopped and then forgotten."""
    report, what = bench.report, f"{sample.title}: let go by the CronJob"
    with bench.cluster.scope("cron") as namespace:
        live = Live(bench.cluster, sample, namespace, name=namespace.removeprefix("becalm-e2e-"), linger=0, grace=10, code=0)
        try:
            live.wait_running()
            before = live.touched()
            outcome = bench.becalm.run(
                "quiesce", live.reference, "--deadline", f"{DEADLINE}s", "--json", *sample.overrides, timeout=300)
            if not bench.check(outcome, [0], f"{what}: quiesce"):
                return
            deadline = cluster.seconds(live.journals()[0]["metadata"]["annotations"]["becalm.io/deadline"])
            # A pod of the CronJob comes by at least once before.
            while bench.api.now() < deadline - 2:
                if not live.journals():
                    report.check(False, f"{what}: not before its deadline")
                    return
                cluster.time.sleep(1)
            wait(f"{what}: the journal is gone", lambda: not live.journals(), LATEST, every=1)
            live.wait_running()
            report.equal(cluster.differences(before, live.touched()), f"{what}: the objects are what they were")
        except (harness.Unexpected, cluster.Refused) as error:
            report.check(False, what, f"{error}\n{installed.logs()}")
        finally:
            live.remove()


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--kinds", metavar="WORDS", help="only kinds whose titles have one of these words, between commas")
    options = parser.parse_args()
    report = harness.Report("cron")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("the CronJob", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        place.load_command(report)
        foreign = cluster_kinds.install(place.api, report)
        place.start_operators(report)
        bench = Bench(place, report, scratch, options)
        samples = [s for s in cluster_kinds.samples(place.api) if s.resource.name not in foreign and chosen(s.title, options.kinds)]
        with place.scope("resume") as namespace:
            installed = Installed(bench, namespace)
            try:
                with concurrent.futures.ThreadPoolExecutor(len(samples)) as pool:
                    for future in [pool.submit(held, bench, sample, installed) for sample in samples]:
                        future.result()
                good, bad = installed.outcomes()
                report.check(good > 0 and bad == 0, "each pod of the CronJob went well", installed.logs())
            finally:
                installed.remove()
    harness.finish(report)


if __name__ == "__main__":
    main()
