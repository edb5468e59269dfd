"""Checks on a pair of stores, real and synthetic, before they are compared."""

import numpy as np

from histosynth.errors import HistosynthError
from histosynth.store.source import REAL, made_by_model
from histosynth.store.store import Store


def check_pair(real: Store, fake: Store) -> None:
    """Check that one store holds only real patches, the other only synthetic ones, and that all are of one size.

    Raises:
        HistosynthError: a store holds patches of the other kind, or the patch sizes differ.
    """
    if not fake.synthetic:
        raise HistosynthError(
            f"--fake {fake.path} holds real patches; swap --real and --fake, or pack the tiles of another generator "
            "with `histosynth pack --synthetic --source NAME`"
        )
    n_real = fake.column("source").count(REAL)
    if 0 < n_real < len(fake):
        raise HistosynthError(
            f"--fake {fake.path} holds {n_real} real patches among {len(fake)}; pass a store of samples only"
        )
    if real.synthetic:
        n_fake = sum(made_by_model(real.manifest, source) for source in real.column("source"))
        raise HistosynthError(
            f"--real {real.path} holds {n_fake} synthetic patches among {len(real)}; "
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
