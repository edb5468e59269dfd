"""Two stores side by side, real and synthetic: whether one can be held against the other."""

import numpy as np

from histosynth.errors import HistosynthError
from histosynth.store.store import Store


def check_pair(real: Store, fake: Store) -> None:
    """See that the two stores can stand for real and synthetic patches of one kind.

    Raises:
        HistosynthError: one holds what belongs in the other, or their patches differ in size.
    """
    tissue, made = real.column("source").count("real"), len(fake) - fake.column("source").count("real")
    if not made:
        raise HistosynthError(f"--fake {fake.path} holds real patches; swap --real and --fake?")
    if made < len(fake):
        raise HistosynthError(
            f"--fake {fake.path} holds {len(fake) - made} real patches among {len(fake)}; give samples only"
        )
    if tissue < len(real):
        raise HistosynthError(
            f"--real {real.path} holds {len(real) - tissue} synthetic patches among {len(real)}; "
            "give a store that `histosynth patches` made"
        )
    if real.patch_px != fake.patch_px:
        raise HistosynthError(
            f"patch sizes differ: {real.patch_px} px in {real.path}, {fake.patch_px} px in {fake.path}; "
            f"make the real store with --set patches.patch_px={fake.patch_px}"
        )


def median_mpp(store: Store) -> float | None:
    """Microns per pixel of the patches; None where the store states none."""
    stated = [mpp for mpp in store.column("mpp") if mpp is not None]
    return float(np.median(stated)) if stated else None
