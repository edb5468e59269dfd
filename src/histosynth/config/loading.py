"""From presets, TOML files and `section.key=value` to settings; what is wrong is told in one line."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from histosynth.config.settings import Settings
from histosynth.errors import HistosynthError, did_you_mean


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
            f"no preset and no file '{name}'{did_you_mean(name, known)}; give a TOML file or one of: {', '.join(known)}"
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
    return did_you_mean(str(location[-1]), known) or f"; known here: {', '.join(known)}"
