"""Other vision-language models behind the `Pointer` interface: models that write points as text, and any server of theirs that
speaks OpenAI's chat completions with images.

formats     how each family of models writes points: the prompt, the image that its coordinates count in, the reader
images      an image as it is sent: upright pixels, of the size whose pixels the model names
reply       what has come of an answer: text, tokens with log-probabilities, why it ended
scores      log-probabilities of the tokens that spell a point's coordinates
vision_language  `VisionLanguagePointer`: questions, answers and statuses of any model that writes points as text
chat        the HTTP exchange with a server
pointer     `OpenAIPointer`
"""

from molmo_point.vlm.formats import FORMATS, PointFormat
from molmo_point.vlm.pointer import OpenAIPointer
from molmo_point.vlm.vision_language import VisionLanguagePointer

__all__ = ["FORMATS", "OpenAIPointer", "PointFormat", "VisionLanguagePointer"]
