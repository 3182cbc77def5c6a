"""From the published weights to the committed models; never imported by the runtime.

weights -> networks (Keras) -> convert (tf2onnx) -> reading -> plain, blocked -> manifest;
``verify`` compares all of them. ``python -m export`` writes ``models/``, ``python -m export
verify`` checks it.
"""
