"""The state itself."""

CARTS = {"open": []}
EVENTS = []


def record(event):
    EVENTS.append(event)  # also: SG101
