"""This machine: its processes, GPUs, sockets and files. Only here are pynvml and psutil imported."""
