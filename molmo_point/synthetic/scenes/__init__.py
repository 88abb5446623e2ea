"""Images drawn from seeds, with exact ground truth: things scattered on varied backgrounds, and questions about them.

kinds        what there is: names, plurals, synonyms, colours
fonts        where the emoji and the letters come from
sprites      one thing, cut out
solids       shaded spheres, cubes, cylinders, cones
backgrounds  what lies behind
weather      light, blur, noise, JPEG
scene        a whole image and where everything in it is
questions    what to ask about it, and which things answer
"""
