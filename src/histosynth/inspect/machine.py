"""What this machine offers: versions, devices, parts by name, and whether they work."""

import os
import platform
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from histosynth.errors import HistosynthError
from histosynth.rundir import versions

EXTRAS = ("tensorboard", "timm", "torch_fidelity")


def examine() -> dict[str, Any]:
    """Everything that decides whether and how fast histosynth runs here. Plain JSON values."""
    import openslide

    from histosynth.diffusion.samplers import samplers
    from histosynth.slides.open import readers
    from histosynth.stain import normalizers

    return {
        "versions": versions() | {"openslide library": openslide.__library_version__},
        "platform": platform.platform(),
        "devices": _devices(),
        "readers": list(readers),
        "normalizers": list(normalizers),
        "samplers": list(samplers),
        "extractors": _extractors(),
        "extras": {name: "present" if find_spec(name) else "absent" for name in EXTRAS},
        "disk": _disk(),
    }


def _devices() -> dict[str, str]:
    """Each device that PyTorch can use; the first is the one taken unless `--device` says otherwise."""
    import torch

    from histosynth.training.device import has_native_bf16

    found = {}
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        found[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    found["cpu"] = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    for name in found:
        bf16 = has_native_bf16(torch.device(name))
        found[name] += ", bf16" if bf16 else ", no native bf16 (fp32 is used)"
    return found


def _extractors() -> dict[str, str]:
    """Build each extractor that can be without a download: only that shows that its weights are the right ones."""
    from histosynth.metrics.extractors import FETCHED, extractors, lacking

    found = {}
    for name in extractors:
        lack = lacking(name)
        if lack or name in FETCHED:
            found[name] = (
                f"missing: {lack}" if lack else f"{FETCHED[name]} is installed; fetches its weights at first use"
            )
            continue
        try:
            extractor = extractors[name]("cpu")
            found[name] = f"works: {extractor.dimension} features, weights {extractor.weights_sha256[:12]}"
        except (HistosynthError, ImportError) as error:
            found[name] = f"missing: {error}"
    return found


def _disk() -> dict[str, str]:
    """Free space here, and whether there is a place for temporary files."""
    try:
        with tempfile.TemporaryFile():
            temporary = f"{tempfile.gettempdir()} can be written"
    except OSError as error:
        temporary = f"cannot be written: {error.strerror}"
    return {"free here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB", "temporary": temporary}
