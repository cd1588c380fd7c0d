"""SavedModels that sample, edit and score images without this package: `NAME/VERSION/`.

```python
sv.export.export(model, "saved_models/faces")  # saved_models/faces/1
```
"""

from tf_structvae.export.exporter import export
from tf_structvae.export.loading import LoadedModel, load
from tf_structvae.export.signatures import Signature, signatures
from tf_structvae.export.versions import next_version

__all__ = ["LoadedModel", "Signature", "export", "load", "next_version", "signatures"]
