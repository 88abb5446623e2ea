"""Training: `nano` from random weights by a recipe, and published checkpoints fine-tuned on labelled images.

training_run     the loop of both: steps, saving, resuming; state and run_folder hold a run, progress and curves show it
loop, recipe     runs from random weights or a warm_start: stages, mixture of data, budgets (schedule, compute_cost)
init_network, init_decoder, vocabulary   the network and the tokenizer before the first step
scene_batches, sample, target_sequence, collate -> batches   drawn scenes as tensors; data_loader makes them in worker processes
answer_loss, auxiliary_losses, confidence_loss, losses       what a run from random weights minimises
finetune, finetune_recipe, finetune_network, finetune_export   fine-tuning, with adapters or of all parameters
packed_batches, pack_inputs, answered_question, prompt_format, question_templates, token_loss   its data and its loss
sharding, sharded_tensor   several processes, one for each GPU
export           a checkpoint folder in the published layout
"""
