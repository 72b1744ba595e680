#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""report_read.py FILE - what Python's email package reads in a report: its header, and one line for each part and field of it."""
import email
import email.policy
import sys

with open(sys.argv[1], "rb") as file:
    octets = file.read()
for line in octets.split(b"\r\n"):
    if len(line) > 998 or b"\r" in line or b"\n" in line or b"\0" in line:
        print("bad line", line[:100])
message = email.message_from_bytes(octets, policy=email.policy.default)
print("type", message.get_content_type(), message.get_param("report-type"))
for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To", "References", "Message-ID", "Date", "Bcc"):
    for value in message.get_all(name, []):
        print(name, "=", value)


def show(part):
    print("part", part.get_content_type(), part.get("Content-Transfer-Encoding", ""))
    for defect in part.defects:
        print("defect", defect)
    if part.get_content_type() == "text/plain":
        print(part.get_content().replace("\r\n", "\n"))
    elif part.get_content_type() == "text/rfc822-headers":
        print("returned", repr(part.get_payload(decode=True)))
    elif part.get_content_type() == "message/delivery-status":
        for group in part.get_payload():
            print("group")
            for name, value in group.items():
                print(name, "=", value)
    elif part.get_content_maintype() == "message":
        start = octets.index(("Content-Type: " + part.get_content_type()).encode())
        start = octets.index(b"\r\n\r\n", start) + 4
        boundary = b"\r\n--" + message.get_boundary().encode()
        print("returned", repr(octets[start:octets.index(boundary, start)]))


assert message.is_multipart()
for one in message.get_payload():
    show(one)
for defect in message.defects:
    print("defect", defect)
