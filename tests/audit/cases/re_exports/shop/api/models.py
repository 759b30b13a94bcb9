ITEMS = []
KEPT = []


class Basket:
    def __init__(self, items):
        self.items = items

    def add(self, item):
        self.items.append(item)  # finding: SG101


class Holder:
    def __init__(self):
        self.items = KEPT
