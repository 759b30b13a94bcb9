"""Twenty customers. Each knows a code word and has one order that nobody else should ever see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer of the shop, as the service's database would know them."""

    name: str
    code_word: str
    order: str

    @property
    def token(self) -> str:
        """The bearer token of this customer's browser session."""
        return f"token-{self.name.lower()}"

    @property
    def private_words(self) -> tuple[str, str, str]:
        """What must never appear in an answer to somebody else."""
        return (self.name, self.code_word, self.order)


CUSTOMERS = tuple(
    Customer(*row)
    for row in (
        ("Amelia", "marigold-41", "copper kettle"),
        ("Bruno", "juniper-17", "desk lamp"),
        ("Chiara", "saffron-63", "garden hose"),
        ("Dmitri", "cobalt-28", "chess clock"),
        ("Elif", "tamarind-95", "rain boots"),
        ("Farid", "obsidian-52", "bread knife"),
        ("Greta", "lavender-39", "yoga mat"),
        ("Hiro", "vermilion-74", "camping stove"),
        ("Ines", "hazelnut-16", "wool blanket"),
        ("Jonas", "turquoise-81", "bike pump"),
        ("Kavya", "cardamom-47", "reading glasses"),
        ("Lars", "graphite-22", "tea strainer"),
        ("Mei", "clementine-68", "door bell"),
        ("Noah", "indigo-33", "coffee grinder"),
        ("Olga", "rosemary-59", "picture frame"),
        ("Pavel", "malachite-84", "running shoes"),
        ("Quinn", "nutmeg-12", "alarm clock"),
        ("Rosa", "amaranth-77", "paper lantern"),
        ("Samir", "sandstone-45", "cast-iron pan"),
        ("Tova", "wisteria-90", "noise meter"),
    )
)

BY_TOKEN = {customer.token: customer for customer in CUSTOMERS}
BY_NAME = {customer.name: customer for customer in CUSTOMERS}
