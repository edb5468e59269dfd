"""The content of `report.json`: every result with its n, and what is needed to reproduce it. The keys are stable."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from histosynth.caution import Caution
from histosynth.config import EvaluateSettings
from histosynth.metrics.extractors import FeatureExtractor
from histosynth.report.comparison import Results
from histosynth.report.schema import KIND, SCHEMA_VERSION, ReportFacts
from histosynth.report.sections.section import Section
from histosynth.report.sides import SEED, Plan, Side
from histosynth.rundir import provenance
from histosynth.store.pair import median_mpp
from histosynth.store.store import Store


def record(
    *,
    plan: Plan,
    results: Results,
    sections: Sequence[Section],
    verdict: Sequence[str],
    cautions: Sequence[Caution],
    extractor: FeatureExtractor,
    settings: EvaluateSettings,
    real_hash: str,
) -> dict[str, Any]:
    """Return the content of `report.json`, checked against its schema."""
    real, fake = plan.sides["train"].store, plan.sides["fake"].store
    content = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "verdict": list(verdict),
        "cautions": [asdict(caution) for caution in cautions],
        "sides": {name: _counts(side) for name, side in plan.sides.items()},
        **asdict(results),
        **{section.key: section.facts for section in sections},
        "extractor": {
            "name": extractor.name,
            "title": extractor.title,
            "dimension": extractor.dimension,
            "weights_sha256": extractor.weights_sha256,
            "preprocessing": extractor.preprocessing,
        },
        "settings": {**settings.model_dump(), "subsample_seed": SEED},
        "stores": {"real": _store(real, real_hash), "fake": _store(fake, fake.content_hash())},
        "provenance": provenance(),
    }
    ReportFacts.model_validate(json.loads(json.dumps(content)))
    return content


def _counts(side: Side) -> dict[str, Any]:
    return {
        "patches": sum(map(len, side.rows.values())),
        "patients": side.patients(),
        "labels": {k: {"patches": len(rows), "patients": side.patients(k)} for k, rows in side.rows.items()},
    }


def _store(store: Store, content_hash: str) -> dict[str, Any]:
    return {
        "path": str(store.path),
        "sha256": content_hash,
        "patches": len(store),
        "patch_px": store.patch_px,
        "mpp": median_mpp(store),
        "sources": sorted(set(store.column("source"))),
        "manifest": {key: value for key, value in store.manifest.items() if key != "slides"},
    }


def provenance_tables(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the provenance as small tables of names and values, for the end of the page."""
    tables: dict[str, dict[str, Any]] = {}
    for key, title in (("real", "Real patches"), ("fake", "Synthetic patches")):
        store = content["stores"][key]
        tables[title] = {
            "store": store["path"],
            "SHA-256": store["sha256"],
            "patches": f"{store['patches']:,} of {store['patch_px']} px",
            "microns per pixel": f"{store['mpp']:.3g}" if store["mpp"] else "not stated",
            **human_readable(store["manifest"].get("made_with") or store["manifest"].get("settings") or {}),
        }
    extractor, program = content["extractor"], content["provenance"]
    tables["Measures"] = {
        "extractor": extractor["name"],
        "weights SHA-256": extractor["weights_sha256"],
        "preprocessing": extractor["preprocessing"],
        **human_readable({key: value for key, value in content["settings"].items() if key != "extractor"}),
    }
    tables["Program"] = {
        "command": " ".join(program["argv"]),
        "revision": program["git_revision"] or "installed package",
        "versions": ", ".join(f"{name} {version}" for name, version in program["versions"].items()),
        "machine": f"{program['platform']}, {program['cpus']} CPUs",
    }
    return tables


def human_readable(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return entries of a manifest as text for people."""
    return {key.replace("_", " "): _plain(value) for key, value in facts.items()}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "not set" if value in (None, "") else str(value)
