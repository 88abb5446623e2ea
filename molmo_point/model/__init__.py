"""The network, bottom up: layers -> vision -> connector -> decoder (with mixture) -> molmo; and the weights that fill it.

point_heads    the heads of MolmoPoint
kv_cache, batch_cache   keys and values of one sequence, and of many
graphs, tensor_parallel, devices, cpu_kernel   how and where passes run
low_bits, low_bit_products, int4_layout        layers of 8-bit and 4-bit weights, their products and their order in memory
quantize, low_bit_folder                       which layers hold them, and folders of them
weights, weight_files, checkpoint_names        safetensors files read into a network, and written
"""
