"""Prefect flows over the library `jabert`, and the Prefect settings that they need.

The settings are made in code so that they apply in any directory and in an installed wheel; variables of the
environment take precedence.
"""

import logging
import os
import sys
import threading

from jabert.logs import make_logs_safe
from jabert.process import collect_garbage_rarely, remember_signals
from jabert.sockets import reach_directly

_SETTINGS = {
    # A flow without a server starts a temporary one; on a busy machine that takes longer than Prefect's 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "jabert",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # the library also logs outside of flow runs
}
_prefect_came_first = "prefect" in sys.modules  # as in a process that a worker starts
reach_directly()
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
make_logs_safe()  # the API gets tracebacks, in which errors of libraries quote URLs with passwords
logging.getLogger("jabert").setLevel(logging.INFO)
if _prefect_came_first:  # what the command line does for all other runs
    collect_garbage_rarely()
    if threading.current_thread() is threading.main_thread():
        remember_signals()
    if not logging.getLogger("jabert").handlers:
        # PREFECT_LOGGING_EXTRA_LOGGERS was set too late, so the handler is added here.
        from prefect.logging.handlers import APILogHandler

        logging.getLogger("jabert").addHandler(APILogHandler())
