"""histosynth: genotype-conditional synthetic histology, from whole-slide images to the evidence."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "HistosynthError": "histosynth.errors",
    "Settings": "histosynth.config",
    "load_settings": "histosynth.config",
    "Store": "histosynth.store.store",
    "extract": "histosynth.patches.extract",
    "train": "histosynth.training.loop",
    "generate": "histosynth.sampling.generate",
    "evaluate": "histosynth.report.build",
    "compare": "histosynth.report.compare.build",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, because importing histosynth must not import torch."""

    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'histosynth' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
