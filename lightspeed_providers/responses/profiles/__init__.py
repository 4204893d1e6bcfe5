"""What makes an assistant one product's assistant, as data.

config.py      the fields of a profile
"""
