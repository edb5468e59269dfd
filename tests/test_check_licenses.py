"""The license check rejects planted packages with strong copyleft, or without a license, and nothing else."""

import runpy
from importlib import metadata
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "check_licenses.py"))


def plant(folder: Path, name: str, *fields: str) -> None:
    """Write the metadata of a package."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    text = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *fields))
    (info / "METADATA").write_text(f"{text}\n\nSome text.\n")


def findings(folder: Path) -> list[str]:
    """Check the packages planted in a folder."""
    return list(TOOL["findings_of"](metadata.distributions(path=[str(folder)])))


@pytest.mark.parametrize(
    "field",
    [
        "License-Expression: GPL-3.0-or-later",
        "License-Expression: MIT AND GPL-2.0-only",
        "License-Expression: GPL-2.0-only WITH LLVM-exception",
        "License-Expression: (MIT OR Apache-2.0) AND AGPL-3.0-only",
        "License-Expression: MIT MIT",
        "License-Expression: MIT OR",
        "License: GPL",
        "License: __import__('os').abort()",
        "License: MIT-like, but not for clinical use",
        "License: UNKNOWN",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "Classifier: License :: Other/Proprietary License",
        "Classifier: License :: OSI Approved",
        "Classifier: Programming Language :: Python",
    ],
)
def test_other_licenses_are_rejected(tmp_path: Path, field: str) -> None:
    plant(tmp_path, "planted", field)
    plant(tmp_path, "harmless", "License-Expression: MIT")
    (line,) = findings(tmp_path)
    assert line.startswith("planted 1.0: license not allowed: ")


def test_all_classifiers_apply(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "planted",
        "Classifier: License :: OSI Approved :: MIT License",
        "Classifier: License :: OSI Approved :: GNU Affero General Public License v3",
    )
    assert len(findings(tmp_path)) == 1


@pytest.mark.parametrize(
    "field",
    [
        "License-Expression: MIT",
        "License-Expression: Apache-2.0 WITH LLVM-exception AND BSD-3-Clause",
        "License-Expression: LGPL-2.1-only AND (BSD-3-Clause OR GPL-2.0-only)",
        "License: Apache 2.0",
        "License: MIT License\n        \n        Copyright (c) the authors",
        "Classifier: License :: OSI Approved :: BSD License",
        "Classifier: License :: OSI Approved\nLicense: MIT",
    ],
)
def test_listed_licenses_pass(tmp_path: Path, field: str) -> None:
    plant(tmp_path, "planted", field)
    assert findings(tmp_path) == []


def test_proprietary_packages_pass_by_name_with_any_cuda_version(tmp_path: Path) -> None:
    proprietary = "License-Expression: LicenseRef-NVIDIA-Proprietary"
    for name in ("nvidia-cudnn-cu12", "nvidia_cudnn_cu13", "nvidia-cublas", "nvidia-clara"):
        plant(tmp_path, name, proprietary)
    (line,) = findings(tmp_path)
    assert line.startswith("nvidia-clara 1.0: ")


@pytest.mark.parametrize(
    ("requirement", "rejected"),
    [("krippendorff; extra == 'dev'", False), ("krippendorff; extra == 'study'", True), ("helper[all]", True)],
)
def test_packages_for_development_are_not_for_users(tmp_path: Path, requirement: str, rejected: bool) -> None:
    plant(tmp_path, "histosynth", "License-Expression: Apache-2.0", f"Requires-Dist: {requirement}")
    plant(tmp_path, "helper", "License-Expression: MIT", "Requires-Dist: Krippendorff; extra == 'all'")
    plant(tmp_path, "krippendorff", "License-Expression: GPL-3.0-or-later")
    assert len(findings(tmp_path)) == rejected


def test_extras_for_users_and_for_development_are_all_extras() -> None:
    extras = set(metadata.metadata("histosynth").get_all("Provides-Extra") or ())
    assert extras == {*TOOL["USER_EXTRAS"], "bench", "dev"}
