"""From words to an element that may be pressed, and the press.

screenshot · blackout · asking · targeting        look, ask the model, look again, resolve
hit_path · listeners · cover · verdicts           hit test through frames and shadow roots; may it be pressed
confirmation · conceal · hover · click · settle   risk, secrets, the press and its effects
"""
