#!/usr/bin/env python3
"""Makes Samples/ with the libraries that write these formats in earnest.

    python3 -m venv venv
    venv/bin/pip install torch==2.13.0+cpu numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0 \
        huggingface_hub==2.4.0 zarr==3.1.6
    venv/bin/python make_samples.py

The samples are committed, so the tests need none of this. What the tests expect of them is written down in the tests,
not derived here. Torn samples are made by the tests, by cutting and changing these.
"""

import collections
import fractions
import os
import pickle
import shutil
import struct
import sys
import warnings

import gguf
import numpy
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
import zarr
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "Samples")


def path(*parts):
    """Relative, because some formats write down where they were made."""
    result = os.path.join(*parts)
    os.makedirs(os.path.dirname(result), exist_ok=True)
    return result


def values(*shape, dtype=torch.float32):
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) / 7 - 3).reshape(shape).to(dtype)


def safetensors_files():
    save_file(
        {
            "embedding.weight": values(8, 6, dtype=torch.bfloat16),
            "layer.0.weight": values(6, 6, dtype=torch.float16),
            "layer.0.bias": values(6),
            "scale": torch.tensor(2.5, dtype=torch.float64),
            "ids": torch.arange(5, dtype=torch.int64),
            "mask": torch.tensor([True, False, True]),
            "none": torch.zeros(0, 4),
            "packed": torch.arange(7, dtype=torch.uint8),
            "f8": values(4, 2).to(torch.float8_e4m3fn),
            "wave": torch.view_as_complex(values(3, 2)),
        },
        path("safetensors", "mixed.safetensors"),
        metadata={"format": "pt", "note": 'a "quoted" \\ name, é and a\nnewline'},
    )
    save_file({}, path("safetensors", "empty.safetensors"))
    save_torch_state_dict(
        {f"layers.{n}.weight": values(16, 16, dtype=torch.bfloat16) for n in range(5)},
        os.path.dirname(path("safetensors", "sharded", "x")),
        max_shard_size=1100,
    )


def gguf_files():
    def writer(name, **options):
        made = gguf.GGUFWriter(path("gguf", name), "llama", **options)
        made.add_name("sample")
        made.add_block_count(1)
        made.add_array("tokenizer.ggml.tokens", ["<s>", "</s>", "a", "bc"])
        made.add_array("tokenizer.ggml.scores", [0.5, 1.5, -1.0, 2.0])
        made.add_bool("sample.flag", True)
        made.add_float64("sample.double", 0.25)
        return made

    def finish(made):
        made.write_header_to_file()
        made.write_kv_data_to_file()
        made.write_tensors_to_file()
        made.close()

    def add_all(made):
        made.add_tensor("token_embd.weight", values(4, 64).numpy())
        made.add_tensor("blk.0.attn_q.weight", values(3, 5, dtype=torch.float16).numpy())
        for kind in ["Q8_0", "Q4_0", "BF16", "TQ1_0"]:
            kind = gguf.GGMLQuantizationType[kind]
            made.add_tensor(
                f"blk.0.{kind.name}.weight", gguf.quants.quantize(values(2, 256).numpy(), kind), raw_dtype=kind
            )
        made.add_tensor("blk.0.norm.bias", values(7).numpy())

    made = writer("v3.gguf")
    add_all(made)
    finish(made)
    made = writer("aligned-64.gguf")
    made.add_custom_alignment(64)
    add_all(made)
    finish(made)
    made = writer("big-endian.gguf", endianess=gguf.GGUFEndian.BIG)
    made.add_tensor("token_embd.weight", values(4, 64).numpy())
    finish(made)
    made = writer("split.gguf", split_max_tensors=2)
    for n in range(5):
        made.add_tensor(f"blk.{n}.ffn.weight", values(3, 32).numpy())
    finish(made)
    # The library writes version 3 only. Version 2 differs in nothing but this number (llama.cpp, docs/gguf.md).
    with open(path("gguf", "v3.gguf"), "rb") as file:
        data = bytearray(file.read())
    data[4:8] = struct.pack("<I", 2)
    with open(path("gguf", "v2.gguf"), "wb") as file:
        file.write(data)


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 4)
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.tied = torch.nn.Linear(4, 4, bias=False)
        self.tied.weight = self.second.weight
        self.register_buffer("count", torch.tensor(3))


def trained():
    torch.manual_seed(1)
    model = Module()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        model.tied(model.second(model.first(values(2, 6)))).sum().backward()
        optimizer.step()
    return model, optimizer


def torch_files():
    model, optimizer = trained()
    torch.save(model.state_dict(), path("torch", "state_dict.pt"))
    checkpoint = {
        "global_step": 7,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "rng": torch.get_rng_state()[:64].clone(),
        "random": numpy.random.RandomState(1).get_state()[1][:8],
        "losses": [0.5, 0.25],
        "big": 1 << 80,
        "names": {"a", "b"},
    }
    torch.save(checkpoint, path("torch", "checkpoint.ckpt"))
    torch.save(
        checkpoint, path("torch", "legacy.pt"), _use_new_zipfile_serialization=False
    )
    big = torch.arange(24, dtype=torch.float32)
    torch.save(
        {
            "bf16": values(4, 4, dtype=torch.bfloat16),
            "f8": values(4, 4).to(torch.float8_e5m2),
            "u16": torch.arange(4).to(torch.uint16),
            "transposed": values(3, 5).t(),
            "view": big[4:10],
            "view2": big[10:16].reshape(2, 3),
            "parameter": torch.nn.Parameter(values(2, 2)),
            "empty": torch.zeros(0, 3),
            "complex": torch.view_as_complex(values(3, 2)),
            "mask": torch.tensor([True, False]),
            "sparse": torch.sparse_coo_tensor(torch.tensor([[0, 1]]), torch.tensor([1.0, 2.0]), (4,)),
            "quantised": torch.quantize_per_tensor(values(4, 3), 0.1, 0, torch.qint8),
            "raw": torch.zeros(9, dtype=torch.uint8).untyped_storage(),
        },
        path("torch", "dtypes.pt"),
    )
    torch.save(values(5, 3), path("torch", "tensor.pt"))
    torch.save(values(5, 3), path("torch", "protocol5.pt"), pickle_protocol=5)
    torch.save({"nothing": 1}, path("torch", "no_tensors.pt"))
    torch.serialization.set_crc32_options(False)
    torch.save(model.state_dict(), path("torch", "without_crc.pt"))
    torch.serialization.set_crc32_options(True)


def two_ranks(rank, directory):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    state = {
        "model": {
            "sharded.weight": distribute_tensor(values(6, 4), mesh, [Shard(0)]),
            "columns.weight": distribute_tensor(values(4, 6, dtype=torch.bfloat16), mesh, [Shard(1)]),
            "uneven": distribute_tensor(values(3, 2), mesh, [Shard(0)]),
            "whole": distribute_tensor(values(5), mesh, [Replicate()]),
        },
        "step": 12,
        "note": "text",
    }
    dcp.save(state, checkpoint_id=directory)
    dist.destroy_process_group()


def dcp_files():
    torch.multiprocessing.spawn(two_ranks, args=(os.path.dirname(path("dcp", "two_ranks", "x")),), nprocs=2)
    model, optimizer = trained()
    dcp.save(
        {"model": model.state_dict(), "optim": optimizer.state_dict(), "step": 3},
        checkpoint_id=os.path.dirname(path("dcp", "one_rank", "x")),
        no_dist=True,
    )


def numpy_files():
    numpy.save(path("numpy", "f4.npy"), values(3, 4).numpy())
    numpy.save(path("numpy", "fortran.npy"), numpy.asfortranarray(values(3, 4).numpy().astype(">f8")))
    numpy.save(path("numpy", "records.npy"), numpy.zeros(3, dtype=[("a", "<i4"), ("b", "<f4", (2,))]))
    numpy.save(path("numpy", "objects.npy"), numpy.array([1, "a", None], dtype=object))
    arrays = {"weights": values(3, 4).numpy(), "half": values(9).numpy().astype("f2"), "n": numpy.int64(4)}
    numpy.savez(path("numpy", "stored.npz"), **arrays)
    numpy.savez_compressed(path("numpy", "compressed.npz"), **arrays)


def pickle_files():
    cycle = [1]
    cycle.append(cycle)
    twice = ["shared"]
    value = {
        "integers": [0, 1, 255, 256, 65535, 65536, -1, -300, 2**31 - 1, 2**31, -(2**40), 2**63 - 1, -(2**63)],
        "huge": 2**70,
        "floats": [0.5, -2.25, 1e300],
        "none": None,
        "bools": [True, False],
        "text": "plain",
        "long": "x" * 5000,
        "bytes": b"ab",
        "array": bytearray(b"cd"),
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "ordered": collections.OrderedDict(a=1, b=2),
        "fraction": fractions.Fraction(1, 3),
        "cycle": cycle,
        "shared": [twice, twice],
        "many": {n: n % 7 for n in range(1100)},
        7: "seven",
    }
    for protocol in range(6):
        with open(path("pickle", f"protocol{protocol}.pkl"), "wb") as file:
            pickle.dump(value, file, protocol=protocol)


def zarr_files():
    for version in [2, 3]:
        made = zarr.create_array(
            os.path.dirname(path("zarr", f"v{version}", "x")), shape=(10, 6), chunks=(4, 6), dtype="float32",
            zarr_format=version, compressors=None, overwrite=True,
        )
        made[:] = values(10, 6).numpy()
    zarr.create_array(
        os.path.dirname(path("zarr", "v3_compressed", "x")), shape=(10,), chunks=(4,), dtype="int64", zarr_format=3,
        overwrite=True,
    )[:] = numpy.arange(10)
    zarr.create_array(
        os.path.dirname(path("zarr", "v3_sharded", "x")), shape=(16,), shards=(8,), chunks=(4,), dtype="float16",
        zarr_format=3, overwrite=True,
    )[:] = numpy.arange(16)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    os.chdir(OUT)
    for make in [safetensors_files, gguf_files, torch_files, dcp_files, numpy_files, pickle_files, zarr_files]:
        make()
    total = 0
    for directory, _, files in os.walk(OUT):
        total += sum(os.path.getsize(os.path.join(directory, name)) for name in files)
    print(f"{total} bytes below {OUT}", file=sys.stderr)
