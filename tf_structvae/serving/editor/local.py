"""A model that this process serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import FastAPI

from tf_structvae.serving import specs
from tf_structvae.serving.editor.information import describe
from tf_structvae.serving.errors import invalid
from tf_structvae.serving.limits import Limits
from tf_structvae.serving.servable import CARD
from tf_structvae.serving.specs import Signature, numpy_type


class Local:
    """Calls signatures of a model of `serving.app.create_app` with arrays, without JSON.

    Args:
      app: serves the model.
      name: of the model.
      limits: those of the app.
    """

    def __init__(self, app: FastAPI, name: str, limits: Limits):
        self._model = app.state.models[name]
        self._gate = app.state.gate
        self._limits = limits

    async def information(self) -> dict[str, Any]:
        """See `describe`.

        Raises:
          ValueError: the model is none for the editor.
        """
        with self._model.use() as servable:
            try:
                card = json.loads((servable.path / CARD).read_text())
            except (OSError, ValueError):
                card = None
            return describe(self._model.name, servable.path.name, servable.metadata, card)

    async def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Raises:
          RequestError: as the server of `serving` refuses requests.
        """
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        async with self._gate.admit():
            return await self._gate.call(lambda: self._run(signature, inputs), deadline)

    def _run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._model.use() as servable:
            signature = servable.signature(name)
            tensors = _cast(inputs, signature)
            rows = specs.rows(tensors)
            size = rows * signature.row_size
            if rows > self._limits.batch or size > self._limits.response_values:
                raise invalid(
                    f"the request has {rows} rows and its response would have {size} numbers; at "
                    f"most {self._limits.batch} and {self._limits.response_values} may be."
                )
            return servable.run(name, tensors)


def _cast(inputs: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    if inputs.keys() != signature.inputs.keys():
        raise invalid(
            f"the request has the arrays {', '.join(sorted(inputs)) or 'none'}; the signature's "
            f"inputs are {', '.join(signature.inputs)}."
        )
    for name, spec in signature.inputs.items():
        if not spec.accepts(inputs[name].shape):
            raise invalid(f"array {name!r} has shape {list(inputs[name].shape)}, not the input's.")
    return {k: inputs[k].astype(numpy_type(spec)) for k, spec in signature.inputs.items()}
