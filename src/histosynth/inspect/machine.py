"""What this machine offers: versions, devices, registered components, and whether they work."""

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


def describe_machine() -> dict[str, Any]:
    """Return what decides whether and how fast histosynth runs here, as plain JSON values."""
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
    """Return each device that PyTorch can use; the first is the default of `--device`."""
    import torch

    from histosynth.training.device import has_native_bf16

    devices = {}
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        devices[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    devices["cpu"] = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    for name in devices:
        bf16 = has_native_bf16(torch.device(name))
        devices[name] += ", bf16" if bf16 else ", no native bf16 (fp32 is used)"
    return devices


def _extractors() -> dict[str, str]:
    """Return the status of each extractor.

    Extractors that need no download are built, since only that shows that their weights are the right ones.
    """
    from histosynth.metrics.extractors import DOWNLOADED_BY, extractors, missing_requirement

    statuses = {}
    for name in extractors:
        lack = missing_requirement(name)
        if lack:
            statuses[name] = f"missing: {lack}"
        elif name in DOWNLOADED_BY:
            statuses[name] = f"{DOWNLOADED_BY[name]} is installed; fetches its weights at first use"
        else:
            statuses[name] = _build_status(name)
    return statuses


def _build_status(name: str) -> str:
    from histosynth.metrics.extractors import extractors

    try:
        extractor = extractors[name]("cpu")
    except (HistosynthError, ImportError) as error:
        return f"missing: {error}"
    return f"works: {extractor.dimension} features, weights {extractor.weights_sha256[:12]}"


def _disk() -> dict[str, str]:
    """Return the free space here, and whether temporary files can be written."""
    try:
        with tempfile.TemporaryFile():
            temporary = f"{tempfile.gettempdir()} is writable"
    except OSError as error:
        temporary = f"not writable: {error.strerror}"
    return {"free here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB", "temporary": temporary}
