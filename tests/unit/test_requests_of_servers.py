"""Tools as public MCP servers describe them: under headings, by a product's name, for machines."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, drawn, of, order, saying, tool_of

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.generate import tasks

NUMBER = {"type": "number"}
NAMES = {"type": "array", "items": TEXT}
OWNER, REPO = of(TEXT, "Repository owner"), of(TEXT, "Repository name")
AT = {"owner": "acme", "repo": "inventory"}
HEADED = """
    🎯 Purpose:
      1. Retrieves a paginated list of objects of a specified type from HubSpot.

    📦 Returns:
      1. Collection of objects with their properties and metadata.
"""
GUARDED = """
    🛡️ Guardrails:
      1.  Data Modification Warning: This tool modifies HubSpot data.

    🎯 Purpose:
      1. Deletes an engagement by ID.
"""


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # under headings, behind a product's name, behind who may call it
        (tool_of("API-get-user", "Notion | Retrieve a user\nError Responses:\n400: 400",
         {"user_id": TEXT}), {"user_id": "U-1"}, " user U-1"),
        (tool_of("move", "[Notion] Move a page\n\n**Best for:** order", {"page_id": TEXT}),
         {"page_id": "P-1"}, "move the page P-1"),
        (tool_of("hubspot-list-objects", HEADED, {"limit": WHOLE}), {"limit": 5},
         " objects from HubSpot"),
        (tool_of("hubspot-delete-engagement", GUARDED, {"engagementId": WHOLE}),
         {"engagementId": 5}, "engagement 5"),
        (tool_of("get_next_task", "Given a 'requestId', return the next pending task (not done).",
         {"requestId": TEXT}), {"requestId": "R-1"}, "the next pending task for request R-1"),
        (tool_of("approve_request", "After all tasks are done and approved, this tool finalizes "
         "the entire request.", {"requestId": TEXT}), {"requestId": "R-1"}, "finalize request R-1"),
        (tool_of("check_crawl", "Check the status of a crawl job.\n\n**Returns:** Status.",
         {"id": TEXT}), {"id": "J-1"}, "the status of crawl job J-1"),
        (tool_of("snap", "Capture the snapshot of the current page, this is better than screenshot",
         {"depth": WHOLE}), {"depth": 3}, "of the current page with"),
        (tool_of("search_github", "Search GitHub issue/PR history and repository readmes.",
         {"query": TEXT}), {"query": "image resizing"},
         ("for image resizing", "find image resizing")),
        # what is returned by its customer is no answer
        (tool_of("return_delivered_order_items", "Return some items of a delivered order.",
         {"order_id": TEXT, "item_ids": NAMES, "payment_method_id": of(TEXT, "The payment method "
         "id to receive refund, such as 'gift_card_0000000'.")}), {"order_id": "#W1", "item_ids":
         ["63", "16"], "payment_method_id": "gift_card_1"},
         "send back items 63 and 16 of the delivered order #W1 with payment method gift_card_1"),
        # an attribute is set to its value; people are asked as what they are to be
        (tool_of("update_issue_assignees", "Update the assignees of an existing issue.",
         {"issue_number": WHOLE, "assignees": of(NAMES, "GitHub usernames to assign")}),
         {"issue_number": 7, "assignees": ["ana.lind", "tom.gray"]},
         "the assignees of issue 7 to ana.lind and tom.gray"),
        (tool_of("update_issue_milestone", "Update the milestone of an existing issue.",
         {"issue_number": WHOLE, "milestone": of(WHOLE, "The milestone number to set")}),
         {"issue_number": 7, "milestone": 59}, "the milestone of issue 7 to 59"),
        (tool_of("update_issue_labels", "Update the labels of an existing issue.", {"issue_number":
         WHOLE, "labels": of(NAMES, "Labels to apply")}), {"issue_number": 7, "labels": ["bug"]},
         "the labels of issue 7 to bug"),
        (tool_of("search_prs", "Search for pull requests in GitHub repositories using issues "
         "search syntax already scoped to is:pr", {"query": TEXT}), {"query": "password hashing"},
         ("password hashing in GitHub repositories", "repositories for password hashing")),
        (tool_of("get_wifi_status", "Request wifi status", {"device": TEXT}), {"device": "tv"},
         ("wifi status",)),
        (tool_of("uploadFile", "Uploads an image.", {"petId": WHOLE}), {"petId": 61714},
         "upload an image for pet 61714"),
        (tool_of("diff", "Calculates the difference between two timestamps, return it in seconds",
         {"unit": TEXT}), {"unit": "days"}, "the difference between two timestamps"),
        (tool_of("send_message", "Send a message to a recipient using phone_number",
         {"phone_number": TEXT, "content": TEXT}), {"phone_number": "+1-303-555-0297", "content":
         "hi"}, "send a message to +1-303-555-0297"),
        (tool_of("search_messages", "Search for a message based on provided arguments",
         {"message_id": TEXT, "content": TEXT}), {"message_id": "M-1", "content": "hi"}, "M-1"),
        (tool_of("find_notes", "Find notes that contain these words.", {"words": of(TEXT, "Words "
         "to look for")}), {"words": "release notes"}, ("notes about release notes",
         "release notes in the notes", "notes for release notes")),
        (tool_of("contexts", "Manage contexts - list, get, or set the current context",
         {"operation": of(TEXT, "What to do", enum=["list", "get", "set"])}),
         {"operation": "set"}, "set the current context"),
        (tool_of("wait", "Wait for text to appear", {"seconds": WHOLE}), {"seconds": 5},
         "wait for text to appear"),
        (tool_of("append", "Append block children", {"block_id": TEXT, "children": {"type": "array",
         "items": {"type": "object", "properties": {"type": {"enum": ["paragraph"]}}}}}),
         {"block_id": "B-1", "children": [{"type": "paragraph"}]}, "children for block B-1"),
        # as documents of OpenAPI say it: Box's, Slack's
        (tool_of("get_storage_policies", "List storage policies", {"limit": WHOLE}), {"limit": 5},
         (" storage policies (", " storage policies limited")),
        (tool_of("get_terms", "List terms of service user statuses", {"tos_id": TEXT}),
         {"tos_id": "T-1"}, " terms of service user statuses "),
        (tool_of("approve", "Approve an app for installation on a workspace.", {"request_id":
         of(TEXT, "The id of the request to approve.")}), {"request_id": "R-1"}, "for request R-1"),
        (tool_of("calls_add", "Registers a new Call.", {"external_unique_id": TEXT}),
         {"external_unique_id": "X-1"}, "external unique ID X-1"),
        (tool_of("share", "Share a folder", {"folder_id": TEXT, "can_view_path":
         {"type": "boolean"}}), {"folder_id": "F-1", "can_view_path": False}, "(cannot view path)"),
        (tool_of("request_reviewers", "Request reviewers for a pull request.", {"pullNumber": WHOLE,
         "reviewers": of(NAMES, "GitHub usernames")}), {"pullNumber": 7, "reviewers": ["ana.lind",
         "tom.gray"]}, "ana.lind and tom.gray as reviewers for pull request 7"),
        (tool_of("update_table", "Update a table's name or description", {"table_id": TEXT,
         "description": TEXT}), {"table_id": "T-1", "description": "weekly check-in"},
         'the description of table T-1 to "weekly check-in"'),
        (tool_of("update_task", "Update a task's title or description", {"task_id": TEXT, "title":
         TEXT}), {"task_id": "T-1", "title": "House rules"},
         'the title of task T-1 to "House rules"'),
        # two things of like names, and where a thing is
        (tool_of("add_sub_issue", "Add a sub-issue to a parent issue.", {"issue_number": of(WHOLE,
         "The number of the parent issue"), "sub_issue_id": of(WHOLE, "The ID of the sub-issue")}),
         {"issue_number": 5, "sub_issue_id": 3280}, "add sub-issue 3280 to parent issue 5"),
        (tool_of("react", "Add a reaction to a message", {"channel_id": TEXT, "message_id": TEXT}),
         {"channel_id": "C-1", "message_id": "M-1"}, "to message M-1 in channel C-1"),
        (tool_of("distance", "Calculate travel distance for multiple origins and destinations",
         {"origins": of(NAMES, "Origin addresses"), "destinations": of(NAMES, "Destinations")}),
         {"origins": ["Oslo"], "destinations": ["Rome"]}, "travel distance from Oslo to Rome"),
        (tool_of("search_nodes", "Search for nodes in the knowledge graph based on a query",
         {"query": of(TEXT, "The search query")}), {"query": "delete my account"},
         '"delete my account"'),
        (tool_of("delete_file", "Delete a file from a repository", {"path": of(TEXT, "Path to the "
         "file"), "message": of(TEXT, "Commit message")}), {"path": "a.md", "message": "drop a"},
         'with the commit message "drop a"'),
        (tool_of("create_repository", "Create a new GitHub repository in your account or specified "
         "organization", {"name": of(TEXT, "Repository name"), "organization": TEXT}), {"name":
         "crm", "organization": "Acme"}, ("repository called crm for Acme",
         "repository called crm at Acme", "repository called crm of Acme", "crm with Acme")),
        (tool_of("get_advisory", "Get a security advisory", {"ghsaId": of(TEXT, "Security advisory "
         "ID (format: GHSA-xxxx-xxxx)")}), {"ghsaId": "GHSA-a1b2-c3d4"}, "GHSA-a1b2-c3d4"),
        (tool_of("get_tag", "Get details about a specific git tag in a GitHub repository",
         {"owner": OWNER, "repo": REPO, "tag": of(TEXT, "Tag name")}), AT | {"tag": "v1.2.0"},
         "git tag v1.2.0 in acme/inventory"),
    ],
)  # fmt: skip
def test_a_server_s_tool_is_asked_for_in_plain_words(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    for text in saying(tool, args, said):
        assert not text.endswith(":")
        assert not re.search(r"Error Responses|Purpose|\||once |after all|best for", text, re.I)
        assert not re.search("GHSA GHSA|in my account|request wifi|return", text)


def test_the_verb_is_the_one_that_the_call_names() -> None:
    method = of(TEXT, "What to do", enum=["create", "update"])
    write = tool_of("issue_write", "Create a new or update an existing issue in a repository.",
                    {"method": method, "title": TEXT} | {"owner": OWNER, "repo": REPO})  # fmt: skip
    saying(write, AT | {"method": "create", "title": "x"}, "create a new issue")
    saying(write, AT | {"method": "update", "title": "x"}, "update an existing issue")
    action = of(TEXT, "Operation", enum=["list", "new", "close", "select"])
    tabs = tool_of("tabs", "List, create, close, or select a browser tab.", {"action": action})
    change = {"method": of(TEXT, "Operation", enum=["add", "remove"]), "sub_issue_id": WHOLE,
              "issue_number": of(WHOLE, "Number of the parent issue")}  # fmt: skip
    sub = tool_of("sub_issue_write", "Add a sub-issue to a parent issue.", change)
    saying(sub, {"method": "remove", "sub_issue_id": 5, "issue_number": 7},
           ("remove sub-issue 5 from parent issue 7", "remove the sub-issue 5 from parent issue 7"))
    wifi = tool_of("set_wifi_status", "Enable / Disable wifi", {"on": {"type": "boolean"}})
    assert saying(wifi, {"on": True}, "enable wifi") == ["enable wifi"] * 6
    assert saying(wifi, {"on": False}, "disable wifi") == ["disable wifi"] * 6
    for value, verb in {"new": "create", "close": "close", "select": "select"}.items():
        assert order(tabs, {"action": value}).startswith(verb)


@pytest.mark.parametrize(
    ("name", "about", "schema", "right"),
    [
        ("perPage", "List git tags", of(NUMBER, "Results per page (min 1, max 100)", minimum=1,
         maximum=100), lambda v: isinstance(v, int) and v >= 3),
        ("gracePeriod", "Drain a node", of(NUMBER, "Period of time in seconds. If set to -1, the "
         "default is used.", default=-1), lambda v: v > 0),
        ("hour", "Convert date time information to a timestamp", of(WHOLE, "Hour of timestamp in "
         "24hr format"), lambda v: 0 <= v <= 23),
        ("day", "Convert date time information to a timestamp", of(WHOLE, "Day of timestamp"),
         lambda v: 1 <= v <= 28),
        ("file_id", "Download file", of(TEXT, "The identifier. For example, for the URL "
         "`https://*.app.box.com/files/123` the `file_id` is `123`.", example="12345"),
         re.compile("\\d+$").match),
        ("max_depth", "Crawl a website", WHOLE, lambda v: 1 <= v <= 5),
        ("ghsaId", "Get an advisory", of(TEXT, "Advisory ID (format: GHSA-xxxx-xxxx-xxxx)."),
         re.compile("GHSA(-[a-z0-9]{4}){3}$").match),
        ("threadID", "Resolve a thread", of(TEXT, "The node ID (e.g., PRRT_kwDOxxx)"),
         re.compile("PRRT_(?!kwDOxxx)[A-Za-z0-9]{7}$").match),
        ("expression", "Calculate a result", of(TEXT, "The expression, such as '2 + 2'."),
         re.compile(r"\d+ [-+*] \d+$").match),
        ("include_domains", "Search the web", {"type": "array", "items": {"type": "string",
         "pattern": r"^[a-z0-9][a-z0-9.-]*\.[a-z]{2,}$"}}, lambda v: all(len(d) < 40 for d in v)),
    ],
)  # fmt: skip
def test_values_are_of_the_size_and_shape_that_is_meant(
    name: str, about: str, schema: dict[str, Any], right: Any
) -> None:
    values = [args[name] for args in drawn(tool_of("t", about, {name: schema})) if name in args]
    assert len({json.dumps(v) for v in values}) > 2
    assert all(map(right, values)), values


def test_a_place_has_both_its_numbers_and_what_is_new_is_as_many_as_the_old() -> None:
    point = {"type": "object", "properties": {"latitude": NUMBER, "longitude": NUMBER}}
    near = tool_of("places", "Search for places", {"location": point})
    assert all(set(args["location"]) == {"latitude", "longitude"} for args in drawn(near))
    lists = {name: of(NAMES, "The item ids, each such as '1008292230'.")
             for name in ("item_ids", "new_item_ids")}  # fmt: skip
    swap = tool_of("exchange", "Exchange items of an order", lists)
    assert all(len(a["item_ids"]) == len(a["new_item_ids"]) for a in drawn(swap))


def test_words_that_forbid_both_are_no_values() -> None:
    text = of(TEXT, "Text to search for. Provide either text or regex, not both.")
    find = tool_of("find", "Find a text in a page", {"text": text})
    said = {args["text"] for args in drawn(find)}
    assert not said & {"text", "regex", "not both"}


def test_of_two_tools_described_alike_the_name_says_which_is_meant() -> None:
    """tau-bench's airline describes both of its searches as the direct one."""
    ends = {"origin": of(TEXT, "such as 'JFK'"), "destination": of(TEXT, "such as 'LAX'")}
    schema = {"type": "object", "properties": ends, "required": list(ends)}
    about = "Search direct flights between two cities."
    spec = parse_spec({"name": "s", "description": "d", "tools": [
        {"name": f"search_{kind}_flight", "description": about, "parameters": schema}
        for kind in ("direct", "onestop")]})  # fmt: skip
    for tool, word in zip(spec.tools, ("direct flights", "onestop flight")):
        texts = [tasks.sample_call(tool, random.Random(k), spec.habits).wish.text for k in range(6)]
        assert all(word in text for text in texts), texts
        assert tool.description == about
