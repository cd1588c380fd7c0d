"""SavedModels that sample, edit and score images without this package: `NAME/VERSION/`.

```python
sv.export.export(model, "saved_models/faces")  # saved_models/faces/1
```
"""

from tf_structvae.export.archive import export
from tf_structvae.export.signatures import Signature, signatures
from tf_structvae.export.writing import next_version

__all__ = ["Signature", "export", "next_version", "signatures"]
