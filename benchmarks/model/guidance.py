"""Does classifier-free guidance make synthetic patches more recognizable as their label? And at what price?

The model draws as many patches a label at guidance 1, 2 and 4, from the same seeds. The report's classifier
(`metrics.classifier` on EfficientNet-Lite0), trained on real training patches, says how many carry their label. Beside
it, what guidance costs: the Fréchet distance to as many real training patches, and recall, the share of those that lie
among the synthetic ones.

The demo's model leaves nothing to gain; a run of `--config demo --set train.images=800 --set train.warmup=100` does.

Needs nothing: without --run and --store it makes the model of `histosynth demo` itself (5 minutes); then 8 minutes on
one core. `--quick` takes less than one, and shows that it runs.

    .venv/bin/python benchmarks/model/guidance.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the accuracy at guidance 4 over that at 1, `low` and `high` its 95 % interval when
synthetic patches are drawn anew.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from phantom_model import add_options, run_and_store
from tqdm import tqdm

from histosynth.metrics.classifier import DEFAULT_PENALTY, LabeledFeatures, fit_classifier, measure_accuracy
from histosynth.metrics.extraction import extract_features
from histosynth.metrics.extractors import build_extractor
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.manifold import precision_recall
from histosynth.metrics.statistics import Statistics
from histosynth.sampling.generate import generate, training_settings
from histosynth.store.store import Store

GUIDANCE = (1.0, 2.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--per-label", type=int, default=80)
    given = parser.parse_args()
    per_label = 8 if given.quick else given.per_label
    extractor = build_extractor("efficientnet-lite0", device="cpu")
    rng = np.random.default_rng(0)

    def labeled(store: Store, rows: np.ndarray, name: str) -> LabeledFeatures:
        features = extract_features(store, rows, extractor=extractor, batch=32, progress=tqdm(disable=True))
        return LabeledFeatures.of(features, [store.column("label")[row] for row in rows], name=name)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run, path = run_and_store(given, folder, sets=("sample.steps=4",) if given.quick else ())
        store = Store(path)
        sides = {split: labeled(store, some(store, split, per_label, rng), split) for split in ("train", "held_out")}
        classifier = fit_classifier(sides["train"], rng=rng, penalties=(DEFAULT_PENALTY,))
        ceiling = measure_accuracy(classifier, sides["held_out"], rng=rng).balanced
        print(f"{per_label} patches a label; real held-out patches recognized: {ceiling.value:.2f}")
        right, found = {}, {}
        settings = training_settings(run).sample
        for guidance in GUIDANCE:
            out = folder / f"samples-{guidance:g}"
            made_how = settings.model_copy(update={"guidance": guidance})
            generate(run, out=out, settings=made_how, per_label=per_label, device="cpu", progress=False)
            fake = labeled(Store(out), np.arange(len(Store(out))), "synthetic")
            right[guidance] = classifier.predict(fake.features) == fake.labels
            found[guidance] = measure_accuracy(classifier, fake, rng=rng)
            print(f"| {guidance:g} | {row(found[guidance], sides['train'], fake)} |", flush=True)
    n = len(right[1.0])
    draws = [rng.integers(0, n, n) for _ in range(2000)]
    ratios = [right[4.0][d].mean() / max(right[1.0][d].mean(), 1 / n) for d in draws]
    low, high = np.percentile(ratios, [2.5, 97.5])
    result = {"name": "guidance", "ratio": float(right[4.0].mean() / max(right[1.0].mean(), 1 / n)), "low": float(low),
              "high": float(high), "unit": "x the labels recognized, guidance 4 over 1",
              "recognized": {f"{g:g}": a.balanced.value for g, a in found.items()}, "per_label": per_label}  # fmt: skip
    print(json.dumps(result))


def some(store: Store, split: str, per_label: int, rng: np.random.Generator) -> np.ndarray:
    """So many rows of each label of a split, at random."""
    return np.concatenate([rng.permutation(store.select(split=split, label=k))[:per_label] for k in store.labels])


def row(found, train: LabeledFeatures, fake: LabeledFeatures) -> str:
    by_label = ", ".join(f"{share:.2f}" for share in found.by_label.values())
    distance = frechet_distance(Statistics.of(train.features), Statistics.of(fake.features))
    recall = precision_recall(train.features, fake.features, neighbors=3).recall
    balanced = found.balanced
    return (
        f"{balanced.value:.2f} ({balanced.low:.2f} to {balanced.high:.2f}) | {by_label} | {distance:.1f} | {recall:.2f}"
    )


if __name__ == "__main__":
    main()
