"""Where a text holds personal data or secrets: candidates by pattern, then proof by checksum.

Candidates are found in linear time, on UTF-8 bytes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lightspeed_providers.safety.shields.linear import LinearPattern

_GROUP_END = re.compile(rb"[ -]")


@dataclass(frozen=True)
class Entity:
    """One type of personal data: how to find candidates, and how much of one is real."""

    label: str
    candidates: LinearPattern
    proven_length: Callable[[bytes], int]
    """How many bytes at the candidate's beginning are the entity; 0 where it is none."""
    identity: Callable[[bytes], bytes]
    """Makes two spellings of one value equal."""

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield the spans of this entity, left to right, without overlaps."""
        start = 0
        while (span := self.candidates.next_span(data, start)) is not None:
            begin, end = span
            candidate = data[begin:end]
            length = self.proven_length(candidate)
            if length:
                yield begin, begin + length
            # What is no entity may hide one that begins at a later group.
            start = begin + (length or len(_GROUP_END.split(candidate, 1)[0]))


def _compact(value: bytes) -> bytes:
    return value.translate(None, b" -").upper()


_CARD = (
    r"\b(?:[0-9]{13,19}|[0-9]{4}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{1,3})?"
    r"|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5})\b"
)
_CARD_NETWORKS = b"23456"
_SPACED_CARD = len("0000 0000 0000 0000")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def _card_length(candidate: bytes) -> int:
    """Return the length of a card number; a short group after 16 digits may be no part of it."""
    lengths = [len(candidate)]
    if _GROUP_END.search(candidate):
        lengths.append(min(len(candidate), _SPACED_CARD))
    return next((length for length in lengths if _is_card(candidate[:length])), 0)


def _is_card(candidate: bytes) -> bool:
    """Tell a number of a card network that has its check digit (Luhn)."""
    number = _compact(candidate)
    digits = number[::-2] + number[-2::-2].translate(_DOUBLED)
    checked = (sum(digits) - len(digits) * ord("0")) % 10 == 0
    return checked and number[0] in _CARD_NETWORKS


_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
}
_IBAN_LENGTHS = {
    country: length
    for length, countries in _IBAN_COUNTRIES.items()
    for country in countries.split()
}
_IBAN = rf"(?i:\b(?:{'|'.join(_IBAN_LENGTHS)})[0-9]{{2}}(?:[ -]?[A-Z0-9]){{11,28}})"
_IBAN_OF_LENGTH = {
    length: re.compile(rb"(?i)(?:[ -]?[A-Z0-9]){%d}(?![A-Z0-9])" % length)
    for length in _IBAN_COUNTRIES
}
_LETTER_VALUES = {letter: str(letter - 55) for letter in range(ord("A"), ord("Z") + 1)}


def _iban_length(candidate: bytes) -> int:
    """Return how much of the candidate is an account number with right check digits."""
    country = candidate[:2].decode().upper()
    match = _IBAN_OF_LENGTH[_IBAN_LENGTHS[country]].match(candidate)
    if match is None:
        return 0
    number = _compact(match[0]).decode()
    value = int((number[4:] + number[:4]).translate(_LETTER_VALUES))
    return match.end() if value % 97 == 1 else 0


_IP = r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3,}\b"


def _ip_length(candidate: bytes) -> int:
    """Return the length of an IPv4 address that can be somebody's: no loopback, no netmask."""
    octets = [int(octet) for octet in candidate[:16].split(b".") if octet]
    is_address = len(candidate) <= 15 and len(octets) == 4 and max(octets) <= 255
    return len(candidate) if is_address and octets[0] not in (0, 127, 255) else 0


_KEYS = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # Amazon: key id
    r"(?i:aws_secret_access_key[\"']?\s{0,5}[=:]\s{0,5}[\"']?)[A-Za-z0-9/+]{40}",
    r"\bgh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
    r"\bgithub_pat_[A-Za-z0-9_]{22,255}",
    r"\bglpat-[A-Za-z0-9_-]{20,64}",  # GitLab
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}",  # Slack
    r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,128}",
    r"\bsk-[A-Za-z0-9_-]{20,255}",  # OpenAI, Anthropic
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\bGOCSPX-[A-Za-z0-9_-]{28}",
    r"\bya29\.[A-Za-z0-9_-]{20,512}",
    r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}",  # Stripe
    r"\bwhsec_[A-Za-z0-9+/=]{32,128}",
    r"\bhf_[A-Za-z0-9]{30,64}",  # Hugging Face
    r"\bnpm_[A-Za-z0-9]{36}\b",
    r"\bpypi-[A-Za-z0-9_-]{50,512}",
    r"\bdo[opr]_v1_[a-f0-9]{64}\b",  # DigitalOcean
    r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",  # SendGrid
    r"\bSK[0-9a-f]{32}\b",  # Twilio
    r"\bAccountKey=[A-Za-z0-9+/]{86}==",  # Azure
    r"\bdjango-insecure-[^\s\"']{50}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # signed web tokens
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\z)",
)

_EMAIL = (
    r"[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_%+-])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
)


def _entity(
    label: str,
    candidates: str,
    proven_length: Callable[[bytes], int] = len,
    identity: Callable[[bytes], bytes] = bytes,
) -> Entity:
    return Entity(label, LinearPattern(candidates, by_byte=True), proven_length, identity)


ENTITIES = (
    _entity("KEY", "|".join(_KEYS)),  # first, because a key may hold what looks like another
    _entity("EMAIL", _EMAIL, identity=bytes.lower),
    _entity("IBAN", _IBAN, _iban_length, _compact),
    _entity("CARD", _CARD, _card_length, _compact),
    _entity("IP", _IP, _ip_length),
)
