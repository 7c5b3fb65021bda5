"""Records as people have them, read as columns of roles: which member has the time, the step, the user.

Pure. A view says which roles it takes, the configuration in which member each is (`form.py`), and `reader.py` reads polls.
"""
