"""Writes leaks into a directory until it is killed; says on standard output which ones are on file."""

import os
import sys

from stateguard.report.jsonl import JsonLines
from tests.alarm.leaks import leak

sink = JsonLines(sys.argv[1], max_bytes=200_000, keep=1000)
number = 0
while True:
    number += 1
    sink.leak(leak(f"app.worker{sys.argv[2]}.n{number}"), 1)
    os.write(1, b"%d\n" % number)
