"""Base class of the sections of the settings: frozen, strict, each field documented by its docstring."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Sizes = tuple[Annotated[int, Field(ge=1)], ...]


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def non_default(self, keys: Collection[str]) -> Iterator[tuple[str, Any, str]]:
        """Yield name, value, and default as TOML of each setting among `keys` that differs from its default."""
        for key in keys:
            default = type(self).model_fields[key].default
            if (value := getattr(self, key)) != default:
                yield key, value, str(default).lower()
