"""The lines of the log by the grammar and the table of pop3d(8), which is read from there."""
import functools
import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "man/pop3d.8"
VALUE = re.compile(r'(?P<bare>[!#-<>-\[\]-~]+)|"(?P<quoted>(?:[^"\\\x00-\x1f\x7f]|\\["\\]|\\x[0-9a-f]{2})*)"')
FORMS = {
    "session": r"\d+\.[0-9a-f]+", "port": r"\d{1,5}", "tls": r"TLSv1\.[23]",
    "resumed": "yes|no", "sandbox": r"[a-z]+(,[a-z]+)*",
    **{key: r"\d+" for key in ("messages", "octets", "retr", "top", "dele", "removed",
                               "seconds")},
}
WANTED = {"login": ("user", "mech", "messages", "octets"), "login-failed": ("reason",),
          "logout": ("reason", "retr", "top", "dele", "octets", "removed", "seconds"),
          "error": ("text",)}
LEVELS = {"info": "6", "notice": "5", "any": "34567"}


@functools.lru_cache(None)
def table():
    """Event: (level, its keys in their order)."""
    rows = re.findall(r"^\.It ([a-z-]+) Ta (\w+) Ta (session [a-z ]+)$", PAGE.read_text(), re.M)
    return {event: (level, keys.split()) for event, level, keys in rows}


def parse(line):
    """(event, {key: value as logged}); ValueError says what is wrong with the line."""
    prefix = re.match(r"<([0-7])>", line)
    rest = line[prefix.end():] if prefix else line
    event, _, rest = rest.partition(" ")
    if event not in table():
        raise ValueError("no such event")
    level, order = table()[event]
    if prefix and prefix[1] not in LEVELS[level]:
        raise ValueError("not of this level")
    pairs, at = {}, 0
    while rest:
        key, equals, rest = rest.partition("=")
        if not equals or key not in order[at:]:
            raise ValueError("%r is no key, or not in its place" % key)
        at = order.index(key) + 1
        value = VALUE.match(rest)
        if not value:
            raise ValueError("no value of %s" % key)
        pairs[key] = value["bare"] if value["bare"] is not None else value["quoted"]
        if key in FORMS and not re.fullmatch(FORMS[key], pairs[key]):
            raise ValueError("not a value of %s" % key)
        rest = rest[value.end():]
        if rest and (rest[0] != " " or rest == " "):
            raise ValueError("something behind the value of %s" % key)
        rest = rest[1:]
    for key in ("session",) + WANTED.get(event, ()):
        if key not in pairs:
            raise ValueError("no %s" % key)
    return event, pairs


def check(text):
    """Every line of a log; ValueError names the first that is none."""
    for line in text.splitlines():
        try:
            parse(line)
        except ValueError as error:
            raise ValueError("the log: %s: %s" % (error, line)) from None
