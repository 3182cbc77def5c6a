"""From the published weights to the committed models; never imported by the package.

weights -> networks (Keras) -> convert (tf2onnx) -> reading -> plain, blocked -> manifest;
``verify`` compares all of them. ``python -m export`` writes ``models/`` and ``python -m export
verify`` checks it, both with TensorFlow. ``python -m export score`` fits the score model instead,
and ``python -m export single`` writes the whole cascade as one file, see ``single``: both use the
package, and need no TensorFlow.
"""
