"""A page in the browser to sample, steer and edit images of an exported model.

`server` is thin over `tf_structvae.serving`; the page, in `static`, does the algebra of p(x given
z) itself, so that the picture follows a stroke without waiting for the network: docs/editing.md.
"""
