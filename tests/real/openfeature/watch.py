"""Evaluates one boolean flag of a flagd file with a real OpenFeature SDK, as an application would, and says what it sees.

usage: watch.py FILE FLAG USERS

Prints a line of JSON at the start and after each change of the answers: {"users": N, "on": [numbers of the users for whom it is
on], "reasons": {...}, "after": seconds since the process began}. Ends when its input is closed.
"""

import collections
import json
import sys
import threading
import time

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

# How often the provider looks at the file, in milliseconds.
LOOKS_EVERY_MS = 100


def main() -> None:
    path, flag, users = sys.argv[1], sys.argv[2], int(sys.argv[3])
    begun = time.monotonic()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=path, deadline_ms=LOOKS_EVERY_MS
    )
    api.set_provider(provider)
    client = api.get_client()
    before = None
    while not ended.is_set():
        on, reasons = [], collections.Counter()
        for user in range(users):
            # The default is the answer of an application whose flag cannot be read: neither seen as on nor silently off.
            details = client.get_boolean_details(flag, False, EvaluationContext(targeting_key=f"user-{user}"))
            reasons[str(details.error_code or details.reason)] += 1
            if details.value:
                on.append(user)
        now = (on, dict(sorted(reasons.items())))
        if now != before:
            line = {"users": users, "on": on, "reasons": now[1], "after": round(time.monotonic() - begun, 3)}
            print(json.dumps(line), flush=True)
            before = now
        ended.wait(0.05)
    api.shutdown()


main()
