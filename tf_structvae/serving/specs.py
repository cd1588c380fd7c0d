"""Types and shapes of a function's inputs and outputs. Needs no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tf_structvae.serving.errors import invalid


@dataclass(frozen=True)
class Spec:
    """Type and shape of a named tensor; None is a size that is not fixed, or a rank that is not.

    Attributes:
      dtype: TensorFlow's name of the type, such as "float32" or "string".
      shape: its sizes.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def row_size(self) -> int:
        """Numbers a row (all but the first dimension) at least holds."""
        return math.prod(size or 1 for size in (self.shape or ())[1:])

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape may be given."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for size, wanted in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """Named inputs and outputs of one function."""

    inputs: dict[str, Spec]
    outputs: dict[str, Spec]

    @property
    def row_size(self) -> int:
        """Numbers in one row of all outputs together."""
        return sum(spec.row_size for spec in self.outputs.values())


def numpy_type(spec: Spec) -> np.dtype:
    """The type an input's array must have; strings are objects of bytes."""
    return np.dtype(object if spec.dtype == "string" else spec.dtype)


def find(signatures: Mapping[str, Signature], name: str) -> Signature:
    """A signature by its name.

    Raises:
      RequestError: 400, there is none.
    """
    if name not in signatures:
        raise invalid(
            f'Serving signature name: "{name}" not found in signature def; there are: '
            f"{', '.join(sorted(signatures))}."
        )
    return signatures[name]


def rows(arrays: Mapping[str, np.ndarray]) -> int:
    """The number of rows of a request's arrays; one if none has any."""
    return max((len(array) for array in arrays.values() if array.ndim), default=1)
