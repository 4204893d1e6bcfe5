"""A pytest plugin that loads this package into a test process as the host would."""

from lightspeed_providers.provider import get_provider_spec

get_provider_spec()
