# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for QEMU: opens the same sockets, answers the monitor, and then follows a script.

The script is the value of ``-kernel``: a text file with one step per line: ``say TEXT`` (console),
``hypervisor TEXT`` (debug console), ``reset TEXT`` (reset log), ``sleep SECONDS``, ``burn SECONDS`` (of
CPU time, until it has used so much), ``echo`` (repeat what
is typed, once), ``exit STATUS``, ``kill SIGNAL``. It then runs until it is killed. With ``until COMMAND``
anywhere it ends as soon as the monitor is given that command.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

PCI = [{"bus": 0, "devices": [
    {"slot": 2, "regions": [{"bar": 4, "type": "memory", "address": 0xFE000000, "mem_type_64": True}]},
    {"slot": 3, "regions": [{"bar": 0, "type": "memory", "address": 0xFEBF0000},
                            {"bar": 2, "type": "memory", "address": 0x1_FE40_0000, "mem_type_64": True}]},
]}]  # fmt: skip
RETURNS = {
    "query-migrate": {"status": "completed"},
    "query-status": {"status": "paused"},
    "query-pci": PCI,
}


followed = threading.Event()
"""The script has been followed to its end."""


def value(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def append(path: str, text: str) -> None:
    with open(path, "ab") as file:
        file.write(text.encode())


def listen(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    return server


def requests(client: socket.socket):
    """JSON objects from the client; they come without line ends."""
    text = ""
    while data := client.recv(65536):
        text += data.decode()
        while text.strip():
            try:
                request, end = json.JSONDecoder().raw_decode(text.lstrip())
            except ValueError:
                break
            text = text.lstrip()[end:]
            yield request


def monitor(server: socket.socket, last: str) -> None:
    while True:
        client, _ = server.accept()
        client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
        for request in requests(client):
            if request["execute"] == last:
                followed.wait()
                os._exit(255)
            arguments = request.get("arguments", {})
            line = arguments.get("command-line") or arguments.get("uri") or ""
            append(
                os.path.join(os.path.dirname(value("-D")), "monitor.log"), f"{request['execute']} {line}\n"
            )
            answer: dict[str, object] = {"return": RETURNS.get(request["execute"], {})}
            if request["execute"] == "human-monitor-command":
                answer = {"return": " TCP[HOST_FORWARD]  3  127.0.0.1 40022  10.0.2.15  22  0 0\r\n"}
            elif request["execute"] == "refuse":
                answer = {"error": {"class": "GenericError", "desc": "refused on purpose"}}
            elif request["execute"] == "sleep":
                time.sleep(1)
            client.sendall(json.dumps({**answer, "id": request.get("id")}).encode() + b"\n")


def main() -> None:
    if "--version" in sys.argv:
        print("QEMU emulator version 9.9.9 (fake)")
        return
    script = Path(value("-kernel")).read_text().splitlines()
    if script and script[0].startswith("refuse"):
        sys.exit(f"qemu: {script[0]}")
    console_path = re.search(r"path=([^,]+)", value("-chardev"))[1]
    log_path = re.search(r"logfile=([^,]+)", value("-chardev"))[1]
    console_server = listen(console_path)
    client, _ = console_server.accept()
    qmp = listen(re.match(r"unix:([^,]+)", value("-qmp"))[1])
    last = next((line.partition(" ")[2] for line in script if line.startswith("until ")), "")
    threading.Thread(target=monitor, args=(qmp, last), daemon=True).start()
    hypervisor_path = value("-debugcon").removeprefix("file:")
    for line in script:
        step, _, rest = line.partition(" ")
        if step == "say":
            append(log_path, rest + "\r\n")
            client.sendall(rest.encode() + b"\r\n")
        elif step == "hypervisor":
            append(hypervisor_path, rest + "\n")
        elif step == "reset":
            append(value("-D"), rest + "\n")
        elif step == "sleep":
            time.sleep(float(rest))
        elif step == "burn":
            while time.process_time() < float(rest):
                pass
        elif step == "echo":
            client.sendall(client.recv(100))
        elif step == "exit":
            os._exit(int(rest))
        elif step == "kill":
            os.kill(os.getpid(), int(rest))
    followed.set()
    time.sleep(60)


main()
