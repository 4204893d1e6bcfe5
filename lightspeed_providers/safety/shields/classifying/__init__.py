"""How `classifier` runs a model.

loading.py, model.py  one model a process and device, loaded in the background
windows.py            a long text in overlapping windows
labels.py             which of the model's numbers block
"""
