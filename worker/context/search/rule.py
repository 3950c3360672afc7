"""Decides whether a question is worth a search of the web: by its words alone, in no time. Pure.

What asks for the web is searched. What asks for work on words, code or numbers is not. Of the rest, that which
changes is: news, prices, what is open, who holds an office; and what is asked, in the present tense, of somebody or
something with a name of its own. A rule of a page errs at times, rather towards not searching: `search: true` and
`search: false` decide for themselves.
"""

import re

LONG_CHARS = 600  # whoever sends so much brings the material along


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ASKS_FOR_THE_WEB = _any(
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

_SPEAKS_OF_ONESELF = _any(r"^\W*(I|I'm|I am|I've|my|we|our)\b(?!.*\?\s*$)")

_ASKS_FOR_WHAT_CHANGES = _any(
    # the time
    r"\b(today|tonight|tomorrow|yesterday|currently|nowadays|right now|at the moment|so far|lately|recently)\b",
    r"\b(this|next|last) (week|weekend|month|year|season|summer|winter|morning|afternoon|evening|night|time)\b",
    r"\b(current|latest|newest|recent|breaking|up-to-date)\b|\bthese days\b|\bnow\W*$|\byet\W*$|\bupcoming\b",
    r"\bwhen (is|does|do|will|are) (the )?next\b|\b20(2[4-9]|[3-9]\d)\b",
    r"\b(heute|(?<!guten )morgen|gestern|aktuell\w*|neueste\w*|gerade)\b",
    r"\b(aujourd'hui|demain|hier|actuel\w*|dernières?)\b|\b(hoy|mañana|ayer|actual\w*|últim[oa]s?)\b",
    # what is new
    r"\b(news|headlines|announced|updates? (on|to|about)|what'?s new|the new|going on|happening)\b",
    r"\b(releas(e|ed) (date|yet)|been released|c[ao]me? out|version|lts|who won|winner of)\b",
    r"\b(elected|appointed|acquired|resigned|arrested|nominated|sued|laid off|recalled|bankrupt|replaced|hiring)\b",
    # what is told by the day
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
    # what somebody has done of late, or who somebody is now
    r"\b(?<!how )did (?!I\b|you\b|we\b).{1,40}\b(win|lose|beat|sign|resign|die|launch|raise|cut|pass|decide|rule)\b",
    r"\bwhere (to|can I|do I) (buy|watch|stream|get|find|rent|see)\b|\b(buy|allowance)\b.{0,30}\?",
    r"\bwhen (will|is|are|do|does)\b.{1,40}\b(come|coming|launch|start|begin|open|release|play|due|going)\b",
    r"\bwho('s| is| are| does| has| hosts?| owns| runs| leads| plays| manages| heads)\b(?! (you|I|we)\b)",
    r"\bwhich\b.{1,40}\b(supports?|offers?|sells?|accepts?|flies|ships?)\b|\bhow old is\b",
    r"\bhow many\b.{1,40}\b(are there in|live in|subscribers|followers|cases|users)\b|\b(population|subscribers) of\b",
)

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|`[^`]*`")
_ASKS_IN_THE_PRESENT = _any(
    r"^\W*(and |so |but )?(what|who|which|where|when|how|is|are|has|have|does|do|will|can|tell me about)\b"
    r"(?!.*\b(was|were|did|had)\b)"
)
_NAME = re.compile(r"(?<=[\w,'’] )(?!I\b)[A-Z][\w'’-]+")
# What has a name and stays as it is, or is asked of a model rather than of the news.
_STAYS = _any(
    r"\b(capital|continent|meaning|mean|means|translation|plural|formula|symbol|atomic|author|plot|moral|theme|"
    r"history|origin|difference|differ|located|language|spoken|currency|colou?rs?|flag|say|called|spell|"
    r"pronounced?|theorem|law|principle|equation|algorithm|pattern|syntax|function|class|method|loop|list|array|"
    r"string|regex|query|error|exception|code|module|package|wrote|painted|composed|invented|discovered|founded|born)\b",
    r"\b(Python|Java|JavaScript|TypeScript|Rust|Go|C\+\+|C#|SQL|HTML|CSS|JSON|YAML|Git|Linux|Bash|Excel|LaTeX|Docker|"
    r"English|German|French|Spanish|Italian|Japanese|Chinese|Latin|Greek|Roman|God|Bible|Earth|Moon|Sun|Mars)\b",
)


def is_worth_searching(question: str) -> bool:
    """Tell whether the web probably knows better than a model what is asked for here."""
    if _ASKS_FOR_THE_WEB.search(question):
        return True
    bare = _QUOTED.sub("this", question)
    if len(question) > LONG_CHARS or _ASKS_FOR_WORK.search(bare) or _SPEAKS_OF_ONESELF.search(bare):
        return False
    return _ASKS_FOR_WHAT_CHANGES.search(bare) is not None or _asks_of_a_name(bare)


def _asks_of_a_name(question: str) -> bool:
    is_asked_now = _ASKS_IN_THE_PRESENT.search(question) is not None
    return is_asked_now and _NAME.search(question) is not None and _STAYS.search(question) is None
