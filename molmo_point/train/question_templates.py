"""Wordings of questions whose answer is points or a caption, after the families of Molmo's training data (molmo.md 5.1).

The first of each family is that of the training code, so are the others as far as its description gives them; the rest are ours.
`{label}` is replaced by the lower-cased label.
"""

from __future__ import annotations

POINTING = (
    "Point to {label}\nPlease say 'This isn't in the image.' if it is not in the image.",
    'Point to all occurrences of "{label}"',
    "Point to {label}",
    "Point to the {label}",
    "Point at {label}",
    "Point out each {label}",
    "Point to any {label} in the image",
    "Show me where the {label} are",
    "Show me all {label}",
    "Where are the {label}?",
    "Where is the {label}?",
    "Where can I see {label}?",
    "Locate {label}.",
    "Locate all {label} in the image.",
    "Find {label}.",
    "Find every {label} in the image.",
    "Look for {label} in the image and point to them.",
    "Can you see any {label} in the image? Point to them.",
    "Is there any {label} here? Show where.",
    "If there is a {label} present, indicate its positions.",
    "Mark the {label}.",
    "Identify where {label} appear.",
)

COUNTING = (
    "How many {label} are there?",
    "How many {label} are in the image?",
    "How many {label} do you see?",
    "How many {label} can be seen here?",
    "Count {label}.",
    "Count the {label}.",
    "Count all {label} in the image.",
    "Point to and count {label}",
    "Point to and count the {label} in the image.",
    "Tell me how many {label} there are and point to them.",
    "What is the number of {label}?",
    "What is the total number of {label} in the image?",
    "Give me the count of {label}.",
    "how many {label}",
)

CAPTIONS = (
    "Describe this image.",
    "Describe this image in detail.",
    "What is in this image?",
    "Write a long description of this image.",
    "Give a detailed caption of the image.",
    "Tell me what you see.",
)

TEMPLATES = {"pointing": POINTING, "point_count": COUNTING, "long_caption": CAPTIONS}
"""Style of an example -> its family."""
