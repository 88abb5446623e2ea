"""How good a calibration is: grades, HTML reports, thumbnails."""
