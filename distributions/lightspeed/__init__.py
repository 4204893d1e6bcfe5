"""The lightspeed distribution: what runs, with which settings."""

from distributions.lightspeed.lightspeed import get_distribution_template

__all__ = ["get_distribution_template"]
