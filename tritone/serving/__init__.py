"""The edge to Triton's Python backend: tensors, errors and stages. Nothing else imports Triton.

`triton_python_backend_utils` exists only inside the server and is complete only once a model's
module has been imported, so its attributes are used inside functions.
"""
