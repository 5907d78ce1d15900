#!/usr/bin/env python3
"""SIGKILL at every request by which `becalm quiesce`, `becalm resume` and `becalm resume --expired` change the cluster, once before
the server gets it and once when it has answered; after each, `becalm resume --expired` leaves the workload running and its
objects what they were, to the byte. For every kind. And an API server that is away for a minute.
"""

import concurrent.futures
import re
import threading

import cluster
import cluster_kinds
import cluster_proxy
import harness
from cluster import Live, seconds, wait
from cluster_adapters import Bench, chosen, stands_still

# Seconds: long enough for a workload to stop on a quiet machine, short enough to be waited for after every kill; and how far
# it grows for one that does not make it.
DEADLINE, LONGEST = 6, 60
# More requests than any command sends.
MOST = 40


class Victim:
    """A workload that is stopped and let go by commands that are killed."""

    def __init__(self, bench, sample, namespace, every):
        self.bench, self.report, self.sample, self.every = bench, bench.report, sample, every
        self.live = Live(bench.cluster, sample, namespace, name=namespace.removeprefix("becalm-e2e-"), linger=0, grace=10, code=0)
        self.proxy = cluster_proxy.Proxy(bench.cluster.configuration)
        kubeconfig = bench.cluster.configuration.write(f"{bench.scratch}/{namespace}.kubeconfig", server=self.proxy.server)
        self.through = cluster.command(bench.cluster, bench.scratch, kubeconfig)
        self.deadline = DEADLINE
        self.resume = ("resume", self.live.reference, "--json")
        self.expired = ("resume", "--expired", "--namespace", namespace, "--json")
        self.kills = 0

    @property
    def quiesce(self):
        return ("quiesce", self.live.reference, "--json", "--deadline", f"{self.deadline}s", *self.sample.overrides)

    def was_too_slow(self, outcome):
        """Whether the deadline let it go before it had stopped, as it should: it gets more time then, and runs again by now."""
        if outcome.code != 20 or "its deadline" not in str(outcome) or self.deadline >= LONGEST:
            return False
        self.deadline *= 2
        self.bench.report.say(f"{self.sample.title}: {self.deadline} s to stop")
        self.whole(f"{self.sample.title}: let go at the deadline")
        return True

    def run(self):
        with self.proxy:
            self.live.wait_running()
            self.before = self.live.touched()
            for name, prepare in (("quiesce", lambda: None), ("resume", self.stop), ("expired", self.stop_and_wait)):
                for variant in cluster_proxy.VARIANTS:
                    self.kill_everywhere(name, prepare, variant)

    def stop(self):
        outcome = self.bench.becalm.run(*self.quiesce, timeout=300)
        while self.was_too_slow(outcome):
            outcome = self.bench.becalm.run(*self.quiesce, timeout=300)
        if outcome.code != 0:
            raise harness.Unexpected(str(outcome))

    def stop_and_wait(self):
        self.stop()
        self.wait_over()

    def wait_over(self):
        """Until the server's clock is past the end of every journal here."""
        for lease in self.live.journals():
            spec, annotations = lease["spec"], lease["metadata"]["annotations"]
            end = seconds(spec["renewTime"]) + spec["leaseDurationSeconds"]
            if annotations.get("becalm.io/deadline", "none") != "none":
                end = min(end, seconds(annotations["becalm.io/deadline"]))
            # The server tells whole seconds.
            wait("the journal is over", lambda: self.bench.api.now() > end, seconds=2 * LONGEST + 30, every=0.2)

    def kill_everywhere(self, attribute, prepare, variant):
        """Kills a command at its first changing request, at its second, …, until it gets to its end."""
        name = "resume --expired" if attribute == "expired" else attribute
        number = 1
        while number < MOST:
            prepare()
            words = getattr(self, attribute)
            self.proxy.reset(number, variant)
            process = self.through.start(*words)
            self.proxy.aim(process)
            outcome = self.through.finish(process, timeout=300)
            self.proxy.settle()
            struck = self.proxy.struck
            if struck is None and attribute == "quiesce" and self.was_too_slow(outcome):
                continue
            where = f"{self.sample.title}: {name} killed {variant} request {number}"
            if struck is None:
                self.report.check(outcome.code == 0, f"{self.sample.title}: {name} to its end", str(outcome))
                if attribute == "quiesce":
                    self.recover(f"{self.sample.title}: {name} to its end, left alone")
                else:
                    if attribute == "expired":
                        self.open_routes(f"{self.sample.title}: {name} to its end")
                    self.whole(f"{self.sample.title}: {name} to its end")
                return
            where += f" ({re.sub(r'.*/', '', struck.split(' ')[1])}, {struck.split(' ')[0]})"
            if not self.report.check(outcome.killed, f"{where}: it is killed", str(outcome)):
                return
            self.kills += 1
            number += self.every
            self.recover(where)
        self.report.check(False, f"{self.sample.title}: {name} comes to an end within {MOST} requests")

    def recover(self, where):
        """Whoever comes next, when the time is over."""
        self.wait_over()
        outcome = self.bench.becalm.run(*self.expired, timeout=300)
        self.report.check(outcome.code == 0 and not outcome.crashed, f"{where}: resume --expired", str(outcome))
        self.open_routes(where)
        self.whole(where)

    def open_routes(self, where):
        """What has routes is looked at again and again, as a CronJob does, until its pods are Ready; nothing else needs it."""
        if not self.sample.title.startswith("llm-d"):
            return

        def is_open():
            return not self.live.journals() or self.bench.becalm.run(*self.expired, timeout=300).code == 0 and not self.live.journals()

        wait(f"{where}: its routes are open", is_open, 180, every=1)

    def whole(self, where):
        self.report.equal([str(j["metadata"]["name"]) for j in self.live.journals()], f"{where}: no journal is left")
        try:
            self.live.wait_running()
        except harness.Unexpected as error:
            self.report.check(False, f"{where}: it runs again", str(error))
            raise
        self.report.equal(cluster.differences(self.before, self.live.touched()), f"{where}: the objects are what they were")


def kill(bench, sample, every):
    with bench.cluster.scope("kill") as namespace:
        victim = Victim(bench, sample, namespace, every)
        try:
            victim.run()
            bench.report.say(f"{sample.title}: killed {victim.kills} times")
        except (harness.Unexpected, cluster.Refused) as error:
            bench.report.check(False, sample.title, str(error))
        finally:
            victim.live.remove()


def away(bench, sample, number, pause):
    """The API server is gone from a changing request on, for `pause` seconds."""
    what = f"{sample.title}: the server away for {pause} s from request {number} on"
    report = bench.report
    with bench.cluster.scope("away") as namespace:
        live = Live(bench.cluster, sample, namespace, linger=2)
        with cluster_proxy.Proxy(bench.cluster.configuration) as proxy:
            kubeconfig = bench.cluster.configuration.write(f"{bench.scratch}/{namespace}.kubeconfig", server=proxy.server)
            through = cluster.command(bench.cluster, bench.scratch, kubeconfig)
            live.wait_running()
            before = live.touched()

            def gone():
                proxy.go_away()
                threading.Timer(pause, proxy.come_back).start()

            for words in (("quiesce", live.reference, "--deadline", "30m", "--json", *live.sample.overrides),
                          ("resume", live.reference, "--json")):
                proxy.reset(number, then=gone)
                process = through.start(*words)
                proxy.aim(process)
                outcome = through.finish(process, timeout=600)
                if not report.check(proxy.struck, f"{what}: {words[0]} meets it", str(outcome)):
                    return
                wait("the server is back", lambda: not proxy.is_away, 120)
                report.check(not outcome.crashed and outcome.code in (0, 1, 15, 20), f"{what}: {words[0]} ends", str(outcome))
                said = outcome.err.decode().strip()
                if outcome.code != 0:
                    report.say(f"{what}: {words[0]} gave up after {outcome.seconds:.0f} s: {said}")
                    report.check("resume" in said or not live.journals(), f"{what}: {words[0]} says how to go on", said)
                    # What it has left is told, and can be let go by hand.
                    again = bench.becalm.run(*words, timeout=300)
                    report.check(again.code == 0, f"{what}: {words[0]} again", str(again))
                if words[0] == "quiesce":
                    stands_still(bench, live, what)
            live.wait_running()
            report.equal(cluster.differences(before, live.touched()), f"{what}: the objects are what they were")
            report.check(not live.journals(), f"{what}: no journal is left")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--kinds", metavar="WORDS", help="only kinds whose titles have one of these words, between commas")
    parser.add_argument("--parts", default="kill,away")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th request")
    parser.add_argument("--workers", type=int, default=6, help="workloads at a time")
    options = parser.parse_args()
    if options.quick and not options.kinds:
        options.kinds = "StatefulSet,RayJob,Volcano,PyTorchJob of Kueue"
    report = harness.Report("kill")
    try:
        place = cluster.Cluster.open(report)
    except cluster.Unavailable as reason:
        report.skip("kills at every request", str(reason))
        harness.finish(report)
    with place, harness.Scratch(options) as scratch:
        foreign = cluster_kinds.install(place.api, report)
        place.start_operators(report)
        bench = Bench(place, report, scratch, options)
        kinds = [s for s in cluster_kinds.samples(place.api) if s.resource.name not in foreign and chosen(s.title, options.kinds)]
        tasks = []
        if "away" in options.parts:
            stateful = next(s for s in cluster_kinds.samples(place.api) if s.title == "StatefulSet")
            tasks += [lambda n=n: away(bench, stateful, n, 60) for n in ((2,) if options.quick else (1, 2, 3, 4))]
        if "kill" in options.parts:
            tasks += [lambda s=s: kill(bench, s, options.every) for s in kinds]
        with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
            for future in [pool.submit(task) for task in tasks]:
                future.result()
    harness.finish(report)


if __name__ == "__main__":
    main()
