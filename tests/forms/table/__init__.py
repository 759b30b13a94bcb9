"""Every form of mutation that the guard must find, and how it is described; and what is no mutation.

A row: group, name, set-up, change, then pairs of kind and path. A kind may name alternatives, ``a|b``, where
two words are equally true. Paths are written from the module ``app`` on; ``*`` stands for anything.
"""

from tests.forms.form import Form
from tests.forms.table import mappings, objects, places, sequences
from tests.forms.table.harmless import HARMLESS

FORMS: tuple[Form, ...] = (*sequences.FORMS, *mappings.FORMS, *objects.FORMS, *places.FORMS)

__all__ = ["FORMS", "HARMLESS"]
