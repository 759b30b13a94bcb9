"""Values that cannot work are refused with the option, its value and what it may be."""

from __future__ import annotations

import pytest

from stateguard import Guard
from stateguard.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"surfaces": {"x": 3}}, "surfaces={'x': 3} from the keyword argument: expected a table"),
        ({"surfaces": ["x"]}, "expected a table"),
        ({"process": "maybe"}, "process='maybe'"),
        ({"budget": 2}, "budget=2"),
        ({"keep": 0}, "keep=0"),
        ({"watch": []}, "at least one pattern"),
        ({"locate": "sometimes"}, "'auto' or 'always' or 'never'"),
    ],
)
def test_a_wrong_value_names_its_fix(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Guard(**options)
    assert words in str(caught.value)


def test_a_wrong_value_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEGUARD_PROCESS", "maybe")
    with pytest.raises(ConfigError, match="process='maybe' from the environment variable STATEGUARD_PROCESS"):
        Guard()
