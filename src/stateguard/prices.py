"""What the tokens of an agent cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.agent_session import TokenUsage


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in whatever currency you count.

    Prices change and differ per model and contract, so none are built in. Strings and ``Decimal`` keep sums
    exact: ``Prices(input="3", output="15", cache_write="3.75", cache_read="0.30")``.
    """

    input: Decimal | str | int | float
    output: Decimal | str | int | float
    cache_write: Decimal | str | int | float = 0
    cache_read: Decimal | str | int | float = 0

    def cost(self, tokens: TokenUsage) -> Decimal:
        """What ``tokens`` cost at these prices."""
        return (
            _decimal(self.input) * tokens.input
            + _decimal(self.output) * tokens.output
            + _decimal(self.cache_write) * tokens.cache_write
            + _decimal(self.cache_read) * tokens.cache_read
        ).scaleb(-6)


def _decimal(price: Decimal | str | int | float) -> Decimal:
    # A float price means what its shortest text says: 0.1 is a tenth, not 0.1000000000000000055.
    return Decimal(str(price)) if isinstance(price, float) else Decimal(price)
