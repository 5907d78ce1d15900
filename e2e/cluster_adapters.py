#!/usr/bin/env python3
"""`becalm quiesce` and `becalm resume` on a workload of every kind, in a real cluster with real pods.

When `quiesce` returns, nothing of the workload runs any more: not by the API, and not by what its pods write, though they linger
for seconds after their controllers have called them suspended. After `resume` they run again and the objects are what they
were, to the byte. Then all that can go wrong on the way.
"""

import concurrent.futures
import os

import cluster
import cluster_kinds
import cluster_traps
import harness
from cluster import Live


class Bench:
    """What the checks of one run share."""

    def __init__(self, place, report, scratch, options):
        self.cluster, self.api, self.report, self.scratch, self.options = place, place.api, report, scratch, options
        self.becalm = cluster.command(place, scratch)

    def check(self, outcome, codes, what):
        """Whether the command ended with one of `codes`, and not by a fault of its own."""
        return self.report.check(not outcome.crashed and outcome.code in codes, what, str(outcome))


def stands_still(bench, live, what):
    """Whether nothing of a workload runs at this moment, and nothing of it has in the seconds after."""
    sizes = live.traces.sizes()
    running = [f"{pod['metadata']['name']} {pod['status'].get('phase')}" for pod in live.pods() if cluster.runs(pod)]
    bench.report.equal(running, f"{what}: no container runs, by the API")
    grown = live.traces.grown()
    late = [name for name, size in live.traces.sizes().items() if size != sizes.get(name)]
    bench.report.equal(sorted({*grown, *late}), f"{what}: no pod writes any more")
    return not running and not grown and not late


def both_ways(bench, sample, linger):
    """Brings a workload of one kind to a standstill and lets it go."""
    report, what = bench.report, sample.title
    with bench.cluster.scope("kind") as namespace:
        live = Live(bench.cluster, sample, namespace, name=namespace.removeprefix("becalm-e2e-"), linger=linger)
        try:
            live.wait_running()
            before = live.touched()
            outcome = bench.becalm.run(
                "quiesce", live.reference, "--json", "--deadline", "10m", "--stop-timeout", "2m", *sample.overrides, timeout=300)
            still = stands_still(bench, live, what)
            if not bench.check(outcome, [0], f"{what}: quiesce"):
                return
            report.check(outcome.summary.get("workload") == live.reference and outcome.summary.get("step") == "stopped",
                         f"{what}: the summary says what stands still", str(outcome.summary))
            steps = [event["step"] for event in outcome.of("step")]
            report.check(steps == sample.steps, f"{what}: the steps", str(steps))
            # Who wrote to the end was not killed.
            if bench.cluster.is_here and still:
                report.equal(unfinished(live), f"{what}: every pod ended by itself")
            report.check(live.held(), f"{what}: the object that is changed says what it was")
            journals = live.journals()
            report.check(len(journals) == 1, f"{what}: one journal", str(journals))
            status = bench.becalm.run("status", live.reference, "--json")
            report.check(status.code == 0 and any(
                o.get("workload") == live.reference and o.get("step") == "stopped" for o in status.objects),
                f"{what}: status names it", status.out.decode())
            outcome = bench.becalm.run("resume", live.reference, "--json", timeout=300)
            if not bench.check(outcome, [0], f"{what}: resume"):
                return
            live.wait_running()
            after = live.touched()
            report.equal(cluster.differences(before, after), f"{what}: the objects are what they were")
            report.check(not live.journals(), f"{what}: the journal is gone")
        except (harness.Unexpected, cluster.Refused) as error:
            report.check(False, what, str(error))
        finally:
            live.remove()


def unfinished(live):
    """The pods that have not written that they end: they were killed."""
    found = []
    for name in live.traces.sizes():
        with open(os.path.join(cluster.TRACES, live.namespace, name)) as stream:
            if "ended" not in stream.read()[-20:]:
                found.append(name)
    return found


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--kinds", metavar="WORDS", help="only kinds whose titles have one of these words, between commas")
    parser.add_argument("--parts", default="kinds,traps", help="kinds, traps, or both (default)")
    parser.add_argument("--traps", metavar="WORDS", help="only traps whose names have one of these words, between commas")
    parser.add_argument("--linger", type=int, default=6, help="seconds that pods go on after they are told to end")
    parser.add_argument("--workers", type=int, default=6, help="workloads at a time")
    options = parser.parse_args()
    report = harness.Report("adapters")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("all kinds", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        foreign = cluster_kinds.install(place.api, report)
        place.start_operators(report)
        bench = Bench(place, report, scratch, options)
        tasks = []
        if "kinds" in options.parts:
            for sample in cluster_kinds.samples(place.api):
                if sample.resource.name in foreign:
                    report.skip(sample.title, "the cluster has operators of its own")
                elif chosen(sample.title, options.kinds):
                    tasks.append(lambda sample=sample: both_ways(bench, sample, options.linger))
        if "traps" in options.parts:
            tasks += [lambda title=title: cluster_traps.run(bench, title)
                      for title in cluster_traps.TRAPS if chosen(title, options.traps)]
        with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
            for future in [pool.submit(task) for task in tasks]:
                future.result()
    harness.finish(report)


def chosen(title, words):
    return not words or any(word.lower() in title.lower() for word in words.split(","))


if __name__ == "__main__":
    main()
