"""How `prompt_leak` finds a prompt's words again, whole (words.py) and in a stream (scanner.py)."""
