"""Who a request's user is, and what is whose.

header.py      the user that a trusted proxy names in a header
rows.py        rows of the host's SQL stores are for their own user alone
resources.py   what the host's registry keeps with an owner
prompts.py     stored prompts have an owner too
"""

from lightspeed_providers.identity.header import listen_for_users
from lightspeed_providers.identity.prompts import give_prompts_owners
from lightspeed_providers.identity.resources import keep_resources_from_nobody
from lightspeed_providers.identity.rows import keep_rows_apart


def keep_users_apart() -> None:
    """Make the host keep its users apart on every route; calling it again changes nothing."""
    listen_for_users()
    keep_rows_apart()
    keep_resources_from_nobody()
    give_prompts_owners()
