"""Points as JSON lines on stdin, line protocol on stdout: InfluxDB's own Python client as an independent encoder."""

import json
import sys

from influxdb_client import Point, WritePrecision

for line in sys.stdin:
    told = json.loads(line)
    point = Point(told["measurement"]).time(told["at"], WritePrecision.MS)
    for key, value in told["tags"]:
        point.tag(key, value)
    for key, value in told["fields"]:
        point.field(key, value)
    # One JSON text per line: a text field may hold line breaks.
    print(json.dumps(point.to_line_protocol()), flush=True)
