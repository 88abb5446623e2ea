"""Synthetic pages and dialogs with exact ground truth: controls with labels, and questions about them.

controls                  roles of controls, and icons with their meanings
labels                    texts of controls
themes                    colours, corners, borders, fonts
canvas, painter           drawing with Pillow
text_rows, control_rows   rows of text and of controls
draw                      a page as an image, by Pillow
html                      a page as a document
style_sheet, frameworks   its CSS: ours, or that of a framework
browser                   a page as an image, by Chromium
questions                 questions about a page, and the controls that answer
"""
