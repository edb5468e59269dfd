"""Checks on a pair of stores, real and synthetic, before they are compared."""

import numpy as np

from histosynth.errors import HistosynthError
from histosynth.store.store import Store


def check_pair(real: Store, fake: Store) -> None:
    """Check that one store holds only real patches, the other only synthetic ones, and that all are of one size.

    Raises:
        HistosynthError: a store holds patches of the other kind, or the patch sizes differ.
    """
    n_real, n_fake = real.column("source").count("real"), len(fake) - fake.column("source").count("real")
    if not n_fake:
        raise HistosynthError(f"--fake {fake.path} holds real patches; swap --real and --fake?")
    if n_fake < len(fake):
        raise HistosynthError(
            f"--fake {fake.path} holds {len(fake) - n_fake} real patches among {len(fake)}; "
            "pass a store of samples only"
        )
    if n_real < len(real):
        raise HistosynthError(
            f"--real {real.path} holds {len(real) - n_real} synthetic patches among {len(real)}; "
            "pass a store made by `histosynth patches`"
        )
    if real.patch_px != fake.patch_px:
        raise HistosynthError(
            f"patch sizes differ: {real.patch_px} px in {real.path}, {fake.patch_px} px in {fake.path}; "
            f"make the real store with --set patches.patch_px={fake.patch_px}"
        )


def median_mpp(store: Store) -> float | None:
    """Return the median microns per pixel of the patches; None where the store states none."""
    stated = [mpp for mpp in store.column("mpp") if mpp is not None]
    return float(np.median(stated)) if stated else None
