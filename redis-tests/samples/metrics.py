"""What those who watch a server read: its own metrics, and what an exporter makes of INFO.

usage: metrics.py METRICS_PORT [OURS THEIRS]

The answer of the metrics port is read by the strict parser of OpenMetrics. OURS and THEIRS are the
metrics that an exporter has made of this server and of redis-server, in files.
"""

import re
import sys
import urllib.request

from checks import check, finish
from prometheus_client.openmetrics.parser import text_string_to_metric_families




def own(port):
    accept = "application/openmetrics-text; version=1.0.0"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        check("the type", answer.headers["Content-Type"].startswith("application/openmetrics-text"))
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    check("there are many", len(families) > 100)
    for family in families.values():
        check(f"{family.name} says what it is", bool(family.documentation) and family.type != "unknown")
    calls = families["siltdb_command_calls"].samples
    check("calls are counted", any(sample.value > 0 for sample in calls))
    times = families["siltdb_command_duration_seconds"]
    check("times are a histogram", times.type, "histogram")


def exported(path):
    """The names of the metrics in a file, and the values of those without labels."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    names = {re.match(r"[a-zA-Z0-9_]+", line)[0] for line in lines}
    values = dict(line.split() for line in lines if "{" not in line)
    errors = [line for line in lines if line.startswith("redis_exporter_last_scrape_error")]
    return names, values, errors


def exporter(ours, theirs):
    names, values, errors = exported(ours)
    wanted, _, _ = exported(theirs)
    check("it is up", values.get("redis_up"), "1")
    check("nothing failed", [line.split()[-1] for line in errors], ["0"])
    check("redis-server gives much", len(wanted) > 100)
    for name in sorted(wanted):
        check(f"{name} is there", name in names)


own(int(sys.argv[1]))
if len(sys.argv) > 2:
    exporter(sys.argv[2], sys.argv[3])
sys.exit(finish())
