"""Memory that two names share: views, streams, records."""

import array
import io

import numpy

GRID = numpy.zeros(8)
ROW = GRID[2:6]
RECORDS = numpy.array([None, None], dtype=object)
LEVELS = array.array("i", [0] * 8)
VIEW = memoryview(LEVELS)
OUTPUT = io.BytesIO()


def _number(user):
    return sum(map(ord, user))


def array_view(user):
    ROW[0] = _number(user)  # LEAK numpy


def array_of_objects(user):
    RECORDS[0] = user  # LEAK objects


def memory_view(user):
    VIEW[0] = _number(user)  # LEAK view


def byte_stream(user):
    OUTPUT.write(user.encode())  # LEAK stream
