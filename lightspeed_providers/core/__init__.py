"""The words that all rooms share: turns, passages, verdicts, errors, devices.

Nothing here imports Llama Stack, so that every engine may import it.
"""
