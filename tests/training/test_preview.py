"""Previews are dealt to the processes, and are the same for any number of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.config import Settings, load_settings

# 140 images of two labels are batches of 64, 64 and 12. Those of each task are counted where they become bytes.
CODE = """
import numpy as np
import torch
from pathlib import Path
from histosynth.config import load_settings
from histosynth.store.store import Store
from histosynth.training import diffusion_task, gan_task
from histosynth.training.data.dataset import PatchDataset
from histosynth.training.launch import launch
accelerator, data = launch("cpu"), PatchDataset(Store(Path({store!r})))
saved = {{}}
for module, task_type in ((diffusion_task, "DiffusionTask"), (gan_task, "GanTask")):
    settings, to_bytes, counts = load_settings(Path({out!r}) / (task_type + ".toml")), module.to_bytes, []
    module.to_bytes = lambda x: (counts.append(len(x)), to_bytes(x))[1]
    task = getattr(module, task_type)(data, settings=settings, accelerator=accelerator)
    generator = torch.Generator().manual_seed(0)
    for weight in task.emas[0].weights.values():
        weight += 0.05 * torch.randn(weight.shape, generator=generator)
    saved |= {{f"{{task_type}} {{label}}": images for label, images in task.preview(70).items()}}
    saved[f"{{task_type}} counts"] = np.array(counts)
np.savez(f"{out}/{{accelerator.process_index}} of {{accelerator.num_processes}}.npz", **saved)
"""


@pytest.mark.slow
def test_previews_are_dealt_and_do_not_depend_on_the_number_of_processes(
    launcher: Any, make_store: Callable[..., Path], tiny_settings: Settings, tmp_path: Path
) -> None:
    both = ["train.batch=24", "train.precision=fp32"]
    gan = ["model.kind=progan", "gan.latent=8", "gan.width=8", "gan.stable_images=96", "gan.fade_images=96"]
    denoiser = load_settings(tiny_settings, overrides=both)
    generator = load_settings(None, overrides=[*gan, *both, "train.images=1200"])
    for name, settings in (("DiffusionTask", denoiser), ("GanTask", generator)):
        (tmp_path / f"{name}.toml").write_text(settings.to_toml())
    code = CODE.format(store=str(make_store()), out=str(tmp_path))
    previews: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for processes in (1, 2, 3):
        ended = launcher.finish(launcher.start_code(code, processes=processes))
        assert [exit_code for exit_code, _, _ in ended] == [0] * processes, ended
        for rank in range(processes):
            previews[rank, processes] = dict(np.load(tmp_path / f"{rank} of {processes}.npz"))
    for task in ("DiffusionTask", "GanTask"):
        counts = {each: preview.pop(f"{task} counts").tolist() for each, preview in previews.items()}
        assert counts == {
            (0, 1): [64, 64, 12], (0, 2): [64, 12], (1, 2): [64], (0, 3): [64], (1, 3): [64], (2, 3): [12]
        }  # fmt: skip
    alone = previews[0, 1]
    assert {name: len(images) for name, images in alone.items()} == {
        f"{task} {label}": 70 for task in ("DiffusionTask", "GanTask") for label in ("dark", "light")
    }
    assert len(np.unique(alone["DiffusionTask dark"], axis=0)) == 70
    for each, preview in previews.items():
        for name, images in alone.items():
            np.testing.assert_array_equal(preview[name], images, err_msg=f"{name}, rank and processes {each}")
