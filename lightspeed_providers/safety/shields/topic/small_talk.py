"""Greetings, thanks and the like, which no shield need take for questions."""

import re
from itertools import islice

from lightspeed_providers.safety.shields.matching.normalise import normalised

_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_MOST_WORDS = 12

_TEXT = """
hi hello hey heya hiya howdy greetings good morning afternoon evening day night there again all
everyone everybody anyone anybody here team folks thanks thank thx ty cheers you u so very much
many lot a for your the help helping support ok okay k great cool nice perfect awesome excellent
wonderful brilliant lovely fine got it bye goodbye see ya later soon tomorrow then have welcome
please yes no yep yeah nope sure that's that this was is really super helped works worked helpful
how are doing appreciate appreciated kindly sorry i understand understood makes sense and well
hallo guten tag morgen abend danke schön schon dankeschön vielen dank tschüss ja nein bitte moin
servus merci beaucoup bonjour bonsoir salut oui non hola buenos buenas días dias tardes noches
gracias muchas adiós adios sí si ciao grazie mille buongiorno obrigado obrigada olá bom dia
hoi dank je wel tak hej cześć dzięki
"""
_WORDS_OF_IT = {
    *_TEXT.split(),
    "こんにちは", "ありがとう", "ありがとうございます", "你好", "谢谢", "안녕하세요", "감사합니다",
    "привет", "спасибо", "здравствуйте",
}  # fmt: skip
_SMALL_TALK = frozenset(normalised(word) for word in _WORDS_OF_IT)


def is_small_talk(text: str) -> bool:
    """Tell a greeting, thanks, a plain yes or no word at all from a question.

    No word at all may be any number of signs, so that a text of blanks or zero-width characters
    is none to judge.
    """
    words = (found[0].replace("’", "'") for found in _WORDS.finditer(normalised(text)))
    first = list(islice(words, _MOST_WORDS + 1))
    return len(first) <= _MOST_WORDS and all(word in _SMALL_TALK for word in first)
