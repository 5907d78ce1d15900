#!/usr/bin/env python3
"""A small real training loop: a transformer language model, AdamW, a learning rate schedule, dropout, seeded data.

    training_loop.py --dir DIR --steps 40 --save-every 10                    trains up to step 40
    training_loop.py --dir DIR --steps 60 --save-every 10 --resume           goes on from what a framework would pick
    training_loop.py --dir DIR --steps 60 --resume --without optimizer       goes on wrongly, for a comparison

It is deterministic: on one machine the same steps give the same bits, however often it was stopped and resumed between
them. A checkpoint holds the model, the optimizer, the schedule, the states of all random generators and the place in the
data, in one of three layouts:

  trainer   checkpoint-N/ as Transformers' Trainer writes it, in its order, trainer_state.json last
  plain     ckpt-N.pt by torch.save under another name, then renamed
  dcp       step-N/ by torch.distributed.checkpoint, .metadata last

Prints `step N saved` for each checkpoint when it is whole, and at the end `digest HEX`: a SHA-256 over all weights and all of the
optimizer's state. It learns from the sources of Python's own library, byte by byte (tiny) or word by word (medium).
"""

import argparse
import collections
import ctypes
import glob
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import sysconfig
import warnings

import torchpython

try:
    torchpython.become()
    import torch
    from torch.nn import functional
except (torchpython.NoTorch, ImportError) as reason:
    sys.exit(f"training_loop.py: {reason}")
try:
    import numpy
except ImportError:
    numpy = None
try:
    import safetensors.torch
except ImportError:
    safetensors = None

Size = collections.namedtuple("Size", "width layers heads vocabulary context batch threads corpus rate warmup length")
SIZES = {
    "tiny": Size(128, 3, 4, 256, 32, 4, 1, 200_000, 1e-3, 10, 400),
    "medium": Size(384, 12, 6, 4096, 64, 4, 2, 6_000_000, 6e-4, 10, 48),
}
PARTS = ("optimizer", "scheduler", "rng", "data")
EXIT_NO_CHECKPOINT, EXIT_NOT_LOADED = 4, 5


class NoCheckpoint(Exception):
    """There is nothing to resume from."""


class NotLoaded(Exception):
    """What a framework would resume from does not load."""


# The model: pre-norm blocks, the embedding used again for the output.


class Block(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.heads = size.heads
        self.before_attention, self.before_mlp = torch.nn.LayerNorm(size.width), torch.nn.LayerNorm(size.width)
        self.qkv = torch.nn.Linear(size.width, 3 * size.width)
        self.out = torch.nn.Linear(size.width, size.width)
        self.up, self.down = torch.nn.Linear(size.width, 4 * size.width), torch.nn.Linear(4 * size.width, size.width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.before_attention(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + functional.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)), 0.1)
        return x + functional.dropout(self.down(functional.gelu(self.up(self.before_mlp(x)))), 0.1)


class Model(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.tokens = torch.nn.Embedding(size.vocabulary, size.width)
        self.places = torch.nn.Embedding(size.context, size.width)
        self.blocks = torch.nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = torch.nn.LayerNorm(size.width)
        for weight in self.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.02)

    def forward(self, x):
        x = functional.dropout(self.tokens(x) + self.places.weight[: x.shape[1]], 0.1)
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)


# The data.


def corpus(size):
    """Tokens of the sources of Python's library: bytes, and above 255 the words that are most frequent."""
    text, length = [], 0
    for path in sorted(glob.glob(os.path.join(glob.escape(sysconfig.get_path("stdlib")), "**", "*.py"), recursive=True)):
        if f"{os.sep}site-packages{os.sep}" in path or f"{os.sep}dist-packages{os.sep}" in path:
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text.append(file.read())
        length += len(text[-1])
        if length >= size.corpus:
            break
    text = "".join(text)[: size.corpus]
    if size.vocabulary == 256:
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()
    pieces = re.findall(r" ?\w+|\s+|.", text)
    counts = collections.Counter(piece for piece in pieces if len(piece) > 1)
    numbers = {piece: 256 + n for n, (piece, _) in enumerate(counts.most_common(size.vocabulary - 256))}
    tokens = []
    for piece in pieces:
        number = numbers.get(piece)
        tokens += piece.encode() if number is None else (number,)
    return torch.tensor(tokens)


class Loader:
    """Batches of windows in an order that is shuffled anew for each epoch, from its own generator; it knows its place."""

    def __init__(self, size, seed):
        self.size, self.seed, self.tokens = size, seed, corpus(size)
        self.windows = len(self.tokens) // (size.context + 1) - 1
        self.epoch, self.batch, self.order = 0, 0, None

    def next(self):
        if self.order is None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            self.order = torch.randperm(self.windows, generator=generator)
        chosen = self.order[self.batch * self.size.batch : (self.batch + 1) * self.size.batch]
        self.batch += 1
        if (self.batch + 1) * self.size.batch > self.windows:
            self.epoch, self.batch, self.order = self.epoch + 1, 0, None
        # A shift by Python's generator, blanks by NumPy's: whoever loses their states goes on elsewhere.
        shift = random.randrange(self.size.context)
        starts = chosen * (self.size.context + 1) + shift
        rows = torch.stack([self.tokens[start : start + self.size.context + 1] for start in starts])
        inputs, targets = rows[:, :-1].clone(), rows[:, 1:]
        if numpy is not None:
            inputs[torch.from_numpy(numpy.random.random(tuple(inputs.shape)) < 0.02)] = 0
        return inputs, targets

    def state_dict(self):
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state):
        self.epoch, self.batch, self.order = state["epoch"], state["batch"], None


# The state as a whole.


class Run:
    def __init__(self, options):
        self.options, self.size, self.step, self.history = options, SIZES[options.size], 0, []
        torch.manual_seed(options.seed)
        random.seed(options.seed)
        if numpy is not None:
            numpy.random.seed(options.seed)
        self.model = Model(self.size)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.size.rate, betas=(0.9, 0.95), weight_decay=0.1)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self.rate)
        self.loader = Loader(self.size, options.seed)

    def rate(self, step):
        """Warm-up, then a cosine down to a tenth."""
        if step < self.size.warmup:
            return (step + 1) / self.size.warmup
        done = min(1, (step - self.size.warmup) / (self.size.length - self.size.warmup))
        return 0.1 + 0.45 * (1 + math.cos(math.pi * done))

    def advance(self):
        inputs, targets = self.loader.next()
        loss = functional.cross_entropy(self.model(inputs).flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        self.loss = loss.item()

    def rng(self):
        """The generators' states in tensors and tuples only, so that a careful loader takes them."""
        state = {"cpu": torch.get_rng_state(), "python": random.getstate()}
        if numpy is not None:
            kind, keys, *rest = numpy.random.get_state()
            state["numpy"] = (kind, torch.tensor(keys.astype("int64")), *rest)
        return state

    def set_rng(self, state):
        torch.set_rng_state(state["cpu"])
        random.setstate(state["python"])
        if "numpy" in state and numpy is not None:
            kind, keys, *rest = state["numpy"]
            numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))

    def parameters(self):
        return dict(self.model.named_parameters())

    def moments(self):
        """The optimizer's state by the parameters' names."""
        return {name: dict(self.optimizer.state[weight]) for name, weight in self.parameters().items()}

    def digest(self):
        hash = hashlib.sha256()
        for name, weight in sorted(self.parameters().items()):
            for part, tensor in [("weight", weight), *sorted(self.moments()[name].items())]:
                tensor = tensor.detach().contiguous()
                hash.update(f"{name} {part} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                hash.update(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))
        return hash.hexdigest()

    def restore(self, state):
        """Takes over what a checkpoint holds, but for what `--without` names."""
        without = self.options.without
        self.model.load_state_dict(state["model"])
        if "optimizer" not in without:
            self.optimizer.load_state_dict(state["optimizer"])
        if "scheduler" not in without:
            self.scheduler.load_state_dict(state["scheduler"])
        if "data" not in without:
            self.loader.load_state_dict(state["data"])
        if "rng" not in without:
            self.set_rng(state["rng"])
        self.step = state["step"]


# The layouts. `pattern` tells checkpoints by their names, `save` writes one, `load` reads one as its framework does.


def load(path):
    return torch.load(path, weights_only=True)


class Trainer:
    pattern = re.compile(r"checkpoint-(\d+)$")

    @staticmethod
    def save(run, root):
        path = os.path.join(root, f"checkpoint-{run.step}")
        os.makedirs(path)
        size = run.size
        config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": size.width, "n_layer": size.layers,
                  "n_head": size.heads, "n_positions": size.context, "vocab_size": size.vocabulary}
        write_json(os.path.join(path, "config.json"), config)
        weights, optimizer = {name: w.detach() for name, w in run.parameters().items()}, run.optimizer.state_dict()
        if run.options.bf16:
            optimizer["master"] = weights
            weights = {name: weight.bfloat16() for name, weight in weights.items()}
        if safetensors is not None:
            safetensors.torch.save_file(weights, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
        else:
            torch.save(weights, os.path.join(path, "pytorch_model.bin"))
        torch.save(optimizer, os.path.join(path, "optimizer.pt"))
        torch.save(run.scheduler.state_dict(), os.path.join(path, "scheduler.pt"))
        torch.save(run.rng(), os.path.join(path, "rng_state.pth"))
        state = {"best_metric": None, "epoch": run.loader.epoch, "global_step": run.step, "save_steps": run.options.save_every,
                 "max_steps": run.options.steps, "log_history": run.history, "data": run.loader.state_dict()}
        write_json(os.path.join(path, "trainer_state.json"), state)

    @staticmethod
    def load(run, path):
        weights = os.path.join(path, "model.safetensors")
        if os.path.exists(weights):
            model = safetensors.torch.load_file(weights)
        else:
            model = load(os.path.join(path, "pytorch_model.bin"))
        optimizer = load(os.path.join(path, "optimizer.pt"))
        with open(os.path.join(path, "trainer_state.json"), encoding="ascii") as file:
            state = json.load(file)
        run.history = state["log_history"]
        return {
            "model": optimizer.pop("master", model), "optimizer": optimizer, "scheduler": load(os.path.join(path, "scheduler.pt")),
            "rng": load(os.path.join(path, "rng_state.pth")), "data": state["data"], "step": state["global_step"]}


class Plain:
    pattern = re.compile(r"ckpt-(\d+)\.pt$")

    @staticmethod
    def save(run, root):
        path = os.path.join(root, f"ckpt-{run.step}.pt")
        torch.save({
            "model": run.model.state_dict(), "optimizer": run.optimizer.state_dict(), "scheduler": run.scheduler.state_dict(),
            "rng": run.rng(), "data": run.loader.state_dict(), "step": run.step}, path + ".part")
        os.rename(path + ".part", path)

    @staticmethod
    def load(run, path):
        return load(path)


class Distributed:
    pattern = re.compile(r"step-(\d+)$")

    @staticmethod
    def state(run):
        moments = run.moments()
        for name, weight in run.parameters().items():  # to be filled, when nothing was trained yet
            moments[name] = moments[name] or {
                "step": torch.zeros(()), "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        return {
            "model": run.model.state_dict(), "optimizer": moments, "scheduler": run.scheduler.state_dict(), "rng": run.rng(),
            "data": run.loader.state_dict(), "step": run.step}

    @classmethod
    def save(cls, run, root):
        import torch.distributed.checkpoint as dcp  # a second to load, and the others do without

        dcp.save(cls.state(run), checkpoint_id=os.path.join(root, f"step-{run.step}"))

    @classmethod
    def load(cls, run, path):
        import torch.distributed.checkpoint as dcp

        if not os.path.exists(os.path.join(path, ".metadata")):
            raise FileNotFoundError(f"{path} has no .metadata")
        state = cls.state(run)
        dcp.load(state, checkpoint_id=path)
        places = {name: n for n, name in enumerate(run.parameters())}
        state["optimizer"] = {
            "state": {places[name]: moments for name, moments in state["optimizer"].items()},
            "param_groups": run.optimizer.state_dict()["param_groups"]}
        # The rate in force is the schedule's, which the groups only repeat.
        for group, rate in zip(state["optimizer"]["param_groups"], state["scheduler"]["_last_lr"]):
            group["lr"] = rate
        return state


LAYOUTS = {"trainer": Trainer, "plain": Plain, "dcp": Distributed}


def write_json(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def checkpoints(root, layout):
    """What is called as a checkpoint is, by step: a framework looks at no more than that."""
    found = [(int(match[1]), name) for name in os.listdir(root) if (match := layout.pattern.match(name))]
    if layout is Distributed:
        # What writes these looks for the file that comes last.
        found = [(step, name) for step, name in found if os.path.exists(os.path.join(root, name, ".metadata"))]
    return sorted(found)


def resume(run, layout):
    root = run.options.dir
    name = run.options.source
    if name is None:
        found = checkpoints(root, layout) if os.path.isdir(root) else []
        if not found:
            raise NoCheckpoint(f"{root} holds no checkpoint of the layout {run.options.layout}")
        name = found[-1][1]
    try:
        run.restore(layout.load(run, os.path.join(root, name)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # DCP's own is no Exception
        reason = " ".join(str(error).split())[:300]
        raise NotLoaded(f"{name} does not load: {type(error).__name__}: {reason}") from None
    say(f"resumed from {name} at step {run.step}")


def save(run, layout):
    run.history = [*run.history, {"step": run.step, "loss": run.loss, "learning_rate": run.scheduler.get_last_lr()[0]}]
    root = run.options.dir
    os.makedirs(root, exist_ok=True)
    layout.save(run, root)
    say(f"step {run.step} saved")
    if run.options.keep:
        for _, name in checkpoints(root, layout)[: -run.options.keep]:
            path = os.path.join(root, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def say(text):
    print(text, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True, help="where the checkpoints are")
    parser.add_argument("--steps", type=int, required=True, help="train up to this step")
    parser.add_argument("--save-every", type=int, default=0, metavar="N", help="save at each multiple of N (default: never)")
    parser.add_argument("--save-on", metavar="SIGNAL", help="save at the next step when this signal comes: USR1")
    parser.add_argument("--layout", choices=LAYOUTS, default="trainer")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--keep", type=int, default=0, metavar="M", help="remove all but the newest M checkpoints (default: keep all)")
    parser.add_argument("--bf16", action="store_true", help="trainer: weights as bfloat16, and in full with the optimizer")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, as a framework picks it")
    parser.add_argument("--from", dest="source", metavar="NAME", help="go on from this checkpoint")
    parser.add_argument("--without", action="append", default=[], choices=PARTS, help="do not restore this part")
    parser.add_argument("--digest-every", type=int, default=0, metavar="N", help="print `step S digest HEX` at each multiple of N")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse()
    warnings.simplefilter("ignore")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(SIZES[options.size].threads)
    torch.set_num_interop_threads(1)
    run, layout = Run(options), LAYOUTS[options.layout]
    if options.resume or options.source:
        try:
            resume(run, layout)
        except (NoCheckpoint, NotLoaded) as reason:
            print(f"training_loop.py: {reason}", file=sys.stderr)
            return EXIT_NO_CHECKPOINT if isinstance(reason, NoCheckpoint) else EXIT_NOT_LOADED
    asked = []
    if options.save_on:
        signal.signal(getattr(signal, "SIG" + options.save_on), lambda *_: asked.append(True))
    while run.step < options.steps:
        run.advance()
        if asked or options.save_every and run.step % options.save_every == 0:
            asked.clear()
            save(run, layout)
        if options.digest_every and run.step % options.digest_every == 0:
            say(f"step {run.step} digest {run.digest()}")
    say(f"digest {run.digest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
