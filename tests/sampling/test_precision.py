"""Precision of samples and edits: only the networks run in half precision, and the store records it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from histosynth.config import SampleSettings
from histosynth.errors import HistosynthError
from histosynth.sampling import precision as module
from histosynth.sampling.edit import EditOptions, inpaint, interpolate, translate
from histosynth.sampling.fixed_batch import FixedBatch, FixedBatchGuide
from histosynth.sampling.generate import generate
from histosynth.sampling.precision import pick_precision
from histosynth.sampling.sources import Selection
from histosynth.store.store import Store

MakeRun = Callable[..., Path]
CPU = torch.device("cpu")


def sample(run: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Sample two images per label; return what the manifest records of their making."""
    chosen = SampleSettings(**{"steps": 3, **settings})
    generate(run, out=out, settings=chosen, per_label=2, device="cpu", progress=False)
    return dict(json.loads((out / "manifest.json").read_text())["made_with"])


def images(store: Path) -> Any:
    return Store(store).images(range(len(Store(store)))).astype(int)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_device_multiplies_it(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(module, "has_native_bf16", lambda _: native)
    assert pick_precision("auto", CPU) == ("bf16" if native else "fp32")
    assert [pick_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert pick_precision("fp16", torch.device("cuda")) == "fp16"


def test_fp16_on_a_cpu_is_rejected_and_leaves_no_files(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match=r"sample\.precision = fp16 needs a GPU"):
        sample(make_run(), tmp_path / "out", precision="fp16")
    assert not (tmp_path / "out").exists()


def test_samples_in_bf16_are_near_those_in_fp32_and_say_so(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    assert sample(run, tmp_path / "fp32")["precision"] == "fp32"
    assert sample(run, tmp_path / "bf16", precision="bf16")["precision"] == "bf16"
    difference = np.abs(images(tmp_path / "fp32") - images(tmp_path / "bf16"))
    assert 0 < difference.mean() < 2
    with pytest.raises(HistosynthError, match="made with precision = bf16, not fp32"):
        sample(run, tmp_path / "bf16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_the_network_runs_in_half_precision(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    inside: set[torch.dtype] = set()
    outside: set[torch.dtype] = set()
    conv, evaluate, gradient = nn.Conv2d.forward, FixedBatch.evaluate, FixedBatchGuide.gradient

    def convolve(self: nn.Conv2d, x: Tensor) -> Tensor:
        inside.add((y := conv(self, x)).dtype)
        return y

    def predict(self: FixedBatch, x: Tensor, t: Tensor, label: Tensor) -> Any:
        prediction = evaluate(self, x, t, label)
        outside.update({x.dtype, t.dtype, prediction.clean.dtype})
        return prediction

    def guide(self: FixedBatchGuide, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        outside.add((y := gradient(self, x, t, label)).dtype)
        return y

    monkeypatch.setattr(nn.Conv2d, "forward", convolve)
    monkeypatch.setattr(FixedBatch, "evaluate", predict)
    monkeypatch.setattr(FixedBatchGuide, "gradient", guide)
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    sample(make_run(), tmp_path / "out", precision=name)
    assert inside == {dtype}
    assert outside == {torch.float32}


def test_a_classifier_in_fp16_stays_in_fp32() -> None:
    types = [FixedBatchGuide(None, group=8, dtype=dtype).dtype for dtype in module.TYPES.values()]  # type: ignore[arg-type]
    assert types == [torch.float32, torch.bfloat16, torch.float32]


@pytest.mark.parametrize("edit", [translate, interpolate, inpaint])
def test_edits_follow_the_setting_of_the_run(make_run: MakeRun, tmp_path: Path, edit: Any) -> None:
    run = make_run(overrides=("sample.precision=bf16", "sample.batch=5"))
    sample(run, tmp_path / "store")
    selection = Selection(paths=[tmp_path / "store"], patches=["run_0", "run_1"])
    made_with = {}
    for name, precision in (("run's", None), ("fp32", "fp32")):
        options = EditOptions(steps=2, precision=precision, device="cpu", progress=False)  # type: ignore[arg-type]
        edit(run, selection, out=tmp_path / name, options=options)
        made_with[name] = json.loads((tmp_path / name / "manifest.json").read_text())["made_with"]["precision"]
    assert made_with == {"run's": "bf16", "fp32": "fp32"}
    assert 0 < np.abs(images(tmp_path / "run's") - images(tmp_path / "fp32")).mean() < 4
