"""Several of the small apps as one app, whose services share what they have in common: one start for all their cases.

No house has `Deadlines`, which leaves a thread blocked: in one process with others it would have them replaced too.
"""

from __future__ import annotations

import svcd
from graph_shapes.batches import Batches
from graph_shapes.calls import Diamond, Mixed, Sequential
from graph_shapes.failures import Errors
from graph_shapes.inputs import Inputs
from graph_shapes.limits import Crowd
from graph_shapes.loops import AboveAsyncio, Asyncio, Loops
from graph_shapes.results import Streams
from graph_shapes.values import Arrays, Types


@svcd.service
class CallHouse:
    sequential = svcd.depends(Sequential)
    mixed = svcd.depends(Mixed)
    diamond = svcd.depends(Diamond)
    streams = svcd.depends(Streams)
    errors = svcd.depends(Errors)


@svcd.service
class ValueHouse:
    types = svcd.depends(Types)
    arrays = svcd.depends(Arrays)
    crowd = svcd.depends(Crowd)
    batches = svcd.depends(Batches)
    inputs = svcd.depends(Inputs)


@svcd.service
class LoopHouse:
    asyncio = svcd.depends(Asyncio)
    above = svcd.depends(AboveAsyncio)
    loops = svcd.depends(Loops)


HOUSES = {
    inmate.__name__: house.__name__
    for house, inmates in {
        CallHouse: (Sequential, Mixed, Diamond, Streams, Errors),
        ValueHouse: (Types, Arrays, Crowd, Batches, Inputs),
        LoopHouse: (Asyncio, AboveAsyncio, Loops),
    }.items()
    for inmate in inmates
}
"""The entry of a small app -> the entry of the one that it is a part of."""
