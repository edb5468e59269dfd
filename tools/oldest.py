"""Do the lower bounds of the dependencies hold? Installs exactly them into `.venv-oldest`, and runs a smoke test.

    python tools/oldest.py            install (about 6 GB), then run the smoke test
    python tools/oldest.py --print    print the pinned requirements, for `pip install -r`
    python tools/oldest.py --without torch,accelerate …    leave packages out, and test only what needs none of them

It is not part of CI, because of the size of PyTorch; run it before a release, and after a change of a bound.
"""

import argparse
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("study", "tensorboard")
TEST_TOOLS = ("hypothesis", "pytest", "httpx")
SMOKE = (
    "tests/store/test_part.py",
    "tests/slides/annotations",
    "tests/study/records",
    "tests/test_config.py",
    "tests/cohort",
)
WITH_TORCH = (
    "tests/store",
    "tests/training/test_checkpoint.py",
    "tests/sampling/test_generate.py",
    "tests/report/test_build.py",
)


def main() -> None:
    """Install the lower bounds and run the smoke test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print the requirements and end")
    parser.add_argument("--without", default="", help="packages to leave out, separated by commas")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-oldest")
    given = parser.parse_args()
    left_out = set(filter(None, given.without.split(",")))
    pinned = oldest(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")), left_out)
    if given.print:
        print("\n".join(pinned))
        return
    venv.create(given.venv, with_pip=True, clear=True)
    python = str(given.venv / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", *pinned)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT))
    run(python, "-m", "pytest", "-q", "-W", "default", *SMOKE, *(() if "torch" in left_out else WITH_TORCH))


def oldest(project: dict, left_out: set[str]) -> list[str]:
    """Return the requirements at their lower bounds, test tools at any version."""
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    pinned = [re.sub(">=", "==", line) for line in wanted]
    kept = [line for line in pinned if re.split(r"[\[=<>]", line)[0] not in left_out]
    return [*kept, *TEST_TOOLS]


def run(*words: str) -> None:
    """Run a command in the repository; end with its exit code if it fails."""
    print("$", *words, flush=True)
    if code := subprocess.run(words, cwd=ROOT, check=False).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
