"""Secrets out of what is written or said: the values of secret environment variables, passwords,
keys and signatures inside URLs, headers and settings, and tokens that are known by their shape.

A secret that is none of these (a password of eight letters in a sentence, say) is not recognised:
write secrets to the environment. Linear in the text, whatever it is: every pattern has a bound or
starts only where a word does.

And controls: a terminal obeys what stands in a text, and a row may be anybody's.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

# a field of JSON: `page_token` and `sort_key` are none
SECRET_FIELD = re.compile(
    r"authorization|cookie|api[_-]?key|access[_-]?key|secret|passw|credential"
    r"|(?:access|auth|bearer)[_-]?token",
    re.I,
)
# a variable or a header, whose value is seldom anything but a secret
SECRET_NAME = re.compile(
    rf"{SECRET_FIELD.pattern}|token|private|[_-]key$|auth(?!or|_(?:sock|url))", re.I
)
SHORTEST = 12  # shorter values are words ("disabled"), not secrets
SHORTEST_NAMED = 4  # of a variable that the config names as a key
_NAMED: set[str] = set()
_VALUES: dict[str, str] = {}  # a secret that stands in no variable -> its name
_START = r"(?<![\w-])"  # where a token can begin
# how the tokens of services begin, and of what the rest is
SHAPES = re.compile(
    _START + r"(?=[\w.+/=:~-]{15})"  # as long as the shortest: few words are
    r"(?:AGE-SECRET-KEY-1\w{40,}|A(?:KIA|SIA|BIA|CCA)[0-9A-Z]{16}|AIza[\w-]{30,}"
    r"|AKCp[\w-]{40,}|AKID\w{32}|AT(?:ATT3|CTT3|BB)[\w=-]{30,}|CLOJARS_\w{40,}|EAA[A-Z][\w-]{56,}"
    r"|GOCSPX-[\w-]{20,}|HRKU-[\w-]{20,}|LTAI\w{16,26}|NRAK-\w{20,}|PMAK-[\w-]{40,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|SK[0-9a-f]{32}|a[ks]-[A-Za-z0-9]{22}(?!\w)|api_org_[A-Za-z0-9]{30,}"
    r"|bb_live_\w{20,}|csk-\w{30,}|dapi[0-9a-f]{32}|dckr_pat_[\w-]{20,}|do[opr]_v1_\w{40,}"
    r"|dp\.[a-z]{2,5}\.(?:\w{1,32}\.)?\w{30,}|e2b_[0-9a-f]{30,}|f[mo][12]_[\w+/=-]{30,}"
    r"|fc-[0-9a-f]{32}|figd_[\w-]{20,}|fw_[A-Za-z0-9]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}"
    r"|gl(?:c|sa)_[\w=]{30,}|gl[a-z]{2,5}-[\w-]{20,}|gsk_\w{30,}|hf_[A-Za-z0-9]{20,}"
    r"|hv[sb]\.[\w-]{20,}|jina_\w{30,}|key-[0-9a-f]{32}|lin_api_\w{30,}|lsv2_[ps][tk]_\w{30,}"
    r"|nfp_\w{30,}|npm_[A-Za-z0-9]{30,}|ntn_\w{30,}|nvapi-[\w-]{30,}|oy2[a-z0-9]{43}"
    r"|pat\w{14}\.[0-9a-f]{40,}|pcsk_\w{40,}|pplx-\w{30,}|pscale_[a-z]{2,8}_[\w-]{30,}"
    r"|pul-[0-9a-f]{40}|pypi-[\w-]{40,}|r8_[A-Za-z0-9]{30,}|[rs]k_(?:live|test)_\w{16,}"
    r"|rpa_\w{30,}|rubygems_[0-9a-f]{40,}|sb_secret_[\w-]{20,}|sbp_\w{30,}|secret_[A-Za-z0-9]{43}"
    r"|sess-[A-Za-z0-9]{30,}|shp(?:at|ca|pa|ss)_\w{30,}|sk-[\w-]{20,}|sk_[A-Za-z0-9]{32,}"
    r"|sl\.[\w-]{60,}|sntrys_[\w+/=]{30,}|sq0[a-z]{3}-[\w-]{20,}|tvly-[\w-]{20,}"
    r"|vercel_blob_rw_\w{20,}|wandb_v1_\w{30,}|whsec_[\w+/=]{24,}|xai-\w{40,}|xapp-[\w-]{10,}"
    r"|(?:xoxe\.)?xox[abeoprs]-[\w-]{10,}|ya29\.[\w-]{20,}|1//0[\w-]{30,}"
    r"|[0-9a-f]{32}-us\d{1,2}(?!\w)|\w{14}\.atlasv1\.[\w-]{40,}|[\w.~-]{3}\dQ~[\w.~-]{30,33}[\w~-]"
    r"|(?:bot)?\d{8,10}:AA[\w-]{30,36}|[MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,}"  # bots
    r"|eyJ[\w-]{10,}\.[\w-]{10,}(?:(?:\.[\w-]{10,}){1,3}|\.(?![\w-])))"  # JWT, JWE
)
PEM = re.compile(  # and those of SSH2 and PuTTY
    r"-{4,5} ?BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)? ?-{4,5}(?s:.*?)"
    r"(?:-{4,5} ?END [A-Z0-9 ]{0,30}KEY(?: BLOCK)? ?-{4,5}|\Z)"
    r"|Private-Lines: ?\d{1,4}\s(?s:.*?)(?:Private-MAC|\Z)"
)
PASSWORD = re.compile(  # with an @ in it, or with a / where it is no port and path
    r"(\w:/{1,2}[^/\s:@\"']{0,256}:)(?:[^/\s\"'<>]{1,256}|(?!\d+/)[^\s\"'<>@]{1,256})@"
)
USER_TOKEN = re.compile(r"(\w:/{1,2})(?=[^/\s@]{0,256}\d|[A-Za-z]{32,256}@)[^/\s:@\"']{16,256}@")
SIGNED = re.compile(  # also where the URL stands in HTML, in JSON or in another URL
    r"((?:[?&#](?:amp;)?|\\u0026|%3[Ff]|%26)"
    r"(?:[\w-]{0,64}(?:token|secret|signature|credential|passw(?:or)?d|access_?key|secret_?key"
    r"|subscription-?key|session_?id)|sig|jwt|pwd|pass|auth|(?:api[_-]?)?key)(?:=|%3[Dd])"
    r"|\bsignature=(?=[0-9a-f]{64}))[^&\s\"'#]+",
    re.I,
)
HEADER = re.compile(
    r"(\bauthorization\W{0,3}[:=,]\W{0,4}b?[\"']?)((?:(?!digest)[a-z]{3,12}[ \t]{1,4})?)"
    r"(?:digest [^\n]{0,512}?response=\\?\"?|[^\s\"',;]{3})[^\s\"',;]+",
    re.I,
)
SCHEME = re.compile(r"\b(bearer|basic) {1,4}(?=[^\s\"']{0,128}\d|[a-z]{32})[\w.~+/=-]{16,}", re.I)
COOKIE = re.compile(
    r"(\b(?:set-)?cookie\\?[\"']?: {0,2}\\?[\"']?)(?=[\w.-]{1,64}=)[^\n\"'\\]{12,}", re.I
)
HOOK = re.compile(  # Slack's, Discord's, Teams': who knows the URL may post
    r"(\bhooks\.slack\.com/\w{1,20}/|\bdiscord(?:app)?\.com/api/webhooks/"
    r"|\.webhook\.office\.com/webhookb2/)[\w@/-]{20,}"
)
COMMAND = re.compile(
    r"(\bcurl\b[^\n]{0,256}? (?:(?:-u|--user)[ =]?[\"']?[\w.@-]{1,64}:"
    r"|(?:-b|--cookie)[ =]?[\"']?[\w.-]{1,64}=)|\bsshpass -p ?[\"']?"
    r"|\bmysql(?:dump|admin)?\b[^\n]{0,256}? -p[\"']?"
    r"|\b(?:docker|podman|az|oc|registry) login\b[^\n]{0,256}? -p[ =]?[\"']?"
    r"|\bredis-cli\b[^\n]{0,256}? -a ?[\"']?"
    r"|\bmachine\s{1,4}\S{1,128}\s{1,4}login\s{1,4}\S{1,128}\s{1,4}password\s{1,4})"  # .netrc
    r"[^\s\"']{4,}"
)
FLAG = re.compile(  # of any program: --token VALUE, --api-key=VALUE, "--secret", "VALUE"
    r"(?<![\w-])(--?(?:[a-z]{1,16}-){0,3}(?:token|secret|password|passwd|api-?key|access-?key"
    r"|bearer|auth)(?: {1,2}[\"']?|=[\"']?|[\"'], {0,2}[\"']))(?!-)(?=[^\s\"']{0,128}\d)"
    r"[^\s\"']{8,}",
    re.I,
)
# between a name and its value: NAME=value, NAME: value, "name": "value", ("name", "value"),
# <name>value</name>, key="name" value="value"
_IS = (
    r"(?:\\?[\"']? {0,2}[=:] {0,2}b?\\?[\"']?|\\?[\"'], {0,2}b?\\?[\"']|>|[\"'] value=[\"'])(?!\$)"
)
_VALUE = r"[^\s\"'&;,<>(){}\\\[\]]"
SETTING = re.compile(  # with digits in the value, or letters as no word has them
    r"((?:api_?-?key|secret(?:_?-?key)?|access_?-?key|account_?-?key|subscription-?key|passwd|password"
    r"|(?:auth|access|refresh|session|security|id|hf|api|bot|user|csrf|deploy|client)_?-?token"
    r"|client-key-data|(?<!\w)_auth|(?<=[\"'])auth(?=[\"'])|(?<![\w-])token(?=.{1,8}?\w{20})"
    r"|(?-i:[A-Z][A-Z0-9]{1,32}_KEY|(?<![A-Z0-9_])(?:[A-Z0-9_]{1,32}_)?TOKEN))"
    rf"{_IS})(?={_VALUE}{{0,128}}\d|(?-i:[\w+/=-]{{0,64}}[a-z][A-Z])[\w+/=-]{{18}})"
    rf"{_VALUE}{{12,}}",
    re.I,
)
PASSPHRASE = re.compile(  # shorter than a key: Password=...; and PGPASSWORD=..., "password": "..."
    rf"((?:password|passwd|pwd|pass_?phrase){_IS})(?!/)(?={_VALUE}{{0,64}}\d){_VALUE}{{6,}}"
    r"|((?-i:(?:PASSWORD|PASSWD|SECRET|TOKEN|(?:API|ACCESS|SECRET|PRIVATE)_KEY)=)[\"']?)"
    r"(?![$<{\[(])[^\s\"'$<>(){}]{8,}",
    re.I,
)
# C0 but tab and newline, DEL and C1, soft hyphen, bidi marks, embeddings, overrides and isolates,
# zero-width space, line and paragraph separators, invisible operators, BOM, tags, lone surrogates,
# noncharacters. Zero-width joiners stay: emoji and several scripts need them.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their wide forms


def visible(value: Any) -> Any:
    """Text with invisible and direction-changing characters written as ⟨U+202E⟩; else the value.

    Markup (text this package made) passes through, so it can be jinja2's `finalize`.
    """
    if type(value) is not str:
        return value
    return CONTROLS.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", value.replace("\r\n", "\n"))


def no_formula(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula: it gets an apostrophe; else the value."""
    starts = isinstance(value, str) and value.lstrip().startswith(FORMULA)
    return f"'{value}" if starts else value


def hide(variable: str, value: str = "") -> None:
    """Take the value of an environment variable for a secret, whatever its name; or a `value` that
    stands elsewhere."""
    if value:
        _VALUES[value] = variable
    elif variable:
        _NAMED.add(variable)


# In the order they are looked for, what stands in a URL first: kind, pattern, what is shown, and
# texts, folded, of which every match has one: most texts have none, and are looked at no further.
NAMES = ("key", "secret", "passw", "token", "auth")
PATTERNS: tuple[tuple[str, re.Pattern[str], str, tuple[str, ...]], ...] = (
    ("password", PASSWORD, r"\1[password]@", (":/",)),
    ("token", USER_TOKEN, r"\1[token]@", (":/",)),
    ("secret", SIGNED, r"\1[secret]", (*NAMES, "sig", "cred", "pass", "session", "jwt", "pwd")),
    ("secret", HEADER, r"\1\2[secret]", ("authorization",)),
    ("secret", SCHEME, r"\1 [secret]", ("bearer", "basic")),
    ("secret", COOKIE, r"\1[secret]", ("cookie",)),
    ("secret", HOOK, r"\1[secret]", ("hooks.slack.", "/webhook")),
    ("secret", COMMAND, r"\1[secret]", ("curl", "sshpass", "mysql", "login", "redis-cli")),
    ("secret", FLAG, r"\1[secret]", (*NAMES, "bearer")),
    ("secret", SETTING, r"\1[secret]", NAMES),
    ("secret", PASSPHRASE, r"\1\2[secret]", (*NAMES, "pwd", "phrase")),
    ("private_key", PEM, "[private key]", ("private",)),
    ("token", SHAPES, "[token]", ("",)),
)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with its texts changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {k: with_texts(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [with_texts(v, change) for v in value]
    return value


def without_secret_fields(value: Any) -> Any:
    """A JSON value without the texts of fields whose name says that they are secret: an
    `authorization` beside the URL of a remote MCP server, say."""
    if isinstance(value, dict):
        return {
            k: "[secret]"
            if isinstance(v, str) and v and SECRET_FIELD.search(k)
            else without_secret_fields(v)
            for k, v in value.items()
        }
    return [without_secret_fields(v) for v in value] if isinstance(value, list) else value


def redact(text: str, counts: Counter[str] | None = None) -> str:
    """The text with every secret in it replaced by the name of its variable, or by its kind; adds
    to `counts` how many of each kind there were."""
    counts = Counter() if counts is None else counts
    text = without_known(text, counts)
    folded = text.casefold().replace("ı", "i")  # as patterns without regard to case read it
    for kind, pattern, shown, texts in PATTERNS:
        if not any(part in folded for part in texts):
            continue
        text, hits = pattern.subn(shown, text)
        if hits:
            counts[kind] += hits
    return text


def without_known(text: str, counts: Counter[str] | None = None) -> str:
    """The text without the secrets whose values we know; adds to `counts` how many there were."""
    counts = Counter() if counts is None else counts
    named = [(name, value, SHORTEST) for value, name in _VALUES.items()]
    for name, value in os.environ.items():
        if name in _NAMED or SECRET_NAME.search(name):
            named.append((name, value, SHORTEST_NAMED if name in _NAMED else SHORTEST))
    for name, value, shortest in named:
        if len(value) >= shortest:
            escaped = (json.dumps(value, ensure_ascii=a)[1:-1] for a in (True, False))
            for form in {value, *escaped}:
                if hits := text.count(form):
                    counts["environment"] += hits
                    text = text.replace(form, f"[{name}]")
    return text
