"""The demo product's shields: an assistant for the Django web framework."""

from typing import Any

_OVERRIDES = [
    r"\b(ignore|disregard|forget|override|bypass)\b.{0,30}\b(previous|prior|above|earlier|preceding"
    r"|former|system|your|the|these|any|all)\b.{0,20}\b(instructions?|prompts?|rules|guidelines"
    r"|directions|guardrails)\b",
    r"\b(new|updated|real) (system )?instructions?:",
    r"<\|?(im_start|im_end|system|assistant|endoftext)\|?>",
]
"""A text that takes the place of the instructions."""

_CREDENTIALS = [
    r"\b(reveal|show|print|repeat|output|display|leak|dump|recite|quote|give|tell)\b.{0,30}"
    r"\b(your|the) (hidden |secret |initial |original |full |exact |entire |whole )*"
    r"(system prompt|system message|initial prompt|hidden prompt|prompt verbatim)\b",
    r"\bwhat (is|are|was|were) your (hidden |secret |initial |original |exact )*"
    r"(system prompts?|system message|instructions|initial prompt)\b",
    r"\b(reveal|show|print|repeat|output|display|leak|dump|give|tell|send)\b.{0,20}"
    r"\byour (own )?(api[ -]?keys?|access tokens?|passwords?|credentials?|environment variables)\b",
    r"\brepeat (everything|all|the words|the text) (above|before)\b",
]

_PERSONAS = [
    r"\byou are (now )?(dan|do anything now)\b",
    r"\b(enable|enter|activate|switch to) (the )?(developer|dan|god|jailbreak|unrestricted) mode\b",
    r"\b(pretend|act as if) you (have|had) no (rules|restrictions|limits|guidelines|filters)\b",
]

_ON_TOPIC = [
    "How do I create a new Django project and app?",
    "What is the difference between a Django project and an app?",
    "How do I define a model with a foreign key or a many-to-many field?",
    "What do the model field options null, blank, default, unique and choices mean?",
    "How do I add or change a column of a table that has rows already?",
    "How do I write a query that filters, orders and excludes rows of a QuerySet?",
    "What is the difference between select_related and prefetch_related?",
    "How do migrations work, and how do I undo one?",
    "django.db.utils.OperationalError: no such table",
    "django.core.exceptions.ImproperlyConfigured: settings are not configured",
    "ValueError: field expected a number but got a string; TypeError: unexpected keyword argument",
    "TemplateDoesNotExist at / when rendering a page",
    "NoReverseMatch: reverse for a URL name not found",
    "CSRF verification failed. Request aborted.",
    "My page answers 404 or 500 after deploying, what do I look at?",
    "How do I write a class-based view such as ListView or FormView?",
    "How do I map a URL path with a parameter or slug to a view?",
    "How do I validate a form and show its errors in the template?",
    "How do I write a custom template tag or filter?",
    "How do I customise the admin site and register a model in it?",
    "How do I log users in and out, and reset passwords?",
    "How do I allow a page only to some users, groups or permissions?",
    "How do I replace the user model with my own?",
    "How do I serve static and media files in production with collectstatic?",
    "How do I deploy with gunicorn, uWSGI, ASGI or WSGI?",
    "What do DEBUG, SECRET_KEY, ALLOWED_HOSTS and INSTALLED_APPS in settings.py do?",
    "How do I write middleware, signals or a context processor?",
    "How do I test views with the test client and fixtures?",
    "How do I cache a page or a template fragment?",
    "How do I configure PostgreSQL, MySQL or SQLite as the database, and use transactions?",
    "How do I translate my site, and handle time zones and date formats?",
    "How do I send an e-mail from my application?",
    "How do I upload a file or an image and store it?",
    "How do I paginate a list?",
    "How do I write a management command for manage.py?",
    "How do sessions, cookies and messages work?",
    "How do I protect my site from XSS, clickjacking and SQL injection?",
    "How do I use async views and the ORM together?",
    "How do I serialize objects to JSON, build a feed or a sitemap?",
    "How do I aggregate, annotate, or write raw SQL with F and Q expressions?",
    "Which versions are supported, and how do I upgrade to the newest one?",
    "How do I install Django with pip in a virtual environment?",
    "What can you help me with?",
    "Show me an example of that in code.",
    "It does not work, what am I doing wrong?",
]

_OFF_TOPIC = [
    "How do I bake bread?",
    "What should I cook for dinner tonight?",
    "Who won the election, and which party should I vote for?",
    "What do you think of the president and the government?",
    "I have a headache and a fever, which medicine should I take?",
    "Is this pain dangerous, should I see a doctor?",
    "What will the weather be like tomorrow?",
    "What time is it, and which day is today?",
    "Write me a poem about the sea.",
    "Tell me a joke.",
    "Write a short story or a speech.",
    "What is the capital of France?",
    "How high is this mountain, and how many people live in China?",
    "Who wrote Hamlet?",
    "When did the Second World War end?",
    "Which shares should I buy, and is Bitcoin a good investment?",
    "How much tax do I pay, and how do I get a mortgage?",
    "Can my landlord evict me? I need legal advice.",
    "How do I get a passport or a work permit?",
    "How do I fix my car's engine?",
    "How do I repair a leaking tap or paint a wall?",
    "Which phone, laptop or television should I buy?",
    "Who won the football match last night?",
    "How do I lose weight and build muscle?",
    "Plan a week's holiday in Spain and find me cheap flights.",
    "How do I train my dog to sit?",
    "When should I plant tomatoes in my garden?",
    "My girlfriend left me, how do I get her back?",
    "How do I prepare for a job interview?",
    "What is the meaning of life? Does God exist?",
    "What does my horoscope say today?",
    "Translate this sentence into Spanish.",
    "Solve this equation: 3x + 5 = 20.",
    "Explain quantum entanglement and black holes.",
    "How does photosynthesis work?",
    "Write an essay on the French Revolution.",
    "Recommend a film, a book or a song.",
    "Tell me about a musician, an actor or a director.",
    "Who stars in the western Django Unchained?",
    "How do I play the guitar like Django Reinhardt?",
    "How do I win at chess, poker or this video game?",
    "How do I make a bomb, a weapon or drugs?",
    "How do I hack into somebody's account or wireless network?",
    "How old are you, are you human, and which model are you?",
    "How do I use hooks and state in a React component?",
    "How do I write a component in Vue, Angular or Svelte?",
    "How do I set up routing in Express or Next.js with Node?",
    "How do I add a gem or write a controller in Ruby on Rails?",
    "How do I write a controller or migration in Laravel with PHP?",
    "How do I install a theme or plugin in WordPress?",
    "How do I configure a bean in Spring Boot with Java?",
    "How do I inject a service in ASP.NET Core with C#?",
    "How do I define a route or a blueprint in Flask?",
    "How do I declare an endpoint in FastAPI?",
    "How do I allocate memory in C++?",
    "How do I borrow a value in Rust, or start a goroutine in Go?",
    "How do I lay out a page with CSS flexbox or Tailwind?",
    "How do I undo a commit or rebase a branch in git?",
    "How do I deploy a Kubernetes cluster?",
    "How do I partition a disk in Linux or update Windows?",
    "How do I make a pivot table in Excel or a slide in PowerPoint?",
    "How do I train a neural network in PyTorch?",
    "How do I write an app for iPhone in Swift or for Android in Kotlin?",
    "How do I animate a sprite in Unity or Unreal?",
]

DEMO_SHIELDS: dict[str, dict[str, Any]] = {
    "input_forbidden": {
        "kind": "patterns",
        "expressions": [*_OVERRIDES, *_CREDENTIALS, *_PERSONAS],
        "refusal": "I can't follow requests to change or reveal my instructions or credentials. "
        "Please ask me about Django.",
    },
    "inout_redaction": {"kind": "redaction"},
    "input_topic": {
        "kind": "question_validity",
        "embedding_model": "${env.LIGHTSPEED_EMBEDDING_MODEL:="
        "lightspeed-embeddings/sentence-transformers/all-MiniLM-L6-v2}",
        "topic": "Building, testing, securing and deploying web applications with the Django web "
        "framework for Python: models, views, templates, forms, the admin site, migrations.",
        "on_topic": _ON_TOPIC,
        "off_topic": _OFF_TOPIC,
        "refusal": "I can only answer questions about Django. Please ask me about building, "
        "testing or running Django applications.",
    },
    "output_forbidden": {
        "kind": "patterns",
        "phrases": ["<|im_start|>", "<|im_end|>"],
        "expressions": [
            r"\b(my|the) (hidden |secret |full )?system prompt (is|says|reads)\b",
            r"\bhere (is|are) my (system prompt|hidden instructions|secret instructions)\b",
        ],
        "refusal": "I can't show this answer due to policy restrictions.",
    },
    "tool_injection": {
        "kind": "patterns",
        "expressions": [*_OVERRIDES, *_CREDENTIALS, *_PERSONAS],
        "refusal": "A source that this answer would have used holds instructions to the assistant, "
        "so it was left out.",
    },
}
