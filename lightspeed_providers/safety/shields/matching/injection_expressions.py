"""Expressions for what is said only to take an assistant over; RE2 syntax, on the normal form.

They are the first stage before a trained head, so they are precise: each needs an order and what
it is about, not an alarming word alone.
"""

from lightspeed_providers.safety.shields.matching.injection_expressions_foreign import FOREIGN

_DROP = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?: about)?|overrid(?:e|ing)|bypass|discard"
    r"|neglect"
    r"|set aside|put aside|throw (?:away|out)|stop (?:following|obeying)|do(?: not"
    r"|n't) (?:follow|obey)"
    r"|disobey|abandon|break|violate|erase|void|revoke|nullify|unlearn|drop|ditch)"
)
_TOLD = (
    r"(?:instructions?|prompts?|directives?|guidelines?|guardrails?|directions|commands?|orders"
    r"|rules|restrictions|limitations|constraints|polic(?:y|ies)|programming|system message"
    r"|safeguards|filters?|training)"
)
_EARLIER = (
    r"(?:previous|prior|above|earlier|preceding|foregoing|former|original|initial|existing|past)"
)

OVERRIDES = [
    rf"\b{_DROP} (?:all|any|every|each|everything)?(?: of)? ?(?:the |your |my |these |those "
    rf"|its )?"
    rf"{_EARLIER}(?:ly)?(?: \w+){{0,2}} {_TOLD}\b",
    rf"\b{_DROP} (?:all |any |every one |each )?(?:of )?(?:your|ur|yer)(?: \w+){{0,3}} {_TOLD}\b",
    rf"\b{_DROP} (?:all|any|every)(?: of)? (?:the )?(?:system |safety |developer |operator )*"
    r"(?:instructions|prompts?|directives|guardrails|system messages?)\b",
    rf"\b{_DROP} (?:all|everything|whatever|anything|what)(?: \w+){{0,3}} (?:you|u) (?:were|was"
    rf"|have been"
    r"|had been|got) (?:told|given|taught|instructed|programmed)\b",
    rf"\b{_DROP} the (?:system|developer|operator)(?:'s)? (?:prompt|message|instructions?"
    rf"|text)\b",
    rf"\b(?:your|all|the) (?:previous |prior |earlier |old |former |current )*{_TOLD} (?:are|is"
    rf"|were|have been"
    r"|no longer) (?:now |hereby |all )*(?:void|cancel\w*|revoked|lifted|suspended|obsolete"
    r"|appl(?:y|ies)"
    r"|disabled|deleted|withdrawn|superseded|null)\b",
    r"(?:^|[\n.!:>#*\]]) ?(?:new|updated|real|actual|revised) (?:system )?(?:instructions?"
    r"|directives?|orders)"
    r" ?(?:for you|to the assistant)?:",
    r"<\|?/?(?:im_start|im_end|system|endoftext|eot_id|start_header_id|end_header_id)\|?>",
    r"<</?sys>>|\[/?inst\]",
    r"(?:^|[\]\"'>*#}-]) ?(?:system|system message|system override|admin override|operator"
    r"|developer"
    r" message) ?: ?(?:you|the (?:assistant|user|model|bot)|ignore|disregard|override|drop|all"
    r"|reveal"
    r"|new|from now|grant|enable|disable|forget)\b",
    r"\b(?:assistants?|(?:ai|llm|language) (?:models?|agents?|assistants?)|llms?|ai|chat ?bots?"
    r"|agents?)"
    r"(?: (?:reading|processing|summari[sz]ing|parsing|that read|who read)(?: \w+){0,3})?"
    r" ?[:,] (?:please )?(?:you (?:must|should|shall|will)|ignore|disregard|stop|forget"
    r"|do not (?:tell|mention"
    r"|explain|reveal|follow)|tell (?:the|them|him|her)|reveal|append|include|forward|send"
    r"|output|reply|"
    r"recommend|claim|drop|approve|export)\b",
    r"\b(?:if you are|if you're|when you are|you are) (?:an? )?(?:ai|llm"
    r"|(?:large )?language model"
    r"|automated assistant|chat ?bot|ai assistant)\b[^.?]{0,30}\b(?:reading|processing|tell"
    r"|ignore"
    r"|must|do not|include|reply|summari[sz]ing)\b",
]
"""A text that takes the place of the instructions."""

_SHOW = (
    r"(?:reveal|show|print|repeat|output|display|leak|dump|recite|quote|give|tell|paste|share"
    r"|expose"
    r"|disclose|write|spell|translate|summari[sz]e|list|encode|read|return|post|send|copy|echo"
    r"|convert|describe|provide|export|render|see|view)"
)
_HIDDEN = (
    r"(?:system|hidden|secret|initial|original|internal|confidential|underlying|developer|base"
    r"|pre)"
)

CREDENTIALS = [
    rf"\b{_SHOW}\b[^.?!]{{0,30}}\b(?:your|ur)(?: \w+){{0,2}} (?:system prompts?|system message"
    r"|(?:initial|hidden|secret|original|base|internal) (?:prompts?|instructions?|message|text"
    r"|guidelines"
    r"|rules)|prompts?|instructions?|directives|guidelines|guardrails|configuration (?:text"
    r"|message|prompt)"
    r"|setup (?:text|message)|opening (?:text|message))(?:[.,!?;:\"')]| (?:verbatim|word|above"
    r"|exactly|in|to"
    r"|as|so|and|for|please|pls|here|now|with|by|line|back|that|which|you)\b|$)",
    rf"\b{_SHOW}\b[^.?!]{{0,20}}\b(?:the|thy|ur)(?: \w+)? {_HIDDEN} (?:prompt|instructions) ?"
    r"(?:verbatim|word for word|above|you|that|of this (?:bot|assistant|chat)|exactly|[.!]?$)",
    r"\bwhat(?:'s| is| are| was| were)(?: in)? (?:your|ur) (?:\w+ ){0,2}(?:system prompts?"
    r"|system message"
    r"|instructions\??$|initial prompt|hidden (?:prompt|instructions)|prompt\??$|rules\??$"
    r"|guidelines\??$)",
    rf"\b{_SHOW}\b[^.?!]{{0,30}}\b(?:your|ur) (?:own )?(?:api[ -]?keys?|access tokens?|passwords?"
    r"|credentials?|environment variables|env vars|secret keys?)\b",
    r"\b(?:repeat|print|output|translate|copy|echo|summari[sz]e|write out|put) (?:everything"
    r"|all|all (?:of )?the"
    r" (?:words|text)|the (?:words|text)|(?:the )?(?:text|words|lines?|paragraphs?|sentences?"
    r"|messages?)) (?:that"
    r" (?:is|are|came|comes) )?(?:above|before|preceding|prior to)\b(?: (?:this|my|the) (?:line"
    r"|message"
    r"|conversation|chat|question)|[.,!]|$)",
    r"\b(?:instructions|text|rules|prompt|message|words|directions) (?:that )?(?:you (?:were"
    r"|have been|got|had)"
    r"|u (?:were|got)) (?:given|told|sent|loaded|set up|configured|initiali[sz]ed|started)\b",
    r"\b(?:you (?:were|have been)|u were) (?:told|given|instructed|ordered) (?:before|prior to"
    r"|at the start|not"
    r" to)\b",
]

_NO_LIMITS = (
    r"(?:no (?:rules|restrictions|limits|limitations|guidelines|filters?|morals|boundaries"
    r"|policies"
    r"|censorship|constraints|scope|safeguards)|without (?:any )?(?:rules|restrictions|limits"
    r"|limitations"
    r"|filters?|guidelines|censorship|morals|policies|boundaries|constraints|safeguards"
    r"|supervision))"
)

PERSONAS = [
    r"\b(?:you are|you're|become|act as|act like|be|as|hi|hello) (?:now )?(?:dan"
    r"|do anything now|stan|aim"
    r"|evilbot|chaosgpt|jailbroken)\b(?:[^'-]|$)",
    r"\bdo anything now\b",
    r"\b(?:enable|enter|activate|switch (?:in)?to|go into|turn on|unlock) (?:the |your )?(?:dan"
    r"|god|jailbreak"
    r"|unrestricted|unfiltered|uncensored|unlimited|sudo|evil) ?(?:mode|profile)\b",
    r"^(?:please )?(?:enable|enter|activate|switch (?:in)?to) developer mode[.!]*$",
    r"\b(?:developer|debug|maintenance|admin|god|jailbreak) mode (?:is "
    r"|has been )?(?:now )?(?:enabled"
    r"|activated|active|on)\b[^?]*(?:filter|instruction|restriction|rules|prompt|answer)",
    rf"\b(?:you|u)(?:'re| are| have| had| will have| now)\b[^.?!]{{0,60}}\b{_NO_LIMITS}\b",
    rf"\b(?:ai|assistant|bot|model|character|persona|answer|reply|respond|speak|talk"
    rf"|act)\b[^.?!]{{0,25}} {_NO_LIMITS}\b",
    r"\b(?:pretend|act as if|imagine|suppose|as though|as if) (?:that )?(?:you|nobody|no one"
    r"|your)\b[^.?!]{0,30}\b"
    r"(?:no (?:rules|restrictions|limits|guidelines|filters|policies)|(?:rules|restrictions"
    r"|guidelines|filters"
    r"|limits) (?:did(?: not|n't)|were|are|had))",
    r"\b(?:unfiltered|uncensored|unrestricted|amoral|unethical|jailbroken|evil) (?:ai|assistant"
    r"|bot|chat ?bot"
    r"|version of (?:you|this)|advisor|model|chatgpt|gpt)\b",
    r"\b(?:turn|switch) (?:off|of) (?:your|all|the) (?:safety|content|moderation|ethic\w*"
    r"|guard\w*) ?"
    r"(?:filters?|checks?|rules|polic\w+|rails?)?\b",
]

INJECTION = (*OVERRIDES, *FOREIGN, *CREDENTIALS, *PERSONAS)
