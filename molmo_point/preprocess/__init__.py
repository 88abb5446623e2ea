"""Image and question -> inputs of the network, in numpy; without torch.

resize   resizing and letterboxing, and the mapping of points between image and canvas
tiling   the grid of high-resolution crops of an image
crops    crops, patches, padding masks, and the image token of each pooled patch
prompt   the words around a question
arrays   names of array types
inputs   token ids of an image, and the positions of its embeddings
tokenizer  a checkpoint's tokenizer
"""
