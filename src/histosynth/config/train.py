"""Settings of training."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from histosynth.config.section import Section, Sizes


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
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field({})
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
