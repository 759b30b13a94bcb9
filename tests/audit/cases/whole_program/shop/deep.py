"""Star import, function import, cyclic import."""

from .store import *


def through_star(event):
    EVENTS.append(event)  # finding: SG101


def through_function_import(event):
    from .views import OPEN as opened

    opened.append(event)  # finding: SG101
