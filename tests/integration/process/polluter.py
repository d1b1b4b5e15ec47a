"""Leaves behind, in this very process, all that a careless shell or supervisor can, and then becomes the command given.

`python polluter.py FILE COMMAND...`; FILE is opened, and stays so.
"""

from __future__ import annotations

import ctypes
import os
import pty
import resource
import signal
import socket
import sys

FILE, *COMMAND = sys.argv[1:]
SOFT_FILES = 512
SOFT_STACK = 4 << 20

# A controlling terminal, in a session of its own.
_, terminal = pty.openpty()
os.setsid()
os.set_inheritable(terminal, True)

# Descriptors of all kinds, low and high.
file = os.open(FILE, os.O_RDONLY)
for number in (7, 8, 200):
    os.dup2(file, number)
listener = socket.create_server(("127.0.0.1", 0))
os.set_inheritable(listener.fileno(), True)
reading, writing = os.pipe()
os.write(writing, b"a line that is not for services\n")
os.dup2(reading, 0)

os.umask(0)
os.nice(5)
if os.geteuid() == 0:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
with open("/proc/self/oom_score_adj", "w") as adjust:  # noqa: PTH123 - as plain as what it stands for
    adjust.write("500")
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_STACK, (SOFT_STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
for signum in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE, signal.SIGTSTP):
    signal.signal(signum, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN))
ctypes.CDLL(None).prctl(1, int(signal.SIGUSR2))  # PR_SET_PDEATHSIG
os.execvp(COMMAND[0], COMMAND)  # noqa: S606 - no shell is wanted
