"""The other module: two of the writes come from here."""

import state


def handle(u):
    state.HISTORY.append(u)  # finding: SG101
    state.CURRENT = u  # finding: SG103
