"""Private data in a text: e-mail addresses, phone and card numbers, IBANs, national ids.

What is a phone number is decided by phonenumbers (Google's libphonenumber), what passes its check
digits by python-stdnum; the patterns here only say where in a text a number of that spelling may
stand. Ids that are a bare run of digits with one check digit are left out: every tenth number of
that length would be one. Phone numbers without a country code are read as North American.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.cn import ric
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.se import personnummer
from stdnum.us import ssn

from raytune_agents.redact import redact

REGION = "US"  # of phone numbers without a country code
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24})\b")
_EXAMPLE = re.compile(r"(^|\.)(example|test|invalid|localhost|domain|email|company|abc|xyz)\.")
_FICTION = re.compile(r"55501\d\d$")  # 555-0100 to 555-0199 are kept for fiction
_PHONE_LIKE = re.compile(r"(?<![\w.])(?:\+|\()?\d(?:[ ().\-/]{0,2}\d){6,14}(?!\w)")
_HOME = re.compile(  # accounts of machines aside
    r"(/Users/|/home/|\b[A-Z]:\\{1,2}Users\\{1,2})"
    r"(?!(?:user|ubuntu|runner|vscode|node|app|root|shared|public)\b)[\w.-]{1,64}",
    re.I,
)
_BRAND = re.compile(  # Visa, Mastercard, American Express, Diners, Discover, UnionPay
    r"4\d{12}(\d{3})?|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(0[0-5]|[68]\d)\d{11}"
    r"|6(011|5\d\d|4[4-9]\d|2\d\d)\d{12}"
)
_TEST_CARD = re.compile(  # as payment services publish them
    "4111111111111111|4242424242424242|4012888888881881|5555555555554444|5105105105105100"
    "|378282246310005|371449635398431|6011111111111117|30569309025904|3530111333300000"
    "|1234567890123456|1234567812345670"
)


def _real_card(text: str) -> bool:
    """A brand's prefix and length, a right check digit (ISO/IEC 7812-1), no published test card."""
    digits = re.sub(r"\D", "", text)
    known = _TEST_CARD.fullmatch(digits)
    return bool(_BRAND.fullmatch(digits)) and luhn.is_valid(digits) and not known


# kind -> (its spelling in a text, whether a number of that spelling is one)
_SPELT: dict[str, tuple[str, Callable[[str], bool]]] = {
    "card": (r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)", _real_card),
    "iban": (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", iban.is_valid),
    "us_ssn": (r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", ssn.is_valid),
    "br_cpf": (r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])", cpf.is_valid),
    "cn_ric": (r"(?<![\w.-])\d{17}[\dX](?![\w-])", ric.is_valid),
    "dk_cpr": (r"(?<![\w-])\d{6}-\d{4}(?![\w-])", cpr.is_valid),
    "es_dni": (r"(?<![\w-])\d{8}-?[A-Z](?![\w-])", dni.is_valid),
    "es_nie": (r"(?<![\w-])[XYZ]-?\d{7}-?[A-Z](?![\w-])", nie.is_valid),
    "fi_hetu": (r"(?<![\w-])\d{6}[-+A]\d{3}[0-9A-Y](?![\w-])", hetu.is_valid),
    "fr_nir": (r"(?<![\w-])[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d(?![\w-])", nir.is_valid),
    "in_aadhaar": (r"(?<![\w-])(?<!\d )\d{4} \d{4} \d{4}(?![\w-]| \d)", aadhaar.is_valid),
    "it_codice_fiscale": (r"\b[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]\b", codicefiscale.is_valid),
    "kr_rrn": (r"(?<![\w-])\d{6}-\d{7}(?![\w-])", rrn.is_valid),
    "mx_curp": (r"\b[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z\d]\d\b", curp.is_valid),
    "se_personnummer": (r"(?<![\w-])(?:19|20)?\d{6}[-+]\d{4}(?![\w-])", personnummer.is_valid),
}
NUMBERS = {kind: (re.compile(spelling), is_one) for kind, (spelling, is_one) in _SPELT.items()}

LETTERED = ("iban", "it_codice_fiscale", "mx_curp")  # may have fewer than 7 digits together
_DIGITS = re.compile(r"\d(?:[ .+\-A()/]{0,2}\d){6}")  # what all others have


def _real_email(address: str) -> bool:
    return not _EXAMPLE.search(address.rpartition("@")[2].lower())


def _phone(text: str) -> bool:
    """A valid number, grouped as numbers of its country are; a bare run of digits is none."""
    found = PhoneNumberMatcher(text, REGION, leniency=Leniency.STRICT_GROUPING)
    return any(
        not m.raw_string.isdigit() and not _FICTION.search(str(m.number.national_number))
        for m in found
    )


def private_data(text: str) -> str:
    """The kind of the first private datum in a text: email, a name of NUMBERS, phone, or "".

    Not private: reserved and evident example domains, published test cards, phone numbers that
    are kept for fiction.
    """
    if any(_real_email(match[0]) for match in _EMAIL.finditer(text)):
        return "email"
    if sum(c.isdigit() for c in text) < 7:
        return ""
    for kind, (spelling, is_one) in NUMBERS.items():
        if any(is_one(match[0]) for match in spelling.finditer(text)):
            return kind
    return "phone" if _phone(text) else ""


def hide_private(text: str, counts: Counter[str]) -> str:
    """The text with secrets and private data replaced by their kind, "[email]"; people's names in
    paths of their home become "user". Adds to `counts` how many of each kind there were."""

    def hidden(kind: str, is_one: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
        def replaced(match: re.Match[str]) -> str:
            if not is_one(match[0]):
                return match[0]
            counts[kind] += 1
            return f"[{kind}]"

        return replaced

    text = redact(text, counts)
    text, homes = _HOME.subn(r"\1user", text)
    counts.update({"home": homes} if homes else {})
    text = _EMAIL.sub(hidden("email", _real_email), text)
    digits = _DIGITS.search(text) is not None
    for kind, (spelling, is_one) in NUMBERS.items():
        if digits or kind in LETTERED:
            text = spelling.sub(hidden(kind, is_one), text)
    if not digits:
        return text
    return _PHONE_LIKE.sub(hidden("phone", _phone), text)
