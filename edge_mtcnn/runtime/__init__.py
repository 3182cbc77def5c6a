"""What runs the networks: model files, ONNX Runtime sessions, threads. No box is known here."""
