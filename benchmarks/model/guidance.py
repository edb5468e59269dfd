"""Effect of classifier-free guidance on the recognizability of labels, and its cost.

The model generates equal numbers of patches per label at guidance 1, 2 and 4, from the same seeds. The classifier of
the report (`metrics.classifier` on EfficientNet-Lite0), trained on real training patches, measures how many are
recognized as their label. The cost of guidance is measured by the Fréchet distance to as many real training patches,
and by recall, the share of real patches that lie among the synthetic ones.

The model of the demo has nothing to gain; a run with `--config demo --set train.images=800 --set train.warmup=100` has.

No data are required: without --run and --store, the script trains the model of `histosynth demo` (5 minutes). It then
takes 8 minutes on one core. `--quick` takes less than a minute and only shows that the script runs.

    .venv/bin/python benchmarks/model/guidance.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the accuracy at guidance 4 divided by that at 1; `low` and `high` are its 95 %
interval over resampled synthetic patches.
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
    options = parser.parse_args()
    per_label = 8 if options.quick else options.per_label
    extractor = build_extractor("efficientnet-lite0", device="cpu")
    rng = np.random.default_rng(0)

    def labeled(store: Store, rows: np.ndarray, name: str) -> LabeledFeatures:
        features = extract_features(store, rows, extractor=extractor, batch=32, progress=tqdm(disable=True))
        return LabeledFeatures.of(features, [store.column("label")[row] for row in rows], name=name)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run, path = run_and_store(options, folder, sets=("sample.steps=4",) if options.quick else ())
        store = Store(path)
        # Classifier on real patches
        sides = {split: labeled(store, draw(store, split, per_label, rng), split) for split in ("train", "held_out")}
        classifier = fit_classifier(sides["train"], rng=rng, penalties=(DEFAULT_PENALTY,))
        ceiling = measure_accuracy(classifier, sides["held_out"], rng=rng).balanced
        print(f"{per_label} patches per label; real held-out patches recognized: {ceiling.value:.2f}")
        # Samples at each guidance
        correct, accuracies = {}, {}
        settings = training_settings(run).sample
        for guidance in GUIDANCE:
            out = folder / f"samples-{guidance:g}"
            guided = settings.model_copy(update={"guidance": guidance})
            generate(run, out=out, settings=guided, per_label=per_label, device="cpu", progress=False)
            fake = labeled(Store(out), np.arange(len(Store(out))), "synthetic")
            correct[guidance] = classifier.predict(fake.features) == fake.labels
            accuracies[guidance] = measure_accuracy(classifier, fake, rng=rng)
            print(f"| {guidance:g} | {row(accuracies[guidance], sides['train'], fake)} |", flush=True)
    # Ratio with its interval
    n = len(correct[1.0])
    draws = [rng.integers(0, n, n) for _ in range(2000)]
    ratios = [correct[4.0][d].mean() / max(correct[1.0][d].mean(), 1 / n) for d in draws]
    low, high = np.percentile(ratios, [2.5, 97.5])
    result = {"name": "guidance", "ratio": float(correct[4.0].mean() / max(correct[1.0].mean(), 1 / n)),
              "low": float(low), "high": float(high), "unit": "x the labels recognized, guidance 4 over 1",
              "recognized": {f"{g:g}": a.balanced.value for g, a in accuracies.items()},
              "per_label": per_label}  # fmt: skip
    print(json.dumps(result))


def draw(store: Store, split: str, per_label: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `per_label` random rows of each label of a split."""
    return np.concatenate([rng.permutation(store.select(split=split, label=k))[:per_label] for k in store.labels])


def row(accuracy, train: LabeledFeatures, fake: LabeledFeatures) -> str:
    by_label = ", ".join(f"{share:.2f}" for share in accuracy.by_label.values())
    distance = frechet_distance(Statistics.of(train.features), Statistics.of(fake.features))
    recall = precision_recall(train.features, fake.features, neighbors=3).recall
    balanced = accuracy.balanced
    return (
        f"{balanced.value:.2f} ({balanced.low:.2f} to {balanced.high:.2f}) | {by_label} | {distance:.1f} | {recall:.2f}"
    )


if __name__ == "__main__":
    main()
