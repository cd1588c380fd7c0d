"""Priors p(z) of a `StructuredVAE`: fitted to the posteriors after training, or learned with them.

A prior is a Keras layer with weights in the model, so it is saved, exported and replicated with it.

```python
vae = sv.StructuredVAE(encoder, decoder, prior=sv.priors.Normal(64))  # learned
posterior = sv.priors.AggregatedPosterior.of(vae.encode, batches)
vae.replace_prior(sv.priors.fit("mixture", posterior, components=50))  # fitted
```
"""

from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.conditional import Conditional
from tf_structvae.priors.fitting import KINDS, fit, least_images
from tf_structvae.priors.flow import Flow
from tf_structvae.priors.mixture import Mixture
from tf_structvae.priors.normal import Normal
from tf_structvae.priors.prior import LOG_2_PI, Prior, StandardNormal, of
from tf_structvae.priors.vamp import VampPrior

__all__ = [
    "KINDS",
    "LOG_2_PI",
    "AggregatedPosterior",
    "Conditional",
    "Flow",
    "Mixture",
    "Normal",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "fit",
    "least_images",
    "of",
]
