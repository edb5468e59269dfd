"""Settings of training."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from histosynth.config.section import Section, Sizes


class TrainSettings(Section):
    """`histosynth train`. All lengths count images seen, so that they do not depend on the batch size."""

    task: Literal["denoiser", "classifier"] = "denoiser"
    """Model to train: the `denoiser`, which generates images, or a `classifier` of noisy patches, which can guide it.
    The classifier is the downsampling half of the `[model]`, with the patch size, labels and process of its
    denoiser."""
    images: int = Field(10_000_000, ge=1)
    """Number of images after which training stops."""
    epochs: float = Field(0.0, ge=0)
    """Number of passes over the patches after which training stops, if that is earlier; 0: no limit."""
    hours: float = Field(0.0, ge=0)
    """Number of hours after which training stops, summed over all calls of the run; 0: no limit. `lr_decay` does not
    take it into account."""
    batch: int = Field(32, ge=1)
    """Images per step, over all processes."""
    microbatch: int = Field(0, ge=0)
    """Images per forward pass on each process; gradients are accumulated over a step. 0: the process's share of the
    batch. If memory runs out, it is halved and this is reported. Without dropout it affects results only by
    rounding."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the network with `torch.compile`: minutes at the start, faster steps. If compilation fails, training
    continues without it. `auto` compiles on CUDA for at least half a million images, as fewer may take less time
    than the compilation, and not with `--deterministic`."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` takes orthogonal steps (Jordan et al. 2024) for the convolutions and matrices inside the network, and
    those of AdamW for its first and last layer, embeddings, gains and biases."""
    lr: float = Field(1e-4, gt=0)
    """Learning rate after warm-up. The sizes of steps match, so `muon` and `adamw` need similar ones."""
    lr_decay: Literal["none", "cosine", "linear"] = "none"
    """Decreases the learning rate to zero at the end of training: `cosine` by half a cosine, `linear` in a straight
    line after 40 % of the images."""
    warmup: int = Field(10_000, ge=0)
    """Images over which the learning rate rises from zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Maximum norm of the gradient."""
    ema_halflife: Sizes = Field((500_000,), min_length=1, strict=False)
    """Half-life of the averaged weights, in images, limited to one tenth of the images seen. With several half-lives,
    each has its own weights; previews and `sample` use the first."""
    label_drop: float = Field(0.1, ge=0, lt=1)
    """Share of labels replaced by the null label, so that sampling can be guided."""
    flips: bool = True
    """Flip and rotate each patch at random; histology has no preferred orientation."""
    stain_jitter: float = Field(0.0, ge=0, le=0.5)
    """Random variation of the stain of each patch: concentrations of hematoxylin and eosin times 1 ± this value, plus ±
    this value; 0.05 is mild, 0.2 strong. A generative model reproduces its training colors, so its samples have this
    variation, too."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Autocast type; `auto` uses bf16 if the device supports it natively. `fp16` is for older GPUs and uses loss
    scaling."""
    checkpoint_every: int = Field(250_000, ge=1)
    """Images between two checkpoints."""
    keep_states: int = Field(2, ge=1)
    """Number of newest training states to keep; one is four times as large as the weights, or more with several
    half-lives."""
    samples_every: int = Field(250_000, ge=1)
    """Images between two sample grids."""
    frechet_every: int = Field(0, ge=0)
    """Images between two quick Fréchet distances to the training patches, with the extractor of `[evaluate]`; the best
    weights are stored as `weights/best-….safetensors`. 0: none. Only values within one run are comparable."""
    frechet_images: int = Field(500, ge=2)
    """Number of synthetic and of real images for this distance: few, for speed, so the value is far above that of many
    images."""
    trackers: tuple[str, ...] = Field(("tensorboard",), strict=False)
    """Destinations of the log in addition to `stats.jsonl`: names of Accelerate's trackers, such as `wandb`, `mlflow`,
    `trackio`."""
    split: Literal["train", "all"] = "train"
    """Patients to train on. `all` includes held-out patients, which makes any later evaluation invalid."""
    seed: int = Field(0, ge=0)
    """Seed of the weights, the order of patches, and the noise."""
    balance: bool = False
    """Present all labels equally often, independent of their number of patches."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field({})
    """Factors by which labels are presented more often than others, relative to their numbers of patches:
    `{ "IDHmut-codel" = 2.0 }`."""
    cache: str = "auto"
    """Location of decoded patches. `auto`: in memory up to 268 MB, otherwise in the user's cache directory; if that has
    no space, there is no cache and this is reported. A path: that directory. `off`: patches are read and decoded for
    each step. Decoded patches are also kept on the GPU if they take up to a quarter of its free memory."""
    cache_gb: float = Field(100.0, gt=0)
    """Maximum size of decoded patches in that directory, in GB; the least recently used are removed first."""
    workers: int = Field(0, ge=0)
    """Threads that read and decode patches; 0: one per core, at most 16. They affect speed only, never a batch."""

    @field_validator("ema_halflife", "trackers", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """Accept a single value without brackets."""
        return (value,) if isinstance(value, int | str) else value
