"""The HTTP interface as data: operations, parameters, errors, formats, and the description of all of them."""
