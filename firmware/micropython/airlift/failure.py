"""Why an update cannot go on."""


class Failure(Exception):
    """A stable code (crates/wire/src/code.rs lists them) and one sentence."""

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code = code
        self.message = message


def bad_layout():
    return Failure("bad_layout", "the partitions do not allow updates")


def flash_fault(message="the flash does not keep what is written to it"):
    return Failure("flash_fault", message)


def bad_tar():
    return Failure("bad_tar", "the files of the release are not a canonical tar")
