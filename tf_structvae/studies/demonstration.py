"""What an exported model can do, in three pictures drawn through its signatures alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tf_structvae.distributions import editing
from tf_structvae.figures.edit_sequences import edits_figure
from tf_structvae.figures.interpolation import interpolation_figure
from tf_structvae.figures.page import WIDTH, Page, tile, tiled_height
from tf_structvae.figures.pictures import Row, colorize

NEEDED = ("sample", "decode", "manipulate", "condition")
_ROWS, _COLUMNS = 6, 12  # of samples
_GRID, _CODES = 7, 2  # pictures along a side of an interpolation; latent codes
_EDITED = 3  # latent codes
# Few pixels, known up to a variance, tell a colour; a disc that reaches into a beard or beyond the
# hair asks for what the model has not seen.
_BRUSH, _NOISE_VARIANCE = 0.02, 0.003  # the brush in parts of the shorter side
# Where the seeds of each picture start, so that none repeats another's draws.
_CORNER, _PAINTED = 1000, 3008


class Demonstration:
    """Samples, an interpolation and edits of an exported model with a factor P.

    Args:
      signatures: those of a SavedModel of `export`.
      name: of the model, for the titles.
      seed: of all draws.
      prior: what its z are drawn from, in words.

    Raises:
      ValueError: a signature is missing, as `manipulate` of a standard VAE is, or labels are
        needed.
    """

    def __init__(self, signatures: Any, name: str, seed: int = 0, prior: str = "N(0, I)"):
        missing = [s for s in NEEDED if s not in signatures]
        if missing:
            raise ValueError(
                f"{name} must have the signatures {', '.join(NEEDED)}, which a structured VAE is "
                f"exported with; {', '.join(missing)} is missing."
            )
        inputs = signatures["condition"].structured_input_signature[1]
        if "labels" in inputs:
            raise ValueError(f"{name} must be a model without labels: it draws given a class.")
        self.image_shape: tuple[int, int, int] = tuple(inputs["values"].shape[1:])
        self._signatures, self._name, self._seed = signatures, name, seed
        self._prior = prior

    def samples(self) -> Figure:
        """A sheet of draws from the prior."""
        images = self._draw(range(_ROWS * _COLUMNS))["images"]
        height, width, _ = self.image_shape
        wide = WIDTH - 0.1
        page = Page(
            tiled_height(wide, height, width, _COLUMNS, _ROWS),
            f"Samples of the model {self._name}",
            f"Each is drawn with z from the prior, {self._prior}, and then as mean(z) + P(z) omega "
            f"with omega ~ N(0, I). Seed {self._seed}.",
        )
        page.picture(0.05, 0.0, wide, tile(colorize(Row("", images)), _COLUMNS))
        return page.figure

    def interpolation(self) -> Figure:
        """Between four draws of the noise of P, at each of two latent codes."""
        corners = self._draw(range(_CORNER, _CORNER + 4 * _CODES))
        latents = corners["latents"][::4]
        noise = corners["factor_noise"].reshape(_CODES, 4, -1)
        between = editing.slerp_grid(noise, _GRID, _GRID).numpy()
        flat = between.reshape(-1, between.shape[-1])
        images = self._call(
            "manipulate",
            latents=np.repeat(latents, _GRID**2, axis=0),
            factor_noise=flat,
            component_scales=np.ones_like(flat),
        )["images"]
        return interpolation_figure(
            images.reshape(_CODES, _GRID, _GRID, *self.image_shape),
            [f"latent code {i + 1}" for i in range(_CODES)],
            f"Interpolation, by the model {self._name}",
            "All pictures of a block have one latent code. Framed: four draws of the noise omega, "
            "a to d; between them the pictures follow eq. 7.",
        )

    def edits(self, script: Sequence[editing.Edit]) -> Figure:
        """Each edit before and after the rest of the picture has followed it.

        Args:
          script: in the order in which they are made; their brushes are taken smaller.
        """
        brush = _BRUSH * min(self.image_shape[:2])
        script = [edit._replace(brush=min(edit.brush, brush)) for edit in script]
        latents = self._draw(range(_PAINTED, _PAINTED + _EDITED))["latents"]
        prediction = np.clip(self._call("decode", latents=latents)["means"], 0, 1)

        def condition(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return self._call(
                "condition",
                latents=latents,
                values=values,
                mask=mask,
                noise_variance=np.full(_EDITED, _NOISE_VARIANCE),
            )["images"]

        return edits_figure(
            prediction,
            edited(prediction, script, condition),
            f"Edits, by the model {self._name}",
            "Only the few pixels in the circles are painted. The picture after each is the mean of "
            "what the model expects at that latent code given all painted pixels (eq. 6).",
        )

    def _draw(self, numbers: range) -> dict[str, np.ndarray]:
        return self._call("sample", seeds=[(self._seed, k) for k in numbers])

    def _call(self, name: str, **inputs: Any) -> dict[str, np.ndarray]:
        signature = self._signatures[name]
        wanted = signature.structured_input_signature[1]
        given = {k: tf.constant(v, wanted[k].dtype) for k, v in inputs.items()}
        return {k: v.numpy() for k, v in signature(**given).items()}


def edited(
    prediction: np.ndarray,
    script: Sequence[editing.Edit],
    condition: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> list[editing.Step]:
    """As `editing.edit_sequence`, of a model that is known by its conditional mean alone.

    Args:
      prediction: the pictures before the first edit, [B, H, W, C].
      script: in the order in which they are made; a later one counts where they overlap.
      condition: values [B, H, W, C] and mask [B, H, W, 1] to conditional means [B, H, W, C].

    Returns:
      One `Step` an edit.
    """
    shown, steps = prediction, []
    values = np.zeros_like(prediction)
    mask = np.zeros([*prediction.shape[:3], 1], prediction.dtype)
    for edit in script:
        inside = editing.disc(edit, prediction.shape[1:])
        values[:, inside], mask[:, inside] = edit.colour, 1.0
        painted = np.where(mask > 0, values, shown)
        shown = condition(values, mask)
        steps.append(editing.Step(edit, painted, shown))
    return steps
