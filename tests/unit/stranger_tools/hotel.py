"""Rooms of a small hotel chain."""
from typing import Literal

ROOMS = {
    "L-101": {"city": "Lisbon", "kind": "single", "price": 90},
    "L-204": {"city": "Lisbon", "kind": "double", "price": 130},
    "P-12": {"city": "Porto", "kind": "double", "price": 110},
    "P-31": {"city": "Porto", "kind": "suite", "price": 240},
}
BOOKINGS: dict[str, dict] = {}

def find_room(
    city: str, check_in: str, nights: int, beds: int = 1, breakfast: bool = False
) -> list:
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
