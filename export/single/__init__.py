"""The whole cascade as one ONNX graph: ``python -m export single``; an image in, faces out.

``build`` puts it together in the order in which ``edge_mtcnn.cascade`` works: ``pixels`` (octaves,
levels, windows), ``proposals`` (P-Net), ``refinement`` (R-Net, O-Net), ``mirror`` (second look and
score). ``graph`` writes nodes, ``folding`` computes what a fixed size decides, and ``verify``
compares a file with ``FaceDetector``. Standard operators only; docs/one-file.md says what differs.
"""
