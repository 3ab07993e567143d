"""A receiver of webhooks that trusts nobody: checks each with the library of the Standard Webhooks project. The first request is
answered 500 although its signature is good. Prints its port, then a JSON line per request."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook

secret = sys.argv[1]


class Receiver(BaseHTTPRequestHandler):
    seen = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        told = {"id": self.headers["webhook-id"], "type": self.headers["content-type"]}
        try:
            Webhook(secret).verify(body.decode(), {name: self.headers[name] for name in names})
            told["good"] = True
        except Exception as error:  # whatever the library says
            told["good"] = False
            told["why"] = str(error)
        told["event"] = json.loads(body)
        Receiver.seen += 1
        told["status"] = 500 if Receiver.seen == 1 else 204
        self.send_response(told["status"])
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(told), flush=True)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
