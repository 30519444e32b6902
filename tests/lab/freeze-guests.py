#!/usr/bin/python3
"""A hook of Raksha's jobs, for the machine on which the servers run: their guests stand still, through their agents, while disks are taken.

    { "name": "freeze", "command": ["freeze-guests.py", "FOLDER"], "holds": "file_system" }

That a guest was frozen is noted in FOLDER. If somebody else let it go before, the first call after says so by failing: then what was
taken is not of one instant. Later calls have nothing to do.
"""
import json
import pathlib
import subprocess
import sys


def ask(server, command):
    """What the agent of a server's guest answers; none if it cannot be asked."""
    call = json.dumps({"execute": command})
    virsh = ["virsh", "-c", "qemu:///system", "qemu-agent-command", "--timeout", "20", server, call]
    asked = subprocess.run(virsh, capture_output=True, text=True)
    if asked.returncode:
        print(f"{server}: {asked.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(asked.stdout)["return"]


def main():
    call, folder = json.load(sys.stdin), pathlib.Path(sys.argv[1])
    notes = {server: folder / f"{call['run']}-{server}" for server, _ in call["servers"]}
    held = True
    if call["moment"] == "before":
        for server, note in notes.items():
            note.touch()
            held = held and bool(ask(server, "guest-fsfreeze-freeze"))
    else:
        for server, note in notes.items():
            if note.exists():
                thawed = ask(server, "guest-fsfreeze-thaw")
                if thawed is not None:
                    note.unlink()
                if thawed == 0:
                    print(f"{server}: was not frozen any more", file=sys.stderr)
                held = held and bool(thawed)
    sys.exit(not held)


if __name__ == "__main__":
    main()
