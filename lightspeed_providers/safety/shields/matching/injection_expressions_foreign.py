"""Expressions for the same in other languages: take back, reveal, become another."""

FOREIGN = [
    # take back
    r"\b(?:ignorieren? sie|ignorier(?:e|t)?|vergiss|vergesst|vergessen sie|missachten?"
    r"|missachten sie) (?:bitte |jetzt )?"
    r"(?:alle[sn]?|deine|ihre|eure|die|s[aä]mtliche|jegliche|was)(?: \w+){0,4} (?:anweisungen"
    r"|vorgaben|regeln"
    r"|instruktionen|richtlinien|befehle|beschr[aä]nkungen|gesagt|prompts?|systemprompt)\b",
    r"\b(?:ignore[zr]?|oublie[zr]?|ne tiens pas compte de|fais abstraction de"
    r"|contourne[zr]?) (?:toutes? |tous )?"
    r"(?:les|tes|vos|ces|des)(?: \S+){0,3} ?(?:instructions|consignes|r[eè]gles|directives"
    r"|ordres|restrictions)\b",
    r"\b(?:ignora|ignore|ignorad|olvida|olvide|haz caso omiso de|descarta|omite"
    r"|desobedece)(?: todas?| todos)?"
    r" (?:las|tus|sus|los|estas|lo que)(?: \S+){0,3} ?(?:instrucciones|reglas|normas"
    r"|indicaciones|[oó]rdenes"
    r"|directrices|restricciones|dijeron)\b",
    r"\b(?:ignore|ignora|esque[cç]a|esquece|desconsidere)(?: todas?| todos)? (?:as|suas|tuas|os"
    r"|seus|teus)(?: \S+){0,3}"
    r" ?(?:instru[cç][oõ]es|regras|orienta[cç][oõ]es|ordens|diretrizes|restri[cç][oõ]es)\b",
    r"\b(?:ignora|dimentica|tralascia|scorda|ignorate)(?: tutte| tutti)? (?:le|tue|gli|i"
    r"|quelle)(?: \S+){0,3}"
    r" ?(?:istruzioni|regole|direttive|indicazioni|ordini|restrizioni)\b",
    r"\b(?:negeer|vergeet) (?:alle|je|de|al je|jouw|uw)(?: \w+){0,3} ?(?:instructies|regels"
    r"|richtlijnen|opdrachten"
    r"|aanwijzingen|beperkingen)\b",
    r"\b(?:ignorera?|gl[oö]m|glem|bortse fr[aå]n|se bort fra) (?:alle|alla|dina|dine|de"
    r"|tidligere|tidigare)(?: \w+){0,3}"
    r" ?(?:instruktion\w*|instruks\w*|regler|anvisning\w*)",
    r"\b(?:zignoruj|ignoruj|zapomnij o|pomi[nń]|zapome[nň]"
    r"|zabudni)(?: na)?(?: \S+){0,3} (?:instrukcj\w+|polecen\w+"
    r"|zasad\w*|wytyczn\w+|regu[lł]\w*|pokyny|pravidla|instrukce)",
    r"\b(?:ignor[aă]|uit[aă])(?: \S+){0,3} (?:instruc[tț]iuni\w*|regulil\w*)",
    r"\b(?:hagyd figyelmen k[ií]v[uü]l|felejtsd el)(?: \S+){0,4} (?:utas[ií]t[aá]s|szab[aá]ly)",
    r"\b(?:talimat|kural|y[oö]nerge)\S*(?: \S+){0,2} (?:yok say|unut|g[oö]rmezden gel"
    r"|dikkate alma)",
    r"\b(?:abaikan|lupakan)(?: \w+){0,3} (?:instruksi|perintah|aturan|arahan)\b",
    r"(?:bỏ qua|quên)(?: \S+){0,4} (?:hướng dẫn|chỉ dẫn|quy tắc|lệnh)",
    r"\b(?:unohda|ohita|j[aä]t[aä] huomiotta)(?: \S+){0,3} (?:ohje|s[aä][aä]nn|m[aä][aä]r[aä]y)",
    r"(?:игнорируй|игнорируйте|проигнорируй|забудь|забудьте|отбрось"
    r"|не обращай внимания на).{0,40}(?:инструкци|указани"
    r"|правила|предписани|команды|промпт|ограничени)",
    r"(?:ігноруй|проігноруй|забудь|відкинь).{0,40}(?:інструкці|вказівк|правила)",
    r"(?:αγνόησε|αγνοήστε|ξέχασε).{0,40}(?:οδηγίες|κανόνες|εντολές)",
    r"(?:忽略|忽视|无视|忘记|忘掉|不要理会|抛开|不用管|無視|忘記).{0,6}(?:所有|之前|先前|上面"
    r"|以上|你|此前|一切|前面|全部).{0,14}"
    r"(?:指令|指示|提示|规则|規則|设定|設定|限制|规定|要求|命令|说明)",
    r"(?:指示|命令|ルール|プロンプト|設定|制限|規則).{0,12}(?:無視し|無視せよ|忘れて|忘れろ"
    r"|従わない)",
    r"(?:지시|지침|명령|규칙|프롬프트|제한).{0,12}(?:무시하|무시해|잊어|잊고)",
    r"(?:تجاهل|انس|انسى|لا تتبع).{0,30}(?:تعليمات|التعليمات|الأوامر|القواعد|توجيهات)",
    r"(?:دستور|قوانین).{0,30}(?:نادیده|فراموش)",
    r"(?:निर्देश|नियम|आदेश).{0,30}(?:अनदेखा|भूल|नज़रअंदाज़|उपेक्षा)",
    r"(?:התעלם|שכח|תתעלם).{0,30}(?:הוראות|ההוראות|כללים|הכללים|הנחיות|ההנחיות)",
    # reveal
    r"\b(?:deinen?|ihren?|tu|tus|ton|votre|ta|tuo|il tuo|seu|teu|jouw|je|uw|din|sv[oů]j|tw[oó]j"
    r"|swoje|tvůj)(?: \w+){0,2}"
    r" (?:system-?prompts?|systeemprompt|systemprompten|prompt (?:de|del|di|do) sistema"
    r"|prompt (?:du )?syst[eè]me"
    r"|instrucciones (?:internas|secretas|ocultas|iniciales)|instructions (?:internes"
    r"|secr[eè]tes|cach[eé]es"
    r"|initiales)|istruzioni (?:interne|segrete|nascoste|iniziali)|instru[cç][oõ]es (?:internas"
    r"|secretas|ocultas"
    r"|iniciais)|ukryte instrukcje)\b",
    r"\b(?:deine[nr]?|ihre[nr]?) (?:\w+ )?(?:geheimen?|internen?|versteckten?|verborgenen?"
    r"|urspr[uü]nglichen?|vollst[aä]ndigen?)"
    r" (?:anweisungen|instruktionen|vorgaben|regeln)\b",
    r"\b(?:prompt (?:de|del|di|do) sistema|prompt syst[eè]me|system-?prompt) (?:completo"
    r"|complet|intero|verbatim|mot pour mot"
    r"|palabra por palabra|w[oö]rtlich|im wortlaut)\b",
    r"(?:покажи|выведи|раскрой|напиши|повтори|перечисли|скажи).{0,30}(?:системн\S* (?:промп?т"
    r"|сообщени|инструкци|подсказк)"
    r"|(?:свои|твои|скрыты\S*|секретны\S*|внутренни\S*) (?:инструкци|правила|указани))",
    r"(?:你的|您的|你收到的|给你的).{0,8}(?:系统提示|系統提示|提示词|提示詞|初始指令|初始设定"
    r"|系统指令|内部指令|隐藏指令)",
    r"(?:输出|显示|告诉我|重复|打印|说出|公开).{0,10}(?:系统提示|提示词|初始指令|初始设定"
    r"|系统指令|系統提示)",
    r"システムプロンプト.{0,10}(?:表示|教え|出力|見せ|公開)|(?:あなた|君|お前)(?:の|へ"
    r"|に).{0,10}(?:指示|プロンプト|命令).{0,10}(?:表示|教え|出力|見せ)",
    r"(?:시스템 ?프롬프트|숨겨진 지시|내부 지침).{0,10}(?:보여|알려|출력|공개)",
    r"(?:اعرض|أظهر|اكشف|اطبع).{0,25}(?:موجه النظام|تعليماتك|التعليمات السرية)",
    r"सिस्टम प्रॉम्प्ट.{0,15}(?:दिखा|बता)",
    # become another
    r"\b(?:du bist (?:jetzt|ab jetzt|nun|ab sofort|von nun an)|ab (?:jetzt|sofort) bist du"
    r"|spiel(?:e)? (?:jetzt )?die rolle)\b",
    r"\b(?:tu es (?:maintenant|d[eé]sormais)|(?:d[eé]sormais|maintenant"
    r"|[aà] partir de maintenant),? tu es)\b",
    r"\b(?:ahora eres|eres ahora|a partir de ahora,? (?:eres|ser[aá]s|act[uú]a))\b",
    r"\b(?:agora voc[eê] [eé]|a partir de agora,? (?:voc[eê]|tu) )",
    r"\b(?:adesso sei|ora sei|da (?:ora|adesso)(?: in poi)?,? sei|d'ora in poi,? sei)\b",
    r"\b(?:je bent (?:nu|vanaf nu)|vanaf nu ben je|od teraz jeste[sś]|od te[dď] jsi)\b",
    r"(?:теперь ты (?:бот|ии|ассистент|человек|свободн|не |больше|хакер|dan|злой)"
    r"|с этого момента ты|отныне ты|ты теперь (?:бот|ии|свободн))",
    r"(?:从现在(?:开始|起)，?,?你|你现在是|现在起你|從現在開始你)",
    r"(?:あなた|君|お前)は(?:今から|これから|今後|もう)|(?:今から|これから)(?:あなた|君|お前)は",
    r"(?:지금부터|이제부터) ?(?:너|당신|넌)|(?:너|당신)[는은] 이제",
    r"(?:أنت الآن|من الآن فصاعدا أنت)",
    r"\b(?:du|tu|eres|voc[eê]|sei|jsi|je|jeste[sś]|asistente?|assistent|assistant|r[eé]ponds?"
    r"|responde|antworte|rispondi|antwoord"
    r"|odpov[ií]daj|bot)\b.{0,40}\b(?:ohne (?:regeln|einschr[aä]nkungen|filter"
    r"|beschr[aä]nkungen|zensur|grenzen)|sin (?:restricciones"
    r"|reglas|l[ií]mites|filtros|censura)|sans (?:aucune )?(?:restriction|limite|filtre"
    r"|r[eè]gle|censure)s?|sem (?:restri[cç][oõ]es"
    r"|limites|filtros|regras|censura)|senza (?:limiti|regole|filtri|restrizioni|censura)"
    r"|zonder (?:regels|beperkingen|filters)"
    r"|bez (?:ogranicze[nń]|omezen[ií]|zasad|pravidel))\b",
    r"(?:ты|бот|ии|ответ\S*|отвечай).{0,40}без (?:ограничений|правил|фильтров|цензуры)",
    r"(?:没有(?:任何)?限制|不受(?:任何)?限制|無限制的)的?(?:ai|助手|模型|机器人|人工智能)"
    r"|你.{0,8}(?:没有任何限制|不受任何限制)",
    r"(?:制限|制約|規則|ルール)のない(?:ai|アシスタント|人工知能)|(?:제한|규칙"
    r"|제약)[이은]? ?없는 (?:ai|인공지능|챗봇|비서)",
    r"مساعد (?:بلا|بدون|دون) قيود",
]
