"""Where a text holds personal data or secrets: candidates by pattern, then proof.

rule.py             what a rule is
private_keys.py     keys in PEM form
secrets.py          what is assigned to a name, sent in a header, or stands in a URL
vendor_keys.py      keys and tokens of well-known vendors
emails.py           e-mail addresses
ibans.py            account numbers
cards.py            card numbers
social_security.py  social security numbers of the United States
addresses.py        IP addresses
phones.py           telephone numbers
"""

from lightspeed_providers.safety.shields.redacting.entities.addresses import IP
from lightspeed_providers.safety.shields.redacting.entities.cards import CARD
from lightspeed_providers.safety.shields.redacting.entities.emails import EMAIL
from lightspeed_providers.safety.shields.redacting.entities.ibans import IBAN
from lightspeed_providers.safety.shields.redacting.entities.phones import PHONE
from lightspeed_providers.safety.shields.redacting.entities.private_keys import PRIVATE_KEYS
from lightspeed_providers.safety.shields.redacting.entities.rule import Rule
from lightspeed_providers.safety.shields.redacting.entities.secrets import SECRETS
from lightspeed_providers.safety.shields.redacting.entities.social_security import SSN
from lightspeed_providers.safety.shields.redacting.entities.vendor_keys import VENDOR_KEYS

PLACEHOLDER = Rule("", r"<[A-Z]{2,6}_[0-9]{1,9}>", (b"<",))
"""What values were rewritten to before; nothing is looked for inside."""

RULES = (*PRIVATE_KEYS, *SECRETS, *VENDOR_KEYS, *EMAIL, *IBAN, *CARD, *SSN, *IP, *PHONE)
"""Where two of them overlap, the earlier one has the text."""
