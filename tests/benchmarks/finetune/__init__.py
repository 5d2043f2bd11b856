"""What a selection is worth: a small model fine-tuned on it, beside random rows and all rows.

`make bench-finetune`. `pools.py` makes pools and has `gip` select from them, `train.py` fine-tunes
and measures, `run.py` runs all and shows what came of it.
"""
