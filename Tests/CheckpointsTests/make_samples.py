#!/usr/bin/env python3
"""Makes part of Samples/: what PyTorch, DeepSpeed, Megatron, Transformers, Accelerate, PEFT, Lightning and NeMo leave behind.

    python3.11 -m venv venv
    venv/bin/pip install torch==2.13.0+cpu
    venv/bin/pip install transformers==5.23.0 accelerate==1.15.0 peft==0.21.2 pytorch-lightning==2.6.6
    venv/bin/python make_samples.py

Torch, Transformers, Accelerate, PEFT and Lightning make theirs themselves. DeepSpeed, Megatron and NeMo need GPUs to train:
theirs are written here with torch.save and DCP under the names, and with the keys, that their sources give (named at each).

The samples are committed, so the tests need none of this. What the tests expect of them is written down in the tests,
not derived here. Torn samples are made by the tests, by cutting and changing these.
"""

import argparse
import collections
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "Samples")
PARTS = ["torch", "dcp", "deepspeed", "megatron", "trainer", "accelerate", "peft", "lightning", "nemo"]


def path(*parts):
    result = os.path.join(*parts)
    os.makedirs(os.path.dirname(result), exist_ok=True)
    return result


def write(text, *parts):
    with open(path(*parts), "w") as file:
        file.write(text)


def save(value, *parts):
    torch.save(value, path(*parts))


def values(*shape, dtype=torch.float32):
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) / 7 - 3).reshape(shape).to(dtype)


def torch_files():
    state = {"model": {"weight": values(4, 3), "bias": values(4)}, "step": 7}
    save(state, "torch", "plain.pt")
    torch.save(state, path("torch", "legacy.pt"), _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    save(state, "torch", "no_crc.pt")
    torch.serialization.set_crc32_options(True)


def two_ranks(rank, directory, step):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29517", GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    state = {
        "model.weight": distribute_tensor(values(6, 4), mesh, [Shard(0)]),
        "model.bias": distribute_tensor(values(6), mesh, [Shard(0)]),
        "step": step,
    }
    dcp.save(state, checkpoint_id=directory)
    dist.destroy_process_group()


def save_two_ranks(directory, step=3):
    os.makedirs(directory, exist_ok=True)
    torch.multiprocessing.spawn(two_ranks, args=(directory, step), nprocs=2)


def two_ranks_alone(rank, directory):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29518", GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    state = {f"model.part{rank}": values(3, 4), "step": torch.tensor(4)}
    dcp.save(state, storage_writer=dcp.FileSystemWriter(directory), use_collectives=False)
    dist.destroy_process_group()


def dcp_files():
    save_two_ranks(os.path.join("dcp", "outputs", "step-100"), 100)
    os.makedirs(os.path.join("dcp", "alone"))
    torch.multiprocessing.spawn(two_ranks_alone, args=(os.path.join("dcp", "alone"),), nprocs=2)


def deepspeed_state(step, dp, mp, stage, names, module=True, **more):
    # engine.py, _common_checkpoint_state.
    state = dict(
        module={name: values(2, 2, dtype=torch.bfloat16) for name in names} if module else None,
        buffer_names=[],
        optimizer={"state": {}, "param_groups": []} if stage == 0 else None,
        param_shapes=[collections.OrderedDict((name, torch.Size([2, 2])) for name in names)] if stage else None,
        frozen_param_shapes=None,
        shared_params=None,
        frozen_param_fragments=None,
        lr_scheduler=None,
        data_sampler=None,
        random_ltd=None,
        sparse_tensor_module_names=set(),
        skipped_steps=0,
        global_steps=step,
        global_samples=step * 8,
        dp_world_size=dp,
        mp_world_size=mp,
        ds_config={"train_batch_size": 8, "zero_optimization": {"stage": stage}},
        ds_version="0.17.5",
    )
    state.update(more)
    return state


def zero_state(stage, dp):
    # runtime/zero/stage_1_and_2.py and stage3.py, state_dict.
    return {
        "optimizer_state_dict": {
            "zero_stage": stage,
            "partition_count": [dp] if stage < 3 else dp,
            "single_partition_of_fp32_groups": [values(4)],
        },
        "ds_config": {},
        "ds_version": "0.17.5",
    }


def deepspeed_files():
    tag = os.path.join("deepspeed", "zero2", "global_step20")
    save(deepspeed_state(20, 2, 1, 2, ["w0", "w1"]), tag, "mp_rank_00_model_states.pt")
    for rank in range(2):
        save(zero_state(2, 2), tag, f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    write("global_step20", "deepspeed", "zero2", "latest")
    write("#!/usr/bin/env python\n", "deepspeed", "zero2", "zero_to_fp32.py")

    tag = os.path.join("deepspeed", "zero3", "global_step5")
    for rank in range(2):
        save(deepspeed_state(5, 2, 1, 3, ["w0"]), tag, f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        save(zero_state(3, 2), tag, f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    write("global_step5", "deepspeed", "zero3", "latest")

    # runtime/zero/mics.py: the first group of ranks saves for all.
    tag = os.path.join("deepspeed", "mics", "global_step5")
    for rank in range(2):
        config = {"zero_optimization": {"stage": 3, "mics_shard_size": 2}}
        state = deepspeed_state(5, 4, 1, 3, ["w0"], ds_config=config)
        save(state, tag, f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        save(zero_state(3, 2), tag, f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")

    save(deepspeed_state(3, 1, 1, 0, ["w0"]), "deepspeed", "stage0", "global_step3", "mp_rank_00_model_states.pt")

    tag = os.path.join("deepspeed", "moe", "global_step4")
    save(deepspeed_state(4, 2, 1, 1, ["w0"], num_experts=[2]), tag, "mp_rank_00_model_states.pt")
    for expert in range(2):
        save({"w": values(2, 2)}, tag, f"layer_0_expert_{expert}_mp_rank_00_model_states.pt")
        save({"optimizer": None}, tag, f"expp_rank_{expert}_mp_rank_00_optim_states.pt")
    for rank in range(2):
        save(zero_state(1, 2), tag, f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")

    tag = os.path.join("deepspeed", "pipeline", "global_step6")
    for mp in range(2):
        names = [f"{2 * mp}.weight"]
        save(deepspeed_state(6, 1, 2, 1, names, module=False), tag, f"mp_rank_{mp:02d}_model_states.pt")
        save(zero_state(1, 1), tag, f"zero_pp_rank_0_mp_rank_{mp:02d}_optim_states.pt")
    for layer in [0, 2]:
        save({"weight": values(2, 2)}, tag, f"layer_{layer:02d}-model_00-model_states.pt")

    # checkpoint/ds_to_universal.py.
    tag = os.path.join("deepspeed", "universal", "global_step10_universal")
    save(deepspeed_state(10, 2, 1, 2, ["w0", "w1"]), tag, "mp_rank_00_model_states.pt")
    for name in ["w0", "w1"]:
        for part in ["fp32", "exp_avg", "exp_avg_sq"]:
            save({"param": values(2, 2)}, tag, "zero", name, f"{part}.pt")
        save(torch.tensor(10.0), tag, "zero", name, "step.pt")
    save({"param_groups": []}, tag, "zero", "optimizer_state.pt")
    write("global_step10_universal", "deepspeed", "universal", "latest_universal")


def megatron_files():
    # training/checkpointing.py, get_checkpoint_name and generate_state_dict.
    args = argparse.Namespace(
        tensor_model_parallel_size=2,
        pipeline_model_parallel_size=2,
        expert_model_parallel_size=1,
        use_distributed_optimizer=True,
        no_save_optim=None,
        ckpt_format="torch",
    )
    for tp in range(2):
        for pp in range(2):
            directory = os.path.join("megatron", "legacy", "iter_0000010", f"mp_rank_{tp:02d}_{pp:03d}")
            state = {"args": args, "checkpoint_version": 3.0, "iteration": 10, "model": {"w": values(2, 2)}}
            save(state, directory, "model_optim_rng.pt")
            save({"param_state": values(4)}, directory, "distrib_optim.pt")
    write("10", "megatron", "legacy", "latest_checkpointed_iteration.txt")

    # core/dist_checkpointing: core.py, save_config; validation.py, save_integrity_manifest.
    for iteration in [20]:
        directory = os.path.join("megatron", "dist", f"iter_{iteration:07d}")
        save_two_ranks(directory, iteration)
        save({"args": args, "iteration": iteration, "checkpoint_version": 3.0}, directory, "common.pt")
        config = {
            "sharded_backend": "torch_dist",
            "sharded_backend_version": 1,
            "common_backend": "torch",
            "common_backend_version": 1,
        }
        write(json.dumps(config), directory, "metadata.json")
        files = {}
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as file:
                files[name] = hashlib.sha256(file.read()).hexdigest()
        write(json.dumps({"algorithm": "sha256", "files": files}, indent=2), directory, "integrity.json")
    write("20", "megatron", "dist", "latest_checkpointed_iteration.txt")


def trainer_files():
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4,
        max_position_embeddings=4, type_vocab_size=1,
    )
    model = BertForSequenceClassification(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("classifier")
    data = [{"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor(n % 2)} for n in range(8)]
    arguments = TrainingArguments(
        output_dir="trainer/run", max_steps=2, save_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        logging_steps=1, disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=data).train()
    # The same with its weights in two files.
    model.save_pretrained("trainer/sharded", max_shard_size=700)
    os.remove("trainer/sharded/config.json")


def accelerate_files():
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration

    torch.manual_seed(7)
    accelerator = Accelerator(
        cpu=True, project_config=ProjectConfiguration(project_dir="accelerate", automatic_checkpoint_naming=True))
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    accelerator.register_for_checkpointing(scheduler)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    accelerator.save_state()


def peft_files():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(7)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), LoraConfig(target_modules=["0"], r=2))
    model.save_pretrained("peft/adapter")
    os.remove("peft/adapter/README.md")


def lightning_files():
    import pytorch_lightning as lightning
    from pytorch_lightning.callbacks import ModelCheckpoint

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch, _):
            return self.layer(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    # A checkpoint holds the absolute path of its directory.
    here = os.getcwd()
    shutil.rmtree("/tmp/samples", ignore_errors=True)
    os.makedirs("/tmp/samples")
    os.chdir("/tmp/samples")
    lightning.seed_everything(7)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 3)), batch_size=1)
    callback = ModelCheckpoint(dirpath="lightning/run", every_n_train_steps=2, save_top_k=-1)
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", callbacks=[callback], logger=False, enable_progress_bar=False,
        default_root_dir="lightning")
    trainer.fit(Model(), data)
    # strategies/fsdp.py, save_checkpoint with state_dict_type="sharded".
    checkpoint = torch.load("lightning/run/epoch=0-step=2.ckpt", weights_only=False)
    for key in ["state_dict", "optimizer_states"]:
        checkpoint.pop(key)
    save_two_ranks("lightning/sharded/epoch=0-step=2.ckpt")
    save(checkpoint, "lightning", "sharded", "epoch=0-step=2.ckpt", "meta.pt")
    os.chdir(here)
    shutil.move("/tmp/samples/lightning", "lightning")


def nemo_files():
    # nemo/lightning/pytorch/callbacks/model_checkpoint.py and nemo/lightning/io/connector.py.
    for name in ["model--val_loss=1.00-step=9-last"]:
        base = os.path.join("nemo", "run", "checkpoints", name)
        save_two_ranks(os.path.join(base, "weights"))
        save({"global_step": 10, "epoch": 0, "pytorch-lightning_version": "2.4.0"}, base, "weights", "common.pt")
        config = {"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch"}
        write(json.dumps(config), base, "weights", "metadata.json")
        write("model: {}\n", base, "context", "model.yaml")
        write("{}", base, "context", "io.json")
    # nemo/core/connectors/save_restore_connector.py.
    for name, mode in [("plain.nemo", "w"), ("packed.nemo", "w:gz")]:
        weights = io.BytesIO()
        torch.save({"w": values(3, 3)}, weights)
        with tarfile.open(path("nemo", name), mode) as archive:
            for member, content in [("./model_config.yaml", b"target: model\n"), ("./model_weights.ckpt", weights.getvalue())]:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def main():
    chosen = sys.argv[1:] or PARTS
    os.makedirs(OUT, exist_ok=True)
    os.chdir(OUT)
    for part in chosen:
        shutil.rmtree(part, ignore_errors=True)
        globals()[f"{part}_files"]()


if __name__ == "__main__":
    main()
