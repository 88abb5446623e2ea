"""From points to metres: camera models, depth images in metres, several views, the position and how sure it is."""
