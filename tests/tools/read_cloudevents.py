"""What the official SDK makes of CloudEvents, as they came over HTTP.

Reads one JSON object a line: `{"headers": {...}, "body": "..."}`. Prints one a line: `{"attributes": {...}, "data": ...,
"refused": {...}}`, where `refused` says of each altered form whether the SDK refuses it; or `{"error": "..."}`.
"""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat


def read(headers, body):
    return from_http(HTTPMessage(headers=headers, body=body), JSONFormat())


def is_refused(headers, event):
    try:
        read(headers, json.dumps(event).encode())
        return False
    except Exception:
        return True


def altered(event):
    """The same event with one thing wrong, by name."""
    return {
        "id": {**event, "id": ""},
        "source": {**event, "source": ""},
        "type": {k: v for k, v in event.items() if k != "type"},
        "specversion": {**event, "specversion": "2.0"},
        "extension": {**event, "Task_UUID": "x"},
        "time": {**event, "time": "yesterday"},
    }


for line in sys.stdin:
    told = json.loads(line)
    headers, body = told["headers"], told["body"].encode()
    try:
        event = read(headers, body)
    except Exception as e:
        print(json.dumps({"error": f"{type(e).__name__}: {e}"}), flush=True)
        continue
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    refused = {what: is_refused(headers, wrong) for what, wrong in altered(json.loads(body)).items()}
    print(json.dumps({"attributes": attributes, "data": event.get_data(), "refused": refused}), flush=True)
