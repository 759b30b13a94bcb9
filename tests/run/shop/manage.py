"""The same for Django."""

import sys

from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(ROOT_URLCONF="tests.run.shop.urls", ALLOWED_HOSTS=["*"], SECRET_KEY="s")
execute_from_command_line(sys.argv)
