"""Which compiled passes are called."""

from graphws.engine import kernels


def recorded(monkeypatch, *modules):
    """The names of the kernels that these modules call from now on, in order."""
    names, call = [], kernels.call

    def record(name, *arguments):
        names.append(name)
        call(name, *arguments)

    for module in modules:
        monkeypatch.setattr(f"{module}.call", record)
    return names
