"""Caution about a store of which only a part was normalized: colors then differ by status, not by tissue."""

from collections import Counter

from histosynth.normalization.staining import NORMALIZED
from histosynth.store.store import Store

_FEW = 0.01  # of the patches; blank ones cannot be normalized, and hardly show it


def mixed_colors(store: Store) -> str | None:
    """Return a sentence on a store that mixes raw and normalized patches, or methods; None for any other store."""
    statuses = Counter(status for status in store.column("stain") if status is not None)
    normalized = {status: count for status, count in statuses.items() if status.split(":")[0] == NORMALIZED}
    raw = statuses.total() - sum(normalized.values())
    minor = raw + sum(normalized.values()) - max(normalized.values(), default=0)
    if not normalized or minor <= _FEW * statuses.total():
        return None
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    if raw <= _FEW * statuses.total():
        return f"Different methods normalized the patches of {store.path.name} ({counts}): their colors may differ."
    return (
        f"{raw / statuses.total():.0%} of the patches of {store.path.name} kept their raw colors ({counts}): a model "
        "learns both kinds, and distances measure them; normalize with --fallback reinhard, or leave the raw ones out."
    )
