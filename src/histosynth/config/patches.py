"""Settings of the way from slides to a patch store."""

from typing import Any, Literal

from pydantic import Field, field_validator

from histosynth.config.section import Section


class PatchSettings(Section):
    """`histosynth patches`: which regions become patches, and how they are scaled and normalized."""

    region_px: int = Field(512, ge=8)
    """Side of the region read, in pixels of `region_mpp`."""
    region_mpp: float = Field(0.25, gt=0)
    """Microns per pixel that `region_px` refers to: the field of view is `region_px * region_mpp` on every slide."""
    patch_px: int = Field(128, ge=8)
    """Side of the stored patch: the region is scaled to it by area averaging."""
    read: Literal["base", "best_level"] = "base"
    """What is scaled: `base`, the full resolution; `best_level`, the coarsest level that is finer than the patch."""
    stride: float = Field(1.0, gt=0)
    """Step of the grid in sides of a region: 1 tiles without overlap, 0.5 overlaps by half."""
    cap: int = Field(100, ge=1)
    """At most so many patches a slide, drawn at random (seeded) and spread over all places that pass."""
    tumor_classes: tuple[str, ...] = Field(("Tumor",), min_length=1, strict=False)
    """Names of the outlined classes that are tumor, as the annotation tool wrote them; case does not matter."""
    exclude_classes: tuple[str, ...] = Field((), strict=False)
    """Outlined classes to take away from the tumor, such as `Necrosis`; a file may lack them."""
    outline_origin: Literal["auto", "slide", "bounds"] = "auto"
    """Where outlines count from on a slide with scanned bounds: the corner of the whole `slide` or of its `bounds`.
    `auto`: bounds for GeoJSON, as QuPath writes it by default, slide for all else; an error where that misses."""
    min_tumor: float = Field(0.9, ge=0, le=1)
    """Least share of the region inside the outline."""
    min_tissue: float = Field(0.5, ge=0, le=1)
    """Least share of the region that is tissue."""
    stain: str = "macenko"
    """Stain normalization: `macenko`, `vahadane`, `reinhard`, `none`, or a registered one."""
    stain_target: str = ""
    """Image or patch store to whose colors patches are brought; empty: the target that comes with the method."""
    stain_per: Literal["slide", "patch"] = "slide"
    """One fit a slide, on its pooled tissue pixels, or one a `patch`."""
    held_out: float = Field(0.2, ge=0, lt=1)
    """Share of patients kept from training, drawn by hash within each label."""
    held_out_patients: tuple[str, ...] = Field((), strict=False)
    """Hold out exactly these patients, and draw none."""
    folds: int = Field(0, ge=0)
    """Part the patients into so many folds, by hash within each label, and hold one out; 0: `held_out` decides."""
    fold: int = Field(0, ge=0)
    """The fold held out, from 0 to `folds - 1`."""
    genotype_aliases: bool = True
    """Give glioma genotypes one name each (`IDHC`, `IDH mutant, 1p/19q codeleted` become `IDHmut-codel`)."""
    one_label_per_patient: bool = True
    """A patient with two labels is an error. Set it to false for classes of regions, of which a patient has several."""
    seed: int = Field(0, ge=0)
    """Seed of the draw of patches and of the split."""
    sampling: Literal["grid", "random"] = "grid"
    """`grid`: places on a grid over each outline. `random`: places anywhere inside it (seeded), none overlapping."""
    jitter: float = Field(0.0, ge=0, lt=1)
    """Move each place of the grid at random (seeded) within so much of a step: neighbors stay `1 - jitter` apart."""
    cap_per_patient: int = Field(0, ge=0)
    """At most so many patches a patient, divided evenly among the patient's slides; 0 sets no such limit."""
    quality: bool = True
    """Reject regions that are blurred, nearly blank, over- or underexposed, inked, or crossed by a dark line."""
    min_sharpness: float = Field(0.085, ge=0)
    """Least sharpness: energy of differences over 1 um against 4 um; 1/16 is a smooth slope, 1 is white noise."""
    max_ink: float = Field(0.1, ge=0, le=1)
    """Largest share of a region that may be marker ink."""

    @field_validator("tumor_classes", "exclude_classes", mode="before")
    @classmethod
    def _one_class(cls, given: Any) -> Any:
        """One class needs no brackets."""
        return (given,) if isinstance(given, str) else given
