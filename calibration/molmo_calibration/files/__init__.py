"""Files and messages of other tools: cameras, transforms, hand-eye samples, depth images."""
