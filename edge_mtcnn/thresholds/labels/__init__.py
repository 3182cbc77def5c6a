"""Labels of images: from folders, CSV files, and the formats WIDER, COCO and YOLO."""
