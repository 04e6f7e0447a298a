"""One conversion as stages, and many conversions in one run."""
