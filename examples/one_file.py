"""Faces in a photo with ONNX Runtime alone: python one_file.py mtcnn-default.onnx photo.jpg."""

import sys

import cv2
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
photo = cv2.imread(sys.argv[2])[:, :, ::-1].copy()  # any reader will do: (h, w, 3) uint8 RGB
boxes, scores, confidences, landmarks = session.run(None, {"image": photo})
for box, score, points in zip(boxes, scores, landmarks, strict=True):
    print(f"score {score:.3f}, box {box.round().tolist()}, left eye {points[0].round().tolist()}")
