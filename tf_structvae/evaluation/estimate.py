"""A number with its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean over images, or another number, and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, x: np.ndarray) -> Estimate:
        """From one value an image, [B]; of a single one the error is not known (NaN).

        Args:
          x: [B].

        Raises:
          ValueError: there is no value.
        """
        x = np.asarray(x, np.float64)
        if not len(x):
            raise ValueError("x must hold at least one value, got none.")
        error = np.std(x, ddof=1) / np.sqrt(len(x)) if len(x) > 1 else math.nan
        return cls(float(np.mean(x)), float(error))

    def __str__(self) -> str:
        """The value to the second digit of its error."""
        if not (math.isfinite(self.error) and self.error > 0):
            return f"{self.value:.6g}"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"

    def as_json(self) -> dict[str, float | None]:
        """For a JSON file, which knows no NaN."""
        value, error = (v if math.isfinite(v) else None for v in self)
        return {"value": value, "standard_error": error}

    @classmethod
    def from_json(cls, saved: dict[str, float | None]) -> Estimate:
        """Of what `as_json` made.

        Args:
          saved: from `as_json`.
        """
        value, error = saved["value"], saved["standard_error"]
        return cls(math.nan if value is None else value, math.nan if error is None else error)
