"""What each code of an error message means for what it is about. Pure.

The protocol has one message for refusals, warnings and notices; only the code says which, and what is unlisted proves nothing:
the request that it names is UNKNOWN until a fact ends it. Codes: interactivebrokers.github.io/tws-api/message_codes.html
"""

from __future__ import annotations

from enum import Enum

from core.enums import Reason


class Meaning(Enum):
    REFUSED = "refused"  # the order or change was not taken
    NO_CANCEL = "no cancel"  # the cancel was not taken
    CANCELED = "canceled"
    WARNING = "warning"  # the order lives on; people may want to know
    NOTICE = "notice"  # of the state of things
    LOST = "lost"  # the gateway has lost its servers
    RESTORED_EMPTY = "restored, data lost"
    RESTORED = "restored"
    NO_FARM = "no farm"  # market data has stopped
    DEPTH_RESET = "depth reset"
    TAKEN = "client id taken"
    FATAL = "fatal"  # this connection is of no use
    THROTTLED = "throttled"
    UNKNOWN = "unknown"


# An order or change that was refused, with what of ours comes nearest.
REFUSALS: dict[int, Reason] = {
    103: Reason.DUPLICATE_ID,
    104: Reason.UNKNOWN_ORDER,  # a change of a filled order
    105: Reason.BAD_FIELD,  # a change that does not match its order
    106: Reason.UNKNOWN_ORDER,
    107: Reason.BAD_FIELD,
    109: Reason.BAD_PRICE,
    110: Reason.BAD_TICK,
    111: Reason.BAD_FIELD,
    113: Reason.BAD_FIELD,
    116: Reason.CLOSED,
    132: Reason.BAD_FIELD,
    133: Reason.NONE,
    134: Reason.NONE,
    140: Reason.BAD_QTY,
    141: Reason.BAD_PRICE,
    144: Reason.BAD_FIELD,
    145: Reason.BAD_FIELD,
    146: Reason.BAD_TRIGGER,
    147: Reason.BAD_FIELD,
    148: Reason.BAD_FIELD,
    151: Reason.BAD_FIELD,
    152: Reason.BAD_FIELD,
    154: Reason.CLOSED,  # halted
    155: Reason.BAD_FIELD,
    157: Reason.BAD_FIELD,
    160: Reason.UNKNOWN_ORDER,
    163: Reason.BAD_PRICE,
    164: Reason.BAD_FIELD,
    200: Reason.BAD_FIELD,  # no such contract
    201: Reason.NONE,  # refused; why is in its text
    203: Reason.CLOSED,  # not allowed for this account
    321: Reason.BAD_FIELD,  # also: read-only API
    322: Reason.NONE,
    328: Reason.BAD_FIELD,
    329: Reason.BAD_FIELD,
    336: Reason.BAD_FIELD,
    337: Reason.BAD_FIELD,
    338: Reason.BAD_FIELD,
    339: Reason.BAD_FIELD,
    343: Reason.BAD_FIELD,
    355: Reason.BAD_QTY,
    382: Reason.BAD_PRICE,
    383: Reason.BAD_QTY,
    387: Reason.BAD_FIELD,
    388: Reason.BAD_QTY,
    391: Reason.BAD_FIELD,
    403: Reason.BAD_TRIGGER,
    412: Reason.CLOSED,
    417: Reason.BAD_FIELD,
    421: Reason.BAD_FIELD,
    432: Reason.BAD_QTY,
    434: Reason.BAD_QTY,
    435: Reason.BAD_FIELD,
    436: Reason.BAD_FIELD,
    439: Reason.BAD_FIELD,
    447: Reason.BAD_FIELD,
    460: Reason.CLOSED,  # no trading permission
    461: Reason.BAD_FIELD,
    463: Reason.BAD_PRICE,
    10006: Reason.BAD_FIELD,
    10043: Reason.BAD_FIELD,
    10052: Reason.BAD_FIELD,
    10268: Reason.BAD_FIELD,
    10269: Reason.BAD_FIELD,
    10270: Reason.BAD_FIELD,
    10289: Reason.BAD_FIELD,
    10318: Reason.BAD_QTY,
    10320: Reason.BAD_QTY,
}
CANCEL_REFUSALS: dict[int, Reason] = {
    135: Reason.UNKNOWN_ORDER,
    136: Reason.NONE,
    161: Reason.NONE,
    10147: Reason.UNKNOWN_ORDER,
    10148: Reason.UNKNOWN_ORDER,
}
WARNINGS = frozenset((399, 404, 10167, 10197, 10349))
MEANINGS: dict[int, Meaning] = {
    100: Meaning.THROTTLED,
    202: Meaning.CANCELED,
    317: Meaning.DEPTH_RESET,
    326: Meaning.TAKEN,
    501: Meaning.NOTICE,
    502: Meaning.FATAL,
    503: Meaning.FATAL,
    504: Meaning.FATAL,
    505: Meaning.FATAL,
    507: Meaning.FATAL,
    1100: Meaning.LOST,
    1101: Meaning.RESTORED_EMPTY,
    1102: Meaning.RESTORED,
    1300: Meaning.FATAL,  # the port was reset: connect again
    2103: Meaning.NO_FARM,
    **dict.fromkeys(REFUSALS, Meaning.REFUSED),
    **dict.fromkeys(CANCEL_REFUSALS, Meaning.NO_CANCEL),
    **dict.fromkeys(WARNINGS, Meaning.WARNING),
}
# Connectivity of farms, orders bound, accounts: 2100 to 2169 are notices by their range.
NOTICE_RANGE = range(2100, 2170)
# 10148 of an order whose cancel is on its way says that it is; the state stands in its text.
CANCEL_UNDER_WAY = "PendingCancel"


def meaning_of(code: int) -> Meaning:
    known = MEANINGS.get(code)
    if known is not None:
        return known
    return Meaning.NOTICE if code in NOTICE_RANGE else Meaning.UNKNOWN
