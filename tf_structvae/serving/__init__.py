"""An HTTP server of exported models that speaks TF-Serving's REST API.

It needs TensorFlow and the extra `[serving]`, not the code of the model: it loads any SavedModel.
The API is that of https://www.tensorflow.org/tfx/serving/api_rest.
"""
