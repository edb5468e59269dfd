"""From a run to a store of synthetic patches. One seed an image: the same seed gives the same image, however made.

The seed also decides the label, `labels[seed mod K]`, so any run of consecutive seeds is balanced. Parts hold a block
of seeds each; under a launcher, processes take the blocks in turn. A seed is in the store or it is not: the same
command again, or one that asks for more, makes only what is missing and takes nothing away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import torch
from tqdm import tqdm

from histosynth.config import SampleSettings, Settings
from histosynth.rundir import versions
from histosynth.sampling.generative_model import GenerativeModel, load_generative_model
from histosynth.sampling.made_with import prepare_store, sha256_of
from histosynth.store.contact_sheet import save_contact_sheet
from histosynth.store.part import Patch, part_path, read_ids, read_part, write_part
from histosynth.store.png import synthetic_mark
from histosynth.store.store import Store, write_manifest
from histosynth.training.checkpoint import Origin, find_weights, read_origin
from histosynth.training.data.dataset import to_bytes
from histosynth.training.launch import broadcast_from_main, launch, main_process_lock, sum_over_processes

_BLOCK = 256  # seeds a part
_SHOWN = 12  # images a label on the contact sheet


@dataclass(frozen=True, kw_only=True)
class SamplingResult:
    """What a call of `generate` did.

    Attributes:
        store: the sample store.
        sheet: its contact sheet.
        images: images in the store.
        made: images made by this call.
        labels: their labels.
        evaluations: of the network, an image.
    """

    store: Path
    sheet: Path
    images: int
    made: int
    labels: list[str]
    evaluations: int


def training_settings(source: Path) -> Settings:
    """The settings that a run (or weights file) was trained with: the defaults for sampling from it."""
    return read_origin(find_weights(source)).settings


def generate(
    source: Path,
    *,
    out: Path,
    settings: SampleSettings,
    per_label: int = 16,
    seed: int = 0,
    labels: Sequence[str] = (),
    device: str | None = None,
    progress: bool = True,
    mark: bool = True,
) -> SamplingResult:
    """Make synthetic patches from the averaged weights of a run.

    Under `torchrun` or `accelerate launch` every process calls this, and gets the same result.

    Args:
        source: a run (its newest weights), or a weights file.
        out: the sample store.
        settings: sampler, steps, guidance, classifier, batch; a GAN heeds `batch` alone.
        per_label: images a label.
        seed: the first seed; image i of all has seed `seed + i`.
        labels: only these labels (none given: all).
        device: name of the device (None: the best there is).
        progress: show a progress bar.
        mark: say inside each image that it is synthetic, and how it was made. Turn it off for a study whose readers
            must not be told; the store still says it.

    Raises:
        HistosynthError: no weights, an unknown label, settings that do not fit the process or each other, a classifier
            that does not fit, a directory that holds something else or samples of other weights or settings.
    """
    accelerator = launch(device)
    weights = find_weights(source)
    torch_device = accelerator.device
    model = load_generative_model(weights, settings, device=torch_device)
    origin = model.origin
    wanted = sorted(set(labels) or origin.labels, key=origin.label_index)
    facts = {"run": origin.run, "images_seen": origin.images, "data_hash": origin.data_hash}
    facts |= {"weights_sha256": sha256_of(weights), "device": torch_device.type}
    made_with = model.made_with(facts) | {"marked": mark}
    marks = _marks(made_with, model.words) if mark else None
    maker = _PatchGenerator(model, torch_device, marks, settings.batch)
    with main_process_lock(accelerator, out):
        if accelerator.is_main_process:
            prepare_store(out, made_with)
        accelerator.wait_for_everyone()
        seeds = range(seed, seed + per_label * len(origin.labels))
        blocks = range(seed // _BLOCK + accelerator.process_index, -(-seeds.stop // _BLOCK), accelerator.num_processes)
        hidden = not (progress and accelerator.is_main_process)
        share = "" if accelerator.num_processes == 1 else f" (1 of {accelerator.num_processes} processes)"
        made = 0
        with tqdm(
            total=_count(seeds, blocks, wanted, origin), unit="img", desc=f"sample{share}", disable=hidden
        ) as bar:
            for block in blocks:
                asked = _asked(seeds, block, wanted, origin)
                path = part_path(out, f"{origin.run}-{block * _BLOCK:010d}")
                there = {_seed_of(name) for name in (read_ids(path) if path.exists() else [])}
                missing = [s for s in asked if s not in there]
                bar.update(len(asked) - len(missing))
                if missing:
                    old = {_seed_of(patch.patch_id): patch for patch in (read_part(path) if there else [])}
                    patches = old | dict(zip(missing, maker.make(missing, bar=bar), strict=True))
                    write_part(path, [patches[s] for s in sorted(patches)], fingerprint=str(made_with))
                made += len(missing)
        made = int(
            sum_over_processes(accelerator, torch.tensor([made], device=torch_device)).item()
        )  # waits for every process
        sheet = out / "contact_sheet.png"
        if accelerator.is_main_process:
            told = {"synthetic": True, "source": origin.run, "weights": str(weights), "made_with": made_with}
            told |= {"evaluations": model.evaluations, "train_split": origin.settings.train.split}
            write_manifest(out, {**told, "versions": versions()})
            store = Store(out)
            groups = {f"{name} (synthetic)": store.images(store.select(label=name)[:_SHOWN]) for name in store.labels}
            save_contact_sheet(sheet, groups, texts=store.mark, columns=_SHOWN)
        images, names = broadcast_from_main(
            accelerator, (len(store), store.labels) if accelerator.is_main_process else None
        )
    return SamplingResult(store=out, sheet=sheet, images=images, made=made, labels=names, evaluations=model.evaluations)


@dataclass(frozen=True)
class _PatchGenerator:
    """Makes images of seeds."""

    model: GenerativeModel
    device: torch.device
    marks: dict[str, str] | None
    batch: int

    @torch.inference_mode()
    def make(self, seeds: Sequence[int], *, bar: "tqdm[Never]") -> Iterator[Patch]:
        """The patches of these seeds, batch by batch."""
        origin, size = self.model.origin, self.batch
        for i in range(0, len(seeds), size):
            batch = seeds[i : i + size]
            label = torch.tensor([s % len(origin.labels) for s in batch], device=self.device)
            x = self.model.images(batch, label)
            for s, image in zip(batch, to_bytes(x), strict=True):
                name = origin.labels[s % len(origin.labels)]
                texts = None if self.marks is None else {**self.marks, "Label": name, "Seed": str(s)}
                yield Patch(
                    patch_id=f"{origin.run}_{s}",
                    image=image,
                    source=origin.run,
                    label=name,
                    mpp=origin.mpp,
                    texts=texts,
                )
            bar.update(len(batch))


def _marks(made_with: dict[str, object], words: str) -> dict[str, str]:
    """What every image of a store says of itself."""
    return {
        **synthetic_mark(str(made_with["run"]), software="histosynth"),
        "Weights": str(made_with["weights_sha256"]),
        "Sampler": words,
    }


def _asked(seeds: range, block: int, labels: Sequence[str], origin: Origin) -> list[int]:
    """The seeds of a block that are asked for."""
    inside = range(max(seeds.start, block * _BLOCK), min(seeds.stop, (block + 1) * _BLOCK))
    return [s for s in inside if origin.labels[s % len(origin.labels)] in labels]


def _count(seeds: range, blocks: range, labels: Sequence[str], origin: Origin) -> int:
    """How many seeds of these blocks are asked for."""
    return sum(len(_asked(seeds, block, labels, origin)) for block in blocks)


def _seed_of(patch_id: str) -> int:
    return int(patch_id.rpartition("_")[2])
