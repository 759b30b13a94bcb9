__all__ = ["HISTORY", "CART", "settings", "remember"]

HISTORY = []
CART = {}
_private = []
CURRENT = None


class Settings:
    def __init__(self):
        self.language = "en"
        self.recent = []


settings = Settings()


def remember(text):
    HISTORY.append(text)  # also: SG101


def reset_for_tests():
    HISTORY.clear()
