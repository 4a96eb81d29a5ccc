"""The recorder: a mode of torch under which the functions that a forward calls are noted."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from conversions.calls import Arguments, evaluation, tensors_in
from conversions.limits import check_call, check_input, check_results
from conversions.trace.from_state import FromState
from conversions.trace.naming import NUMBERS, last_line, line_of, name_of, place_of
from conversions.trace.numbers import Expression, Number, Sizes, entry, followed, is_followed, leaves_of, mapped
from conversions.trace.passes import (
    BATCH,
    EXPECT,
    Recorded,
    Recording,
    Ref,
    StatedError,
    UnfitError,
)
from conversions.trace.results import told_result
from conversions.trace.watch import OF_SHAPES, RefusedError, Watch, memory_of

__all__ = ["Recorder"]

ON_VALUES = (*NUMBERS, "item", "tolist", "numpy", "nonzero", "is_nonzero", "equal")
CASTS = ("to", "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda")
MEASURES = ("size", "shape", "numel", "nelement", "len", "stride")  # what a tensor says of its sizes
RANDOM = ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson", "uniform", "random")


class Recorder(TorchFunctionMode):
    """Runs operations on signals (tensors without values) for their shapes, all others for their values.

    Args:
        module: The network.
        state: State dict of the module.
        leaves: Module classes that are one operation, and its name.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], leaves: Mapping[type[nn.Module], str]) -> None:
        super().__init__()
        self.module, self.state, self.leaves = module, state, leaves
        self.recording = Recording(())
        self.watch = Watch(state, module.parameters())
        self.numbers: dict[int, int] = {}  # of the signals, by their id
        self.alive: list[Tensor] = []  # ids are not given out again
        self.sharing: dict[int, list[Tensor]] = defaultdict(list)  # the signals of one memory
        self.stale: dict[int, str] = {}  # signals whose entries another name of them changed, and the operation
        self.names = {id(part): name for name, part in module.named_modules()}
        self.stack: list[str] = []
        self.failed: str | None = None  # where in the module an error came up
        self.inside_leaf = False
        self.expected: set[Expression] = set()
        self.computed = FromState(state, self.watch, self._aside, self._argument)

    def record(self, call: Arguments, count: int) -> Recording:
        """Run the module on so many inputs, in the arguments that a call puts them into.

        Raises:
            UnfitError: If it does not run on them.
            ValueError: If something in it can't be recorded.
        """
        dtype = next((value.dtype for value in self.state.values() if value.is_floating_point()), torch.float32)
        dtypes = [getattr(torch, own.dtype) if own.dtype else dtype for own in call.inputs]
        signals = [
            torch.empty(count, *check_input(own.shape), device="meta", dtype=kind)
            for own, kind in zip(call.inputs, dtypes, strict=True)
        ]
        self.recording = Recording(call.inputs)
        for signal in signals:
            self.track(signal)
        chance = torch.get_rng_state()
        with evaluation(self.module), torch.no_grad(), self.calls(), self.watch:
            try:
                with self:
                    returned = call.on(self.module, signals)
            except Exception as error:
                raise self._explained(error, [own.shape for own in call.inputs]) from error
        if not torch.equal(chance, torch.get_rng_state()):
            torch.set_rng_state(chance)
            raise ValueError(f"cannot trace {type(self.module).__name__}: its forward draws random numbers")
        self.recording.outputs = self._outputs(returned)
        self.recording.fixed |= self.watch.fixed
        return self.recording

    def track(self, signal: Tensor) -> int:
        """Give a value its number."""
        number = len(self.alive)
        self.alive.append(signal)
        if id(signal) not in self.numbers:
            self.sharing[memory_of(signal)].append(signal)
        self.numbers[id(signal)] = number
        self.recording.dtypes[number] = signal.dtype
        return number

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, name = (args, kwargs or {}), name_of(func)
        given = mapped(self._own, given)
        args, kwargs = mapped(lambda leaf: leaf.value if is_followed(leaf) else leaf, given)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        check_call(name, args, kwargs)
        if not any(id(tensor) in self.numbers for tensor in tensors):
            return self._without_signals(func, name, tensors, given, (args, kwargs))
        if name in MEASURES:
            return self._measured(name, args[0], *args[1:], **kwargs)
        if name in ("device", "is_meta", "is_cpu"):
            return {"device": torch.device("cpu"), "is_meta": False, "is_cpu": True}[name]
        if name in ON_VALUES:
            raise RefusedError(f"{name}() of a tensor depends on values")
        if kwargs.get("out") is not None:
            raise RefusedError(f"{name} writes its result into another tensor (out=)")
        if getattr(func, "__name__", "") == "__set__" and name != "requires_grad":
            raise RefusedError(f"setting {name!r} of a tensor is not followed")
        if name in OF_SHAPES:
            self._expect_sizes(given, tensors if name.endswith("_like") else ())
            with self.watch.inside():
                return func(*args, **{**kwargs, "device": "cpu"})
        if name in CASTS:
            return self._cast(name, args, kwargs)
        with torch._C._DisableTorchDispatch():
            plain_args, plain_kwargs = tree_map(without_values, (args, kwargs))
        self.watch.written.clear()
        with self.watch.inside():
            result = told_result(name, func, plain_args, plain_kwargs)
            result = func(*plain_args, **plain_kwargs) if result is None else result
        self._note(name, given, (plain_args, plain_kwargs), result)
        return result

    def expect(self, expression: Expression, value: Any) -> None:
        """The recording holds where an expression has this value."""
        self.recording.fixed |= {key for key, _ in leaves_of(expression, "entry")}
        if expression in self.expected or not any(leaves_of(expression, "size")):
            return
        self.expected.add(expression)
        found = Number(expression, value)
        self.recording.operations.append(Recorded(EXPECT, (found, value), {}, (), (), self.path(), apart=True))

    def _own(self, leaf: Any) -> Any:
        """A leaf of arguments; numbers that another recording left in a cache are plain."""
        return leaf.value if is_followed(leaf) and leaf.pin != self.expect else leaf

    def _measured(self, name: str, value: Tensor, dim: int | None = None) -> Any:
        """Sizes of a signal, each a number that is followed."""
        number = self.numbers[id(value)]
        if name == "stride":
            self._expect_sizes((), [value])
            return value.stride() if dim is None else value.stride(dim)
        sizes = Sizes(followed(("size", number, axis), size, self.expect) for axis, size in enumerate(value.shape))
        if name in ("numel", "nelement"):
            return sizes.numel()
        return sizes[0] if name == "len" else sizes if dim is None else sizes[dim]

    def _expect_sizes(self, given: Any, signals: Sequence[Tensor] = ()) -> None:
        """Values that were made from sizes are those of the sizes that were met."""
        mapped(lambda leaf: self.expect(leaf.expression, leaf.value) if is_followed(leaf) else None, given)
        for signal in signals:
            for axis, size in enumerate(signal.shape):
                self.expect(("size", self.numbers.get(id(signal), 0), axis), size)

    def _without_signals(
        self, func: Callable[..., Any], name: str, tensors: list[Tensor], given: Any, plain: Any
    ) -> Any:
        """Run an operation on constants, for its values."""
        if any(tensor.is_meta for tensor in tensors):
            raise RefusedError(f"{name} reads a tensor whose computation was not followed")
        if name in RANDOM or (name.endswith("_like") and name.startswith("rand")):
            raise RefusedError(f"{name} draws random numbers")
        if name in ("tolist", "numpy", "__array__"):
            self.watch.check_numbers(tensors)
        args, kwargs = plain
        if name == "item" and tensors[0].numel() == 1:
            with self.watch.inside(silent=True):
                found, expression = func(*args, **kwargs), entry(tensors[0], self.state)
            if expression is not None and type(found) in (int, float):
                return followed(expression, found, self.expect)
        if name == "embedding" and len(args) > 1 and self._in_turn(*args[:2]):
            return args[1]
        result = func(*args, **kwargs)
        if name in (*CASTS, "centred") and self.computed.tensors.note_cast(result, *tensors):
            return result
        if not self.computed.follow(func, name, given, result):
            self._expect_sizes(given)
        return result

    def _in_turn(self, numbers: Tensor, table: Tensor) -> bool:
        """Whether all rows of a table are looked up, one after the other (as of places), so that it stays as it is."""
        with self.watch.inside(silent=True):
            whole = torch.arange(len(table), device=numbers.device)
            return numbers.shape == whole.shape and bool((numbers == whole).all())

    def _aside(self, name: str, args: Any, kwargs: Any, results: Sequence[Tensor]) -> tuple[int, ...]:
        """Note an operation on the state dict alone; the numbers of its results."""
        numbers = tuple(range(len(self.alive), len(self.alive) + len(results)))
        self.alive += results
        self.recording.dtypes |= {number: own.dtype for number, own in zip(numbers, results, strict=True)}
        shapes = tuple(tuple(own.shape) for own in results)
        self.recording.operations.append(Recorded(name, args, kwargs, numbers, shapes, self.path(), apart=True))
        return numbers

    def _cast(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A signal in another dtype; devices do not matter."""
        value, *options = args
        given = [*options, *kwargs.values()]
        dtype = {
            "float": torch.float32,
            "double": torch.float64,
            "half": torch.float16,
            "bfloat16": torch.bfloat16,
        }.get(name)
        for option in given:
            if isinstance(option, (torch.dtype, Tensor)):
                dtype = option if isinstance(option, torch.dtype) else option.dtype
        if isinstance(value, Tensor) and id(value) not in self.numbers:
            return value if dtype is None else value.to(dtype)
        if dtype is None or dtype == value.dtype:
            return value
        with self.watch.inside():
            result = value.to(dtype)
        self._note("to", ((value, dtype), {}), ((value, dtype), {}), result)
        return result

    def _note(self, name: str, given: Any, plain: Any, result: Any) -> None:
        """Add an operation; a tensor that was changed in place gets a new number, under all of its names."""
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        touched = self.watch.written & {memory_of(leaf) for leaf in tree_leaves(plain) if isinstance(leaf, Tensor)}
        changed = [tensor for tensor in tensors if id(tensor) in self.numbers]
        if touched and (len(changed) != 1 or len(tensors) != 1 or touched != {memory_of(changed[0])}):
            raise RefusedError(f"{name} changes a tensor in place in a way that is not followed")
        if not tensors:
            return
        check_results(name, tensors, BATCH)
        args, kwargs = mapped(self._argument, given)
        results = tuple(self.track(tensor) for tensor in tensors)
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        self.recording.operations.append(Recorded(name, args, kwargs, results, shapes, self.path()))
        for tensor in changed if touched else ():
            self._rename(tensor, results[0], name)

    def _rename(self, tensor: Tensor, number: int, name: str) -> None:
        """After a change in place: the same entries under other names have changed too."""
        for other in self.sharing[memory_of(tensor)]:
            if other is tensor:
                self.stale.pop(id(other), None)
            elif _extent(other) == _extent(tensor):
                self.numbers[id(other)] = number
            else:
                self.stale[id(other)] = name

    def _argument(self, value: Any) -> Any:
        if is_followed(value):
            return Number(value.expression, value.value)
        if not isinstance(value, Tensor):
            return value
        if id(value) in self.stale:
            raise RefusedError(
                f"reads a view of a tensor that {self.stale[id(value)]} changed in place, which is not followed"
            )
        if id(value) in self.numbers:
            return Ref(self.numbers[id(value)])
        if value.is_meta:
            raise RefusedError("reads a tensor whose computation was not followed")
        return self.computed.argument(value)

    def path(self) -> str:
        """The module an operation stands in, and its line in the source."""
        line, frame = "", inspect.currentframe()
        while frame is not None and frame.f_code is not Recorder.record.__code__ and not line:  # not who called it
            line = line_of(frame.f_code.co_filename, frame.f_lineno)
            frame = frame.f_back
        return place_of(self.stack[-1] if self.stack else "", line)

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Follow the calls of modules; those with a rule are one operation."""
        plain = nn.Module.__call__

        def call(part: nn.Module, *args: Any, **kwargs: Any) -> Any:
            self.stack.append(self.names.get(id(part), ""))
            try:
                if type(part) in self.leaves and not self.inside_leaf:
                    return self._leaf(part, args, kwargs)
                return plain(part, *args, **kwargs)
            except Exception:
                self.failed = self.stack[-1] if self.failed is None else self.failed
                raise
            finally:
                self.stack.pop()

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = plain  # type: ignore[method-assign]

    def _leaf(self, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if part._forward_hooks or part._forward_pre_hooks:
            raise RefusedError(f"{type(part).__name__} is registered as one operation and has forward hooks")
        own = {**dict(part.named_parameters()), **dict(part.named_buffers())}
        self.inside_leaf = True
        try:
            with torch._C.DisableTorchFunction(), self.watch.inside(silent=True):
                without, plain_args, plain_kwargs = tree_map(without_values, (own, args, kwargs))
                result = torch.func.functional_call(part, without, plain_args, plain_kwargs)
        finally:
            self.inside_leaf = False
        self.watch.written.clear()
        with torch._C.DisableTorchFunction():
            self._note(self.leaves[type(part)], (args, {**kwargs, **own}), (plain_args, plain_kwargs), result)
        return result

    def _outputs(self, value: Any) -> tuple[int, ...]:
        """The numbers of the returned tensors that the operations gave."""
        found = tensors_in(value)
        name = type(self.module).__name__
        if any(id(leaf) in self.stale or (leaf.is_meta and id(leaf) not in self.numbers) for leaf in found):
            raise ValueError(f"the forward of {name} returns a tensor whose computation was not followed")
        inputs = len(self.recording.inputs)
        numbers = [self.numbers[id(leaf)] for leaf in found if self.numbers.get(id(leaf), 0) >= inputs]
        if not numbers:
            raise ValueError(f"the forward of {name} returns no tensor that it computes from its input")
        return tuple(numbers)

    def _explained(self, error: Exception, shapes: Sequence[tuple[int, ...]]) -> ValueError:
        if isinstance(error, StatedError):
            return error
        text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        place = place_of(self.failed or "", last_line(error.__traceback__)) or "at its root"
        start = f"cannot trace {type(self.module).__name__}, {place}: "
        if isinstance(error, RefusedError):
            return ValueError(
                f"{start}{text}, so no graph was made (conversions.register adds a rule for a module class)"
            )
        if "TorchScript" in text:
            return ValueError(f"{start}it runs scripted code (torch.jit), which is not followed")
        if "meta" in text.lower():
            return ValueError(f"{start}its forward depends on values ({text}), so no graph was made")
        found = " and ".join(str(list(shape)) for shape in shapes)
        what = f"an input of shape {found}" if len(shapes) == 1 else f"inputs of shapes {found}"
        return UnfitError(f"{start}it does not run on {what} ({type(error).__name__}: {text})")


def without_values(value: Any) -> Any:
    """A tensor without values in place of one with them."""
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def _extent(value: Tensor) -> tuple[object, ...]:
    return value.storage_offset(), value.shape, value.stride(), value.dtype
