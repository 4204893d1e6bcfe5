"""The demo product's shields: an assistant for the Django web framework.

policy.py               which shields, in their order
topic.yaml              questions that are about Django, and others that only look like it
injection.py            the trained head, for users' texts and for documents
"""
