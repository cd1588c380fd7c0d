"""One way from whatever was saved, an export, a run or a `.keras` file, to a model to use.

```python
model = sv.load("demo")
pictures = model.sample(16, seed=1)
```
"""

from tf_structvae.export.loading.model import LoadedModel
from tf_structvae.export.loading.opening import load

__all__ = ["LoadedModel", "load"]
