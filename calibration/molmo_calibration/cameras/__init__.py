"""Camera models: pixel to ray and back, lenses, cropped, scaled and rotated images."""
