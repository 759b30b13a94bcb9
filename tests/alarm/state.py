HISTORY: list[str] = []
