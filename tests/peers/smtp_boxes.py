"""A mail server (aiosmtpd) whose boxes are lines of a file: each line is one message as JSON.

usage: smtp_boxes.py PORT OUT [--tls CERT KEY]

Who hands in logs in as `onemap` with the secret of the tests. `gone@` has no box (550), `later@` has one from its second
message on (450).
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Boxes:
    def __init__(self, out):
        self.out = out
        self.n_later = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such box"
        if address.startswith("later@"):
            self.n_later += 1
            if self.n_later == 1:
                return "450 4.2.0 not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        line = {
            "from": envelope.mail_from,
            "box": envelope.rcpt_tos,
            "to": str(message["to"]),
            "subject": str(message["subject"]),
            "id": str(message["message-id"]),
            "date": str(message["date"]),
            "text": message.get_content(),
        }
        with open(self.out, "a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        return "250 kept"


def knows(server, session, envelope, mechanism, data):
    is_known = data.login == b"onemap" and data.password == b"a shared secret"
    return AuthResult(success=is_known)


async def main():
    port, out = int(sys.argv[1]), sys.argv[2]
    context = None
    if len(sys.argv) > 3:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
    boxes = Boxes(out)

    def made():
        return SMTP(
            boxes, enable_SMTPUTF8=True, authenticator=knows, auth_required=True, auth_require_tls=False
        )

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
