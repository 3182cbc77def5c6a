"""What the benchmarks share: images, timing, results, plots."""
