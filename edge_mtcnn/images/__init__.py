"""Images in and out: arrays, files, headers, drawing and crops."""
