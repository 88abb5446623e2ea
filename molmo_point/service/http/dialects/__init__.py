"""Answer dialects: the shapes in which clients of other models expect coordinates in a chat answer.

dialect    what a dialect is: reads the query out of a prompt, writes the answer, says "not there"
formats    plain formats: the whole prompt is the query
profiles   formats with the prompt of one framework around the query
table      all of them by name
"""

from molmo_point.service.http.dialects.dialect import Dialect, Prompt
from molmo_point.service.http.dialects.table import DIALECTS, dialect_named

__all__ = ["DIALECTS", "Dialect", "Prompt", "dialect_named"]
