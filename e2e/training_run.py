#!/usr/bin/env python3
"""Writes what a training run leaves behind, for the demonstration: checkpoints, logs, a configuration, a dataset cache.

    training_run.py DIR --steps 100,200 [--mb 24]     makes it, up to the last step
    training_run.py DIR --steps 300                   goes on

A checkpoint is a directory with real safetensors files (a JSON header and bfloat16 tensors) of the weights and the
optimizer's state, and the loop's own state. From one checkpoint to the next some two thirds of the weights stay and the rest move a little.
"""

import argparse
import array
import json
import os
import random
import struct
import sys

import trees


def bfloat16(rng, count):
    """`count` weights as a trained layer has them, two bytes each; drawn from a table, for speed."""
    table = array.array("H")
    for _ in range(4096):
        (bits,) = struct.unpack("<I", struct.pack("<f", rng.gauss(0, 0.02)))
        table.append(bits >> 16)
    return array.array("H", rng.choices(table, k=count))


def move(rng, weights, share):
    """Changes about `share` of the weights by one unit in the last place, as a small step does."""
    for index in rng.sample(range(len(weights)), int(len(weights) * share)):
        weights[index] = (weights[index] + rng.choice((-1, 1))) & 0xFFFF


def safetensors(path, tensors):
    """Writes the format of Hugging Face: header length, JSON header, tensors."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * len(data)]}
        offset += 2 * len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            data.tofile(file)


def checkpoint(root, step, tensors, rng):
    directory = os.path.join(root, "checkpoints", f"step-{step}")
    os.makedirs(directory)
    safetensors(os.path.join(directory, "model.safetensors"), tensors)
    moments = {f"moments.{name}": (shape, array.array("H", rng.randbytes(2 * len(data))))
               for name, (shape, data) in tensors.items()}
    safetensors(os.path.join(directory, "optimizer.safetensors"), moments)
    state = {"global_step": step, "epoch": step / 1000, "best_metric": round(2.4 - step / 1000, 4)}
    trees.write_file(os.path.join(directory, "state.json"), json.dumps(state, indent=2).encode())
    latest = os.path.join(root, "checkpoints", "latest")
    if os.path.islink(latest):
        os.unlink(latest)
    os.symlink(f"step-{step}", latest)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--steps", required=True, help="where checkpoints are written, such as 100,200")
    parser.add_argument("--mb", type=int, default=24, help="MB of weights in a checkpoint")
    options = parser.parse_args()
    steps, root = [int(step) for step in options.steps.split(",")], options.directory
    # The weights are made anew from the seed and moved along to where this call goes on.
    rng = random.Random("weights")
    per_layer = options.mb * 1_000_000 // 2 // 12
    tensors = {"model.embed_tokens.weight": ([per_layer * 4], bfloat16(rng, per_layer * 4))}
    for layer in range(8):
        tensors[f"model.layers.{layer}.mlp.weight"] = ([per_layer], bfloat16(rng, per_layer))
    fresh = not os.path.exists(root)
    if fresh:
        os.makedirs(os.path.join(root, "cache"))
        config = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 8, "torch_dtype": "bfloat16"}
        trees.write_file(os.path.join(root, "config.json"), json.dumps(config, indent=2).encode())
        trees.small_files(os.path.join(root, "cache", "dataset"), 800, "demo", mean=6000)
        with open(os.path.join(root, "cache", "preallocated.arena"), "wb") as file:
            file.truncate(64 << 20)  # a hole: takes no room here, and must take none when restored
        os.mkdir(os.path.join(root, "logs"))
    for step in steps:
        moving = random.Random(f"step {step}")
        for _, data in tensors.values():
            move(moving, data, 0.05)
        checkpoint(root, step, tensors, moving)
        with open(os.path.join(root, "logs", "train.jsonl"), "a", encoding="ascii") as log:
            for line in range(step - 99, step + 1):
                log.write(json.dumps({"step": line, "loss": round(2.5 - line / 1000 + moving.random() / 50, 4)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
