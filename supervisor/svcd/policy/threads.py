"""How many threads numeric libraries start in a replica that has a CPU share: as many as it has cores.

Left to themselves they start one for each CPU of the machine, in each replica. The number is rounded down, as one
thread too many costs more than one too few: the threads of a parallel region wait for each other at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

OPENMP = "OMP_NUM_THREADS"
FOLLOWERS = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Each is read before `OMP_NUM_THREADS`, by torch too (CPU threading notes of PyTorch: MKL_NUM_THREADS wins)."""


def thread_variables(share: float | None, own: Container[str]) -> dict[str, str]:
    """Return the variables for a share of so many cores; none for none.

    own: names that the service sets itself. Those are left to it, and a service that sets `OMP_NUM_THREADS` gets none
    of the variables that would overrule it.
    """
    if share is None:
        return {}
    threads = str(max(1, int(share)))
    names = (OPENMP, *(() if OPENMP in own else FOLLOWERS), "RAYON_NUM_THREADS")
    variables = dict.fromkeys(names, threads)
    if threads == "1":
        # Hugging Face's tokenizers: no pool of threads for one. Else unset: it turns itself off after a fork then.
        variables["TOKENIZERS_PARALLELISM"] = "false"
    return {name: value for name, value in variables.items() if name not in own}
