"""From pixels to positions with covariances: depth, planes, meshes, several views."""
