"""Synthetic scenes with exact ground truth: things on varied backgrounds, and questions about them.

kinds        kinds of things: names, plurals, synonyms, colours
fonts        font files of emoji and letters
sprites      one thing, cut out
solids       shaded spheres, cubes, cylinders, cones
backgrounds  colours, gradients, textures, photographs
augment      light, blur, noise, JPEG
scene        an image with its ground truth
questions    questions about a scene, and the things that answer
"""
