#!/usr/bin/env python3
"""Runs the end-to-end scripts one after another and adds up what held.

    run.py quick     what `make test` runs: some minutes
    run.py full      what `make soak` runs: hours
    run.py quick roundtrip kill      only these
    run.py quick cluster             those that need a Kubernetes cluster, which the others leave out

The last line is `N passed, N failed, N skipped`; the exit code is 1 if anything failed.
"""

import argparse
import os
import re
import subprocess
import sys
import time

import harness

# `make plugin` builds it.
PLUGIN = os.path.join(harness.ROOT, ".build-static", "velero-plugin-becalm")
SCRIPTS = {
    "selftest": (["selftest.py"], ["selftest.py"]),
    "roundtrip": (["roundtrip.py", "--quick"], ["roundtrip.py"]),
    "kill": (["kill_every_request.py", "--quick"],
             ["kill_every_request.py", "--writes", "--stores", "directory,rclone,moto,radosgw"]),
    "thrash": (["thrash.py", "--quick"], ["thrash.py"]),
    "corruption": (["corruption.py", "--quick"], ["corruption.py", "--objects", "4"]),
    "torn": (["torn_checkpoints.py", "--rounds", "4"], ["torn_checkpoints.py", "--rounds", "100"]),
    "continues": (["continues.py", "--quick"], ["continues.py"]),
    "host": (["host_process.py", "--quick"], ["host_process.py"]),
    "drill": (["drill_run.py", "--quick"], ["drill_run.py"]),
    "static": (["static_binary.py", "--quick", PLUGIN], ["static_binary.py", PLUGIN]),
    "velero-go": (["velero_go_host.py", "--quick"], ["velero_go_host.py", "--stream-bytes", "17179869184"]),
    "velero-awkward": (["velero_awkward_host.py", "--quick"], ["velero_awkward_host.py"]),
}
# They need a cluster, which `cluster.py` finds or brings up, and skip without one.
CLUSTER = {
    "cluster-adapters": (["cluster_adapters.py"], ["cluster_adapters.py", "--linger", "12"]),
    "cluster-kill": (["cluster_kill.py", "--quick"], ["cluster_kill.py"]),
    "cluster-cron": (["cluster_cron.py"], ["cluster_cron.py"]),
    "cluster-training": (["cluster_training.py"], ["cluster_training.py"]),
    "cluster-volumes": (["cluster_volumes.py"], ["cluster_volumes.py"]),
    "cluster-velero": (["cluster_velero.py"], ["cluster_velero.py"]),
    "cluster-velero-copies": (["cluster_velero_copies.py"], ["cluster_velero_copies.py"]),
    "cluster-snapshots": (["cluster_snapshots.py"], ["cluster_snapshots.py"]),
    "cluster-datamover": (["cluster_datamover.py", "--quick"], ["cluster_datamover.py"]),
    "cluster-claims": (["cluster_claims.py"], ["cluster_claims.py"]),
    "cluster-role": (["cluster_role.py"], ["cluster_role.py"]),
    "cluster-block": (["cluster_block.py"], ["cluster_block.py"]),
}
CLOSING = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extent", choices=("quick", "full"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of " + ", ".join([*SCRIPTS, "cluster", *CLUSTER]))
    options = parser.parse_args()
    scripts = {**SCRIPTS, **CLUSTER}
    names = []
    for name in options.names:
        if name != "cluster" and name not in scripts:
            parser.error(f"{name!r} is none of {', '.join([*SCRIPTS, 'cluster', *CLUSTER])}")
        names += list(CLUSTER) if name == "cluster" else [name]
    names = names or list(SCRIPTS)
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
    for variable, find, needs in [("BECALM", harness.find_binary, lambda name: not name.startswith("velero")),
                                  ("BECALM_PLUGIN", harness.find_plugin, lambda name: name.startswith("velero"))]:
        if any(map(needs, names)):
            environment[variable] = find()
            print(f"testing {os.path.relpath(environment[variable], harness.ROOT)}", flush=True)
    totals, times = [0, 0, 0], []
    for name in names:
        began, closing = time.monotonic(), None
        words = scripts[name][0 if options.extent == "quick" else 1]
        print(f"\n=== {' '.join(words)}", flush=True)
        process = subprocess.Popen(
            [sys.executable, os.path.join(harness.HERE, words[0]), *words[1:]], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment)
        for line in process.stdout:
            match = CLOSING.match(line.strip())
            if match:
                closing = match  # shown once, at the end of all
            else:
                print(line, end="", flush=True)
        code = process.wait()
        counts = [int(n or 0) for n in closing.groups()] if closing else [0, 0, 0]
        if code and not counts[1]:
            counts[1] = 1  # it ended badly without saying what failed
        totals = [a + b for a, b in zip(totals, counts)]
        times.append(f"{name}: {counts[0]} held, {counts[1]} did not, {time.monotonic() - began:.0f} s")
    print("\n=== end to end\n" + "\n".join(times))
    print(f"{totals[0]} passed, {totals[1]} failed" + (f", {totals[2]} skipped" if totals[2] else ""), flush=True)
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
