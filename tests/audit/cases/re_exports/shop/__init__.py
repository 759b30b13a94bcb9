from .state import *
from .state import HISTORY as TURNS
