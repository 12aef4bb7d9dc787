#!/usr/bin/env python3
"""Build a container image from this machine's own programs, without a registry.

    mkimage.py                                   batchyard-test:1 into the engine of $DOCKER_HOST
    mkimage.py --socket /run/podman/podman.sock  ... into another engine
    mkimage.py --tag bio:1 samtools bcftools     more programs in another image
    mkimage.py --output rootfs.tar               only the root file system, no engine needed

The root file system holds the programs, every shared library `ldd` names for them, and the few
files a C library expects. Runs on the Python of a bare machine: standard library only.
"""

import argparse
import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
from pathlib import Path
from typing import BinaryIO

BASIC = """
    bash sh cat ls head tail sort uniq wc grep sed awk mawk env sleep true false date hostname id
    mkdir rm cp mv tr cut seq tee echo touch df md5sum sha256sum gzip timeout expr basename dirname
    nproc printf test stat ln chmod dd kill mknod mount yes ps nice setsid
"""
SEARCH_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DIRECTORIES = "usr usr/bin usr/sbin usr/lib usr/lib64 tmp var var/tmp etc root proc sys dev run"
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
# pthread_exit opens it at run time, so ldd does not name it.
ALWAYS = [
    path
    for path in ("/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/aarch64-linux-gnu/libgcc_s.so.1")
    if os.path.exists(path)
]


def closure(programs: list[str]) -> list[str]:
    """All files needed to run the programs: themselves, their links, their libraries."""
    found: set[str] = set()

    def add(path: str) -> None:
        path = os.path.abspath(path)
        while path not in found:
            found.add(path)
            if not os.path.islink(path):
                return
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))

    for program in programs:
        path = program if program.startswith("/") else shutil.which(program, path=SEARCH_PATH)
        if path is None or not os.path.exists(path):
            sys.exit(
                f"mkimage: no program {program!r} on this machine: install it, or leave it out"
            )
        add(path)
        listing = subprocess.run(
            ["ldd", os.path.realpath(path)], capture_output=True, text=True, check=False
        ).stdout
        for library in re.findall(r"(/\S+)", listing):
            add(library)
    for path in ALWAYS:
        add(path)
    return sorted(found)


def write_rootfs(out: BinaryIO, programs: list[str]) -> None:
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in DIRECTORIES.split():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if name.endswith("tmp") else 0o755
            tar.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.SYMTYPE
            entry.linkname = f"usr/{name}"
            tar.addfile(entry)
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        seen: set[str] = set()
        for path in closure(programs):
            # The image has a merged /usr whether or not this machine has.
            inside = f"/usr{path}" if re.match(r"/(bin|sbin|lib|lib64)/", path) else path
            if inside not in seen:
                seen.add(inside)
                tar.add(path, inside.lstrip("/"), recursive=False)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


def import_image(rootfs: BinaryIO, tag: str, socket_path: str) -> None:
    repository, _, version = tag.partition(":")
    query = urllib.parse.urlencode(
        {
            "fromSrc": "-",
            "changes": [f"ENV PATH={SEARCH_PATH}", "ENV LANG=C.UTF-8"],
        },
        doseq=True,
    )
    connection = UnixConnection(socket_path)
    size = rootfs.seek(0, os.SEEK_END)
    rootfs.seek(0)
    try:
        connection.request(
            "POST",
            f"/v1.41/images/create?{query}",
            body=rootfs,
            headers={"Content-Type": "application/x-tar", "Content-Length": str(size)},
        )
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except OSError as error:
        sys.exit(
            f"mkimage: no engine answers on {socket_path} ({error}): "
            "run scripts/engines/docker-up.sh or podman-up.sh"
        )
    messages = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if answer.status >= 300 or not messages or any("error" in message for message in messages):
        sys.exit(f"mkimage: the engine refused the image: {answer.status} {text.strip()}")
    # Podman 4 ignores `tag` on import, so the image is named in a second step on every engine.
    image_id = str(messages[-1]["status"]).strip()
    name = urllib.parse.urlencode({"repo": repository, "tag": version or "latest"})
    connection.request(
        "POST", f"/v1.41/images/{image_id}/tag?{name}", headers={"Content-Length": "0"}
    )
    answer = connection.getresponse()
    if answer.status >= 300:
        reason = answer.read().decode(errors="replace").strip()
        sys.exit(f"mkimage: the engine would not name the image {tag}: {answer.status} {reason}")


def main() -> None:
    default_socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="*", help="programs to add to the basic ones")
    parser.add_argument("--tag", default="batchyard-test:1")
    parser.add_argument("--socket", default=default_socket.removeprefix("unix://"))
    parser.add_argument("--output", type=Path, help="write the tar here and import nothing")
    options = parser.parse_args()
    programs = [*BASIC.split(), *options.programs]
    if options.output:
        with options.output.open("wb") as out:
            write_rootfs(out, programs)
        print(f"mkimage: wrote {options.output}, {options.output.stat().st_size >> 20} MiB")
        return
    with tempfile.TemporaryFile() as rootfs:
        write_rootfs(rootfs, programs)
        size_mib = rootfs.tell() >> 20
        import_image(rootfs, options.tag, options.socket)
    print(f"mkimage: {options.tag} is in the engine at {options.socket}, {size_mib} MiB")


if __name__ == "__main__":
    main()
