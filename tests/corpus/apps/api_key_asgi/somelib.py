"""A client library configured through an object of its module."""


class Options:
    api_key = None


options = Options()
