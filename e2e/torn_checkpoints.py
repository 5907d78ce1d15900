#!/usr/bin/env python3
"""Kills a training loop while it saves, and holds `becalm inspect` against what PyTorch itself can load.

    torn_checkpoints.py [--rounds 30] [--kinds plain,trainer,dcp] [--seed N] [--scratch DIR] [--keep]

A loop that does nothing but save checkpoints is ended by SIGKILL at a random instant, again and again, each time in a
directory of its own: single files of `torch.save`; directories in the order in which Transformers' Trainer writes and
rotates them; distributed checkpoints, some saved over in place. After each kill every checkpoint is loaded by PyTorch as
its framework would load it. Never may one that loads be called torn, or one that does not be called complete.

Runs itself by a Python with PyTorch (see torchpython.py); safetensors is used if it is there. Without PyTorch it is skipped.
The binary is `$BECALM`, or the newer of `.build/release/becalm` and `.build/debug/becalm`.
"""

import argparse
import collections
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import harness
import torchpython

NOTHING_COMPLETE = 21
ELEMENTS = 1 << 18
KINDS = ["plain", "trainer", "dcp"]


def tensors(step):
    """A state whose every value tells the step, so that a mixture of two shows."""
    return {f"layer{n}.weight": torch.full((ELEMENTS // 4,), float(step)) for n in range(4)}


def step_of(state):
    """The step of a loaded state; None for a mixture."""
    seen = {float(edge) for value in state.values() for edge in (value.min(), value.max())}
    return seen.pop() if len(seen) == 1 else None


# The savers: each saves one checkpoint of step `step` below `root`.


def save_plain(root, step):
    torch.save({"model": tensors(step), "step": step}, os.path.join(root, f"model-{step}.pt"))
    torch.save({"model": tensors(step), "step": step}, os.path.join(root, "last.pt"))
    torch.save({"model": tensors(step)}, os.path.join(root, "old.bin"), _use_new_zipfile_serialization=False)


def save_trainer(root, step):
    directory = os.path.join(root, f"checkpoint-{step}")
    os.makedirs(directory)
    if safetensors is not None:
        safetensors.torch.save_file(tensors(step), os.path.join(directory, "model.safetensors"))
    else:
        torch.save(tensors(step), os.path.join(directory, "pytorch_model.bin"))
    torch.save({"state": tensors(step)}, os.path.join(directory, "optimizer.pt"))
    torch.save({"last_epoch": step}, os.path.join(directory, "scheduler.pt"))
    torch.save({"cpu": torch.get_rng_state()}, os.path.join(directory, "rng_state.pth"))
    with open(os.path.join(directory, "trainer_state.json"), "w") as file:
        file.write(json.dumps({"global_step": step, "log_history": [{"loss": float("nan")}] * 200}, indent=2) + "\n")
    # Rotation: all but the newest two go.
    for old in sorted(os.listdir(root), key=lambda name: int(name.split("-")[1]))[:-2]:
        shutil.rmtree(os.path.join(root, old))


def save_dcp(root, step):
    for directory in [f"step-{step}", "in-place"]:
        dcp.save({**tensors(step), "step": step}, checkpoint_id=os.path.join(root, directory))


SAVERS = {"plain": save_plain, "trainer": save_trainer, "dcp": save_dcp}


# The loaders: what the framework would do with the checkpoint at `path`. An exception: it does not load.




def load_plain(path):
    state = torch.load(path, weights_only=True)
    return step_of(state["model"])


def load_trainer(path):
    weights = os.path.join(path, "model.safetensors")
    if os.path.isfile(weights):
        state = safetensors.torch.load_file(weights)
    else:
        state = torch.load(os.path.join(path, "pytorch_model.bin"), weights_only=True)
    with open(os.path.join(path, "trainer_state.json")) as file:
        step = json.load(file)["global_step"]
    # The Trainer goes on without these in silence when one is missing: from a wrong state.
    for name in ["optimizer.pt", "scheduler.pt"]:
        torch.load(os.path.join(path, name), weights_only=True)
    random_state = os.path.join(path, "rng_state.pth")
    if os.path.exists(random_state):
        torch.load(random_state, weights_only=True)
    return step if step_of(state) == step else None


def load_dcp(path):
    state = {**{name: torch.empty_like(value) for name, value in tensors(0).items()}, "step": 0}
    dcp.load(state, checkpoint_id=path)
    step = state.pop("step")
    return step if step_of(state) == step else None


LOADERS = {"plain": load_plain, "trainer": load_trainer, "dcp": load_dcp}


def outcome(kind, path):
    """("loads", "mixed" or "fails"), and why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ("mixed" if LOADERS[kind](path) is None else "loads"), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # Whatever a loader throws, it has not loaded; DCP's own is no Exception.
        return "fails", f"{type(error).__name__}: {str(error)[:160]}"


def run_and_kill(kind, root, delay):
    """Lets a child save checkpoints until it is killed after `delay` seconds from its first."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            warnings.simplefilter("ignore")
            sys.stderr = open(os.devnull, "w")
            os.write(writer, b"x")
            for step in range(1, 10_000):
                SAVERS[kind](root, step)
        finally:
            os._exit(3)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def inspect(binary, root):
    run = subprocess.run([binary, "inspect", "--json", root], capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return run.returncode, lines, run.stderr


class Tally:
    def __init__(self):
        self.passed, self.failed, self.seen = 0, 0, collections.Counter()

    def check(self, holds, message):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {message}", flush=True)


def judge_round(binary, kind, root, tally, label):
    code, lines, error = inspect(binary, root)
    tally.check(lines and lines[-1].get("type") == "summary", f"{label}: no summary; exit {code}; {error[:300]}")
    verdicts = {os.path.normpath(line["path"]): line for line in lines if line.get("type") == "checkpoint"}
    # A survey may be of the directory or of one that holds it; paths are relative or absolute.
    by_name = {os.path.basename(path): line for path, line in verdicts.items()}
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        loaded, why = outcome(kind, path)
        line = by_name.get(name)
        judgement = line["judgement"] if line else "not found"
        tally.seen[(kind, loaded, judgement)] += 1
        said = (line or {}).get("evidence")
        tally.check(
            not (loaded == "loads" and judgement in ("torn", "empty")), f"{label}/{name} loads, and is called {judgement}: {said}")
        tally.check(
            not (loaded != "loads" and judgement == "complete"), f"{label}/{name} is called complete, and {loaded}: {why}")
        tally.check(judgement != "torn" or said, f"{label}/{name} is called torn without evidence")
        tally.check(
            line is not None or loaded == "fails", f"{label}/{name} loads, and was not found")
    judgements = [line["judgement"] for line in verdicts.values()]
    if "complete" not in judgements:
        tally.check(code == NOTHING_COMPLETE, f"{label}: none complete, and exit {code}")
    if set(judgements) == {"complete"}:
        tally.check(code == 0, f"{label}: all complete, and exit {code}")
    if kind == "trainer" and by_name:
        newest = max(by_name, key=lambda name: int(name.split("-")[1]))
        if by_name[newest]["judgement"] in ("torn", "empty"):
            tally.check(code == NOTHING_COMPLETE, f"{label}: {newest} is {by_name[newest]['judgement']}, and exit {code}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="kills for each kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--scratch", default=None)
    parser.add_argument("--keep", action="store_true", help="keep the directories")
    options = parser.parse_args()
    if torch is None:
        print(f"skipped: {no_torch}\n0 passed, 0 failed, 1 skipped")
        return 0
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    binary = harness.find_binary()
    print(f"{binary}, seed {seed}, {options.rounds} kills of each of {options.kinds}", flush=True)
    scratch = tempfile.mkdtemp(prefix="becalm-torn-", dir=options.scratch)
    tally = Tally()
    try:
        for kind in options.kinds.split(","):
            for number in range(options.rounds):
                root = os.path.join(scratch, f"{kind}-{number}")
                os.mkdir(root)
                # Short ones reach the first save, long ones rotation and saving over.
                delay = rng.uniform(0, 0.02) if number % 4 == 0 else rng.uniform(0, 0.3)
                killed = run_and_kill(kind, root, delay)
                tally.check(killed, f"{kind}-{number}: the loop ended by itself")
                judge_round(binary, kind, root, tally, f"{kind}-{number}")
                if not options.keep:
                    shutil.rmtree(root)
            # A test in which nothing ever tears, or nothing is ever whole, tests nothing.
            if options.rounds >= 20:
                for loaded, judgement in [("loads", "complete"), ("fails", "torn")]:
                    tally.check(tally.seen[(kind, loaded, judgement)] > 0, f"{kind}: none that {loaded} was called {judgement}")
    finally:
        if not options.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    for (kind, loaded, judgement), count in sorted(tally.seen.items()):
        print(f"  {kind:8} {loaded:6} called {judgement:10} {count}")
    print(f"{tally.passed} passed, {tally.failed} failed, 0 skipped")
    return 1 if tally.failed else 0


try:
    torchpython.become()
    import torch
    import torch.distributed.checkpoint as dcp
except (torchpython.NoTorch, ImportError) as reason:
    torch, no_torch = None, reason
try:
    import safetensors
    import safetensors.torch
except ImportError:
    safetensors = None

if __name__ == "__main__":
    sys.exit(main())
