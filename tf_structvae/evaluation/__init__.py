"""Arrays and distributions in, numbers out.

```python
card = sv.evaluation.scorecard(model, (x, y))
print(card.table())
```
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_structvae.evaluation.card import Scorecard, scorecard  # noqa: F401
    from tf_structvae.evaluation.proper_scores import energy_score, variogram_score  # noqa: F401
    from tf_structvae.evaluation.segmentation import (  # noqa: F401
        dice,
        diversity,
        generalised_energy_distance,
        hungarian_iou,
        intersection_over_union,
    )

_NAMES = {
    "Scorecard": "card",
    "dice": "segmentation",
    "diversity": "segmentation",
    "energy_score": "proper_scores",
    "generalised_energy_distance": "segmentation",
    "hungarian_iou": "segmentation",
    "intersection_over_union": "segmentation",
    "scorecard": "card",
    "variogram_score": "proper_scores",
}


# Some of it is used where TensorFlow must not be loaded.
def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
