"""Settings: frozen, validated, written in TOML, overridden by `section.key=value`. Unknown keys name the nearest one.

Each section belongs to one step of the way from slide to report. The defaults are the ones we recommend; `presets/`
holds the named sets: `demo` (minutes on a laptop), `paper` (ADM-128 after Azadi Moghadam et al. 2023), and both for its
baseline, a progressive GAN: `progan-demo`, `progan-paper`.
"""

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from histosynth.errors import HistosynthError, nearest

Sizes = tuple[Annotated[int, Field(ge=1)], ...]


class Section(BaseModel):
    """One table of the TOML file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def changed(self, keys: Collection[str]) -> Iterator[tuple[str, Any, str]]:
        """Those of these settings that are not at their default: name, value, and the default as TOML has it."""
        for key in keys:
            default = type(self).model_fields[key].default
            if (given := getattr(self, key)) != default:
                yield key, given, str(default).lower()


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
    one_label_a_patient: bool = True
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


class ModelSettings(Section):
    """The network: what is not `kind` describes the U-Net of Dhariwal & Nichol (2021), `[gan]` the progressive GAN.
    Image size and number of labels come from the store."""

    kind: Literal["unet", "progan"] = "unet"
    """`unet`: a diffusion model. `progan`: the baseline, a progressive GAN with a projection discriminator."""
    channels: int = Field(128, ge=8)
    """Channels of the first level."""
    channel_mult: Sizes = Field((1, 1, 2, 3, 4), min_length=1, strict=False)
    """Channels of each level, as multiples of `channels`."""
    blocks: int = Field(2, ge=1)
    """Residual blocks a level."""
    attention_px: Sizes = Field((32, 16, 8), strict=False)
    """Feature-map sides at which attention acts."""
    heads: int = Field(4, ge=1)
    """Attention heads, where `head_channels` is 0."""
    head_channels: int = Field(0, ge=0)
    """Channels a head; 0 leaves it to `heads`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the residual blocks."""
    stem: int = Field(1, ge=1)
    """Side of the pixel block folded into channels before the first convolution (1: none)."""
    checkpoint: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""


HEEDED_BY = {
    **dict.fromkeys(("schedule", "zero_terminal_snr", "timesteps", "prediction", "variance"), "ddpm"),
    **dict.fromkeys(("weighting", "p2_k", "p2_gamma", "min_snr_gamma"), "ddpm"),
    **dict.fromkeys(("sigma_data", "log_sigma_mean", "log_sigma_std"), "edm"),
    "flow_time": "flow",
}
"""Settings of `DiffusionSettings` that one process alone heeds."""


class DiffusionSettings(Section):
    """The process and what the network learns of it."""

    process: Literal["ddpm", "edm", "flow"] = "edm"
    """`edm`: continuous sigma, preconditioned (Karras et al. 2022); keeps its colors. `ddpm`: discrete time (Ho et al.
    2020), as in the paper. `flow`: a straight path from data to noise, the network predicts its velocity (rectified
    flow, Liu et al. 2022)."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule of `ddpm`."""
    zero_terminal_snr: bool = False
    """Rescale the schedule of `ddpm` so that no signal is left at its last timestep (Lin et al. 2024), where sampling
    begins. The noise tells nothing of the image there, so it needs `prediction` `v` or `x0`; and `p2` and `min_snr`
    weigh that timestep 0, `uniform` does not."""
    timesteps: int = Field(1000, ge=2)
    """Number of training timesteps of `ddpm`."""
    prediction: Literal["epsilon", "x0", "v"] = "epsilon"
    """What the network of `ddpm` predicts: the noise, the clean image, or the velocity between the two (Salimans & Ho
    2022). `p2` and `min_snr` weigh the same error alike whichever it is."""
    variance: Literal["small", "large", "learned"] = "small"
    """Variance of a `ddpm` sampler's step: that of the posterior, that of the forward step, or `learned` between the
    two by three more channels and the hybrid loss (Nichol & Dhariwal 2021)."""
    weighting: Literal["p2", "min_snr", "uniform"] = "p2"
    """Loss weights of `ddpm`: `p2` (Choi et al. 2022), `min_snr` (Hang et al. 2023), or `uniform`, the plain mean
    square error of what the network predicts. `edm` has its own, `flow` none."""
    p2_k: float = Field(1.0, gt=0)
    """k of the P2 weighting."""
    p2_gamma: float = Field(0.5, ge=0)
    """Gamma of the P2 weighting; 0 switches it off."""
    min_snr_gamma: float = Field(5.0, gt=0)
    """Gamma of the min-SNR weighting: the signal-to-noise ratio at which the weight of the clean image's error ends."""
    sigma_data: float = Field(0.5, gt=0)
    """Standard deviation of the pixels in [-1, 1], for `edm`."""
    log_sigma_mean: float = -1.2
    """Mean of log sigma in training, for `edm`."""
    log_sigma_std: float = Field(1.2, gt=0)
    """Standard deviation of log sigma in training, for `edm`."""
    flow_time: Literal["uniform", "logit_normal"] = "logit_normal"
    """Times in training, for `flow`: `uniform`, or most in the middle of the path (Esser et al. 2024)."""

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        """What another process alone heeds must be left at its default, else it would be passed over in silence."""
        for name, given, default in self.changed(HEEDED_BY):
            if HEEDED_BY[name] != self.process:
                raise ValueError(
                    f"process '{self.process}' does not heed {name} = {given}; set "
                    f"diffusion.process={HEEDED_BY[name]}, or diffusion.{name}={default}"
                )
        return self


LOSS_HEEDED_BY = {**dict.fromkeys(("gp_lambda", "drift"), "wgan_gp"), "r1_gamma": "r1"}
"""Settings of `GanSettings` that one loss alone heeds."""


class GanSettings(Section):
    """The progressive GAN (`model.kind = "progan"`): Karras et al. 2018, told the label as Miyato & Koyama 2018 do."""

    latent: int = Field(512, ge=1)
    """Size of the latent."""
    width: int = Field(512, ge=1)
    """Channels of the small levels."""
    full_width_px: int = Field(32, ge=4)
    """Side up to which levels have `width` channels; above it they are halved with every doubling."""
    stable_images: int = Field(600_000, ge=1)
    """Images on which each level trains once it is there in full: 4 px first, then twice the side each time."""
    fade_images: int = Field(600_000, ge=0)
    """Images over which each level but the first is faded in; 0: at once."""
    loss: Literal["wgan_gp", "r1"] = "wgan_gp"
    """`wgan_gp`: Wasserstein with gradient penalty (Gulrajani et al. 2017). `r1`: non-saturating with a penalty on the
    slope at real images (Mescheder et al. 2018)."""
    gp_lambda: float = Field(10.0, ge=0)
    """Weight of the gradient penalty of `wgan_gp`."""
    drift: float = Field(0.001, ge=0)
    """Weight of the squared scores of real images of `wgan_gp`."""
    r1_gamma: float = Field(10.0, ge=0)
    """Gamma of `r1`: half of it weighs the squared slope."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of Adam (betas 0 and 0.99) of both networks; its moments begin anew with each level."""
    ema_halflife: int = Field(11_000, ge=1)
    """Half-life of the averaged generator, in images; a tenth of the images seen where that is less. 11,000 is the
    0.999 a step of Karras et al. at a batch of 16."""

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        """See `DiffusionSettings`."""
        for name, given, default in self.changed(LOSS_HEEDED_BY):
            if LOSS_HEEDED_BY[name] != self.loss:
                raise ValueError(
                    f"loss '{self.loss}' does not heed {name} = {given}; set gan.loss={LOSS_HEEDED_BY[name]}, or "
                    f"gan.{name}={default}"
                )
        return self


class TrainSettings(Section):
    """`histosynth train`. Every length is counted in images seen, so that the batch size changes nothing else."""

    task: Literal["denoiser", "classifier"] = "denoiser"
    """What is trained: the `denoiser` that samples, or a `classifier` of noisy patches that can guide it: the
    downsampling half of the `[model]`, for patches of the size, labels and process of its denoiser."""
    images: int = Field(10_000_000, ge=1)
    """Training stops after so many images."""
    epochs: float = Field(0.0, ge=0)
    """Training stops after so many passes over the patches, where that is earlier; 0 sets no such limit."""
    hours: float = Field(0.0, ge=0)
    """Training stops after so many hours, all calls of the run together; 0 sets no such limit. `lr_decay` does not
    know of it."""
    batch: int = Field(32, ge=1)
    """Images a step, on all processes together."""
    microbatch: int = Field(0, ge=0)
    """Images a forward pass on each process: gradients of several are added up to a step. 0: its share of the batch.
    Where memory runs out it is halved, and that is told. Without dropout it changes results by rounding alone."""
    compile: bool = False
    """Compile the network by `torch.compile`: minutes at the start, faster steps; where that fails, go on without."""
    lr: float = Field(1e-4, gt=0)
    """Learning rate of AdamW after warm-up."""
    lr_decay: Literal["none", "cosine"] = "none"
    """`cosine` lowers the learning rate to zero at the end of training."""
    warmup: int = Field(10_000, ge=0)
    """Images over which the learning rate rises from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    ema_halflife: Sizes = Field((500_000,), min_length=1, strict=False)
    """Half-life of the averaged weights, in images; a tenth of the images seen where that is less. Of several, each has
    weights of its own; the first is what previews show and `sample` takes."""
    label_drop: float = Field(0.1, ge=0, lt=1)
    """Share of labels replaced by the null label, so that sampling can be guided."""
    flips: bool = True
    """Show each patch flipped and turned at random: histology has no up."""
    stain_jitter: float = Field(0.0, ge=0, le=0.5)
    """Show each patch stained otherwise at random: concentrations of hematoxylin and eosin times 1 ± this, plus ± this;
    0.05 is mild, 0.2 strong. A generative model learns the colors it is shown: its samples have the jittered ones."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Autocast type; `auto` takes bf16 where the device computes it natively. `fp16` is for older GPUs; it scales the
    loss."""
    checkpoint_every: int = Field(250_000, ge=1)
    """Images between two checkpoints."""
    keep_states: int = Field(2, ge=1)
    """States to keep, the newest; one is four times as large as the weights, or more with several half-lives."""
    samples_every: int = Field(250_000, ge=1)
    """Images between two sample grids."""
    frechet_every: int = Field(0, ge=0)
    """Images between two quick Fréchet distances to the training patches, by the extractor of `[evaluate]`; the best
    weights are kept as `weights/best-….safetensors`. 0: none. Compare values of one run only."""
    frechet_images: int = Field(500, ge=2)
    """Synthetic images for that, and real ones: few, for speed, so that the value is far above that of many."""
    trackers: tuple[str, ...] = Field(("tensorboard",), strict=False)
    """Where the log goes beside `stats.jsonl`: names of Accelerate's trackers, such as `wandb`, `mlflow`, `trackio`."""
    split: Literal["train", "all"] = "train"
    """Patients to train on. `all` includes the held-out ones: no later figure is honest then."""
    seed: int = Field(0, ge=0)
    """Seed of the weights, the order, the noise."""
    balance: bool = False
    """Show every label equally often, however many patches it has."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Show these labels so many times as often as others, given their numbers: `{ "IDHmut-codel" = 2.0 }`."""
    cache: str = "auto"
    """Where decoded patches are kept. `auto`: in memory up to 268 MB, else in the user's own cache, else (no room,
    and that is told) nowhere. A directory: there. `off`: they are read and decoded for each step."""
    cache_gb: float = Field(100.0, gt=0)
    """The most GB that decoded patches may take in that directory; those used least recently go first."""
    workers: int = Field(0, ge=0)
    """Threads that read and decode patches; 0: one a core, at most 16. They change the speed, never a batch."""

    @field_validator("ema_halflife", "trackers", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        """One needs no brackets."""
        return (given,) if isinstance(given, int | str) else given


class SampleSettings(Section):
    """`histosynth sample`."""

    sampler: str = "dpmpp_2m"
    """`ddpm`, `ddim`, `dpmpp_2m`, `dpmpp_2m_sde`, `heun`, or a registered one."""
    steps: int = Field(20, ge=1)
    """Steps from noise to image: so many network evaluations, for `heun` twice as many less one."""
    spacing: Literal["angle", "schedule"] = "angle"
    """Noise levels of the steps. `angle`: denser towards the image, for few steps; `schedule`: those of the process."""
    eta: float = Field(0.0, ge=0, le=1)
    """Noise that `ddim` puts back in each step: 0 none, 1 as much as `ddpm`. The other samplers have no such choice."""
    guidance: float = Field(1.0, ge=0)
    """Classifier-free guidance: 1 is the plain conditional model, 0 the unconditional one. Any other costs a second
    evaluation at every noise level that is guided."""
    guidance_low: float = Field(0.0, ge=0)
    """Guide only above this noise level, sigma / alpha (Kynkäänniemi et al. 2024)."""
    guidance_high: float = Field(0.0, ge=0)
    """Guide only up to this noise level, sigma / alpha; 0 sets no such limit."""
    clip: Literal["clamp", "dynamic", "none"] = "clamp"
    """What keeps predicted images in [-1, 1]: `clamp` cuts them off; `dynamic` scales an image down by
    `clip_percentile` of its values where that is beyond 1, for strong guidance (Saharia 2022); `none` nothing."""
    clip_percentile: float = Field(99.5, gt=0, le=100)
    """Percentile of `dynamic`, of the magnitudes of an image's values."""
    classifier: str = ""
    """Run or weights file of a classifier (`train.task = "classifier"`) that guides; empty: none does."""
    classifier_scale: float = Field(1.0, ge=0)
    """Strength of classifier guidance: 1 adds the classifier's gradient as Bayes' rule has it."""
    batch: int = Field(16, ge=1)
    """Images at a time; it changes the speed, never an image."""


class EvaluateSettings(Section):
    """`histosynth evaluate`."""

    extractor: str = "auto"
    """`inception`, `efficientnet-lite0`, `dinov2`, `clip`, `timm:MODEL`, `hf-hub:MODEL`, or a registered one. `auto`:
    `inception` where its weights are given or already here, else `efficientnet-lite0`, which needs no download."""
    weights: str = ""
    """File of the extractor's weights; empty: where the extractor itself keeps them."""
    cache: str = "auto"
    """Directory where features are kept for the next evaluation; `auto`: the user's own cache; `off`: nowhere."""
    neighbors: int = Field(3, ge=1)
    """k of improved precision and recall."""
    batch: int = Field(32, ge=1)
    """Images at a time through the extractor."""
    grid: int = Field(24, ge=1)
    """Images a label and side shown in the report."""
    sections: tuple[Literal["color", "morphology", "memorization", "labels", "map"], ...] = Field(
        ("color", "morphology", "memorization", "labels", "map"), strict=False
    )
    """What the report tells beside the main figures: color drift, nuclei, copies of training patches, whether the label
    is recognized and samples are of use, and a map of the features. Leave out what takes too long."""


NOT_HEEDED_BY: Mapping[str, Mapping[str, Collection[str]]] = {
    "unet": {"gan": set(GanSettings.model_fields)},
    "progan": {
        "model": set(ModelSettings.model_fields) - {"kind"},
        "diffusion": set(DiffusionSettings.model_fields),
        "train": {"task", "compile", "lr", "warmup", "weight_decay", "clip", "ema_halflife", "label_drop"},
        "sample": set(SampleSettings.model_fields) - {"batch"},
    },
}
"""Settings, section by section, that a kind of model passes over."""


class StudySettings(Section):
    """`histosynth study create`, which keeps them in `study.toml`; no section of a run's settings."""

    title: str = Field("Real or synthetic?", min_length=1)
    """What readers see above the page."""
    contact: str = ""
    """Whom readers may ask, as the page shows it; empty: whoever sent the link."""
    cases: int = Field(120, ge=2)
    """Cases that count: half real, half synthetic, equally many of each genotype and generator."""
    readers: int = Field(2, ge=1, le=1000)
    """Readers; each reads every case, in an order of their own."""
    practice: int = Field(0, ge=0, multiple_of=2)
    """Practice cases before, half of them real, with the truth shown after each; they do not count."""
    repeats: int = Field(0, ge=0, multiple_of=2)
    """Cases that each reader is shown twice, half of them real, at least a third of the session apart."""
    seed: int = Field(0, ge=0)
    """Seed of the choice of patches and of the orders. Readers must not know it: without `--seed`, one is drawn."""
    margin: float = Field(0.1, gt=0, lt=0.5)
    """Accuracy within 0.5 ± margin counts as equivalent to guessing. Declared before anyone reads."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Level of the tests."""
    allow_training_patients: bool = False
    """Take real cases from patients that the model was trained on, too."""
    jpeg_history: int = Field(0, ge=0, le=100)
    """Quality of the JPEG that every picture goes through, real or synthetic; 0: none."""
    normalize: str = ""
    """Stain normalizer that every picture goes through by itself; empty: colors as the stores have them."""
    valid_days: int = Field(90, ge=1, le=3650)
    """Days until links expire."""
    base_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^/\s]+/?$")
    """Address under which readers reach the page: links begin with it."""


class Settings(Section):
    """All settings of one way from slide to report."""

    patches: PatchSettings = PatchSettings()
    model: ModelSettings = ModelSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    gan: GanSettings = GanSettings()
    train: TrainSettings = TrainSettings()
    sample: SampleSettings = SampleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        """What another kind of model alone heeds must be left at its default."""
        kind = self.model.kind
        for name, keys in NOT_HEEDED_BY[kind].items():
            for key, given, default in getattr(self, name).changed(sorted(keys)):
                other = "progan" if kind == "unet" else "unet"
                raise ValueError(
                    f"model.kind '{kind}' does not heed {name}.{key} = {given}; set model.kind={other}, or "
                    f"{name}.{key}={default}"
                )
        return self

    @property
    def model_role(self) -> str:
        """What is trained: `denoiser`, `classifier`, or the `generator` of a GAN."""
        return "generator" if self.model.kind == "progan" else self.train.task

    def to_toml(self) -> str:
        """The settings as TOML; `load_settings` reads them back unchanged."""
        return tomli_w.dumps(self.model_dump(mode="json"))


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(
        p.name.removesuffix(".toml") for p in files("histosynth.presets").iterdir() if p.name.endswith(".toml")
    )


def load_settings(config: str | Path | Settings | None = None, *, overrides: Iterable[str] = ()) -> Settings:
    """Read settings, then apply the overrides.

    Args:
        config: a preset's name, a TOML path, or settings that are there already; what it leaves out keeps its default.
        overrides: `section.key=value` each, the value as TOML (`model.channel_mult=[1, 2]`) or as bare text.

    Raises:
        HistosynthError: no such preset or file, broken TOML, an unknown key, a value out of range.
    """
    if isinstance(config, str | Path):
        where, tree = f"config '{config}'", _read(config)
    else:
        where, tree = "settings", (config or Settings()).model_dump()
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or len(parts) != 2:
            raise HistosynthError(f"--set {override}: write it as section.key=value, such as --set patches.cap=50")
        section = tree.setdefault(parts[0], {})
        if not isinstance(section, dict):
            raise HistosynthError(f"{where}: '{parts[0]}' must be a table")
        section[parts[1]] = _parse(text.strip())
    return _validate(tree, where)


def study_settings(given: Mapping[str, Any]) -> StudySettings:
    """The settings of a reader study.

    Raises:
        HistosynthError: a value that cannot be.
    """
    try:
        return StudySettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{first['loc'][0]}".replace("_", "-")
        raise HistosynthError(
            f"{option} {first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        ) from error


def settings_from_toml(text: str, *, where: str) -> Settings:
    """Read settings from TOML text; `where` names its origin in errors."""
    return _validate(_loads(text, where), where)


def _read(config: str | Path) -> dict[str, Any]:
    name = str(config)
    if name in presets():
        return _loads(files("histosynth.presets").joinpath(f"{name}.toml").read_text("utf-8"), f"preset '{name}'")
    path = Path(config)
    if not path.is_file():
        known = presets()
        raise HistosynthError(
            f"no preset and no file '{name}'{nearest(name, known)}; give a TOML file or one of: {', '.join(known)}"
        )
    try:
        return _loads(path.read_text("utf-8"), f"config '{path}'")
    except UnicodeDecodeError as error:
        raise HistosynthError(f"config '{path}' is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _loads(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HistosynthError(f"{where} is not valid TOML: {error}") from error


def _parse(text: str) -> Any:
    """A TOML value, or the bare text where it is none (`--set sample.sampler=ddim` needs no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _validate(tree: Mapping[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise HistosynthError(f"{where}: unknown setting '{key}'{_hint(first['loc'])}") from error
        if first["type"] == "value_error":  # what `Section`s find between their settings, in words of their own
            raise HistosynthError(f"{where}: {key and f'{key}: '}{first['ctx']['error']}") from error
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise HistosynthError(f"{where}: {key} = {first['input']!r:.60}: {message}") from error


def _hint(location: tuple[int | str, ...]) -> str:
    """The nearest known name beside the unknown one, and all there are where none is near."""
    known = list(Settings.model_fields)
    if len(location) > 1:
        known = list(type(getattr(Settings(), str(location[0]))).model_fields)
    return nearest(str(location[-1]), known) or f"; known here: {', '.join(known)}"
