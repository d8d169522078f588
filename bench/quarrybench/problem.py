"""What ends the instrument with one clear line."""


class Problem(Exception):
    """Something outside the instrument is not as it must be (exit 1)."""


class Usage(Problem):
    """Wrong arguments (exit 2)."""
