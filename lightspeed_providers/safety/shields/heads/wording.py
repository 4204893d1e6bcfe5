"""What a head sees of a text beside its vector: which of a few expressions are found in it."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.normalise import normal_bytes
from lightspeed_providers.safety.shields.matching.partial_syntax import folded

_TAKES_BACK = (
    r"\b(ignor\w+|disregard\w*|forget|overrid\w+|bypass\w*|discard\w*|drop|void|cancel\w*"
    r"|revoke\w*"
    r"|suspend\w*|supersede\w*|stop following|set aside|no longer (bound|apply)"
    r"|instead of (your|the))\b"
)
_INSTRUCTIONS = (
    r"\b(instructions?|directives?|guidelines?|guardrails?|polic(y|ies)|rules|restrictions?"
    r"|limitations?|constraints|programming|safeguards?|safety|moderation|filters?|censor\w*"
    r"|orders|protocols?|ethic\w*|briefing|preamble)\b"
)

WORDING: Mapping[str, str] = {
    "takes_back": _TAKES_BACK,
    "instructions": _INSTRUCTIONS,
    "takes_back_instructions": rf"{_TAKES_BACK}.{{0,60}}{_INSTRUCTIONS}",
    "your_instructions": r"\b(your|ur)( \w+){0,3} (instructions?|directives?|guidelines?"
    r"|guardrails?"
    r"|polic(y|ies)|rules|restrictions?|limitations?|constraints|programming|safeguards?|filters?"
    r"|prompts?|configuration|setup|persona|role|system|message|training)\b",
    "system_prompt": r"\b(system|initial|hidden|secret|developer|original|pre|base|internal"
    r"|confidential)[ -]?(prompts?|messages?|instructions?|texts?|context|preamble|notes?)\b",
    "earlier": r"\b(previous|prior|above|earlier|preceding|before (this|my|the)|so far"
    r"|up to (now|here))\b",
    "you_are": r"\b(you are|you're|ur|you will be|you shall|you must|you will|you now|act as"
    r"|act like"
    r"|behave (as|like)|become|pretend|imagine you|play( the (role|part) of)?|roleplay|role-play"
    r"|simulate|impersonate|respond as|answer as|speak as)\b",
    "assistant": r"\b(ai|a\.i\.|llm|gpt\w*|chatgpt|assistants?|chat ?bots?|bot|language models?"
    r"|model)\b",
    "unbound": r"\b(unrestricted|unfiltered|uncensored|unlimited|unbound|unlocked|jailb\w+|dan"
    r"|amoral"
    r"|without (any )?(limits?|filters?|restrictions?|rules|refus\w+|warnings?|censor\w+)"
    r"|no (limits?|filters?|restrictions?|rules|morals?|warnings?|boundaries)|never refuse\w*"
    r"|anything goes|do anything|god mode|(developer|debug|maintenance|admin|root|test"
    r"|sudo) mode)\b",
    "from_now_on": r"\b(from now on|from here on|henceforth|starting now|as of now"
    r"|for the rest of"
    r"|new (task|instructions?|directive|role|rules?|objective|persona|goal)|instead,"
    r"|only (answer|reply"
    r"|respond|output|say)|(reply|respond|answer) (only|with)|(begin|start) (your|the) (reply"
    r"|response"
    r"|answer))\b",
    "repeat": r"\b(repeat|reveal|verbatim|word for word|print|output|show|display|leak|dump"
    r"|recite|quote"
    r"|disclose|expose|paste|copy|echo|list|translate|summari[sz]e|encode|convert|spell)\b",
    "secrets": r"\b(api[ -]?keys?|access tokens?|passwords?|credentials?|secrets?"
    r"|environment variables"
    r"|connection strings?|private keys?|\.env|confidential|internal)\b",
    "told": r"\b(told|given|received|got|gave|wrote|configured|programmed|trained|instructed"
    r"|asked) (to"
    r"|you|by|before|at|in|with)\b",
    "authority": r"\b(i am|i'm|this is|we are|we're|as) (the|your|a|an|from)? ?(admin\w*"
    r"|developers?"
    r"|creators?|owner|operator|engineer|security|openai|anthropic|google|meta|support"
    r"|authori[sz]ed"
    r"|root|red team|qa)\b",
    "authorised": r"\b(authori[sz]ed|permission granted|approved by|clearance|override code"
    r"|access"
    r" granted|verified (user|employee|admin))\b",
    "roles": r"(<\|?/?(im_start|im_end|system|assistant|user|endoftext|eot_id|s|inst|tool\w*)\|?>"
    r"|\[/?(inst|system|sys|assistant|user)\]|<<?/?sys>?>|(^|[\s\"'{#*])(system|assistant"
    r"|developer|human"
    r"|ai|user)\W{0,2}:|#{2,} ?(system|instruction|new|end|assistant|response))",
    "ends_context": r"\b(end of|end_of|begin|start of|stop) (the )?(prompt|document|context"
    r"|text|input"
    r"|instructions|conversation|transcript|question|data|user|system)\b",
    "encoded": r"\b(base ?64|rot ?13|hex(adecimal)?|morse|caesar|cipher|decod\w+|decrypt\w*"
    r"|backwards?"
    r"|reverse[ds]?|ascii codes?|binary|pig latin|leet)\b",
    "sends_away": r"(!\[[^\]]*\]\(https?://|\b(send|post|forward|email|e-mail|upload|transfer"
    r"|append"
    r"|exfiltrat\w+|submit|fetch|visit|open|call)\b.{0,60}(https?://|@|\bto (this|the following"
    r"|my)\b))",
    "conceals": r"\b(do(n't| not) (tell|mention|inform|reveal|warn|let|show|say|refuse"
    r"|apologi[sz]e|add)"
    r"|without (telling|mentioning|informing|asking|saying|explaining)|secretly|silently"
    r"|hide this"
    r"|keep this (secret|between)|never (mention|say|tell|reveal))\b",
    "fiction": r"\b(hypothetical\w*|fiction\w*|novel|story|screenplay|in a world"
    r"|thought experiment"
    r"|game|character|grandma|grandmother|movie|scene|suppose|imagine|let's (play|pretend))\b",
    "addresses_reader": r"\b(if you are an?|attention|note to|important|dear|hey|message (to"
    r"|for)|any)"
    r"\b.{0,20}\b(ai|llm|assistants?|bots?|models?|agents?|summari[sz]ers?)\b",
    "foreign_takes_back": r"(\b(ignorier\w*|vergiss|vergesst|missacht\w*|ignora|olvida|oubliez?"
    r"|esqueca|esquece"
    r"|dimentica|negeer|vergeet|zignoruj|zapomnij|zapomen|abaikan|lupakan|yok say|ignorera"
    r"|unohda)\b"
    r"|игнорируй|забудь|ігноруй|忽略|无视|忘记|忘掉|無視し|忘れて|무시하|무시해|잊어|تجاهل|انس "
    r"|התעלם|अनदेखा|αγνόησε|نادیده)",
    "foreign_instructions": r"(\b(anweisungen|vorgaben|regeln|beschränkungen|instrucciones"
    r"|reglas|istruzioni|regole"
    r"|consignes|règles|instruções|regras|instrukcj\w*|zasady|pravidla|pokyny|talimatlar\w*"
    r"|kurallar\w*|instruksi"
    r"|aturan|instructies|regels|regler)\b|hướng dẫn|инструкци|правил|указани|вказівк|指令|提示"
    r"|规则|限制|设定|指示|制限"
    r"|ルール|プロンプト|지시|규칙|프롬프트|تعليمات|قيود|הוראות|निर्देश|οδηγίες|دستور)",
    "foreign_addresses": r"(\b(du bist|deine[nrm]?|dir|dich|tu es|tes|ton|eres|tus|te dieron"
    r"|você é|suas|tuas|sei|tue|tuoi"
    r"|jouw|je bent|jesteś|twoje|swoje|jsi|tvoje|sana|senin|kamu|dina)\b|\bты\b|твои|тебе|свои"
    r"|скажи|你是|你的|你收到|给你"
    r"|あなた|너는|너의|당신|أنت|לך|तुम|आप|σου|तुम्हार)",
    "foreign_prompt": r"(systemprompt\w*|system-prompt|prompt (de|del|di|do) sistema"
    r"|prompt système|invite système"
    r"|systeemprompt|системн\w* пром|系统提示|系統提示|提示词|システムプロンプト"
    r"|시스템 프롬프트|موجه النظام|प्रॉम्प्ट|rendszerüzenet)",
}
"""Expressions on the normal form of a text that tell talk to an assistant from talk about work.

A head keeps those it was trained with, so a change here needs no other head.
"""


class Wording:
    """Compiled expressions, in the order of their names."""

    def __init__(self, expressions: Mapping[str, str]) -> None:
        self.expressions = {name: expressions[name] for name in sorted(expressions)}
        self._patterns = [
            LinearPattern(folded(expression), ignore_case=True)
            for expression in self.expressions.values()
        ]

    def __len__(self) -> int:
        return len(self._patterns)

    @classmethod
    def usual(cls) -> Self:
        """Return the expressions that new heads are trained with."""
        return cls(WORDING)

    def found(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text: 1 where an expression is found in it, else 0."""
        rows = np.zeros((len(texts), len(self._patterns)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            data = normal_bytes(text)
            row[:] = [pattern.found_in(data) for pattern in self._patterns]
        return rows

    def suspicion(self, text: str) -> int:
        """Return how many of the expressions are found in the text."""
        return int(self.found([text]).sum())
