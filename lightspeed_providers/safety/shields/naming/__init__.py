"""The model that `names` finds people and places with."""
