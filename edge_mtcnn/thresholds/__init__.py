"""Thresholds for your own camera and place: threshold calibration and evaluation.

"Calibration" here is the statistics of confidence, never the box calibration of the cascade.

    images = from_folders("faces", "others")
    result = calibrate(FaceDetector(), images, Target("fpr", 0.01))
    result.save("calibration.json")

Only the names listed in ``__all__`` are public; everything else in this package may change.
"""

from edge_mtcnn.thresholds.calibrator import CalibrationResult, Evidence, calibrate
from edge_mtcnn.thresholds.choice import Choice, Target, choose
from edge_mtcnn.thresholds.detections import Failure
from edge_mtcnn.thresholds.evaluation import Evaluation, LandmarkError, OperatingPoint, evaluate
from edge_mtcnn.thresholds.intervals import Rate, clopper_pearson
from edge_mtcnn.thresholds.labels.csv_file import from_csv
from edge_mtcnn.thresholds.labels.folders import from_folders
from edge_mtcnn.thresholds.labels.formats import FORMATS, read_annotations
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage
from edge_mtcnn.thresholds.precision import average_precision

__all__ = [
    "FORMATS",
    "AnnotationError",
    "CalibrationResult",
    "Choice",
    "Evaluation",
    "Evidence",
    "Failure",
    "LabelledImage",
    "LandmarkError",
    "OperatingPoint",
    "Rate",
    "Target",
    "average_precision",
    "calibrate",
    "choose",
    "clopper_pearson",
    "evaluate",
    "from_csv",
    "from_folders",
    "read_annotations",
]
