#!/usr/bin/env python3
"""Makes FormatSamples/ with the libraries that write these formats in earnest.

    python3.11 -m venv venv
    venv/bin/pip install torch==2.13.0+cpu
    venv/bin/pip install jax==0.10.2 flax==0.12.8 orbax-checkpoint==0.12.8 huggingface_hub==2.4.0 safetensors==0.8.0 \
        gguf==0.19.0 'ray[train]==2.60.0'
    venv/bin/python make_format_samples.py

The samples are committed, so the tests need none of this. Torn samples are made by the tests, by cutting, removing and
changing parts of these. What is not made by its own library, because that library does not run here: the Ollama store,
after the layout of its `manifest` and `server/modelpath.go`, and the names of Composer's files, after its
`CheckpointSaver`. The hub cache is downloaded by huggingface_hub from a server in this script.
"""

import asyncio
import datetime
import hashlib
import http.server
import json
import os
import shutil
import socketserver
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
# Some formats write down where they were made.
OUT = "/tmp/samples"


def path(*parts):
    result = os.path.join(OUT, *parts)
    os.makedirs(os.path.dirname(result), exist_ok=True)
    return result


def orbax_runs():
    import jax.numpy as jnp
    import numpy as np
    import orbax.checkpoint as ocp

    state = {
        # `w` is too large, and too much noise, to lie in the tree itself: it stays in the file that its process wrote.
        "params": {
            "w": jnp.asarray(np.random.default_rng(1).random((32, 32), dtype=np.float32)), "b": jnp.ones(6, jnp.bfloat16),
        },
        "step": np.int32(0),
    }
    texts = state | {"name": "run", "nothing": None, "none": {}}
    with ocp.CheckpointManager(path("orbax")) as manager:
        for step in (5, 10, 20):
            manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave({"seen": step})),
                metrics={"loss": 1.5},
            )
    # As MaxText saves: one item of the name `items`.
    with ocp.CheckpointManager(path("maxtext", "run", "checkpoints"), item_names=("items",)) as manager:
        manager.save(0, args=ocp.args.Composite(items=ocp.args.PyTreeSave(state)))
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path("orbax_single"), texts)
    with ocp.PyTreeCheckpointer(use_ocdbt=False, use_zarr3=True) as checkpointer:
        checkpointer.save(path("orbax_zarr3"), texts)
    with ocp.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
        checkpointer.save(path("orbax_zarr"), state)


def flax_runs():
    import flax
    import jax.numpy as jnp
    from flax.training import checkpoints

    flax.config.update("flax_use_orbax_checkpointing", False)
    state = {"params": {"w": jnp.arange(24.0).reshape(4, 6), "scale": jnp.float32(2.0)}, "names": ["a", "b"], "z": 1j}
    for step in (5, 10):
        checkpoints.save_checkpoint(path("flax"), state, step, keep=2)


REPO = "tiny/model"
COMMIT = "5f1b0e8c3a7d4f2e9b6a1c0d8e7f6a5b4c3d2e1f"


def hub_files():
    import torch
    from huggingface_hub import save_torch_state_dict

    with tempfile.TemporaryDirectory() as directory:
        save_torch_state_dict(
            {f"layers.{n}.weight": torch.arange(64.0).reshape(8, 8) + n for n in range(3)}, directory,
            max_shard_size=300,
        )
        files = {name: open(os.path.join(directory, name), "rb").read() for name in sorted(os.listdir(directory))}
    files["config.json"] = b'{"model_type": "tiny"}\n'
    files["tokenizer/vocab.json"] = b'{"a": 0}\n'
    return files


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks before and while it downloads."""

    files = {}

    def log_message(self, *_):
        pass

    def entries(self):
        for name, data in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"type": "file", "path": name, "size": len(data), "oid": blob}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 128}
            yield entry

    def answer(self, body, headers=()):
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        where = self.path.split("?")[0]
        if where.startswith(f"/api/models/{REPO}/tree/"):
            self.answer(json.dumps(list(self.entries())).encode(), [("Content-Type", "application/json")])
        elif where.startswith(f"/api/models/{REPO}"):
            body = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": [{"rfilename": n} for n in self.files]}
            self.answer(json.dumps(body).encode(), [("Content-Type", "application/json")])
        elif where.startswith(f"/{REPO}/resolve/") and where.split("/", 5)[5] in self.files:
            name = where.split("/", 5)[5]
            entry = next(entry for entry in self.entries() if entry["path"] == name)
            tag = entry.get("lfs", entry)["oid"]
            headers = [("X-Repo-Commit", COMMIT), ("ETag", f'"{tag}"')]
            if "lfs" in entry:
                headers += [("X-Linked-ETag", f'"{tag}"'), ("X-Linked-Size", str(entry["size"]))]
            self.answer(self.files[name], headers)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET


def hub_cache():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = path("hub")
    os.makedirs(home)
    os.environ.update(
        HF_ENDPOINT=f"http://127.0.0.1:{server.server_address[1]}", HF_HOME=home, HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
    )
    # It reads the environment when it is imported.
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    Hub.files = hub_files()
    snapshot_download(REPO)
    try:
        hf_hub_download(REPO, "no_such_file.json")
    except EntryNotFoundError:
        pass
    snapshot_download(REPO, local_dir=path("hub_local"))
    # Git would take it for its own.
    os.remove(path("hub_local", ".cache", "huggingface", ".gitignore"))
    server.shutdown()
    # What a login leaves, and the caches that huggingface_hub fills again.
    for name in ("token", "stored_tokens"):
        with open(os.path.join(home, name), "w") as file:
            file.write("not-a-token\n")


def safetensors_files():
    import torch
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import save_file

    os.makedirs(path("safetensors", "sharded"))
    save_torch_state_dict(
        {f"layers.{n}.weight": torch.arange(64.0).reshape(8, 8).to(torch.bfloat16) for n in range(4)},
        path("safetensors", "sharded"), max_shard_size=300,
    )
    save_file({"w": torch.ones(4, 4)}, path("safetensors", "single", "model.safetensors"))


def gguf_files():
    import gguf
    import numpy as np

    for name, options in (("tiny.gguf", {}), ("split.gguf", {"split_max_tensors": 2})):
        writer = gguf.GGUFWriter(path("gguf", name), "llama", **options)
        writer.add_name("tiny")
        for number in range(5):
            writer.add_tensor(f"blk.{number}.weight", np.arange(32, dtype=np.float32).reshape(4, 8) + number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def ollama_store():
    with open(path("gguf", "tiny.gguf"), "rb") as file:
        model = file.read()
    layers = []
    config = json.dumps({"model_format": "gguf", "model_family": "llama", "os": "linux"}).encode()
    for kind, data in (("model", model), ("template", b"{{ .Prompt }}"), ("params", b'{"stop":["x"]}')):
        layers.append(layer(f"application/vnd.ollama.image.{kind}", data))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer("application/vnd.docker.container.image.v1+json", config),
        "layers": layers,
    }
    with open(path("ollama", "manifests", "registry.ollama.ai", "library", "tiny", "latest"), "w") as file:
        json.dump(manifest, file, separators=(",", ":"))


def layer(kind, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(path("ollama", "blobs", f"sha256-{digest}"), "wb") as file:
        file.write(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def ray_run():
    import torch
    from ray.train import Checkpoint, CheckpointConfig
    from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
    from ray.train.v2._internal.execution.storage import StorageContext
    from ray.train.v2._internal.execution.training_report import _TrainingReport

    os.makedirs(path("ray"))
    storage = StorageContext(storage_path=path("ray"), experiment_dir_name="run")

    async def train():
        manager = CheckpointManager(CheckpointConfig(num_to_keep=2), storage)
        start = datetime.datetime(2026, 11, 1, 12, 0, 0)
        for step in range(3):
            with tempfile.TemporaryDirectory() as directory:
                torch.save({"step": step}, os.path.join(directory, "model.pt"))
                name = (start + datetime.timedelta(minutes=step)).strftime("checkpoint_%Y-%m-%d_%H-%M-%S.%f")
                saved = storage.persist_current_checkpoint(Checkpoint(directory), name)
            manager.register_checkpoint(
                _TrainingReport(checkpoint=saved, metrics={"loss": 1.0 / (step + 1)}, validation=False)
            )

    asyncio.run(train())


def composer_run():
    import torch

    # CheckpointSaver's names, with the layout of `_save_checkpoint`; ranks as they wrote before only the first did.
    for epoch, batch in ((0, 10), (0, 20)):
        for rank in range(2):
            torch.save(
                {
                    "state": {"model": {"w": torch.ones(2)}, "timestamp": {"epoch": epoch, "batch": batch}},
                    "rng": [{"torch": torch.zeros(1)}] * 2,
                },
                path("composer", f"ep{epoch}-ba{batch}-rank{rank}.pt"),
            )
    for rank in range(2):
        os.symlink(f"ep0-ba20-rank{rank}.pt", path("composer", f"latest-rank{rank}.pt"))


MAKERS = [
    orbax_runs, flax_runs, safetensors_files, gguf_files, ollama_store, hub_cache, ray_run, composer_run,
]


def main():
    if sys.argv[1:]:
        # One maker in a process of its own: some libraries read the environment when they are imported.
        next(maker for maker in MAKERS if maker.__name__ == sys.argv[1])()
        return
    shutil.rmtree(OUT, ignore_errors=True)
    for maker in MAKERS:
        if os.spawnl(os.P_WAIT, sys.executable, sys.executable, os.path.abspath(__file__), maker.__name__):
            sys.exit(f"{maker.__name__} failed")
    shutil.rmtree(os.path.join(HERE, "FormatSamples"), ignore_errors=True)
    shutil.move(OUT, os.path.join(HERE, "FormatSamples"))


if __name__ == "__main__":
    main()
