"""Settings of the extraction of patches from slides."""

from typing import Any, Literal

from pydantic import Field, field_validator

from histosynth.config.section import Section


class PatchSettings(Section):
    """`histosynth patches`: selection of regions, their scaling and normalization."""

    region_px: int = Field(512, ge=8)
    """Side of the region that is read, in pixels of `region_mpp`."""
    region_mpp: float = Field(0.25, gt=0)
    """Microns per pixel to which `region_px` refers: the field of view is `region_px * region_mpp` on every slide."""
    patch_px: int = Field(128, ge=8)
    """Side of the stored patch: the region is scaled to it by area averaging."""
    read: Literal["base", "best_level"] = "base"
    """Level that is read and scaled: `base`, the full resolution; `best_level`, the coarsest level finer than the
    patch."""
    stride: float = Field(1.0, gt=0)
    """Step of the grid, relative to the side of a region: 1 tiles without overlap, 0.5 overlaps by half."""
    cap: int = Field(100, ge=1)
    """Maximum number of patches per slide, drawn at random (seeded) and distributed over all regions that qualify."""
    tumor_classes: tuple[str, ...] = Field(("Tumor",), min_length=1, strict=False)
    """Annotation classes that are tumor, as named by the annotation tool; not case-sensitive."""
    exclude_classes: tuple[str, ...] = Field((), strict=False)
    """Annotation classes to subtract from the tumor, such as `Necrosis`; a file may lack them."""
    outline_origin: Literal["auto", "slide", "bounds"] = "auto"
    """Origin of outline coordinates on a slide with scanned bounds: the corner of the whole `slide` or of its `bounds`.
    `auto`: bounds for GeoJSON, the default of QuPath, and slide for all other formats; an error if the other origin
    fits the scanned part clearly better."""
    min_tumor: float = Field(0.9, ge=0, le=1)
    """Minimum share of the region inside the outline."""
    min_tissue: float = Field(0.5, ge=0, le=1)
    """Minimum share of the region that is tissue."""
    stain: str = "macenko"
    """Stain normalization: `macenko`, `vahadane`, `reinhard`, `none`, or a registered one."""
    stain_target: str = ""
    """Image or patch store with the target colors of stain normalization; empty: the default target of the method."""
    stain_per: Literal["slide", "patch"] = "slide"
    """Fit the stains once per `slide`, on its pooled tissue pixels, or once per `patch`."""
    stain_fallback: str = ""
    """Method for slides (or patches) that `stain` cannot fit, such as `reinhard`; empty: they keep their raw colors."""
    held_out: float = Field(0.2, ge=0, lt=1)
    """Share of patients held out from training, selected by hash within each label."""
    held_out_patients: tuple[str, ...] = Field((), strict=False)
    """Hold out exactly these patients instead of selecting them by hash."""
    folds: int = Field(0, ge=0)
    """Number of folds into which patients are divided, by hash within each label, with one held out; 0: `held_out`
    applies."""
    fold: int = Field(0, ge=0)
    """The fold that is held out, from 0 to `folds - 1`."""
    genotype_aliases: bool = True
    """Unify names of glioma genotypes (`IDHC`, `IDH mutant, 1p/19q codeleted` become `IDHmut-codel`)."""
    one_label_per_patient: bool = True
    """Treat two labels of one patient as an error. Set it to false if labels are classes of regions, of which a patient
    can have several."""
    seed: int = Field(0, ge=0)
    """Seed of the selection of patches and of the split."""
    placement: Literal["grid", "random"] = "grid"
    """Placement of regions. `grid`: on a grid over each outline. `random`: anywhere inside it (seeded), without
    overlap."""
    jitter: float = Field(0.0, ge=0, lt=1)
    """Random shift (seeded) of each grid position, as a share of the step; neighbors stay `1 - jitter` steps apart."""
    cap_per_patient: int = Field(0, ge=0)
    """Maximum number of patches per patient, divided evenly among the patient's slides; 0: no limit."""
    quality: bool = True
    """Reject regions that are blurred, nearly blank, over- or underexposed, inked, or crossed by a dark line."""
    min_sharpness: float = Field(0.085, ge=0)
    """Minimum sharpness: energy of differences over 1 um divided by that over 4 um; 1/16 for a smooth gradient, 1 for
    white noise."""
    max_ink: float = Field(0.1, ge=0, le=1)
    """Maximum share of a region that is marker ink."""

    @field_validator("tumor_classes", "exclude_classes", mode="before")
    @classmethod
    def _one_class(cls, value: Any) -> Any:
        """Accept a single class without brackets."""
        return (value,) if isinstance(value, str) else value
