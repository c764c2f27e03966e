"""A machine with a real systemd as its first process, booted in namespaces on an overlay of this host's files (boot.sh)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOOT = Path(__file__).with_name("boot.sh")
UNITS = ROOT / "systemd"
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "systemctl", "mount", "pivot_root", "bash")
SECONDS_MAX = 120.0  # for anything that is waited for; the machine may be busy with other things
PERIOD_S = 0.05
INSTALLED = "/opt/tradingd"
UNIT_FOLDER = "/usr/lib/tradingd-test/units"  # the only one there is, as boot.sh says too
LOG_END = b"\x00end\x00"
EMPTY_TARGETS = ("default", "basic", "sysinit", "shutdown", "umount", "network-online", "time-sync", "nss-lookup", "final")

# The interpreter's own library, which it would look for where this host has it.
LAUNCHER = f"""#!/bin/sh
export LD_LIBRARY_PATH={INSTALLED}/python/lib
export PYTHONPATH={INSTALLED}/checkout
exec {INSTALLED}/bin/python -m daemon.cli.main "$@"
"""


def why_not() -> str | None:
    """The reason why this host cannot boot one; None where it can."""
    if not SYSTEMD.exists():
        return f"there is no {SYSTEMD} here"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "only root may mount an overlay and make a control group"
    if _cgroup2() is None:
        return "no cgroup2 file system is mounted"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("layer", "root"):
            Path(folder, name).mkdir()
        script = (
            "set -e; mount --make-rprivate /; mount -t tmpfs tmpfs $0/layer; mkdir $0/layer/upper $0/layer/work;"
            " mount -t overlay -o lowerdir=/,upperdir=$0/layer/upper,workdir=$0/layer/work overlay $0/root;"
            " cd $0/root; mount -t proc proc proc; mount -t cgroup2 cgroup2 mnt"
        )
        command = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "bash", "-c", script, folder]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        return None if tried.returncode == 0 else f"this host refuses namespaces or overlays: {tried.stderr.strip()}"


def _cgroup2() -> Path | None:
    for line in Path("/proc/self/mounts").read_text(encoding="ascii").splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


def as_seen_by(pid: str, path: str) -> str:
    """What the process has at `path`."""
    return "/".join(("/proc", pid, "root", path.lstrip("/")))


class Machine:
    """Fill `files` (laid over the host's root), then use it as a context: booted inside, gone afterwards."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tradingd-machine-"))
        for name in ("files", "layer", "root"):
            (self._folder / name).mkdir(mode=0o755)
        self.files = self._folder / "files"
        cgroup2 = _cgroup2()
        assert cgroup2 is not None
        self._cgroup = cgroup2 / f"tradingd-test-{uuid.uuid4().hex[:12]}"
        self._log = bytearray()
        self._has_spoken = threading.Event()
        os.mkfifo(self._folder / "kmsg")
        # Open for both: systemd's own open never waits, and reading never ends.
        self._log_pipe = os.open(self._folder / "kmsg", os.O_RDWR | os.O_CLOEXEC)
        self._process: subprocess.Popen[bytes] | None = None
        self._install()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of the machine, written before it boots."""
        place = self.files / path.lstrip("/")
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        place.chmod(mode)

    def drop_in(self, unit: str, service: str) -> None:
        """Lines of [Service] that override the unit's own."""
        self.write(f"{UNIT_FOLDER}/{unit}.d/{unit}.conf", f"[Service]\n{service}\n")

    def mask(self, unit: str) -> None:
        """Nobody starts this one."""
        (self.files / UNIT_FOLDER.lstrip("/") / unit).symlink_to("/dev/null")

    def _install(self) -> None:
        for name in EMPTY_TARGETS:
            self.write(f"{UNIT_FOLDER}/{name}.target", "[Unit]\nDefaultDependencies=no\n")
        for unit in UNITS.glob("*.service"):
            self.write(f"{UNIT_FOLDER}/{unit.name}", unit.read_text(encoding="utf-8"))
            # There is no journald here: what a service prints goes to a file.
            self.drop_in(unit.name, "StandardOutput=append:/run/log/%N\nStandardError=inherit")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for folder in ("python", f"lib/{version}/site-packages", "checkout"):
            (self.files / "opt/tradingd" / folder).mkdir(parents=True)
        self.write(f"{INSTALLED}/pyvenv.cfg", f"home = {INSTALLED}/python/bin\ninclude-system-site-packages = false\n")
        self.write(f"{INSTALLED}/bin/tradingd", LAUNCHER, 0o755)
        (self.files / "opt/tradingd/bin/python").symlink_to(f"{INSTALLED}/python/bin/{version}")

    def __enter__(self) -> Machine:
        self._cgroup.mkdir()
        inside = ["bash", str(BOOT), str(self._folder), sys.base_prefix, sysconfig.get_paths()["purelib"], str(ROOT)]
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--net", *inside]
        self._process = subprocess.Popen(
            # Into its own control group first: the namespace takes what it is in for its root.
            ["bash", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._cgroup), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log_pipe,
            stderr=self._log_pipe,
        )
        threading.Thread(target=self._read_log, daemon=True).start()
        try:
            self.wait_until(lambda: self._first_process() is not None)
            self.wait_until(lambda: self.systemctl("is-system-running").strip() in ("running", "degraded"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process is not None:
            # Its child, the machine's first process, goes with it, and everything else with that.
            self._process.kill()
            self._process.wait()
            os.write(self._log_pipe, LOG_END)
        for folder in sorted(self._cgroup.glob("**/"), reverse=True):
            self._remove_group(folder)
        shutil.rmtree(self._folder)

    def _remove_group(self, folder: Path) -> None:
        until = time.monotonic() + SECONDS_MAX
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                # Processes that were killed are still leaving.
                if time.monotonic() > until:
                    raise
                self._has_spoken.wait(PERIOD_S)

    def run(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root, to its end."""
        inside = ["env", *(f"{key}={value}" for key, value in (env or {}).items()), *command]
        return subprocess.run(
            ["nsenter", "--target", str(self._first_process()), "--mount", "--pid", "--cgroup", "--net", *inside],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def _first_process(self) -> int | None:
        """As this host numbers it; None while there is none yet."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the machine is gone:\n{self.console()}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else None

    def systemctl(self, *arguments: str) -> str:
        """What it prints; of a machine that is not up yet, nothing."""
        return self.run("systemctl", "--no-pager", *arguments).stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        text = self.systemctl("show", unit, *(f"--property={name}" for name in properties))
        return dict(line.split("=", 1) for line in text.splitlines())

    def path(self, path: str) -> Path:
        """A file of the running machine as this host reaches it. Symbolic links to absolute places lead astray."""
        return Path(as_seen_by(str(self._first_process()), path))

    def read(self, path: str) -> str:
        """A file of the running machine, empty where there is none."""
        place = self.path(path)
        return place.read_text(encoding="utf-8", errors="replace") if place.exists() else ""

    def console(self) -> str:
        """What systemd itself has logged."""
        return self._log.decode("utf-8", "replace")

    def _read_log(self) -> None:
        while LOG_END not in (data := os.read(self._log_pipe, 65_536)):
            self._log += data
            self._has_spoken.set()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS_MAX
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"waited for {SECONDS_MAX:g} s in vain:\n{self.console()}")
            # What is waited for is mostly something that systemd speaks of.
            self._has_spoken.wait(PERIOD_S)
            self._has_spoken.clear()
