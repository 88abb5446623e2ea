"""Pages and dialogs drawn from seeds, with exact ground truth: controls with labels, and questions about them.

controls     what there is on a page, and what icons mean
labels       what is written on it
looks        families of styles: colours, corners, borders, fonts
sheet, pen   what is drawn on, and with
rows         rows of controls
draw         a page as an image, by Pillow
html         a page as a document
browser      a page as an image, by Chromium
questions    what to ask about it, and which controls answer
"""
