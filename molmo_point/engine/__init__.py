"""Runs a Molmo: images and questions in, points and text out. Knows nothing of sockets, cameras or browsers.

An image: prepared_image (decoded and cut, in any thread) -> image_stages (in batches, between passes; crop_threads on a CPU)
-> encoded_image. image_prefix runs the stages: the vision tower, then keys and values of the image's tokens, which every
question about the image reuses.
An answer: question (checked arguments) -> request -> generate, or batch for many side by side -> detokenize, answer (points as
soon as their markup is complete) -> score_calibration.
How a checkpoint points: point_language is the interface; point_grammar with drafting, coords_drafting, draft_tree and uncertainty
serves numbers in text, and patch_choice, patch_drafting, patch_confidence and point_map serve MolmoPoint. token_choice is what
both decoding loops ask.

engine      one checkpoint with its options and caches (byte_cache): prepares questions and decodes answers
scheduler   continuous batching for a server's loop; policy says what its thread does next
local       `LocalPointer` and, in view, `LocalView`: all of it behind the `Pointer` interface
failures    NaN, infinity and exhausted memory
verify      golden folders recomputed
"""
