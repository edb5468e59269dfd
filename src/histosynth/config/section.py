"""What every section of the settings is: frozen, strict, each field with its words beside it."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Sizes = tuple[Annotated[int, Field(ge=1)], ...]


class Section(BaseModel):
    """One table of the TOML file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def non_default(self, keys: Collection[str]) -> Iterator[tuple[str, Any, str]]:
        """Those of these settings that are not at their default: name, value, and the default as TOML has it."""
        for key in keys:
            default = type(self).model_fields[key].default
            if (given := getattr(self, key)) != default:
                yield key, given, str(default).lower()
