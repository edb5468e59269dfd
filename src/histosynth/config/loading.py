"""Load settings from presets, TOML files and `section.key=value`; each error is one line."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from histosynth.config.settings import Settings
from histosynth.errors import HistosynthError, did_you_mean
from histosynth.json_files import read_text


def presets() -> list[str]:
    """Return the names of the presets in the package."""
    return sorted(
        p.name.removesuffix(".toml") for p in files("histosynth.presets").iterdir() if p.name.endswith(".toml")
    )


def load_settings(config: str | Path | Settings | None = None, *, overrides: Iterable[str] = ()) -> Settings:
    """Load settings, then apply the overrides.

    Args:
        config: name of a preset, path of a TOML file, or settings; omitted values keep their default.
        overrides: each `section.key=value`, with the value as TOML (`model.channel_mult=[1, 2]`) or as bare text.

    Raises:
        HistosynthError: the preset or file does not exist, the TOML is invalid, a key is unknown, or a value is out of
            range.
    """
    # Settings before the overrides
    if isinstance(config, str | Path):
        where, tree = f"config '{config}'", _read(config)
    else:
        where, tree = "settings", (config or Settings()).model_dump()
    # Overrides
    for override in overrides:
        key, separator, text = override.partition("=")
        parts = key.strip().split(".")
        if not separator or len(parts) != 2:
            raise HistosynthError(
                f"--set {override} is not of the form section.key=value; write, for example, --set patches.cap=50"
            )
        section = tree.setdefault(parts[0], {})
        if not isinstance(section, dict):
            raise HistosynthError(f"{where}: '{parts[0]}' must be a table; write [{parts[0]}]")
        section[parts[1]] = _parse(text.strip())
    return _validate(tree, where)


def settings_from_toml(text: str, *, where: str) -> Settings:
    """Parse settings from TOML text; `where` names the source in errors."""
    return _validate(_loads(text, where), where)


def _read(config: str | Path) -> dict[str, Any]:
    name = str(config)
    if name in presets():
        return _loads(files("histosynth.presets").joinpath(f"{name}.toml").read_text("utf-8"), f"preset '{name}'")
    path = Path(config)
    if not path.is_file():
        known = presets()
        raise HistosynthError(
            f"'{name}' is neither a preset nor a file{did_you_mean(name, known)}; pass a TOML file or one of: "
            f"{', '.join(known)}"
        )
    return _loads(read_text(path), f"config '{path}'")


def _loads(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise HistosynthError(f"{where} is not valid TOML: {error}") from error


def _parse(text: str) -> Any:
    """Parse a TOML value; other text is used as it is (`--set sample.sampler=ddim` needs no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _validate(tree: Mapping[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise HistosynthError(f"{where}: unknown setting '{key}'{_hint(first['loc'])}") from error
        if first["type"] == "value_error":  # raised by a validator of a `Section`, with its own message
            raise HistosynthError(f"{where}: {key and f'{key}: '}{first['ctx']['error']}") from error
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise HistosynthError(f"{where}: {key} = {first['input']!r:.60}: {message}") from error


def _hint(location: tuple[int | str, ...]) -> str:
    """Suggest the nearest known name for the unknown one, or list all names if none is near."""
    known = list(Settings.model_fields)
    if len(location) > 1:
        known = list(type(getattr(Settings(), str(location[0]))).model_fields)
    return did_you_mean(str(location[-1]), known) or f"; known settings: {', '.join(known)}"
