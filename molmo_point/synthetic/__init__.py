"""Synthetic images with known answers, for training and for evaluation; every image is a function of one integer.

scenes          drawn things on backgrounds, with questions about them
pages           user interfaces, drawn or rendered by Chromium, with questions about their controls
splits          which integers are for training and which are held out
held_out        the held-out sets that an evaluation asks about
letter_classes  letters as class numbers
"""
