"""A model class for lmms-eval: `lmms-eval --model molmo_point --model_args model=nano --tasks pixmo_count`.

plugin     registers the class, by the entry point that lmms-eval reads
model      the class
prompts    which questions its tasks put, and how their parsers want the points
"""
