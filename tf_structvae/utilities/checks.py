"""Checks of arguments: each refusal names the argument, the value, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def is_finite(value: Any) -> bool:
    """Whether it is a number, and finite; neither text nor None nor a bool."""
    try:
        return not isinstance(value, (str, bytes, bool)) and math.isfinite(value)
    except TypeError:
        return False


def integer(name: str, value: Any, least: int = 1) -> None:
    """
    Raises:
      ValueError: it is no integer of at least `least`.
    """
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or value < least:
        allowed = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")


def finite(name: str, value: Any) -> None:
    """
    Raises:
      ValueError: it is no finite number.
    """
    if not is_finite(value):
        raise ValueError(f"{name} must be finite, got {value!r}.")


def image_shape(value: Any) -> None:
    """
    Raises:
      ValueError: it is not (H, W, C) with integers of at least 1.
    """
    good = isinstance(value, Sequence) and len(value) == 3
    if not good or not all(hasattr(n, "__index__") and n >= 1 for n in value):
        raise ValueError(f"image_shape must be (H, W, C), integers >= 1, got {value!r}.")


def shape(name: str, given: Any, inner: Sequence[int]) -> None:
    """Refuses what is not [B, *inner], as far as shapes are static.

    Args:
      name: of the argument.
      given: its shape.
      inner: without the batch.

    Raises:
      ValueError: it is of another shape.
    """
    dimensions = None if given is None or getattr(given, "rank", 0) is None else tuple(given)
    if dimensions is None:
        return
    same = len(dimensions) == len(inner) + 1
    if not same or any(
        None not in (d, n) and d != n for d, n in zip(dimensions[1:], inner, strict=False)
    ):
        wanted = ", ".join(["B", *map(str, inner)])
        raise ValueError(f"{name} must be [{wanted}], got {dimensions}.")
