"""Weights sharded over two processes: our part of FSDP, with PyTorch's `fully_shard` and gloo on the CPU.

Accelerate supports FSDP on accelerators only, so its wrapping is replaced by the call that it would make.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from histosynth.config import Settings, load_settings
from histosynth.training.sharding import full_copy, load_optimizer, load_weights, unsharded

CODE = """
import json
import torch
from contextlib import nullcontext
from accelerate.utils import DistributedType
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from histosynth.config import load_settings
from histosynth.diffusion.unet import Stage
from histosynth.training.data.dataset import PatchDataset
from histosynth.store.store import Store
from histosynth.training.diffusion_task import DiffusionTask
from histosynth.training.launch import launch

torch.set_num_threads(1)
data, settings, accelerator = PatchDataset(Store({store!r})), load_settings({config!r}), launch("cpu")


def prepare(module, optimizer):
    names = [name for name, _ in module.named_parameters()]
    for part in [part for part in module.modules() if isinstance(part, Stage)]:
        fully_shard(part)
    fully_shard(module)
    sharded = dict(module.named_parameters())
    optimizer.param_groups[0]["params"] = [sharded[name] for name in names]
    return module, optimizer


def clip(parameters, largest):
    norm = torch.nn.utils.clip_grad_norm_(parameters, largest)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def difference(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one if "qkv.bias" not in name)


plain = DiffusionTask(data, settings=settings, accelerator=accelerator)
accelerator.prepare, accelerator.clip_grad_norm_, accelerator.no_sync = prepare, clip, lambda module: nullcontext()
accelerator.state.distributed_type = DistributedType.FSDP
sharded = DiffusionTask(data, settings=settings, accelerator=accelerator)
for step in range(3):
    plain.step(8 * step), sharded.step(8 * step)
one, other = plain.state(), sharded.state()
resumed = DiffusionTask(data, settings=settings, accelerator=accelerator)
resumed.load_state(one)
plain.step(24), resumed.step(24)
preview, resumed_preview = plain.preview(2), resumed.preview(2)
last = [task.step(32)["loss"] for task in (plain, resumed)]
print(json.dumps({{
    "sharded": all(isinstance(value, DTensor) for value in sharded.emas[0].weights.values()),
    "model": difference(one["model"], other["model"]),
    "ema": difference(one["emas"][0], other["emas"][0]),
    "resumed": difference(plain.state()["emas"][0], resumed.state()["emas"][0]),
    "preview": max(
        int(abs(preview[name].astype(int) - resumed_preview[name].astype(int)).max()) for name in preview
    ),
    "losses": last,
}}))
"""


@pytest.mark.slow
def test_a_model_sharded_over_two_processes_learns_the_same(
    make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path, launcher: Any
) -> None:
    config = tmp_path / "config.toml"
    wider = ["model.channels=24", "train.microbatch=2"]
    config.write_text(load_settings(tiny_settings, overrides=wider).to_toml())
    ended = launcher.finish(launcher.start_code(CODE.format(store=str(make_store()), config=str(config)), processes=2))
    assert [code for code, _, _ in ended] == [0, 0], ended
    result = json.loads(ended[0][1].splitlines()[-1])
    assert result["sharded"] is True
    assert max(result["model"], result["ema"], result["resumed"]) < 5e-6  # 1e-6 was measured
    assert result["preview"] <= 1
    assert result["losses"][1] == pytest.approx(result["losses"][0], rel=1e-5)


def test_plain_tensors_are_copied_and_loaded() -> None:
    linear = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    copy = full_copy({"weights": linear.state_dict(), "optimizer": optimizer.state_dict()})
    assert copy["weights"]["weight"].data_ptr() != linear.weight.data_ptr()
    other = nn.Linear(2, 2)
    second = torch.optim.AdamW(other.parameters())
    load_weights(other.state_dict(), copy["weights"])
    load_optimizer(second, copy["optimizer"])

    with unsharded(other):
        assert torch.equal(other.weight, linear.weight)
    assert torch.equal(second.state[other.weight]["exp_avg"], optimizer.state[linear.weight]["exp_avg"])
