"""Labels of images: from folders, from a CSV file, and in the formats WIDER, COCO and YOLO."""
