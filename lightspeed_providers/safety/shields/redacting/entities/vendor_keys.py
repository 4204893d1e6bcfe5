"""Keys and tokens of well-known vendors, told by how they begin."""

import re

from lightspeed_providers.safety.shields.redacting.entities.rule import Rule, Span, Tail

_EDGE = r"(?:\b|\\[nrt])"
_BEGINNINGS = (
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # Amazon: key id
    r"gh[pousr]_[A-Za-z0-9]{36}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22}",
    r"\bgl(?:pat|ptt|dt|rt|cbt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_-]{20}",  # GitLab
    r"\bGR1348941[A-Za-z0-9_-]{20}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10}",  # Slack
    r"\bxapp-[0-9]-[A-Z0-9]{8}",
    r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20}",
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"GOCSPX-[A-Za-z0-9_-]{20}",
    r"\bya29\.[A-Za-z0-9_-]{20}",
    r"\b1//0[A-Za-z0-9_-]{30}",
    r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16}",  # Stripe
    r"\bwhsec_[A-Za-z0-9+/=]{32}",
    r"\bhf_[A-Za-z0-9]{30}",  # Hugging Face
    r"\bapi_org_[A-Za-z0-9]{30}",
    r"\bnpm_[A-Za-z0-9]{36}",
    r"\bpypi-[A-Za-z0-9_-]{50}",
    r"\bdo[opr]_v1_[a-f0-9]{64}",  # DigitalOcean
    r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{30}",  # SendGrid
    r"\b(?:SK|AC)[0-9a-f]{32}",  # Twilio
    r"\bkey-[0-9a-f]{32}",  # Mailgun
    r"\b[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}",
    r"\bsq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22}",  # Square
    r"\bEAAA[A-Za-z0-9_-]{56}",
    r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",  # Shopify
    r"\bdapi[a-f0-9]{32}",  # Databricks
    r"\bhv[sbr]\.[A-Za-z0-9_-]{20}",  # HashiCorp Vault
    r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40}",  # Terraform
    r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{24}",  # Docker
    r"\b[0-9]{8,10}:[A-Za-z0-9_-]{35}",  # Telegram
    r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}",  # Discord
    r"https://(?:[a-z]{1,8}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{20}",
    r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31}",  # Microsoft Entra
    r"\blin_api_[A-Za-z0-9]{32}",  # Linear
    r"\bntn_[A-Za-z0-9]{40}",  # Notion
    r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{30}",  # Postman
    r"\bNRAK-[A-Z0-9]{27}",  # New Relic
    r"\bgl(?:sa|c)_[A-Za-z0-9+/=]{32}",  # Grafana
    r"\bsntry[su]_[A-Za-z0-9+/=_]{40}",  # Sentry
    r"\bdp\.(?:pt|st|ct|sa)\.[A-Za-z0-9._-]{40}",  # Doppler
    r"\bpscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{32}",  # PlanetScale
    r"\bATATT3[A-Za-z0-9_=-]{40}",  # Atlassian
    r"\bsbp_[a-f0-9]{40}",  # Supabase
    r"\bgsk_[A-Za-z0-9]{48}",  # Groq
    r"\br8_[A-Za-z0-9]{37}",  # Replicate
    r"\bxai-[A-Za-z0-9]{60}",
    r"\bpplx-[A-Za-z0-9]{40}",  # Perplexity
    r"\bHRKU-[A-Za-z0-9_-]{36}",  # Heroku
    r"\brubygems_[a-f0-9]{48}",
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}",
)
_SIGNED_CLAIMS = (
    r"(?:\b|\\[nrt])eyJ(?:hbGciOi|0eXAiOi|raWQiOi|lbmMiOi|4NXQiOi|jdHkiOi|hbGciIDog)[A-Za-z0-9_-]{4}"
    r"|\beyJ[A-Za-z0-9_-]{8,64}\.eyJ[A-Za-z0-9_-]{8}"
)
_SK = rf"{_EDGE}(?:sk|lsv2_(?:pt|sk))[-_][A-Za-z0-9_-]{{20}}"
_DJANGO = r"django-insecure-[a-z0-9!@#$%^&*(\-_=+)]{20}"
_AMAZON_PAIR = (
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}[^A-Za-z0-9\n]{1,8}(?:[A-Za-z_]{1,24}[^A-Za-z0-9\n]{1,8})?"
    r"[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+=]|\z)"
)
_AMAZON_SECRET = re.compile(rb"(?s)(.*[^A-Za-z0-9/+])[A-Za-z0-9/+]{40}")
_REST = re.compile(rb"[A-Za-z0-9_~/+=-]*")
_WORD = re.compile(rb"[A-Za-z0-9_-]*")
_NEXT_PART = Tail(re.compile(rb"\.(?=[A-Za-z0-9_-])"), b".", 2, joins=True)


def _behind_escape(data: bytes, begin: int, end: int) -> Span | None:
    """Leave out an escaped line end before a key."""
    return (begin + 2 if data[begin : begin + 1] == b"\\" else begin), end


def _mixed(data: bytes, begin: int, end: int) -> Span | None:
    """Leave out names that are put together of words, as of a style sheet's classes."""
    begin += 2 * data.startswith(b"\\", begin)
    key = data[begin:end]
    digits = sum(byte in b"0123456789" for byte in key)
    is_key = digits >= 3 or (digits and key[3:] != key[3:].lower())
    return (begin, end) if is_key else None


def _beside_its_id(data: bytes, begin: int, end: int) -> Span | None:
    """Take what has the length of a secret and follows the key's id."""
    pair = _AMAZON_SECRET.match(data, begin, end)
    return (pair.end(1), pair.end()) if pair else None


VENDOR_KEYS = (
    Rule("KEY", "|".join(_BEGINNINGS).replace(r"\b", _EDGE), prove=_behind_escape, rest=_REST),
    Rule("KEY", _SIGNED_CLAIMS, (b"eyJ",), prove=_behind_escape, rest=_WORD, tail=_NEXT_PART),
    Rule("KEY", _DJANGO, (b"django-insecure-",), rest=re.compile(rb"[a-z0-9!@#$%^&*(\-_=+)]*")),
    Rule("KEY", _AMAZON_PAIR, (b"AKIA", b"ASIA"), prove=_beside_its_id),
    Rule("KEY", _SK, (b"sk", b"lsv2"), prove=_mixed, rest=_WORD),
)
