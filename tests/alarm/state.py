HISTORY: list[str] = []
NAMES: dict[str, str] = {}
