"""Checkpoints: which ones there are, where they lie, and what their configuration says. Runs without torch.

catalog   the models known by name
hub       a name or a folder -> a complete folder on this machine
folder    the files of a checkpoint folder
config    `MolmoConfig`: config.json and preprocessor_config.json -> sizes (those of Molmo 2: molmo2_config)
"""
