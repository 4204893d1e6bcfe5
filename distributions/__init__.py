"""The distributions of this project."""
