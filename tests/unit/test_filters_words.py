"""Rules on words: mojibake, languages, private data, refusals."""

from dataclasses import replace

import pytest
from test_filters import SECTION, chat, make

from raytune_agents.config import LabelConfig
from raytune_agents.filters import label
from raytune_agents.filters.text_rules import (
    broken_text,
    language,
    language_of,
    needless_refusal,
    observation_leak,
)
from raytune_agents.private import private_data
from raytune_agents.records import Message, ToolCall


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("café naïve Straße über São Paulo", ""),
        ("它 日本語 Привет", ""),
        ("x\ty\n", ""),
        ("caf\u00c3\u00a9", "\u00c3\u00a9"),
        ("don\u00e2\u20ac\u2122t", "\u00e2\u20ac\u2122"),
        ("bad \ufffd", "U+FFFD"),
        ("a\x85b", "U+0085"),
        ("«à» et «Ã »", ""),
    ],
)
def test_mojibake_is_found_and_accents_are_not(text, sign):
    assert broken_text(text) == sign


@pytest.mark.parametrize("text", [
    "\x1b[32m12 C\x1b[0m\r\n", "\x1b[1;31mred\x1b[K", "\x1b]0;title\x07ls", "\x1b(B\x1b[m",
    "\x1b[?25l\x1b[2J\x1b[H", "\x9b31mred", "\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\",
])
def test_what_a_terminal_is_sent_is_no_wrong_decoding(text):
    assert broken_text(text) == ""
    assert broken_text(f"{text}\ufffd") == "U+FFFD"


def test_bells_and_backspaces_are_for_observations():
    text = "done\x07 50%\x08\x08\x0860%\x0c\x0e\x0f\x7f"
    assert broken_text(text, terminal=True) == ""
    assert broken_text(text) == "U+0007"
    # what programs list ends with a NUL each; one after each letter is UTF-16
    assert (broken_text("a\x00b", terminal=True), broken_text("a\x00b")) == ("", "U+0000")
    assert broken_text("four".encode("utf-16-be").decode(), terminal=True) == "U+0000"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("What is the weather in Paris?", "en"),
        ("Wie ist das Wetter in der Stadt?", "de"),
        ("Quel est le temps dans la ville?", "fr"),
        ("¿Cuál es el tiempo en la ciudad?", "es"),
        ("Come è il tempo nella città di Roma, per favore puoi dirmi", "it"),
        ("Bonjour", ""),
        ("東京の天気", "ja"),
        ("北京天气", "zh"),
        ("Какая погода", "ru"),
        ("날씨 알려줘", "ko"),
        ("Add George Thorogood to el mejor rock en español", ""),
        ("", ""),
    ],
)
def test_the_language_is_known_or_left_open(text, code):
    assert language_of(text) == code


def test_the_language_rule_asks_only_where_languages_are_named():
    row = make(ToolCall.of("add", a=2, b=3), query="Wie viel ist 2 und 3, wenn ich das mit dir")
    assert language(row) is None
    assert language(row, ["de"]) is None
    assert label(row, LabelConfig(languages=["en"])).reject_reason == "language:de"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to ann.lee@acme.io", "email"),
        ("write to ann@example.com", ""),
        ("card 4532 0151 1283 0366", "card"),
        ("card 4532 0151 1283 0367", ""),
        ("card 4111 1111 1111 1111", ""),
        ("video 6923456789012345678", ""),
        ("to DE89 3704 0044 0532 0130 00", "iban"),
        ("to DE88 3704 0044 0532 0130 00", ""),
        ("call +49 30 9018 2044", "phone"),
        ("call (212) 867-5309", "phone"),
        ("call (212) 555-0199", ""),
        ("call +1 212 867 5309 after noon", "phone"),
        ("id 2128675309", ""),
        ("call 999-867-5309", ""),
        ("SSN 536-90-4399", "us_ssn"),
        ("SSN 666-90-4399", ""),
        ("SSN 078-05-1120", ""),
        ("CPF 390.533.447-05", "br_cpf"),
        ("CPF 390.533.447-06", ""),
        ("DNI 54362315-K", "es_dni"),
        ("DNI 54362315-L", ""),
        ("NIE X2482300W", "es_nie"),
        ("codice fiscale RCCMNL83S18D969H", "it_codice_fiscale"),
        ("NIR 2 95 10 99 126 111 93", "fr_nir"),
        ("NIR 2 95 10 99 126 111 94", ""),
        ("HETU 131052-308T", "fi_hetu"),
        ("born 880320-0016", "se_personnummer"),
        ("CPR 211062-5629", "dk_cpr"),
        ("RRN 971013-9019902", "kr_rrn"),
        ("CURP BOXW310820HNERXN09", "mx_curp"),
        ("RIC 360426199101010071", "cn_ric"),
        ("RIC 360426199101010072", ""),
        ("Aadhaar 2341 2341 2346", "in_aadhaar"),
        ("numbers 2341 2341 2346 2350", ""),
        ("call +1234567890", ""),
        ("on 2022-01-01 at 10:30", ""),
        ("range 1990-2000, ISBN 978-3-16-148410-0", ""),
        ("ip 192.168.254.30", ""),
    ],
)
def test_private_data_by_kind(text, kind):
    assert private_data(text) == kind


def test_private_data_is_looked_for_on_request():
    row = make(ToolCall.of("add", a=2, b=3), query="Add 2 and 3, mail it to ann.lee@acme.io")
    assert label(row, SECTION).reject_reason == ""
    assert label(row, LabelConfig(rules=["pii"])).reject_reason == "pii:email"
    assert label(row, LabelConfig(rules=["default", "pii"])).reject_reason == "pii:email"
    wrong = make(ToolCall.of("subtract", a=2, b=3))
    both = label(wrong, LabelConfig(rules=["pii", "default"])).reject_reason
    assert both == label(wrong, SECTION).reject_reason == "tool_exists:subtract"


def test_a_refusal_is_needless_where_a_call_is_right():
    sorry = make(text="I\u2019m sorry, but I cannot help with sums.", gold='[{"add": {"a": [2]}}]')
    assert needless_refusal(sorry) == "needless_refusal:gold"
    assert needless_refusal(replace(sorry, gold="[]")) is None
    assert needless_refusal(replace(sorry, gold="")) == "needless_refusal:add"
    pizza = make(text="I'm sorry, I can't order pizza.", query="Order a pizza")
    assert needless_refusal(pizza) is None
    assert needless_refusal(make(text="The sum is 5.", gold="")) is None


def test_observations_are_never_in_a_trained_turn():
    fact = "The Eiffel Tower was completed in March 1889 and stands 330 metres tall in Paris."
    user, seen = Message("user", "How tall?"), Message("tool", fact)
    call = Message("assistant", tool_calls=(ToolCall.of("search", q="tower"),))
    knows = replace(call, thought=f"It says: {fact}")
    assert observation_leak(chat(user, call, seen, Message("assistant", fact))) is None
    assert observation_leak(chat(user, knows, seen)) == "observation_leak:quoted"
    react = Message("assistant", "Thought: look\nAction: search[x]\nObservation 1: found")
    assert observation_leak(chat(user, react)) == "observation_leak:written"
    assert observation_leak(chat(user, replace(react, loss=False))) is None
