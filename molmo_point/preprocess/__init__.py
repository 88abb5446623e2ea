"""Image and question -> inputs of the network, in numpy; without torch.

resize, bilinear   resizing and letterboxing, and the mapping of points between image and canvas
tiling             the grid of high-resolution crops of an image
crops              Molmo: crops, patches, padding masks, and the image token of each pooled patch
windows            Molmo 2: crops of a stretched image, and the windows of patches that become its image tokens
visual_input       what the network takes of one image, of several, or of a video's frames
patch_places       where the patches of image tokens lie in their images
prompt, tokenizer  the words around a question, and a checkpoint's own tokenizer
inputs             token ids, and the positions where image embeddings are added
arrays             names of array types
"""
