"""The nouns by which descriptions speak of their parameters: what `placing` looks for."""

from __future__ import annotations

import re

SPEAKS = {  # kind -> the nouns by which a description may mean it
    "operand": "numbers?|integers?|value",
    "city": "cit(y|ies)|locations?|places?|towns?|area|region|destination",
    "iata": "airports?|cit(y|ies)|locations?",
    "person": "person|user|customer|guest|contact|someone|receiver",
    "currency": "currenc(y|ies)",
    "date": "date|day",
    "ticker": "stock|ticker|company|symbol",
    "email": "recipients?|address|someone|person|customer|teammate",
    "people": "party|group",
    "query": "keywords?|query|topic|term",
    "prompt": "description|prompt",
    "datetime": "time|date|moment",
    "latitude_number": "place|location|point|position|coordinates",
    "latitude": "place|location|point|position|coordinates",
    "time": "time",
    "country": "country|nation",
    "language": "languages?",
    "language_code": "languages?",
    "last_name": "person|user|customer|guest",
    "url": "url|page|website|link",
    "street": "address|location",
    "file": "files?|documents?|spreadsheet|pdf",
    "code_file": "files?|scripts?|modules?",
    "image_file": "images?|photo|picture",
    "folder": "folder|directory|path",
    "repo": "repository|repo",
    "crypto": "cryptocurrency|coin",
    "environment": "environment",
    "version": "version",
    "home_room": "room|light",
    "song": "song|track",
    "dish": "food|dish|meal",
    "host": "host|server|machine",
    "ip": "address|host|source",
}
NUMBERED = ("id", "id_number", "room_number", "tracking", "uuid", "flight")
ITSELF = re.split(
    " ", "url ip host domain expression word query dish product medication drink street"
)
TITLED = re.compile(
    r"(file|code_file|image_file|song|movie|book|game|smart_device|playlist|table|database|folder|branch|"
    r"project|channel|repo|tag|service|column|hotel|restaurant|environment|drink|team|version|"
    r"artist|author|album|company)$"
)
BEFORE_NOUN = re.compile(  # "the orders table", not "orders"
    r"(home_room|table|column|folder|branch|project|service|tag|channel|environment|team|playlist|"
    r"database)$"
)
DURATIONS = ("minutes", "hours", "seconds", "days", "weeks")
AFTERWARDS = r"(again|now|immediately|today|back|off|out|up|down|on)$"
FILES = r"^(several|multiple|two|many|some)?\b.*\b(files|documents|images|photos|pdfs)$"
CROWD = r"people|users|members|guests|participants|recipients|attendees|teammates|colleagues"
KINDLY = "type|kind|category|style|class|colou?r|size"
NAMES = ("name", "document_title", "event_title")
