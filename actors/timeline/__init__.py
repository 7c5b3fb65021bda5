"""Pure pieces about time, order and memory. They import numpy and pcodec, never an actor, a clock or a socket."""
