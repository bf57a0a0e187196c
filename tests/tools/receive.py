"""A consumer that trusts nobody but the official library: every delivery is verified by `standardwebhooks`.

    receive.py SECRET...

Prints its port, then one JSON object a line for each delivery: the event's id and type, by which of the secrets it
verified, and whether the library refuses the same delivery once its body, its id, its time or its signature is altered.
Answers 204 to what verified and 401 to the rest.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

VERIFIERS = [Webhook(secret) for secret in sys.argv[1:]]
PRINTING = threading.Lock()
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def verifies(verifier, body, headers):
    try:
        verifier.verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def altered(body, headers):
    """The same delivery with one thing changed, by name."""
    signature = headers["webhook-signature"]
    # Not the last digits, two of whose bits mean nothing; of every signature, since one that verifies is enough.
    flipped = " ".join(s[:5] + ("A" if s[5] != "A" else "B") + s[6:] for s in signature.split(" "))
    return {
        "body": (body.replace(b'"type"', b'"typo"', 1), headers),
        "id": (body, {**headers, "webhook-id": headers["webhook-id"] + "0"}),
        "timestamp": (body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
        "signature": (body, {**headers, "webhook-signature": flipped}),
        "old": (body, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 400)}),
    }


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: self.headers.get(name, "") for name in NAMES}
        by = [n for n, verifier in enumerate(VERIFIERS) if verifies(verifier, body, headers)]
        refused = {
            what: not any(verifies(verifier, *changed) for verifier in VERIFIERS)
            for what, changed in altered(body, headers).items()
        }
        event = json.loads(body)
        told = {"id": headers["webhook-id"], "event": event, "verifiedBy": by, "refused": refused}
        told["signatures"] = len(headers["webhook-signature"].split(" "))
        with PRINTING:
            print(json.dumps(told), flush=True)
        self.send_response(204 if by else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
