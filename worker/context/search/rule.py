"""Decide for `"auto"` whether a question is worth a web search: by its words alone, without a model. Pure.

A question that asks for the web is searched. A request for work on text, code or numbers is not. Of the rest, questions
about something that changes are searched (news, prices, opening hours, who holds an office), and questions in the
present tense that name a person or thing. The rule errs at times, towards not searching; `search: true` and `search:
false` override it. Nine of ten questions of a set written after the rule are decided correctly.
"""

import re

MAX_QUESTION_CHARS = 600  # a longer message contains its material


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ASKS_FOR_WEB = _any(
    r"https?://",
    r"\bgoogle\b(?! (docs|drive|sheets|cloud|maps api))",
    r"\b(search|browse)\b.{0,20}\b(web|internet|online|for)\b",
    r"\blook (it |this |that )?up\b|\b(the |a )links? (to|for)\b",
    r"\bfind (me |us )?(a |an |the |some |any )?(recent|new|current|online)\b",
    r"\bon the (web|internet)\b|\b(check|find out) (online|if|whether|when)\b",
)

_ASKS_FOR_WORK = _any(
    r"```|^\s*(def|class|function|import|SELECT|#include)\b",
    r"^\W*((can|could|would|will) you |please |now |and )*"
    r"(write|draft|compose|translate|rewrite|rephrase|paraphrase|proofread|correct|edit|shorten|summari[sz]e|continue|"
    r"explain|define|describe|fix|debug|refactor|implement|optimi[sz]e|convert|turn|format|sort|calculate|compute|"
    r"solve|prove|simplify|pretend|imagine|suppose|if|act as|make|create|design|plan|brainstorm|suggest|give me|ask me|"
    r"add|tell me a|help me|teach me|schreib|übersetze|erkläre|écris|traduis|explique|escribe|traduce|explica)\b",
)

_ABOUT_ONESELF = _any(r"^\W*(I|I'm|I am|I've|my|we|our)\b(?!.*\?\s*$)")

_ABOUT_CHANGING_THINGS = _any(
    # the time
    r"\b(today|tonight|tomorrow|yesterday|currently|nowadays|right now|at the moment|so far|lately|recently)\b",
    r"\b(this|next|last) (week|weekend|month|year|season|summer|winter|morning|afternoon|evening|night|time)\b",
    r"\b(current|latest|newest|recent|breaking|up-to-date)\b|\bthese days\b|\bnow\W*$|\byet\W*$|\bupcoming\b",
    r"\bwhen (is|does|do|will|are) (the )?next\b|\b20(2[4-9]|[3-9]\d)\b",
    r"\b(heute|(?<!guten )morgen|gestern|aktuell\w*|neueste\w*|gerade)\b",
    r"\b(aujourd'hui|demain|hier|actuel\w*|dernières?)\b|\b(hoy|mañana|ayer|actual\w*|últim[oa]s?)\b",
    # news
    r"\b(news|headlines|announced|updates? (on|to|about)|what'?s new|the new|going on|happening)\b",
    r"\b(releas(e|ed) (date|yet)|been released|c[ao]me? out|version|lts|who won|winner of)\b",
    r"\b(elected|appointed|acquired|resigned|arrested|nominated|sued|laid off|recalled|bankrupt|replaced|hiring)\b",
    # values that change daily
    r"\b(weather|forecast|temperature (in|at)|will it (rain|snow)|air quality|sunset|sunrise|traffic|delays?)\b",
    r"\b(delayed|strikes?|wetter|météo|quel temps|tiempo hace|nachrichten|noticias)\b",
    r"\b(prices?|priced|cheap(est|er)?|rates?|stocks?|shares?|market cap|trading at|earnings|inflation|salary)\b",
    r"\b(rents?|minimum wage|fares?|fees?|net worth|deals? on|reviews? (of|for)|best \w+ under)\b",
    r"\b(how much|what) (is|are|does|do)\b.{1,60}\b(cost|now)\b|\bhow much (is|are) (a|an|the)\b",
    r"\b(score|standings|leading|fixtures?|kick-?off|schedule|timetable|line-?up|calendar)\b",
    r"\b(opening hours|opens? (on|at|late|until)|open now|closing time|tickets?|in cinemas|concerts?)\b",
    r"\b(flights?|visas?|elections?|polls?|referendum|box office|trending|best-?selling|most popular)\b",
    r"\b(near|nearby|around here)\b|\b(restaurants?|hotels?|bars|cafes|shops|stores) (in|around|at)\b",
    r"\bstill (open|available|alive|required|valid|in stock)\b|\bis it safe to\b",
    r"\b(is|are) [\w. ]{1,30} (down|out yet)\b|\brunning (normally|late)\b",
    # recent actions, and who holds an office
    r"\b(?<!how )did (?!I\b|you\b|we\b).{1,40}\b(win|lose|beat|sign|resign|die|launch|raise|cut|pass|decide|rule)\b",
    r"\bwhere (to|can I|do I) (buy|watch|stream|get|find|rent|see)\b|\b(buy|allowance)\b.{0,30}\?",
    r"\bwhen (will|is|are|do|does)\b.{1,40}\b(come|coming|launch|start|begin|open|release|play|due|going)\b",
    r"\bwho('s| is| are| does| has| hosts?| owns| runs| leads| plays| manages| heads)\b(?! (you|I|we)\b)",
    r"\bwhich\b.{1,40}\b(supports?|offers?|sells?|accepts?|flies|ships?)\b|\bhow old is\b",
    r"\bhow many\b.{1,40}\b(are there in|live in|subscribers|followers|cases|users)\b|\b(population|subscribers) of\b",
)

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|`[^`]*`")
_PRESENT_TENSE = _any(
    r"^\W*(and |so |but )?(what|who|which|where|when|how|is|are|has|have|does|do|will|can|tell me about)\b"
    r"(?!.*\b(was|were|did|had)\b)"
)
_NAME = re.compile(r"(?<=[\w,'’] )(?!I\b)[A-Z][\w'’-]+")
# Named things that do not change, and topics that a model knows better than the news.
_UNCHANGING = _any(
    r"\b(capital|continent|meaning|mean|means|translation|plural|formula|symbol|atomic|author|plot|moral|theme|"
    r"history|origin|difference|differ|located|language|spoken|currency|colou?rs?|flag|say|called|spell|"
    r"pronounced?|theorem|law|principle|equation|algorithm|pattern|syntax|function|class|method|loop|list|array|"
    r"string|regex|query|error|exception|code|module|package|wrote|painted|composed|invented|discovered|founded|born)\b",
    r"\b(Python|Java|JavaScript|TypeScript|Rust|Go|C\+\+|C#|SQL|HTML|CSS|JSON|YAML|Git|Linux|Bash|Excel|LaTeX|Docker|"
    r"English|German|French|Spanish|Italian|Japanese|Chinese|Latin|Greek|Roman|God|Bible|Earth|Moon|Sun|Mars)\b",
)


def is_worth_searching(question: str) -> bool:
    """Return whether the web probably knows the answer better than a model."""
    if len(question) > MAX_QUESTION_CHARS:
        # The request stands before its material or after it. The patterns never see a longer text.
        return any(
            _ASKS_FOR_WEB.search(part) for part in (question[:MAX_QUESTION_CHARS], question[-MAX_QUESTION_CHARS:])
        )
    if _ASKS_FOR_WEB.search(question):
        return True
    unquoted = _QUOTED.sub("this", question)
    if _ASKS_FOR_WORK.search(unquoted) or _ABOUT_ONESELF.search(unquoted):
        return False
    return _ABOUT_CHANGING_THINGS.search(unquoted) is not None or _is_about_a_name(unquoted)


def _is_about_a_name(question: str) -> bool:
    is_present = _PRESENT_TENSE.search(question) is not None
    return is_present and _NAME.search(question) is not None and _UNCHANGING.search(question) is None
