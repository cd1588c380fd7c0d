"""What the builders of drawn images share."""

from __future__ import annotations

import dataclasses

import tensorflow_datasets as tfds


@dataclasses.dataclass
class DrawnConfig(tfds.core.BuilderConfig):
    """Image size, number of examples of each split, and seed."""

    height: int = 64
    width: int = 64
    train: int = 10_000
    validation: int = 1_000
    test: int = 2_000
    seed: int = 0


def sized(height: int, width: int, description: str) -> DrawnConfig:
    """A config named after its size."""
    return DrawnConfig(
        name=f"{height}x{width}", height=height, width=width, description=description
    )


def tiny(side: int) -> DrawnConfig:
    """A few small ones, for tests."""
    return DrawnConfig(
        name=f"{side}x{side}_tiny",
        height=side,
        width=side,
        train=256,
        validation=64,
        test=64,
        description="A few small ones, for tests.",
    )
