"""From points to metres: camera models, depth images in metres, several views, positions with their covariance."""
