"""Outputs of the feature extractor for each patch that enters a comparison, by side and label, in the plan's order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histosynth.metrics.extractors import FEATURES
from histosynth.metrics.features import Features
from histosynth.metrics.uncertainty import Units, image_units, patient_units
from histosynth.report.sides import Plan, SideName

Outputs = Mapping[str, Features]  # output -> (n, its width)


@dataclass(frozen=True, kw_only=True)
class Activations:
    """Outputs of the extractor for the first `plan.n[label]` patches of each usable side and label."""

    plan: Plan
    outputs: Mapping[SideName, Mapping[str, Outputs]]

    def of(self, side: SideName, labels: Sequence[str], *, output: str = FEATURES) -> Features:
        """Return one output of these labels of a side, (n, its width), label after label."""
        return Features.concatenate([self.outputs[side][label][output] for label in labels])

    def has(self, output: str) -> bool:
        """Return True if the extractor gives this output."""
        return any(output in outputs for labels in self.outputs.values() for outputs in labels.values())

    def patients(self, side: SideName, labels: Sequence[str]) -> list[str | None]:
        """Return the patient of each row of `of`: None for synthetic patches, and where the store names none."""
        column = self.plan.sides[side].store.column("patient_id")
        return [column[row] for label in labels for row in self.rows(side, label)]

    def labels(self, labels: Sequence[str]) -> list[str]:
        """Return the label of each row of `of`."""
        return [label for label in labels for _ in range(self.plan.n[label])]

    def rows(self, side: SideName, label: str) -> NDArray[np.int64]:
        """Return the rows of the store that these outputs belong to."""
        return self.plan.sides[side].rows[label][: self.plan.n[label]]

    def units(self, side: SideName, labels: Sequence[str]) -> Units:
        """Return the units to resample for an interval: patients of a real side, images of the synthetic side."""
        patients = self.patients(side, labels)
        return image_units(len(patients)) if side == "fake" else patient_units(patients)
