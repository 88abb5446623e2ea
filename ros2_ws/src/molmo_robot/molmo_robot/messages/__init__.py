"""Messages in and out: images and requests read, results, markers, overlays and Foxglove annotations written."""
