"""Kinds of faults found by eye in catalogues of trades: print shops, ferries, radio stations,
courts, museums, customs, mushroom farms, translators, surveys of wildlife, payrolls, dance schools,
telescopes, name servers, tax offices, build servers, blood banks, auctions, laboratories of vets,
fleets, lifts, breweries, film sets and
harbours."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, YES, drawn, of, saying, tool_of

from raytune_agents.agents import ToolConfig
from raytune_agents.agents.init import init_spec
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.frames import EVEN_HABITS
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.surface import spoken
from raytune_agents.generate.tasks import argument_names

NUMBER: dict[str, Any] = {"type": "number"}
DAY = TEXT | {"format": "date"}


def one_of(*values: str, **more: Any) -> dict[str, Any]:
    return TEXT | {"enum": list(values)} | more


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # a word behind its noun stands in brackets; codes and sizes may follow "with"
        (tool_of("set_hearing", "Set a case down for hearing", {"case_no": TEXT, "interpreter_lang":
         TEXT}), {"case_no": "24-CV-1", "interpreter_lang": "Spanish"},
         "down for hearing (interpreter language: Spanish)"),
        (tool_of("list_sailings", "List the sailings", {"vehicle": one_of("car", "van")}),
         {"vehicle": "van"}, "(vehicle: van)"),
        (tool_of("cancel", "Cancel a booking", {"booking_ref": TEXT, "reason_code": one_of(
         "illness", "weather")}), {"booking_ref": "B-1", "reason_code": "illness"},
         "booking B-1 (reason: illness)"),
        # where it is, who did it, on whose behalf, until when
        (tool_of("move_job", "Move a job to another press slot", {"job_no": TEXT, "press": one_of(
         "HP Indigo", "Roland 700")}), {"job_no": "J-1", "press": "Roland 700"},
         "on the Roland 700"),
        (tool_of("approve", "Approve a proof", {"proof_id": TEXT, "approved_by": of(TEXT, "Name of "
         "the person who signs off")}), {"proof_id": "P-1", "approved_by": "Ana Lind"},
         "proof P-1 (approved by Ana Lind)"),
        (tool_of("adjourn", "Adjourn a hearing", {"hearing_id": TEXT, "on_application_of": one_of(
         "defence", "court")}), {"hearing_id": "H-1", "on_application_of": "court"},
         "hearing H-1 on application of the court"),
        (tool_of("jury_pool", "Summon a pool of jurors", {"report_at": of(TEXT, "HH:MM")}),
         {"report_at": "09:00"}, ("jurors reporting at 9", "jurors reporting at 09:00")),
        (tool_of("set_show", "Plan a show", {"duration_min": WHOLE | {"minimum": 15}}),
         {"duration_min": 50}, "for 50 minutes"),
        # what comes from an address, from whom, about what
        (tool_of("upload", "Attach artwork to a job", {"job_no": TEXT, "file_url": TEXT}),
         {"job_no": "J-1", "file_url": "https://a.com/b.pdf"},
         "artwork to job J-1 from https://a.com/b.pdf"),
        (tool_of("list_jobs", "List print jobs", {"customer": of(TEXT, "Customer company.")}),
         {"customer": "Bosch"}, ("for Bosch", "from Bosch")),
        (tool_of("invite", "Book a guest on a show", {"topics": {"type": "array", "items": TEXT}}),
         {"topics": ["biographies"]}, ("about biographies", "on biographies")),
        (tool_of("ship", "Ship a job to the customer or to a third party", {"job_no": TEXT}),
         {"job_no": "J-1"}, "job J-1 to the customer"),
        # two works and makers, two counts, how many of what
        (tool_of("queue", "Add a track to the queue", {"artist": TEXT, "track": TEXT}),
         {"artist": "Coldplay", "track": "Yellow"}, "Yellow by Coldplay to the queue"),
        (tool_of("log", "Record a song request", {"song": TEXT}), {"song": "Halo"},
         "record a song request for Halo"),
        (tool_of("book", "Book a crossing", {"adults": WHOLE, "children": WHOLE}),
         {"adults": 1, "children": 4}, ("for 1 adult and 4 children", "for 1 adult and four chil")),
        (tool_of("quote", "Price a print job", {"product": one_of("flyers", "posters"), "qty":
         WHOLE}), {"product": "flyers", "qty": 20}, "a print job for 20 flyers"),
        # which thing is meant
        (tool_of("issue", "Issue a summons", {"case_no": TEXT}), {"case_no": "24-CV-1"},
         "a summons for case 24-CV-1"),
        (tool_of("interview", "Book a guest for an interview on a show", {"show_id": TEXT}),
         {"show_id": "S-1"}, "on show S-1"),
        (tool_of("assign", "Assign judge to case", {"case_no": TEXT, "judge": of(TEXT, "Surname")}),
         {"case_no": "24-CV-1", "judge": "Ramirez"}, "judge Ramirez to case 24-CV-1"),
        (tool_of("amend", "Amend a booking", {"ref": of(TEXT, "e.g. B-1"), "new_sailing_id": TEXT}),
         {"ref": "B-1", "new_sailing_id": "S-2"}, "to sailing S-2"),
        # abbreviations are written out
        (tool_of("plan", "Plan a job", {"est_size": WHOLE}), {"est_size": 9}, "estimated size"),
        (tool_of("report", "Get the report of what was played", {"fmt": one_of("csv", "xlsx")}),
         {"fmt": "csv"}, "as csv"),
        # by how much, when, how much of it
        (tool_of("extend", "Extend a loan beyond its end date", {"loan_id": TEXT, "extra_weeks":
         WHOLE}), {"loan_id": "LN-1", "extra_weeks": 6}, ("date by 6 weeks", "date by six w")),
        (tool_of("report", "File a condition report for an object before it travels", {"object_id":
         TEXT}), {"object_id": "O-1"}, "a condition report for object O-1"),
        (tool_of("courier", "Assign a courier to a loan", {"loan_id": TEXT, "courier": TEXT,
         "depart_on": DAY}), {"loan_id": "LN-1", "courier": "Ana Lind", "depart_on": "2027-03-01"},
         "assign Ana Lind to loan LN-1 departing on "),
        (tool_of("shift", "Put a picker on a shift", {"picker": TEXT, "shift_date": DAY}),
         {"picker": "Ana Lind", "shift_date": "2027-03-01"}, ("shift on ", "shift for ")),
        (tool_of("log_harvest", "Log a harvest", {"kg": {"type": "number"}}), {"kg": 7},
         "a harvest of 7 kg"),
        (tool_of("book", "Book an inspection slot", {"slot": {"type": "object", "properties":
         {"date": DAY, "window": one_of("06:00-10:00", "10:00-14:00")}}}), {"slot": {"date":
         "2027-03-01", "window": "06:00-10:00"}}, "06:00-10:00"),
        (tool_of("quote", "Quote for a translation job", {"word_count": WHOLE}),
         {"word_count": 500}, "job of 500 words"),
        # which thing is meant, acronyms, a switch that its description says
        (tool_of("pack_objects", "Pack objects of a loan into a crate", {"loan_id": TEXT}),
         {"loan_id": "LN-1"}, ("pack objects of loan LN-1", "pack the objects of loan LN-1")),
        (tool_of("hold", "Put a container on hold", {"container_no": TEXT}), {"container_no":
         "TCFV41"}, "container TCFV41 on hold"),
        (tool_of("duty", "Estimate the duty", {"hs_code": of(TEXT, "Commodity code")}),
         {"hs_code": "640399"}, "HS code 640399"),
        (tool_of("rate", "Rate a freelancer after a job", {"vendor_id": WHOLE, "job_id": TEXT,
         "quality": of(WHOLE, "1-5")}), {"vendor_id": 36, "job_id": "TR-1", "quality": 5},
         ("freelancer 36 after job TR-1 with a quality of 5",
          "freelancer 36 after job TR-1 (quality: 5)")),
        (tool_of("deliver", "Deliver the files of a job", {"job_id": TEXT, "cc_pm": of(YES, "copy "
         "the project manager")}), {"job_id": "TR-1", "cc_pm": True},
         "and copy the project manager"),
        # a point, who saw it, what somebody is to do
        (tool_of("record", "Record a sighting of an animal", {"species": one_of("fox", "lynx"),
         "count": WHOLE, "observer": TEXT, "pos": {"type": "object", "properties": {"lat": NUMBER,
         "lon": NUMBER}}}), {"species": "lynx", "count": 13, "observer": "Ana Lind", "pos":
         {"lat": 48.1, "lon": 11.6}}, ("by Ana Lind (count: 13) at 48.1, 11.6",
         "by Ana Lind (count: 13) around 48.1, 11.6")),
        (tool_of("assign", "Assign a volunteer to walk a transect on a date", {"volunteer": TEXT,
         "transect": of(TEXT, "transect code like T12"), "date": DAY}), {"volunteer": "Ana Lind",
         "transect": "T33", "date": "2027-03-01"}, "assign Ana Lind to walk transect T33 on "),
        (tool_of("summary", "Summarise observations along a transect", {"transect": of(TEXT,
         "transect code like T12"), "min_obs": WHOLE}), {"transect": "T33", "min_obs": 5},
         "summarise observations along transect T33 with at least 5 observations"),
        # from when, over which days, which of them
        (tool_of("swap", "Move a dancer from one class to another", {"dancer_id": WHOLE,
         "from_class": of(TEXT, "e.g. BAL-2"), "to_class": of(TEXT, "e.g. BAL-2"), "from_date":
         DAY}), {"dancer_id": 3, "from_class": "BAL-4", "to_class": "BAL-6", "from_date":
         "2027-03-01"}, "from class BAL-4 to class BAL-6 starting "),
        (tool_of("run", "Create a pay run", {"period_start": DAY, "period_end": DAY}),
         {"period_start": "2027-03-01", "period_end": "2027-03-09"}, "pay run from "),
        (tool_of("visible", "Which targets of a programme can be observed", {"prop_id": of(TEXT,
         "Proposal ID, e.g. W26BN004")}), {"prop_id": "W26BN004"},
         "which targets of programme W26BN004 can be observed"),
        (tool_of("queue", "Add target to tonight's queue", {"target": of(TEXT, "e.g. M31, NGC 7"),
         "exp_s": of(WHOLE, "Exposure, seconds")}), {"target": "M31", "exp_s": 30},
         ("the target M31 to tonight's queue with an exposure of 30 seconds",
          "the target M31 to tonight's queue (exposure: 30 seconds)")),
        (tool_of("weather", "Wind at a site", {"units": one_of("metric", "imperial")}),
         {"units": "metric"}, "in metric units"),
        # two verbs, a clause that ends with a preposition, the thing that is resized
        (tool_of("arrange", "Arrange to pay a tax debt", {"taxpayer_id": TEXT}), {"taxpayer_id":
         "T-1"}, "arrange to pay a tax debt for taxpayer T-1"),
        (tool_of("validate", "Check that a VAT number is valid", {"vat_no": TEXT,
         "requester_vat_no": TEXT}, ("vat_no",)), {"vat_no": "DE1"},
         "check that VAT number DE1 is valid"),
        (tool_of("status", "Where a refund claim has got to", {"claim_id": TEXT}), {"claim_id":
         "RC-1"}, "where refund claim RC-1 has got"),
        (tool_of("resize", "Resize a pool of runners", {"pool": one_of("linux", "macos"),
         "max_runners": WHOLE}), {"pool": "linux", "max_runners": 9}, "resize the linux pool "),
        (tool_of("flaky", "Tests that failed in a repository", {"repo": TEXT}), {"repo": "a/b"},
         "tests"),
        (tool_of("transfer", "Start the transfer of a domain from another registrar", {"domain":
         TEXT, "auth_code": of(TEXT, "e.g. Xy7-99")}), {"domain": "a.com", "auth_code": "Xy8-11"},
         "from another registrar with the auth code Xy8-11"),
        (tool_of("check", "Check public resolvers", {"fqdn": of(TEXT, "Fully qualified name, e.g. "
         "a.example.org")}), {"fqdn": "b.com"}, ("for b.com", "of b.com")),
        (tool_of("defer", "Defer a donor", {"donor_no": TEXT, "permanent": YES}), {"donor_no":
         "D-1", "permanent": True}, "donor D-1 (permanent)"),
        (tool_of("match", "Request a crossmatch", {"units": WHOLE}), {"units": 13},
         "crossmatch for 13 units"),
        (tool_of("appeal", "Appeal against an assessment", {"assessment_no": TEXT}),
         {"assessment_no": "AS-7"}, "appeal assessment AS-7"),
        # somebody as what, a switch that is a verb, which half of a day, what it costs
        (tool_of("register", "Register a bidder for a sale", {"sale_no": TEXT, "bidder": of(TEXT,
         "Full name."), "paddle": of(WHOLE, "Paddle number to hand out.")}), {"sale_no": "S12",
         "bidder": "Ana Lind", "paddle": 62},
         "register Ana Lind as a bidder for sale S12 "),
        (tool_of("withdraw", "Withdraw a lot", {"lot_id": TEXT, "announce": of(YES, "Announce it "
         "from the rostrum.")}), {"lot_id": "L-1", "announce": False},
         "and don't announce it from the rostrum"),
        (tool_of("bid", "Leave a bid on a lot", {"lot_id": TEXT, "max_bid": of(WHOLE, "Highest bid "
         "in GBP")}), {"lot_id": "L-1", "max_bid": 490}, ("L-1 up to ", "L-1 for at most ")),
        (tool_of("visit", "Book a visit", {"am_pm": one_of("am", "pm")}), {"am_pm": "pm"}, "(pm)"),
        (tool_of("permit", "Apply for a building permit", {"est_cost": NUMBER}), {"est_cost": 350},
         ("with an estimated cost of 350", "(estimated cost: 350)")),
        # what a relative clause says of many, the flight that is late, no "an urine"
        (tool_of("overdue", "Lifts in a building that are overdue for service", {"building":
         of(TEXT, "Building code, e.g. HQ-2")}), {"building": "HQ-7"}, "lifts that are overdue"),
        (tool_of("flaky", "Tests that failed in a repository", {"repo": TEXT}), {"repo": "a/b"},
         "tests that failed in a/b"),
        (tool_of("list_trips", "List the trips a vehicle made in a period", {"vehicleId": of(TEXT,
         "e.g. TRK-12")}), {"vehicleId": "TRK-99"}, ("trips for vehicle TRK-99",
         "trips of vehicle TRK-99")),
        (tool_of("delay", "Report a delay", {"flight_no": of(TEXT, "e.g. LH20"), "delay": {"type":
         "object", "required": ["minutes"], "properties": {"minutes": WHOLE}}}), {"flight_no":
         "LH75", "delay": {"minutes": 35}}, "flight LH75"),
        (tool_of("register", "Register a sample", {"sample_type": one_of("urine", "serum")}),
         {"sample_type": "urine"}, "a urine sample"),
        (tool_of("add", "Add someone to a member's list", {"member_no": TEXT}), {"member_no":
         "M-1"}, "add someone to member M-1's list"),
        (tool_of("locate", "Get the location of a van", {"van_id": TEXT, "maxAgeSec": WHOLE}),
         {"van_id": "V-1", "maxAgeSec": 60}, "maximum age"),
        (tool_of("deposit", "Deposit a new accession", {"taxon": of(TEXT, "Scientific name, e.g. "
         "Triticum dicoccum")}), {"taxon": "Triticum dicoccum"}, "taxon"),
        # the number that a new thing gets, two sides, a handle as what it is of, who is made what
        (tool_of("register", "Register a newly collared animal", {"tag_id": of(TEXT, "Collar tag, "
         "e.g. EU-36")}), {"tag_id": "EU-84"}, "animal with the tag ID EU-84"),
        (tool_of("register", "Register a new well", {"wellNo": of(TEXT, "e.g. W-20"), "owner":
         TEXT}), {"wellNo": "W-31", "owner": "ana.lind"},
         "the new well W-31 with ana.lind as owner"),
        (tool_of("open", "Open an escrow between a buyer and a seller", {"buyer": of(TEXT, "Email "
         "address of the buyer."), "seller": of(TEXT, "Email address of the seller.")}), {"buyer":
         "a@b.com", "seller": "c@d.com"}, "an escrow between a@b.com and c@d.com"),
        (tool_of("list_open", "Escrows a party has that are still open", {"party": of(TEXT, "Email "
         "address")}), {"party": "a@b.com"}, "escrows that are still open for a@b.com"),
        (tool_of("blocks_due", "Blocks that have not been treated since a date", {"before": DAY}),
         {"before": "2027-03-28"}, "the blocks that have not been treated since "),
        (tool_of("hint", "Send a hint to a team that is stuck", {"gameId": of(TEXT, "e.g. GM-3")}),
         {"gameId": "GM-626"}, "hint to team GM-626"),
        (tool_of("unpaid", "Deliveries a customer has not paid", {"customer": of(TEXT, "Customer "
         "account, e.g. Q-2215")}), {"customer": "Q-7513"}, "customer Q-7513 has not paid"),
        (tool_of("merge", "Merge two memberships", {"keep": of(TEXT, "Number to keep, e.g. FC-10"),
         "drop": of(TEXT, "Number to drop, e.g. FC-10")}), {"keep": "FC-85", "drop": "FC-96"},
         "(keep: FC-85, drop: FC-96)"),
        (tool_of("award_points", "Award points to a member", {"memberNo": TEXT, "neverExpires":
         YES}), {"memberNo": "FC-8", "neverExpires": True},
         "award the points to member FC-8 (never expires)"),
        (tool_of("schedule", "Schedule a show", {"presenter": of(TEXT, "Name of the presenter.")}),
         {"presenter": "Ana Lind"}, "a show by Ana Lind"),
        (tool_of("restart", "Restart a queue", {"queue": one_of("billing-eu", "mail-out")}),
         {"queue": "mail-out"}, "the mail-out queue"),
        (tool_of("register", "Register a voter", {"fullName": TEXT}), {"fullName": "Ana Lind"},
         "register Ana Lind as a voter"),
        (tool_of("extend", "Extend a loan", {"loan_id": TEXT, "agreed_by_both": YES}), {"loan_id":
         "LN-1", "agreed_by_both": False}, "(not agreed by both)"),
        # a number that says which one, where it goes to, plurals and verbs in "-oes", tags, ships
        (tool_of("wrap", "Get the wrap report of a day", {"shoot_day": WHOLE}), {"shoot_day": 7},
         "the wrap report of day 7"),
        (tool_of("give", "Record a gift against an envelope number", {"donor_envelope": WHOLE}),
         {"donor_envelope": 51}, "against envelope number 51"),
        (tool_of("rack", "Rack a batch from one tank to another", {"batch_id": TEXT, "to_tank":
         of(TEXT, "e.g. BBT3")}), {"batch_id": "B-1", "to_tank": "BBT4"},
         ("to tank BBT4", "to BBT4")),
        (tool_of("arrivals", "Ships expected within the next hours", {"hours": WHOLE}), {"hours":
         12}, "the ships expected within the next "),
        (tool_of("veto", "Vetoes a map before a match", {"match_id": TEXT}), {"match_id": "M-1"},
         ("veto a map", "veto the map")),
        (tool_of("declare_dangerous_goods", "Declare dangerous goods on board", {"call_ref": TEXT}),
         {"call_ref": "PC-1"}, ("declare dangerous", "declare the dangerous")),
        (tool_of("forecast", "Forecast of the output", {"horizonH": of(WHOLE, "Hours ahead")}),
         {"horizonH": 4}, ("4 hours", "four hours")),
        (tool_of("book", "Book a transfer", {"time_of_arrival": TEXT}), {"time_of_arrival":
         "14:00"}, ("time of arrival: 14:00", "time of arrival: 2 pm")),
        # what something is per
        (tool_of("post", "Post a job offer", {"hourly_rate": of({"type": "number"}, "Rate per hour "
         "in EUR")}), {"hourly_rate": 20}, "with an hourly rate of 20"),
        (tool_of("find", "Find a free room", {"guests_per_room": WHOLE}), {"guests_per_room": 3},
         ("3 guests per room", "three guests per room")),
        (tool_of("hire", "Hire a camera", {"daily_rate": of({"type": "number"}, "Price per day")}),
         {"daily_rate": 80}, ("daily rate: 80", "daily rate of 80")),
    ],
)  # fmt: skip
def test_a_trade_s_tool_is_asked_for_as_its_people_would(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    assert saying(tool, args, said)


@pytest.mark.parametrize(
    ("name", "schema", "form"),
    [
        ("listener_name", TEXT, "[A-Z][a-z]+ [A-Z].+"),
        ("judge", of(TEXT, "Surname"), r"[A-Z][\w'-]+"),
        ("advertiser", TEXT, "[A-Z].+"),
        ("slot_start", of(TEXT, "ISO 8601 start."), r"\d{4}-\d\d-\d\dT\d\d:\d\d:00"),
        ("repeat", one_of("once", "daily", default="once"), "daily"),
        ("start", TEXT | {"pattern": r"^\d{2}:\d{2}$"}, r"[01]\d:[0-5]\d"),
        ("creditor", TEXT, "[A-Z].+"),
        ("night", of(TEXT, "YYYYMMDD"), r"20\d{6}"),
        ("pi", of(TEXT, "Principal investigator"), r"[A-Z]\w+ [A-Z].+"),
        ("semester", of(TEXT, "e.g. 2027A"), "2027[A-Z]"),
        ("rate_per_word", NUMBER, r"[01]\.\d+|[12]"),
        ("dogs", WHOLE | {"minimum": 0, "maximum": 2}, "[12]"),
        ("vessel", of(TEXT, "Ship's name"), "[A-Z][a-z]+( [A-Z][a-z]+)*"),
        ("groom", of(TEXT, "Name of the groom"), r"[A-Z].* [A-Z].+"),
        ("un_number", of(WHOLE, "UN number, four digits"), r"\d{4}"),
        ("patient_name", of(TEXT, "Call name of the animal."), r"[A-Z]\w+"),
    ],
)
def test_values_of_a_trade_s_tool_fit(name: str, schema: dict[str, Any], form: str) -> None:
    tool = tool_of("log", "Record a song request or a booking", {name: schema, "x": YES}, ("x",))
    for args in drawn(tool):
        assert re.fullmatch(form, str(args[name])), args


def test_a_parcel_s_recipient_is_a_person() -> None:
    address = {"type": "object", "properties": {"recipient": TEXT, "street": TEXT}}
    tool = tool_of("ship", "Ship a parcel", {"address": address | {"required": ["recipient"]}})
    assert not any("@" in args["address"]["recipient"] for args in drawn(tool))


def test_acronyms_keep_their_capitals() -> None:

    rng = random.Random(0)
    for name, values in (("state", ["OPEN", "IN_PROGRESS"]), ("kind", ["GEMA", "PRS", "ASCAP"]),
                         ("telescope", ["ISIS", "ACAM", "LIRIS"])):  # fmt: skip
        (p,) = parameters_of(tool_of("report", "Get a report", {name: one_of(*values)}))
        texts = [spoken(p, value, Scene(rng), rng) for value in values]
        assert texts == (["open", "in progress"] if name == "state" else values)


def test_a_period_is_paid_for_at_its_end() -> None:
    days = dict.fromkeys(("period_start", "period_end", "pay_date"), DAY)
    for args in drawn(tool_of("run", "Create a pay run", days)):
        assert args["period_start"] < args["period_end"] <= args["pay_date"]


def test_a_docstring_without_headings_describes_its_arguments(tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    file.write_text('''def walk(transect: str) -> str:
    """Walk a transect.

    transect: code like T12
    """
''')
    (tool,) = init_spec(file).tools
    assert all(re.fullmatch(r"T\d\d", args["transect"]) for args in drawn(tool))


def test_the_earliest_time_is_before_the_latest() -> None:
    hours = dict.fromkeys(("earliest", "latest"), of(TEXT, "HH:MM"))
    for args in drawn(tool_of("schedule", "Schedule a courier", hours)):
        assert args["earliest"] < args["latest"]


def test_nothing_is_permanent_for_some_months() -> None:
    tool = tool_of("defer", "Defer a donor", {"donor_no": TEXT, "months": WHOLE, "permanent": YES},
                   ("donor_no", "months"))  # fmt: skip
    for seed in range(20):
        assert "permanent" not in argument_names(tool, EVEN_HABITS, random.Random(seed))


def test_a_flat_has_no_title_of_a_document() -> None:
    with pytest.raises(NoValue):
        drawn(tool_of("list", "List a flat", {"title": TEXT}))


def test_a_label_has_no_name_of_another_thing() -> None:
    label = of(TEXT, "Display name of the geofence")
    with pytest.raises(NoValue):
        drawn(tool_of("create", "Create a geofence around a depot", {"label": label}))


def test_a_low_estimate_is_below_the_high_one() -> None:
    ends = {"low_estimate": WHOLE, "high_estimate": WHOLE}
    tool = tool_of("consign", "Consign a lot to a sale", ends)
    assert all(args["low_estimate"] <= args["high_estimate"] for args in drawn(tool))


def test_an_example_of_a_code_or_a_tag_shows_its_form() -> None:
    for name, about, form in (("tank", "Tank code, e.g. BBT3", r"BBT\d"),
                              ("team", "Tag of the team, e.g. FNX", "[A-Z]{3}")):  # fmt: skip
        tool = tool_of("plan", "Plan a match of the league", {name: of(TEXT, about)})
        values = [args[name] for args in drawn(tool)]
        assert len(set(values)) > 4
        assert all(re.fullmatch(form, v) for v in values)
