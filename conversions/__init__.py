"""conversions: modules, state dicts and checkpoint files become graphs, and come back bit for bit."""

from conversions.assembly import to_state_dict
from conversions.check import check_architecture
from conversions.convert import to_graph
from conversions.execution import execute
from conversions.export import to_networkx
from conversions.files import save

__all__ = ["check_architecture", "execute", "save", "to_graph", "to_networkx", "to_state_dict"]
