"""Base class of the sections of the settings: frozen, strict, each field documented by its docstring."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LARGEST = 10**15  # more than any count of images or pixels, and exact in floating point
Sizes = tuple[Annotated[int, Field(ge=1)], ...]


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="after")
    def _reject_huge_numbers(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int) and number > _LARGEST for number in numbers):
                raise ValueError(f"{name} is larger than {_LARGEST:.0e}; set a smaller number")
        return self

    def non_default(self, keys: Collection[str]) -> Iterator[tuple[str, Any, str]]:
        """Yield name, value, and default as TOML of each setting among `keys` that differs from its default."""
        for key in keys:
            default = type(self).model_fields[key].default
            if (value := getattr(self, key)) != default:
                yield key, value, str(default).lower()
