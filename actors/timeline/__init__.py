"""Pure pieces about time, order and memory. They import numpy, never an actor, a clock or a socket."""
