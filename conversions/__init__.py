"""conversions: modules, state dicts and checkpoint files become graphs, and come back bit for bit."""

from conversions.assembly import to_state_dict
from conversions.check import check_architecture
from conversions.convert import to_graph
from conversions.execution import execute
from conversions.export import to_networkx
from conversions.files.checkpoints import to_checkpoint
from conversions.files.disk import save
from conversions.registry import register
from conversions.reporting import Report, report

__all__ = [
    "Report",
    "check_architecture",
    "execute",
    "register",
    "report",
    "save",
    "to_checkpoint",
    "to_graph",
    "to_networkx",
    "to_state_dict",
]
