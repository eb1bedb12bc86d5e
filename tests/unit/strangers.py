"""Tools as a stranger brings them: a Python module, an OpenAPI document, an MCP tool list of a
hundred tools, and catalogues that are hard to make anything of."""

from __future__ import annotations

from typing import Any

HOTEL = '''
"""Rooms of a small hotel chain."""
from typing import Literal

ROOMS = {
    "L-101": {"city": "Lisbon", "kind": "single", "price": 90},
    "L-204": {"city": "Lisbon", "kind": "double", "price": 130},
    "P-12": {"city": "Porto", "kind": "double", "price": 110},
    "P-31": {"city": "Porto", "kind": "suite", "price": 240},
}
BOOKINGS: dict[str, dict] = {}

def find_room(city: str, check_in: str, nights: int, beds: int = 1, breakfast: bool = False) -> list:
    """Find a free room.

    Args:
        city: City of the hotel.
        check_in: Arrival day, YYYY-MM-DD.
        nights: Number of nights.
        beds: Number of beds.
        breakfast: Include breakfast.
    """
    return [{"room": key, **room} for key, room in ROOMS.items() if room["city"] == city]

def book_room(room: str, guest: str, check_in: str, nights: int) -> dict:
    """Book a room for a guest.

    Args:
        room: Room, like L-101.
        guest: Full name of the guest.
        check_in: Arrival day, YYYY-MM-DD.
        nights: Number of nights.
    """
    if room not in ROOMS:
        raise KeyError(f"no room {room}")
    booking = f"B{len(BOOKINGS) + 1001}"
    BOOKINGS[booking] = {"room": room, "guest": guest, "check_in": check_in, "nights": nights}
    return {"booking": booking, "total": ROOMS[room]["price"] * nights}

def room_service(room: str, meal: Literal["breakfast", "lunch", "dinner"], time: str,
                 note: str = "") -> dict:
    """Order a meal to a room.

    Args:
        room: Room, like L-101.
        meal: Which meal.
        time: Time of delivery, HH:MM.
        note: Special requests for the kitchen.
    """
    if room not in ROOMS:
        raise KeyError(f"no room {room}")
    return {"ordered": meal, "at": time}
'''


def _schema(fields: str) -> dict[str, Any]:
    """ "city!:string:Name of the city" | ... -> an object schema; "!" = required."""
    properties: dict[str, Any] = {}
    required = []
    for field in filter(None, (f.strip() for f in fields.split("|"))):
        name, kind, about = (field.split(":", 2) + ["", ""])[:3]
        if name.endswith("!"):
            name = name[:-1]
            required.append(name)
        many = kind.endswith("[]")
        kind = kind.removesuffix("[]")
        schema: dict[str, Any]
        if kind.startswith("("):
            schema = {"type": "string", "enum": kind.strip("()").split(",")}
        else:
            schema = {"type": kind or "string"}
        schema = {"type": "array", "items": schema} if many else schema
        properties[name] = schema | ({"description": about} if about else {})
    return {"type": "object", "properties": properties, "required": required}


OPERATIONS = """
GET /stations | listStations | List charging stations | city:string:City to look in | connector:(type2,ccs,chademo):Connector type | limit:integer:Maximum number of results
GET /stations/{stationId} | getStation | Get a charging station | stationId!:string:Station id, e.g. ST-4410
GET /stations/{stationId}/availability | getStationAvailability | Returns the availability of a charging station on a given day | stationId!:string:Station id, e.g. ST-4410 | date!:string:Day, YYYY-MM-DD
POST /reservations | createReservation | Reserve a charging slot | stationId!:string:Station id, e.g. ST-4410 | start!:string:Start of the slot, ISO 8601 date-time | durationMinutes!:integer:Length of the slot in minutes | licensePlate:string:License plate of the car
GET /reservations/{reservationId} | getReservation | Get a reservation | reservationId!:string:Reservation id, e.g. R-90233
DELETE /reservations/{reservationId} | cancelReservation | Cancels a reservation | reservationId!:string:Reservation id, e.g. R-90233 | reason:string:Reason for the cancellation
PATCH /reservations/{reservationId} | moveReservation | Move a reservation to another time | reservationId!:string:Reservation id, e.g. R-90233 | start!:string:New start, ISO 8601 date-time
POST /sessions | startSession | Start a charging session | stationId!:string:Station id, e.g. ST-4410 | plug!:integer:Number of the plug (1-6) | userId:string:User id, e.g. U-1002
POST /sessions/{sessionId}/stop | stopSession | Stop a running charging session | sessionId!:string:Session id, e.g. SES-55021
GET /sessions | listSessions | List the charging sessions of a user | userId!:string:User id, e.g. U-1002 | from:string:First day, YYYY-MM-DD | to:string:Last day, YYYY-MM-DD
GET /tariffs | getTariff | Get the price of a kilowatt hour | country!:string:Country code, ISO 3166 | at:string:Time of day, HH:MM
POST /users | createUser | Create a user account | email!:string:Email address | fullName!:string:Full name of the user | language:string:Preferred language
PUT /users/{userId}/payment | setPaymentMethod | Set the payment method of a user | userId!:string:User id, e.g. U-1002 | method!:(card,invoice,paypal):Payment method
GET /users/{userId}/invoices | listInvoices | List the invoices of a user | userId!:string:User id, e.g. U-1002 | year:integer:Year
POST /invoices/{invoiceId}/send | sendInvoice | Send an invoice by email | invoiceId!:string:Invoice number, e.g. INV-2025-0412 | email!:string:Email address
POST /faults | reportFault | Report a fault at a station | stationId!:string:Station id, e.g. ST-4410 | description!:string:What is wrong | severity:(low,medium,high):How bad it is
GET /faults | listFaults | List open faults | city:string:City | severity:(low,medium,high):How bad it is
GET /routes | planRoute | Plan a route with charging stops | origin!:string:City where the trip starts | destination!:string:City where the trip ends | rangeKm!:integer:Range of the car in km | avoidTolls:boolean:Avoid toll roads
POST /cards | orderCard | Order a charging card | userId!:string:User id, e.g. U-1002 | address!:string:Postal address
POST /ratings | rateStation | Rate a charging station | stationId!:string:Station id, e.g. ST-4410 | stars!:integer:Rating from 1 to 5 | comment:string:Free text comment
"""


def openapi() -> dict[str, Any]:
    """An OpenAPI document of twenty operations of a charging network."""
    paths: dict[str, Any] = {}
    for line in OPERATIONS.strip().splitlines():
        where, name, summary, fields = line.split(" | ", 3)
        method, path = where.split()
        schema = _schema(fields)
        parameters = [
            {"name": n, "in": "path" if f"{{{n}}}" in path else "query",
             "required": n in schema["required"],
             "schema": {k: v for k, v in p.items() if k != "description"},
             "description": p.get("description", "")}
            for n, p in schema["properties"].items()
            if method == "GET" or f"{{{n}}}" in path
        ]  # fmt: skip
        operation: dict[str, Any] = {"operationId": name, "summary": summary,
                                     "parameters": parameters}  # fmt: skip
        if method != "GET":
            body = {n: p for n, p in schema["properties"].items() if f"{{{n}}}" not in path}
            needed = [r for r in schema["required"] if r in body]
            content = {"schema": {"type": "object", "properties": body, "required": needed}}
            operation["requestBody"] = {"content": {"application/json": content}}
        paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "Charging network"}, "paths": paths}


MCP = """
create_issue | Create a new issue in a GitHub repository. | repo!:string:Repository in the form owner/name | title!:string:Issue title | body:string:Issue body in Markdown | labels:string[]:Labels to apply | assignee:string:Username to assign
list_issues | List issues in a GitHub repository with filtering options. | repo!:string:Repository in the form owner/name | state:(open,closed,all):Filter by state | labels:string[]:Filter by labels | since:string:Only issues updated after this date (ISO 8601)
get_issue | Get the contents of an issue within a repository. | repo!:string:Repository in the form owner/name | issue_number!:integer:The number of the issue
close_issue | Close an issue. | repo!:string:Repository in the form owner/name | issue_number!:integer:The number of the issue
add_issue_comment | Add a comment to an existing issue. | repo!:string:Repository in the form owner/name | issue_number!:integer:Issue number to comment on | body!:string:Comment text
create_pull_request | Create a new pull request in a GitHub repository. | repo!:string:Repository in the form owner/name | title!:string:Pull request title | head!:string:Branch containing changes | base!:string:Branch to merge into | draft:boolean:Create as draft
merge_pull_request | Merge a pull request. | repo!:string:Repository in the form owner/name | pull_number!:integer:Pull request number | method:(merge,squash,rebase):Merge method
list_commits | Get a list of commits of a branch. | repo!:string:Repository in the form owner/name | branch:string:Branch name
create_branch | Create a new branch in a repository. | repo!:string:Repository in the form owner/name | branch!:string:Name for the new branch | from_branch:string:Source branch
fork_repository | Fork a GitHub repository to your account. | repo!:string:Repository in the form owner/name
search_code | Search for code across GitHub repositories. | q!:string:Search query
star_repository | Star a repository for the authenticated user. | repo!:string:Repository in the form owner/name
slack_post_message | Post a new message to a Slack channel. | channel!:string:The channel to post to, e.g. #general | text!:string:The message text to post
slack_reply_to_thread | Reply to a specific message thread in Slack. | channel!:string:The channel of the thread, e.g. #general | thread_ts!:string:Timestamp of the parent message, e.g. 1712345678.001200 | text!:string:The reply text
slack_add_reaction | Add a reaction emoji to a message. | channel!:string:The channel of the message | timestamp!:string:Timestamp of the message, e.g. 1712345678.001200 | reaction!:string:Name of the emoji, e.g. thumbsup, eyes, tada
slack_list_channels | List public channels in the workspace. | limit:integer:Maximum number of channels to return
slack_get_users | Get a list of all users in the workspace with their basic profile information. | limit:integer:Maximum users to return
slack_set_status | Set your Slack status. | text!:string:Status text | emoji:string:Emoji, e.g. :palm_tree:, :coffee: | until:string:When it expires (ISO 8601 date-time)
read_file | Read the complete contents of a file from the file system. | path!:string:Path of the file
write_file | Create a new file or completely overwrite an existing file with new content. | path!:string:Path of the file | content!:string:Content to write
list_directory | Get a detailed listing of all files and directories in a specified path. | path!:string:Path of the directory
move_file | Move or rename files and directories. | source!:string:Source path | destination!:string:Destination path
search_files | Recursively search for files and directories matching a pattern. | path!:string:Directory to search | pattern!:string:Glob pattern, e.g. *.csv, report_*.pdf
delete_file | Delete a file. | path!:string:Path of the file
create_event | Create a calendar event. | title!:string:Title of the event | start!:string:Start, ISO 8601 date-time | end!:string:End, ISO 8601 date-time | attendees:string[]:Email addresses of the attendees | location:string:Where it takes place
list_events | List the events of a day from the calendar. | date!:string:Day, YYYY-MM-DD | calendar:(work,personal,family):Which calendar
delete_event | Delete a calendar event. | event_id!:string:Event id, e.g. evt_4821
find_free_time | Find free time slots shared by several people. | attendees!:string[]:Email addresses | date!:string:Day, YYYY-MM-DD | duration_minutes!:integer:Length of the meeting in minutes
reschedule_event | Move a calendar event to another time. | event_id!:string:Event id, e.g. evt_4821 | new_start!:string:New start, ISO 8601 date-time
send_email | Send an email message. | to!:string[]:Recipient email addresses | subject!:string:Subject line | body!:string:Body text | cc:string[]:CC email addresses
search_emails | Search emails in the mailbox. | query!:string:Search query | from:string:Sender email address | after:string:Only after this date, YYYY-MM-DD | max_results:integer:Maximum number of results
draft_email | Save a draft email. | to!:string:Recipient email address | subject!:string:Subject line | body!:string:Body text
archive_email | Archive an email. | message_id!:string:Message id, e.g. msg_18f2a9
label_email | Apply a label to an email. | message_id!:string:Message id, e.g. msg_18f2a9 | label!:string:Label name, e.g. Travel, Invoices, Follow-up
forward_email | Forward an email to someone. | message_id!:string:Message id, e.g. msg_18f2a9 | to!:string:Recipient email address
brave_web_search | Performs a web search using the Brave Search API, ideal for general queries and news. | query!:string:Search query | count:integer:Number of results (1-20)
fetch_url | Fetches a URL from the internet and extracts its contents as markdown. | url!:string:URL to fetch | max_length:integer:Maximum number of characters to return (1000-20000)
get_weather | Get the current weather for a city. | city!:string:City name | units:(metric,imperial):Units
get_forecast | Get the weather forecast for the next days. | city!:string:City name | days!:integer:Number of days (1-10)
get_air_quality | Get the air quality index for a location. | location!:string:City or address
geocode_address | Convert an address into coordinates. | address!:string:Street address
get_directions | Get directions between two places. | origin!:string:Starting point | destination!:string:Destination | mode:(driving,walking,bicycling,transit):Travel mode
search_places | Search for places near a location. | query!:string:What to look for, e.g. pharmacy, coffee shop, gas station | location!:string:City or neighbourhood | radius:integer:Radius in meters (100-5000)
distance_matrix | Calculate the travel distance and time between two cities. | origin!:string:City of departure | destination!:string:City of arrival
query_database | Run a read-only SQL query. | sql!:string:SQL query to execute
list_tables | List all tables in the database. |
describe_table | Get the schema information for a specific table. | table_name!:string:Name of the table to describe
export_table | Export a table to a file. | table_name!:string:Name of the table | format!:(csv,json,parquet):File format
create_page | Create a new page in Notion. | title!:string:Page title | content:string:Page content | parent_id:string:Parent page id, e.g. pg-20417
search_pages | Search the pages of the workspace. | query!:string:Text to search for
update_page | Update the content of a page. | page_id!:string:Page id, e.g. pg-20417 | content!:string:New content
append_block | Append text to the end of a page. | page_id!:string:Page id, e.g. pg-20417 | text!:string:Text to append
create_task | Create a task in the todo list. | title!:string:What to do | due:string:Due date, YYYY-MM-DD | priority:(low,medium,high):Priority | project:string:Project name
complete_task | Mark a task as completed. | task_id!:string:Task id, e.g. TK-318
list_tasks | List open tasks. | project:string:Project name | due_before:string:Only tasks due before this date, YYYY-MM-DD
assign_task | Assign a task to a teammate. | task_id!:string:Task id, e.g. TK-318 | assignee!:string:Email of the teammate
set_reminder | Set a reminder. | text!:string:What to be reminded of | at!:string:When, ISO 8601 date-time
play_song | Play a song on the living room speaker. | song!:string:Title of the song | artist:string:Artist
pause_playback | Pause the music. |
set_volume | Set the speaker volume. | percent!:integer:Volume in percent (0-100)
add_to_playlist | Add a song to a playlist. | song!:string:Title of the song | playlist!:string:Name of the playlist
get_lyrics | Get the lyrics of a song. | song!:string:Title of the song | artist!:string:Name of the artist
turn_on_light | Turn on a light. | room!:string:Room of the home, e.g. kitchen, bedroom, hallway | brightness:integer:Brightness in percent (1-100)
turn_off_light | Turn off a light. | room!:string:Room of the home, e.g. kitchen, bedroom, hallway
set_thermostat | Set the temperature of a room. | room!:string:Room of the home, e.g. kitchen, bedroom, hallway | temperature!:number:Target temperature in celsius (15-28)
lock_door | Lock a door. | door!:string:Which door, e.g. front door, garage door, back door
start_vacuum | Start the robot vacuum. | room:string:Room to clean, e.g. kitchen, living room, hallway
get_stock_quote | Get the latest quote for a stock. | symbol!:string:Ticker symbol, e.g. AAPL
get_company_news | Get recent news about a company. | company!:string:Name of the company | days:integer:How many days back (1-30)
convert_currency | Convert an amount of money from one currency to another. | amount!:number:Amount | from_currency!:string:Currency code, ISO 4217 | to_currency!:string:Currency code, ISO 4217
get_crypto_price | Get the current price of a cryptocurrency. | coin!:string:Ticker of the coin, e.g. BTC, ETH, SOL | currency:string:Currency code, ISO 4217
calculate_mortgage | Calculate the monthly payment of a mortgage. | loan_amount!:number:Amount of the loan in EUR | interest_rate!:number:Yearly interest rate in percent (1-8) | years!:integer:Term in years (5-35)
search_flights | Search for flights between two airports. | origin!:string:IATA code of the departure airport | destination!:string:IATA code of the arrival airport | departure_date!:string:Date of departure, YYYY-MM-DD | return_date:string:Date of return, YYYY-MM-DD | passengers:integer:Number of passengers (1-9) | cabin:(economy,business,first):Cabin class
get_flight_status | Get the status of a flight. | flight_number!:string:Flight number, e.g. LH1172 | date:string:Date, YYYY-MM-DD
search_hotels | Search for hotels in a city. | city!:string:City | check_in!:string:Check-in date, YYYY-MM-DD | check_out!:string:Check-out date, YYYY-MM-DD | guests:integer:Number of guests | max_price:number:Highest price per night in EUR
book_table | Book a table at a restaurant. | restaurant!:string:Name of the restaurant | date!:string:Date, YYYY-MM-DD | time!:string:Time, HH:MM | party_size!:integer:Number of people
find_recipes | Find recipes that use certain ingredients. | ingredients!:string[]:Ingredients at hand | diet:(vegetarian,vegan,gluten-free):Diet
get_nutrition | Get the nutrition facts of a food. | food!:string:Name of the food, e.g. banana, oatmeal, salmon | grams:integer:Amount in grams (10-500)
translate_text | Translate text into another language. | text!:string:Text to translate | target_language!:string:Target language
detect_language | Detect the language of a text. | text!:string:Text
summarize_document | Summarize a document. | path!:string:Path of the document | max_words:integer:Length of the summary in words (50-500)
generate_image | Generate an image from a text description. | prompt!:string:What the image shows | size:(512x512,1024x1024):Size
resize_image | Resize an image. | path!:string:Path of the image file, e.g. logo.png | width!:integer:Width in pixels (64-4096) | height!:integer:Height in pixels (64-4096)
text_to_speech | Read a text aloud. | text!:string:Text to read | voice:(female,male):Voice
create_customer | Create a customer in Stripe. | name!:string:Full name of the customer | email!:string:Email address of the customer
create_payment_link | Create a payment link. | amount!:integer:Amount in cents (100-50000) | currency!:string:Currency code, ISO 4217 | product!:string:What is paid for
refund_payment | Refund a payment. | payment_id!:string:Payment id, e.g. pay_77120 | amount:number:Amount in EUR | reason:string:Reason
list_invoices | List the invoices of a customer. | customer_email!:string:Email address of the customer | status:(draft,open,paid,void):Status
track_package | Track a package. | tracking_number!:string:Tracking number, e.g. 1Z99830021
create_shipment | Create a shipment. | to_name!:string:Name of the receiver | to_address!:string:Postal address of the receiver | weight_kg!:number:Weight in kg (0.1-30)
deploy_service | Deploy a version of a service to an environment. | service!:string:Name of the service | version!:string:Version, e.g. 2.4.1 | environment!:(staging,production):Environment
scale_deployment | Scale a deployment to a number of replicas. | deployment!:string:Name of the deployment | replicas!:integer:Number of replicas (1-20)
get_logs | Get the logs of a service. | service!:string:Name of the service | level:(debug,info,warning,error):Log level | minutes:integer:How many minutes back (5-120)
restart_pod | Restart a pod. | pod!:string:Name of the pod, e.g. checkout-7f9c, worker-2b41
create_alert | Create an alert on a metric. | metric!:string:Metric, e.g. cpu_usage, error_rate, latency_p95 | threshold!:number:Threshold (1-100)
silence_alert | Silence an alert for some hours. | alert_id!:string:Alert id, e.g. AL-2207 | hours!:integer:Hours (1-48)
get_on_call | Find out who is on call. | team!:string:Team name, e.g. platform, payments, mobile | date:string:Date, YYYY-MM-DD
page_on_call | Page the person on call. | team!:string:Team name, e.g. platform, payments, mobile | message!:string:What happened
"""


def mcp() -> dict[str, Any]:
    """A `tools/list` answer of a hundred tools."""
    tools = []
    for line in MCP.strip().splitlines():
        name, about, fields = (line.split(" | ", 2) + [""])[:3]
        fields = "" if fields.strip() == "|" else fields
        tools.append({"name": name, "description": about.strip(" |"),
                      "inputSchema": _schema(fields)})  # fmt: skip
    return {"tools": tools}


HARD = [  # what no row can be made of, or little
    {"name": "f", "description": "", "parameters": _schema("x!:string|y!:string")},
    {"name": "frobnicate", "description": "Frobnicate.", "parameters": _schema("gizmo!:string")},
    {"name": "get_thing", "description": "Gets it.", "parameters": _schema("a!:string")},
    {"name": "never", "description": "Set the level of the pump.", "parameters": {
        "type": "object", "required": ["level"],
        "properties": {"level": {"type": "integer", "minimum": 9, "maximum": 3}}}},
    {"name": "empty_choice", "description": "Choose a colour.", "parameters": {
        "type": "object", "required": ["colour"],
        "properties": {"colour": {"type": "string", "enum": []}}}},
    {"name": "contradiction", "description": "Register a plate.", "parameters": {
        "type": "object", "required": ["plate"],
        "properties": {"plate": {"type": "string", "pattern": "^[A-Z]{3}$", "maxLength": 2}}}},
]  # fmt: skip


def many(count: int) -> list[dict[str, Any]]:
    """A catalogue of `count` tools, as enterprise back ends have them."""
    things = ["invoice", "order", "customer", "supplier", "shipment", "contract", "employee",
              "ticket", "asset", "project", "campaign", "warehouse", "vehicle", "policy", "claim",
              "lead", "quote", "subscription", "budget", "timesheet", "vendor", "license", "course",
              "device", "case"]  # fmt: skip
    verbs = {"get": "Get {a} by its id.", "create": "Create {a}.", "cancel": "Cancel {a}.",
             "list": "List the {s} of a month.", "approve": "Approve {a}.",
             "assign": "Assign {a} to a person.", "archive": "Archive {a}.",
             "export": "Export the {s} of a month to a file.", "rename": "Rename {a}.",
             "search": "Search the {s}.", "note": "Add a note to {a}.", "share": "Share {a}.",
             "lock": "Lock {a}.", "unlock": "Unlock {a}.", "copy": "Copy {a}.",
             "print": "Print {a}.", "close": "Close {a}.", "reopen": "Reopen {a}.",
             "watch": "Watch {a}.", "tag": "Tag {a}."}  # fmt: skip
    extra = {"list": "month!:string:Month, YYYY-MM", "export": "month!:string:Month, YYYY-MM | "
             "format:(csv,xlsx):File format", "assign": "{id} | email!:string:Email of the person",
             "create": "name!:string:Name, e.g. {t} A, {t} B", "note": "{id} | note!:string:Text",
             "rename": "{id} | name!:string:New name, e.g. {t} A, {t} B",
             "search": "query!:string:Text to look for in documents",
             "share": "{id} | email!:string:Email address", "tag": "{id} | tag!:string:Tag"}  # fmt: skip
    out = []
    for verb, about in verbs.items():
        for thing in things:
            key = f"{thing}_id!:string:Id of the {thing}, e.g. {thing[:2].upper()}-1042"
            article = "an" if thing[0] in "aeiou" else "a"
            fields = extra.get(verb, "{id}").replace("{id}", key).replace("{t}", thing.title())
            out.append({
                "name": f"{verb}_{thing}",
                "description": about.format(a=f"{article} {thing}", s=f"{thing}s"),
                "parameters": _schema(fields),
            })  # fmt: skip
    return out[:count]
