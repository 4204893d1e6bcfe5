"""Understands a model's verdict however it is worded."""

import json
import re
import unicodedata

_MOST_CHARACTERS = 4000

_YES = """
yes y yep yeah yup true 1 ok okay sure affirmative correct pass go proceed
ja jawohl oui si sì sí sim tak da да evet hai はい 是 是的 对 可以 네 예 نعم ναι igen joo
"""
_NO = """
no n nope nah false 0 negative incorrect fail stop
nein non não nao nie нет niet nee nej hayır いいえ 不 不是 否 不可以 아니요 아니오 لا όχι nem ei
"""
"""Short words count only where they are the verdict: at the beginning, or after its label."""

_ALLOWED = r"""
allow(?:ed|s|able)? accept(?:ed|s|able)? approv(?:ed?|es|al) permit(?:ted|s)? permissible
grant(?:ed)? on[-_\s]?topic in[-_\s]?scope within(?:\s+the)?\s+scope valid relevant related
appropriate answerable safe legitimate admissible eligible erlaubt zulässig gültig akzeptiert
autorisée? permise? acceptée? valide permitid[oa] aceptad[oa] válid[oa] consentit[oa] ammess[oa]
accettat[oa] valid[oa] aceit[oa] разрешено допустимо принято 许可 允许 許可 有效 有効 허용
about\s+(?:this|the)\s+topic
"""
_REJECTED = r"""
reject(?:ed|s|ion)? refus(?:ed?|es|al) den(?:y|ied|ies|ial) block(?:ed|s)? decline[ds]?
disallow(?:ed|s)? forbidden prohibited off[-_\s]?topic out[-_\s]?of[-_\s]?scope
outside(?:\s+(?:of\s+)?the)?\s+scope invalid irrelevant unrelated inappropriate unanswerable
unsafe inadmissible ineligible unacceptable impermissible verboten unzulässig ungültig abgelehnt
refusée? rejetée? interdite? hors[-\s]sujet rechazad[oa] fuera\s+de\s+tema rifiutat[oa] vietat[oa]
fuori\s+tema rejeitad[oa] recusad[oa] отклонено запрещено недопустимо 拒绝 拒否 禁止 无效
無効 거부 不允许 不许可
許可しない
"""

_NOT = (
    r"(?:(?:is|are|was|were|be|do|does|did|can|could|should|would|must|wo|ca)n['o]?t|not|never"
    r"|cannot|neither|nicht|kein\w*|n['e]est\s+pas|pas|não|non|nao|не)\s+"
    r"(?:(?:be|really|at\s+all|a|an|to|really|clearly|considered|about|be\s+considered|wirklich)\s+){0,3}"
)

_WORD = r"(?<![^\W_]){}(?![^\W_])"


def _any(words: str) -> str:
    """Return an expression of the words of a list; scripts without blanks have no word borders."""
    plain = [word for word in words.split() if word.isascii() or word[0].lower() != word[0].upper()]
    others = sorted(set(words.split()) - set(plain), key=len, reverse=True)
    return "|".join([*([_WORD.format(f"(?:{'|'.join(plain)})")] if plain else []), *others])


_TOKENS = re.compile(
    rf"(?P<turned>(?<!\w){_NOT}(?:{_any(_REJECTED)}))|(?P<refused>(?<!\w){_NOT}(?:{_any(_ALLOWED)}))"
    rf"|(?P<rejected>{_any(_REJECTED)})|(?P<allowed>{_any(_ALLOWED)})"
)
_BESIDE = r"[\s_]*(?:or|and|oder|ou|o|vs\.?|/|\||,)[\s_]*"
_ANOTHER = re.compile(_BESIDE + f"(?:{_any(_REJECTED)}|{_any(_ALLOWED)})")
_EITHER = re.compile(
    r"\W*[^\W_]+\s*(?:or|and|oder|ou|/|\|)\s*(?:yes|no|ja|nein|oui|non|true|false|0|1)\b"
)
_VERDICT_OF = {"turned": True, "refused": False, "rejected": False, "allowed": True}

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
_CHANNEL = re.compile(r"<[|/]?[\w ]*\|?>")
_LABEL = re.compile(
    r"(?:answer|verdict|decision|result|response|classification|conclusion|output|label|antwort"
    r"|réponse|respuesta|risposta|resposta|therefore|ответ|答え|答案|回答)"
    r"(?:\s+is)?\s*[:=\-–→]*\s*(?:is\s+|therefore\s+)?"
)
_JSON = re.compile(r"\{[^{}]*\}")
_FORWARD = {"allowed", "allow", "valid", "on_topic", "accepted", "approved", "relevant", "in_scope"}
_BACKWARD = {"rejected", "reject", "blocked", "block", "off_topic", "denied", "invalid", "refused"}
_NEUTRAL = {"answer", "verdict", "decision", "result", "label", "response", "classification"}
_MARKUP = str.maketrans(dict.fromkeys('*`#>"“”«»[]()„', " "))
_FIRST = re.compile(r"[\s\W]*([^\W_]+)")


def parse(answer: str) -> bool | None:
    """Return whether the answer allows; None where it holds no verdict, or both."""
    text = _CHANNEL.sub(" ", _THINKING.sub(" ", _visible(answer[:_MOST_CHARACTERS])))
    found = _in_json(text)
    if found is not None:
        return found
    plain = " ".join(text.translate(_MARKUP).replace("’", "'").split())
    *_, last = [None, *_LABEL.finditer(plain)]
    if last is not None and (labelled := _leading(plain[last.end() :])) is not None:
        return labelled
    if (leading := _leading(plain)) is not None:
        return leading
    verdicts = {_verdict(match) for match in _TOKENS.finditer(plain)}
    return verdicts.pop() if len(verdicts) == 1 else None


def _visible(answer: str) -> str:
    plain = unicodedata.normalize("NFKC", answer).casefold()
    return "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")


def _leading(text: str) -> bool | None:
    """Return the verdict that a text begins with; None where another one stands beside it."""
    text = text.lstrip(" -–:.,;!_'")
    begins = _TOKENS.match(text)
    if begins is None:
        return None if _EITHER.match(text) else _short_word(text)
    return None if _ANOTHER.match(text[begins.end() :]) else _verdict(begins)


def _short_word(text: str) -> bool | None:
    first = _FIRST.match(text)
    if first is None:
        return None
    if first[1] in _YES.split():
        return True
    return False if first[1] in _NO.split() else None


def _verdict(match: re.Match[str]) -> bool:
    return _VERDICT_OF[str(match.lastgroup)]


def _in_json(text: str) -> bool | None:
    for found in _JSON.findall(text):
        try:
            values = json.loads(found)
        except ValueError:
            continue
        for key, value in values.items():
            name = re.sub(r"[\s-]+", "_", key).removeprefix("is_")
            verdict = value if isinstance(value, bool) else _leading(str(value))
            if verdict is not None and name in _FORWARD | _BACKWARD | _NEUTRAL:
                return verdict is not (name in _BACKWARD)
    return None
