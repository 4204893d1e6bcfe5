"""What makes an assistant one product's assistant, as data.

config.py      the fields of a profile
loading.py     profiles from names, files and directories
sources.py     the YAML of a profile, and the line of each part of it
templates.py   prompts with variables in them, and their versions
locales.py     which language a user reads
choosing.py    which profile holds for a request, and what the model is told first by it
"""
