"""Picture and question -> what the network eats. Pure numpy and Pillow: no torch, no model.

resize   fit a picture onto a canvas, and move points between picture and canvas
tiling   how many high-resolution crops a picture gets
crops    crops, patches, padding masks, and which image token belongs to which patch window
prompt   the words around a question, and their token ids
inputs   all of it put together: `Inputs`
"""
