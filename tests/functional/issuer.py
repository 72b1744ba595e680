# SPDX-License-Identifier: MIT
"""An issuer of access tokens, and its web server."""

import base64
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

import postern


class Issuer:
    """Makes access tokens (RFC 7519), signed with a key of its own."""

    def __init__(self, folder, kid="one"):
        self.kid = kid
        self.key = os.path.join(folder, kid + ".pem")
        self.jwks = os.path.join(folder, kid + ".json")
        self._openssl("genrsa", "-out", self.key, "2048")
        modulus = self._openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().partition("=")[2]
        with open(self.jwks, "w", encoding="ascii") as file:
            json.dump({"keys": [{"kty": "RSA", "kid": kid, "use": "sig", "n": self._url(bytes.fromhex(modulus)),
                                 "e": "AQAB"}]}, file)

    @staticmethod
    def _openssl(*args, text=b""):
        return subprocess.run(("openssl",) + args, input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=True).stdout

    @staticmethod
    def _url(octets):
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")

    def token(self, **claims):
        claims = {"iss": "https://id.example.test", "aud": "mail", "exp": int(time.time()) + 3600,
                  "email": "alice@example.test", **claims}
        text = "%s.%s" % (self._url(json.dumps({"alg": "RS256", "kid": self.kid}).encode()), self._url(json.dumps(claims).encode()))
        signature = self._openssl("dgst", "-sha256", "-sign", self.key, text=text.encode())
        return "%s.%s" % (text, self._url(signature))


class Web:
    """An issuer's web server: its keys, and what it says of a token (RFC 7662). `answer` is called with a request's path, form and
    Authorization; it gives status, further headers and body."""

    def __init__(self, answer):
        folder = postern.scratch_folder()
        certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        postern.authority().issue(certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = {name: values[0] for name, values in urllib.parse.parse_qs(form).items()}
                status, headers, body = answer(self.path, form, self.headers.get("Authorization"))
                octets = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(octets)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(octets)

            do_GET = do_POST = respond

            def setup(self):
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
