"""Which entries of a grid a pixel may depend on: those before it in raster order, and near."""

from __future__ import annotations

import dataclasses
import itertools
import math

from tf_structvae.utilities import checks


@dataclasses.dataclass(frozen=True)
class Window:
    """A neighbourhood on a grid of pixels with channels.

    Attributes:
      grid: pixels along each axis and then channels, (W, C), (H, W, C) or (D, H, W, C).
      radius: r >= 0; a pixel sees those before it among the (2 r + 1)^n around it. 0: none.
    """

    grid: tuple[int, ...]
    radius: int = 1

    def __post_init__(self):
        """
        Raises:
          ValueError: another number of axes, an axis without pixels, or a negative radius.
        """
        grid = tuple(self.grid)
        if not 2 <= len(grid) <= 4 or not all(isinstance(n, int) and n > 0 for n in grid):
            raise ValueError(
                "grid must be 1 to 3 numbers of pixels and then that of channels, all positive, "
                f"got {grid}."
            )
        checks.integer("radius", self.radius, 0)
        object.__setattr__(self, "grid", grid)

    @property
    def space(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self.grid[:-1]

    @property
    def channels(self) -> int:
        """C."""
        return self.grid[-1]

    @property
    def size(self) -> int:
        """N, the number of entries."""
        return math.prod(self.grid)

    @property
    def offsets(self) -> list[tuple[int, ...]]:
        """From a pixel to those before it, J = ((2 r + 1)^n - 1) / 2 of them, in raster order."""
        steps = range(-self.radius, self.radius + 1)
        origin = (0,) * len(self.space)
        return [o for o in itertools.product(steps, repeat=len(self.space)) if o < origin]

    @property
    def neighbours_shape(self) -> tuple[int, ...]:
        """(*space, C, J, C): for each entry its weights of the earlier pixels' channels."""
        return (*self.grid, len(self.offsets), self.channels)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the wavefront t = sum strides * position: each pixel's predecessors are on earlier
        ones."""
        return tuple((self.radius + 1) ** i for i in reversed(range(len(self.space))))
